// StarCoder2: Lozhkov et al. 2024, https://arxiv.org/abs/2402.19173
// StarCoder2 is Mistral except: LayerNorm, biases everywhere, and an MLP without a gate.
// Reference: transformers, models/starcoder2/modeling_starcoder2.py

#include "../llama/modeling_llama.h"
#include "configuration_starcoder2.h"

namespace backplane::starcoder2 {

struct Starcoder2PreTrainedModel : PreTrainedModel {
  using Config = Starcoder2Config;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct Starcoder2AttentionImpl : llama::LlamaAttentionImpl {
  double residual_dropout;

  Starcoder2AttentionImpl(const Starcoder2Config& c, size_t layer)
      : LlamaAttentionImpl(shape_of(c), layer), residual_dropout(c.residual_dropout) {}

  static llama::AttentionShape shape_of(const Starcoder2Config& c) {
    llama::AttentionShape shape = llama::attention_shape(c);
    shape.qkv_bias = shape.o_bias = c.use_bias;
    shape.window = c.sliding_window.value_or(0);
    return shape;
  }

  Tensor forward(const Tensor& x, DecoderCall& call) {
    return at::dropout(LlamaAttentionImpl::forward(x, call), residual_dropout, is_training());
  }
};
TORCH_MODULE(Starcoder2Attention);

struct Starcoder2MLPImpl : nn::Module {
  double residual_dropout;
  nn::Linear c_fc, c_proj;
  Activation act;

  explicit Starcoder2MLPImpl(const Starcoder2Config& c)
      : residual_dropout(c.residual_dropout),
        c_fc(register_module("c_fc", nn::Linear(c.hidden_size, c.intermediate_size, c.use_bias))),
        c_proj(register_module("c_proj", nn::Linear(c.intermediate_size, c.hidden_size, c.use_bias))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return at::dropout(c_proj(act(c_fc(x))), residual_dropout, is_training()); }
};
TORCH_MODULE(Starcoder2MLP);

struct Starcoder2Model
    : llama::LlamaModelOf<Starcoder2PreTrainedModel,
                          llama::LlamaDecoderLayer<Starcoder2Attention, Starcoder2MLP, nn::LayerNorm>, nn::LayerNorm> {
  using LlamaModelOf::LlamaModelOf;
  Tensor embedded(const Tensor& x) override { return at::dropout(x, c.embedding_dropout, is_training()); }
};

struct Starcoder2ForCausalLM : CausalLMHead<Starcoder2PreTrainedModel, Starcoder2Model> {
  using CausalLMHead::CausalLMHead;
};
struct Starcoder2ForSequenceClassification : SequenceClassificationHead<Starcoder2PreTrainedModel, Starcoder2Model> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct Starcoder2ForTokenClassification : TokenClassificationHead<Starcoder2PreTrainedModel, Starcoder2Model> {
  using TokenClassificationHead::TokenClassificationHead;
};

static GgufMapping gguf_mapping() {
  return {.architecture = "starcoder2",
          .model_type = "starcoder2",
          .keys = {{"block_count", "num_hidden_layers"},
                   {"context_length", "max_position_embeddings"},
                   {"embedding_length", "hidden_size"},
                   {"feed_forward_length", "intermediate_size"},
                   {"attention.head_count", "num_attention_heads"},
                   {"attention.head_count_kv", "num_key_value_heads"},
                   {"attention.layer_norm_epsilon", "norm_epsilon"}},
          .tensors = {{"token_embd", "model.embed_tokens"},
                      {"blk.{n}.attn_norm", "model.layers.{n}.input_layernorm"},
                      {"blk.{n}.attn_q", "model.layers.{n}.self_attn.q_proj"},
                      {"blk.{n}.attn_k", "model.layers.{n}.self_attn.k_proj"},
                      {"blk.{n}.attn_v", "model.layers.{n}.self_attn.v_proj"},
                      {"blk.{n}.attn_output", "model.layers.{n}.self_attn.o_proj"},
                      {"blk.{n}.ffn_norm", "model.layers.{n}.post_attention_layernorm"},
                      {"blk.{n}.ffn_up", "model.layers.{n}.mlp.c_fc"},
                      {"blk.{n}.ffn_down", "model.layers.{n}.mlp.c_proj"},
                      {"output_norm", "model.norm"},
                      {"output", "lm_head"}}};
}

BACKPLANE_PLUGIN(starcoder2, plugin) {
  plugin.config<Starcoder2Config>();
  plugin.tokenizer("GPT2Tokenizer", "GPT2TokenizerFast");
  plugin.gguf(gguf_mapping());
  plugin.model<Starcoder2Model>(Auto::Model);
  plugin.model<Starcoder2ForCausalLM>(Auto::ForCausalLM);
  plugin.model<Starcoder2ForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<Starcoder2ForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::starcoder2
