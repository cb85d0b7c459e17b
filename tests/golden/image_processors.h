#pragma once

#include "golden/golden.h"

namespace backplane::golden {

/// Files of preprocessing/image_processors; the pictures are looked for in `inputs` beside the folder.
bool is_image_processor_fixture(const std::filesystem::path& file);
GoldenResult run_image_processor_fixture(const std::filesystem::path& file, const GoldenOptions& options);

}  // namespace backplane::golden
