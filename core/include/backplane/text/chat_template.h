#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/text/jinja.h"

namespace backplane {

/// Arguments of the reference's apply_chat_template.
struct ChatTemplateOptions {
  Json tools;      ///< list of JSON schemas, or null
  Json documents;  ///< list of objects, or null
  bool add_generation_prompt = false;
  /// Cuts the text behind the last message, so that the model goes on with it.
  bool continue_final_message = false;
  /// The name of one of the templates, or the source of a template of the caller's own. Empty: chosen as the reference
  /// does.
  std::string chat_template;
  /// Further variables; they win over special tokens of the same name.
  Json variables = Json::object();
  /// bos_token, eos_token, … as the tokenizer has them; they count as the template's text, not the user's.
  Json special_tokens = Json::object();
  std::function<WallClock()> clock;
};

/// The rendered text, the spans of what the assistant said, and where each stretch came from: see JinjaOutput.
using RenderedChat = JinjaOutput;

/// The templates of one tokenizer: usually one, named "default". Immutable; may be used by several threads at once.
class ChatTemplate {
 public:
  ChatTemplate() = default;
  /// `templates` is what tokenizer_config.json holds under `chat_template`: a text, a list of {name, template}, an
  /// object of texts, or null. Templates are parsed when they are first needed, as the reference does. Throws
  /// `bad_template`.
  explicit ChatTemplate(const Json& templates);

  /// Reads `chat_template.jinja` and `additional_chat_templates/*.jinja` of a tokenizer's folder, which win over
  /// `configured` (the value in tokenizer_config.json), and the older `chat_template.json` of processors.
  static ChatTemplate from_folder(const std::string& folder, const Json& configured);

  bool empty() const { return templates_.empty(); }
  const std::map<std::string, std::string>& sources() const { return templates_; }

  /// The source that a call would render. Throws `invalid_value` where there is none or no default among several.
  std::string select(const std::string& chat_template, bool with_tools) const;

  /// Renders one conversation: a list of objects with `role` and `content`. Throws JinjaError for what the template
  /// refuses (its own words in message()), `invalid_value` for arguments that do not go together.
  RenderedChat apply(const Json& messages, const ChatTemplateOptions& options = {}) const;

 private:
  std::map<std::string, std::string> templates_;
};

}  // namespace backplane
