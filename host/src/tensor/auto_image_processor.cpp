#include "backplane/host/auto_image_processor.h"

#include "backplane/host/auto_video_processor.h"
#include "backplane/host/resolve_preprocessor.h"

namespace backplane {
namespace {

// The file's object with the caller's overrides, as arguments of the constructor.
template <class Processor>
std::shared_ptr<Processor> make_processor(AutoClass auto_class, const std::string& name_or_path,
                                          const PretrainedOptions& options) {
  const auto resolved = resolve_preprocessor(auto_class.name, name_or_path, options);
  Value::Object arguments = resolved.file;
  for (const auto& [key, value] : options.overrides) set(arguments, key, value);
  return Processor::create(resolved.class_name, arguments);
}

}  // namespace

std::shared_ptr<ImageProcessor> AutoImageProcessor::from_pretrained(const std::string& name_or_path,
                                                                    const PretrainedOptions& options) {
  return make_processor<ImageProcessor>(Auto::ImageProcessor, name_or_path, options);
}

std::shared_ptr<VideoProcessor> AutoVideoProcessor::from_pretrained(const std::string& name_or_path,
                                                                    const PretrainedOptions& options) {
  return make_processor<VideoProcessor>(Auto::VideoProcessor, name_or_path, options);
}

}  // namespace backplane
