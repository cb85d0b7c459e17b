// OLMoE: Muennighoff et al. 2024, https://arxiv.org/abs/2409.02060
// OLMoE is LLaMA except: the MLP is a mixture of experts, all of q and all of k is normalised, and q, k and v may be
// clipped. Reference: transformers, models/olmoe/modeling_olmoe.py

#include "../qwen2_moe/modeling_qwen2_moe.h"
#include "configuration_olmoe.h"

namespace backplane::olmoe {

struct OlmoePreTrainedModel : PreTrainedModel {
  using Config = OlmoeConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct OlmoeAttentionImpl : llama::LlamaAttentionImpl {
  std::optional<double> clip;
  nn::RMSNorm q_norm, k_norm;

  OlmoeAttentionImpl(const OlmoeConfig& c, size_t layer)
      : LlamaAttentionImpl(c, layer),
        clip(c.clip_qkv),
        q_norm(register_module("q_norm", nn::RMSNorm(shape.heads * shape.head_dim, c.rms_norm_eps))),
        k_norm(register_module("k_norm", nn::RMSNorm(shape.kv_heads * shape.head_dim, c.rms_norm_eps))) {}

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    const Tensor q = split_heads(clipped(q_norm(q_proj(x))), shape.heads);
    const Tensor k = split_heads(clipped(k_norm(k_proj(x))), shape.kv_heads);
    const Tensor v = split_heads(clipped(v_proj(x)), shape.kv_heads);
    return o_proj(
        merge_heads(attend(nn::apply_rotary(q, call.cos, call.sin), nn::apply_rotary(k, call.cos, call.sin), v, call)));
  }

  Tensor clipped(const Tensor& x) const { return clip ? x.clamp(-*clip, *clip) : x; }
};
TORCH_MODULE(OlmoeAttention);

struct OlmoeSparseMoeBlockImpl : nn::SparseMoeImpl {
  explicit OlmoeSparseMoeBlockImpl(const OlmoeConfig& c)
      : SparseMoeImpl(c.hidden_size, c.intermediate_size, c.hidden_act, c.num_experts, c.num_experts_per_tok,
                      c.norm_topk_prob) {}
};
TORCH_MODULE(OlmoeSparseMoeBlock);

struct OlmoeModel
    : llama::LlamaModelOf<OlmoePreTrainedModel, qwen2_moe::MoeDecoderLayer<OlmoeAttention, OlmoeSparseMoeBlock>> {
  using LlamaModelOf::LlamaModelOf;
};

struct OlmoeForCausalLM : MoeCausalLMHead<OlmoePreTrainedModel, OlmoeModel> {
  using MoeCausalLMHead::MoeCausalLMHead;
};

BACKPLANE_PLUGIN(olmoe, plugin) {
  plugin.config<OlmoeConfig>();
  plugin.tokenizer("", "GPTNeoXTokenizerFast");
  plugin.model<OlmoeModel>(Auto::Model);
  plugin.model<OlmoeForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::olmoe
