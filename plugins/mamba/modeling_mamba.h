#pragma once

// Mamba: Gu and Dao 2023, https://arxiv.org/abs/2312.00752
// Layers of one block each: a gated, convolved input runs through a state-space model whose step size, input and output
// depend on the token. No attention, no positions. Reference: transformers, models/mamba/modeling_mamba.py

#include <backplane/model/heads.h>
#include <backplane/nn/state_space.h>
#include <backplane/nn/uninitialised.h>

#include "configuration_mamba.h"

namespace backplane::mamba {

// What every layer of one call shares. A layer keeps its last inputs (state 0) and its h (state 1).
struct Pass {
  Tensor mask;  // [batch, seq, 1] of 0 and 1, or undefined
  KvCachePtr cache;
};

struct MambaShape {
  int64_t hidden_size, inner, n, rank, kernel;
  bool proj_bias = false, conv_bias = true;
  std::string act = "silu";
};

struct MambaMixerImpl : nn::Module {
  int64_t rank, n;
  size_t layer;
  nn::Conv1d conv1d;
  nn::Linear in_proj, x_proj, dt_proj, out_proj;
  Tensor A_log;  // [intermediate, n]
  Tensor D;      // [intermediate]
  Activation act;

  MambaMixerImpl(const MambaShape& s, size_t layer)
      : rank(s.rank),
        n(s.n),
        layer(layer),
        conv1d(register_module("conv1d", nn::Conv1d(s.inner, s.inner, s.kernel,
                                                    nn::ConvOptions<1>{.groups = s.inner, .with_bias = s.conv_bias}))),
        in_proj(register_module("in_proj", nn::Linear(s.hidden_size, 2 * s.inner, s.proj_bias))),
        x_proj(register_module("x_proj", nn::Linear(s.inner, rank + 2 * n, false))),
        dt_proj(register_module("dt_proj", nn::Linear(rank, s.inner))),
        out_proj(register_module("out_proj", nn::Linear(s.inner, s.hidden_size, s.proj_bias))),
        A_log(register_parameter("A_log", nn::uninitialised({s.inner, n}))),
        D(register_parameter("D", nn::uninitialised({s.inner}))),
        act(activation(s.act)) {}

  template <class Config>
  MambaMixerImpl(const Config& c, size_t layer)
      : MambaMixerImpl(MambaShape{.hidden_size = c.hidden_size,
                                  .inner = c.intermediate_size,
                                  .n = c.state_size,
                                  .rank = c.rank(),
                                  .kernel = c.conv_kernel,
                                  .proj_bias = c.use_bias,
                                  .conv_bias = c.use_conv_bias,
                                  .act = c.hidden_act},
                       layer) {}

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, const Pass& pass) {
    const auto halves = in_proj(x).chunk(2, -1);
    Tensor* const conv_state = pass.cache ? &pass.cache->state(layer, 0) : nullptr;
    Tensor* const ssm_state = pass.cache ? &pass.cache->state(layer, 1) : nullptr;
    Tensor u = pass.mask.defined() ? halves[0] * pass.mask : halves[0];
    u = act(causal_conv1d(u.transpose(1, 2), conv1d->weight, conv1d->bias, conv_state)).transpose(1, 2);
    if (pass.mask.defined()) u = u * pass.mask;
    const auto parts = selection(x_proj(u).split_with_sizes({rank, n, n}, -1));
    const Tensor dt = at::softplus(dt_proj(parts[0])), A = -at::exp(A_log.to(at::kFloat));
    const Tensor y = selective_scan(u, dt, A, parts[1], parts[2], ssm_state) + u * D;
    return out_proj(y * act(halves[1]));
  }

  // Time step, B and C as x_proj gives them.
  virtual std::vector<Tensor> selection(std::vector<Tensor> parts) { return parts; }
};
TORCH_MODULE(MambaMixer);

template <class Mixer>
struct MambaBlockImpl : nn::Module {
  bool residual_in_fp32;
  nn::RMSNorm norm;
  Mixer mixer;

  template <class Config>
  MambaBlockImpl(const Config& c, size_t layer)
      : residual_in_fp32(c.residual_in_fp32),
        norm(register_module("norm", nn::RMSNorm(c.hidden_size, c.layer_norm_epsilon))),
        mixer(register_module("mixer", Mixer(c, layer))) {}

  Tensor forward(const Tensor& x, const Pass& pass) {
    const Tensor h = mixer(norm(x.to(norm->weight.scalar_type())), pass);
    return (residual_in_fp32 ? x.to(at::kFloat) : x) + h;
  }
};
template <class Mixer>
struct MambaBlock : nn::ModuleHolder<MambaBlockImpl<Mixer>> {
  using nn::ModuleHolder<MambaBlockImpl<Mixer>>::ModuleHolder;
};

inline constexpr std::array<std::string_view, 7> kArguments = {
    "input_ids",      "inputs_embeds", "cache_params", "use_cache", "output_hidden_states",
    "cache_position", "attention_mask"};

// The base model over any mixer.
template <class PreTrained, class Mixer>
struct MambaModelOf : PreTrained {
  using Config = typename PreTrained::Config;

  const Config& c;
  nn::Embedding embeddings;
  nn::Layers<MambaBlock<Mixer>> layers;
  nn::RMSNorm norm_f;

  explicit MambaModelOf(const Config& config)
      : PreTrained(config),
        c(config),
        embeddings(this->register_module("embeddings", nn::Embedding(c.vocab_size, c.hidden_size))),
        layers(this->register_module(
            "layers",
            nn::Layers<MambaBlock<Mixer>>(c.num_hidden_layers,
                                          [&](int64_t i) { return MambaBlock<Mixer>(c, static_cast<size_t>(i)); }))),
        norm_f(this->register_module("norm_f", nn::RMSNorm(c.hidden_size, c.layer_norm_epsilon))) {}

  nn::Embedding get_input_embeddings() override { return embeddings; }
  std::span<const std::string_view> arguments() const override { return kArguments; }

  // The mask of the new tokens as the mixers use it.
  virtual Tensor mask_of(const Tensor& attention_mask) const { return attention_mask; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor ids = inputs.tensor("input_ids");
    Tensor x = inputs.tensor("inputs_embeds");
    if (ids.defined() == x.defined()) throw Error(ErrorCode::invalid_value, "give either input_ids or inputs_embeds");
    if (ids.defined()) x = embeddings(ids);
    Pass pass;
    const bool use_cache = inputs.flag("use_cache", c.use_cache && !this->is_training());
    if (use_cache) pass.cache = inputs.cache("cache_params");
    if (use_cache && !pass.cache) pass.cache = std::make_shared<KvCache>();
    // A mask is of the prompt: what is generated has no padding.
    Tensor mask = inputs.tensor("attention_mask");
    if (mask.defined() && mask.size(1) == x.size(1))
      mask = mask_of(mask);
    else
      mask = Tensor();
    if (mask.defined()) pass.mask = mask.unsqueeze(2).to(x.scalar_type());

    std::vector<Tensor> hidden_states;
    const bool keep = inputs.flag("output_hidden_states", c.output_hidden_states);
    for (auto& layer : *layers) {
      x = layer(x, pass);
      if (keep) hidden_states.push_back(x);
    }
    x = norm_f(x.to(norm_f->weight.scalar_type()));
    if (keep) hidden_states.push_back(x);
    if (pass.cache) pass.cache->advance(inputs_length(inputs));
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("cache_params", pass.cache);
    output.set("hidden_states", hidden_states);
    return output;
  }

 private:
  static int64_t inputs_length(const ModelInputs& inputs) {
    const Tensor ids = inputs.tensor("input_ids");
    return ids.defined() ? ids.size(1) : inputs["inputs_embeds"].size(1);
  }
};

// Logits in float32, as the reference gives them.
template <class PreTrained, class Model>
struct MambaCausalLMHead : CausalLMHead<PreTrained, Model> {
  using CausalLMHead<PreTrained, Model>::CausalLMHead;
  Tensor scores(const Tensor& x) override { return this->lm_head(x).to(at::kFloat); }
};

}  // namespace backplane::mamba
