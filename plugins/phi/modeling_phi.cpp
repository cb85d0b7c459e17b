// Phi-2: Li et al. 2023, https://arxiv.org/abs/2309.05463
// Decoder whose attention and MLP run side by side behind one LayerNorm; part of each head is rotated, biases
// everywhere. Reference: transformers, models/phi/modeling_phi.py

#include "../llama/modeling_llama.h"
#include "configuration_phi.h"

namespace backplane::phi {

struct PhiPreTrainedModel : PreTrainedModel {
  using Config = PhiConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct PhiAttentionImpl : nn::Module {
  llama::AttentionShape shape;
  size_t layer;
  nn::Linear q_proj, k_proj, v_proj, dense;
  nn::LayerNorm q_layernorm{nullptr}, k_layernorm{nullptr};

  PhiAttentionImpl(const PhiConfig& c, size_t layer)
      : shape(llama::attention_shape(c)),
        layer(layer),
        q_proj(register_module("q_proj", nn::Linear(c.hidden_size, shape.heads * shape.head_dim))),
        k_proj(register_module("k_proj", nn::Linear(c.hidden_size, shape.kv_heads * shape.head_dim))),
        v_proj(register_module("v_proj", nn::Linear(c.hidden_size, shape.kv_heads * shape.head_dim))),
        dense(register_module("dense", nn::Linear(shape.heads * shape.head_dim, c.hidden_size))) {
    if (!c.qk_layernorm) return;
    q_layernorm = register_module("q_layernorm", nn::LayerNorm(c.hidden_size / shape.heads, c.layer_norm_eps));
    k_layernorm = register_module("k_layernorm", nn::LayerNorm(c.hidden_size / shape.heads, c.layer_norm_eps));
  }

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    Tensor q = split_heads(q_proj(x), shape.heads), k = split_heads(k_proj(x), shape.kv_heads);
    if (q_layernorm) q = q_layernorm(q), k = k_layernorm(k);
    q = nn::apply_rotary(q, call.cos, call.sin);
    k = nn::apply_rotary(k, call.cos, call.sin);
    return dense(merge_heads(call.attend(layer, q, k, split_heads(v_proj(x), shape.kv_heads),
                                         {.dropout = is_training() ? shape.dropout : 0})));
  }
};
TORCH_MODULE(PhiAttention);

struct PhiMLPImpl : nn::Module {
  nn::Linear fc1, fc2;
  Activation act;

  explicit PhiMLPImpl(const PhiConfig& c)
      : fc1(register_module("fc1", nn::Linear(c.hidden_size, c.intermediate_size))),
        fc2(register_module("fc2", nn::Linear(c.intermediate_size, c.hidden_size))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return fc2(act(fc1(x))); }
};
TORCH_MODULE(PhiMLP);

struct PhiDecoderLayerImpl : nn::Module {
  PhiAttention self_attn;
  PhiMLP mlp;
  nn::LayerNorm input_layernorm;
  nn::Dropout resid_dropout;

  PhiDecoderLayerImpl(const PhiConfig& c, size_t layer)
      : self_attn(register_module("self_attn", PhiAttention(c, layer))),
        mlp(register_module("mlp", PhiMLP(c))),
        input_layernorm(register_module("input_layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        resid_dropout(register_module("resid_dropout", nn::Dropout(c.resid_pdrop))) {}

  Tensor forward(const Tensor& x, DecoderCall& call) {
    const Tensor h = input_layernorm(x);
    return resid_dropout(self_attn(h, call)) + resid_dropout(mlp(h)) + x;
  }
};
TORCH_MODULE(PhiDecoderLayer);

struct PhiModel : llama::LlamaModelOf<PhiPreTrainedModel, PhiDecoderLayer, nn::LayerNorm> {
  explicit PhiModel(const PhiConfig& c) : LlamaModelOf(c, "final_layernorm") {}
  Tensor embedded(const Tensor& x) override { return at::dropout(x, c.embd_pdrop, is_training()); }
};

struct PhiForCausalLM : CausalLMHead<PhiPreTrainedModel, PhiModel> {
  explicit PhiForCausalLM(const PhiConfig& c) : CausalLMHead(c, {.with_bias = true}) {}
};
struct PhiForSequenceClassification : SequenceClassificationHead<PhiPreTrainedModel, PhiModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct PhiForTokenClassification : TokenClassificationHead<PhiPreTrainedModel, PhiModel> {
  using TokenClassificationHead::TokenClassificationHead;
};

BACKPLANE_PLUGIN(phi, plugin) {
  plugin.config<PhiConfig>();
  plugin.tokenizer("CodeGenTokenizer", "CodeGenTokenizerFast");
  plugin.model<PhiModel>(Auto::Model);
  plugin.model<PhiForCausalLM>(Auto::ForCausalLM);
  plugin.model<PhiForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<PhiForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::phi
