#include "text/jinja_interpreter.h"

#include <algorithm>
#include <chrono>
#include <ctime>

#include "backplane/base/strings.h"

namespace backplane {

WallClock WallClock::now() {
  const auto moment = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(moment);
  std::tm local{};
  localtime_r(&seconds, &local);
  const auto micro =
      std::chrono::duration_cast<std::chrono::microseconds>(moment.time_since_epoch()).count() % 1'000'000;
  return {local.tm_year + 1900, local.tm_mon + 1, local.tm_mday,          local.tm_hour,
          local.tm_min,         local.tm_sec,     static_cast<int>(micro)};
}

}  // namespace backplane

namespace backplane::jinja {
namespace {

constexpr int kEvaluationDepth = 1000;  // nested C++ frames of the interpreter, macros included
constexpr uint64_t kStatementUnits = 8;

bool is_chained(NodeKind kind) {
  switch (kind) {
    case NodeKind::conjunction:
    case NodeKind::disjunction:
    case NodeKind::negation:
    case NodeKind::comparison:
    case NodeKind::binary:
    case NodeKind::minus:
    case NodeKind::plus:
    case NodeKind::member:
    case NodeKind::item:
    case NodeKind::call:
    case NodeKind::filter:
    case NodeKind::test:
      return true;
    default:
      return false;
  }
}

}  // namespace

// --- operators ---

Value operate(char op, const Value& a, const Value& b) {
  if (a.is_undefined()) fail_undefined(a);
  if (op == '%' && a.is_string()) return printf_format(a, b);
  if (b.is_undefined()) fail_undefined(b);
  const auto is_sequence = [](const Value& value) {
    return value.is_string() || value.is(Kind::list) || value.is(Kind::tuple);
  };
  if (op == '+' && is_sequence(a)) {
    if (a.kind() != b.kind())
      type_error(concat("can only concatenate ", type_name(a), " (not \"", type_name(b), "\") to ", type_name(a)));
    if (a.is_string()) {
      const bool markup = a.markup() || b.markup();
      Text text = markup && !a.markup() ? escape_html(a.text()) : a.text();
      text.append(markup && !b.markup() ? escape_html(b.text()) : b.text());
      return Value::string(std::move(text), markup);
    }
    std::vector<Value> items = a.items();
    items.insert(items.end(), b.items().begin(), b.items().end());
    return a.is(Kind::list) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
  }
  if (op == '*' && (is_sequence(a) || is_sequence(b))) {
    const Value &sequence = is_sequence(a) ? a : b, &times = is_sequence(a) ? b : a;
    if (!times.is_int()) type_error(concat("can't multiply sequence by non-int of type '", type_name(times), "'"));
    const int64_t count = std::max<int64_t>(to_index(times), 0);
    if (sequence.is_string()) {
      if (count > 0 && sequence.text().size() > limits::kTemplateOutputBytes / static_cast<uint64_t>(count)) {
        limit_error(concat("the template makes a text of more than ", limits::kTemplateOutputBytes, " bytes"));
      }
      Text text;
      for (int64_t i = 0; i < count && !sequence.text().empty(); ++i) text.append(sequence.text());
      charge(static_cast<uint64_t>(count) / 8);
      return Value::string(std::move(text), sequence.markup());
    }
    const size_t size = sequence.items().size();
    if (size > 0 && static_cast<uint64_t>(count) > limits::kTemplateSteps / size)
      limit_error("a list of too many items");
    std::vector<Value> items;
    for (int64_t i = 0; i < count && size > 0; ++i)
      items.insert(items.end(), sequence.items().begin(), sequence.items().end());
    return sequence.is(Kind::list) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
  }
  return arithmetic(op, a, b);
}

Value concatenate(const std::vector<Value>& parts, bool autoescape) {
  const bool markup =
      autoescape && std::any_of(parts.begin(), parts.end(), [](const Value& part) { return part.markup(); });
  Text text;
  for (const Value& part : parts) text.append(markup && !part.markup() ? escape_html(str(part)) : str(part));
  return Value::string(std::move(text), markup);
}

// --- subscripts ---

namespace {

struct Slice {
  std::optional<int64_t> start, stop;
  int64_t step = 1;
};

// Indices that Python's slice(start, stop, step) picks out of `size` items.
std::vector<size_t> picked(const Slice& slice, int64_t size) {
  const auto place = [&](std::optional<int64_t> value, int64_t forward, int64_t backward) {
    if (!value) return slice.step > 0 ? forward : backward;
    const int64_t at = *value < 0 ? (*value < -size ? -1 : *value + size) : *value;
    if (slice.step > 0) return std::clamp<int64_t>(at, 0, size);
    return std::clamp<int64_t>(at, -1, size - 1);
  };
  const int64_t start = place(slice.start, 0, size - 1), stop = place(slice.stop, size, -1);
  std::vector<size_t> indices;
  if (slice.step > 0) {
    for (int64_t i = start; i < stop; i += std::min(slice.step, size)) indices.push_back(static_cast<size_t>(i));
  } else {
    for (int64_t i = start; i > stop; i += std::max(slice.step, -size)) indices.push_back(static_cast<size_t>(i));
  }
  charge(indices.size() / 8);
  return indices;
}

std::optional<Value> slice_value(const Value& object, const Slice& slice) {
  if (object.is_string()) {
    const Text& text = object.text();
    charge_bytes(text.size());
    if (slice.step == 1) {
      const auto size = static_cast<int64_t>(utf8::count(text.bytes()));
      const auto place = [&](std::optional<int64_t> value, int64_t fallback) {
        if (!value) return fallback;
        return std::clamp<int64_t>(*value < 0 ? (*value < -size ? 0 : *value + size) : *value, 0, size);
      };
      const int64_t start = place(slice.start, 0), stop = place(slice.stop, size);
      if (start >= stop) return Value::string(Text(), object.markup());
      return Value::string(text.slice(utf8::offset(text.bytes(), static_cast<size_t>(start)),
                                      utf8::offset(text.bytes(), static_cast<size_t>(stop))),
                           object.markup());
    }
    std::vector<size_t> starts;
    for (size_t at = 0; at < text.size(); utf8::decode(text.bytes(), at)) starts.push_back(at);
    starts.push_back(text.size());
    Text part;
    for (const size_t i : picked(slice, static_cast<int64_t>(starts.size()) - 1))
      part.append(text, starts[i], starts[i + 1]);
    return Value::string(std::move(part), object.markup());
  }
  if (object.is(Kind::range)) {
    const auto& range = object.as<RangeObject>();
    const int64_t size = range.size();
    const auto place = [&](std::optional<int64_t> value, int64_t forward, int64_t backward) {
      if (!value) return slice.step > 0 ? forward : backward;
      const int64_t at = *value < 0 ? (*value < -size ? -1 : *value + size) : *value;
      return slice.step > 0 ? std::clamp<int64_t>(at, 0, size) : std::clamp<int64_t>(at, -1, size - 1);
    };
    auto part = std::make_shared<RangeObject>();
    part->start = range.start + place(slice.start, 0, size - 1) * range.step;
    part->stop = range.start + place(slice.stop, size, -1) * range.step;
    if (__builtin_mul_overflow(range.step, slice.step, &part->step)) limit_error("a range of too wide steps");
    return Value(Kind::range, part);
  }
  if (!object.is(Kind::list) && !object.is(Kind::tuple)) return std::nullopt;
  const auto& items = object.items();
  std::vector<Value> part;
  for (const size_t i : picked(slice, static_cast<int64_t>(items.size()))) part.push_back(items[i]);
  return object.is(Kind::list) ? Value::list(std::move(part)) : Value::tuple(std::move(part));
}

bool can_hash(const Value& value) {
  if (value.is(Kind::list) || value.is(Kind::dict)) return false;
  return !value.is(Kind::tuple) || std::all_of(value.items().begin(), value.items().end(), can_hash);
}

std::optional<Value> direct_item(const Value& object, const Value& key) {
  if (object.is(Kind::dict)) {
    if (!can_hash(key)) return std::nullopt;
    const Value* found = object.dict().find(key);
    return found ? std::optional<Value>(*found) : std::nullopt;
  }
  if (!key.is(Kind::integer) && !key.is(Kind::boolean)) return std::nullopt;
  const auto place = [&](size_t size) -> std::optional<size_t> {
    int64_t at = key.small();
    if (at < 0) at += static_cast<int64_t>(size);
    if (at < 0 || at >= static_cast<int64_t>(size)) return std::nullopt;
    return static_cast<size_t>(at);
  };
  switch (object.kind()) {
    case Kind::list:
    case Kind::tuple:
      if (const auto at = place(object.items().size())) return object.items()[*at];
      return std::nullopt;
    case Kind::string: {
      const Text& text = object.text();
      charge_bytes(text.size());
      const auto at = place(utf8::count(text.bytes()));
      if (!at) return std::nullopt;
      const size_t begin = utf8::offset(text.bytes(), *at);
      size_t end = begin;
      utf8::decode(text.bytes(), end);
      return Value::string(text.slice(begin, end), object.markup());
    }
    case Kind::bytes:
      if (const auto at = place(object.bytes().size()))
        return Value(static_cast<int64_t>(static_cast<unsigned char>(object.bytes()[*at])));
      return std::nullopt;
    case Kind::range: {
      const auto& range = object.as<RangeObject>();
      if (const auto at = place(static_cast<size_t>(range.size())))
        return Value(range.start + static_cast<int64_t>(*at) * range.step);
      return std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

}  // namespace

Value get_item(const Value& object, const Value& key) {
  if (object.is_undefined()) fail_undefined(object);
  if (auto item = direct_item(object, key)) return *item;
  if (key.is_string()) {
    if (auto value = attribute(object, key.bytes())) return *value;
    if (key.bytes().starts_with("__") && has_internal(object, key.bytes())) {
      return make_undefined(
          concat("access to attribute ", quote(key.bytes()), " of ", quote(type_name(object)), " object is unsafe."),
          "SecurityError");
    }
  }
  return undefined_member(object, key);
}

// --- scopes ---

void Scope::set(int id, Value value) {
  for (auto& [name, old] : variables) {
    if (name == id) {
      old = std::move(value);
      return;
    }
  }
  variables.emplace_back(id, std::move(value));
}

const Value* Scope::find(int id) const {
  for (const Scope* scope = this; scope; scope = scope->parent.get()) {
    for (const auto& [name, value] : scope->variables) {
      if (name == id) return &value;
    }
  }
  return nullptr;
}

Value Interpreter::lookup(int id, const Scope& scope) const {
  if (const Value* value = scope.find(id)) return *value;
  return globals_[static_cast<size_t>(id)];
}

// --- loops ---

std::optional<Value> LoopObject::pull() {
  while (next < items.size()) {
    const Value& item = items[next++];
    if (interpreter->accepts(*this, item)) return item;
  }
  return std::nullopt;
}

bool LoopObject::peek() {
  if (ahead.empty()) {
    if (auto item = pull()) ahead.push_back(std::move(*item));
  }
  return !ahead.empty();
}

int64_t LoopObject::size() {
  if (!length) {
    while (auto item = pull()) ahead.push_back(std::move(*item));
    length = index0 + 1 + static_cast<int64_t>(ahead.size());
  }
  return *length;
}

bool Interpreter::accepts(const LoopObject& loop, const Value& item) {
  if (loop.node->named.empty()) return true;
  charge(kStatementUnits);
  const auto scope = std::make_shared<Scope>();
  scope->parent = loop.outer;
  assign(*loop.node->children[0], item, scope);
  return truthy(evaluate(*loop.node->named[0].second, scope));
}

std::optional<Value> runtime_attribute(const Value& object, const std::string& name) {
  switch (object.kind()) {
    case Kind::names: {
      const Value* found = object.as<NamesObject>().attributes.find(std::string_view(name));
      return found ? std::optional<Value>(*found) : std::nullopt;
    }
    case Kind::macro: {
      const auto& node = *object.as<MacroObject>().node;
      if (name == "name") return node.kind == NodeKind::macro ? Value::string(node.text) : Value();
      if (name == "catch_kwargs") return Value(node.uses_kwargs);
      if (name == "catch_varargs") return Value(node.uses_varargs);
      if (name == "caller") return Value(node.uses_caller);
      if (name == "arguments") {
        std::vector<Value> names;
        for (const auto& [argument, unused] : node.named) names.push_back(Value::string(argument));
        return Value::tuple(std::move(names));
      }
      return std::nullopt;
    }
    case Kind::cycler: {
      const auto cycler = std::static_pointer_cast<CyclerObject>(object.object());
      if (name == "current") return cycler->items[cycler->position];
      if (name == "items") return Value::tuple(cycler->items);
      if (name == "pos") return Value(cycler->position);
      if (name == "next") {
        return make_function(name, [cycler](Interpreter&, Arguments&) {
          const Value value = cycler->items[cycler->position];
          cycler->position = (cycler->position + 1) % cycler->items.size();
          return value;
        });
      }
      if (name == "reset") {
        return make_function(name, [cycler](Interpreter&, Arguments&) {
          cycler->position = 0;
          return Value();
        });
      }
      return std::nullopt;
    }
    case Kind::type:
      if (object.as<FunctionObject>().name == "dict" && name == "fromkeys") {
        return make_function(name, [](Interpreter&, Arguments& arguments) {
          const auto values = bind("fromkeys", arguments, {"iterable", "=value"});
          auto dict = std::make_shared<DictObject>();
          for (const Value& key : iterate(*values[0])) dict->set(key, values[1].value_or(Value()));
          return make_dict(std::move(dict));
        });
      }
      if (name == "mro")
        return make_undefined("access to attribute 'mro' of 'type' object is unsafe.", "SecurityError");
      return std::nullopt;
    case Kind::loop: {
      const auto loop = std::static_pointer_cast<LoopObject>(object.object());
      if (name == "index") return Value(loop->index0 + 1);
      if (name == "index0") return Value(loop->index0);
      if (name == "first") return Value(loop->index0 == 0);
      if (name == "last") return Value(!loop->peek());
      if (name == "length") return Value(loop->size());
      if (name == "revindex") return Value(loop->size() - loop->index0);
      if (name == "revindex0") return Value(loop->size() - loop->index0 - 1);
      if (name == "depth") return Value(loop->depth0 + 1);
      if (name == "depth0") return Value(loop->depth0);
      if (name == "previtem") return loop->index0 == 0 ? make_undefined("there is no previous item") : loop->before;
      if (name == "nextitem") return loop->peek() ? loop->ahead.front() : make_undefined("there is no next item");
      if (name == "cycle") {
        return make_function(name, [loop](Interpreter&, Arguments& arguments) {
          if (arguments.positional.empty()) type_error("no items for cycling given");
          return arguments.positional[static_cast<size_t>(loop->index0) % arguments.positional.size()];
        });
      }
      if (name == "changed") {
        return make_function(name, [loop](Interpreter&, Arguments& arguments) {
          const auto& now = arguments.positional;
          const auto& last = loop->last_changed;
          if (last && std::equal(now.begin(), now.end(), last->begin(), last->end(),
                                 [](const Value& a, const Value& b) { return equal(a, b); }))
            return Value(false);
          loop->last_changed = now;
          return Value(true);
        });
      }
      return std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

// --- rendering ---

struct Interpreter::Deeper {
  explicit Deeper(Interpreter& interpreter) : depth(interpreter.depth_) {
    if (++depth > kEvaluationDepth) {
      --depth;
      limit_error("the template calls itself too deeply");
    }
  }
  ~Deeper() { --depth; }
  int& depth;
};

Interpreter::~Interpreter() {
  // Namespaces, loops and the scopes of macros may refer to themselves; emptying them in turn breaks every circle, and
  // no destructor follows a long chain since all are still held here.
  for (const auto& object : cyclic_) {
    if (auto* names = dynamic_cast<NamesObject*>(object.get())) names->attributes = {};
    if (auto* loop = dynamic_cast<LoopObject*>(object.get())) {
      loop->items.clear();
      loop->ahead.clear();
      loop->current = loop->before = {};
      loop->last_changed.reset();
      loop->outer.reset();
    }
  }
  for (const auto& scope : captured_) scope->variables.clear();
}

JinjaOutput Interpreter::run(const Json& context) {
  const BudgetScope budget(budget_);
  try {
    globals_.reserve(program_.names.size());
    for (const std::string& name : program_.names) {
      if (const auto found = context.find(name); context.is_object() && found != context.end()) {
        Budget unlimited{UINT64_MAX};  // the size of the caller's data is the caller's affair
        const BudgetScope free(unlimited);
        globals_.push_back(from_json(*found, !options_.trusted.contains(name)));
      } else {
        auto global = find_global(name);
        globals_.push_back(global ? std::move(*global) : undefined_name(name));
      }
    }
    root_ = std::make_shared<Scope>();
    captured_.push_back(root_);
    if (!program_.blocks.empty()) {
      auto self = std::make_shared<NamesObject>();
      for (const auto& [name, node] : program_.blocks) {
        self->attributes.set(Value::string(name),
                             make_function(name, [node = node](Interpreter& interpreter, Arguments&) {
                               const auto scope = std::make_shared<Scope>();
                               scope->parent = interpreter.root_;
                               Text text;
                               const Deeper deeper(interpreter);
                               interpreter.execute(node->body, scope, text);
                               return interpreter.text_result(std::move(text));
                             }));
      }
      globals_[kSelf] = Value(Kind::names, self);
    }
    Text out;
    root_out_ = &out;
    execute(program_.body, root_, out);
    size_t begin = 0;
    for (const auto& run : out.runs()) {
      output_.parts.push_back({begin, run.end, run.user});
      begin = run.end;
    }
    output_.text = out.bytes();
    return std::move(output_);
  } catch (const Failure& failure) {
    fail_at(failure, program_.name, place_);
  }
}

Interpreter::Flow Interpreter::execute(const Nodes& nodes, const ScopePtr& scope, Text& out) {
  const Deeper deeper(*this);
  for (const Node* node : nodes) {
    charge(kStatementUnits);
    place_ = node->place;
    const Flow flow = execute_statement(*node, scope, out);
    if (flow != Flow::on) return flow;
  }
  return Flow::on;
}

namespace {
ScopePtr inner_scope(const ScopePtr& parent) {
  auto scope = std::make_shared<Scope>();
  scope->parent = parent;
  return scope;
}
}  // namespace

Interpreter::Flow Interpreter::execute_statement(const Node& node, const ScopePtr& scope, Text& out) {
  switch (node.kind) {
    case NodeKind::data:
      out.append(node.value.text());
      return Flow::on;
    case NodeKind::output:
      for (const Node* child : node.children) print(evaluate(*child, scope), out);
      return Flow::on;
    case NodeKind::branch:
      return execute_branch(node, scope, out);
    case NodeKind::loop: {
      const Value iterable = evaluate(*node.left, scope);
      if (node.flag) {
        Text text;
        execute_loop(node, scope, iterable, 0, text);
        out.append(text);
      } else {
        execute_loop(node, scope, iterable, 0, out);
      }
      return Flow::on;
    }
    case NodeKind::set:
      assign(*node.children[0], evaluate(*node.left, scope), scope);
      return Flow::on;
    case NodeKind::set_block:
      return execute_set_block(node, scope);
    case NodeKind::macro:
      scope->set(node.id, make_macro(node, scope));
      return Flow::on;
    case NodeKind::call_block:
      execute_call_block(node, scope, out);
      return Flow::on;
    case NodeKind::generation:
      execute_generation(node, scope, out);
      return Flow::on;
    case NodeKind::filter_block:
      return execute_filter_block(node, scope, out);
    case NodeKind::with: {
      const ScopePtr inner = inner_scope(scope);
      std::vector<Value> values;
      for (size_t i = 1; i < node.children.size(); i += 2) values.push_back(evaluate(*node.children[i], scope));
      for (size_t i = 0; i < values.size(); ++i) assign(*node.children[2 * i], values[i], inner);
      return execute(node.body, inner, out);
    }
    case NodeKind::autoescape: {
      const bool outer = autoescape_;
      autoescape_ = truthy(evaluate(*node.left, scope));
      const Flow flow = execute(node.body, inner_scope(scope), out);
      autoescape_ = outer;
      return flow;
    }
    case NodeKind::block:
      execute(node.body, inner_scope(node.flag ? scope : root_), out);
      return Flow::on;
    case NodeKind::break_loop:
      return Flow::break_loop;
    case NodeKind::continue_loop:
      return Flow::continue_loop;
    case NodeKind::needs_loader:
      evaluate(*node.left, scope);
      type_error("no loader for this environment specified");
    default:
      return Flow::on;
  }
}

void Interpreter::print(const Value& value, Text& out) {
  if (value.is_string()) {
    out.append(autoescape_ && !value.markup() ? escape_html(value.text()) : value.text());
  } else if (!value.is_undefined()) {
    Text text;
    append_repr(text, value, 0);
    out.append(autoescape_ ? escape_html(text) : text);
  }
}

// What a call or filter block gives goes out as it is, and must be a text.
void Interpreter::print_text(const Value& value, Text& out) {
  if (!value.is_string()) type_error(concat("sequence item 0: expected str instance, ", type_name(value), " found"));
  out.append(value.text());
}

Interpreter::Flow Interpreter::execute_branch(const Node& node, const ScopePtr& scope, Text& out) {
  const Node* branch = &node;
  while (true) {
    if (truthy(evaluate(*branch->left, scope))) return execute(branch->body, scope, out);
    const Nodes& otherwise = branch->otherwise;
    if (otherwise.size() != 1 || otherwise[0]->kind != NodeKind::branch) return execute(otherwise, scope, out);
    branch = otherwise[0];
    place_ = branch->place;
  }
}

void Interpreter::execute_loop(const Node& node, const ScopePtr& scope, const Value& iterable, int64_t depth,
                               Text& out) {
  const auto loop = std::make_shared<LoopObject>();
  loop->node = &node;
  loop->outer = scope;
  loop->items = iterate(iterable);
  loop->depth0 = depth;
  loop->interpreter = this;
  const bool visible = node.uses_loop || node.flag;
  ScopePtr inner;
  // A loop that something still holds afterwards may be part of a circle.
  struct Keep {
    const std::shared_ptr<LoopObject>& loop;
    ScopePtr& inner;
    std::vector<std::shared_ptr<Object>>& cyclic;
    ~Keep() {
      inner.reset();
      if (loop.use_count() > 1) cyclic.push_back(loop);
    }
  } keep{loop, inner, cyclic_};
  bool completed = false;  // the reference's else runs unless some iteration came to its end
  while (loop->peek()) {
    charge(kStatementUnits);
    ++loop->index0;
    loop->before = std::move(loop->current);
    loop->current = std::move(loop->ahead.front());
    loop->ahead.pop_front();
    if (!inner || inner.use_count() > 1) {
      inner = inner_scope(scope);
    } else {
      inner->variables.clear();
    }
    if (visible) inner->set(kLoop, Value(Kind::loop, loop));
    assign(*node.children[0], loop->current, inner);
    const Flow flow = execute(node.body, inner, out);
    if (flow == Flow::break_loop) break;
    completed |= flow == Flow::on;
  }
  if (!completed && !node.otherwise.empty()) execute(node.otherwise, inner_scope(scope), out);
}

Value Interpreter::call_loop(LoopObject& loop, const Value& iterable) {
  if (!loop.node->flag) type_error("The loop must have the 'recursive' marker to be called recursively.");
  if (loop.depth0 + 1 >= limits::kTemplateDepth) limit_error("the template calls itself too deeply");
  Text text;
  execute_loop(*loop.node, loop.outer, iterable, loop.depth0 + 1, text);
  return text_result(std::move(text));
}

Interpreter::Flow Interpreter::execute_set_block(const Node& node, const ScopePtr& scope) {
  Text text;
  const ScopePtr inner = inner_scope(scope);
  const Flow flow = execute(node.body, inner, text);
  if (flow != Flow::on) return flow;
  Value value = text_result(std::move(text));
  if (node.left) value = evaluate_chain(*node.left, inner, &value);
  assign(*node.children[0], value, scope);
  return flow;
}

Interpreter::Flow Interpreter::execute_filter_block(const Node& node, const ScopePtr& scope, Text& out) {
  Text text;
  const ScopePtr inner = inner_scope(scope);
  const Flow flow = execute(node.body, inner, text);
  if (flow != Flow::on) return flow;
  const Value body = text_result(std::move(text));
  print_text(evaluate_chain(*node.left, inner, &body), out);
  return flow;
}

Value Interpreter::make_macro(const Node& node, const ScopePtr& scope) {
  auto macro = std::make_shared<MacroObject>();
  macro->node = &node;
  macro->scope = scope;
  macro->autoescape = autoescape_;
  if (captured_.back() != scope) captured_.push_back(scope);
  return {Kind::macro, std::move(macro)};
}

void Interpreter::execute_call_block(const Node& node, const ScopePtr& scope, Text& out) {
  const Value caller = make_macro(node, scope);
  const Node& call_node = *node.left;
  const Value callee = evaluate(*call_node.left, scope);
  Arguments arguments = evaluate_arguments(call_node, scope);
  arguments.named.emplace_back("caller", caller);
  print_text(call(callee, arguments), out);
}

void Interpreter::execute_generation(const Node& node, const ScopePtr& scope, Text& out) {
  Arguments none;
  const Value macro = make_macro(node, scope);
  const Value text = call_macro(macro.as<MacroObject>(), none);
  // As the reference counts: from what the template's top level has put out so far.
  const size_t begin = utf8::count(root_out_->bytes());
  output_.generations.emplace_back(begin, begin + utf8::count(text.bytes()));
  print(text, out);
}

Value Interpreter::call_macro(const MacroObject& macro, Arguments& arguments) {
  const Node& node = *macro.node;
  const std::string name = node.kind == NodeKind::macro ? quote(node.text) : "None";
  if (++calls_ > limits::kTemplateDepth) {
    limit_error(concat("macros call each other deeper than ", limits::kTemplateDepth, " levels"));
  }
  const auto take = [&](std::string_view key) -> std::optional<Value> {
    const auto found = std::find_if(arguments.named.begin(), arguments.named.end(),
                                    [&](const auto& entry) { return entry.first == key; });
    if (found == arguments.named.end()) return std::nullopt;
    Value value = std::move(found->second);
    arguments.named.erase(found);
    return value;
  };
  const ScopePtr scope = inner_scope(macro.scope);
  const size_t given = std::min(arguments.positional.size(), node.named.size());
  bool found_caller =
      given == node.named.size() &&
      std::any_of(node.named.begin(), node.named.end(), [](const auto& entry) { return entry.first == "caller"; });
  std::vector<size_t> missing;
  for (size_t i = 0; i < node.named.size(); ++i) {
    const auto& parameter = node.named[i];
    if (i < given) {
      scope->set(node.ids[i], arguments.positional[i]);
      continue;
    }
    if (parameter.first == "caller") found_caller = true;
    if (auto value = take(parameter.first)) {
      scope->set(node.ids[i], std::move(*value));
    } else {
      missing.push_back(i);
    }
  }
  if (node.uses_caller && !found_caller) {
    auto caller = take("caller");
    scope->set(kCaller, caller && !caller->is_none() ? std::move(*caller) : make_undefined("No caller defined"));
  }
  if (node.uses_kwargs) {
    auto dict = std::make_shared<DictObject>();
    for (auto& [key, value] : arguments.named) dict->set(Value::string(key), std::move(value));
    scope->set(kKwargs, make_dict(std::move(dict)));
  } else if (!arguments.named.empty()) {
    if (arguments.named[0].first == "caller") {
      type_error(concat("macro ", name,
                        " was invoked with two values for the special caller argument. This is most likely a bug."));
    }
    type_error(concat("macro ", name, " takes no keyword argument ", quote(arguments.named[0].first)));
  }
  if (node.uses_varargs) {
    scope->set(kVarargs, Value::tuple({arguments.positional.begin() + static_cast<std::ptrdiff_t>(given),
                                       arguments.positional.end()}));
  } else if (arguments.positional.size() > given) {
    type_error(concat("macro ", name, " takes not more than ", node.named.size(), " argument(s)"));
  }
  for (const size_t i : missing) {
    const auto& [parameter, value] = node.named[i];
    scope->set(node.ids[i], value ? evaluate(*value, scope)
                                  : make_undefined(concat("parameter ", quote(parameter), " was not provided")));
  }
  Text text;
  const Place caller_place = place_;
  execute(node.body, scope, text);
  place_ = caller_place;
  --calls_;
  return text_result(std::move(text));
}

void Interpreter::assign(const Node& target, const Value& value, const ScopePtr& scope) {
  switch (target.kind) {
    case NodeKind::name_target:
      scope->set(target.id, value);
      return;
    case NodeKind::member_target: {
      const Value object = evaluate(*target.left, scope);
      if (!object.is(Kind::names)) fail("TemplateRuntimeError", "cannot assign attribute on non-namespace object");
      object.as<NamesObject>().attributes.set(Value::string(target.text), value);
      return;
    }
    default: {
      if (value.is_undefined() || value.is_none() || value.is_number())
        type_error(concat("cannot unpack non-iterable ", type_name(value), " object"));
      const auto items = iterate(value);
      const size_t wanted = target.children.size();
      if (items.size() < wanted)
        value_error(concat("not enough values to unpack (expected ", wanted, ", got ", items.size(), ")"));
      if (items.size() > wanted) value_error(concat("too many values to unpack (expected ", wanted, ")"));
      for (size_t i = 0; i < wanted; ++i) assign(*target.children[i], items[i], scope);
    }
  }
}

Value Interpreter::new_namespace(Arguments& arguments) {
  auto names = std::make_shared<NamesObject>();
  const Value dict = call(*find_global("dict"), arguments);
  names->attributes = dict.dict();
  names->attributes.depth = 1;
  cyclic_.push_back(names);
  return {Kind::names, std::move(names)};
}

// --- expressions ---

Value Interpreter::evaluate(const Node& node, const ScopePtr& scope) {
  if (node.kind == NodeKind::constant) return node.value;
  return evaluate_chain(node, scope, nullptr);
}

// Walks down the left operands and applies the operations on the way back, so that a long chain needs no deep stack.
Value Interpreter::evaluate_chain(const Node& last, const ScopePtr& scope, const Value* input) {
  const Deeper deeper(*this);
  std::vector<const Node*> chain;
  const Node* node = &last;
  while (node && is_chained(node->kind)) {
    chain.push_back(node);
    node = node->left;
  }
  Value value = node ? evaluate_start(*node, scope) : *input;
  for (; !chain.empty(); chain.pop_back()) {
    charge(1);
    value = apply(*chain.back(), std::move(value), scope);
  }
  return value;
}

Value Interpreter::evaluate_start(const Node& node, const ScopePtr& scope) {
  charge(1);
  switch (node.kind) {
    case NodeKind::constant:
      return node.value;
    case NodeKind::name:
      return lookup(node.id, *scope);
    case NodeKind::conditional:
      if (truthy(evaluate(*node.left, scope))) return evaluate(*node.children[0], scope);
      if (node.flag) return evaluate(*node.children[1], scope);
      return make_undefined("the inline if-expression evaluated to false and no else section was defined.");
    case NodeKind::tuple:
    case NodeKind::list:
    case NodeKind::concat: {
      std::vector<Value> items;
      items.reserve(node.children.size());
      for (const Node* child : node.children) items.push_back(evaluate(*child, scope));
      if (node.kind == NodeKind::concat) return concatenate(items, autoescape_);
      return node.kind == NodeKind::tuple ? Value::tuple(std::move(items)) : Value::list(std::move(items));
    }
    case NodeKind::dict: {
      auto dict = std::make_shared<DictObject>();
      for (size_t i = 0; i < node.children.size(); i += 2) {
        Value key = evaluate(*node.children[i], scope);
        dict->set(std::move(key), evaluate(*node.children[i + 1], scope));
      }
      return make_dict(std::move(dict));
    }
    case NodeKind::slice:
      type_error("a slice stands where only a key can");
    default:
      return {};
  }
}

Value Interpreter::apply(const Node& node, Value left, const ScopePtr& scope) {
  switch (node.kind) {
    case NodeKind::conjunction:
      return truthy(left) ? evaluate(*node.children[0], scope) : left;
    case NodeKind::disjunction:
      return truthy(left) ? left : evaluate(*node.children[0], scope);
    case NodeKind::negation:
      return !truthy(left);
    case NodeKind::comparison:
      return compare(node, left, scope);
    case NodeKind::binary: {
      const Value right = evaluate(*node.children[0], scope);
      place_ = node.place;
      return operate(node.op, left, right);
    }
    case NodeKind::minus:
      return negate(left);
    case NodeKind::plus:
      if (left.is_undefined()) fail_undefined(left);
      if (!left.is_number()) type_error(concat("bad operand type for unary +: '", type_name(left), "'"));
      return left.is(Kind::boolean) ? Value(left.small()) : left;
    case NodeKind::member:
      place_ = node.place;
      return get_attribute(left, node.text);
    case NodeKind::item:
      place_ = node.place;
      return subscript(node, left, scope);
    case NodeKind::call: {
      Arguments arguments = evaluate_arguments(node, scope);
      place_ = node.place;
      return call(left, arguments);
    }
    case NodeKind::filter:
    case NodeKind::test: {
      const bool filter = node.kind == NodeKind::filter;
      Arguments arguments = evaluate_arguments(node, scope);
      place_ = node.place;
      if (node.flag)
        fail("TemplateRuntimeError", concat("No ", filter ? "filter" : "test", " named ", quote(node.text), " found."));
      return filter ? call_filter(node.text, left, arguments) : call_test(node.text, left, arguments);
    }
    default:
      return left;
  }
}

Value Interpreter::compare(const Node& node, const Value& first, const ScopePtr& scope) {
  Value left = first;
  bool result = true;
  for (size_t i = 0; i < node.operators.size(); ++i) {
    Value right = evaluate(*node.children[i], scope);
    place_ = node.place;
    const auto [token, negated] = node.operators[i];
    switch (token) {
      case Token::eq:
        result = equal(left, right);
        break;
      case Token::ne:
        result = !equal(left, right);
        break;
      case Token::name:
        result = contains(left, right) != negated;
        break;
      case Token::lt: {
        const auto c = order(left, right, "<");
        result = c && *c < 0;
        break;
      }
      case Token::le: {
        const auto c = order(left, right, "<=");
        result = c && *c <= 0;
        break;
      }
      case Token::gt: {
        const auto c = order(left, right, ">");
        result = c && *c > 0;
        break;
      }
      default: {
        const auto c = order(left, right, ">=");
        result = c && *c >= 0;
        break;
      }
    }
    if (!result) return false;
    left = std::move(right);
  }
  return result;
}

Value Interpreter::subscript(const Node& node, const Value& object, const ScopePtr& scope) {
  const Node& key = *node.children[0];
  if (key.kind != NodeKind::slice) {
    const Value value = evaluate(key, scope);
    place_ = node.place;
    return get_item(object, value);
  }
  Value parts[3];
  for (size_t i = 0; i < 3; ++i) {
    if (key.children[i]) parts[i] = evaluate(*key.children[i], scope);
  }
  if (object.is_undefined()) fail_undefined(object);
  const auto number = [](const Value& value) -> std::optional<int64_t> {
    if (value.is_none()) return std::nullopt;
    return std::clamp<int64_t>(to_index(value), -(INT64_MAX / 4), INT64_MAX / 4);
  };
  if (!std::all_of(std::begin(parts), std::end(parts), [](const Value& part) { return part.is_none() || part.is_int(); })) {
    type_error("slice indices must be integers or None or have an __index__ method");
  }
  const Slice slice{number(parts[0]), number(parts[1]), number(parts[2]).value_or(1)};
  if (slice.step == 0) value_error("slice step cannot be zero");
  if (auto value = slice_value(object, slice)) return *value;
  if (object.is(Kind::dict)) type_error("unhashable type: 'slice'");
  type_error(concat("'", type_name(object), "' object is not subscriptable"));
}

Arguments Interpreter::evaluate_arguments(const Node& node, const ScopePtr& scope) {
  Arguments arguments;
  arguments.positional.reserve(node.children.size());
  for (const Node* child : node.children) arguments.positional.push_back(evaluate(*child, scope));
  for (const auto& [name, child] : node.named) arguments.named.emplace_back(name, evaluate(*child, scope));
  if (node.star) {
    const Value star = evaluate(*node.star, scope);
    for (Value& value : iterate(star)) arguments.positional.push_back(std::move(value));
  }
  if (node.star_star) {
    const Value mapping = evaluate(*node.star_star, scope);
    if (mapping.is_undefined()) fail_undefined(mapping);
    if (!mapping.is(Kind::dict)) type_error(concat("argument after ** must be a mapping, not ", type_name(mapping)));
    for (const auto& [key, value] : mapping.dict().entries) {
      if (!key.is_string()) type_error("keywords must be strings");
      const bool doubled = std::any_of(arguments.named.begin(), arguments.named.end(),
                                       [&, &key = key](const auto& entry) { return entry.first == key.bytes(); });
      if (doubled) type_error(concat("got multiple values for keyword argument ", quote(key.bytes())));
      arguments.named.emplace_back(key.bytes(), value);
    }
  }
  return arguments;
}

Value Interpreter::call(const Value& callee, Arguments& arguments) {
  charge(kStatementUnits);
  const Deeper deeper(*this);
  switch (callee.kind()) {
    case Kind::undefined:
      fail_undefined(callee);
    case Kind::function:
    case Kind::type:
      return callee.as<FunctionObject>().call(*this, arguments);
    case Kind::macro:
      return call_macro(callee.as<MacroObject>(), arguments);
    case Kind::loop: {
      const auto values = bind("loop", arguments, {"iterable"});
      return call_loop(callee.as<LoopObject>(), *values[0]);
    }
    case Kind::joiner: {
      auto& joiner = callee.as<JoinerObject>();
      if (joiner.used) return joiner.separator;
      joiner.used = true;
      return Value::string(std::string());
    }
    default:
      type_error(concat("'", type_name(callee), "' object is not callable"));
  }
}

Value Interpreter::call_filter(const std::string& name, const Value& value, Arguments& arguments) {
  const Filter filter = find_filter(name);
  if (!filter) fail("TemplateRuntimeError", concat("No filter named ", quote(name), "."));
  charge(kStatementUnits);
  const Deeper deeper(*this);
  return filter(*this, value, arguments);
}

Value Interpreter::call_test(const std::string& name, const Value& value, Arguments& arguments) {
  const Filter test = find_test(name);
  if (!test) fail("TemplateRuntimeError", concat("No test named ", quote(name), "."));
  charge(1);
  return test(*this, value, arguments);
}

bool is_known_filter(std::string_view name) { return find_filter(name) != nullptr; }
bool is_known_test(std::string_view name) { return find_test(name) != nullptr; }

}  // namespace backplane::jinja

namespace backplane {

JinjaOutput JinjaTemplate::render_parts(const Json& context, const RenderOptions& options) const {
  return jinja::Interpreter(*program_, options).run(context);
}

std::string JinjaTemplate::render(const Json& context, const RenderOptions& options) const {
  return render_parts(context, options).text;
}

}  // namespace backplane
