#pragma once

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja_value.h"

namespace backplane::jinja {

struct Place {
  uint32_t line = 1, column = 1;
};

enum class Token : uint8_t {
  data,
  block_begin,
  block_end,
  variable_begin,
  variable_end,
  name,
  string,
  integer,
  real,
  end,
  add,
  sub,
  div,
  floordiv,
  mul,
  mod,
  pow,
  tilde,
  lbracket,
  rbracket,
  lparen,
  rparen,
  lbrace,
  rbrace,
  eq,
  ne,
  gt,
  ge,
  lt,
  le,
  assign,
  dot,
  colon,
  pipe,
  comma,
  semicolon
};

struct Lexeme {
  Token token = Token::end;
  std::string text;  // data, names, strings unescaped, numbers without underscores
  Place place;
};

/// The tokens of `source` with white space handled as trim_blocks and lstrip_blocks ask.
std::vector<Lexeme> tokenize(std::string_view source, const std::string& name);

enum class NodeKind : uint8_t {
  // expressions
  constant,
  name,
  tuple,
  list,
  dict,
  conditional,
  conjunction,
  disjunction,
  negation,
  comparison,
  concat,
  binary,
  minus,
  plus,
  member,
  item,
  slice,
  call,
  filter,
  test,
  // statements
  data,
  output,
  loop,
  branch,
  macro,
  call_block,
  filter_block,
  set,
  set_block,
  with,
  autoescape,
  block,
  generation,
  break_loop,
  continue_loop,
  needs_loader,
  // targets
  name_target,
  member_target
};

struct Node;
using Nodes = std::vector<const Node*>;

/// One node for all kinds; a comment at each use in the parser's functions says what its fields hold.
struct Node {
  NodeKind kind;
  Place place;
  const Node* left = nullptr;  // evaluated first: operand, callee, filter's input, tested value, …
  Nodes children;
  std::vector<std::pair<std::string, const Node*>> named;
  const Node* star = nullptr;
  const Node* star_star = nullptr;
  Nodes body, otherwise;
  std::vector<std::pair<Token, bool>> operators;  // of a comparison; eq … le, or name for (not) in
  Value value;
  std::string text;
  int id = 0;            // of the variable `text`
  std::vector<int> ids;  // of the parameters in `named`
  char op = 0;
  bool flag = false;  // loop: recursive; test: negated; block: scoped; conditional: has an else; filter, test: unknown
  bool uses_loop = false, uses_caller = false, uses_varargs = false, uses_kwargs = false;
};

}  // namespace backplane::jinja

namespace backplane {

struct JinjaTemplate::Program {
  std::string name;
  std::deque<jinja::Node> nodes;  // owns all nodes, so that no destructor recurses
  jinja::Nodes body;
  std::vector<std::pair<std::string, const jinja::Node*>> blocks;
  std::vector<std::string> names;  // of variables, by id
  bool has_generation = false;
};

}  // namespace backplane

namespace backplane::jinja {

std::shared_ptr<const JinjaTemplate::Program> parse_program(std::string_view source, std::string name);
[[noreturn]] void fail_at(const Failure& failure, const std::string& name, Place place);
bool is_known_filter(std::string_view name);
bool is_known_test(std::string_view name);

// Variables whose ids every program shares.
enum : int { kLoop, kCaller, kVarargs, kKwargs, kSelf, kSuper };
inline constexpr const char* kSharedNames[] = {"loop", "caller", "varargs", "kwargs", "self", "super"};

}  // namespace backplane::jinja
