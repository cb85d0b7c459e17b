#include "formats/unpickler.h"

#include <algorithm>

#include "backplane/base/error.h"
#include "backplane/base/limits.h"
#include "backplane/base/strings.h"
#include "formats/checked.h"

namespace backplane {
namespace {

constexpr uint64_t kLargestPickle = limits::kSafetensorsHeaderBytes;
constexpr size_t kMostNodes = 50'000'000;
constexpr Unpickler::Id kUnset = UINT32_MAX;

enum class Meaning { ordered_dict, rebuild_tensor, rebuild_tensor_with_dtype, rebuild_parameter, size, set, storage };

struct Global {
  std::string_view module;
  std::string_view name;
  Meaning meaning;
  std::optional<DType> dtype;
};

// All that a pickle may name.
constexpr Global kGlobals[] = {
    {"collections", "OrderedDict", Meaning::ordered_dict, {}},
    {"torch._utils", "_rebuild_tensor", Meaning::rebuild_tensor, {}},
    {"torch._utils", "_rebuild_tensor_v2", Meaning::rebuild_tensor, {}},
    {"torch._utils", "_rebuild_tensor_v3", Meaning::rebuild_tensor_with_dtype, {}},
    {"torch._utils", "_rebuild_parameter", Meaning::rebuild_parameter, {}},
    {"torch._utils", "_rebuild_parameter_with_state", Meaning::rebuild_parameter, {}},
    {"torch", "Size", Meaning::size, {}},
    {"builtins", "set", Meaning::set, {}},
    {"__builtin__", "set", Meaning::set, {}},
    {"torch.storage", "UntypedStorage", Meaning::storage, {}},
    {"torch.storage", "_UntypedStorage", Meaning::storage, {}},
    {"torch", "UntypedStorage", Meaning::storage, {}},
    {"torch", "DoubleStorage", Meaning::storage, DType::f64},
    {"torch", "FloatStorage", Meaning::storage, DType::f32},
    {"torch", "HalfStorage", Meaning::storage, DType::f16},
    {"torch", "BFloat16Storage", Meaning::storage, DType::bf16},
    {"torch", "LongStorage", Meaning::storage, DType::i64},
    {"torch", "IntStorage", Meaning::storage, DType::i32},
    {"torch", "ShortStorage", Meaning::storage, DType::i16},
    {"torch", "CharStorage", Meaning::storage, DType::i8},
    {"torch", "ByteStorage", Meaning::storage, DType::u8},
    {"torch", "BoolStorage", Meaning::storage, DType::boolean},
    {"torch", "ComplexFloatStorage", Meaning::storage, DType::c64},
    {"torch", "ComplexDoubleStorage", Meaning::storage, DType::c128},
};

const Global& global_of(const Unpickler::Node& node) { return kGlobals[node.integer]; }

}  // namespace

void Unpickler::fail(const std::string& what) const {
  throw Error(ErrorCode::bad_checkpoint, concat("'", file_, "': the pickle ", what, " (byte ", position_, ")"));
}

void Unpickler::need(uint64_t count) const {
  if (count <= end_ - position_) return;
  if (count <= bytes_.size() - position_) {
    throw Error(ErrorCode::limit_exceeded,
                concat("'", file_, "': the pickle has more than ", kLargestPickle, " bytes"));
  }
  fail("is truncated");
}

const std::byte* Unpickler::take(uint64_t count) {
  need(count);
  const std::byte* data = bytes_.data() + position_;
  position_ += count;
  return data;
}

template <class T>
T Unpickler::number() {
  return load_little<T>(take(sizeof(T)));
}

std::string_view Unpickler::line() {
  const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + position_, end_ - position_);
  const size_t length = rest.find('\n');
  need(length == std::string_view::npos ? rest.size() + 1 : length + 1);
  position_ += length + 1;
  return rest.substr(0, length);
}

Unpickler::Id Unpickler::make(Node node) {
  if (nodes_.size() == kMostNodes)
    throw Error(ErrorCode::limit_exceeded,
                concat("'", file_, "': the pickle builds more than ", kMostNodes, " objects"));
  nodes_.push_back(node);
  return static_cast<Id>(nodes_.size() - 1);
}

Unpickler::Id Unpickler::make_integer(int64_t value) {
  Node node{.kind = Kind::integer};
  node.integer = value;
  return make(node);
}

Unpickler::Id Unpickler::make_text(std::string_view text) {
  Node node{.kind = Kind::text};
  node.text = text.data();
  node.size = static_cast<uint32_t>(text.size());
  return make(node);
}

Unpickler::Id Unpickler::make_container(Kind kind, std::vector<Id> items) {
  Node node{.kind = kind};
  node.index = containers_.size();
  containers_.push_back(std::move(items));
  return make(node);
}

Unpickler::Id Unpickler::make_global(std::string_view module, std::string_view name) {
  if (module == "torch.cuda") module = "torch";
  Node node{.kind = Kind::global};
  for (size_t i = 0; i < std::size(kGlobals); ++i) {
    if (kGlobals[i].module != module || kGlobals[i].name != name) continue;
    node.integer = static_cast<int64_t>(i);
    return make(node);
  }
  if (const auto dtype = find_torch_dtype(name); dtype && module == "torch") {
    node.kind = Kind::dtype;
    node.integer = static_cast<int64_t>(*dtype);
    return make(node);
  }
  constexpr size_t kShown = 200;
  fail(concat("names ", module.substr(0, kShown), ".", name.substr(0, kShown),
              ", which is none of the types that weights are made of; it was not called"));
}

Unpickler::Id Unpickler::pop() {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) fail("takes from an empty stack");
  const Id id = stack_.back();
  stack_.pop_back();
  return id;
}

Unpickler::Id Unpickler::top() {
  const Id id = pop();
  stack_.push_back(id);
  return id;
}

std::vector<Unpickler::Id> Unpickler::pop_to_mark() {
  if (marks_.empty()) fail("has no mark where one is needed");
  const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<Id> items(begin, stack_.end());
  stack_.erase(begin, stack_.end());
  marks_.pop_back();
  return items;
}

void Unpickler::memoize(uint64_t slot) {
  if (slot > nodes_.size()) fail(concat("memoizes at ", slot, " with ", nodes_.size(), " objects"));
  if (slot >= memo_.size()) memo_.resize(slot + 1, kUnset);
  memo_[slot] = top();
}

const Unpickler::Node& Unpickler::expect(Id id, Kind kind, const char* what) const {
  if (nodes_[id].kind != kind) fail(concat("has no ", what, " where one is expected"));
  return nodes_[id];
}

void Unpickler::append(Id container, Kind kind, const std::vector<Id>& items) {
  auto& target = containers_[expect(container, kind, kind == Kind::dict ? "dictionary" : "list").index];
  if (kind == Kind::dict && items.size() % 2 != 0) fail("has a key without a value");
  target.insert(target.end(), items.begin(), items.end());
}

std::vector<int64_t> Unpickler::integers(Id id, const char* what) const {
  if (nodes_[id].kind != Kind::list) expect(id, Kind::tuple, what);
  std::vector<int64_t> values;
  for (Id item : items(id)) {
    const int64_t value = expect(item, Kind::integer, "integer").integer;
    if (value < 0) fail(concat("has the ", what, " ", value));
    values.push_back(value);
  }
  if (values.size() > static_cast<size_t>(limits::kTensorRank))
    fail(concat("has a tensor of ", values.size(), " dimensions; at most ", limits::kTensorRank, " are read"));
  return values;
}

Unpickler::Id Unpickler::rebuild_tensor(const std::vector<Id>& arguments, bool has_dtype) {
  if (arguments.size() < (has_dtype ? 7 : 4)) fail("builds a tensor from too few arguments");
  Tensor tensor;
  tensor.storage = static_cast<Id>(expect(arguments[0], Kind::storage, "storage").index);
  tensor.offset = expect(arguments[1], Kind::integer, "integer").integer;
  tensor.shape = integers(arguments[2], "size");
  tensor.strides = integers(arguments[3], "stride");
  const Storage& storage = storages_[tensor.storage];
  if (has_dtype) {
    tensor.dtype = static_cast<DType>(expect(arguments[6], Kind::dtype, "dtype").integer);
  } else if (storage.dtype) {
    tensor.dtype = *storage.dtype;
  } else {
    fail("builds a tensor of no dtype");
  }
  // conj and neg bits; a dictionary that is empty says nothing
  const size_t metadata = has_dtype ? 7 : 6;
  if (arguments.size() > metadata && nodes_[arguments[metadata]].kind != Kind::none) {
    expect(arguments[metadata], Kind::dict, "dictionary");
    if (!items(arguments[metadata]).empty())
      fail("builds a tensor with metadata of its own (conjugated, negated), which is not read");
  }
  if (tensor.shape.size() != tensor.strides.size()) fail("builds a tensor with other strides than sizes");
  // The last element's position, checked in place of each one's.
  int64_t last = tensor.offset, numel = 1;
  bool overflows = tensor.offset < 0;
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    int64_t step = 0;
    overflows |= __builtin_mul_overflow(numel, tensor.shape[i], &numel);
    overflows |= tensor.shape[i] > 0 && __builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &step);
    overflows |= __builtin_add_overflow(last, step, &last);
  }
  overflows |= __builtin_mul_overflow(numel, static_cast<int64_t>(dtype_size(tensor.dtype)), &numel);
  const uint64_t elements = storage.bytes / dtype_size(tensor.dtype);
  if (overflows || (numel > 0 && static_cast<uint64_t>(last) >= elements) ||
      static_cast<uint64_t>(tensor.offset) > elements) {
    fail(concat("builds a tensor that reaches past its storage '", storage.key, "' of ", elements, " elements"));
  }
  Node node{.kind = Kind::tensor};
  node.index = tensors_.size();
  tensors_.push_back(std::move(tensor));
  return make(node);
}

void Unpickler::reduce() {
  const Id arguments_id = pop();
  const Id callee = pop();
  expect(arguments_id, Kind::tuple, "tuple of arguments");
  const auto arguments = items(arguments_id);
  Id result = kUnset;
  switch (global_of(expect(callee, Kind::global, "name of a type")).meaning) {
    case Meaning::ordered_dict: {
      std::vector<Id> entries;
      if (!arguments.empty()) {
        expect(arguments[0], Kind::list, "list of pairs");
        for (Id pair : items(arguments[0])) {
          if (nodes_[pair].kind != Kind::list) expect(pair, Kind::tuple, "pair");
          if (items(pair).size() != 2) fail("has no pair where one is expected");
          entries.insert(entries.end(), items(pair).begin(), items(pair).end());
        }
      }
      result = make_container(Kind::dict, std::move(entries));
      break;
    }
    case Meaning::size:
      if (arguments.empty()) {
        result = make_container(Kind::tuple, {});
      } else {
        if (nodes_[arguments[0]].kind != Kind::list) expect(arguments[0], Kind::tuple, "tuple");
        result = make_container(Kind::tuple, items(arguments[0]));
      }
      break;
    case Meaning::rebuild_tensor:
      result = rebuild_tensor(arguments, false);
      break;
    case Meaning::rebuild_tensor_with_dtype:
      result = rebuild_tensor(arguments, true);
      break;
    case Meaning::rebuild_parameter:
      if (arguments.empty()) fail("builds a parameter of nothing");
      expect(arguments[0], Kind::tensor, "tensor");
      result = arguments[0];
      break;
    case Meaning::set:
      result = make({.kind = Kind::other});
      break;
    case Meaning::storage:
      fail("calls a type that is not for calling");
  }
  stack_.push_back(result);
}

// ("storage", type, key, location, number of elements[, view])
Unpickler::Id Unpickler::persistent(Id id) {
  expect(id, Kind::tuple, "reference to a storage");
  const auto& parts = items(id);
  if (parts.size() < 5 || nodes_[parts[0]].kind != Kind::text || text(parts[0]) != "storage")
    fail("has a reference to something that is no storage");
  if (parts.size() > 5 && nodes_[parts[5]].kind != Kind::none)
    fail("has a storage that is a view of another, which is not read");
  const Global& type = global_of(expect(parts[1], Kind::global, "storage type"));
  if (type.meaning != Meaning::storage) fail("has no storage type where one is expected");
  expect(parts[2], Kind::text, "key of a storage");
  const int64_t count = expect(parts[4], Kind::integer, "number of elements").integer;
  const std::string_view key = text(parts[2]);
  int64_t bytes = 0;
  if (count < 0 ||
      __builtin_mul_overflow(count, static_cast<int64_t>(type.dtype ? dtype_size(*type.dtype) : 1), &bytes)) {
    fail(concat("claims ", count, " elements in the storage '", key, "'"));
  }
  Node node{.kind = Kind::storage};
  node.index = storages_.size();
  storages_.push_back({key, type.dtype, static_cast<uint64_t>(bytes)});
  return make(node);
}

Unpickler::Id Unpickler::read(uint64_t& position) {
  position_ = position;
  end_ = position + std::min<uint64_t>(bytes_.size() - position, kLargestPickle);
  stack_.clear();
  marks_.clear();
  memo_.clear();
  const auto text_of = [&](uint64_t size) {
    if (size > UINT32_MAX) fail("is truncated");
    const auto* data = reinterpret_cast<const char*>(take(size));
    return std::string_view(data, size);
  };
  const auto tuple_of = [&](size_t count) {
    std::vector<Id> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    stack_.push_back(make_container(Kind::tuple, std::move(items)));
  };
  const auto recall = [&](uint64_t slot) {
    if (slot >= memo_.size() || memo_[slot] == kUnset) fail(concat("recalls ", slot, ", which it never memoized"));
    stack_.push_back(memo_[slot]);
  };
  for (;;) {
    const auto opcode = number<uint8_t>();
    switch (opcode) {
      case 0x80:  // PROTO
        if (const auto protocol = number<uint8_t>(); protocol < 2 || protocol > 5)
          fail(concat("has protocol ", int{protocol}, "; expected 2 to 5"));
        break;
      case 0x95:
        take(8);
        break;     // FRAME
      case '.': {  // STOP
        const Id result = pop();
        if (!stack_.empty() || !marks_.empty()) fail("ends with more than one object");
        position = position_;
        return result;
      }
      case '(':
        marks_.push_back(stack_.size());
        break;
      case '0':
        pop();
        break;
      case '1':
        pop_to_mark();
        break;
      case '2':
        stack_.push_back(top());
        break;
      case 'N':
        stack_.push_back(make({}));
        break;
      case 0x88:
      case 0x89: {
        Node node{.kind = Kind::boolean};
        node.integer = opcode == 0x88;
        stack_.push_back(make(node));
        break;
      }
      case 'J':
        stack_.push_back(make_integer(number<int32_t>()));
        break;
      case 'K':
        stack_.push_back(make_integer(number<uint8_t>()));
        break;
      case 'M':
        stack_.push_back(make_integer(number<uint16_t>()));
        break;
      case 0x8a: {  // LONG1
        const auto size = number<uint8_t>();
        const std::byte* data = take(size);
        if (size > 8) fail("has an integer of more than 64 bits");
        uint64_t value = 0;
        for (int i = 0; i < size; ++i) value |= static_cast<uint64_t>(data[i]) << (8 * i);
        if (size > 0 && size < 8 && (data[size - 1] & std::byte{0x80}) != std::byte{0})
          value |= ~uint64_t{0} << (8 * size);
        stack_.push_back(make_integer(static_cast<int64_t>(value)));
        break;
      }
      case 'G': {
        const uint64_t bits = __builtin_bswap64(number<uint64_t>());
        Node node{.kind = Kind::number};
        std::memcpy(&node.number, &bits, sizeof bits);
        stack_.push_back(make(node));
        break;
      }
      case 'X':
      case 'T':
      case 'B':
        stack_.push_back(make_text(text_of(number<uint32_t>())));
        break;
      case 0x8c:
      case 'U':
      case 'C':
        stack_.push_back(make_text(text_of(number<uint8_t>())));
        break;
      case 0x8d:
      case 0x8e:
        stack_.push_back(make_text(text_of(number<uint64_t>())));
        break;
      case ')':
        stack_.push_back(make_container(Kind::tuple, {}));
        break;
      case ']':
        stack_.push_back(make_container(Kind::list, {}));
        break;
      case '}':
        stack_.push_back(make_container(Kind::dict, {}));
        break;
      case 0x8f:
        stack_.push_back(make({.kind = Kind::other}));
        break;      // EMPTY_SET
      case 0x90: {  // ADDITEMS
        pop_to_mark();
        expect(top(), Kind::other, "set");
        break;
      }
      case 't':
        stack_.push_back(make_container(Kind::tuple, pop_to_mark()));
        break;
      case 0x85:
        tuple_of(1);
        break;
      case 0x86:
        tuple_of(2);
        break;
      case 0x87:
        tuple_of(3);
        break;
      case 'l':
        stack_.push_back(make_container(Kind::list, pop_to_mark()));
        break;
      case 'd': {
        auto items = pop_to_mark();
        stack_.push_back(make_container(Kind::dict, {}));
        append(top(), Kind::dict, items);
        break;
      }
      case 'a': {
        const Id item = pop();
        append(top(), Kind::list, {item});
        break;
      }
      case 'e': {
        const auto items = pop_to_mark();
        append(top(), Kind::list, items);
        break;
      }
      case 's': {
        const Id value = pop(), key = pop();
        append(top(), Kind::dict, {key, value});
        break;
      }
      case 'u': {
        const auto items = pop_to_mark();
        append(top(), Kind::dict, items);
        break;
      }
      case 'q':
        memoize(number<uint8_t>());
        break;
      case 'r':
        memoize(number<uint32_t>());
        break;
      case 0x94:
        memoize(memo_.size());
        break;
      case 'h':
        recall(number<uint8_t>());
        break;
      case 'j':
        recall(number<uint32_t>());
        break;
      case 'c': {
        const auto module = line();
        stack_.push_back(make_global(module, line()));
        break;
      }
      case 0x93: {  // STACK_GLOBAL
        const Id name = pop(), module = pop();
        expect(name, Kind::text, "name");
        expect(module, Kind::text, "module");
        stack_.push_back(make_global(text(module), text(name)));
        break;
      }
      case 'R':
      case 0x81:
        reduce();
        break;
      case 'b':  // BUILD: what state_dict() keeps beside the tensors (_metadata) is not needed
        pop();
        expect(top(), Kind::dict, "dictionary");
        break;
      case 'Q':
        stack_.push_back(persistent(pop()));
        break;
      default:
        fail(concat("has the opcode ", int{opcode}, ", which weights do not need"));
    }
  }
}

}  // namespace backplane
