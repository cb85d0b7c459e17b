#include "auto/remote_code.h"

#include <algorithm>

#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"
#include "backplane/registry/plugin_source.h"

namespace backplane {
namespace {

struct Reference {
  std::string repo;  // empty: the model's own
  std::string module;
  std::string class_name;
};

// AC-62
std::optional<Reference> parse_reference(const std::string& text) {
  Reference reference;
  std::string rest = text;
  if (const size_t dashes = text.find("--"); dashes != std::string::npos) {
    reference.repo = text.substr(0, dashes);
    rest = text.substr(dashes + 2);
    if (reference.repo.empty() || rest.find("--") != std::string::npos) return std::nullopt;
  }
  const size_t dot = rest.find('.');
  if (dot == std::string::npos || dot == 0 || dot + 1 == rest.size() || rest.find('.', dot + 1) != std::string::npos) return std::nullopt;
  reference.module = rest.substr(0, dot);
  reference.class_name = rest.substr(dot + 1);
  return reference;
}

std::string own_name(const ModelFolder& folder) { return concat(folder.is_local() ? "folder '" : "repository '", folder.shown(), "'"); }

}  // namespace

void settle_remote_code(const ModelFolder& folder, const PretrainedOptions& options, const std::string& auto_class,
                        const std::string& text, bool has_local) {
  const bool consent = options.trust_remote_code.value_or(false);
  if (has_local) {
    if (consent) {
      warn(concat("the ", own_name(folder), " names '", text, "' for ", auto_class,
                  ", which is Python and is not run; the installed class is used instead"));
    }
    return;
  }
  const size_t dashes = text.find("--");
  const std::string of = dashes == std::string::npos ? "" : concat(" (code of the repository '", text.substr(0, dashes), "')");
  if (!consent) {
    throw Error(ErrorCode::trust_required, concat("the ", own_name(folder), " needs code of its own for ", auto_class, ": '", text, "'", of,
                                                  "; read that code, then allow it with trust_remote_code=true (--trust-remote-code)"));
  }
  const auto reference = parse_reference(text);
  if (!reference) {
    throw Error(ErrorCode::bad_code_reference,
                concat("the ", own_name(folder), " names '", text, "' for ", auto_class, "; expected '[repository--]module.Class'"));
  }
  const auto searched = plugin_source()->searched();
  throw Error(ErrorCode::remote_code_is_python,
              concat("the ", own_name(folder), " names '", reference->module, ".", reference->class_name, "' for ", auto_class, of,
                     ", which is Python and is never run; a plugin has to provide it. Plugins looked at: ",
                     searched.empty() ? std::string("none") : join(searched)));
}

std::optional<std::string> code_reference(const Json& json, const std::string& auto_class, const std::string& file) {
  const auto map = json.find("auto_map");
  if (map == json.end() || !map->is_object()) return std::nullopt;
  const auto entry = map->find(auto_class);
  if (entry == map->end() || entry->is_null()) return std::nullopt;
  if (entry->is_string()) return entry->get<std::string>();
  // [slow, fast]: tokenizers (AC-126), and image processors where upstream fails (AC-143)
  if (entry->is_array()) {
    for (auto it = entry->rbegin(); it != entry->rend(); ++it) {
      if (it->is_string()) return it->get<std::string>();
    }
  }
  throw Error(ErrorCode::bad_code_reference,
              concat(file, ": auto_map.", auto_class, " is ", to_value(*entry).to_string(), "; expected '[repository--]module.Class'"));
}

}  // namespace backplane
