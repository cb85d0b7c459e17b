// Qwen3-MoE: Qwen Team 2025, https://arxiv.org/abs/2505.09388
// Qwen3-MoE is Qwen3 except: in most layers the MLP is a mixture of experts.
// Reference: transformers, models/qwen3_moe/modeling_qwen3_moe.py

#include "../qwen2_moe/modeling_qwen2_moe.h"
#include "../qwen3/modeling_qwen3.h"
#include "configuration_qwen3_moe.h"

namespace backplane::qwen3_moe {

struct Qwen3MoePreTrainedModel : PreTrainedModel {
  using Config = Qwen3MoeConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct Qwen3MoeSparseMoeBlockImpl : nn::SparseMoeImpl {
  explicit Qwen3MoeSparseMoeBlockImpl(const Qwen3MoeConfig& c)
      : SparseMoeImpl(c.hidden_size, c.moe_intermediate_size, c.hidden_act, c.num_experts, c.num_experts_per_tok,
                      c.norm_topk_prob) {}
};
TORCH_MODULE(Qwen3MoeSparseMoeBlock);

struct Qwen3MoeModel : llama::LlamaModelOf<Qwen3MoePreTrainedModel,
                                           qwen2_moe::MoeDecoderLayer<qwen3::Qwen3Attention, Qwen3MoeSparseMoeBlock>> {
  using LlamaModelOf::LlamaModelOf;
};

struct Qwen3MoeForCausalLM : MoeCausalLMHead<Qwen3MoePreTrainedModel, Qwen3MoeModel> {
  using MoeCausalLMHead::MoeCausalLMHead;
};
struct Qwen3MoeForSequenceClassification : SequenceClassificationHead<Qwen3MoePreTrainedModel, Qwen3MoeModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct Qwen3MoeForTokenClassification : TokenClassificationHead<Qwen3MoePreTrainedModel, Qwen3MoeModel> {
  using TokenClassificationHead::TokenClassificationHead;
};
struct Qwen3MoeForQuestionAnswering : QuestionAnsweringHead<Qwen3MoePreTrainedModel, Qwen3MoeModel> {
  explicit Qwen3MoeForQuestionAnswering(const Qwen3MoeConfig& c) : QuestionAnsweringHead(c, "transformer") {}
};

BACKPLANE_PLUGIN(qwen3_moe, plugin) {
  plugin.config<Qwen3MoeConfig>();
  plugin.tokenizer("Qwen2Tokenizer", "Qwen2TokenizerFast");
  plugin.model<Qwen3MoeModel>(Auto::Model);
  plugin.model<Qwen3MoeForCausalLM>(Auto::ForCausalLM);
  plugin.model<Qwen3MoeForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<Qwen3MoeForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<Qwen3MoeForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::qwen3_moe
