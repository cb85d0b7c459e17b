#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#define LLVMFuzzerTestOneInput fuzz_jinja
#include "../../../fuzz/jinja_fuzz.cpp"
#undef LLVMFuzzerTestOneInput

TEST_CASE("the template fuzzer survives mutations of valid templates") {
  const std::vector<std::string> seeds = {
      "{%- for m in messages %}{{ '<|' + m['role'] + '|>' ~ m.content|trim }}{% if loop.last %}{{ loop.index }}{% "
      "endif %}{%- endfor %}",
      "{% macro f(a, b=2, *c) %}{{ a }}{{ caller() }}{% endmacro %}{% call f(1) %}{% set ns = namespace(x=[1]) %}{% "
      "set ns.x = ns.x + [ns] %}{{ ns }}{% endcall %}",
      "{{ tools|tojson(indent=2) }}{{ messages|selectattr('role', 'equalto', "
      "'user')|map(attribute='content')|list|sort|join(', ') }}",
      "{{ '%5.3f %s %x'|format(n, s, 255) }}{{ '{0:>{1}}{x[0]!r}'.format(s, 9, x=[1]) }}{{ s[::-1][1:3].split('x', 1) "
      "}}{{ 2 ** n // 3 % -2 }}",
      "{# c -#} {% raw %}{{ {% endraw %}{% generation %}{{ strftime_now('%Y') }}{% endgeneration %}{% with a = 1, b = "
      "a %}{{ a is odd and not b }}{% endwith %}",
      "{% for x in [1, [2, [3]]] recursive %}{{ loop(x) if x is iterable else x }}{% else %}{% break %}{% endfor %}{{ "
      "s|wordwrap(2)|indent(3)|title|urlize|pprint }}"};
  const std::string alphabet = "{}%#-+|()[]'\"\\.,:=~*/ \n0919aeinrx_<>!";
  std::minstd_rand random(7);
  for (int round = 0; round < 4000; ++round) {
    std::string text = seeds[random() % seeds.size()];
    for (size_t edits = 1 + random() % 6; edits > 0 && !text.empty(); --edits) {
      const size_t at = random() % text.size();
      switch (random() % 4) {
        case 0:
          text[at] = alphabet[random() % alphabet.size()];
          break;
        case 1:
          text.erase(at, 1 + random() % 5);
          break;
        case 2:
          text.insert(at, 1, alphabet[random() % alphabet.size()]);
          break;
        default: {
          const std::string& other = seeds[random() % seeds.size()];
          const size_t from = random() % other.size();
          text.insert(at, other.substr(from, random() % 20));
        }
      }
    }
    fuzz_jinja(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  }
}
