#pragma once

#include <cstdint>

#include "backplane/nn/module.h"

namespace backplane {

/// Pillow's numbers of its filters, as preprocessor_config.json has them under `resample`.
enum class Resample : int64_t { nearest = 0, lanczos = 1, bilinear = 2, bicubic = 3, box = 4, hamming = 5 };

/// A rectangle in pixels, of which the corner may lie between pixels.
struct ResampleBox {
  double left = 0, top = 0, right = 0, bottom = 0;
};

/// Resizes a picture as Pillow's Image.resize does, byte for byte: separable filters whose support grows with the
/// scale, in 22-bit fixed point, each pass rounded to 8 bits. `image` uint8 [height, width, 1 to 4 channels] ->
/// [height, width, channels]; 2 and 4 channels count as colour with alpha and are premultiplied. `box`: the part that
/// is taken; null: all.
Tensor resize_pillow(const Tensor& image, int64_t height, int64_t width, Resample filter,
                     const ResampleBox* box = nullptr);

/// As Pillow's Image.reduce: means over blocks of `factor_y` x `factor_x` pixels.
Tensor reduce_pillow(const Tensor& image, int64_t factor_x, int64_t factor_y);

/// As Pillow's Image.resize(reducing_gap=gap): reduced by whole factors first, then resized.
Tensor resize_pillow_with_gap(const Tensor& image, int64_t height, int64_t width, Resample filter, double gap);

/// As torchvision's resize of a tensor: antialiased bilinear, bicubic and lanczos on uint8 and float, nearest-exact.
/// [height, width, channels] -> the same order. Throws `invalid_value` for box and hamming, which it does not have.
Tensor resize_torch(const Tensor& image, int64_t height, int64_t width, Resample filter, bool antialias = true);

/// The same by way of float32, rounded: what torchvision's first interface does with bytes.
Tensor resize_torch_rounded(const Tensor& image, int64_t height, int64_t width, Resample filter);

}  // namespace backplane
