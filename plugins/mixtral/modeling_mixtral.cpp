#include "modeling_mixtral.h"

#include "configuration_mixtral.h"

namespace backplane::mixtral {

struct MixtralPreTrainedModel : PreTrainedModel {
  using Config = MixtralConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

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
