// OLMo 2: OLMo Team 2024, https://arxiv.org/abs/2501.00656
// OLMo 2 is LLaMA except: norms stand behind attention and MLP instead of before, and all of q and all of k is
// normalised. Reference: transformers, models/olmo2/modeling_olmo2.py

#include "../llama/modeling_llama.h"
#include "configuration_olmo2.h"

namespace backplane::olmo2 {

struct Olmo2PreTrainedModel : PreTrainedModel {
  using Config = Olmo2Config;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct Olmo2AttentionImpl : llama::LlamaAttentionImpl {
  nn::RMSNorm q_norm, k_norm;

  Olmo2AttentionImpl(const Olmo2Config& c, size_t layer)
      : LlamaAttentionImpl(c, layer),
        q_norm(register_module("q_norm", nn::RMSNorm(shape.heads * shape.head_dim, c.rms_norm_eps))),
        k_norm(register_module("k_norm", nn::RMSNorm(shape.kv_heads * shape.head_dim, c.rms_norm_eps))) {}

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    const Tensor q = split_heads(q_norm(q_proj(x)), shape.heads), k = split_heads(k_norm(k_proj(x)), shape.kv_heads);
    const Tensor v = split_heads(v_proj(x), shape.kv_heads);
    return o_proj(
        merge_heads(attend(nn::apply_rotary(q, call.cos, call.sin), nn::apply_rotary(k, call.cos, call.sin), v, call)));
  }
};
TORCH_MODULE(Olmo2Attention);

struct Olmo2DecoderLayerImpl : nn::Module {
  Olmo2Attention self_attn;
  nn::GatedMlp mlp;
  nn::RMSNorm post_attention_layernorm, post_feedforward_layernorm;

  Olmo2DecoderLayerImpl(const Olmo2Config& c, size_t layer)
      : self_attn(register_module("self_attn", Olmo2Attention(c, layer))),
        mlp(register_module("mlp", nn::GatedMlp(c))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_feedforward_layernorm(
            register_module("post_feedforward_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  Tensor forward(Tensor x, DecoderCall& call) {
    x = x + post_attention_layernorm(self_attn(x, call));
    return x + post_feedforward_layernorm(mlp(x));
  }
};
TORCH_MODULE(Olmo2DecoderLayer);

struct Olmo2Model : llama::LlamaModelOf<Olmo2PreTrainedModel, Olmo2DecoderLayer> {
  using LlamaModelOf::LlamaModelOf;
};

struct Olmo2ForCausalLM : CausalLMHead<Olmo2PreTrainedModel, Olmo2Model> {
  using CausalLMHead::CausalLMHead;
};

BACKPLANE_PLUGIN(olmo2, plugin) {
  plugin.config<Olmo2Config>();
  plugin.tokenizer("", "GPTNeoXTokenizerFast");
  plugin.model<Olmo2Model>(Auto::Model);
  plugin.model<Olmo2ForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::olmo2
