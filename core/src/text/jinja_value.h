#pragma once

#include <boost/multiprecision/cpp_int.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "backplane/text/jinja.h"

// Python's values, as far as templates see them.
namespace backplane::jinja {

using BigInt = boost::multiprecision::cpp_int;

/// Thrown inside the interpreter, which adds the place.
struct Failure {
  std::string type, message;
  ErrorCode code = ErrorCode::bad_template;
};

[[noreturn]] void fail(std::string type, std::string message);
[[noreturn]] void type_error(std::string message);
[[noreturn]] void value_error(std::string message);
[[noreturn]] void limit_error(std::string message);

/// What a rendering may still spend; one statement is 8 units. Long texts and lists are charged by their size, so that
/// time and memory are bounded together.
struct Budget {
  uint64_t units = 8 * limits::kTemplateSteps;
};
/// Takes from the budget of the rendering that this thread is in.
void charge(uint64_t units);
void charge_bytes(size_t bytes);  // for work in proportion to a text

class BudgetScope {
 public:
  explicit BudgetScope(Budget& budget);
  ~BudgetScope();

 private:
  Budget* outer_;
};

/// UTF-8 that remembers which bytes came from the caller's data ("user") and which from the template.
class Text {
 public:
  struct Run {
    size_t end;
    bool user;
  };

  Text() = default;
  explicit Text(std::string bytes, bool user = false) : bytes_(std::move(bytes)), user_(user) {}

  const std::string& bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  bool user_at(size_t byte) const;
  void append(const Text& text) { append(text, 0, text.size()); }
  void append(const Text& text, size_t begin, size_t end);
  void append(std::string_view bytes, bool user = false);
  Text slice(size_t begin, size_t end) const;

  /// The runs in order, never empty ones.
  std::vector<Run> runs() const;

 private:
  std::string bytes_;
  bool user_ = false;      // the origin of all bytes while runs_ is empty
  std::vector<Run> runs_;  // filled once origins mix
};

enum class Kind : uint8_t {
  undefined,
  none,
  boolean,
  integer,
  big,
  real,
  string,
  bytes,
  list,
  tuple,
  dict,
  range,
  names,
  view,
  iterator,
  function,
  macro,
  loop,
  cycler,
  joiner,
  type
};

struct Object {
  virtual ~Object() = default;
};

class Value;
struct ListObject;
struct DictObject;

class Value {
 public:
  Value() : kind_(Kind::none) {}
  Value(bool value) : kind_(Kind::boolean) { scalar_.boolean = value; }
  Value(int64_t value) : kind_(Kind::integer) { scalar_.integer = value; }
  Value(int value) : Value(static_cast<int64_t>(value)) {}
  Value(size_t value) : Value(static_cast<int64_t>(value)) {}
  Value(double value) : kind_(Kind::real) { scalar_.real = value; }
  Value(const char*) = delete;
  Value(Kind kind, std::shared_ptr<Object> object) : kind_(kind), object_(std::move(object)) { scalar_.integer = 0; }

  static Value string(Text text, bool markup = false);
  static Value string(std::string bytes) { return string(Text(std::move(bytes))); }
  static Value integer(BigInt value);  // narrow where it fits
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value iterator(std::vector<Value> items);

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_undefined() const { return kind_ == Kind::undefined; }
  bool is_none() const { return kind_ == Kind::none; }
  bool is_string() const { return kind_ == Kind::string; }
  bool is_int() const { return kind_ == Kind::boolean || kind_ == Kind::integer || kind_ == Kind::big; }
  bool is_number() const { return is_int() || kind_ == Kind::real; }

  bool boolean() const { return scalar_.boolean; }
  int64_t small() const { return kind_ == Kind::boolean ? scalar_.boolean : scalar_.integer; }
  double real() const { return scalar_.real; }
  const Text& text() const;
  bool markup() const;
  const std::string& bytes() const { return text().bytes(); }
  const std::vector<Value>& items() const;  // of a list or a tuple
  const DictObject& dict() const;

  template <class T>
  T& as() const {
    return static_cast<T&>(*object_);
  }
  const std::shared_ptr<Object>& object() const { return object_; }
  bool same(const Value& other) const;  // Python's `is`

 private:
  Kind kind_;
  union {
    bool boolean;
    int64_t integer;
    double real;
  } scalar_ = {};
  std::shared_ptr<Object> object_;
};

struct StringObject : Object {
  Text text;
  bool markup = false;  // of markupsafe
};
struct BigObject : Object {
  BigInt value;
};
struct ListObject : Object {
  std::vector<Value> items;
  int depth = 1;
  bool group = false;  // the pairs of groupby, which have names as well
};
struct RangeObject : Object {
  int64_t start = 0, stop = 0, step = 1;
  int64_t size() const;
};
struct UndefinedObject : Object {
  std::string message;
  std::string exception = "UndefinedError";
};
struct IteratorObject : Object {
  std::vector<Value> items;
  size_t next = 0;
};

/// Python's dict: insertion order, keys by value.
struct DictObject : Object {
  std::vector<std::pair<Value, Value>> entries;
  int depth = 1;

  const Value* find(const Value& key) const;  // throws TypeError for what cannot be hashed
  const Value* find(std::string_view key) const;
  void set(Value key, Value value);
  void erase(const Value& key);

 private:
  std::optional<size_t> position(const Value& key) const;
  void index() const;
  mutable std::unordered_multimap<size_t, size_t> index_;  // filled once the dict is not small
};

struct ViewObject : Object {
  enum Which { keys, values, items } which = keys;
  Value dict;
};
struct NamesObject : Object {
  DictObject attributes;
};
struct CyclerObject : Object {
  std::vector<Value> items;
  size_t position = 0;
};
struct JoinerObject : Object {
  Value separator;
  bool used = false;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

class Interpreter;
using Native = std::function<Value(Interpreter&, Arguments&)>;
struct FunctionObject : Object {
  std::string name;
  Native call;
};

Value make_dict(std::shared_ptr<DictObject> dict);
Value make_undefined(std::string message, std::string exception = "UndefinedError");
Value undefined_name(const std::string& name);
Value undefined_member(const Value& object, const Value& name);
Value make_function(std::string name, Native call);
Value from_json(const Json& json, bool user, int depth = 0);

std::string type_name(const Value& value);  // "str", "NoneType", …
[[noreturn]] void fail_undefined(const Value& value);

bool truthy(const Value& value);
bool equal(const Value& a, const Value& b, int depth = 0);
/// <0, 0, >0; TypeError in Python's words for `op` where the types have no order. NaN compares as "not": nullopt.
std::optional<int> order(const Value& a, const Value& b, const char* op, int depth = 0);
bool contains(const Value& item, const Value& container);
size_t hash(const Value& value);

Text str(const Value& value);
Text repr(const Value& value);
void append_repr(Text& out, const Value& value, int depth);
std::string quote(std::string_view text);  // Python's repr of a string
struct DumpOptions {
  bool ensure_ascii = false, sort_keys = false;
  std::optional<Text> indent;
  Text item_separator = Text(", "), key_separator = Text(": ");
};
Text dumps(const Value& value, const DumpOptions& options);

/// The items of whatever can be iterated; an iterator is used up. TypeError otherwise.
std::vector<Value> iterate(const Value& value);
std::optional<size_t> length(const Value& value);

// Numbers (jinja_number.cpp).
BigInt big(const Value& integer);
double to_real(const Value& number);
std::string int_text(const Value& integer);
Value arithmetic(char op, const Value& a, const Value& b);  // + - * / f(loor) % p(ow) of numbers
Value negate(const Value& value);
std::optional<int> compare_numbers(const Value& a, const Value& b);
std::optional<Value> parse_int(std::string_view text, int base);
std::optional<double> parse_real(std::string_view text);
Value floor_to_int(double value, const char* what = "float");
double round_half_even(double value, int digits);
std::string fixed(double value, int digits, char type);

// Strings (jinja_string.cpp).
namespace utf8 {
char32_t decode(std::string_view text, size_t& at);  // moves `at`; a stray byte gives itself as U+DCxx
void append(std::string& out, char32_t c);
size_t count(std::string_view text);
size_t offset(std::string_view text, size_t index);  // byte of the code point `index`, size() beyond the end
size_t previous(std::string_view text, size_t at);
bool is_space(char32_t c);
bool is_printable(char32_t c);
bool is_word(char32_t c);  // \w of a regular expression
bool is_alpha(char32_t c);
bool is_upper(char32_t c);
bool is_lower(char32_t c);
}  // namespace utf8
Text upper(const Text& text);
Text lower(const Text& text);
Text capitalize(const Text& text);
std::pair<size_t, size_t> strip_range(const Text& text, const Text* chars, bool left, bool right);
Text strip(const Text& text);
std::vector<Text> split_lines(const Text& text, bool keep_ends);
Text replace(const Text& text, const Text& from, const Text& to, int64_t count);
Text escape_html(const Text& text);
Value printf_format(const Value& format, const Value& arguments);
/// The method or attribute of a string, number, list, tuple, dict, …; nullopt where Python would raise AttributeError.
std::optional<Value> attribute(const Value& object, const std::string& name);
std::optional<Value> runtime_attribute(const Value& object,
                                       const std::string& name);  // of loops, namespaces, macros, …
bool has_internal(const Value& object, std::string_view name);    // a __name__ that this object has in Python
/// Subscripts and attributes as the sandbox gives them: what is missing or refused is an undefined value.
Value get_attribute(const Value& object, const std::string& name);
Value get_item(const Value& object, const Value& key);
Text format_value(const Value& value, const Text& specification);

/// Puts arguments into the places of a Python signature. `names` holds required ones first; a leading '=' marks one
/// with a default, which stays empty here.
std::vector<std::optional<Value>> bind(const char* function, Arguments& arguments,
                                       std::initializer_list<const char*> names);
int64_t to_index(const Value& value, const char* what = "an integer is required");

}  // namespace backplane::jinja
