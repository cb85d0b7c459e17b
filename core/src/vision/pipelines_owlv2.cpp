// OWLv2: a grey square around the picture, smoothed and resized as scikit-image does by scipy.ndimage.

#include <algorithm>
#include <cmath>

#include "vision/pipelines.h"

namespace backplane::pipelines {
namespace {

// The pixel that stands at `index` where the picture is mirrored at its last pixels.
int64_t mirrored(int64_t index, int64_t size) {
  if (size == 1) return 0;
  const int64_t period = 2 * (size - 1);
  index = ((index % period) + period) % period;
  return index < size ? index : period - index;
}

// Sums over one edge: output pixel i takes weights[i][k] of pixel first[i] + k. Double sums, then `finish`.
struct Taps {
  std::vector<int64_t> first;
  std::vector<std::vector<double>> weights;
};

template <class Finish>
Tensor along(const Tensor& image, int64_t dim, const Taps& taps, Finish finish) {
  const Tensor x = image.movedim(dim, 0).contiguous();
  const int64_t size = x.size(0), row = x.numel() / size, count = static_cast<int64_t>(taps.first.size());
  auto shape = x.sizes().vec();
  shape[0] = count;
  Tensor out = at::empty(shape, at::kDouble);
  const Tensor wide = x.to(at::kDouble);
  for (int64_t i = 0; i < count; ++i) {
    Tensor sum = at::zeros({row}, at::kDouble);
    const auto& weights = taps.weights[static_cast<size_t>(i)];
    for (size_t k = 0; k < weights.size(); ++k)
      sum.add_(wide[mirrored(taps.first[static_cast<size_t>(i)] + static_cast<int64_t>(k), size)].reshape({-1}),
               weights[k]);
    out[i].reshape({-1}).copy_(sum);
  }
  return finish(out).movedim(0, dim).contiguous();
}

Taps gaussian(int64_t size, double sigma) {
  const auto radius = static_cast<int64_t>(4 * sigma + 0.5);
  std::vector<double> weights;
  double sum = 0;
  for (int64_t x = -radius; x <= radius; ++x) {
    weights.push_back(std::exp(-0.5 / (sigma * sigma) * static_cast<double>(x * x)));
    sum += weights.back();
  }
  for (auto& weight : weights) weight /= sum;
  Taps taps;
  for (int64_t i = 0; i < size; ++i) {
    taps.first.push_back(i - radius);
    taps.weights.push_back(weights);
  }
  return taps;
}

Taps linear(int64_t from, int64_t to) {
  Taps taps;
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  for (int64_t i = 0; i < to; ++i) {
    const double at = scale * (static_cast<double>(i) + 0.5) - 0.5;
    const double floor = std::floor(at);
    taps.first.push_back(static_cast<int64_t>(floor));
    taps.weights.push_back({1 - (at - floor), at - floor});
  }
  return taps;
}

Tensor smooth_resize(const Tensor& image, Size size) {
  const auto dtype = image.scalar_type();
  Tensor x = image;
  for (const int64_t dim : {0, 1}) {
    const int64_t to = dim == 0 ? size.height : size.width;
    const double sigma = std::max(0.0, (static_cast<double>(x.size(dim)) / static_cast<double>(to) - 1) / 2);
    if (sigma > 1e-15)
      x = along(x, dim, gaussian(x.size(dim), sigma), [&](const Tensor& sums) { return sums.to(dtype); });
  }
  // Both edges at once in the reference, so nothing is rounded between them.
  const auto keep = [](const Tensor& sums) { return sums; };
  x = along(along(x, 0, linear(x.size(0), size.height), keep), 1, linear(x.size(1), size.width), keep);
  if (!at::isFloatingType(dtype)) x = (x + 0.5).floor();
  return x.to(dtype).clamp(image.min().item(), image.max().item());
}

}  // namespace

BatchFeature owlv2(const Call& call) {
  call.validate();
  return {{{"pixel_values", call.stack(call.map(call.flat(false), [&](const Tensor& image) {
              Tensor x = call.flag("do_rescale") ? call.rescale(image, call.number("rescale_factor")) : image;
              const int64_t edge = std::max(x.size(0), x.size(1));
              if (call.flag("do_pad"))
                x = pad_constant(x, 0, edge - x.size(0), 0, edge - x.size(1), x.is_floating_point() ? 0.5 : 0);
              if (call.flag("do_resize")) {
                const Size size = call.exact_size();
                if (size.height > 1 << 14 || size.width > 1 << 14) throw_invalid("size is larger than 16384 pixels");
                x = smooth_resize(x, size);
              }
              return call.flag("do_normalize")
                         ? call.normalize(x, call.numbers("image_mean"), call.numbers("image_std"))
                         : x;
            }))}}};
}

}  // namespace backplane::pipelines
