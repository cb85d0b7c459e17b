// Arcee: AFM, https://www.arcee.ai/blog/deep-dive-afm-4-5b-the-first-arcee-foundational-model
// Arcee is LLaMA except: the MLP has no gate, and its activation is ReLU squared.
// Reference: transformers, models/arcee/modeling_arcee.py

#include "../llama/modeling_llama.h"
#include "configuration_arcee.h"

namespace backplane::arcee {

struct ArceePreTrainedModel : PreTrainedModel {
  using Config = ArceeConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct ArceeMLPImpl : nn::Module {
  nn::Linear up_proj, down_proj;
  Activation act;

  explicit ArceeMLPImpl(const ArceeConfig& c)
      : up_proj(register_module("up_proj", nn::Linear(c.hidden_size, c.intermediate_size, c.mlp_bias))),
        down_proj(register_module("down_proj", nn::Linear(c.intermediate_size, c.hidden_size, c.mlp_bias))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return down_proj(act(up_proj(x))); }
};
TORCH_MODULE(ArceeMLP);

struct ArceeModel
    : llama::LlamaModelOf<ArceePreTrainedModel, llama::LlamaDecoderLayer<llama::LlamaAttention, ArceeMLP>> {
  using LlamaModelOf::LlamaModelOf;
};

struct ArceeForCausalLM : CausalLMHead<ArceePreTrainedModel, ArceeModel> {
  using CausalLMHead::CausalLMHead;
};
struct ArceeForSequenceClassification : SequenceClassificationHead<ArceePreTrainedModel, ArceeModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct ArceeForTokenClassification : TokenClassificationHead<ArceePreTrainedModel, ArceeModel> {
  using TokenClassificationHead::TokenClassificationHead;
};
struct ArceeForQuestionAnswering : QuestionAnsweringHead<ArceePreTrainedModel, ArceeModel> {
  explicit ArceeForQuestionAnswering(const ArceeConfig& c) : QuestionAnsweringHead(c, "transformer") {}
};

BACKPLANE_PLUGIN(arcee, plugin) {
  plugin.config<ArceeConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.model<ArceeModel>(Auto::Model);
  plugin.model<ArceeForCausalLM>(Auto::ForCausalLM);
  plugin.model<ArceeForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<ArceeForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<ArceeForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::arcee
