// BitNet b1.58: Ma et al. 2025, https://arxiv.org/abs/2504.12285
// BitNet is LLaMA except: a norm stands before the output projection of attention and before that of the MLP.
// Reference: transformers, models/bitnet/modeling_bitnet.py

#include "../llama/modeling_llama.h"
#include "configuration_bitnet.h"

namespace backplane::bitnet {

struct BitNetPreTrainedModel : PreTrainedModel {
  using Config = BitNetConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct BitNetAttentionImpl : llama::LlamaAttentionImpl {
  nn::RMSNorm attn_sub_norm;

  BitNetAttentionImpl(const BitNetConfig& c, size_t layer)
      : LlamaAttentionImpl(c, layer),
        attn_sub_norm(register_module("attn_sub_norm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    const Tensor q = nn::apply_rotary(split_heads(q_proj(x), shape.heads), call.cos, call.sin);
    const Tensor k = nn::apply_rotary(split_heads(k_proj(x), shape.kv_heads), call.cos, call.sin);
    return o_proj(attn_sub_norm(merge_heads(attend(q, k, split_heads(v_proj(x), shape.kv_heads), call))));
  }
};
TORCH_MODULE(BitNetAttention);

struct BitNetMLPImpl : nn::GatedMlpImpl {
  nn::RMSNorm ffn_sub_norm;

  explicit BitNetMLPImpl(const BitNetConfig& c)
      : GatedMlpImpl(c),
        ffn_sub_norm(register_module("ffn_sub_norm", nn::RMSNorm(c.intermediate_size, c.rms_norm_eps))) {}

  Tensor forward(const Tensor& x) { return down_proj(ffn_sub_norm(act(gate_proj(x)) * up_proj(x))); }
};
TORCH_MODULE(BitNetMLP);

struct BitNetModel : llama::LlamaModelOf<BitNetPreTrainedModel, llama::LlamaDecoderLayer<BitNetAttention, BitNetMLP>> {
  using LlamaModelOf::LlamaModelOf;
};

struct BitNetForCausalLM : CausalLMHead<BitNetPreTrainedModel, BitNetModel> {
  using CausalLMHead::CausalLMHead;
};

BACKPLANE_PLUGIN(bitnet, plugin) {
  plugin.config<BitNetConfig>();
  plugin.tokenizer("", "PreTrainedTokenizerFast");
  plugin.model<BitNetModel>(Auto::Model);
  plugin.model<BitNetForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::bitnet
