#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "backplane/config/pretrained_config.h"
#include "backplane/config/value.h"
#include "backplane/hub/hub.h"

namespace backplane {

/// The arguments of every `from_pretrained`. What is unset takes the reference's default; `overrides` are its free keyword
/// arguments: attributes of the configuration or of the processor.
struct PretrainedOptions {
  Value torch_dtype;           // null, a dtype's name, "auto", or an object: part -> name (AC-110 to AC-112)
  Value attn_implementation;   // null, "eager", "sdpa", or an object: part -> name (AC-114, AC-115)
  std::string revision = "main";
  std::optional<std::string> code_revision;
  std::string subfolder;
  std::optional<std::string> cache_dir;
  HubToken token;
  HubToken use_auth_token;     // deprecated name of `token` (AC-22)
  std::map<std::string, std::string> proxies;
  bool force_download = false;
  bool local_files_only = false;
  /// Consent to the repository's own code: unset asks on a terminal (AC-50, AC-51).
  std::optional<bool> trust_remote_code;

  std::optional<bool> use_fast;                         // tokenizers: true where unset; image processors: AC-139
  std::optional<std::string> tokenizer_type;            // AC-120
  std::optional<std::string> image_processor_filename;  // AC-137
  std::optional<std::string> gguf_file;                 // AC-11, AC-136

  std::optional<std::string> variant;  // AC-90
  std::optional<bool> use_safetensors;
  bool ignore_mismatched_sizes = false;
  bool from_tf = false;
  bool from_flax = false;
  /// Instead of the file's; `overrides` then go to the model class alone (AC-41, AC-42). Copied, never changed.
  std::shared_ptr<const PretrainedConfig> config;

  Value::Object overrides;

  HubOptions hub() const;
};

/// Sets the option of that name, or the override where no option has it. Throws `invalid_value` for a value of the wrong
/// kind. `resume_download`, `mirror`, `_fast_init` and `low_cpu_mem_usage` have no effect (AC-109); `return_unused_kwargs`
/// and `output_loading_info` neither, since the results hold both always.
void set_option(PretrainedOptions& options, std::string_view name, const Value& value);

}  // namespace backplane
