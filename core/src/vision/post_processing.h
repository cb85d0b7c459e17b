#pragma once

#include "backplane/vision/image_processor.h"

namespace backplane {

/// What a model's outputs mean: boxes, maps, depth. Throws `unknown_argument` where the class has no such method.
Feature run_post_processing(const ImageProcessor& processor, std::string_view method, const ModelOutput& outputs,
                            const Value::Object& arguments);

}  // namespace backplane
