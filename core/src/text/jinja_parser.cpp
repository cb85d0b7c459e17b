#include <algorithm>

#include "backplane/base/strings.h"
#include "text/jinja_syntax.h"

namespace backplane::jinja {
namespace {

struct Description {
  Token token;
  const char* text;
};
constexpr Description kDescriptions[] = {{Token::data, "template data / text"},
                                         {Token::block_begin, "begin of statement block"},
                                         {Token::block_end, "end of statement block"},
                                         {Token::variable_begin, "begin of print statement"},
                                         {Token::variable_end, "end of print statement"},
                                         {Token::name, "name"},
                                         {Token::string, "string"},
                                         {Token::integer, "integer"},
                                         {Token::real, "float"},
                                         {Token::end, "end of template"},
                                         {Token::lparen, "("},
                                         {Token::rparen, ")"},
                                         {Token::lbracket, "["},
                                         {Token::rbracket, "]"},
                                         {Token::lbrace, "{"},
                                         {Token::rbrace, "}"},
                                         {Token::comma, ","},
                                         {Token::colon, ":"},
                                         {Token::assign, "="}};

std::string describe(Token token) {
  for (const auto& description : kDescriptions) {
    if (description.token == token) return description.text;
  }
  return "operator";
}

std::string describe(const Lexeme& lexeme) {
  if (lexeme.token == Token::name) return lexeme.text;
  return lexeme.token > Token::end ? lexeme.text : describe(lexeme.token);
}

using Words = std::vector<std::string_view>;

class Parser {
 public:
  Parser(std::string_view source, std::string name) : program_(std::make_shared<JinjaTemplate::Program>()) {
    program_->name = std::move(name);
    lexemes_ = tokenize(source, program_->name);
    for (const char* shared : kSharedNames) id(shared);
  }

  std::shared_ptr<const JinjaTemplate::Program> run() {
    program_->body = statements_until({});
    for (const auto& check : checks_) {
      if (!check.soft) fail_at({"TemplateAssertionError", check.message}, program_->name, check.place);
    }
    return program_;
  }

 private:
  // --- stream ---
  const Lexeme& current() const { return lexemes_[at_]; }
  const Lexeme& look() const { return lexemes_[std::min(at_ + 1, lexemes_.size() - 1)]; }
  const Lexeme& next() {
    const Lexeme& lexeme = lexemes_[at_];
    if (at_ + 1 < lexemes_.size()) ++at_;
    return lexeme;
  }
  bool is(Token token) const { return current().token == token; }
  static bool is_word(const Lexeme& lexeme, std::string_view word) {
    return lexeme.token == Token::name && lexeme.text == word;
  }
  bool at_word(std::string_view word) const { return is_word(current(), word); }
  bool at_any(const Words& words) const {
    return std::any_of(words.begin(), words.end(), [&](std::string_view word) { return at_word(word); });
  }
  bool skip(Token token) { return is(token) && (next(), true); }
  bool skip_word(std::string_view word) { return at_word(word) && (next(), true); }

  [[noreturn]] void error(std::string message, Place place) {
    fail_at({"TemplateSyntaxError", std::move(message)}, program_->name, place);
  }
  [[noreturn]] void expected(const std::string& what) {
    if (is(Token::end)) error(concat("unexpected end of template, expected '", what, "'."), current().place);
    error(concat("expected token '", what, "', got '", describe(current()), "'"), current().place);
  }
  const Lexeme& expect(Token token) {
    if (!is(token)) expected(describe(token));
    return next();
  }
  void expect_word(std::string_view word) {
    if (!at_word(word)) expected(std::string(word));
    next();
  }

  // --- nodes ---
  Node& make(NodeKind kind, Place place) {
    program_->nodes.emplace_back();
    Node& node = program_->nodes.back();
    node.kind = kind;
    node.place = place;
    return node;
  }
  int id(const std::string& name) {
    const auto [entry, fresh] = ids_.try_emplace(name, static_cast<int>(program_->names.size()));
    if (fresh) program_->names.push_back(name);
    return entry->second;
  }
  const Node* constant(Value value, Place place) {
    Node& node = make(NodeKind::constant, place);
    node.value = std::move(value);
    return &node;
  }
  const Node* load(const Lexeme& name) {
    Node& node = make(NodeKind::name, name.place);
    node.text = name.text;
    node.id = id(name.text);
    if (node.id >= kLoop && node.id <= kKwargs) {
      for (Node* user : users_) {
        user->uses_loop |= node.id == kLoop;
        user->uses_caller |= node.id == kCaller;
        user->uses_varargs |= node.id == kVarargs;
        user->uses_kwargs |= node.id == kKwargs;
      }
    }
    return &node;
  }

  // Guards a recursive step.
  struct Deeper {
    explicit Deeper(Parser& parser) : depth(parser.depth_) {
      if (++depth > limits::kTemplateDepth) {
        fail_at({"RecursionError", concat("the template nests deeper than ", limits::kTemplateDepth, " levels"),
                 ErrorCode::limit_exceeded},
                parser.program_->name, parser.current().place);
      }
    }
    ~Deeper() { --depth; }
    int& depth;
  };

  // A filter or test that does not exist is an error at once, except in the branches of a condition.
  struct Check {
    std::string message;
    Place place;
    int frame;
    bool soft = false;
  };
  void check_name(Node& node, bool known, const char* what) {
    if (known) return;
    node.flag = true;
    checks_.push_back({concat("No ", what, " named ", quote(node.text), "."), node.place, frame_});
  }
  void soften(size_t first) {
    for (size_t i = first; i < checks_.size(); ++i) checks_[i].soft |= checks_[i].frame == frame_;
  }
  struct Frame {
    explicit Frame(Parser& parser) : parser(parser), outer(parser.frame_) { parser.frame_ = ++parser.frames_; }
    ~Frame() { parser.frame_ = outer; }
    Parser& parser;
    int outer;
  };
  // A body that Python would compile to a function: no break out of it, and names like `caller` belong to it.
  struct Function {
    explicit Function(Parser& parser) : parser(parser), outer(parser.loops_) { parser.loops_ = 0; }
    ~Function() { parser.loops_ = outer; }
    Parser& parser;
    int outer;
  };

  // --- statements ---
  [[noreturn]] void fail_unclosed(const std::string* tag, const std::vector<Words>& ends, Place place) {
    std::string message = tag ? concat("Encountered unknown tag ", quote(*tag), ".") : "Unexpected end of template.";
    if (!ends.empty()) {
      std::string looking;
      for (const auto word : ends.back()) looking += concat(looking.empty() ? "'" : " or '", word, "'");
      const bool nesting = tag && std::any_of(ends.begin(), ends.end(), [&](const Words& words) {
                             return std::count(words.begin(), words.end(), *tag);
                           });
      message +=
          nesting
              ? concat(" You probably made a nesting mistake. Jinja is expecting this tag, but currently looking for ",
                       looking, ".")
              : concat(" Jinja was looking for the following tags: ", looking, ".");
    }
    if (!tags_.empty()) message += concat(" The innermost block that needs to be closed is '", tags_.back(), "'.");
    error(message, place);
  }

  // Up to one of the tags `ends`, which stays the current token; to the end of the template where there are none.
  Nodes statements_until(const Words& ends) {
    const Deeper deeper(*this);
    if (!ends.empty()) {
      skip(Token::colon);
      expect(Token::block_end);
      ends_.push_back(ends);
    }
    Nodes body;
    while (!is(Token::end)) {
      if (is(Token::data)) {
        Node& node = make(NodeKind::data, current().place);
        node.value = Value::string(next().text);
        body.push_back(&node);
      } else if (is(Token::variable_begin)) {
        Node& node = make(NodeKind::output, next().place);
        node.children.push_back(tuple_or_expression());
        expect(Token::variable_end);
        body.push_back(&node);
      } else {
        next();  // block_begin
        if (at_any(ends)) {
          ends_.pop_back();
          return body;
        }
        body.push_back(statement());
        expect(Token::block_end);
      }
    }
    if (!ends.empty()) fail_unclosed(nullptr, ends_, current().place);
    return body;
  }
  Nodes body_until(std::string_view end) {
    Nodes body = statements_until({end});
    next();
    return body;
  }

  const Node* statement() {
    if (!is(Token::name)) error("tag name expected", current().place);
    const Lexeme tag = current();
    using Method = const Node* (Parser::*)();
    static constexpr std::pair<std::string_view, Method> kStatements[] = {{"for", &Parser::parse_for},
                                                                          {"if", &Parser::parse_if},
                                                                          {"set", &Parser::parse_set},
                                                                          {"macro", &Parser::parse_macro},
                                                                          {"call", &Parser::parse_call_block},
                                                                          {"filter", &Parser::parse_filter_block},
                                                                          {"with", &Parser::parse_with},
                                                                          {"print", &Parser::parse_print},
                                                                          {"block", &Parser::parse_block},
                                                                          {"autoescape", &Parser::parse_autoescape},
                                                                          {"generation", &Parser::parse_generation},
                                                                          {"break", &Parser::parse_jump},
                                                                          {"continue", &Parser::parse_jump},
                                                                          {"extends", &Parser::parse_loader},
                                                                          {"include", &Parser::parse_loader},
                                                                          {"import", &Parser::parse_loader},
                                                                          {"from", &Parser::parse_loader}};
    for (const auto& [word, parse] : kStatements) {
      if (tag.text != word) continue;
      tags_.push_back(tag.text);
      const Node* node = (this->*parse)();
      tags_.pop_back();
      return node;
    }
    fail_unclosed(&tag.text, ends_, tag.place);
  }

  // children[0] the target, left the iterable, named "test" the filter, body, otherwise
  const Node* parse_for() {
    Node& node = make(NodeKind::loop, next().place);
    node.children.push_back(target({"in"}, false));
    expect_word("in");
    node.left = tuple_or_expression(false, {"recursive"});
    const Frame frame(*this);
    if (skip_word("if")) node.named.emplace_back("test", expression());
    node.flag = skip_word("recursive");
    {
      const int outer_loops = loops_;
      loops_ = node.flag ? 1 : loops_ + 1;
      users_.push_back(&node);
      node.body = statements_until({"endfor", "else"});
      users_.pop_back();
      loops_ = outer_loops;
    }
    if (next().text == "else") node.otherwise = body_until("endfor");
    return &node;
  }

  // left the condition, body, otherwise: the else part, or one nested branch for elif
  const Node* parse_if() {
    const size_t first_check = checks_.size();
    Node* const result = &make(NodeKind::branch, next().place);
    Node* node = result;
    while (true) {
      node->left = tuple_or_expression(false);
      node->body = statements_until({"elif", "else", "endif"});
      const std::string tag = next().text;
      if (tag == "elif") {
        Node* const inner = &make(NodeKind::branch, current().place);
        node->otherwise.push_back(inner);
        node = inner;
        continue;
      }
      if (tag == "else") node->otherwise = body_until("endif");
      soften(first_check);
      return result;
    }
  }

  // children[0] the target, left the value; for a block: left a filter chain without input or null, body
  const Node* parse_set() {
    const Place place = next().place;
    const Node* to = target({}, true);
    if (skip(Token::assign)) {
      Node& node = make(NodeKind::set, place);
      node.children.push_back(to);
      node.left = tuple_or_expression();
      return &node;
    }
    Node& node = make(NodeKind::set_block, place);
    node.children.push_back(to);
    if (is(Token::pipe)) node.left = filter(nullptr, false);
    const Frame frame(*this);
    node.body = body_until("endset");
    return &node;
  }

  // children: targets of the parameters, named: their defaults ("" none)
  void parse_signature(Node& node) {
    expect(Token::lparen);
    bool defaults = false;
    while (!is(Token::rparen)) {
      if (!node.named.empty()) expect(Token::comma);
      const Lexeme& name = expect(Token::name);
      check_assignable(name);
      node.ids.push_back(id(name.text));
      const Node* value = nullptr;
      if (skip(Token::assign)) {
        value = expression();
        defaults = true;
      } else if (defaults) {
        error("non-default argument follows default argument", current().place);
      }
      node.named.emplace_back(name.text, value);
    }
    next();
  }

  void macro_body(Node& node, std::string_view end) {
    const Function function(*this);
    users_.push_back(&node);
    node.body = body_until(end);
    users_.pop_back();
    for (const auto& [name, value] : node.named) {
      if (name == "caller" && node.uses_caller && !value) {
        fail_at({"TemplateAssertionError",
                 "When defining macros or call blocks the special \"caller\" argument must be omitted or be given a "
                 "default."},
                program_->name, node.place);
      }
      node.uses_varargs &= name != "varargs";
      node.uses_kwargs &= name != "kwargs";
    }
  }

  // text and id the name, named the parameters with defaults, body
  const Node* parse_macro() {
    Node& node = make(NodeKind::macro, next().place);
    const Lexeme& name = expect(Token::name);
    check_assignable(name);
    node.text = name.text;
    node.id = id(name.text);
    const Frame frame(*this);
    parse_signature(node);
    macro_body(node, "endmacro");
    return &node;
  }

  // left the call, named the parameters of the body
  const Node* parse_call_block() {
    Node& node = make(NodeKind::call_block, next().place);
    if (is(Token::lparen)) parse_signature(node);
    const Node* call = expression();
    if (call->kind != NodeKind::call) error("expected call", node.place);
    node.left = call;
    const Frame frame(*this);
    macro_body(node, "endcall");
    return &node;
  }

  const Node* parse_generation() {
    Node& node = make(NodeKind::generation, next().place);
    program_->has_generation = true;
    const Frame frame(*this);
    macro_body(node, "endgeneration");
    return &node;
  }

  // left a filter chain without input, body
  const Node* parse_filter_block() {
    Node& node = make(NodeKind::filter_block, next().place);
    const Frame frame(*this);
    node.left = filter(nullptr, true);
    node.body = body_until("endfilter");
    return &node;
  }

  // children: target, value, target, value, …; body
  const Node* parse_with() {
    Node& node = make(NodeKind::with, next().place);
    const Frame frame(*this);
    while (!is(Token::block_end)) {
      if (!node.children.empty()) expect(Token::comma);
      node.children.push_back(target({}, false));
      expect(Token::assign);
      node.children.push_back(expression());
    }
    node.body = body_until("endwith");
    return &node;
  }

  const Node* parse_print() {
    Node& node = make(NodeKind::output, next().place);
    while (!is(Token::block_end)) {
      if (!node.children.empty()) expect(Token::comma);
      node.children.push_back(expression());
    }
    return &node;
  }

  const Node* parse_autoescape() {
    Node& node = make(NodeKind::autoescape, next().place);
    const Frame frame(*this);
    node.left = expression();
    node.body = body_until("endautoescape");
    return &node;
  }

  const Node* parse_block() {
    Node& node = make(NodeKind::block, next().place);
    node.text = expect(Token::name).text;
    node.flag = skip_word("scoped");
    const bool required = skip_word("required");
    if (is(Token::sub)) {
      error(
          "Block names in Jinja have to be valid Python identifiers and may not contain hyphens, use an underscore "
          "instead.",
          current().place);
    }
    const Function function(*this);
    const Frame frame(*this);
    node.body = body_until("endblock");
    if (required) {
      for (const Node* child : node.body) {
        if (child->kind != NodeKind::data || !strip(child->value.text()).empty()) {
          error("Required blocks can only contain comments or whitespace", current().place);
        }
      }
    }
    skip_word(node.text);
    const auto& blocks = program_->blocks;
    if (std::any_of(blocks.begin(), blocks.end(), [&](const auto& block) { return block.first == node.text; })) {
      fail_at({"TemplateAssertionError", concat("block ", quote(node.text), " defined twice")}, program_->name,
              node.place);
    }
    program_->blocks.emplace_back(node.text, &node);
    return &node;
  }

  const Node* parse_jump() {
    const Lexeme& tag = next();
    if (loops_ == 0) {
      fail_at({"SyntaxError", tag.text == "break" ? "'break' outside loop" : "'continue' not properly in loop"},
              program_->name, tag.place);
    }
    return &make(tag.text == "break" ? NodeKind::break_loop : NodeKind::continue_loop, tag.place);
  }

  const Node* parse_loader() {
    const Lexeme& tag = next();
    Node& node = make(NodeKind::needs_loader, tag.place);
    node.left = expression();
    while (!is(Token::block_end) && !is(Token::end)) next();
    return &node;
  }

  // --- targets ---
  void check_assignable(const Lexeme& name) {
    for (const char* word : {"true", "false", "none", "True", "False", "None"}) {
      if (name.text == word) error("can't assign to 'const'", name.place);
    }
  }

  const Node* target_primary(bool with_members) {
    if (is(Token::lparen)) {
      const Deeper deeper(*this);
      next();
      const Node* inner = target_tuple({}, with_members, true);
      expect(Token::rparen);
      return inner;
    }
    if (!is(Token::name)) {
      const Lexeme lexeme = current();
      const Node* node = primary();
      static constexpr std::pair<NodeKind, const char*> kTypes[] = {
          {NodeKind::constant, "const"}, {NodeKind::list, "list"}, {NodeKind::dict, "dict"}};
      for (const auto& [kind, type] : kTypes) {
        if (node->kind == kind) error(concat("can't assign to '", type, "'"), lexeme.place);
      }
      error("can't assign", lexeme.place);
    }
    const Lexeme& name = next();
    if (with_members && is(Token::dot)) {
      check_assignable_member(name);
      next();
      Node& node = make(NodeKind::member_target, name.place);
      node.left = load(name);
      node.text = expect(Token::name).text;
      return &node;
    }
    check_assignable(name);
    if (name.text == "loop" && !users_.empty() &&
        std::any_of(users_.begin(), users_.end(), [](const Node* user) { return user->kind == NodeKind::loop; })) {
      fail_at({"TemplateAssertionError", "Can't assign to special loop variable in for-loop target"}, program_->name,
              name.place);
    }
    Node& node = make(NodeKind::name_target, name.place);
    node.text = name.text;
    node.id = id(name.text);
    return &node;
  }
  void check_assignable_member(const Lexeme& name) { check_assignable(name); }

  const Node* target_tuple(const Words& ends, bool with_members, bool parentheses) {
    const Place place = current().place;
    Nodes parts;
    bool is_tuple = false;
    while (true) {
      if (!parts.empty()) expect(Token::comma);
      if (tuple_ends(ends)) break;
      parts.push_back(target_primary(with_members));
      if (!is(Token::comma)) break;
      is_tuple = true;
    }
    if (!is_tuple) {
      if (!parts.empty()) return parts[0];
      if (!parentheses) error(concat("Expected an expression, got '", describe(current()), "'"), current().place);
    }
    Node& node = make(NodeKind::tuple, place);
    node.children = std::move(parts);
    return &node;
  }
  const Node* target(const Words& ends, bool with_members) { return target_tuple(ends, with_members, false); }

  // --- expressions ---
  bool tuple_ends(const Words& ends) const {
    return is(Token::variable_end) || is(Token::block_end) || is(Token::rparen) || at_any(ends);
  }

  const Node* tuple_or_expression(bool with_condition = true, const Words& ends = {}, bool parentheses = false) {
    const Place place = current().place;
    Nodes parts;
    bool is_tuple = false;
    while (true) {
      if (!parts.empty()) expect(Token::comma);
      if (tuple_ends(ends)) break;
      parts.push_back(with_condition ? expression() : disjunction());
      if (!is(Token::comma)) break;
      is_tuple = true;
    }
    if (!is_tuple) {
      if (!parts.empty()) return parts[0];
      if (!parentheses) error(concat("Expected an expression, got '", describe(current()), "'"), current().place);
    }
    Node& node = make(NodeKind::tuple, place);
    node.children = std::move(parts);
    return &node;
  }

  // left the test, children: value if true, value if false (flag)
  const Node* expression() {
    const Deeper deeper(*this);
    const size_t first_check = checks_.size();
    Place place = current().place;
    const Node* value = disjunction();
    while (skip_word("if")) {
      Node& node = make(NodeKind::conditional, place);
      node.left = disjunction();
      node.children.push_back(value);
      if (skip_word("else")) {
        node.children.push_back(expression());
        node.flag = true;
      }
      soften(first_check);
      value = &node;
      place = current().place;
    }
    return value;
  }

  const Node* disjunction() {
    const Node* left = conjunction();
    while (at_word("or")) {
      Node& node = make(NodeKind::disjunction, next().place);
      node.left = left;
      node.children.push_back(conjunction());
      left = &node;
    }
    return left;
  }
  const Node* conjunction() {
    const Node* left = negation();
    while (at_word("and")) {
      Node& node = make(NodeKind::conjunction, next().place);
      node.left = left;
      node.children.push_back(negation());
      left = &node;
    }
    return left;
  }
  const Node* negation() {
    if (!at_word("not")) return comparison();
    const Deeper deeper(*this);
    Node& node = make(NodeKind::negation, next().place);
    node.left = negation();
    return &node;
  }

  const Node* comparison() {
    const Node* left = sum();
    Node* node = nullptr;
    while (true) {
      const Place place = current().place;
      std::pair<Token, bool> op{current().token, false};
      if (op.first >= Token::eq && op.first <= Token::le) {
        next();
      } else if (skip_word("in")) {
        op = {Token::name, false};
      } else if (at_word("not") && is_word(look(), "in")) {
        next();
        next();
        op = {Token::name, true};
      } else {
        return node ? node : left;
      }
      if (!node) {
        node = &make(NodeKind::comparison, place);
        node->left = left;
      }
      node->operators.push_back(op);
      node->children.push_back(sum());
    }
  }

  template <class Next>
  const Node* chain(std::initializer_list<std::pair<Token, char>> operators, Next operand) {
    const Node* left = operand();
    while (true) {
      const auto found = std::find_if(operators.begin(), operators.end(), [&](const auto& op) { return is(op.first); });
      if (found == operators.end()) return left;
      Node& node = make(NodeKind::binary, next().place);
      node.left = left;
      node.op = found->second;
      node.children.push_back(operand());
      left = &node;
    }
  }
  const Node* sum() {
    return chain({{Token::add, '+'}, {Token::sub, '-'}}, [&] { return concatenation(); });
  }
  const Node* concatenation() {
    const Place place = current().place;
    const Node* first = product();
    if (!is(Token::tilde)) return first;
    Node& node = make(NodeKind::concat, place);
    node.children.push_back(first);
    while (skip(Token::tilde)) node.children.push_back(product());
    return &node;
  }
  const Node* product() {
    return chain({{Token::mul, '*'}, {Token::div, '/'}, {Token::floordiv, 'f'}, {Token::mod, '%'}},
                 [&] { return power(); });
  }
  const Node* power() {
    return chain({{Token::pow, 'p'}}, [&] { return unary(true); });
  }

  const Node* unary(bool with_filters) {
    const Node* node;
    if (is(Token::sub) || is(Token::add)) {
      const Deeper deeper(*this);
      Node& sign = make(is(Token::sub) ? NodeKind::minus : NodeKind::plus, current().place);
      next();
      sign.left = unary(false);
      node = &sign;
    } else {
      node = primary();
    }
    node = postfix(node);
    return with_filters ? filters(node) : node;
  }

  const Node* primary() {
    const Lexeme& lexeme = current();
    switch (lexeme.token) {
      case Token::name:
        next();
        if (lexeme.text == "true" || lexeme.text == "True") return constant(true, lexeme.place);
        if (lexeme.text == "false" || lexeme.text == "False") return constant(false, lexeme.place);
        if (lexeme.text == "none" || lexeme.text == "None") return constant({}, lexeme.place);
        return load(lexeme);
      case Token::string: {
        std::string text = next().text;
        while (is(Token::string)) text += next().text;
        return constant(Value::string(std::move(text)), lexeme.place);
      }
      case Token::integer:
        next();
        try {
          return constant(*parse_int(lexeme.text, 0), lexeme.place);
        } catch (const Failure& failure) {
          error(failure.message, lexeme.place);
        }
      case Token::real:
        next();
        return constant(*parse_real(lexeme.text), lexeme.place);
      case Token::lparen: {
        next();
        const Node* node = tuple_or_expression(true, {}, true);
        expect(Token::rparen);
        return node;
      }
      case Token::lbracket: {
        Node& node = make(NodeKind::list, next().place);
        while (!is(Token::rbracket)) {
          if (!node.children.empty()) expect(Token::comma);
          if (is(Token::rbracket)) break;
          node.children.push_back(expression());
        }
        expect(Token::rbracket);
        return &node;
      }
      case Token::lbrace: {  // children: key, value, key, value, …
        Node& node = make(NodeKind::dict, next().place);
        while (!is(Token::rbrace)) {
          if (!node.children.empty()) expect(Token::comma);
          if (is(Token::rbrace)) break;
          node.children.push_back(expression());
          expect(Token::colon);
          node.children.push_back(expression());
        }
        expect(Token::rbrace);
        return &node;
      }
      default:
        error(concat("unexpected '", describe(lexeme), "'"), lexeme.place);
    }
  }

  const Node* postfix(const Node* node) {
    while (true) {
      if (is(Token::dot) || is(Token::lbracket)) {
        node = subscript(node);
      } else if (is(Token::lparen)) {
        node = call(node);
      } else {
        return node;
      }
    }
  }

  const Node* filters(const Node* node) {
    while (true) {
      if (is(Token::pipe)) {
        node = filter(node, false);
      } else if (at_word("is")) {
        node = test(node);
      } else if (is(Token::lparen)) {
        node = call(node);
      } else {
        return node;
      }
    }
  }

  // member: left.text; item: left[children[0]]
  const Node* subscript(const Node* object) {
    const Lexeme& token = next();
    if (token.token == Token::dot) {
      const Lexeme& name = next();
      Node& node = make(name.token == Token::name ? NodeKind::member : NodeKind::item, token.place);
      node.left = object;
      if (name.token == Token::name) {
        node.text = name.text;
      } else if (name.token == Token::integer) {
        node.children.push_back(constant(*parse_int(name.text, 0), name.place));
      } else {
        error("expected name or number", name.place);
      }
      return &node;
    }
    Nodes parts;
    while (!is(Token::rbracket)) {
      if (!parts.empty()) expect(Token::comma);
      parts.push_back(subscript_part());
    }
    next();
    Node& node = make(NodeKind::item, token.place);
    node.left = object;
    if (parts.size() == 1) {
      node.children = std::move(parts);
    } else {
      Node& tuple = make(NodeKind::tuple, token.place);
      tuple.children = std::move(parts);
      node.children.push_back(&tuple);
    }
    return &node;
  }

  // slice: children start, stop, step, each may be null
  const Node* subscript_part() {
    const Place place = current().place;
    const Node* start = nullptr;
    if (!is(Token::colon)) {
      start = expression();
      if (!is(Token::colon)) return start;
    }
    next();
    const auto part = [&]() -> const Node* {
      return is(Token::colon) || is(Token::rbracket) || is(Token::comma) ? nullptr : expression();
    };
    Node& node = make(NodeKind::slice, place);
    node.children = {start, part(), nullptr};
    if (skip(Token::colon)) node.children[2] = part();
    return &node;
  }

  void arguments(Node& node) {
    const Deeper deeper(*this);
    const Place place = expect(Token::lparen).place;
    const auto ensure = [&](bool valid) {
      if (!valid) error("invalid syntax for function call expression", place);
    };
    bool comma = false;
    while (!is(Token::rparen)) {
      if (comma) {
        expect(Token::comma);
        if (is(Token::rparen)) break;
      }
      if (is(Token::mul)) {
        ensure(!node.star && !node.star_star);
        next();
        node.star = expression();
      } else if (is(Token::pow)) {
        ensure(!node.star_star);
        next();
        node.star_star = expression();
      } else if (is(Token::name) && look().token == Token::assign) {
        ensure(!node.star_star);
        const Lexeme& key = next();
        next();
        for (const auto& [name, value] : node.named) {
          if (name == key.text)
            fail_at({"SyntaxError", concat("keyword argument repeated: ", name)}, program_->name, key.place);
        }
        node.named.emplace_back(key.text, expression());
      } else {
        ensure(!node.star && !node.star_star && node.named.empty());
        node.children.push_back(expression());
      }
      comma = true;
    }
    expect(Token::rparen);
  }

  const Node* call(const Node* callee) {
    Node& node = make(NodeKind::call, current().place);
    node.left = callee;
    arguments(node);
    return &node;
  }

  std::string dotted_name() {
    std::string name = expect(Token::name).text;
    while (skip(Token::dot)) name += "." + expect(Token::name).text;
    return name;
  }

  // All filters that follow one another; the first has `input` as left.
  const Node* filter(const Node* input, bool inline_start) {
    while (inline_start || is(Token::pipe)) {
      if (!inline_start) next();
      inline_start = false;
      Node& node = make(NodeKind::filter, current().place);
      node.left = input;
      node.text = dotted_name();
      check_name(node, is_known_filter(node.text), "filter");
      if (is(Token::lparen)) arguments(node);
      input = &node;
    }
    return input;
  }

  const Node* test(const Node* value) {
    const Place place = next().place;
    const bool negated = skip_word("not");
    Node& node = make(NodeKind::test, place);
    node.left = value;
    node.text = dotted_name();
    check_name(node, is_known_test(node.text), "test");
    switch (current().token) {
      case Token::lparen:
        arguments(node);
        break;
      case Token::name:
      case Token::string:
      case Token::integer:
      case Token::real:
      case Token::lbracket:
      case Token::lbrace:
        if (at_any({"else", "or", "and"})) break;
        if (at_word("is")) error("You cannot chain multiple tests with is", current().place);
        {
          const Deeper deeper(*this);
          node.children.push_back(postfix(primary()));
        }
        break;
      default:
        break;
    }
    if (!negated) return &node;
    Node& negation = make(NodeKind::negation, place);
    negation.left = &node;
    return &negation;
  }

  std::shared_ptr<JinjaTemplate::Program> program_;
  std::vector<Lexeme> lexemes_;
  size_t at_ = 0;
  int depth_ = 0;
  std::unordered_map<std::string, int> ids_;
  std::vector<std::string> tags_;
  std::vector<Words> ends_;
  std::vector<Node*> users_;  // open loops and macros, which take note of the names used in them
  std::vector<Check> checks_;
  int frame_ = 0, frames_ = 0;
  int loops_ = 0;
};

}  // namespace

std::shared_ptr<const JinjaTemplate::Program> parse_program(std::string_view source, std::string name) {
  return Parser(source, std::move(name)).run();
}

}  // namespace backplane::jinja

namespace backplane {

JinjaTemplate JinjaTemplate::parse(std::string_view source, std::string name) {
  JinjaTemplate parsed;
  parsed.program_ = jinja::parse_program(source, std::move(name));
  return parsed;
}

bool JinjaTemplate::has_generation() const { return program_->has_generation; }

}  // namespace backplane
