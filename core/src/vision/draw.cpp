#include "backplane/vision/draw.h"

#include <algorithm>
#include <cmath>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

void check_rgb(const Image& image) {
  if (image.mode != ImageMode::rgb)
    throw Error(ErrorCode::invalid_value, "only pictures in RGB are drawn on; convert_to_rgb first");
}

}  // namespace

std::array<uint8_t, 3> class_color(int64_t index) {
  // Hues apart by the golden ratio, in three brightnesses.
  const double hue = std::fmod(0.61803398875 * static_cast<double>(index & 0xFFFF), 1.0) * 6;
  const double light = 1 - 0.25 * static_cast<double>(index % 3);
  std::array<uint8_t, 3> out;
  for (size_t c = 0; c < 3; ++c) {
    const double distance = std::abs(std::fmod(hue + 6 - 2 * static_cast<double>(c), 6.0) - 3);
    out[c] = static_cast<uint8_t>(255 * light * std::clamp(distance - 1, 0.0, 1.0));
  }
  return out;
}

void draw_box(Image& image, double left, double top, double right, double bottom, const std::array<uint8_t, 3>& color,
              int64_t width) {
  check_rgb(image);
  const auto within = [](double edge, int64_t size) {
    return static_cast<int64_t>(std::clamp(std::round(edge), 0.0, static_cast<double>(size - 1)));
  };
  if (!std::isfinite(left + top + right + bottom)) return;
  const int64_t x0 = within(left, image.width), x1 = within(right, image.width), y0 = within(top, image.height),
                y1 = within(bottom, image.height);
  for (int64_t y = y0; y <= y1; ++y) {
    for (int64_t x = x0; x <= x1; ++x) {
      if (std::min({x - x0, x1 - x, y - y0, y1 - y}) >= width) continue;
      std::copy(color.begin(), color.end(), image.pixels.begin() + 3 * (y * image.width + x));
    }
  }
}

void draw_map(Image& image, const Tensor& given, int64_t first) {
  check_rgb(image);
  if (given.dim() != 2 || given.size(0) != image.height || given.size(1) != image.width)
    throw Error(ErrorCode::invalid_value,
                concat("a map of ", given.sizes(), " on a picture of ", image.height, " x ", image.width));
  const Tensor map = given.to(at::kLong).contiguous();
  const auto* entry = map.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < map.numel(); ++i) {
    if (entry[i] < first) continue;
    const auto color = class_color(entry[i]);
    for (size_t c = 0; c < 3; ++c) {
      auto& byte = image.pixels[static_cast<size_t>(3 * i) + c];
      byte = static_cast<uint8_t>((byte + color[c]) / 2);
    }
  }
}

}  // namespace backplane
