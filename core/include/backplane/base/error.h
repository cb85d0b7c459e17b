#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace backplane {

// Every way a call can fail. The names are what `--json` prints as `error.code`; docs/errors.md explains each.
#define BACKPLANE_ERROR_CODES(X)                                                                 \
  X(unknown_model_type)                                                                          \
  X(no_model_type)                                                                               \
  X(plugin_not_installed)                                                                        \
  X(unrecognized_configuration_class)                                                            \
  X(unknown_auto_class)                                                                          \
  X(not_found)                                                                                   \
  X(invalid_repo_id)                                                                             \
  X(file_not_found)                                                                              \
  X(bad_file_name)                                                                               \
  X(bad_config)                                                                                  \
  X(invalid_value)                                                                               \
  X(unknown_argument)                                                                            \
  X(unknown_class)                                                                               \
  X(unrecognized_processor)                                                                      \
  X(missing_dependency)                                                                          \
  X(trust_required)                                                                              \
  X(remote_code_is_python)                                                                       \
  X(bad_code_reference)                                                                          \
  X(adapter_only)                                                                                \
  X(bad_checkpoint)                                                                              \
  X(shape_mismatch)                                                                              \
  X(offline)                                                                                     \
  X(network)                                                                                     \
  X(repo_not_found)                                                                              \
  X(revision_not_found)                                                                          \
  X(gated_repo)                                                                                  \
  X(bad_download)        /* bytes that differ from the hash they should have */                  \
  X(bad_tokenizer)       /* a vocabulary or tokenizer file is malformed */                       \
  X(bad_template)        /* a chat template does not parse, or stops with an error of its own */ \
  X(bad_plugin)          /* not a plugin, or one that breaks the contract */                     \
  X(incompatible_plugin) /* built for another host: the fingerprint differs */                   \
  X(plugin_failed)       /* the plugin's own code reported an error while it registered */       \
  X(already_registered)                                                                          \
  X(bad_settings)   /* backplane.yaml or an environment variable */                              \
  X(usage)          /* the command line */                                                       \
  X(limit_exceeded) /* a cap on size, depth or steps */                                          \
  X(io)             /* the operating system refused a file operation */                          \
  X(internal)

enum class ErrorCode {
#define BACKPLANE_ERROR_ENUMERATOR(name) name,
  BACKPLANE_ERROR_CODES(BACKPLANE_ERROR_ENUMERATOR)
#undef BACKPLANE_ERROR_ENUMERATOR
};

/// The code's name, as in `error.code` of the command line's JSON.
std::string_view to_string(ErrorCode code);

/// The one exception type of the public interface. The message is a lower-case sentence without a full stop that names
/// what was found, what was expected and what to do. Safe to copy and rethrow in any thread.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace backplane
