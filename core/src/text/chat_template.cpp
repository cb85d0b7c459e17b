#include "backplane/text/chat_template.h"

#include <boost/filesystem.hpp>
#include <mutex>

#include "backplane/base/files.h"
#include "backplane/base/strings.h"
#include "text/jinja_value.h"

namespace backplane {
namespace {

constexpr const char* kDefault = "default";
constexpr size_t kCachedTemplates = 32;

// Parsed templates of this process, by source: the reference caches them in the same way.
JinjaTemplate parsed(const std::string& source) {
  static std::mutex mutex;
  static std::vector<std::pair<std::string, JinjaTemplate>> cache;
  {
    const std::lock_guard lock(mutex);
    for (const auto& [text, entry] : cache) {
      if (text == source) return entry;
    }
  }
  JinjaTemplate entry = JinjaTemplate::parse(source);
  const std::lock_guard lock(mutex);
  if (cache.size() == kCachedTemplates) cache.erase(cache.begin());
  cache.emplace_back(source, entry);
  return entry;
}

std::pair<size_t, size_t> stripped_range(const std::string& text) {
  return jinja::strip_range(jinja::Text(text), nullptr, true, true);
}

// The text that the model is to go on with: the content of the last message, or its last block of text.
const std::string& final_text(const Json& messages) {
  if (messages.empty() || !messages.back().is_object() || !messages.back().contains("content")) {
    throw Error(ErrorCode::invalid_value, "continue_final_message needs a last message with content");
  }
  const Json& content = messages.back()["content"];
  if (content.is_string()) return content.get_ref<const std::string&>();
  if (content.is_array()) {
    for (auto block = content.rbegin(); block != content.rend(); ++block) {
      if (block->is_object() && block->contains("text") && (*block)["text"].is_string())
        return (*block)["text"].get_ref<const std::string&>();
    }
  }
  throw Error(ErrorCode::invalid_value, "continue_final_message is set, but the last message has no text to continue");
}

void cut_after(RenderedChat& chat, const std::string& message) {
  const auto [begin, end] = stripped_range(message);
  const std::string stripped = message.substr(begin, end - begin);
  const size_t found = chat.text.rfind(stripped);
  if (found == std::string::npos) {
    throw Error(ErrorCode::invalid_value,
                "continue_final_message is set, but the final message does not appear in the chat after applying the "
                "chat template; "
                "the template may delete portions of it");
  }
  // As the reference: blanks behind the message stay where the template left the message as it was.
  const std::string without_front = message.substr(begin);
  const bool kept = chat.text.compare(found, without_front.size(), without_front) == 0 && without_front == message;
  const size_t size = found + (kept ? without_front.size() : stripped.size());
  chat.text.resize(size);
  while (!chat.parts.empty() && chat.parts.back().begin >= size) chat.parts.pop_back();
  if (!chat.parts.empty()) chat.parts.back().end = size;
  const size_t characters = jinja::utf8::count(chat.text);
  for (auto& [from, to] : chat.generations) {
    from = std::min(from, characters);
    to = std::min(to, characters);
  }
}

void check_arguments(const Json& messages, const ChatTemplateOptions& options) {
  if (!messages.is_array())
    throw Error(ErrorCode::invalid_value,
                concat("messages is a ", messages.type_name(), ", expected a list of objects"));
  if (options.continue_final_message && options.add_generation_prompt) {
    throw Error(ErrorCode::invalid_value,
                "continue_final_message and add_generation_prompt are not compatible: one goes on with the last "
                "message, the other opens a new one");
  }
  const auto check_list = [](const Json& list, const char* name, const char* expected) {
    if (list.is_null()) return;
    if (!list.is_array())
      throw Error(ErrorCode::invalid_value, concat(name, " is a ", list.type_name(), ", expected a list of objects"));
    for (const auto& item : list) {
      if (!item.is_object())
        throw Error(ErrorCode::invalid_value, concat(name, " holds a ", item.type_name(), ", expected ", expected));
    }
  };
  check_list(options.tools, "tools", "JSON schemas");
  check_list(options.documents, "documents", "objects with 'title' and 'text'");
}

}  // namespace

ChatTemplate::ChatTemplate(const Json& templates) {
  const auto text = [](const Json& value, const std::string& name) {
    if (!value.is_string())
      throw Error(ErrorCode::bad_template,
                  concat("chat_template ", name, " is a ", value.type_name(), ", expected a text"));
    return value.get<std::string>();
  };
  if (templates.is_string()) {
    templates_[kDefault] = templates.get<std::string>();
  } else if (templates.is_object()) {
    for (const auto& [name, source] : templates.items()) templates_[name] = text(source, concat("'", name, "'"));
  } else if (templates.is_array()) {
    for (const auto& entry : templates) {
      if (!entry.is_object() || !entry.contains("name") || !entry.contains("template")) {
        throw Error(ErrorCode::bad_template,
                    "chat_template is a list of something other than objects with 'name' and 'template'");
      }
      templates_[text(entry["name"], "name")] = text(entry["template"], "in a list");
    }
  } else if (!templates.is_null()) {
    throw Error(ErrorCode::bad_template,
                concat("chat_template is a ", templates.type_name(), ", expected a text or a list of named texts"));
  }
}

ChatTemplate ChatTemplate::from_folder(const std::string& folder, const Json& configured) {
  namespace fs = boost::filesystem;
  ChatTemplate result;
  if (const std::string file = path_beneath(folder, "chat_template.jinja"); file_exists(file)) {
    result.templates_[kDefault] = read_file(file, limits::kConfigBytes);
  }
  const std::string more = path_beneath(folder, "additional_chat_templates");
  if (folder_exists(more)) {
    for (const auto& entry : fs::directory_iterator(more)) {
      const fs::path& path = entry.path();
      if (path.extension() != ".jinja") continue;
      const std::string file = path_beneath(more, path.filename().string());
      if (file_exists(file)) result.templates_[path.stem().string()] = read_file(file, limits::kConfigBytes);
    }
  }
  return result.empty() ? ChatTemplate(configured) : result;
}

std::string ChatTemplate::select(const std::string& chat_template, bool with_tools) const {
  const bool several = templates_.size() > 1 || (templates_.size() == 1 && !templates_.contains(kDefault));
  if (!chat_template.empty()) {
    const auto named = templates_.find(chat_template);
    return several && named != templates_.end() ? named->second : chat_template;
  }
  if (templates_.empty()) {
    throw Error(ErrorCode::invalid_value, "the tokenizer has no chat template; pass one as chat_template");
  }
  if (with_tools && several) {
    if (const auto tool_use = templates_.find("tool_use"); tool_use != templates_.end()) return tool_use->second;
  }
  if (const auto found = templates_.find(kDefault); found != templates_.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [name, source] : templates_) names.push_back(name);
  throw Error(ErrorCode::invalid_value, concat("the model has several chat templates and no default; name one of ",
                                               join(names), " as chat_template"));
}

RenderedChat ChatTemplate::apply(const Json& messages, const ChatTemplateOptions& options) const {
  check_arguments(messages, options);
  const JinjaTemplate compiled = parsed(select(options.chat_template, !options.tools.is_null()));
  RenderOptions rendering;
  rendering.clock = options.clock;
  Json context = Json::object();
  for (const auto& [name, token] : options.special_tokens.items()) {
    context[name] = token;
    rendering.trusted.insert(name);
  }
  for (const auto& [name, value] : options.variables.items()) {
    for (const char* own : {"messages", "tools", "documents", "add_generation_prompt"}) {
      if (name == own)
        throw Error(ErrorCode::invalid_value, concat("the variable '", name, "' is an argument of its own"));
    }
    context[name] = value;
    rendering.trusted.erase(name);
  }
  context["messages"] = messages;
  context["tools"] = options.tools;
  context["documents"] = options.documents;
  context["add_generation_prompt"] = options.add_generation_prompt;
  RenderedChat chat = compiled.render_parts(context, rendering);
  if (options.continue_final_message) cut_after(chat, final_text(messages));
  return chat;
}

}  // namespace backplane
