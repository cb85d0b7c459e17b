#pragma once

#include "backplane/nn/layers.h"

// Sinusoidal positions, Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, in the two layouts that checkpoints
// have.
namespace backplane::nn {

/// Sines in the first half of a row, cosines in the second, of position / 10000^(2i / dim): [positions, dim].
Tensor sinusoidal_table(int64_t positions, int64_t dim);

/// As fairseq: frequencies reach 1 / 10000 exactly; the row `padding_idx` is zero: [positions, dim].
Tensor fairseq_sinusoidal_table(int64_t positions, int64_t dim, std::optional<int64_t> padding_idx);

/// Positions from padding_idx + 1 on for the ids that are no padding, padding_idx for those that are. ids [batch, seq];
/// `past` positions came before.
Tensor positions_past_padding(const Tensor& ids, int64_t padding_idx, int64_t past = 0);

/// sinusoidal_table as `weight`, which a checkpoint may hold and need not.
class SinusoidalEmbeddingImpl : public Module {
 public:
  SinusoidalEmbeddingImpl(int64_t positions, int64_t dim);
  /// positions [...] int64 -> [..., dim]. Throws `invalid_value` for a position outside of the table.
  Tensor forward(const Tensor& positions) const;

  Tensor weight;
};
TORCH_MODULE(SinusoidalEmbedding);

/// fairseq_sinusoidal_table behind a pad id, in no checkpoint; it grows as sequences do.
class FairseqSinusoids {
 public:
  FairseqSinusoids(int64_t dim, int64_t padding_idx) : dim_(dim), padding_idx_(padding_idx) {}
  /// positions [batch, seq], padding_idx for padding -> [batch, seq, dim] of the dtype.
  Tensor forward(const Tensor& positions, at::ScalarType dtype) const;

 private:
  int64_t dim_, padding_idx_;
};

}  // namespace backplane::nn
