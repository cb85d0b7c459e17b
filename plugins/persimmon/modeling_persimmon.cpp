// Persimmon: Adept 2023, https://www.adept.ai/blog/persimmon-8b
// Pre-norm decoder with LayerNorm, heads of q and k normalised, half of each head rotated, ReLU squared, biases
// everywhere. Reference: transformers, models/persimmon/modeling_persimmon.py

#include "../llama/modeling_llama.h"
#include "configuration_persimmon.h"

namespace backplane::persimmon {

struct PersimmonPreTrainedModel : PreTrainedModel {
  using Config = PersimmonConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct PersimmonAttentionImpl : nn::Module {
  int64_t heads;
  size_t layer;
  double dropout;
  nn::Linear query_key_value, dense;
  nn::LayerNorm q_layernorm{nullptr}, k_layernorm{nullptr};

  PersimmonAttentionImpl(const PersimmonConfig& c, size_t layer)
      : heads(c.num_attention_heads),
        layer(layer),
        dropout(c.attention_dropout),
        query_key_value(register_module("query_key_value", nn::Linear(c.hidden_size, 3 * c.hidden_size))),
        dense(register_module("dense", nn::Linear(c.hidden_size, c.hidden_size))) {
    if (!c.qk_layernorm) return;
    q_layernorm = register_module("q_layernorm", nn::LayerNorm(c.hidden_size / heads, c.layer_norm_eps));
    k_layernorm = register_module("k_layernorm", nn::LayerNorm(c.hidden_size / heads, c.layer_norm_eps));
  }

  // x [batch, seq, hidden] -> its shape. Rows of the fused matrix go head by head: q, k, v of the first, and so on.
  Tensor forward(const Tensor& x, DecoderCall& call) {
    const Tensor qkv = query_key_value(x).view({x.size(0), x.size(1), heads, 3, -1}).transpose(1, 2);
    Tensor q = qkv.select(3, 0), k = qkv.select(3, 1);  // [batch, heads, seq, head_dim]
    if (q_layernorm) q = q_layernorm(q), k = k_layernorm(k);
    q = nn::apply_rotary(q, call.cos, call.sin);
    k = nn::apply_rotary(k, call.cos, call.sin);
    return dense(merge_heads(call.attend(layer, q, k, qkv.select(3, 2), {.dropout = is_training() ? dropout : 0})));
  }
};
TORCH_MODULE(PersimmonAttention);

struct PersimmonMLPImpl : nn::Module {
  nn::Linear dense_h_to_4h, dense_4h_to_h;
  Activation act;

  explicit PersimmonMLPImpl(const PersimmonConfig& c)
      : dense_h_to_4h(register_module("dense_h_to_4h", nn::Linear(c.hidden_size, c.intermediate_size))),
        dense_4h_to_h(register_module("dense_4h_to_h", nn::Linear(c.intermediate_size, c.hidden_size))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return dense_4h_to_h(act(dense_h_to_4h(x))); }
};
TORCH_MODULE(PersimmonMLP);

struct PersimmonDecoderLayerImpl : nn::Module {
  PersimmonAttention self_attn;
  PersimmonMLP mlp;
  nn::LayerNorm input_layernorm, post_attention_layernorm;
  nn::Dropout dropout;

  PersimmonDecoderLayerImpl(const PersimmonConfig& c, size_t layer)
      : self_attn(register_module("self_attn", PersimmonAttention(c, layer))),
        mlp(register_module("mlp", PersimmonMLP(c))),
        input_layernorm(register_module("input_layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout))) {}

  Tensor forward(Tensor x, DecoderCall& call) {
    x = x + self_attn(input_layernorm(x), call);
    return x + dropout(mlp(post_attention_layernorm(x)));
  }
};
TORCH_MODULE(PersimmonDecoderLayer);

struct PersimmonModel : llama::LlamaModelOf<PersimmonPreTrainedModel, PersimmonDecoderLayer, nn::LayerNorm> {
  explicit PersimmonModel(const PersimmonConfig& c) : LlamaModelOf(c, "final_layernorm") {}
};

struct PersimmonForCausalLM : CausalLMHead<PersimmonPreTrainedModel, PersimmonModel> {
  using CausalLMHead::CausalLMHead;
};
struct PersimmonForSequenceClassification : SequenceClassificationHead<PersimmonPreTrainedModel, PersimmonModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct PersimmonForTokenClassification : TokenClassificationHead<PersimmonPreTrainedModel, PersimmonModel> {
  using TokenClassificationHead::TokenClassificationHead;
};

BACKPLANE_PLUGIN(persimmon, plugin) {
  plugin.config<PersimmonConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.model<PersimmonModel>(Auto::Model);
  plugin.model<PersimmonForCausalLM>(Auto::ForCausalLM);
  plugin.model<PersimmonForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<PersimmonForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::persimmon
