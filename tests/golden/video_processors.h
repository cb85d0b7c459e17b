#pragma once

#include "golden/golden.h"

namespace backplane::golden {

/// Files of preprocessing/video_processors; the clips are looked for in `inputs` beside the folder.
bool is_video_processor_fixture(const std::filesystem::path& file);
GoldenResult run_video_processor_fixture(const std::filesystem::path& file, const GoldenOptions& options);

}  // namespace backplane::golden
