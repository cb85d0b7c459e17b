#pragma once

#include <optional>
#include <string>
#include <utility>

#include "backplane/config/value.h"
#include "backplane/nn/module.h"

namespace backplane::nn {

/// What the rotary embeddings of a config depend on. `scaling` is the config's rope_scaling: null or an object whose
/// rope_type (or older "type") is default, linear, dynamic, yarn, longrope or llama3.
struct RotaryOptions {
  int64_t dim;
  double theta = 10000;
  int64_t max_position_embeddings = 2048;
  Value scaling = {};
  std::optional<int64_t> original_max_position_embeddings = {};  // where the config itself has one
};

/// Rotary position embeddings. Su et al. 2021, https://arxiv.org/abs/2104.09864; scaled variants: position
/// interpolation https://arxiv.org/abs/2306.15595, YaRN https://arxiv.org/abs/2309.00071, LongRoPE
/// https://arxiv.org/abs/2402.13753. Has no parameters. Frequencies of the dynamic variants follow from the positions
/// of each call alone: nothing is kept between calls.
class RotaryEmbedding {
 public:
  /// Throws `bad_config` for an unknown rope_type or a missing key of rope_scaling.
  explicit RotaryEmbedding(const RotaryOptions& options);

  /// position_ids [batch, seq] -> cos, sin [batch, seq, dim / 2], in float32 and already scaled.
  std::pair<Tensor, Tensor> forward(const Tensor& position_ids) const;

 private:
  std::pair<Tensor, double> frequencies(std::optional<int64_t> seq_len) const;

  RotaryOptions options_;
  std::string type_;
  Tensor inv_freq_;  // [dim / 2]
  double attention_scaling_ = 1;
};

/// Rotates the first 2 * cos.size(-1) numbers of each head, its first half against its second.
/// x [batch, heads, seq, d], cos and sin [batch, seq, dim / 2] -> x's shape and dtype.
Tensor apply_rotary(const Tensor& x, const Tensor& cos, const Tensor& sin);
/// The same with neighbours as pairs: number 2i against number 2i + 1.
Tensor apply_rotary_interleaved(const Tensor& x, const Tensor& cos, const Tensor& sin);

}  // namespace backplane::nn
