#pragma once

#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace backplane {

/// Joins its arguments as `operator<<` prints them: concat("layer ", 3) == "layer 3".
template <class... Parts>
std::string concat(const Parts&... parts) {
  if constexpr ((std::is_convertible_v<const Parts&, std::string_view> && ...)) {
    std::string text;
    (text.append(std::string_view(parts)), ...);
    return text;
  } else {
    std::ostringstream stream;
    (stream << ... << parts);
    return stream.str();
  }
}

/// "a, b, c"
std::string join(const std::vector<std::string>& parts, std::string_view separator = ", ");

std::vector<std::string> split(std::string_view text, char separator);

/// The text without blanks, tabs and line ends on both sides.
std::string_view trim(std::string_view text);

/// Up to `count` of `candidates` that a person may have meant, nearest first (edit distance, case ignored).
std::vector<std::string> close_matches(std::string_view word, const std::vector<std::string>& candidates,
                                       size_t count = 3);

}  // namespace backplane
