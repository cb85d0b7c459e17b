#pragma once

#include <array>
#include <cstdint>

#include "backplane/nn/module.h"
#include "backplane/vision/image.h"

namespace backplane {

/// The colour of the n-th class: far from those of its neighbours.
std::array<uint8_t, 3> class_color(int64_t index);

/// A frame of the edges left, top, right, bottom in pixels, cut at the picture's own. Mode rgb.
void draw_box(Image& image, double left, double top, double right, double bottom, const std::array<uint8_t, 3>& color,
              int64_t width = 3);

/// Mixes each pixel with the colour of its entry in `map` [height, width], which is of the picture's size; entries
/// below `first` stay as they are. Mode rgb.
void draw_map(Image& image, const Tensor& map, int64_t first = 0);

}  // namespace backplane
