#pragma once

#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace backplane::testing {

inline std::string vision_data(const std::string& file) { return std::string(BACKPLANE_TEST_DATA) + "/vision/" + file; }

inline nlohmann::json vision_json(const std::string& file) {
  std::ifstream stream(vision_data(file));
  return nlohmann::json::parse(stream);
}

/// Small pictures that Pillow wrote, with what it reads from them: file -> mode, width, height, rgb.
inline nlohmann::json pictures() { return vision_json("pictures.json"); }

inline std::vector<uint8_t> from_base64(const std::string& text) {
  static const std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<uint8_t> out;
  uint32_t bits = 0;
  int count = 0;
  for (const char letter : text) {
    const size_t value = letters.find(letter);
    if (value == std::string::npos) break;
    bits = bits << 6 | static_cast<uint32_t>(value);
    if ((count += 6) < 8) continue;
    count -= 8;
    out.push_back(static_cast<uint8_t>(bits >> count));
  }
  return out;
}

}  // namespace backplane::testing
