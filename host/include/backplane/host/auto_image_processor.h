#pragma once

#include <memory>
#include <string>

#include "backplane/host/pretrained_options.h"
#include "backplane/host/register.h"
#include "backplane/vision/image_processor.h"

namespace backplane {

/// Image processors by name (AC-137 to AC-143).
class AutoImageProcessor {
 public:
  AutoImageProcessor() = delete;  // AC-01

  /// The image processor of a folder or a repository; `options.overrides` replace keys of preprocessor_config.json,
  /// `options.use_fast` chooses between the two classes. Thread-safe. Throws as resolve_preprocessor; `unknown_class`
  /// for a class that core does not have.
  static std::shared_ptr<ImageProcessor> from_pretrained(const std::string& name_or_path,
                                                         const PretrainedOptions& options = {});

  /// Classes by name for a model type; one of them may be left empty (AC-32).
  static void register_(const std::string& model_type, const std::string& slow, const std::string& fast,
                        bool exist_ok = false) {
    register_preprocessor({std::string(Auto::ImageProcessor.name), model_type, slow, fast, nullptr}, exist_ok);
  }
};

}  // namespace backplane
