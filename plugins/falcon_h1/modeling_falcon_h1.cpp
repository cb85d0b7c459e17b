// Falcon-H1: Falcon LLM Team 2025, https://huggingface.co/blog/tiiuae/falcon-h1
// Each layer runs Mamba-2 and attention side by side, then an MLP; many places are scaled by numbers of the
// configuration (muP, https://arxiv.org/abs/2203.03466). Reference: transformers,
// models/falcon_h1/modeling_falcon_h1.py

#include "../llama/modeling_llama.h"
#include "../mamba2/modeling_mamba2.h"
#include "configuration_falcon_h1.h"

namespace backplane::falcon_h1 {

struct FalconH1PreTrainedModel : PreTrainedModel {
  using Config = FalconH1Config;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

// RMSNorm over groups, in float32, with the gate behind or before it.
struct FalconH1RMSNormGatedImpl : nn::RMSNormImpl {
  int64_t groups;
  bool before_gate;

  FalconH1RMSNormGatedImpl(int64_t size, double eps, int64_t groups, bool before_gate)
      : RMSNormImpl(size, eps), groups(groups), before_gate(before_gate) {}

  Tensor forward(const Tensor& x, const Tensor& gate) const {
    const Tensor opened = at::silu(gate.to(at::kFloat)), wide = x.to(at::kFloat);
    const Tensor h = (before_gate ? wide : wide * opened).unflatten(-1, {groups, -1});
    const Tensor normed = (h * at::rsqrt(h.square().mean(-1, true) + eps)).flatten(-2) * weight;
    return (before_gate ? normed * opened : normed).to(x.scalar_type());
  }
};
TORCH_MODULE(FalconH1RMSNormGated);

struct FalconH1MixerImpl : mamba2::Mamba2MixerBase {
  double in_multiplier;
  Tensor mup_vector;  // [inner + channels + heads]: gate, x, B, C, dt
  FalconH1RMSNormGated norm{nullptr};

  FalconH1MixerImpl(const FalconH1Config& c, size_t layer)
      : Mamba2MixerBase({.hidden_size = c.hidden_size,
                         .inner = c.inner(),
                         .heads = c.mamba_n_heads,
                         .head_dim = c.mamba_d_head.as_int(),
                         .groups = c.mamba_n_groups,
                         .n = c.mamba_d_state,
                         .kernel = c.mamba_d_conv,
                         .conv_bias = c.mamba_conv_bias,
                         .in_bias = c.mamba_proj_bias,
                         .out_bias = c.projectors_bias,
                         .act = c.hidden_act},
                        layer),
        in_multiplier(*c.ssm_in_multiplier) {
    const auto& m = *c.ssm_multipliers;
    const int64_t sizes[] = {shape.inner, shape.inner, shape.groups * shape.n, shape.groups * shape.n, shape.heads};
    std::vector<Tensor> parts;
    for (size_t i = 0; i < m.size(); ++i) parts.push_back(at::full({sizes[i]}, m[i], at::kFloat));
    mup_vector = at::cat(parts);
    if (c.mamba_rms_norm) {
      norm = register_module("norm",
                             FalconH1RMSNormGated(shape.inner, c.rms_norm_eps, shape.groups, c.mamba_norm_before_gate));
    }
  }

  Tensor project(const Tensor& x) override { return in_proj(x * in_multiplier) * mup_vector.to(x.scalar_type()); }
  Tensor gated(const Tensor& y, const Tensor& gate) override { return norm ? norm(y, gate) : y * at::silu(gate); }
};
TORCH_MODULE(FalconH1Mixer);

struct FalconH1AttentionImpl : llama::LlamaAttentionImpl {
  double key_multiplier;

  FalconH1AttentionImpl(const FalconH1Config& c, size_t layer)
      : LlamaAttentionImpl(c, layer), key_multiplier(*c.key_multiplier) {}

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    const Tensor q = nn::apply_rotary(split_heads(q_proj(x), shape.heads), call.cos, call.sin);
    const Tensor k = nn::apply_rotary(split_heads(k_proj(x), shape.kv_heads) * key_multiplier, call.cos, call.sin);
    return o_proj(merge_heads(attend(q, k, split_heads(v_proj(x), shape.kv_heads), call)));
  }
};
TORCH_MODULE(FalconH1Attention);

struct FalconH1MLPImpl : nn::GatedMlpImpl {
  double gate_multiplier, down_multiplier;

  explicit FalconH1MLPImpl(const FalconH1Config& c)
      : GatedMlpImpl(c.hidden_size, c.intermediate_size, c.hidden_act, c.mlp_bias),
        gate_multiplier(c.mlp_multipliers->at(0)),
        down_multiplier(c.mlp_multipliers->at(1)) {}

  Tensor forward(const Tensor& x) {
    return down_proj(up_proj(x) * act(gate_proj(x) * gate_multiplier)) * down_multiplier;
  }
};
TORCH_MODULE(FalconH1MLP);

struct FalconH1DecoderLayerImpl : nn::Module {
  double attention_in, attention_out, ssm_out;
  FalconH1MLP feed_forward;
  FalconH1Mixer mamba;
  FalconH1Attention self_attn;
  nn::RMSNorm input_layernorm, pre_ff_layernorm;

  FalconH1DecoderLayerImpl(const FalconH1Config& c, size_t layer)
      : attention_in(*c.attention_in_multiplier),
        attention_out(*c.attention_out_multiplier),
        ssm_out(*c.ssm_out_multiplier),
        feed_forward(register_module("feed_forward", FalconH1MLP(c))),
        mamba(register_module("mamba", FalconH1Mixer(c, layer))),
        self_attn(register_module("self_attn", FalconH1Attention(c, layer))),
        input_layernorm(register_module("input_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        pre_ff_layernorm(register_module("pre_ff_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  Tensor forward(Tensor x, DecoderCall& call) {
    const Tensor h = input_layernorm(x), padding = mamba2::mask_of(call.padding());
    const Tensor states = mamba->forward(h, {padding.defined() ? padding.unsqueeze(2) : padding, call.cache}) * ssm_out;
    x = x + states + self_attn(h * attention_in, call) * attention_out;
    return x + feed_forward(pre_ff_layernorm(x));
  }
};
TORCH_MODULE(FalconH1DecoderLayer);

struct FalconH1Model : FalconH1PreTrainedModel {
  const FalconH1Config& c;
  nn::RotaryEmbedding rotary;
  nn::Embedding embed_tokens;
  nn::Layers<FalconH1DecoderLayer> layers;
  nn::RMSNorm final_layernorm;

  explicit FalconH1Model(const FalconH1Config& config)
      : FalconH1PreTrainedModel(config),
        c(config),
        rotary(rotary_options(c, head_dim_of(c))),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        layers(register_module(
            "layers",
            nn::Layers<FalconH1DecoderLayer>(
                c.num_hidden_layers, [&](int64_t i) { return FalconH1DecoderLayer(c, static_cast<size_t>(i)); }))),
        final_layernorm(register_module("final_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  nn::Embedding get_input_embeddings() override { return embed_tokens; }
  std::span<const std::string_view> arguments() const override { return kDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    DecoderCall call(inputs, c, c.use_cache, embed_tokens);
    std::tie(call.cos, call.sin) = rotary.forward(call.positions);
    // Embeddings given are scaled already.
    Tensor x = inputs.contains("inputs_embeds") ? call.x : call.x * c.embedding_multiplier;
    for (auto& layer : *layers) {
      call.see(x);
      x = layer(x, call);
    }
    return call.finish(final_layernorm(x));
  }
};

struct FalconH1ForCausalLM : CausalLMHead<FalconH1PreTrainedModel, FalconH1Model> {
  using CausalLMHead::CausalLMHead;
  Tensor scores(const Tensor& x) override { return lm_head(x) * base->c.lm_head_multiplier; }
};

BACKPLANE_PLUGIN(falcon_h1, plugin) {
  plugin.config<FalconH1Config>();
  plugin.model<FalconH1Model>(Auto::Model);
  plugin.model<FalconH1ForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::falcon_h1
