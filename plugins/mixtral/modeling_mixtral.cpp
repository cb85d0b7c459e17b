// Mixtral: Jiang et al. 2024, https://arxiv.org/abs/2401.04088
// Mixtral is Mistral except: each layer's MLP is a mixture of experts, of which a token goes to num_experts_per_tok.
// Reference: transformers, models/mixtral/modeling_mixtral.py

#include "../mistral/modeling_mistral.h"
#include "configuration_mixtral.h"

namespace backplane::mixtral {

struct MixtralPreTrainedModel : PreTrainedModel {
  using Config = MixtralConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

// w2(act(w1 x) * w3 x)
struct MixtralBlockSparseTop2MLPImpl : nn::Module {
  nn::Linear w1, w2, w3;
  Activation act;

  explicit MixtralBlockSparseTop2MLPImpl(const MixtralConfig& c)
      : w1(register_module("w1", nn::Linear(c.hidden_size, c.intermediate_size, false))),
        w2(register_module("w2", nn::Linear(c.intermediate_size, c.hidden_size, false))),
        w3(register_module("w3", nn::Linear(c.hidden_size, c.intermediate_size, false))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return w2(act(w1(x)) * w3(x)); }
};
TORCH_MODULE(MixtralBlockSparseTop2MLP);

struct MixtralSparseMoeBlockImpl : nn::Module {
  int64_t per_token;
  double jitter;
  nn::Linear gate;
  nn::Layers<MixtralBlockSparseTop2MLP> experts;

  explicit MixtralSparseMoeBlockImpl(const MixtralConfig& c)
      : per_token(c.num_experts_per_tok),
        jitter(c.router_jitter_noise),
        gate(register_module("gate", nn::Linear(c.hidden_size, c.num_local_experts, false))),
        experts(register_module("experts", nn::Layers<MixtralBlockSparseTop2MLP>(c.num_local_experts, [&](int64_t) {
                                  return MixtralBlockSparseTop2MLP(c);
                                }))) {}

  // x [batch, seq, hidden] -> its shape
  Tensor forward(Tensor x, DecoderCall& call) {
    if (is_training() && jitter > 0) x = x * at::empty_like(x).uniform_(1 - jitter, 1 + jitter);
    const Tensor tokens = x.reshape({-1, x.size(-1)}), router_logits = gate(tokens);
    call.router_logits.push_back(router_logits);
    const Routing routing = route(at::softmax(router_logits, -1, at::kFloat), per_token, true);
    return mix_experts(tokens, routing, router_logits.size(1),
                       [&](int64_t i, const Tensor& rows) { return (*experts)[static_cast<size_t>(i)](rows); })
        .view_as(x);
  }
};
TORCH_MODULE(MixtralSparseMoeBlock);

struct MixtralDecoderLayerImpl : nn::Module {
  mistral::MistralAttention self_attn;
  MixtralSparseMoeBlock block_sparse_moe;
  nn::RMSNorm input_layernorm, post_attention_layernorm;

  MixtralDecoderLayerImpl(const MixtralConfig& c, size_t layer)
      : self_attn(register_module("self_attn", mistral::MistralAttention(c, layer))),
        block_sparse_moe(register_module("block_sparse_moe", MixtralSparseMoeBlock(c))),
        input_layernorm(register_module("input_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  Tensor forward(Tensor x, DecoderCall& call) {
    x = x + self_attn(input_layernorm(x), call);
    return x + block_sparse_moe(post_attention_layernorm(x), call);
  }
};
TORCH_MODULE(MixtralDecoderLayer);

struct MixtralModel : llama::LlamaModelOf<MixtralPreTrainedModel, MixtralDecoderLayer> {
  using LlamaModelOf::LlamaModelOf;
};

struct MixtralForCausalLM : MoeCausalLMHead<MixtralPreTrainedModel, MixtralModel> {
  using MoeCausalLMHead::MoeCausalLMHead;
};
struct MixtralForSequenceClassification : SequenceClassificationHead<MixtralPreTrainedModel, MixtralModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct MixtralForTokenClassification : TokenClassificationHead<MixtralPreTrainedModel, MixtralModel> {
  using TokenClassificationHead::TokenClassificationHead;
};
struct MixtralForQuestionAnswering : QuestionAnsweringHead<MixtralPreTrainedModel, MixtralModel> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(mixtral, plugin) {
  plugin.config<MixtralConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.model<MixtralModel>(Auto::Model);
  plugin.model<MixtralForCausalLM>(Auto::ForCausalLM);
  plugin.model<MixtralForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<MixtralForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<MixtralForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::mixtral
