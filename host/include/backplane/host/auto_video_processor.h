#pragma once

#include <memory>
#include <string>

#include "backplane/host/pretrained_options.h"
#include "backplane/vision/video_processor.h"

namespace backplane {

/// Video processors by name (AC-144 to AC-146).
class AutoVideoProcessor {
 public:
  AutoVideoProcessor() = delete;  // AC-01

  /// The video processor of a folder or a repository; `options.overrides` replace keys of its file. Thread-safe. Throws as
  /// resolve_preprocessor; `unknown_class` for a class that core does not have.
  static std::shared_ptr<VideoProcessor> from_pretrained(const std::string& name_or_path,
                                                         const PretrainedOptions& options = {});
};

}  // namespace backplane
