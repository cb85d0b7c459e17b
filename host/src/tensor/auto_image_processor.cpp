#include "backplane/host/auto_image_processor.h"

#include "backplane/host/resolve_preprocessor.h"

namespace backplane {

std::shared_ptr<ImageProcessor> AutoImageProcessor::from_pretrained(const std::string& name_or_path,
                                                                    const PretrainedOptions& options) {
  const auto resolved = resolve_preprocessor(Auto::ImageProcessor.name, name_or_path, options);
  Value::Object arguments = resolved.file;
  for (const auto& [key, value] : options.overrides) set(arguments, key, value);
  return ImageProcessor::create(resolved.class_name, arguments);
}

}  // namespace backplane
