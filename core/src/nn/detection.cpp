#include "backplane/nn/detection.h"

namespace backplane {

Tensor sine_positions(const Tensor& mask, const SinePositions& options) {
  Tensor y = mask.cumsum(1, at::kFloat), x = mask.cumsum(2, at::kFloat);
  if (options.scale != 0) {
    y = y / (y.slice(1, -1) + 1e-6) * options.scale;
    x = x / (x.slice(2, -1) + 1e-6) * options.scale;
  }
  const Tensor place = at::arange(options.features, at::kLong);
  const Tensor exponent = (2 * at::floor_divide(place, 2)).to(at::kFloat) / static_cast<double>(options.features);
  const Tensor wave = at::pow(options.temperature, exponent);
  const auto waves = [&](const Tensor& position) {
    const Tensor angle = position.unsqueeze(-1) / wave;  // [batch, height, width, features]
    return at::stack({angle.slice(3, 0, std::nullopt, 2).sin(), angle.slice(3, 1, std::nullopt, 2).cos()}, 4)
        .flatten(3);
  };
  return at::cat({waves(y), waves(x)}, 3).permute({0, 3, 1, 2});
}

Tensor resize_mask(const Tensor& mask, int64_t height, int64_t width) {
  return at::upsample_nearest2d(mask.unsqueeze(0).to(at::kFloat), {height, width})[0].to(at::kBool);
}

Tensor inverse_sigmoid(const Tensor& x, double eps) {
  const Tensor inside = x.clamp(0, 1);
  return at::log(inside.clamp_min(eps) / (1 - inside).clamp_min(eps));
}

namespace nn {

MlpHeadImpl::MlpHeadImpl(int64_t in_features, int64_t hidden, int64_t out_features, int64_t count)
    : layers(register_module("layers", Layers<Linear>(count, [&](int64_t i) {
                               return Linear(i ? hidden : in_features, i + 1 < count ? hidden : out_features);
                             }))) {}

Tensor MlpHeadImpl::forward(Tensor x) {
  for (size_t i = 0; i < layers->size(); ++i) {
    x = (*layers)[i](x);
    if (i + 1 < layers->size()) x = at::relu(x);
  }
  return x;
}

LearnedPositionsImpl::LearnedPositionsImpl(int64_t features)
    : row_embeddings(register_module("row_embeddings", Embedding(50, features))),
      column_embeddings(register_module("column_embeddings", Embedding(50, features))) {}

Tensor LearnedPositionsImpl::forward(int64_t batch, int64_t height, int64_t width) {
  const Tensor columns = column_embeddings(at::arange(width)).unsqueeze(0).expand({height, -1, -1}),
               rows = row_embeddings(at::arange(height)).unsqueeze(1).expand({-1, width, -1});
  return at::cat({columns, rows}, 2).permute({2, 0, 1}).unsqueeze(0).expand({batch, -1, -1, -1});
}

}  // namespace nn
}  // namespace backplane
