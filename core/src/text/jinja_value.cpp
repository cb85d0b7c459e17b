#include "text/jinja_value.h"

#include <algorithm>
#include <cmath>

#include "backplane/base/strings.h"

namespace backplane::jinja {
namespace {

thread_local Budget* budget = nullptr;

constexpr size_t kIndexedFrom = 9;  // entries of a dict that is worth an index
constexpr size_t kBytesPerUnit = 32;

int depth_of(const Value& value) {
  switch (value.kind()) {
    case Kind::list:
    case Kind::tuple:
      return value.as<ListObject>().depth;
    case Kind::dict:
      return value.as<DictObject>().depth;
    case Kind::iterator:
    case Kind::cycler:
      return limits::kTemplateDepth / 2;
    default:
      return 0;
  }
}

// Containers may not nest without bound: their destructors recurse.
int depth_around(const std::vector<Value>& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, depth_of(item));
  if (depth >= limits::kTemplateDepth)
    limit_error(concat("a value nests deeper than ", limits::kTemplateDepth, " levels"));
  return depth + 1;
}

std::shared_ptr<ListObject> make_items(std::vector<Value> items) {
  charge(items.size());
  auto object = std::make_shared<ListObject>();
  object->depth = depth_around(items);
  object->items = std::move(items);
  return object;
}

}  // namespace

void fail(std::string type, std::string message) { throw Failure{std::move(type), std::move(message)}; }
void type_error(std::string message) { fail("TypeError", std::move(message)); }
void value_error(std::string message) { fail("ValueError", std::move(message)); }
void limit_error(std::string message) { throw Failure{"LimitError", std::move(message), ErrorCode::limit_exceeded}; }

void charge(uint64_t units) {
  if (!budget) return;
  if (budget->units < units) limit_error(concat("the template takes more than ", limits::kTemplateSteps, " steps"));
  budget->units -= units;
}
void charge_bytes(size_t bytes) { charge(bytes / kBytesPerUnit); }

BudgetScope::BudgetScope(Budget& value) : outer_(budget) { budget = &value; }
BudgetScope::~BudgetScope() { budget = outer_; }

// --- Text ---

bool Text::user_at(size_t byte) const {
  if (runs_.empty()) return user_;
  return std::upper_bound(runs_.begin(), runs_.end(), byte, [](size_t at, const Run& run) { return at < run.end; })
      ->user;
}

void Text::append(std::string_view bytes, bool user) {
  if (bytes.empty()) return;
  if (bytes_.size() + bytes.size() > limits::kTemplateOutputBytes) {
    limit_error(concat("the template makes a text of more than ", limits::kTemplateOutputBytes, " bytes"));
  }
  if (bytes_.empty()) {
    user_ = user;
  } else if (runs_.empty() && user != user_) {
    runs_.push_back({bytes_.size(), user_});
  }
  bytes_.append(bytes);
  if (runs_.empty()) return;
  if (runs_.back().user == user) {
    runs_.back().end = bytes_.size();
  } else {
    runs_.push_back({bytes_.size(), user});
  }
}

void Text::append(const Text& text, size_t begin, size_t end) {
  const std::string_view bytes = text.bytes_;
  if (text.runs_.empty()) return append(bytes.substr(begin, end - begin), text.user_);
  auto run =
      std::upper_bound(text.runs_.begin(), text.runs_.end(), begin, [](size_t at, const Run& r) { return at < r.end; });
  for (; begin < end; ++run) {
    const size_t stop = std::min(end, run->end);
    append(bytes.substr(begin, stop - begin), run->user);
    begin = stop;
  }
}

Text Text::slice(size_t begin, size_t end) const {
  Text part;
  if (begin < end) part.append(*this, begin, end);
  return part;
}

std::vector<Text::Run> Text::runs() const {
  if (bytes_.empty()) return {};
  if (runs_.empty()) return {{bytes_.size(), user_}};
  return runs_;
}

// --- Value ---

Value Value::string(Text text, bool markup) {
  charge_bytes(text.size());
  auto object = std::make_shared<StringObject>();
  object->text = std::move(text);
  object->markup = markup;
  return {Kind::string, std::move(object)};
}

Value Value::integer(BigInt value) {
  if (value >= INT64_MIN && value <= INT64_MAX) return Value(static_cast<int64_t>(value));
  auto object = std::make_shared<BigObject>();
  object->value = std::move(value);
  return {Kind::big, std::move(object)};
}

Value Value::list(std::vector<Value> items) { return {Kind::list, make_items(std::move(items))}; }
Value Value::tuple(std::vector<Value> items) { return {Kind::tuple, make_items(std::move(items))}; }
Value Value::iterator(std::vector<Value> items) {
  charge(items.size());
  if (depth_around(items) > limits::kTemplateDepth / 2) limit_error("a value nests too deeply");
  auto object = std::make_shared<IteratorObject>();
  object->items = std::move(items);
  return {Kind::iterator, std::move(object)};
}

const Text& Value::text() const { return as<StringObject>().text; }
bool Value::markup() const { return is_string() && as<StringObject>().markup; }
const std::vector<Value>& Value::items() const { return as<ListObject>().items; }
const DictObject& Value::dict() const { return as<DictObject>(); }

bool Value::same(const Value& other) const {
  if (kind_ != other.kind_) return false;
  if (object_ || other.object_) {
    if (object_ == other.object_) return true;
    // CPython shares these.
    return (is_string() && bytes() == other.bytes() && bytes().size() <= 1) ||
           (kind_ == Kind::tuple && items().empty() && other.items().empty());
  }
  if (kind_ == Kind::boolean) return boolean() == other.boolean();
  if (kind_ == Kind::integer) return small() == other.small() && small() >= -5 && small() <= 256;
  return kind_ != Kind::real;
}

int64_t RangeObject::size() const {
  if (step > 0 ? start >= stop : start <= stop) return 0;
  const uint64_t span = step > 0 ? static_cast<uint64_t>(stop) - static_cast<uint64_t>(start)
                                 : static_cast<uint64_t>(start) - static_cast<uint64_t>(stop);
  const uint64_t width = step > 0 ? static_cast<uint64_t>(step) : 0 - static_cast<uint64_t>(step);
  return static_cast<int64_t>(std::min<uint64_t>((span - 1) / width + 1, INT64_MAX));
}

// --- dict ---

void DictObject::index() const {
  if (entries.size() < kIndexedFrom || index_.size() == entries.size()) return;
  index_.clear();
  for (size_t i = 0; i < entries.size(); ++i) index_.emplace(hash(entries[i].first), i);
}

std::optional<size_t> DictObject::position(const Value& key) const {
  const size_t code = hash(key);
  if (entries.size() < kIndexedFrom) {
    for (size_t i = 0; i < entries.size(); ++i) {
      if (equal(entries[i].first, key)) return i;
    }
    return std::nullopt;
  }
  index();
  const auto [begin, end] = index_.equal_range(code);
  for (auto it = begin; it != end; ++it) {
    charge(1);
    if (equal(entries[it->second].first, key)) return it->second;
  }
  return std::nullopt;
}

const Value* DictObject::find(const Value& key) const {
  const auto at = position(key);
  return at ? &entries[*at].second : nullptr;
}

const Value* DictObject::find(std::string_view key) const {
  if (entries.size() < kIndexedFrom) {
    for (const auto& [name, value] : entries) {
      if (name.is_string() && name.bytes() == key) return &value;
    }
    return nullptr;
  }
  return find(Value::string(std::string(key)));
}

void DictObject::set(Value key, Value value) {
  const int inner = std::max(depth_of(key), depth_of(value));
  if (inner >= limits::kTemplateDepth)
    limit_error(concat("a value nests deeper than ", limits::kTemplateDepth, " levels"));
  depth = std::max(depth, inner + 1);
  if (const auto at = position(key)) {
    entries[*at].second = std::move(value);
    return;
  }
  charge(1);
  if (!index_.empty()) index_.emplace(hash(key), entries.size());
  entries.emplace_back(std::move(key), std::move(value));
}

void DictObject::erase(const Value& key) {
  if (const auto at = position(key)) {
    entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(*at));
    index_.clear();
  }
}

// --- making ---

Value make_dict(std::shared_ptr<DictObject> dict) { return {Kind::dict, std::move(dict)}; }

Value make_undefined(std::string message, std::string exception) {
  auto object = std::make_shared<UndefinedObject>();
  object->message = std::move(message);
  object->exception = std::move(exception);
  return {Kind::undefined, std::move(object)};
}

Value undefined_name(const std::string& name) { return make_undefined(concat(quote(name), " is undefined")); }

Value undefined_member(const Value& object, const Value& name) {
  static const auto described = [](const Value& value) -> std::string {
    if (value.is_none()) return "None";
    const std::string type = type_name(value);
    static constexpr std::pair<std::string_view, const char*> kModules[] = {
        {"Undefined", "jinja2.runtime."}, {"Macro", "jinja2.runtime."}, {"LoopContext", "jinja2.runtime."},
        {"Namespace", "jinja2.utils."},   {"Cycler", "jinja2.utils."},  {"Joiner", "jinja2.utils."},
        {"Markup", "markupsafe."}};
    for (const auto& [name, module] : kModules) {
      if (type == name) return concat(module, type, " object");
    }
    return type + " object";
  };
  if (!name.is_string()) return make_undefined(concat(described(object), " has no element ", repr(name).bytes()));
  return make_undefined(concat(quote(described(object)), " has no attribute ", quote(name.bytes())));
}

Value make_function(std::string name, Native call) {
  auto object = std::make_shared<FunctionObject>();
  object->name = std::move(name);
  object->call = std::move(call);
  return {Kind::function, std::move(object)};
}

Value from_json(const Json& json, bool user, int depth) {
  if (depth >= limits::kTemplateDepth)
    limit_error(concat("a value nests deeper than ", limits::kTemplateDepth, " levels"));
  switch (json.type()) {
    case Json::value_t::boolean:
      return json.get<bool>();
    case Json::value_t::number_integer:
      return json.get<int64_t>();
    case Json::value_t::number_unsigned:
      return Value::integer(BigInt(json.get<uint64_t>()));
    case Json::value_t::number_float:
      return json.get<double>();
    case Json::value_t::string:
      return Value::string(Text(json.get_ref<const std::string&>(), user));
    case Json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(from_json(item, user, depth + 1));
      return Value::list(std::move(items));
    }
    case Json::value_t::object: {
      auto dict = std::make_shared<DictObject>();
      for (const auto& [key, value] : json.items())
        dict->set(Value::string(Text(key, user)), from_json(value, user, depth + 1));
      return make_dict(std::move(dict));
    }
    default:
      return {};
  }
}

// --- types ---

std::string type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
      return "Undefined";
    case Kind::none:
      return "NoneType";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
    case Kind::big:
      return "int";
    case Kind::real:
      return "float";
    case Kind::string:
      return value.markup() ? "Markup" : "str";
    case Kind::bytes:
      return "bytes";
    case Kind::list:
      return "list";
    case Kind::tuple:
      return value.as<ListObject>().group ? "_GroupTuple" : "tuple";
    case Kind::dict:
      return "dict";
    case Kind::range:
      return "range";
    case Kind::names:
      return "Namespace";
    case Kind::view: {
      static constexpr const char* kNames[] = {"dict_keys", "dict_values", "dict_items"};
      return kNames[value.as<ViewObject>().which];
    }
    case Kind::iterator:
      return "generator";
    case Kind::function:
      return "function";
    case Kind::macro:
      return "Macro";
    case Kind::loop:
      return "LoopContext";
    case Kind::cycler:
      return "Cycler";
    case Kind::joiner:
      return "Joiner";
    case Kind::type:
      return "type";
  }
  return "object";
}

void fail_undefined(const Value& value) {
  const auto& undefined = value.as<UndefinedObject>();
  fail(undefined.exception, undefined.message);
}

bool truthy(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
      return value.boolean();
    case Kind::integer:
      return value.small() != 0;
    case Kind::real:
      return value.real() != 0;
    case Kind::string:
    case Kind::bytes:
      return !value.bytes().empty();
    case Kind::list:
    case Kind::tuple:
      return !value.items().empty();
    case Kind::dict:
      return !value.dict().entries.empty();
    case Kind::range:
      return value.as<RangeObject>().size() > 0;
    case Kind::view:
      return truthy(value.as<ViewObject>().dict);
    default:
      return true;
  }
}

std::optional<size_t> length(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
      return 0;
    case Kind::string:
      return utf8::count(value.bytes());
    case Kind::bytes:
      return value.bytes().size();
    case Kind::list:
    case Kind::tuple:
      return value.items().size();
    case Kind::dict:
      return value.dict().entries.size();
    case Kind::range:
      return static_cast<size_t>(value.as<RangeObject>().size());
    case Kind::view:
      return value.as<ViewObject>().dict.dict().entries.size();
    default:
      return std::nullopt;
  }
}

namespace {
constexpr int kCompareDepth = 2 * limits::kTemplateDepth;

std::vector<Value> view_items(const ViewObject& view) {
  std::vector<Value> items;
  for (const auto& [key, value] : view.dict.dict().entries) {
    items.push_back(view.which == ViewObject::keys     ? key
                    : view.which == ViewObject::values ? value
                                                       : Value::tuple({key, value}));
  }
  return items;
}
}  // namespace

bool equal(const Value& a, const Value& b, int depth) {
  charge(1);
  if (depth > kCompareDepth) limit_error("values nest too deeply to be compared");
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::undefined:
    case Kind::none:
      return true;
    case Kind::string:
    case Kind::bytes:
      charge_bytes(std::min(a.bytes().size(), b.bytes().size()));
      return a.bytes() == b.bytes();
    case Kind::list:
    case Kind::tuple:
      return a.object() == b.object() ||
             std::equal(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(),
                        [&](const Value& x, const Value& y) { return x.same(y) || equal(x, y, depth + 1); });
    case Kind::dict: {
      if (a.object() == b.object()) return true;
      const auto &x = a.dict(), &y = b.dict();
      if (x.entries.size() != y.entries.size()) return false;
      return std::all_of(x.entries.begin(), x.entries.end(), [&](const auto& entry) {
        const Value* other = y.find(entry.first);
        return other && (entry.second.same(*other) || equal(entry.second, *other, depth + 1));
      });
    }
    case Kind::range: {
      const auto &x = a.as<RangeObject>(), &y = b.as<RangeObject>();
      const int64_t size = x.size();
      return size == y.size() && (size == 0 || (x.start == y.start && (size == 1 || x.step == y.step)));
    }
    default:
      return a.object() == b.object();
  }
}

std::optional<int> order(const Value& a, const Value& b, const char* op, int depth) {
  charge(1);
  if (depth > kCompareDepth) limit_error("values nest too deeply to be compared");
  if (a.is_undefined()) fail_undefined(a);
  if (b.is_undefined()) fail_undefined(b);
  if (a.is_number() && b.is_number()) return compare_numbers(a, b);
  if (a.kind() == b.kind()) {
    if (a.is_string() || a.is(Kind::bytes)) {
      charge_bytes(std::min(a.bytes().size(), b.bytes().size()));
      return a.bytes().compare(b.bytes());
    }
    if (a.is(Kind::list) || a.is(Kind::tuple)) {
      const auto &x = a.items(), &y = b.items();
      for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
        if (!x[i].same(y[i]) && !equal(x[i], y[i], depth + 1)) return order(x[i], y[i], op, depth + 1);
      }
      return x.size() < y.size() ? -1 : x.size() > y.size();
    }
  }
  type_error(concat("'", op, "' not supported between instances of '", type_name(a), "' and '", type_name(b), "'"));
}

bool contains(const Value& item, const Value& container) {
  const auto any = [&](const std::vector<Value>& items) {
    return std::any_of(items.begin(), items.end(),
                       [&](const Value& other) { return other.same(item) || equal(other, item); });
  };
  switch (container.kind()) {
    case Kind::undefined:
      return false;
    case Kind::string:
      if (!item.is_string()) {
        if (item.is_undefined()) type_error("'in <string>' requires string as left operand, not Undefined");
        type_error(concat("'in <string>' requires string as left operand, not ", type_name(item)));
      }
      charge_bytes(container.bytes().size());
      return container.bytes().find(item.bytes()) != std::string::npos;
    case Kind::list:
    case Kind::tuple:
      return any(container.items());
    case Kind::dict:
      return container.dict().find(item) != nullptr;
    case Kind::view:
      if (container.as<ViewObject>().which == ViewObject::keys)
        return container.as<ViewObject>().dict.dict().find(item) != nullptr;
      return any(view_items(container.as<ViewObject>()));
    case Kind::range: {
      if (!item.is_number()) return false;
      const auto& range = container.as<RangeObject>();
      if (item.is(Kind::real) && item.real() != std::floor(item.real())) return false;
      const BigInt value = item.is(Kind::real) ? big(floor_to_int(item.real())) : big(item);
      if (range.step > 0 ? value < range.start || value >= range.stop : value > range.start || value <= range.stop)
        return false;
      return (value - range.start) % range.step == 0;
    }
    case Kind::iterator:
      return any(iterate(container));
    default:
      type_error(concat("argument of type '", type_name(container), "' is not iterable"));
  }
}

size_t hash(const Value& value) {
  charge(1);
  switch (value.kind()) {
    case Kind::none:
      return 1;
    case Kind::boolean:
    case Kind::integer:
      return std::hash<int64_t>()(value.small());
    case Kind::big:
      return std::hash<double>()(to_real(value));
    case Kind::real: {
      const double real = value.real();
      if (real == std::floor(real) && std::abs(real) < 9e18) return std::hash<int64_t>()(static_cast<int64_t>(real));
      return std::hash<double>()(real);
    }
    case Kind::string:
    case Kind::bytes:
      charge_bytes(value.bytes().size());
      return std::hash<std::string>()(value.bytes());
    case Kind::tuple: {
      size_t code = 7;
      for (const Value& item : value.items()) code = code * 1000003 + hash(item);
      return code;
    }
    case Kind::list:
    case Kind::dict:
      type_error(concat("unhashable type: '", type_name(value), "'"));
    case Kind::undefined:
      return 2;
    default:
      return std::hash<const void*>()(value.object().get());
  }
}

std::vector<Value> iterate(const Value& value) {
  std::vector<Value> items;
  switch (value.kind()) {
    case Kind::undefined:
      return items;
    case Kind::list:
    case Kind::tuple:
      items = value.items();
      break;
    case Kind::string: {
      const Text& text = value.text();
      for (size_t at = 0; at < text.size();) {
        const size_t begin = at;
        utf8::decode(text.bytes(), at);
        charge(1);
        items.push_back(Value::string(text.slice(begin, at)));
      }
      break;
    }
    case Kind::bytes:
      for (const char c : value.bytes()) items.emplace_back(static_cast<int64_t>(static_cast<unsigned char>(c)));
      break;
    case Kind::dict:
      for (const auto& [key, unused] : value.dict().entries) items.push_back(key);
      break;
    case Kind::view:
      items = view_items(value.as<ViewObject>());
      break;
    case Kind::range: {
      const auto& range = value.as<RangeObject>();
      const int64_t size = range.size();
      charge(static_cast<uint64_t>(size));
      for (int64_t i = 0; i < size; ++i) items.emplace_back(range.start + i * range.step);
      break;
    }
    case Kind::iterator: {
      auto& iterator = value.as<IteratorObject>();
      items.assign(iterator.items.begin() + static_cast<std::ptrdiff_t>(iterator.next), iterator.items.end());
      iterator.next = iterator.items.size();
      break;
    }
    default:
      type_error(concat("'", type_name(value), "' object is not iterable"));
  }
  charge(items.size());
  return items;
}

// --- printing ---

std::string quote(std::string_view text) {
  Text out;
  append_repr(out, Value::string(std::string(text)), 0);
  return out.bytes();
}

namespace {

void append_quoted(Text& out, const Text& text) {
  const std::string_view bytes = text.bytes();
  const bool has_single = bytes.find('\'') != std::string_view::npos;
  const char quote = has_single && bytes.find('"') == std::string_view::npos ? '"' : '\'';
  out.append(std::string_view(&quote, 1));
  for (size_t at = 0; at < bytes.size();) {
    const size_t begin = at;
    const char32_t c = utf8::decode(bytes, at);
    char buffer[16];
    const char* escape = nullptr;
    if (c == static_cast<unsigned char>(quote)) {
      escape = quote == '"' ? "\\\"" : "\\'";
    } else if (c == '\\') {
      escape = "\\\\";
    } else if (c == '\n') {
      escape = "\\n";
    } else if (c == '\r') {
      escape = "\\r";
    } else if (c == '\t') {
      escape = "\\t";
    } else if (!utf8::is_printable(c)) {
      std::snprintf(buffer, sizeof buffer,
                    c < 0x100     ? "\\x%02x"
                    : c < 0x10000 ? "\\u%04x"
                                  : "\\U%08x",
                    static_cast<unsigned>(c));
      escape = buffer;
    }
    if (escape) {
      out.append(escape, text.user_at(begin));
    } else {
      out.append(text, begin, at);
    }
  }
  out.append(std::string_view(&quote, 1));
}

void append_bytes_repr(Text& out, std::string_view bytes) {
  const char quote =
      bytes.find('\'') != std::string_view::npos && bytes.find('"') == std::string_view::npos ? '"' : '\'';
  std::string text = {'b', quote};
  for (const char c : bytes) {
    char buffer[8];
    if (c == quote || c == '\\') {
      text += {'\\', c};
    } else if (c == '\n' || c == '\r' || c == '\t') {
      text += {'\\', c == '\n' ? 'n' : c == '\r' ? 'r' : 't'};
    } else if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7F) {
      std::snprintf(buffer, sizeof buffer, "\\x%02x", static_cast<unsigned char>(c));
      text += buffer;
    } else {
      text += c;
    }
  }
  out.append(text + quote, true);
}

}  // namespace

void append_repr(Text& out, const Value& value, int depth) {
  charge(1);
  if (depth > kCompareDepth) limit_error("a value nests too deeply to be printed");
  const auto sequence = [&](const std::vector<Value>& items, const char* open, const char* close) {
    out.append(open);
    for (size_t i = 0; i < items.size(); ++i) {
      if (i) out.append(", ");
      append_repr(out, items[i], depth + 1);
    }
    out.append(close);
  };
  const auto dict = [&](const DictObject& object) {
    out.append("{");
    bool first = true;
    for (const auto& [key, item] : object.entries) {
      if (!first) out.append(", ");
      first = false;
      append_repr(out, key, depth + 1);
      out.append(": ");
      append_repr(out, item, depth + 1);
    }
    out.append("}");
  };
  switch (value.kind()) {
    case Kind::undefined:
      return out.append("Undefined");
    case Kind::none:
      return out.append("None");
    case Kind::boolean:
      return out.append(value.boolean() ? "True" : "False");
    case Kind::integer:
    case Kind::big:
      return out.append(int_text(value));
    case Kind::real:
      return out.append(python_float(value.real()));
    case Kind::string:
      charge_bytes(value.bytes().size());
      if (value.markup()) out.append("Markup(");
      append_quoted(out, value.text());
      if (value.markup()) out.append(")");
      return;
    case Kind::bytes:
      return append_bytes_repr(out, value.bytes());
    case Kind::list:
      return sequence(value.items(), "[", "]");
    case Kind::tuple:
      return sequence(value.items(), "(", value.items().size() == 1 ? ",)" : ")");
    case Kind::dict:
      return dict(value.dict());
    case Kind::names:
      out.append("<Namespace ");
      dict(value.as<NamesObject>().attributes);
      return out.append(">");
    case Kind::range: {
      const auto& range = value.as<RangeObject>();
      out.append(concat("range(", range.start, ", ", range.stop));
      if (range.step != 1) out.append(concat(", ", range.step));
      return out.append(")");
    }
    case Kind::view:
      out.append(type_name(value) + "(");
      sequence(view_items(value.as<ViewObject>()), "[", "]");
      return out.append(")");
    case Kind::type:
      return out.append(concat("<class '", value.as<FunctionObject>().name, "'>"));
    case Kind::function:
      return out.append(concat("<function ", value.as<FunctionObject>().name, ">"));
    default:
      return out.append(concat("<", type_name(value), " object>"));
  }
}

Text repr(const Value& value) {
  Text out;
  append_repr(out, value, 0);
  return out;
}

Text str(const Value& value) {
  if (value.is_string()) return value.text();
  if (value.is_undefined()) return {};
  return repr(value);
}

namespace {

void append_json_string(Text& out, const Text& text, bool ensure_ascii) {
  const std::string_view bytes = text.bytes();
  out.append("\"");
  for (size_t at = 0; at < bytes.size();) {
    const size_t begin = at;
    const char32_t c = utf8::decode(bytes, at);
    char buffer[16];
    const char* escape = nullptr;
    switch (c) {
      case '"':
        escape = "\\\"";
        break;
      case '\\':
        escape = "\\\\";
        break;
      case '\n':
        escape = "\\n";
        break;
      case '\r':
        escape = "\\r";
        break;
      case '\t':
        escape = "\\t";
        break;
      case '\b':
        escape = "\\b";
        break;
      case '\f':
        escape = "\\f";
        break;
      default:
        if (c < 0x20 || (ensure_ascii && c > 0x7E)) {
          if (c > 0xFFFF) {
            std::snprintf(buffer, sizeof buffer, "\\u%04x\\u%04x",
                          static_cast<unsigned>(0xD800 + ((c - 0x10000) >> 10)),
                          static_cast<unsigned>(0xDC00 + ((c - 0x10000) & 0x3FF)));
          } else {
            std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(c));
          }
          escape = buffer;
        }
    }
    if (ensure_ascii && c == 0x7F) escape = nullptr;
    if (escape) {
      out.append(escape, text.user_at(begin));
    } else {
      out.append(text, begin, at);
    }
  }
  out.append("\"");
}

std::string json_real(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return python_float(value);
}

void append_json(Text& out, const Value& value, const DumpOptions& options, int depth) {
  charge(1);
  if (depth > kCompareDepth) limit_error("a value nests too deeply to be printed");
  const auto line = [&](int level) {
    if (!options.indent) return;
    out.append("\n");
    for (int i = 0; i < level; ++i) out.append(*options.indent);
  };
  switch (value.kind()) {
    case Kind::none:
      return out.append("null");
    case Kind::boolean:
      return out.append(value.boolean() ? "true" : "false");
    case Kind::integer:
    case Kind::big:
      return out.append(int_text(value));
    case Kind::real:
      return out.append(json_real(value.real()));
    case Kind::string:
      charge_bytes(value.bytes().size());
      return append_json_string(out, value.text(), options.ensure_ascii);
    case Kind::list:
    case Kind::tuple: {
      const auto& items = value.items();
      if (items.empty()) return out.append("[]");
      out.append("[");
      for (size_t i = 0; i < items.size(); ++i) {
        if (i) out.append(options.item_separator);
        line(depth + 1);
        append_json(out, items[i], options, depth + 1);
      }
      line(depth);
      return out.append("]");
    }
    case Kind::dict: {
      auto entries = value.dict().entries;
      if (entries.empty()) return out.append("{}");
      if (options.sort_keys) {
        std::stable_sort(entries.begin(), entries.end(),
                         [](const auto& a, const auto& b) { return order(a.first, b.first, "<") < 0; });
      }
      out.append("{");
      bool first = true;
      for (const auto& [key, item] : entries) {
        if (!first) out.append(options.item_separator);
        first = false;
        line(depth + 1);
        Text name;
        switch (key.kind()) {
          case Kind::string:
            name = key.text();
            break;
          case Kind::none:
            name.append("null");
            break;
          case Kind::boolean:
            name.append(key.boolean() ? "true" : "false");
            break;
          case Kind::integer:
          case Kind::big:
            name.append(int_text(key));
            break;
          case Kind::real:
            name.append(json_real(key.real()));
            break;
          default:
            type_error(concat("keys must be str, int, float, bool or None, not ", type_name(key)));
        }
        append_json_string(out, name, options.ensure_ascii);
        out.append(options.key_separator);
        append_json(out, item, options, depth + 1);
      }
      line(depth);
      return out.append("}");
    }
    default:
      type_error(concat("Object of type ", type_name(value), " is not JSON serializable"));
  }
}

}  // namespace

Text dumps(const Value& value, const DumpOptions& options) {
  Text out;
  append_json(out, value, options, 0);
  return out;
}

std::vector<std::optional<Value>> bind(const char* function, Arguments& arguments,
                                       std::initializer_list<const char*> names) {
  std::vector<std::optional<Value>> values(names.size());
  if (arguments.positional.size() > names.size()) {
    type_error(concat(function, "() takes ", names.size(), " positional arguments but ", arguments.positional.size(),
                      " were given"));
  }
  std::move(arguments.positional.begin(), arguments.positional.end(), values.begin());
  const auto plain = [](const char* name) { return std::string_view(*name == '=' ? name + 1 : name); };
  for (auto& [key, value] : arguments.named) {
    const auto found = std::find_if(names.begin(), names.end(), [&](const char* name) { return plain(name) == key; });
    if (found == names.end()) type_error(concat(function, "() got an unexpected keyword argument '", key, "'"));
    auto& place = values[static_cast<size_t>(found - names.begin())];
    if (place) type_error(concat(function, "() got multiple values for argument '", key, "'"));
    place = std::move(value);
  }
  for (size_t i = 0; i < names.size(); ++i) {
    const char* name = names.begin()[i];
    if (!values[i] && *name != '=') type_error(concat(function, "() missing required argument: '", name, "'"));
  }
  return values;
}

int64_t to_index(const Value& value, const char* what) {
  if (value.is_undefined()) fail_undefined(value);
  if (value.is(Kind::boolean) || value.is(Kind::integer)) return value.small();
  if (value.is(Kind::big)) return value.as<BigObject>().value < 0 ? INT64_MIN : INT64_MAX;
  type_error(concat("'", type_name(value), "' object cannot be interpreted as an integer (", what, ")"));
}

}  // namespace backplane::jinja
