#pragma once

// Mamba-2: Dao and Gu 2024, https://arxiv.org/abs/2405.21060
// Mamba-2 is Mamba except: the state-space model has heads with one decay each, groups of them share B and C, the
// convolution covers these too, and the gate goes into a norm. The scan runs step by step, not in chunks: chunk_size
// changes nothing. Reference: transformers, models/mamba2/modeling_mamba2.py

#include "../mamba/modeling_mamba.h"

namespace backplane::mamba2 {

using mamba::Pass;

struct Mamba2Shape {
  int64_t hidden_size, inner, heads, head_dim, groups, n, kernel;
  bool conv_bias = true, in_bias = false, out_bias = false;
  double dt_min = 0, dt_max = std::numeric_limits<double>::infinity();
  std::string act = "silu";
};

// All but what the gate does, which a derived mixer says.
struct Mamba2MixerBase : nn::Module {
  Mamba2Shape shape;
  size_t layer;
  nn::Conv1d conv1d;
  nn::Linear in_proj, out_proj;
  Tensor dt_bias, A_log, D;  // [heads]
  Activation act;

  Mamba2MixerBase(const Mamba2Shape& s, size_t layer)
      : shape(s),
        layer(layer),
        conv1d(
            register_module("conv1d", nn::Conv1d(channels(), channels(), s.kernel,
                                                 nn::ConvOptions<1>{.groups = channels(), .with_bias = s.conv_bias}))),
        in_proj(register_module("in_proj", nn::Linear(s.hidden_size, s.inner + channels() + s.heads, s.in_bias))),
        out_proj(register_module("out_proj", nn::Linear(s.inner, s.hidden_size, s.out_bias))),
        dt_bias(register_parameter("dt_bias", nn::uninitialised({s.heads}))),
        A_log(register_parameter("A_log", nn::uninitialised({s.heads}))),
        D(register_parameter("D", nn::uninitialised({s.heads}))),
        act(activation(s.act)) {}

  // What the convolution sees: x, B and C.
  int64_t channels() const { return shape.inner + 2 * shape.groups * shape.n; }

  // x [batch, seq, hidden] -> gate, x B C and dt beside each other
  virtual Tensor project(const Tensor& x) { return in_proj(x); }
  // y [batch, seq, inner] in float32
  virtual Tensor gated(const Tensor& y, const Tensor& gate) = 0;

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, const Pass& pass) {
    const auto& s = shape;
    const auto parts =
        project(pass.mask.defined() ? x * pass.mask : x).split_with_sizes({s.inner, channels(), s.heads}, -1);
    Tensor* const conv_state = pass.cache ? &pass.cache->state(layer, 0) : nullptr;
    Tensor* const ssm_state = pass.cache ? &pass.cache->state(layer, 1) : nullptr;
    Tensor u = act(causal_conv1d(parts[1].transpose(1, 2), conv1d->weight, conv1d->bias, conv_state)).transpose(1, 2);
    if (pass.mask.defined()) u = u * pass.mask;
    const auto xBC = u.split_with_sizes({s.inner, s.groups * s.n, s.groups * s.n}, -1);
    const Tensor dt = at::softplus(parts[2] + dt_bias).clamp(s.dt_min, s.dt_max), A = -at::exp(A_log.to(at::kFloat));
    const Tensor per_head = xBC[0].unflatten(-1, {s.heads, s.head_dim});
    const Tensor y = state_space_scan(per_head, dt, A, xBC[1].unflatten(-1, {s.groups, s.n}),
                                      xBC[2].unflatten(-1, {s.groups, s.n}), ssm_state) +
                     per_head * D.unsqueeze(1);
    return out_proj(gated(y.flatten(2), parts[0]).to(x.scalar_type()));
  }
};

// The gate goes into a norm over all, or over groups.
struct NormedMixerImpl : Mamba2MixerBase {
  nn::GatedRMSNorm norm;

  NormedMixerImpl(const Mamba2Shape& s, double eps, size_t layer, int64_t group_size = 0)
      : Mamba2MixerBase(s, layer), norm(register_module("norm", nn::GatedRMSNorm(s.inner, eps, group_size))) {}

  Tensor gated(const Tensor& y, const Tensor& gate) override { return norm(y, gate); }
};
TORCH_MODULE(NormedMixer);

// The reference masks padding only where there are several rows and several tokens.
inline Tensor mask_of(const Tensor& attention_mask) {
  return attention_mask.defined() && attention_mask.size(0) > 1 && attention_mask.size(1) > 1 ? attention_mask
                                                                                              : Tensor();
}

}  // namespace backplane::mamba2
