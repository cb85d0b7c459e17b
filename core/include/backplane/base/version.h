#pragma once

namespace backplane {

/// The release of transformers whose behaviour this follows: written as `transformers_version`, and compared with the
/// versions in the names of versioned files (AC-09, AC-130).
inline constexpr const char* kReferenceVersion = "4.53.3";

}  // namespace backplane
