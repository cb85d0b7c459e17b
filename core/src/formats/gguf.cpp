#include "backplane/formats/gguf.h"

#include <algorithm>
#include <bit>

#include "backplane/base/error.h"
#include "backplane/base/limits.h"
#include "backplane/base/strings.h"
#include "backplane/formats/safetensors.h"
#include "formats/checked.h"

namespace backplane {
namespace {

struct TypeEntry {
  GgmlType type;
  std::string_view name;
  GgmlBlock block;
};

constexpr TypeEntry kTypes[] = {
#define BACKPLANE_GGML_ENTRY(id, number, elements, bytes) {GgmlType::id, #id, {elements, bytes}},
    BACKPLANE_GGML_TYPES(BACKPLANE_GGML_ENTRY)
#undef BACKPLANE_GGML_ENTRY
};

const TypeEntry* find_type(uint32_t number) {
  for (const auto& entry : kTypes) {
    if (static_cast<uint32_t>(entry.type) == number) return &entry;
  }
  return nullptr;
}

enum class ValueType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, text, array, u64, i64, f64 };
constexpr uint64_t kSmallestSize[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

constexpr std::string_view kMagic = "GGUF";
constexpr uint64_t kLongestKey = 65535;
constexpr uint64_t kLargestAlignment = 1 << 20;
constexpr int kArrayDepth = 4;

struct PrefixEnds {};  // the directory goes on behind the bytes at hand

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, uint64_t file_size, const std::string& file)
      : bytes_(bytes), file_size_(file_size), file_(file) {}

  GgufFile read() {
    refuse_lfs_pointer(bytes_, file_);
    if (file_size_ < kMagic.size() || std::memcmp(take(kMagic.size()), kMagic.data(), kMagic.size()) != 0) {
      fail("does not begin with 'GGUF'");
    }
    GgufFile gguf;
    gguf.version = number<uint32_t>();
    if (gguf.version != 2 && gguf.version != 3) {
      fail(concat("has version ", gguf.version, "; expected 2 or 3, little-endian"));
    }
    const auto tensors = number<uint64_t>();
    const auto keys = number<uint64_t>();
    if (tensors > limits::kTensorsPerFile) limit(tensors, "tensors", limits::kTensorsPerFile);
    if (keys > limits::kGgufKeys) limit(keys, "keys", limits::kGgufKeys);
    for (uint64_t i = 0; i < keys; ++i) read_entry(gguf);
    refuse_doubles(gguf.metadata, gguf.arrays);
    if (const Value* alignment = gguf.find("general.alignment")) {
      if (!alignment->is_int() || !std::has_single_bit(static_cast<uint64_t>(alignment->as_int())) ||
          static_cast<uint64_t>(alignment->as_int()) > kLargestAlignment) {
        fail(concat("has general.alignment ", alignment->to_string(), "; expected a power of two"));
      }
      gguf.alignment = static_cast<uint64_t>(alignment->as_int());
    }
    for (uint64_t i = 0; i < tensors; ++i) gguf.tensors.push_back(read_tensor());
    place(gguf);
    return gguf;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::bad_checkpoint, concat("'", file_, "' ", what));
  }
  [[noreturn]] void limit(uint64_t count, const char* what, uint64_t most) const {
    throw Error(ErrorCode::limit_exceeded,
                concat("'", file_, "' claims ", count, " ", what, "; at most ", most, " are read"));
  }

  const std::byte* take(uint64_t count) {
    if (count > file_size_ - position_) {
      fail(concat("is truncated: ", count, " bytes are claimed at byte ", position_, " of ", file_size_,
                  where_.empty() ? "" : ", in ", where_));
    }
    if (count > bytes_.size() - position_) throw PrefixEnds();
    const std::byte* data = bytes_.data() + position_;
    position_ += count;
    return data;
  }

  template <class T>
  T number() {
    return load_little<T>(take(sizeof(T)));
  }

  std::string text() {
    const auto size = number<uint64_t>();
    const auto* data = reinterpret_cast<const char*>(take(size));
    return std::string(data, size);
  }

  std::string key() {
    where_.clear();
    std::string key = text();
    if (key.size() > kLongestKey || !is_utf8(key))
      fail(concat("has a key at byte ", position_ - key.size(), " that is no text of at most ", kLongestKey, " bytes"));
    where_ = key;
    return key;
  }

  ValueType value_type() {
    const auto type = number<uint32_t>();
    if (type > static_cast<uint32_t>(ValueType::f64))
      fail(concat("has a value of unknown type ", type, " under ", where_));
    return static_cast<ValueType>(type);
  }

  Value scalar(ValueType type) {
    switch (type) {
      case ValueType::u8:
        return int64_t{number<uint8_t>()};
      case ValueType::i8:
        return int64_t{number<int8_t>()};
      case ValueType::u16:
        return int64_t{number<uint16_t>()};
      case ValueType::i16:
        return int64_t{number<int16_t>()};
      case ValueType::u32:
        return int64_t{number<uint32_t>()};
      case ValueType::i32:
        return int64_t{number<int32_t>()};
      case ValueType::u64: {
        const auto value = number<uint64_t>();
        if (value > static_cast<uint64_t>(INT64_MAX)) return static_cast<double>(value);
        return static_cast<int64_t>(value);
      }
      case ValueType::i64:
        return number<int64_t>();
      case ValueType::f32:
        return double{number<float>()};
      case ValueType::f64:
        return number<double>();
      case ValueType::boolean:
        return number<uint8_t>() != 0;
      case ValueType::text: {
        std::string value = text();
        if (!is_utf8(value)) fail(concat("has a text under ", where_, " that is not UTF-8"));
        return value;
      }
      case ValueType::array:
        break;
    }
    __builtin_unreachable();
  }

  void read_array(GgufArray& array, int depth) {
    const ValueType type = value_type();
    const auto count = number<uint64_t>();
    if (count > (file_size_ - position_) / kSmallestSize[static_cast<size_t>(type)]) {
      fail(concat("is truncated: ", where_, " claims ", count, " elements at byte ", position_, " of ", file_size_));
    }
    if (type == ValueType::array) {
      if (depth == kArrayDepth) fail(concat("has arrays deeper than ", kArrayDepth, " under ", where_));
      for (uint64_t i = 0; i < count; ++i) read_array(array, depth + 1);
      return;
    }
    const auto kind = type == ValueType::text                            ? GgufArray::Kind::text
                      : type == ValueType::boolean                       ? GgufArray::Kind::boolean
                      : type == ValueType::f32 || type == ValueType::f64 ? GgufArray::Kind::number
                                                                         : GgufArray::Kind::integer;
    if (array.size() > 0 && array.kind != kind) fail(concat("mixes types in the array ", where_));
    array.kind = kind;
    if (kind == GgufArray::Kind::text) {
      // A vocabulary's tokens may be any bytes.
      for (uint64_t i = 0; i < count; ++i) array.texts.push_back(text());
      return;
    }
    for (uint64_t i = 0; i < count; ++i) {
      const Value value = scalar(type);
      array.numbers.push_back(value.is_bool() ? value.as_bool() : value.as_double());
    }
  }

  void read_entry(GgufFile& gguf) {
    std::string name = key();
    const ValueType type = value_type();
    if (type != ValueType::array) {
      gguf.metadata.emplace_back(std::move(name), scalar(type));
      return;
    }
    read_array(gguf.arrays.emplace_back(std::move(name), GgufArray()).second, 1);
  }

  GgufTensor read_tensor() {
    GgufTensor tensor;
    tensor.name = key();
    const auto tensor_fail = [&](const std::string& what) { fail(concat("has tensor '", tensor.name, "' ", what)); };
    const auto rank = number<uint32_t>();
    if (rank > static_cast<uint32_t>(limits::kTensorRank))
      tensor_fail(concat("of ", rank, " dimensions; at most ", limits::kTensorRank, " are read"));
    for (uint32_t i = 0; i < rank; ++i) {
      const auto size = number<uint64_t>();
      if (size > static_cast<uint64_t>(INT64_MAX)) tensor_fail(concat("with a dimension of ", size));
      tensor.shape.push_back(static_cast<int64_t>(size));
    }
    const auto number_of_type = number<uint32_t>();
    const TypeEntry* type = find_type(number_of_type);
    if (!type) tensor_fail(concat("of unknown type ", number_of_type));
    tensor.type = type->type;
    tensor.begin = number<uint64_t>();

    const uint64_t row = tensor.shape.empty() ? 1 : static_cast<uint64_t>(tensor.shape[0]);
    std::reverse(tensor.shape.begin(), tensor.shape.end());
    if (row % type->block.elements != 0) {
      tensor_fail(concat("of type ", type->name, " with rows of ", row, " elements; expected a multiple of ",
                         type->block.elements));
    }
    const auto elements = checked_bytes(tensor.shape, 1);
    uint64_t bytes = 0;
    if (!elements || __builtin_mul_overflow(*elements / type->block.elements, type->block.bytes, &bytes) ||
        __builtin_add_overflow(tensor.begin, bytes, &tensor.end)) {
      tensor_fail("whose size overflows");
    }
    return tensor;
  }

  // From offsets within the data to offsets within the file.
  void place(GgufFile& gguf) {
    where_.clear();
    const uint64_t data = (position_ + gguf.alignment - 1) / gguf.alignment * gguf.alignment;
    std::vector<GgufTensor*> by_offset;
    for (auto& tensor : gguf.tensors) {
      if (tensor.begin % gguf.alignment != 0)
        fail(concat("has tensor '", tensor.name, "' at offset ", tensor.begin, ", no multiple of ", gguf.alignment));
      if (data > file_size_ || tensor.end > file_size_ - data) {
        fail(concat("is truncated: tensor '", tensor.name, "' ends at byte ", tensor.end, " of the data, which has ",
                    data > file_size_ ? 0 : file_size_ - data));
      }
      tensor.begin += data;
      tensor.end += data;
      by_offset.push_back(&tensor);
    }
    std::sort(by_offset.begin(), by_offset.end(),
              [](const auto* a, const auto* b) { return std::pair(a->begin, a->end) < std::pair(b->begin, b->end); });
    for (size_t i = 1; i < by_offset.size(); ++i) {
      if (by_offset[i]->begin < by_offset[i - 1]->end) {
        fail(concat("has tensors '", by_offset[i - 1]->name, "' and '", by_offset[i]->name, "' that overlap"));
      }
    }
    std::sort(by_offset.begin(), by_offset.end(), [](const auto* a, const auto* b) { return a->name < b->name; });
    for (size_t i = 1; i < by_offset.size(); ++i) {
      if (by_offset[i]->name == by_offset[i - 1]->name) fail(concat("has two tensors '", by_offset[i]->name, "'"));
    }
  }

  void refuse_doubles(const std::vector<std::pair<std::string, Value>>& scalars,
                      const std::vector<std::pair<std::string, GgufArray>>& arrays) {
    std::vector<std::string_view> keys;
    for (const auto& entry : scalars) keys.push_back(entry.first);
    for (const auto& entry : arrays) keys.push_back(entry.first);
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice != keys.end()) fail(concat("has the key ", *twice, " twice"));
  }

  std::span<const std::byte> bytes_;
  uint64_t file_size_;
  const std::string& file_;
  uint64_t position_ = 0;
  std::string where_;
};

template <class Entries>
auto* find_entry(const Entries& entries, std::string_view key) {
  const auto entry =
      std::find_if(entries.begin(), entries.end(), [&](const auto& candidate) { return candidate.first == key; });
  return entry == entries.end() ? nullptr : &entry->second;
}

}  // namespace

std::string_view to_string(GgmlType type) { return find_type(static_cast<uint32_t>(type))->name; }
GgmlBlock block_of(GgmlType type) { return find_type(static_cast<uint32_t>(type))->block; }

Value GgufArray::at(size_t i) const {
  switch (kind) {
    case Kind::text:
      return texts.at(i);
    case Kind::integer:
      if (numbers.at(i) >= 0x1p63) return numbers.at(i);
      return static_cast<int64_t>(numbers.at(i));
    case Kind::number:
      return numbers.at(i);
    case Kind::boolean:
      return numbers.at(i) != 0;
  }
  __builtin_unreachable();
}

const Value* GgufFile::find(std::string_view key) const { return find_entry(metadata, key); }
const GgufArray* GgufFile::find_array(std::string_view key) const { return find_entry(arrays, key); }

std::string GgufFile::text(std::string_view key) const {
  const Value* value = find(key);
  return value && value->is_string() ? value->as_string() : "";
}

std::optional<GgufFile> parse_gguf(std::span<const std::byte> prefix, uint64_t file_size, const std::string& file) {
  try {
    return Reader(prefix, file_size, file).read();
  } catch (const PrefixEnds&) {
    return std::nullopt;
  }
}

GgufTokenizer read_gguf_tokenizer(const GgufFile& gguf, const std::string& file) {
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorCode::bad_tokenizer, concat("'", file, "': ", what));
  };
  const auto array = [&](std::string_view name, GgufArray::Kind kind) {
    const GgufArray* found = gguf.find_array(concat("tokenizer.ggml.", name));
    if (found && found->size() > 0 && found->kind != kind)
      fail(concat("tokenizer.ggml.", name, " has elements of another type than expected"));
    return found;
  };
  GgufTokenizer tokenizer;
  tokenizer.model = gguf.text("tokenizer.ggml.model");
  tokenizer.pre = gguf.text("tokenizer.ggml.pre");
  tokenizer.chat_template = gguf.text("tokenizer.chat_template");
  const GgufArray* tokens = array("tokens", GgufArray::Kind::text);
  if (tokenizer.model.empty() || !tokens || tokens->size() == 0)
    fail("has no vocabulary (tokenizer.ggml.model and tokenizer.ggml.tokens)");
  tokenizer.tokens = tokens->texts;
  if (const auto* scores = array("scores", GgufArray::Kind::number))
    tokenizer.scores.assign(scores->numbers.begin(), scores->numbers.end());
  if (const auto* types = array("token_type", GgufArray::Kind::integer)) {
    for (double type : types->numbers)
      tokenizer.types.push_back(type >= 1 && type <= 6 ? static_cast<int32_t>(type) : 1);
  }
  if (const auto* merges = array("merges", GgufArray::Kind::text)) tokenizer.merges = merges->texts;
  const size_t count = tokenizer.tokens.size();
  const auto same_length = [&](size_t length, const char* name) {
    if (length != 0 && length != count)
      fail(concat("tokenizer.ggml.", name, " has ", length, " elements; tokenizer.ggml.tokens has ", count));
  };
  same_length(tokenizer.scores.size(), "scores");
  same_length(tokenizer.types.size(), "token_type");
  const auto id = [&](std::string_view name) -> std::optional<int64_t> {
    const Value* value = gguf.find(concat("tokenizer.ggml.", name));
    if (!value) return std::nullopt;
    // 2^32 - 1 is how converters write "none".
    if (!value->is_int() || value->as_int() == UINT32_MAX) return std::nullopt;
    if (value->as_int() < 0 || static_cast<uint64_t>(value->as_int()) >= count) {
      fail(concat("tokenizer.ggml.", name, " is ", value->as_int(), "; the vocabulary has ", count, " tokens"));
    }
    return value->as_int();
  };
  tokenizer.bos = id("bos_token_id");
  tokenizer.eos = id("eos_token_id");
  tokenizer.unknown = id("unknown_token_id");
  tokenizer.padding = id("padding_token_id");
  tokenizer.separator = id("seperator_token_id");  // spelt so in the format
  tokenizer.mask = id("mask_token_id");
  const auto flag = [&](std::string_view name) -> std::optional<bool> {
    const Value* value = gguf.find(concat("tokenizer.ggml.", name));
    return value && value->is_bool() ? std::optional(value->as_bool()) : std::nullopt;
  };
  tokenizer.add_bos = flag("add_bos_token");
  tokenizer.add_eos = flag("add_eos_token");
  tokenizer.add_space_prefix = flag("add_space_prefix");
  return tokenizer;
}

}  // namespace backplane
