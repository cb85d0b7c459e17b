#include "modeling_deepseek_v3.h"

#include "configuration_deepseek_v3.h"

namespace backplane::deepseek_v3 {

struct DeepseekV3PreTrainedModel : PreTrainedModel {
  using Config = DeepseekV3Config;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "model", .ignore_unexpected = {R"(model\.layers\.61.*)"}};
  }
};

struct DeepseekV3AttentionImpl : nn::Module {
  int64_t heads, latent, nope, rope, v_dim;
  bool interleaved;
  double scale, dropout;
  size_t layer;
  nn::Linear q_proj{nullptr}, q_a_proj{nullptr}, q_b_proj{nullptr};
  nn::RMSNorm q_a_layernorm{nullptr};
  nn::Linear kv_a_proj_with_mqa, kv_b_proj, o_proj;
  nn::RMSNorm kv_a_layernorm;

  DeepseekV3AttentionImpl(const DeepseekV3Config& c, size_t layer)
      : heads(c.num_attention_heads),
        latent(c.kv_lora_rank),
        nope(c.qk_nope_head_dim),
        rope(c.qk_rope_head_dim),
        v_dim(c.v_head_dim),
        interleaved(c.rope_interleave),
        scale(1 / std::sqrt(static_cast<double>(nope + rope))),
        dropout(c.attention_dropout),
        layer(layer),
        kv_a_proj_with_mqa(
            register_module("kv_a_proj_with_mqa", nn::Linear(c.hidden_size, latent + rope, c.attention_bias))),
        kv_b_proj(register_module("kv_b_proj", nn::Linear(latent, heads * (nope + v_dim), false))),
        o_proj(register_module("o_proj", nn::Linear(heads * v_dim, c.hidden_size, c.attention_bias))),
        kv_a_layernorm(register_module("kv_a_layernorm", nn::RMSNorm(latent, 1e-6))) {
    if (c.q_lora_rank) {
      q_a_proj = register_module("q_a_proj", nn::Linear(c.hidden_size, *c.q_lora_rank, c.attention_bias));
      q_a_layernorm = register_module("q_a_layernorm", nn::RMSNorm(*c.q_lora_rank, 1e-6));
      q_b_proj = register_module("q_b_proj", nn::Linear(*c.q_lora_rank, heads * (nope + rope), false));
    } else {
      q_proj = register_module("q_proj", nn::Linear(c.hidden_size, heads * (nope + rope), false));
    }
    // YaRN's temperature, https://arxiv.org/abs/2309.00071
    const double factor = c.rope_scaling.number_or("factor", 1), all = c.rope_scaling.number_or("mscale_all_dim", 0);
    if (all != 0 && factor > 1) scale *= std::pow(0.1 * all * std::log(factor) + 1, 2);
  }

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    const Tensor q = split_heads(q_proj ? q_proj(x) : q_b_proj(q_a_layernorm(q_a_proj(x))), heads);
    const auto compressed = kv_a_proj_with_mqa(x).split_with_sizes({latent, rope}, -1);
    const auto kv = split_heads(kv_b_proj(kv_a_layernorm(compressed[0])), heads).split_with_sizes({nope, v_dim}, -1);
    const auto rotate = interleaved ? nn::apply_rotary_interleaved : nn::apply_rotary;
    const Tensor q_rot = rotate(q.slice(-1, nope), call.cos, call.sin);
    const Tensor k_rot = rotate(compressed[1].unsqueeze(1), call.cos, call.sin);  // one for all heads
    const Tensor k = at::cat({kv[0], k_rot.expand({-1, heads, -1, -1})}, -1);
    return o_proj(merge_heads(call.attend(layer, at::cat({q.slice(-1, 0, nope), q_rot}, -1), k, kv[1],
                                          {.scale = scale, .dropout = is_training() ? dropout : 0})));
  }
};
TORCH_MODULE(DeepseekV3Attention);

struct DeepseekV3Model
    : llama::LlamaModelOf<DeepseekV3PreTrainedModel, qwen2_moe::MoeDecoderLayer<DeepseekV3Attention, DeepseekV3MoE>> {
  using LlamaModelOf::LlamaModelOf;
};

struct DeepseekV3ForCausalLM : CausalLMHead<DeepseekV3PreTrainedModel, DeepseekV3Model> {
  using CausalLMHead::CausalLMHead;
};

BACKPLANE_PLUGIN(deepseek_v3, plugin) {
  plugin.config<DeepseekV3Config>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.model<DeepseekV3Model>(Auto::Model);
  plugin.model<DeepseekV3ForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::deepseek_v3
