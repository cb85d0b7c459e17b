#pragma once

#include "backplane/nn/layers.h"
#include "backplane/nn/module.h"

// What detectors share. Functions are thread-safe; modules as in layers.h.
namespace backplane {

struct SinePositions {
  int64_t features;                  // a direction
  double temperature = 10000;        // of the frequencies
  double scale = 6.283185307179586;  // positions run from 0 to it; 0: they count pixels
};

/// Sine and cosine positions of the pixels that count: mask [batch, height, width], 1 where a pixel counts ->
/// [batch, 2 * features, height, width], rows first. Carion et al. 2020, https://arxiv.org/abs/2005.12872.
Tensor sine_positions(const Tensor& mask, const SinePositions& options);

/// mask [batch, h, w] at another size, by its nearest pixels: [batch, height, width], bool.
Tensor resize_mask(const Tensor& mask, int64_t height, int64_t width);

/// log(x / (1 - x)), x kept off 0 and 1 by eps.
Tensor inverse_sigmoid(const Tensor& x, double eps = 1e-5);

namespace nn {

/// Linear maps with relu between them: in -> hidden -> … -> out, `count` of them, under "layers.0", ….
class MlpHeadImpl : public Module {
 public:
  MlpHeadImpl(int64_t in_features, int64_t hidden, int64_t out_features, int64_t count);
  Tensor forward(Tensor x);

  Layers<Linear> layers;
};
TORCH_MODULE(MlpHead);

/// Learned positions of rows and columns, 50 of each.
class LearnedPositionsImpl : public Module {
 public:
  explicit LearnedPositionsImpl(int64_t features);
  /// -> [batch, 2 * features, height, width], columns first.
  Tensor forward(int64_t batch, int64_t height, int64_t width);

  Embedding row_embeddings, column_embeddings;
};
TORCH_MODULE(LearnedPositions);

}  // namespace nn
}  // namespace backplane
