#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <locale.h>
#include <algorithm>
#include <cmath>
#include <ctime>
#include <random>

#include "backplane/base/strings.h"
#include "text/jinja_interpreter.h"

namespace backplane::jinja {
namespace {

Value text_like(const Value& model, Text text) { return Value::string(std::move(text), model.markup()); }

const Text& need_text(const Value& value) {
  if (value.is_undefined()) fail_undefined(value);
  if (!value.is_string()) type_error(concat("expected str instance, ", type_name(value), " found"));
  return value.text();
}

bool flag(const std::optional<Value>& value) { return value && truthy(*value); }

Value ignore_case(Value value) { return value.is_string() ? Value::string(lower(value.text())) : value; }

// "a.b.0" as the keys that lead from an item to what is meant.
std::vector<Value> attribute_path(const Value& attribute) {
  if (attribute.is_none()) return {};
  if (!attribute.is_string()) return {attribute};
  std::vector<Value> path;
  for (const std::string& part : split(attribute.bytes(), '.')) {
    const bool number = !part.empty() && part.size() < 10 &&
                        std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    path.push_back(number ? Value(static_cast<int64_t>(std::stol(part))) : Value::string(part));
  }
  return path;
}

Value follow(Value item, const std::vector<Value>& path, const std::optional<Value>& fallback = std::nullopt) {
  charge(1);
  for (const Value& key : path) {
    item = get_item(item, key);
    if (fallback && !fallback->is_none() && item.is_undefined()) item = *fallback;
  }
  return item;
}

std::optional<Value> take_named(Arguments& arguments, std::string_view name) {
  const auto found = std::find_if(arguments.named.begin(), arguments.named.end(),
                                  [&](const auto& entry) { return entry.first == name; });
  if (found == arguments.named.end()) return std::nullopt;
  Value value = std::move(found->second);
  arguments.named.erase(found);
  return value;
}

// Items with their keys, sorted as Python's sorted(key=…) does.
std::vector<std::pair<Value, Value>> sorted_by(std::vector<std::pair<Value, Value>> keyed, bool reverse) {
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    const auto order_of = reverse ? order(b.first, a.first, "<") : order(a.first, b.first, "<");
    return order_of && *order_of < 0;
  });
  return keyed;
}

Value default_filter(Interpreter&, const Value& value, Arguments& arguments) {
  const auto v = bind("default", arguments, {"=default_value", "=boolean"});
  if (value.is_undefined() || (flag(v[1]) && !truthy(value))) return v[0] ? *v[0] : Value::string(std::string());
  return value;
}

Value length_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("length", arguments, {});
  if (const auto size = length(value)) return *size;
  if (value.is(Kind::loop)) return value.as<LoopObject>().size();
  type_error(concat("object of type '", type_name(value), "' has no len()"));
}

Value abs_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("abs", arguments, {});
  if (value.is_undefined()) fail_undefined(value);
  if (value.is(Kind::real)) return std::abs(value.real());
  if (!value.is_int()) type_error(concat("bad operand type for abs(): '", type_name(value), "'"));
  return Value::integer(boost::multiprecision::abs(big(value)));
}

Value attr_filter(Interpreter&, const Value& value, Arguments& arguments) {
  const auto v = bind("attr", arguments, {"name"});
  const std::string& name = need_text(*v[0]).bytes();
  if (value.is_undefined() && !has_internal(value, name)) fail_undefined(value);
  if (attribute(value, name) || has_internal(value, name)) return get_attribute(value, name);
  return undefined_member(value, *v[0]);
}

Value batch_filter(Interpreter&, const Value& value, Arguments& arguments) {
  const auto v = bind("batch", arguments, {"linecount", "=fill_with"});
  const int64_t count = to_index(*v[0]);
  std::vector<Value> rows, row;
  for (Value& item : iterate(value)) {
    if (static_cast<int64_t>(row.size()) == count) {
      rows.push_back(Value::list(std::move(row)));
      row.clear();
    }
    row.push_back(std::move(item));
  }
  if (!row.empty()) {
    if (v[1] && !v[1]->is_none()) {
      if (count > static_cast<int64_t>(limits::kTemplateSteps)) limit_error("a list of too many items");
      while (static_cast<int64_t>(row.size()) < count) row.push_back(*v[1]);
    }
    rows.push_back(Value::list(std::move(row)));
  }
  return Value::iterator(std::move(rows));
}

Value slice_filter(Interpreter&, const Value& value, Arguments& arguments) {
  const auto v = bind("slice", arguments, {"slices", "=fill_with"});
  const auto items = iterate(value);
  const int64_t slices = to_index(*v[0]);
  if (slices == 0) fail("ZeroDivisionError", "integer division or modulo by zero");
  charge(static_cast<uint64_t>(std::max<int64_t>(slices, 0)));
  const auto size = static_cast<int64_t>(items.size());
  std::vector<Value> rows;
  for (int64_t i = 0, at = 0; i < slices; ++i) {
    const bool extra = i < size % slices;
    const int64_t end = at + size / slices + extra;
    std::vector<Value> row(items.begin() + at, items.begin() + end);
    at = end;
    if (v[1] && !v[1]->is_none() && !extra) row.push_back(*v[1]);
    rows.push_back(Value::list(std::move(row)));
  }
  return Value::iterator(std::move(rows));
}

Value capitalize_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("capitalize", arguments, {});
  return text_like(value, capitalize(str(value)));
}
Value upper_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("upper", arguments, {});
  return text_like(value, upper(str(value)));
}
Value lower_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("lower", arguments, {});
  return text_like(value, lower(str(value)));
}
Value string_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("string", arguments, {});
  return value.is_string() ? value : Value::string(str(value));
}
Value list_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("list", arguments, {});
  return Value::list(iterate(value));
}

Value call_method(Interpreter& interpreter, const Value& value, const char* name, Arguments& arguments) {
  return interpreter.call(*attribute(value, name), arguments);
}

Value center_filter(Interpreter& interpreter, const Value& value, Arguments& arguments) {
  const auto v = bind("center", arguments, {"=width"});
  Arguments width{{v[0].value_or(Value(80))}, {}};
  return call_method(interpreter, text_like(value, str(value)), "center", width);
}

Value title_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("title", arguments, {});
  const Text text = str(value);
  Text out;
  bool word = false;
  size_t begin = 0;
  const auto flush = [&](size_t end) {
    if (word) {
      size_t second = begin;
      utf8::decode(text.bytes(), second);
      out.append(upper(text.slice(begin, second)));
      out.append(lower(text.slice(second, end)));
    } else {
      out.append(text, begin, end);
    }
    begin = end;
  };
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const char32_t c = utf8::decode(text.bytes(), at);
    const bool separator = c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || utf8::is_space(c);
    if (word == separator) {
      if (start > begin) flush(start);
      word = !separator;
    }
  }
  flush(text.size());
  return text_like(value, std::move(out));
}

Value dictsort_filter(Interpreter&, const Value& value, Arguments& arguments) {
  const auto v = bind("dictsort", arguments, {"=case_sensitive", "=by", "=reverse"});
  const std::string by = v[1] ? str(*v[1]).bytes() : "key";
  if (by != "key" && by != "value") fail("FilterArgumentError", "You can only sort by either \"key\" or \"value\"");
  if (value.is_undefined()) fail_undefined(value);
  if (!value.is(Kind::dict)) fail("AttributeError", concat("'", type_name(value), "' object has no attribute 'items'"));
  std::vector<std::pair<Value, Value>> keyed;
  for (const auto& [key, item] : value.dict().entries) {
    const Value& sort_by = by == "key" ? key : item;
    keyed.emplace_back(flag(v[0]) ? sort_by : ignore_case(sort_by), Value::tuple({key, item}));
  }
  std::vector<Value> items;
  for (auto& [key, item] : sorted_by(std::move(keyed), flag(v[2]))) items.push_back(std::move(item));
  return Value::list(std::move(items));
}

Value escape_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("escape", arguments, {});
  return value.markup() ? value : Value::string(escape_html(str(value)), true);
}
Value forceescape_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("forceescape", arguments, {});
  return Value::string(escape_html(str(value)), true);
}
Value safe_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("safe", arguments, {});
  return Value::string(str(value), true);
}

Value filesizeformat_filter(Interpreter&, const Value& value, Arguments& arguments) {
  const auto v = bind("filesizeformat", arguments, {"=binary"});
  if (value.is_undefined()) fail_undefined(value);
  const auto parsed = value.is_number() ? std::optional(to_real(value)) : parse_real(need_text(value).bytes());
  if (!parsed) value_error(concat("could not convert string to float: ", repr(value).bytes()));
  const double base = flag(v[0]) ? 1024 : 1000;
  if (*parsed == 1) return Value::string("1 Byte");
  if (*parsed < base) return Value::string(concat(int_text(floor_to_int(std::trunc(*parsed))), " Bytes"));
  double unit = base;
  const std::string_view prefixes = flag(v[0]) ? "KMGTPEZY" : "kMGTPEZY";
  for (size_t i = 0;; ++i) {
    unit *= base;
    if (*parsed < unit || i + 1 == prefixes.size()) {
      return Value::string(
          concat(fixed(base * *parsed / unit, 1, 'f'), " ", prefixes.substr(i, 1), flag(v[0]) ? "iB" : "B"));
    }
  }
}

Value first_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("first", arguments, {});
  if (value.is(Kind::iterator)) {
    auto& iterator = value.as<IteratorObject>();
    if (iterator.next < iterator.items.size()) return iterator.items[iterator.next++];
    return make_undefined("No first item, sequence was empty.");
  }
  const auto items = iterate(value);
  return items.empty() ? make_undefined("No first item, sequence was empty.") : items.front();
}

Value last_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("last", arguments, {});
  if (value.is(Kind::iterator)) type_error("'generator' object is not reversible");
  if (value.is_undefined()) type_error("'Undefined' object is not reversible");
  const auto items = iterate(value);
  return items.empty() ? make_undefined("No last item, sequence was empty.") : items.back();
}

Value random_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("random", arguments, {});
  if (value.is(Kind::iterator)) type_error("object of type 'generator' has no len()");
  const auto items = iterate(value);
  if (items.empty()) return make_undefined("No random item, sequence was empty.");
  static thread_local std::minstd_rand generator{std::random_device{}()};
  return items[generator() % items.size()];
}

Value float_filter(Interpreter&, const Value& value, Arguments& arguments) {
  const auto v = bind("float", arguments, {"=default"});
  const Value fallback = v[0].value_or(Value(0.0));
  if (value.is_undefined()) fail_undefined(value);
  if (value.is_number()) return to_real(value);
  if (!value.is_string()) return fallback;
  const auto real = parse_real(value.bytes());
  return real ? Value(*real) : fallback;
}

Value int_filter(Interpreter&, const Value& value, Arguments& arguments) {
  const auto v = bind("int", arguments, {"=default", "=base"});
  const Value fallback = v[0].value_or(Value(0));
  if (value.is_undefined()) fail_undefined(value);
  if (value.is_int()) return Value::integer(big(value));
  if (value.is(Kind::real)) {
    if (std::isinf(value.real())) fail("OverflowError", "cannot convert float infinity to integer");
    return std::isnan(value.real()) ? fallback : floor_to_int(std::trunc(value.real()));
  }
  if (!value.is_string()) return fallback;
  try {
    if (auto parsed =
            parse_int(value.bytes(), v[1] ? static_cast<int>(std::clamp<int64_t>(to_index(*v[1]), -1, 99)) : 10))
      return *parsed;
  } catch (const Failure& failure) {
    if (failure.type != "ValueError") throw;
  }
  const auto real = parse_real(value.bytes());
  return real && std::isfinite(*real) ? floor_to_int(std::trunc(*real)) : fallback;
}

Value format_filter(Interpreter&, const Value& value, Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty()) {
    fail("FilterArgumentError", "can't handle positional and keyword arguments at the same time");
  }
  const Value format = value.is_string() ? value : Value::string(str(value));
  if (arguments.named.empty()) return printf_format(format, Value::tuple(std::move(arguments.positional)));
  auto dict = std::make_shared<DictObject>();
  for (auto& [key, item] : arguments.named) dict->set(Value::string(key), std::move(item));
  return printf_format(format, make_dict(std::move(dict)));
}

Value groupby_filter(Interpreter&, const Value& value, Arguments& arguments) {
  const auto v = bind("groupby", arguments, {"attribute", "=default", "=case_sensitive"});
  const auto path = attribute_path(*v[0]);
  const bool sensitive = flag(v[2]);
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : iterate(value)) {
    Value key = follow(item, path, v[1]);
    keyed.emplace_back(sensitive ? std::move(key) : ignore_case(std::move(key)), std::move(item));
  }
  keyed = sorted_by(std::move(keyed), false);
  std::vector<Value> groups;
  for (size_t begin = 0; begin < keyed.size();) {
    size_t end = begin;
    std::vector<Value> items;
    for (; end < keyed.size() && equal(keyed[begin].first, keyed[end].first); ++end) items.push_back(keyed[end].second);
    if (end == begin) ++end;
    const Value key = sensitive ? keyed[begin].first : follow(keyed[begin].second, path, v[1]);
    const Value group = Value::tuple({key, Value::list(std::move(items))});
    group.as<ListObject>().group = true;
    groups.push_back(group);
    begin = end;
  }
  return Value::list(std::move(groups));
}

Value indent_filter(Interpreter&, const Value& value, Arguments& arguments) {
  const auto v = bind("indent", arguments, {"=width", "=first", "=blank"});
  Text indention;
  if (v[0] && v[0]->is_string()) {
    indention = v[0]->text();
  } else {
    const int64_t width = v[0] ? to_index(*v[0]) : 4;
    if (width > static_cast<int64_t>(limits::kTemplateOutputBytes))
      limit_error("a text is indented beyond the largest text");
    indention.append(std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' '));
  }
  Text text = need_text(value);
  text.append("\n");
  const auto lines = split_lines(text, false);
  charge_bytes(text.size());
  Text out;
  if (flag(v[1])) out.append(indention);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i) out.append("\n");
    if (i && (flag(v[2]) || !lines[i].empty())) out.append(indention);
    out.append(lines[i]);
  }
  return text_like(value, std::move(out));
}

Value items_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("items", arguments, {});
  std::vector<Value> items;
  if (value.is_undefined()) return Value::iterator({});
  if (!value.is(Kind::dict)) type_error("Can only get item pairs from a mapping.");
  for (const auto& [key, item] : value.dict().entries) items.push_back(Value::tuple({key, item}));
  return Value::iterator(std::move(items));
}

Value join_filter(Interpreter& interpreter, const Value& value, Arguments& arguments) {
  const auto v = bind("join", arguments, {"=d", "=attribute"});
  auto items = iterate(value);
  if (v[1] && !v[1]->is_none()) {
    const auto path = attribute_path(*v[1]);
    for (Value& item : items) item = follow(std::move(item), path);
  }
  const Value separator = v[0].value_or(Value::string(std::string()));
  const bool markup =
      interpreter.autoescape() &&
      (separator.markup() || std::any_of(items.begin(), items.end(), [](const Value& item) { return item.markup(); }));
  const auto text = [&](const Value& item) { return markup && !item.markup() ? escape_html(str(item)) : str(item); };
  const Text between = text(separator);
  Text out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i) out.append(between);
    out.append(text(items[i]));
  }
  return Value::string(std::move(out), markup);
}

Value map_filter(Interpreter& interpreter, const Value& value, Arguments& arguments) {
  if (!truthy(value) && !value.is(Kind::iterator)) return Value::iterator({});
  std::vector<Value> out;
  const bool by_attribute =
      arguments.positional.empty() && std::any_of(arguments.named.begin(), arguments.named.end(),
                                                  [](const auto& entry) { return entry.first == "attribute"; });
  if (by_attribute) {
    const auto path = attribute_path(*take_named(arguments, "attribute"));
    const auto fallback = take_named(arguments, "default");
    if (!arguments.named.empty())
      fail("FilterArgumentError", concat("Unexpected keyword argument ", quote(arguments.named[0].first)));
    for (Value& item : iterate(value)) out.push_back(follow(std::move(item), path, fallback));
  } else {
    if (arguments.positional.empty()) fail("FilterArgumentError", "map requires a filter argument");
    const std::string name = need_text(arguments.positional[0]).bytes();
    arguments.positional.erase(arguments.positional.begin());
    for (const Value& item : iterate(value)) {
      Arguments copy = arguments;
      out.push_back(interpreter.call_filter(name, item, copy));
    }
  }
  return Value::iterator(std::move(out));
}

Value select(Interpreter& interpreter, const Value& value, Arguments& arguments, bool keep, bool by_attribute) {
  if (!truthy(value) && !value.is(Kind::iterator)) return Value::iterator({});
  std::vector<Value> path;
  if (by_attribute) {
    if (arguments.positional.empty()) fail("FilterArgumentError", "Missing parameter for attribute name");
    path = attribute_path(arguments.positional[0]);
    arguments.positional.erase(arguments.positional.begin());
  }
  std::optional<std::string> test;
  if (!arguments.positional.empty()) {
    test = need_text(arguments.positional[0]).bytes();
    arguments.positional.erase(arguments.positional.begin());
  }
  std::vector<Value> out;
  for (Value& item : iterate(value)) {
    charge(2);
    const Value subject = by_attribute ? follow(item, path) : item;
    Arguments copy = arguments;
    const bool holds = truthy(test ? interpreter.call_test(*test, subject, copy) : subject);
    if (holds == keep) out.push_back(std::move(item));
  }
  return Value::iterator(std::move(out));
}

Value extreme(const Value& value, Arguments& arguments, bool maximum) {
  const auto v = bind(maximum ? "max" : "min", arguments, {"=case_sensitive", "=attribute"});
  const auto path = attribute_path(v[1].value_or(Value()));
  std::optional<std::pair<Value, Value>> best;
  for (Value& item : iterate(value)) {
    Value key = follow(item, path);
    if (!flag(v[0])) key = ignore_case(std::move(key));
    if (best) {
      const auto order_of = order(key, best->first, maximum ? ">" : "<");
      if (!order_of || (maximum ? *order_of <= 0 : *order_of >= 0)) continue;
    }
    best.emplace(std::move(key), std::move(item));
  }
  return best ? best->second : make_undefined("No aggregated item, sequence was empty.");
}

Value replace_filter(Interpreter& interpreter, const Value& value, Arguments& arguments) {
  const auto v = bind("replace", arguments, {"old", "new", "=count"});
  const int64_t count = v[2] && !v[2]->is_none() ? to_index(*v[2]) : -1;
  const bool markup = interpreter.autoescape() && (value.markup() || v[0]->markup() || v[1]->markup());
  const auto text = [&](const Value& item) { return markup && !item.markup() ? escape_html(str(item)) : str(item); };
  return Value::string(replace(text(value), text(*v[0]), text(*v[1]), count), markup);
}

Value reverse_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("reverse", arguments, {});
  auto items = iterate(value);
  std::reverse(items.begin(), items.end());
  if (!value.is_string()) return Value::iterator(std::move(items));
  Text out;
  for (const Value& item : items) out.append(item.text());
  return text_like(value, std::move(out));
}

Value round_filter(Interpreter&, const Value& value, Arguments& arguments) {
  const auto v = bind("round", arguments, {"=precision", "=method"});
  const std::string method = v[1] ? str(*v[1]).bytes() : "common";
  if (method != "common" && method != "ceil" && method != "floor")
    fail("FilterArgumentError", "method must be common, ceil or floor");
  if (value.is_undefined()) fail_undefined(value);
  if (!value.is_number()) type_error(concat("type ", type_name(value), " doesn't define __round__ method"));
  const int64_t precision = v[0] ? std::clamp<int64_t>(to_index(*v[0]), -400, 400) : 0;
  if (method == "common") {
    if (value.is(Kind::real)) return round_half_even(value.real(), static_cast<int>(precision));
    if (precision >= 0) return Value::integer(big(value));
    const BigInt unit = boost::multiprecision::pow(BigInt(10), static_cast<unsigned>(-precision));
    const BigInt number = big(value);
    BigInt rest = number % unit;
    if (rest < 0) rest += unit;
    BigInt down = number - rest;
    const bool odd = (down / unit) % 2 != 0;
    if (2 * rest > unit || (2 * rest == unit && odd)) down += unit;
    return Value::integer(std::move(down));
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = to_real(value) * scale;
  const double rounded = method == "ceil" ? std::ceil(scaled) : std::floor(scaled);
  if (!std::isfinite(rounded)) floor_to_int(rounded);
  return rounded / scale;
}

Value sort_filter(Interpreter&, const Value& value, Arguments& arguments) {
  const auto v = bind("sort", arguments, {"=reverse", "=case_sensitive", "=attribute"});
  std::vector<std::vector<Value>> paths;
  if (v[2] && v[2]->is_string()) {
    for (const std::string& part : split(v[2]->bytes(), ',')) paths.push_back(attribute_path(Value::string(part)));
  } else {
    paths.push_back(attribute_path(v[2].value_or(Value())));
  }
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : iterate(value)) {
    std::vector<Value> keys;
    for (const auto& path : paths) {
      Value key = follow(item, path);
      keys.push_back(flag(v[1]) ? std::move(key) : ignore_case(std::move(key)));
    }
    keyed.emplace_back(Value::list(std::move(keys)), std::move(item));
  }
  std::vector<Value> items;
  for (auto& [key, item] : sorted_by(std::move(keyed), flag(v[0]))) items.push_back(std::move(item));
  return Value::list(std::move(items));
}

Value sum_filter(Interpreter&, const Value& value, Arguments& arguments) {
  const auto v = bind("sum", arguments, {"=attribute", "=start"});
  Value total = v[1].value_or(Value(0));
  if (total.is_string()) type_error("sum() can't sum strings [use ''.join(seq) instead]");
  const auto path = attribute_path(v[0].value_or(Value()));
  for (Value& item : iterate(value)) total = operate('+', total, follow(std::move(item), path));
  return total;
}

Value striptags_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("striptags", arguments, {});
  Text text = str(value);
  charge_bytes(4 * text.size());
  const auto cut = [&](std::string_view open, std::string_view close) {
    Text out;
    size_t at = 0;
    while (true) {
      const size_t begin = text.bytes().find(open, at);
      const size_t end = begin == std::string::npos ? begin : text.bytes().find(close, begin);
      if (end == std::string::npos) break;
      out.append(text, at, begin);
      at = end + close.size();
    }
    out.append(text, at, text.size());
    text = std::move(out);
  };
  cut("<!--", "-->");
  cut("<", ">");
  Text words;
  bool blank = false;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (utf8::is_space(utf8::decode(text.bytes(), at))) {
      blank = true;
      continue;
    }
    if (blank && !words.empty()) words.append(" ");
    blank = false;
    words.append(text, begin, at);
  }
  static constexpr std::pair<std::string_view, std::string_view> kEntities[] = {
      {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&#39;", "'"}, {"&#34;", "\""}, {"&amp;", "&"}};
  for (const auto& [entity, character] : kEntities)
    words = replace(words, Text(std::string(entity)), Text(std::string(character)), -1);
  return Value::string(std::move(words));
}

Value tojson_filter(Interpreter&, const Value& value, Arguments& arguments) {
  const auto v = bind("tojson", arguments, {"=ensure_ascii", "=indent", "=separators", "=sort_keys"});
  DumpOptions options;
  options.ensure_ascii = flag(v[0]);
  options.sort_keys = flag(v[3]);
  if (v[1] && !v[1]->is_none()) {
    if (v[1]->is_string()) {
      options.indent = v[1]->text();
    } else {
      const int64_t width = to_index(*v[1]);
      if (width > static_cast<int64_t>(limits::kTemplateOutputBytes))
        limit_error("a text is indented beyond the largest text");
      options.indent.emplace(std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' '));
    }
    options.item_separator = Text(",");
  }
  if (v[2] && !v[2]->is_none()) {
    const auto separators = iterate(*v[2]);
    if (separators.size() != 2)
      value_error(concat("not enough values to unpack (expected 2, got ", separators.size(), ")"));
    options.item_separator = need_text(separators[0]);
    options.key_separator = need_text(separators[1]);
  }
  return Value::string(dumps(value, options));
}

Value trim_filter(Interpreter& interpreter, const Value& value, Arguments& arguments) {
  const auto v = bind("trim", arguments, {"=chars"});
  Arguments chars{{v[0].value_or(Value())}, {}};
  return call_method(interpreter, text_like(value, str(value)), "strip", chars);
}

Value truncate_filter(Interpreter&, const Value& value, Arguments& arguments) {
  const auto v = bind("truncate", arguments, {"=length", "=killwords", "=end", "=leeway"});
  const int64_t size = v[0] ? to_index(*v[0]) : 255, leeway = v[3] && !v[3]->is_none() ? to_index(*v[3]) : 5;
  const Text end = v[2] ? need_text(*v[2]) : Text("...");
  const auto end_size = static_cast<int64_t>(utf8::count(end.bytes()));
  if (size < end_size) fail("AssertionError", concat("expected length >= ", end_size, ", got ", size));
  if (leeway < 0) fail("AssertionError", concat("expected leeway >= 0, got ", leeway));
  const auto total = length(value);
  if (!total) type_error(concat("object of type '", type_name(value), "' has no len()"));
  if (static_cast<int64_t>(*total) - leeway <= size) return value;
  const Text& text = need_text(value);
  size_t cut = utf8::offset(text.bytes(), static_cast<size_t>(size - end_size));
  if (!flag(v[1])) {
    const size_t blank = std::string_view(text.bytes()).substr(0, cut).rfind(' ');
    if (blank != std::string_view::npos) cut = blank;
  }
  Text out = text.slice(0, cut);
  out.append(end);
  return text_like(value, std::move(out));
}

Value unique_filter(Interpreter&, const Value& value, Arguments& arguments) {
  const auto v = bind("unique", arguments, {"=case_sensitive", "=attribute"});
  const auto path = attribute_path(v[1].value_or(Value()));
  DictObject seen;
  std::vector<Value> out;
  for (Value& item : iterate(value)) {
    Value key = follow(item, path);
    if (!flag(v[0])) key = ignore_case(std::move(key));
    if (seen.find(key)) continue;
    seen.set(std::move(key), {});
    out.push_back(std::move(item));
  }
  return Value::iterator(std::move(out));
}

Text url_quote(const Value& value, bool for_query) {
  const Text text = value.is(Kind::bytes) ? value.text() : str(value);
  charge_bytes(text.size());
  Text out;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text.bytes()[at];
    const bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' || c == '.' ||
                       c == '-' || c == '~' || (c == '/' && !for_query);
    if (plain) {
      out.append(text, at, at + 1);
    } else if (c == ' ' && for_query) {
      out.append("+", text.user_at(at));
    } else {
      static constexpr char kHex[] = "0123456789ABCDEF";
      const auto byte = static_cast<unsigned char>(c);
      const char escaped[] = {'%', kHex[byte >> 4], kHex[byte & 15]};
      out.append(std::string_view(escaped, 3), text.user_at(at));
    }
  }
  return out;
}

Value urlencode_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("urlencode", arguments, {});
  const bool iterable = value.is(Kind::list) || value.is(Kind::tuple) || value.is(Kind::dict) || value.is(Kind::view) ||
                        value.is(Kind::iterator);
  if (!iterable) return Value::string(url_quote(value, false));
  Text out;
  const auto add = [&](const Value& key, const Value& item) {
    if (!out.empty()) out.append("&");
    out.append(url_quote(key, true));
    out.append("=");
    out.append(url_quote(item, true));
  };
  if (value.is(Kind::dict)) {
    for (const auto& [key, item] : value.dict().entries) add(key, item);
  } else {
    for (const Value& pair : iterate(value)) {
      const auto parts = iterate(pair);
      if (parts.size() != 2) value_error(concat("not enough values to unpack (expected 2, got ", parts.size(), ")"));
      add(parts[0], parts[1]);
    }
  }
  return Value::string(std::move(out));
}

// A pattern of the reference's filters, matched with limits.
class Pattern {
 public:
  explicit Pattern(const char* pattern, uint32_t options = 0) {
    int error;
    PCRE2_SIZE offset;
    code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED,
                          PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF | options, &error, &offset, nullptr);
    context_ = pcre2_match_context_create(nullptr);
    pcre2_set_match_limit(context_, 100'000);
    pcre2_set_depth_limit(context_, 1'000);
  }
  std::optional<std::pair<size_t, size_t>> find(std::string_view text, size_t from = 0) const {
    charge_bytes(text.size() - from);
    pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
    const int found =
        pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from, 0, data, context_);
    std::optional<std::pair<size_t, size_t>> range;
    if (found >= 0) range.emplace(pcre2_get_ovector_pointer(data)[0], pcre2_get_ovector_pointer(data)[1]);
    pcre2_match_data_free(data);
    return range;
  }

 private:
  pcre2_code* code_;
  pcre2_match_context* context_;
};

size_t occurrences(std::string_view text, std::string_view part) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string_view::npos; at += part.size()) ++count;
  return count;
}

Value urlize_filter(Interpreter& interpreter, const Value& value, Arguments& arguments) {
  static const Pattern kUrl(
      "^(?:(?:https?://"
      "|www\\.)(?:(?:[\\w%-]+\\.)+)?(?:[a-z]{2,63}|xn--[\\w%]{2,59})|(?:[\\w%-]{2,63}\\.)+(?:com|net|int|edu|gov|org|"
      "info|mil)|https?://(?:\\d{1,3}(?:\\.\\d{1,3}){3}|"
      "\\[(?:[\\da-f]{0,4}:){2}(?:[\\da-f]{0,4}:?){1,6}\\]))(?::\\d{1,5})?(?:[/?#]\\S*)?$",
      PCRE2_CASELESS);
  static const Pattern kMail("^\\S+@\\w[\\w.-]*\\.\\w+$");
  const auto v = bind("urlize", arguments, {"=trim_url_limit", "=nofollow", "=target", "=rel", "=extra_schemes"});
  std::set<std::string> rels = {"noopener"};
  if (v[3] && !v[3]->is_none()) {
    for (const auto& part : split(str(*v[3]).bytes(), ' ')) {
      if (!part.empty()) rels.insert(part);
    }
  }
  if (flag(v[1])) rels.insert("nofollow");
  const std::string rel = concat(" rel=\"", escape_html(Text(join({rels.begin(), rels.end()}, " "))).bytes(), "\"");
  const std::string target =
      v[2] && !v[2]->is_none() && truthy(*v[2]) ? concat(" target=\"", escape_html(str(*v[2])).bytes(), "\"") : "";
  const Text escaped = value.markup() ? value.text() : escape_html(str(value));
  const std::string& bytes = escaped.bytes();
  Text out;
  for (size_t at = 0; at < bytes.size();) {
    const size_t begin = at;
    size_t end = at;
    const bool space = utf8::is_space(utf8::decode(bytes, end));
    for (at = end; at < bytes.size(); at = end) {
      if (utf8::is_space(utf8::decode(bytes, end)) != space) break;
    }
    if (space) {
      out.append(escaped, begin, at);
      continue;
    }
    charge(8);
    const std::string_view word = std::string_view(bytes).substr(begin, at - begin);
    size_t head = 0, tail = word.size();
    while (head < word.size()) {
      if (word[head] == '(' || word[head] == '<') {
        ++head;
      } else if (word.substr(head).starts_with("&lt;")) {
        head += 4;
      } else {
        break;
      }
    }
    while (tail > head) {
      if (std::string_view(")>.,\n").find(word[tail - 1]) != std::string_view::npos) {
        --tail;
      } else if (word.substr(head, tail - head).ends_with("&gt;")) {
        tail -= 4;
      } else {
        break;
      }
    }
    static constexpr std::pair<std::string_view, std::string_view> kPairs[] = {
        {"(", ")"}, {"<", ">"}, {"&lt;", "&gt;"}};
    for (const auto& [open, close] : kPairs) {
      const size_t opened = occurrences(word.substr(head, tail - head), open);
      if (opened <= occurrences(word.substr(head, tail - head), close)) continue;
      for (size_t i = std::min(opened, occurrences(word.substr(tail), close)); i > 0; --i)
        tail = word.find(close, tail) + close.size();
    }
    const std::string_view middle = word.substr(head, tail - head);
    const Text body = escaped.slice(begin + head, begin + tail);
    const auto link = [&](std::string_view prefix, bool attributes, const Text& label) {
      out.append(concat("<a href=\"", prefix));
      out.append(body);
      out.append(concat("\"", attributes ? rel + target : std::string(), ">"));
      out.append(label);
      out.append("</a>");
    };
    out.append(escaped, begin, begin + head);
    if (kUrl.find(middle)) {
      Text label = body;
      if (v[0] && !v[0]->is_none() && static_cast<int64_t>(utf8::count(middle)) > to_index(*v[0])) {
        label = body.slice(0, utf8::offset(middle, static_cast<size_t>(std::max<int64_t>(to_index(*v[0]), 0))));
        label.append("...");
      }
      link(middle.starts_with("https://") || middle.starts_with("http://") ? "" : "https://", true, label);
    } else if (middle.starts_with("mailto:") && kMail.find(middle.substr(7))) {
      link("", false, body.slice(7, body.size()));
    } else if (middle.find('@') != std::string_view::npos && !middle.starts_with("www.") && !middle.starts_with("@") &&
               middle.find(':') == std::string_view::npos && kMail.find(middle)) {
      link("mailto:", false, body);
    } else {
      out.append(body);
    }
    out.append(escaped, begin + tail, at);
  }
  return Value::string(std::move(out), interpreter.autoescape());
}

Value wordcount_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("wordcount", arguments, {});
  const Text text = str(value);
  charge_bytes(text.size());
  int64_t count = 0;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    const bool word = utf8::is_word(utf8::decode(text.bytes(), at));
    count += word && !inside;
    inside = word;
  }
  return count;
}

// The lines of one paragraph, as Python's textwrap cuts them.
std::vector<Text> wrap(const Text& text, int64_t width, bool break_long, bool break_hyphens) {
  static const Pattern kChunk(
      "[\\t\\n\\x0b\\x0c\\r ]+|(?<=[\\w!\"'&.,?])-{2,}(?=\\w)|[^\\t\\n\\x0b\\x0c\\r ](?:[^\\t\\n\\x0b\\x0c\\r "
      "]*?(?:-(?:(?<=[^\\d\\W]{2}-)|(?<=[^\\d\\W]-[^\\d\\W]-))(?=[^\\d\\W]-?[^\\d\\W])|"
      "(?=[\\t\\n\\x0b\\x0c\\r ]|\\z)|(?<=[\\w!\"'&.,?])(?=-{2,}\\w))|)");
  static const Pattern kPlain("[\\t\\n\\x0b\\x0c\\r ]+|[^\\t\\n\\x0b\\x0c\\r ]+");
  if (width <= 0) value_error(concat("invalid width ", width, " (must be > 0)"));
  std::deque<Text> chunks;
  for (size_t at = 0; at < text.size();) {
    const auto found = (break_hyphens ? kChunk : kPlain).find(text.bytes(), at);
    const size_t end = found && found->second > at ? found->second : text.size();
    chunks.push_back(text.slice(at, end));
    at = end;
  }
  const auto size = [](const Text& chunk) { return static_cast<int64_t>(utf8::count(chunk.bytes())); };
  const auto is_blank = [](const Text& chunk) { return strip(chunk).empty(); };
  std::vector<Text> lines;
  while (!chunks.empty()) {
    charge(2);
    std::vector<Text> line;
    int64_t used = 0;
    if (is_blank(chunks.front()) && !lines.empty()) chunks.pop_front();
    while (!chunks.empty() && used + size(chunks.front()) <= width) {
      used += size(chunks.front());
      line.push_back(std::move(chunks.front()));
      chunks.pop_front();
    }
    if (!chunks.empty() && size(chunks.front()) > width) {
      const int64_t room = width - used;
      if (break_long) {
        Text& chunk = chunks.front();
        size_t cut = utf8::offset(chunk.bytes(), static_cast<size_t>(room));
        if (break_hyphens && room > 0 && size(chunk) > room) {
          const size_t hyphen = std::string_view(chunk.bytes()).substr(0, cut).rfind('-');
          if (hyphen != std::string_view::npos && hyphen > 0 && chunk.bytes().find_first_not_of('-') < hyphen)
            cut = hyphen + 1;
        }
        line.push_back(chunk.slice(0, cut));
        chunk = chunk.slice(cut, chunk.size());
      } else if (line.empty()) {
        line.push_back(std::move(chunks.front()));
        chunks.pop_front();
      }
    }
    if (!line.empty() && is_blank(line.back())) line.pop_back();
    if (line.empty()) continue;
    Text joined;
    for (const Text& part : line) joined.append(part);
    lines.push_back(std::move(joined));
  }
  return lines;
}

Value wordwrap_filter(Interpreter&, const Value& value, Arguments& arguments) {
  const auto v = bind("wordwrap", arguments, {"=width", "=break_long_words", "=wrapstring", "=break_on_hyphens"});
  const int64_t width = v[0] ? to_index(*v[0]) : 79;
  const Text newline = v[2] && !v[2]->is_none() ? need_text(*v[2]) : Text("\n");
  Text out;
  bool first = true;
  for (const Text& paragraph : split_lines(need_text(value), false)) {
    if (!first) out.append(newline);
    first = false;
    bool first_line = true;
    for (const Text& line : wrap(paragraph, width, !v[1] || truthy(*v[1]), !v[3] || truthy(*v[3]))) {
      if (!first_line) out.append(newline);
      first_line = false;
      out.append(line);
    }
  }
  return text_like(value, std::move(out));
}

Value xmlattr_filter(Interpreter& interpreter, const Value& value, Arguments& arguments) {
  const auto v = bind("xmlattr", arguments, {"=autospace"});
  if (value.is_undefined()) fail_undefined(value);
  if (!value.is(Kind::dict)) fail("AttributeError", concat("'", type_name(value), "' object has no attribute 'items'"));
  Text out;
  for (const auto& [key, item] : value.dict().entries) {
    if (item.is_none() || item.is_undefined()) continue;
    if (need_text(key).bytes().find_first_of(" \t\n\r\f\v/>=") != std::string::npos)
      value_error(concat("Invalid character in attribute name: ", repr(key).bytes()));
    if (!out.empty() || !v[0] || truthy(*v[0])) out.append(" ");
    out.append(key.markup() ? key.text() : escape_html(key.text()));
    out.append("=\"");
    out.append(item.markup() ? item.text() : escape_html(str(item)));
    out.append("\"");
  }
  return Value::string(std::move(out), interpreter.autoescape());
}

// Python's pprint for what a template can hold: dicts by key, 80 columns.
void pretty(Text& out, const Value& value, int64_t indent, int64_t allowance, int depth) {
  charge(1);
  std::function<Value(const Value&, int)> sorted = [&](const Value& item, int level) -> Value {
    if (level > limits::kTemplateDepth) limit_error("a value nests too deeply to be printed");
    if (item.is(Kind::dict)) {
      std::vector<std::pair<Value, Value>> keyed;
      for (const auto& [key, inner] : item.dict().entries) keyed.emplace_back(key, sorted(inner, level + 1));
      try {
        keyed = sorted_by(std::move(keyed), false);
      } catch (const Failure& failure) {
        if (failure.type != "TypeError") throw;
      }
      auto dict = std::make_shared<DictObject>();
      for (auto& [key, inner] : keyed) dict->set(std::move(key), std::move(inner));
      return make_dict(std::move(dict));
    }
    if (item.is(Kind::list) || item.is(Kind::tuple)) {
      std::vector<Value> items;
      for (const Value& inner : item.items()) items.push_back(sorted(inner, level + 1));
      return item.is(Kind::list) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
    }
    return item;
  };
  const Value ordered = depth == 0 ? sorted(value, 0) : value;
  const Text flat = repr(ordered);
  const bool container = ordered.is(Kind::dict) || ordered.is(Kind::list) || ordered.is(Kind::tuple);
  if (!container || static_cast<int64_t>(utf8::count(flat.bytes())) <= 80 - indent - allowance) return out.append(flat);
  const std::string pad(static_cast<size_t>(indent) + 1, ' ');
  const bool dict = ordered.is(Kind::dict);
  out.append(dict ? "{" : ordered.is(Kind::list) ? "[" : "(");
  const size_t size = dict ? ordered.dict().entries.size() : ordered.items().size();
  for (size_t i = 0; i < size; ++i) {
    if (i) out.append(",\n" + pad);
    const int64_t room = i + 1 == size ? allowance + 1 : 1;
    if (dict) {
      const auto& [key, item] = ordered.dict().entries[i];
      const Text name = repr(key);
      out.append(name);
      out.append(": ");
      pretty(out, item, indent + 3 + static_cast<int64_t>(utf8::count(name.bytes())), room, depth + 1);
    } else {
      pretty(out, ordered.items()[i], indent + 1, room, depth + 1);
    }
  }
  if (ordered.is(Kind::tuple) && size == 1) out.append(",");
  out.append(dict ? "}" : ordered.is(Kind::list) ? "]" : ")");
}

Value pprint_filter(Interpreter&, const Value& value, Arguments& arguments) {
  bind("pprint", arguments, {});
  Text out;
  pretty(out, value, 0, 0, 0);
  return Value::string(std::move(out));
}

struct NamedFilter {
  std::string_view name;
  Filter filter;
};

constexpr NamedFilter kFilters[] = {
    {"abs", abs_filter},
    {"attr", attr_filter},
    {"batch", batch_filter},
    {"capitalize", capitalize_filter},
    {"center", center_filter},
    {"count", length_filter},
    {"d", default_filter},
    {"default", default_filter},
    {"dictsort", dictsort_filter},
    {"e", escape_filter},
    {"escape", escape_filter},
    {"filesizeformat", filesizeformat_filter},
    {"first", first_filter},
    {"float", float_filter},
    {"forceescape", forceescape_filter},
    {"format", format_filter},
    {"groupby", groupby_filter},
    {"indent", indent_filter},
    {"int", int_filter},
    {"join", join_filter},
    {"last", last_filter},
    {"length", length_filter},
    {"list", list_filter},
    {"lower", lower_filter},
    {"items", items_filter},
    {"map", map_filter},
    {"min", [](Interpreter&, const Value& v, Arguments& a) { return extreme(v, a, false); }},
    {"max", [](Interpreter&, const Value& v, Arguments& a) { return extreme(v, a, true); }},
    {"pprint", pprint_filter},
    {"random", random_filter},
    {"reject", [](Interpreter& i, const Value& v, Arguments& a) { return select(i, v, a, false, false); }},
    {"rejectattr", [](Interpreter& i, const Value& v, Arguments& a) { return select(i, v, a, false, true); }},
    {"replace", replace_filter},
    {"reverse", reverse_filter},
    {"round", round_filter},
    {"safe", safe_filter},
    {"select", [](Interpreter& i, const Value& v, Arguments& a) { return select(i, v, a, true, false); }},
    {"selectattr", [](Interpreter& i, const Value& v, Arguments& a) { return select(i, v, a, true, true); }},
    {"slice", slice_filter},
    {"sort", sort_filter},
    {"string", string_filter},
    {"striptags", striptags_filter},
    {"sum", sum_filter},
    {"title", title_filter},
    {"trim", trim_filter},
    {"truncate", truncate_filter},
    {"unique", unique_filter},
    {"upper", upper_filter},
    {"urlencode", urlencode_filter},
    {"urlize", urlize_filter},
    {"wordcount", wordcount_filter},
    {"wordwrap", wordwrap_filter},
    {"xmlattr", xmlattr_filter},
    {"tojson", tojson_filter},
};

// --- tests ---

template <class Holds>
Value unary(Arguments& arguments, Holds holds) {
  bind("test", arguments, {});
  return Value(static_cast<bool>(holds()));
}

Value remainder_is(const Value& value, const Value& divisor, int64_t wanted) {
  return equal(operate('%', value, divisor), Value(wanted));
}

Value ordered(const Value& value, Arguments& arguments, const char* op) {
  const auto v = bind(op, arguments, {"other"});
  if (op[0] == '=') return equal(value, *v[0]);
  if (op[0] == '!') return !equal(value, *v[0]);
  const auto order_of = order(value, *v[0], op);
  if (!order_of) return false;
  const bool or_equal = op[1] == '=' && *order_of == 0;
  return or_equal || (op[0] == '<' ? *order_of < 0 : *order_of > 0);
}

Value cased(Interpreter& interpreter, const Value& value, const char* method) {
  Arguments none;
  return call_method(interpreter, Value::string(str(value)), method, none);
}

bool is_iterable(const Value& value) {
  switch (value.kind()) {
    case Kind::none:
    case Kind::boolean:
    case Kind::integer:
    case Kind::big:
    case Kind::real:
    case Kind::function:
    case Kind::macro:
    case Kind::names:
    case Kind::cycler:
    case Kind::joiner:
    case Kind::type:
      return false;
    default:
      return true;
  }
}

constexpr NamedFilter kTests[] = {
    {"odd",
     [](Interpreter&, const Value& v, Arguments& a) {
       bind("odd", a, {});
       return remainder_is(v, 2, 1);
     }},
    {"even",
     [](Interpreter&, const Value& v, Arguments& a) {
       bind("even", a, {});
       return remainder_is(v, 2, 0);
     }},
    {"divisibleby", [](Interpreter&, const Value& v,
                       Arguments& a) { return remainder_is(v, *bind("divisibleby", a, {"num"})[0], 0); }},
    {"defined", [](Interpreter&, const Value& v, Arguments& a) { return unary(a, [&] { return !v.is_undefined(); }); }},
    {"undefined",
     [](Interpreter&, const Value& v, Arguments& a) { return unary(a, [&] { return v.is_undefined(); }); }},
    {"filter", [](Interpreter&, const Value& v,
                  Arguments& a) { return unary(a, [&] { return v.is_string() && is_known_filter(v.bytes()); }); }},
    {"test", [](Interpreter&, const Value& v,
                Arguments& a) { return unary(a, [&] { return v.is_string() && is_known_test(v.bytes()); }); }},
    {"none", [](Interpreter&, const Value& v, Arguments& a) { return unary(a, [&] { return v.is_none(); }); }},
    {"boolean",
     [](Interpreter&, const Value& v, Arguments& a) { return unary(a, [&] { return v.is(Kind::boolean); }); }},
    {"false", [](Interpreter&, const Value& v,
                 Arguments& a) { return unary(a, [&] { return v.is(Kind::boolean) && !v.boolean(); }); }},
    {"true", [](Interpreter&, const Value& v,
                Arguments& a) { return unary(a, [&] { return v.is(Kind::boolean) && v.boolean(); }); }},
    {"integer", [](Interpreter&, const Value& v,
                   Arguments& a) { return unary(a, [&] { return v.is(Kind::integer) || v.is(Kind::big); }); }},
    {"float", [](Interpreter&, const Value& v, Arguments& a) { return unary(a, [&] { return v.is(Kind::real); }); }},
    {"lower",
     [](Interpreter& i, const Value& v, Arguments& a) {
       bind("lower", a, {});
       return cased(i, v, "islower");
     }},
    {"upper",
     [](Interpreter& i, const Value& v, Arguments& a) {
       bind("upper", a, {});
       return cased(i, v, "isupper");
     }},
    {"string", [](Interpreter&, const Value& v, Arguments& a) { return unary(a, [&] { return v.is_string(); }); }},
    {"mapping", [](Interpreter&, const Value& v, Arguments& a) { return unary(a, [&] { return v.is(Kind::dict); }); }},
    {"number", [](Interpreter&, const Value& v, Arguments& a) { return unary(a, [&] { return v.is_number(); }); }},
    {"sequence",
     [](Interpreter&, const Value& v, Arguments& a) {
       return unary(a, [&] {
         return v.is_string() || v.is(Kind::bytes) || v.is(Kind::list) || v.is(Kind::tuple) || v.is(Kind::dict) ||
                v.is(Kind::range) || v.is_undefined();
       });
     }},
    {"iterable", [](Interpreter&, const Value& v, Arguments& a) { return unary(a, [&] { return is_iterable(v); }); }},
    {"callable",
     [](Interpreter&, const Value& v, Arguments& a) {
       return unary(a, [&] {
         return v.is(Kind::function) || v.is(Kind::macro) || v.is(Kind::type) || v.is(Kind::loop) ||
                v.is(Kind::joiner) || v.is_undefined();
       });
     }},
    {"sameas",
     [](Interpreter&, const Value& v, Arguments& a) { return Value(v.same(*bind("sameas", a, {"other"})[0])); }},
    {"escaped", [](Interpreter&, const Value& v, Arguments& a) { return unary(a, [&] { return v.markup(); }); }},
    {"in", [](Interpreter&, const Value& v, Arguments& a) { return Value(contains(v, *bind("in", a, {"seq"})[0])); }},
    {"==", [](Interpreter&, const Value& v, Arguments& a) { return ordered(v, a, "=="); }},
    {"eq", [](Interpreter&, const Value& v, Arguments& a) { return ordered(v, a, "=="); }},
    {"equalto", [](Interpreter&, const Value& v, Arguments& a) { return ordered(v, a, "=="); }},
    {"!=", [](Interpreter&, const Value& v, Arguments& a) { return ordered(v, a, "!="); }},
    {"ne", [](Interpreter&, const Value& v, Arguments& a) { return ordered(v, a, "!="); }},
    {">", [](Interpreter&, const Value& v, Arguments& a) { return ordered(v, a, ">"); }},
    {"gt", [](Interpreter&, const Value& v, Arguments& a) { return ordered(v, a, ">"); }},
    {"greaterthan", [](Interpreter&, const Value& v, Arguments& a) { return ordered(v, a, ">"); }},
    {">=", [](Interpreter&, const Value& v, Arguments& a) { return ordered(v, a, ">="); }},
    {"ge", [](Interpreter&, const Value& v, Arguments& a) { return ordered(v, a, ">="); }},
    {"<", [](Interpreter&, const Value& v, Arguments& a) { return ordered(v, a, "<"); }},
    {"lt", [](Interpreter&, const Value& v, Arguments& a) { return ordered(v, a, "<"); }},
    {"lessthan", [](Interpreter&, const Value& v, Arguments& a) { return ordered(v, a, "<"); }},
    {"<=", [](Interpreter&, const Value& v, Arguments& a) { return ordered(v, a, "<="); }},
    {"le", [](Interpreter&, const Value& v, Arguments& a) { return ordered(v, a, "<="); }},
};

// --- globals ---

constexpr int64_t kMaximumRange = 100'000;  // the sandbox's own

Value range_function(Interpreter&, Arguments& arguments) {
  if (!arguments.named.empty()) type_error("range() takes no keyword arguments");
  const auto& given = arguments.positional;
  if (given.empty() || given.size() > 3)
    type_error(concat("range expected ", given.empty() ? "at least 1 argument, got 0" : "at most 3 arguments"));
  auto range = std::make_shared<RangeObject>();
  range->start = given.size() > 1 ? to_index(given[0]) : 0;
  range->stop = to_index(given[given.size() > 1 ? 1 : 0]);
  range->step = given.size() > 2 ? to_index(given[2]) : 1;
  if (range->step == 0) value_error("range() arg 3 must not be zero");
  if (range->size() > kMaximumRange) {
    fail("OverflowError",
         concat("Range too big. The sandbox blocks ranges larger than MAX_RANGE (", kMaximumRange, ")."));
  }
  return {Kind::range, std::move(range)};
}

Value dict_function(Interpreter&, Arguments& arguments) {
  auto dict = std::make_shared<DictObject>();
  if (arguments.positional.size() > 1)
    type_error(concat("dict expected at most 1 argument, got ", arguments.positional.size()));
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (source.is(Kind::dict)) {
      *dict = source.dict();
    } else {
      size_t i = 0;
      for (const Value& pair : iterate(source)) {
        const auto parts = iterate(pair);
        if (parts.size() != 2)
          value_error(
              concat("dictionary update sequence element #", i, " has length ", parts.size(), "; 2 is required"));
        dict->set(parts[0], parts[1]);
        ++i;
      }
    }
  }
  for (auto& [key, value] : arguments.named) dict->set(Value::string(key), std::move(value));
  return make_dict(std::move(dict));
}

Value strftime_function(Interpreter& interpreter, Arguments& arguments) {
  const auto v = bind("strftime_now", arguments, {"format"});
  const std::string& format = need_text(*v[0]).bytes();
  const WallClock now = interpreter.clock();
  std::tm time{};
  time.tm_year = now.year - 1900;
  time.tm_mon = now.month - 1;
  time.tm_mday = now.day;
  time.tm_hour = now.hour;
  time.tm_min = now.minute;
  time.tm_sec = now.second;
  time.tm_isdst = -1;
  std::tm calendar = time;  // for the day of the week and of the year
  calendar.tm_isdst = 0;
  timegm(&calendar);
  time.tm_wday = calendar.tm_wday;
  time.tm_yday = calendar.tm_yday;
  std::string expanded;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 >= format.size()) {
      expanded += format[i];
      continue;
    }
    const char code = format[++i];
    if (code == 'f') {
      char digits[8];
      std::snprintf(digits, sizeof digits, "%06d", now.microsecond % 1'000'000);
      expanded += digits;
    } else if (code != 'z' && code != 'Z') {  // a naive moment has no zone
      expanded += {'%', code};
    }
  }
  if (expanded.size() > 4096) limit_error("a time format of more than 4096 bytes");
  static const locale_t kLocale = newlocale(LC_ALL_MASK, "C", nullptr);
  std::string out(expanded.size() * 16 + 64, '\0');
  out.resize(strftime_l(out.data(), out.size(), expanded.c_str(), &time, kLocale));
  return Value::string(std::move(out));
}

Value cycler_function(Interpreter&, Arguments& arguments) {
  if (arguments.positional.empty()) fail("RuntimeError", "at least one item has to be provided");
  auto cycler = std::make_shared<CyclerObject>();
  cycler->items = Value::list(std::move(arguments.positional)).items();
  return {Kind::cycler, std::move(cycler)};
}

}  // namespace

Filter find_filter(std::string_view name) {
  const auto* found = std::find_if(std::begin(kFilters), std::end(kFilters),
                                   [&](const NamedFilter& filter) { return filter.name == name; });
  return found == std::end(kFilters) ? nullptr : found->filter;
}

Filter find_test(std::string_view name) {
  const auto* found = std::find_if(std::begin(kTests), std::end(kTests),
                                   [&](const NamedFilter& filter) { return filter.name == name; });
  return found == std::end(kTests) ? nullptr : found->filter;
}

std::optional<Value> find_global(const std::string& name) {
  const auto type = [&](Native call) {
    const Value function = make_function(name, std::move(call));
    return Value(Kind::type, function.object());
  };
  if (name == "range") return make_function("safe_range", range_function);
  if (name == "dict") return type(dict_function);
  if (name == "namespace")
    return type([](Interpreter& interpreter, Arguments& arguments) { return interpreter.new_namespace(arguments); });
  if (name == "cycler") return type(cycler_function);
  if (name == "joiner") {
    return type([](Interpreter&, Arguments& arguments) {
      auto joiner = std::make_shared<JoinerObject>();
      joiner->separator = bind("joiner", arguments, {"=sep"})[0].value_or(Value::string(", "));
      return Value(Kind::joiner, std::move(joiner));
    });
  }
  if (name == "lipsum") {
    return make_function("generate_lorem_ipsum", [](Interpreter&, Arguments&) -> Value {
      fail("NotImplementedError", "lipsum makes random text, which no chat template needs");
    });
  }
  if (name == "raise_exception") {
    return make_function("raise_exception", [](Interpreter&, Arguments& arguments) -> Value {
      fail("TemplateError", str(*bind("raise_exception", arguments, {"message"})[0]).bytes());
    });
  }
  if (name == "strftime_now") return make_function("strftime_now", strftime_function);
  return std::nullopt;
}

}  // namespace backplane::jinja
