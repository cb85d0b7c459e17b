#pragma once

#include "golden/golden.h"

namespace backplane::golden {

/// The files of feature_extractors/: what each class makes of the sounds of inputs/ beside that folder.
bool is_feature_extractor_fixture(const std::filesystem::path& file);
GoldenResult run_feature_extractor_fixture(const std::filesystem::path& file, const GoldenOptions& options);

}  // namespace backplane::golden
