#include <algorithm>
#include <functional>

#include "backplane/base/error.h"
#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "backplane/host/pretrained_options.h"
#include "backplane/host/settings.h"

namespace backplane {
namespace {

[[noreturn]] void refuse(std::string_view name, const Value& value, const char* expected) {
  throw Error(ErrorCode::invalid_value, concat(name, " is ", value.to_string(), "; expected ", expected));
}

void assign(std::string_view name, const Value& value, std::string& member) {
  if (!value.is_string()) refuse(name, value, "a text");
  member = value.as_string();
}
void assign(std::string_view name, const Value& value, std::optional<std::string>& member) {
  if (value.is_null()) {
    member.reset();
  } else {
    assign(name, value, member.emplace());
  }
}
void assign(std::string_view name, const Value& value, bool& member) {
  if (!value.is_bool() && !value.is_null()) refuse(name, value, "true or false");
  member = value.is_bool() && value.as_bool();
}
void assign(std::string_view name, const Value& value, std::optional<bool>& member) {
  if (value.is_null()) {
    member.reset();
  } else {
    assign(name, value, member.emplace());
  }
}
void assign(std::string_view, const Value& value, Value& member) { member = value; }
void assign(std::string_view name, const Value& value, HubToken& member) {
  if (value.is_null()) {
    member = std::monostate();
  } else if (value.is_bool()) {
    member = value.as_bool();
  } else if (value.is_string()) {
    member = value.as_string();
  } else {
    refuse(name, value, "a token, true or false");
  }
}
void assign(std::string_view name, const Value& value, std::map<std::string, std::string>& member) {
  if (value.is_null()) return member.clear();
  if (!value.is_object()) refuse(name, value, "an object: protocol or host -> the proxy's URL");
  for (const auto& [key, url] : value.as_object()) {
    if (!url.is_string()) refuse(name, value, "URLs as values");
    member[key] = url.as_string();
  }
}

// AC-109, and arguments that choose the form of a result that here always holds everything.
constexpr std::string_view kWithoutEffect[] = {"resume_download", "mirror", "_fast_init", "low_cpu_mem_usage", "return_unused_kwargs",
                                               "output_loading_info", "_from_auto", "_from_pipeline", "_commit_hash"};

}  // namespace

void set_option(PretrainedOptions& options, std::string_view name, const Value& value) {
#define BACKPLANE_OPTION(member) \
  if (name == #member) return assign(name, value, options.member)
  BACKPLANE_OPTION(torch_dtype);
  BACKPLANE_OPTION(attn_implementation);
  BACKPLANE_OPTION(code_revision);
  BACKPLANE_OPTION(cache_dir);
  BACKPLANE_OPTION(token);
  BACKPLANE_OPTION(use_auth_token);
  BACKPLANE_OPTION(proxies);
  BACKPLANE_OPTION(force_download);
  BACKPLANE_OPTION(local_files_only);
  BACKPLANE_OPTION(trust_remote_code);
  BACKPLANE_OPTION(use_fast);
  BACKPLANE_OPTION(tokenizer_type);
  BACKPLANE_OPTION(image_processor_filename);
  BACKPLANE_OPTION(gguf_file);
  BACKPLANE_OPTION(variant);
  BACKPLANE_OPTION(use_safetensors);
  BACKPLANE_OPTION(ignore_mismatched_sizes);
  BACKPLANE_OPTION(from_tf);
  BACKPLANE_OPTION(from_flax);
#undef BACKPLANE_OPTION
  if (name == "revision") {
    options.revision = "main";
    if (!value.is_null()) assign(name, value, options.revision);
    return;
  }
  if (name == "subfolder") {
    options.subfolder.clear();
    if (!value.is_null()) assign(name, value, options.subfolder);
    return;
  }
  if (name == "config" && value.is_string()) return;  // a path is dropped (AC-41)
  if (std::find(std::begin(kWithoutEffect), std::end(kWithoutEffect), name) != std::end(kWithoutEffect)) return;
  set(options.overrides, name, value);
}

HubOptions PretrainedOptions::hub() const {
  use_hub_settings();
  HubOptions hub;
  hub.cache_dir = cache_dir;
  hub.token = token;
  if (!std::holds_alternative<std::monostate>(use_auth_token)) {  // AC-22
    if (!std::holds_alternative<std::monostate>(token)) {
      throw Error(ErrorCode::invalid_value, "token and use_auth_token are both given; expected token alone");
    }
    warn("use_auth_token is deprecated; use token");
    hub.token = use_auth_token;
  }
  hub.revision = revision;
  hub.subfolder = subfolder;
  hub.local_files_only = local_files_only;
  hub.force_download = force_download;
  hub.proxies = proxies;
  return hub;
}

}  // namespace backplane
