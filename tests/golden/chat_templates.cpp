#include "golden/chat_templates.h"

#include "backplane/base/strings.h"
#include "backplane/text/chat_template.h"

namespace backplane::golden {
namespace {

WallClock clock_of(const Json& now) {
  return {now[0].get<int>(),
          now[1].get<int>(),
          now[2].get<int>(),
          now[3].get<int>(),
          now[4].get<int>(),
          now[5].get<int>(),
          0};
}

std::string first_difference(const std::string& got, const std::string& expected) {
  size_t at = 0;
  while (at < got.size() && at < expected.size() && got[at] == expected[at]) ++at;
  const size_t from = at < 40 ? 0 : at - 40;
  return concat("differs at byte ", at, ": got …",
                python_dumps(Json(got.substr(from, 80)).dump(-1, ' ', false, Json::error_handler_t::replace)),
                ", expected …",
                python_dumps(Json(expected.substr(from, 80)).dump(-1, ' ', false, Json::error_handler_t::replace)));
}

// Runs one case; the message of an exception that the template raises itself is part of the answer.
template <class Render>
Verdict judge(std::string name, const Json& expected, Render render) {
  Verdict verdict{std::move(name), false, {}};
  try {
    const std::string text = render();
    if (expected.contains("error")) {
      verdict.reason = concat("rendered, but the reference fails: ", expected["error"].dump());
    } else if (text == expected["rendered"].get_ref<const std::string&>()) {
      verdict.passed = true;
    } else {
      verdict.reason = first_difference(text, expected["rendered"].get_ref<const std::string&>());
    }
  } catch (const JinjaError& error) {
    verdict.passed = expected.contains("error");
    const bool own_words = verdict.passed && expected["error"]["type"] == "TemplateError";
    if (own_words && error.message().substr(0, 600) != expected["error"]["message"].get_ref<const std::string&>())
      verdict.passed = false;
    if (!verdict.passed)
      verdict.reason = concat(error.type(), ": ", error.what(),
                              expected.contains("error") ? ", expected " + expected["error"].dump() : "");
  } catch (const Error& error) {
    verdict.passed = expected.contains("error") && expected["error"]["type"] != "TemplateError";
    if (!verdict.passed) verdict.reason = error.what();
  }
  return verdict;
}

}  // namespace

std::vector<Verdict> judge_chat_template(const Json& fixture, const Json& conversations) {
  std::vector<Verdict> verdicts;
  const ChatTemplate chat_template(fixture["template"]);
  for (const auto& one : fixture["cases"]) {
    std::vector<std::string> variants = {one["variant"].get<std::string>()};
    for (const auto& same : one.value("same", Json::array())) variants.push_back(same.get<std::string>());
    for (const std::string& variant : variants) {
      const Json arguments = variant == variants[0] ? one["args"] : conversations["variants"][variant];
      ChatTemplateOptions options;
      options.special_tokens = conversations["special_tokens"];
      options.clock = [&] { return clock_of(conversations["now"]); };
      for (const auto& [key, value] : arguments.items()) {
        if (key == "tools") {
          options.tools = value == true ? conversations["tools"] : value;
        } else if (key == "documents") {
          options.documents = value == true ? conversations["documents"] : value;
        } else if (key == "add_generation_prompt") {
          options.add_generation_prompt = value.get<bool>();
        } else if (key == "continue_final_message") {
          options.continue_final_message = value.get<bool>();
        } else {
          options.variables[key] = value;
        }
      }
      verdicts.push_back(judge(concat(one["messages"].get<std::string>(), "/", variant), one, [&] {
        return chat_template.apply(conversations["conversations"][one["messages"].get<std::string>()], options).text;
      }));
    }
  }
  return verdicts;
}

std::vector<Verdict> judge_jinja(const Json& fixture) {
  std::vector<Verdict> verdicts;
  RenderOptions options;
  options.clock = [&] { return clock_of(fixture["now"]); };
  for (const auto& one : fixture["cases"]) {
    if (one.contains("note")) continue;
    const std::string source = one["template"].get<std::string>();
    verdicts.push_back(
        judge(source, one, [&] { return JinjaTemplate::parse(source).render(fixture["context"], options); }));
  }
  return verdicts;
}

bool is_chat_template_fixture(const std::filesystem::path& file) {
  if (file.extension() != ".json") return false;
  const auto folder = file.parent_path();
  if (folder.filename() == "chat_templates") return file.filename() == "jinja.json";
  return folder.parent_path().filename() == "chat_templates" &&
         (folder.filename() == "own" || folder.filename() == "real");
}

GoldenResult run_chat_template_fixture(const std::filesystem::path& file, const GoldenOptions&) {
  GoldenResult result;
  const bool small = file.filename() == "jinja.json";
  result.kind = small ? "chat_templates" : "chat_templates/" + file.parent_path().filename().string();
  result.name = file.stem().string();
  const Json fixture = read_json_file(file.string());
  const auto verdicts =
      small ? judge_jinja(fixture)
            : judge_chat_template(fixture,
                                  read_json_file((file.parent_path().parent_path() / "conversations.json").string()));
  result.cases = verdicts.size();
  for (const Verdict& verdict : verdicts) {
    if (verdict.passed) continue;
    if (result.failed_cases++ == 0) result.reason = concat(verdict.name, ": ", verdict.reason);
  }
  result.passed = result.failed_cases == 0;
  return result;
}

}  // namespace backplane::golden
