#include "backplane/vision/resample.h"

#include <ATen/Parallel.h>
#include <ATen/ops/_upsample_bicubic2d_aa.h>
#include <ATen/ops/_upsample_bilinear2d_aa.h>
#include <ATen/ops/_upsample_lanczos2d_aa.h>
#include <ATen/ops/_upsample_nearest_exact2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/upsample_bicubic2d.h>
#include <ATen/ops/upsample_bilinear2d.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "backplane/vision/image.h"

namespace backplane {
namespace {

constexpr int kPrecisionBits = 32 - 8 - 2;

double sinc(double x) {
  if (x == 0) return 1;
  x *= M_PI;
  return std::sin(x) / x;
}

struct Filter {
  double support;
  double (*weight)(double);
};

Filter filter_of(Resample filter) {
  switch (filter) {
    case Resample::box:
      return {0.5, [](double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }};
    case Resample::bilinear:
      return {1, [](double x) {
                x = std::abs(x);
                return x < 1 ? 1 - x : 0.0;
              }};
    case Resample::hamming:
      return {1, [](double x) {
                x = std::abs(x);
                if (x == 0) return 1.0;
                if (x >= 1) return 0.0;
                x *= M_PI;
                return std::sin(x) / x * (0.54 + 0.46 * std::cos(x));
              }};
    case Resample::bicubic:
      return {2, [](double x) {
                constexpr double a = -0.5;
                x = std::abs(x);
                if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
                if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
                return 0.0;
              }};
    case Resample::lanczos:
      return {3, [](double x) { return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0.0; }};
    case Resample::nearest:
      break;
  }
  throw Error(ErrorCode::invalid_value, concat("resample is ", static_cast<int64_t>(filter), "; expected 0 to 5"));
}

// For each pixel of the output: the first pixel that it reads, how many, and their weights in fixed point.
struct Weights {
  std::vector<int32_t> first, count;
  std::vector<int32_t> weights;  // [out, width]
  int64_t width = 0;
};

Weights make_weights(int64_t in_size, double begin, double end, int64_t out_size, const Filter& filter) {
  const double scale = (end - begin) / static_cast<double>(out_size);
  const double filter_scale = std::max(scale, 1.0);
  const double support = filter.support * filter_scale;
  Weights out;
  out.width = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
  out.first.resize(static_cast<size_t>(out_size));
  out.count.resize(static_cast<size_t>(out_size));
  out.weights.resize(static_cast<size_t>(out_size * out.width));
  std::vector<double> row(static_cast<size_t>(out.width));
  for (int64_t i = 0; i < out_size; ++i) {
    const double center = begin + (static_cast<double>(i) + 0.5) * scale;
    const auto first = std::max<int64_t>(static_cast<int64_t>(center - support + 0.5), 0);
    const auto last = std::min<int64_t>(static_cast<int64_t>(center + support + 0.5), in_size);
    const int64_t count = std::max<int64_t>(last - first, 0);
    double sum = 0;
    for (int64_t x = 0; x < count; ++x) {
      const double w = filter.weight((static_cast<double>(x + first) - center + 0.5) * (1.0 / filter_scale));
      row[static_cast<size_t>(x)] = w;
      sum += w;
    }
    for (int64_t x = 0; x < count; ++x) {
      double w = row[static_cast<size_t>(x)];
      if (sum != 0) w /= sum;
      const double fixed = w * (1 << kPrecisionBits);
      out.weights[static_cast<size_t>(i * out.width + x)] = static_cast<int32_t>(w < 0 ? -0.5 + fixed : 0.5 + fixed);
    }
    out.first[static_cast<size_t>(i)] = static_cast<int32_t>(first);
    out.count[static_cast<size_t>(i)] = static_cast<int32_t>(count);
  }
  return out;
}

uint8_t clip(int32_t fixed) { return static_cast<uint8_t>(std::clamp(fixed >> kPrecisionBits, 0, 255)); }

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define BACKPLANE_SIMD_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define BACKPLANE_SIMD_CLONES
#endif

// One row of pixels of four bytes; the four sums are one vector register.
using Vec4 [[gnu::vector_size(16)]] = int32_t;

BACKPLANE_SIMD_CLONES
void horizontal_row4(const int32_t* row, const Weights& weights, int64_t out_width, int32_t* sums) {
  for (int64_t x = 0; x < out_width; ++x) {
    const int32_t* k = weights.weights.data() + x * weights.width;
    const int32_t* pixel = row + 4 * int64_t{weights.first[static_cast<size_t>(x)]};
    const int32_t count = weights.count[static_cast<size_t>(x)];
    constexpr int32_t half = 1 << (kPrecisionBits - 1);
    Vec4 sum = {half, half, half, half};
    for (int32_t i = 0; i < count; ++i) {
      Vec4 value;
      std::memcpy(&value, pixel + 4 * i, sizeof value);
      sum += value * k[i];
    }
    std::memcpy(sums + 4 * x, &sum, sizeof sum);
  }
}

BACKPLANE_SIMD_CLONES
void add_row(int32_t* sums, const uint8_t* row, int32_t weight, int64_t count) {
  for (int64_t i = 0; i < count; ++i) sums[i] += row[i] * weight;
}

BACKPLANE_SIMD_CLONES
void clip_row(uint8_t* to, const int32_t* sums, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = clip(sums[i]);
}

void resample_rows(const Tensor& image, const Weights& weights, Tensor& out) {
  const int64_t in_width = image.size(1), width = out.size(1), channels = image.size(2);
  const auto* from = image.const_data_ptr<uint8_t>();
  auto* to = out.mutable_data_ptr<uint8_t>();
  at::parallel_for(0, out.size(0), 1 + 65536 / (width * weights.width + 1), [&](int64_t begin, int64_t end) {
    std::vector<int32_t> row(static_cast<size_t>(4 * in_width)), sums(static_cast<size_t>(4 * width));
    for (int64_t y = begin; y < end; ++y) {
      const uint8_t* pixel = from + y * in_width * channels;
      for (int64_t x = 0; x < in_width; ++x) {
        for (int64_t c = 0; c < channels; ++c) row[static_cast<size_t>(4 * x + c)] = pixel[x * channels + c];
      }
      horizontal_row4(row.data(), weights, width, sums.data());
      uint8_t* target = to + y * width * channels;
      for (int64_t x = 0; x < width; ++x) {
        for (int64_t c = 0; c < channels; ++c) target[x * channels + c] = clip(sums[static_cast<size_t>(4 * x + c)]);
      }
    }
  });
}

void resample_columns(const Tensor& image, const Weights& weights, Tensor& out) {
  const int64_t row_bytes = image.size(1) * image.size(2);
  const auto* from = image.const_data_ptr<uint8_t>();
  auto* to = out.mutable_data_ptr<uint8_t>();
  at::parallel_for(0, out.size(0), 1 + 65536 / (row_bytes * weights.width + 1), [&](int64_t begin, int64_t end) {
    std::vector<int32_t> sums(static_cast<size_t>(row_bytes));
    for (int64_t y = begin; y < end; ++y) {
      std::fill(sums.begin(), sums.end(), 1 << (kPrecisionBits - 1));
      const int64_t top = weights.first[static_cast<size_t>(y)];
      for (int64_t i = 0; i < weights.count[static_cast<size_t>(y)]; ++i)
        add_row(sums.data(), from + (top + i) * row_bytes, weights.weights[static_cast<size_t>(y * weights.width + i)],
                row_bytes);
      clip_row(to + y * row_bytes, sums.data(), row_bytes);
    }
  });
}

// Pillow adds up the step, so that its rounding is the same.
std::vector<int64_t> nearest_positions(int64_t in_size, double begin, double step, int64_t out_size) {
  std::vector<int64_t> positions(static_cast<size_t>(out_size));
  double at = begin + step * 0.5;
  for (auto& position : positions) {
    position = std::clamp<int64_t>(static_cast<int64_t>(at), 0, in_size - 1);
    at += step;
  }
  return positions;
}

Tensor resize_nearest(const Tensor& image, int64_t height, int64_t width, const ResampleBox& box) {
  const int64_t channels = image.size(2), in_width = image.size(1);
  const auto rows =
      nearest_positions(image.size(0), box.top, (box.bottom - box.top) / static_cast<double>(height), height);
  const auto columns =
      nearest_positions(in_width, box.left, (box.right - box.left) / static_cast<double>(width), width);
  Tensor out = at::empty({height, width, channels}, at::kByte);
  auto* to = out.mutable_data_ptr<uint8_t>();
  for (const int64_t y : rows) {
    const auto* row = image.const_data_ptr<uint8_t>() + y * in_width * channels;
    for (const int64_t x : columns) {
      for (int64_t c = 0; c < channels; ++c) *to++ = row[x * channels + c];
    }
  }
  return out;
}

int multiply_255(int x, int y) {
  const int product = x * y + 128;
  return ((product >> 8) + product) >> 8;
}

void premultiply(Tensor& image) {
  const int64_t channels = image.size(2);
  auto* pixel = image.mutable_data_ptr<uint8_t>();
  for (auto* end = pixel + image.numel(); pixel < end; pixel += channels) {
    for (int64_t c = 0; c < channels - 1; ++c)
      pixel[c] = static_cast<uint8_t>(multiply_255(pixel[c], pixel[channels - 1]));
  }
}

void unpremultiply(Tensor& image) {
  const int64_t channels = image.size(2);
  auto* pixel = image.mutable_data_ptr<uint8_t>();
  for (auto* end = pixel + image.numel(); pixel < end; pixel += channels) {
    const int alpha = pixel[channels - 1];
    if (alpha == 0 || alpha == 255) continue;
    for (int64_t c = 0; c < channels - 1; ++c) pixel[c] = static_cast<uint8_t>(std::min(255 * pixel[c] / alpha, 255));
  }
}

void check_sizes(const Tensor& image, int64_t height, int64_t width) {
  if (height < 1 || width < 1)
    throw Error(ErrorCode::invalid_value,
                concat("a picture cannot be resized to ", width, " x ", height, " pixels; both must be above 0"));
  if (static_cast<uint64_t>(height) > limits::kImagePixels / static_cast<uint64_t>(width))
    throw Error(ErrorCode::limit_exceeded, concat("resizing to ", width, " x ", height, " pixels is more than the ",
                                                  limits::kImagePixels, " that a picture may have"));
  if (image.numel() == 0) throw Error(ErrorCode::invalid_value, "a picture without pixels cannot be resized");
}

}  // namespace

Tensor resize_pillow(const Tensor& given, int64_t height, int64_t width, Resample filter, const ResampleBox* part) {
  check_sizes(given, height, width);
  Tensor image = given.contiguous();
  const int64_t in_height = image.size(0), in_width = image.size(1), channels = image.size(2);
  if (image.scalar_type() != at::kByte || channels > 4)
    throw Error(ErrorCode::invalid_value,
                concat("Pillow resizes pictures of 1 to 4 channels of bytes; found ", channels, " channels"));
  const ResampleBox box =
      part ? *part : ResampleBox{0, 0, static_cast<double>(in_width), static_cast<double>(in_height)};
  const bool whole = box.left == 0 && box.top == 0 && box.right == static_cast<double>(in_width) &&
                     box.bottom == static_cast<double>(in_height);
  if (whole && height == in_height && width == in_width) return image;
  if (filter == Resample::nearest) return resize_nearest(image, height, width, box);

  const bool alpha = channels == 2 || channels == 4;
  if (alpha) {
    image = image.clone();
    premultiply(image);
  }
  const Filter kernel = filter_of(filter);
  const bool across = width != in_width || box.left != 0 || box.right != static_cast<double>(width);
  const bool down = height != in_height || box.top != 0 || box.bottom != static_cast<double>(height);
  const auto narrow = [&] {
    if (!across) return;
    const Weights weights = make_weights(in_width, box.left, box.right, width, kernel);
    Tensor out = at::empty({image.size(0), width, channels}, at::kByte);
    resample_rows(image, weights, out);
    image = out;
  };
  const auto flatten = [&] {
    if (!down) return;
    const Weights weights = make_weights(in_height, box.top, box.bottom, height, kernel);
    Tensor out = at::empty({height, image.size(1), channels}, at::kByte);
    resample_columns(image, weights, out);
    image = out;
  };
  // Pillow 13 takes the order that touches fewer pixels, by this rule; bytes between the passes are rounded, so it
  // shows.
  const bool columns_first = height < in_height && in_height - height > 2 * (in_width - width);
  if (columns_first) flatten();
  narrow();
  if (!columns_first) flatten();
  if (alpha) unpremultiply(image);
  return image;
}

Tensor reduce_pillow(const Tensor& given, int64_t factor_x, int64_t factor_y) {
  Tensor image = given.contiguous();
  const int64_t in_height = image.size(0), in_width = image.size(1), channels = image.size(2);
  const int64_t height = (in_height + factor_y - 1) / factor_y, width = (in_width + factor_x - 1) / factor_x;
  Tensor out = at::empty({height, width, channels}, at::kByte);
  const auto* from = image.const_data_ptr<uint8_t>();
  auto* to = out.mutable_data_ptr<uint8_t>();
  for (int64_t y = 0; y < height; ++y) {
    const int64_t rows = std::min(factor_y, in_height - y * factor_y);
    for (int64_t x = 0; x < width; ++x) {
      const int64_t columns = std::min(factor_x, in_width - x * factor_x);
      const auto count = static_cast<uint32_t>(rows * columns);
      // 2^24 / count in float32, cut, as Pillow has it.
      const auto multiplier = static_cast<uint32_t>(4294967296.0f / static_cast<float>(256 * count));
      for (int64_t c = 0; c < channels; ++c) {
        uint32_t sum = count / 2;
        for (int64_t i = 0; i < rows; ++i) {
          const auto* row = from + ((y * factor_y + i) * in_width + x * factor_x) * channels + c;
          for (int64_t j = 0; j < columns; ++j) sum += row[j * channels];
        }
        *to++ = static_cast<uint8_t>(sum * multiplier >> 24);
      }
    }
  }
  return out;
}

Tensor resize_pillow_with_gap(const Tensor& image, int64_t height, int64_t width, Resample filter, double gap) {
  check_sizes(image, height, width);
  if (filter == Resample::nearest) return resize_pillow(image, height, width, filter);
  const auto in_height = static_cast<double>(image.size(0)), in_width = static_cast<double>(image.size(1));
  const int64_t factor_x = std::max<int64_t>(static_cast<int64_t>(in_width / static_cast<double>(width) / gap), 1);
  const int64_t factor_y = std::max<int64_t>(static_cast<int64_t>(in_height / static_cast<double>(height) / gap), 1);
  if (factor_x == 1 && factor_y == 1) return resize_pillow(image, height, width, filter);
  const ResampleBox box{0, 0, in_width / static_cast<double>(factor_x), in_height / static_cast<double>(factor_y)};
  return resize_pillow(reduce_pillow(image, factor_x, factor_y), height, width, filter, &box);
}

Tensor resize_torch(const Tensor& image, int64_t height, int64_t width, Resample filter, bool antialias) {
  check_sizes(image, height, width);
  if (image.size(0) == height && image.size(1) == width) return image;
  const bool nearest = filter == Resample::nearest, real = image.is_floating_point();
  if (filter == Resample::box || filter == Resample::hamming)
    throw Error(ErrorCode::invalid_value, concat("resample is ", static_cast<int64_t>(filter),
                                                 ", which a fast image processor does not have; expected 0 (nearest), "
                                                 "1 (lanczos), 2 (bilinear) or 3 (bicubic)"));
  if (filter == Resample::lanczos && !antialias)
    throw Error(ErrorCode::invalid_value,
                "resample 1 (lanczos) needs antialiasing, which this image processor does not use");
  const bool cast = !real && image.scalar_type() != at::kByte;
  Tensor x = image.permute({2, 0, 1}).unsqueeze(0);
  if (cast) x = x.to(at::kFloat);
  const std::array<int64_t, 2> size{height, width};
  if (nearest)
    x = at::_upsample_nearest_exact2d(x, size);
  else if (filter == Resample::bilinear)
    x = antialias ? at::_upsample_bilinear2d_aa(x, size, false) : at::upsample_bilinear2d(x, size, false);
  else if (filter == Resample::bicubic)
    x = antialias ? at::_upsample_bicubic2d_aa(x, size, false) : at::upsample_bicubic2d(x, size, false);
  else
    x = at::_upsample_lanczos2d_aa(x, size, false);
  if (cast) x = x.round().to(image.scalar_type());
  return x.squeeze(0).permute({1, 2, 0});
}

Tensor resize_torch_rounded(const Tensor& image, int64_t height, int64_t width, Resample filter) {
  if (image.scalar_type() != at::kByte || (image.size(0) == height && image.size(1) == width))
    return resize_torch(image, height, width, filter);
  Tensor x = resize_torch(image.to(at::kFloat), height, width, filter);
  if (filter == Resample::bicubic) x = x.clamp(0, 255);
  return x.round().to(at::kByte);
}

}  // namespace backplane
