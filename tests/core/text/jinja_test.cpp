#include "backplane/text/jinja.h"

#include <catch2/catch.hpp>

#include "backplane/text/chat_template.h"

using namespace backplane;

namespace {

std::string render(const std::string& source, const Json& context = Json::object()) {
  return JinjaTemplate::parse(source).render(context);
}

// "Type: message" of what the template does wrong.
std::string failure(const std::string& source, const Json& context = Json::object()) {
  try {
    return "rendered: " + render(source, context);
  } catch (const JinjaError& error) {
    return error.type() + ": " + error.message();
  }
}

const Json kChat = Json::parse(
    R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi <b>"}, {"role": "assistant", "content": "Yo "}])");

}  // namespace

TEST_CASE("values print as Python prints them") {
  CHECK(render("{{ true }} {{ none }} {{ 1.0 }} {{ 1e22 }} {{ 7 // -2 }} {{ -7 % 3 }} {{ 2 ** 70 }} {{ 7 / 2 }}") ==
        "True None 1.0 1e+22 -4 2 1180591620717411303424 3.5");
  CHECK(render("{{ ['it\\'s', 'a\\n', ('x',), {1: none, 'k': 2.5}] }}") ==
        "[\"it's\", 'a\\n', ('x',), {1: None, 'k': 2.5}]");
  CHECK(render("{{ 'é👍' * 2 }} {{ 'é👍'|length }} {{ 'aé👍b'[::-1] }} {{ 'aé👍b'[1:3] }} {{ [1, 2, 3][-1] }}") ==
        "é👍é👍 2 b👍éa é👍 3");
  CHECK(
      render(
          "{{ '%5.2f|%-4s|%x' % (3.14159, 'ab', 255) }} {{ '{:>6}|{a[0]:^5}|{:,}'.format('x', 1234567, a=['m']) }}") ==
      " 3.14|ab  |ff      x|  m  |1,234,567");
  CHECK(render("{{ {'a': [1, 'é\"']}|tojson }} {{ [1, {}]|tojson(indent=1) }}") ==
        "{\"a\": [1, \"é\\\"\"]} [\n 1,\n {}\n]");
}

TEST_CASE("white space around tags is taken as trim_blocks and lstrip_blocks say") {
  CHECK(render("a\n  {% if true %}\n  b\n  {% endif %}\nc\n") == "a\n  b\nc");
  CHECK(render("a  {{- 'b' -}}  c {# x -#}  d {%+ if true %} e{% endif +%}\nf") == "abc d  e\nf");
  CHECK(render("{% raw %}{{ x }}{% endraw %}|  {%- raw -%} y {%- endraw %}") == "{{ x }}|y");
}

TEST_CASE("loops, macros, namespaces and blocks") {
  CHECK(render("{% for a, b in [(1, 2), (3, 4)] if a > 0 %}{{ loop.index }}{{ a }}{{ b }}{{ loop.last }},{% else "
               "%}none{% endfor %}") == "112False,234True,");
  CHECK(render("{% for x in [1, [2, [3]]] recursive %}{% if x is iterable %}<{{ loop(x) }}>{% else %}{{ x }}@{{ "
               "loop.depth }}{% endif %}{% endfor %}") == "1@1<2@2<3@3>>");
  CHECK(render("{% macro m(a, b=a ~ '!') %}{{ a }}{{ b }}{{ varargs }}{{ caller(a) if caller }}{% endmacro %}{{ m(1) "
               "}}{% call(x) m(2, 3, 4) %}[{{ x }}]{% endcall %}") == "11!()23(4,)[2]");
  CHECK(render("{% set ns = namespace(n=0) %}{% for i in range(4) %}{% if i == 2 %}{% continue %}{% endif %}{% set "
               "ns.n = ns.n + i %}{% set n = i %}{% endfor %}{{ ns.n }}{{ n }}|") == "4|");
  CHECK(render("{% set x %}a{{ 1 }}{% endset %}{% filter upper|replace('A', 'b') %}{{ x }}c{% endfilter %}") == "b1C");
  CHECK(render("{% block t %}[{{ v }}]{% endblock %}{{ self.t() }}", {{"v", 5}}) == "[5][5]");
}

TEST_CASE("errors carry the reference's type and words, and the place") {
  CHECK(failure("{{ raise_exception('roles must ' ~ 'alternate') }}") == "TemplateError: roles must alternate");
  CHECK(failure("{{ x.y }}") == "UndefinedError: 'x' is undefined");
  CHECK(failure("{{ {}.y.z }}") == "UndefinedError: 'dict object' has no attribute 'y'");
  CHECK(failure("{{ ''.__class__.__mro__ }}") ==
        "SecurityError: access to attribute '__class__' of 'str' object is unsafe.");
  CHECK(failure("{{ [].append(1) }}") == "SecurityError: access to attribute 'append' of 'list' object is unsafe.");
  CHECK(failure("{{ 'a' + 1 }}") == "TypeError: can only concatenate str (not \"int\") to str");
  CHECK(failure("{% if x %}") ==
        "TemplateSyntaxError: Unexpected end of template. Jinja was looking for the following tags: 'elif' or 'else' "
        "or 'endif'. The innermost block that needs to be closed is 'if'.");
  CHECK(failure("{{ x|nope }}") == "TemplateAssertionError: No filter named 'nope'.");
  CHECK_THROWS_WITH(render("ab\n  {{ é.x }}"), "'é' is undefined (chat template, line 2, column 7)");
}

TEST_CASE("hostile templates end in an error, soon") {
  const auto code_of = [](const std::string& source) {
    try {
      render(source);
      return ErrorCode::internal;
    } catch (const Error& error) {
      return error.code();
    }
  };
  CHECK(failure("{% for i in range(10**9) %}{% endfor %}") ==
        "OverflowError: Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
  CHECK(code_of("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}") ==
        ErrorCode::limit_exceeded);
  CHECK(code_of("{{ 'x' * 10**9 }}") == ErrorCode::limit_exceeded);
  CHECK(code_of("{{ [1] * 10**12 }}") == ErrorCode::limit_exceeded);
  CHECK(code_of("{{ 9 ** (9 ** 9) }}") == ErrorCode::limit_exceeded);
  CHECK(code_of("{{ 'x'.center(10**10) }}") == ErrorCode::limit_exceeded);
  CHECK(code_of("{{ '%99999999d' % 1 }}") == ErrorCode::limit_exceeded);
  CHECK(code_of(
            "{% set ns = namespace(x='abcdefgh') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}") ==
        ErrorCode::limit_exceeded);
  CHECK(code_of("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}") == ErrorCode::limit_exceeded);
  CHECK(code_of("{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}") ==
        ErrorCode::limit_exceeded);
  CHECK(code_of("{{ " + std::string(100'000, '(')) == ErrorCode::limit_exceeded);
  std::string chain = "{{ 1", ifs;
  for (int i = 0; i < 20'000; ++i) chain += "+1";
  CHECK(render(chain + " }}") == "20001");
  for (int i = 0; i < 10'000; ++i) ifs += "{% if x %}";
  CHECK(code_of(ifs) == ErrorCode::limit_exceeded);
  CHECK(render("{% set ns = namespace() %}{% set ns.me = ns %}{% macro f() %}{% endmacro %}{% set ns.f = f %}{{ "
               "ns.me.me.f() }}") == "");
}

TEST_CASE("text keeps its origin on its way through a template") {
  const std::string source =
      "{{ bos }}{% for m in messages %}<|{{ m.role }}|>{{ (m.content|trim ~ '!')[:4]|upper }}{{ m.content.replace('i', "
      "'<|end|>') }}{{ m|tojson }}{% endfor %}";
  RenderOptions options;
  options.trusted = {"bos"};
  const auto output = JinjaTemplate::parse(source).render_parts(
      {{"bos", "<s>"}, {"messages", {{{"role", "user"}, {"content", " Hi "}}}}}, options);
  std::vector<std::pair<std::string, bool>> parts;
  for (const auto& part : output.parts)
    parts.emplace_back(output.text.substr(part.begin, part.end - part.begin), part.from_user);
  CHECK(parts == std::vector<std::pair<std::string, bool>>{{"<s><|", false},
                                                           {"user", true},
                                                           {"|>", false},
                                                           {"HI", true},
                                                           {"!", false},
                                                           {" H", true},
                                                           {"<|end|>", false},
                                                           {" ", true},
                                                           {"{\"", false},
                                                           {"role", true},
                                                           {"\": \"", false},
                                                           {"user", true},
                                                           {"\", \"", false},
                                                           {"content", true},
                                                           {"\": \"", false},
                                                           {" Hi ", true},
                                                           {"\"}", false}});
}

TEST_CASE("a chat template is chosen and applied as the reference does") {
  const ChatTemplate one(
      Json("{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}{% generation %}{{ m.content }}</s>{% "
           "endgeneration %}{% else %}é{{ m.content }}{% endif %}{% endfor %}"
           "{% if add_generation_prompt %}[assistant]{% endif %}{{ extra }}"));
  ChatTemplateOptions options;
  options.variables["extra"] = "+";
  const auto chat = one.apply(kChat, options);
  CHECK(chat.text == "[system]éBe brief.[user]éHi <b>[assistant]Yo </s>+");
  CHECK(chat.generations == std::vector<std::pair<size_t, size_t>>{{42, 49}});

  options.continue_final_message = true;
  CHECK(one.apply(kChat, options).text == "[system]éBe brief.[user]éHi <b>[assistant]Yo ");
  options.add_generation_prompt = true;
  CHECK_THROWS_WITH(one.apply(kChat, options), Catch::Contains("not compatible"));

  const ChatTemplate several(Json::parse(
      R"([{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}, {"name": "rag", "template": "R"}])"));
  ChatTemplateOptions choice;
  CHECK(several.apply(kChat, choice).text == "D");
  choice.tools = Json::array();
  CHECK(several.apply(kChat, choice).text == "T");
  choice.chat_template = "rag";
  CHECK(several.apply(kChat, choice).text == "R");
  choice.chat_template = "{{ messages|length }}";
  CHECK(several.apply(kChat, choice).text == "3");
  CHECK_THROWS_WITH(ChatTemplate(Json::parse(R"({"rag": "R", "x": "X"})")).apply(kChat),
                    Catch::Contains("name one of rag, x"));
  CHECK_THROWS_WITH(ChatTemplate().apply(kChat), Catch::Contains("no chat template"));
}

TEST_CASE("strftime_now reads the clock it is given") {
  RenderOptions options;
  options.clock = [] { return WallClock{2024, 2, 29, 14, 5, 9, 120}; };
  CHECK(JinjaTemplate::parse("{{ strftime_now('%d %b %Y %j %A %I %p %f|%Z|%-d') }}").render({}, options) ==
        "29 Feb 2024 060 Thursday 02 PM 000120||29");
}
