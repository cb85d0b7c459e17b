// Nemotron-4: Parmar et al. 2024, https://arxiv.org/abs/2402.16819
// Nemotron is LLaMA except: LayerNorm scales by 1 + weight, half of each head is rotated, and the MLP is a ReLU squared
// without a gate. Reference: transformers, models/nemotron/modeling_nemotron.py

#include "../llama/modeling_llama.h"
#include "configuration_nemotron.h"

namespace backplane::nemotron {

struct NemotronPreTrainedModel : PreTrainedModel {
  using Config = NemotronConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct NemotronLayerNorm1PImpl : nn::LayerNormImpl {
  using LayerNormImpl::LayerNormImpl;
  Tensor forward(const Tensor& x) const { return at::layer_norm(x, {weight.size(0)}, weight + 1, bias, eps); }
};
TORCH_MODULE(NemotronLayerNorm1P);

struct NemotronMLPImpl : nn::Module {
  nn::Linear up_proj, down_proj;
  Activation act;

  explicit NemotronMLPImpl(const NemotronConfig& c)
      : up_proj(register_module("up_proj", nn::Linear(c.hidden_size, c.intermediate_size, c.mlp_bias))),
        down_proj(register_module("down_proj", nn::Linear(c.intermediate_size, c.hidden_size, c.mlp_bias))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return down_proj(act(up_proj(x))); }
};
TORCH_MODULE(NemotronMLP);

struct NemotronModel
    : llama::LlamaModelOf<NemotronPreTrainedModel,
                          llama::LlamaDecoderLayer<llama::LlamaAttention, NemotronMLP, NemotronLayerNorm1P>,
                          NemotronLayerNorm1P> {
  using LlamaModelOf::LlamaModelOf;
};

struct NemotronForCausalLM : CausalLMHead<NemotronPreTrainedModel, NemotronModel> {
  using CausalLMHead::CausalLMHead;
};
struct NemotronForSequenceClassification : SequenceClassificationHead<NemotronPreTrainedModel, NemotronModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct NemotronForTokenClassification : TokenClassificationHead<NemotronPreTrainedModel, NemotronModel> {
  using TokenClassificationHead::TokenClassificationHead;
};
struct NemotronForQuestionAnswering : QuestionAnsweringHead<NemotronPreTrainedModel, NemotronModel> {
  explicit NemotronForQuestionAnswering(const NemotronConfig& c) : QuestionAnsweringHead(c, "transformer") {}
};

static GgufMapping gguf_mapping() {
  return {.architecture = "nemotron",
          .model_type = "nemotron",
          .keys = {{"context_length", "max_position_embeddings"},
                   {"block_count", "num_hidden_layers"},
                   {"feed_forward_length", "intermediate_size"},
                   {"embedding_length", "hidden_size"},
                   {"rope.freq_base", "rope_theta"},
                   {"attention.head_count", "num_attention_heads"},
                   {"attention.head_count_kv", "num_key_value_heads"},
                   {"attention.layer_norm_rms_epsilon", "norm_eps"},
                   {"vocab_size", "vocab_size"}},
          .tensors = {{"token_embd", "model.embed_tokens"},
                      {"blk.{n}.attn_norm", "model.layers.{n}.input_layernorm", GgufTransform::subtract_one},
                      {"blk.{n}.attn_q", "model.layers.{n}.self_attn.q_proj"},
                      {"blk.{n}.attn_k", "model.layers.{n}.self_attn.k_proj"},
                      {"blk.{n}.attn_v", "model.layers.{n}.self_attn.v_proj"},
                      {"blk.{n}.attn_output", "model.layers.{n}.self_attn.o_proj"},
                      {"blk.{n}.ffn_norm", "model.layers.{n}.post_attention_layernorm", GgufTransform::subtract_one},
                      {"blk.{n}.ffn_up", "model.layers.{n}.mlp.up_proj"},
                      {"blk.{n}.ffn_down", "model.layers.{n}.mlp.down_proj"},
                      {"output_norm", "model.norm", GgufTransform::subtract_one},
                      {"output", "lm_head"}}};
}

BACKPLANE_PLUGIN(nemotron, plugin) {
  plugin.config<NemotronConfig>();
  plugin.tokenizer("", "PreTrainedTokenizerFast");
  plugin.gguf(gguf_mapping());
  plugin.model<NemotronModel>(Auto::Model);
  plugin.model<NemotronForCausalLM>(Auto::ForCausalLM);
  plugin.model<NemotronForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<NemotronForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<NemotronForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::nemotron
