#pragma once

#include <deque>

#include "text/jinja_syntax.h"

namespace backplane::jinja {

struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<int, Value>> variables;

  void set(int id, Value value);
  const Value* find(int id) const;  // here or further out
};
using ScopePtr = std::shared_ptr<Scope>;

struct MacroObject : Object {
  const Node* node = nullptr;  // macro, call_block or generation
  ScopePtr scope;              // where it was defined
  bool autoescape = false;
};

class Interpreter;

struct LoopObject : Object {
  const Node* node = nullptr;
  ScopePtr outer;
  std::vector<Value> items;
  size_t next = 0;          // in items
  std::deque<Value> ahead;  // pulled and accepted, but not yet current
  int64_t index0 = -1, depth0 = 0;
  std::optional<int64_t> length;
  Value current, before;
  std::optional<std::vector<Value>> last_changed;
  Interpreter* interpreter = nullptr;

  std::optional<Value> pull();  // the next item that the loop's filter accepts
  bool peek();                  // whether there is one more, which then is ahead
  int64_t size();
};

/// One rendering.
class Interpreter {
 public:
  Interpreter(const JinjaTemplate::Program& program, const RenderOptions& options)
      : program_(program), options_(options) {}
  ~Interpreter();

  JinjaOutput run(const Json& context);

  Value call(const Value& callee, Arguments& arguments);
  Value call_filter(const std::string& name, const Value& value, Arguments& arguments);
  Value call_test(const std::string& name, const Value& value, Arguments& arguments);
  Value call_loop(LoopObject& loop, const Value& iterable);
  bool accepts(const LoopObject& loop, const Value& item);

  Value new_namespace(Arguments& arguments);
  WallClock clock() const { return options_.clock ? options_.clock() : WallClock::now(); }
  bool autoescape() const { return autoescape_; }

 private:
  enum class Flow { on, break_loop, continue_loop };

  Flow execute(const Nodes& nodes, const ScopePtr& scope, Text& out);
  Flow execute_statement(const Node& node, const ScopePtr& scope, Text& out);
  Flow execute_branch(const Node& node, const ScopePtr& scope, Text& out);
  void execute_loop(const Node& node, const ScopePtr& scope, const Value& iterable, int64_t depth, Text& out);
  void execute_call_block(const Node& node, const ScopePtr& scope, Text& out);
  void execute_generation(const Node& node, const ScopePtr& scope, Text& out);
  Flow execute_set_block(const Node& node, const ScopePtr& scope);
  Flow execute_filter_block(const Node& node, const ScopePtr& scope, Text& out);
  void print(const Value& value, Text& out);
  static void print_text(const Value& value, Text& out);

  Value evaluate(const Node& node, const ScopePtr& scope);
  Value evaluate_chain(const Node& last, const ScopePtr& scope, const Value* input);
  Value evaluate_start(const Node& node, const ScopePtr& scope);
  Value apply(const Node& node, Value left, const ScopePtr& scope);
  Value compare(const Node& node, const Value& first, const ScopePtr& scope);
  Value subscript(const Node& node, const Value& object, const ScopePtr& scope);
  Value lookup(int id, const Scope& scope) const;
  Arguments evaluate_arguments(const Node& node, const ScopePtr& scope);

  void assign(const Node& target, const Value& value, const ScopePtr& scope);
  Value call_macro(const MacroObject& macro, Arguments& arguments);
  Value make_macro(const Node& node, const ScopePtr& scope);
  Value text_result(Text text) const { return Value::string(std::move(text), autoescape_); }

  struct Deeper;

  const JinjaTemplate::Program& program_;
  const RenderOptions& options_;
  Budget budget_;
  std::vector<Value> globals_;  // by variable id: the context, else what every template has, else undefined
  ScopePtr root_;
  Text* root_out_ = nullptr;
  JinjaOutput output_;
  std::vector<std::shared_ptr<Object>> cyclic_;  // namespaces and loops, which may hold themselves
  std::vector<ScopePtr> captured_;               // scopes that macros hold
  Place place_;
  int depth_ = 0, calls_ = 0;
  bool autoescape_ = false;
};

/// a + b, a * b, … with Python's sequences as well as numbers.
Value operate(char op, const Value& a, const Value& b);
Value concatenate(const std::vector<Value>& parts, bool autoescape);

using Filter = Value (*)(Interpreter&, const Value&, Arguments&);
Filter find_filter(std::string_view name);
Filter find_test(std::string_view name);
/// range, dict, cycler, …; nullopt for other names.
std::optional<Value> find_global(const std::string& name);

}  // namespace backplane::jinja
