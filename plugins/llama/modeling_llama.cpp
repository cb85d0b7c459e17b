#include "modeling_llama.h"

namespace backplane::llama {

struct LlamaPreTrainedModel : PreTrainedModel {
  using Config = LlamaConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "model", .ignore_unexpected = {R"(rotary_emb\.inv_freq)"}};
  }
};

struct LlamaMLPImpl : nn::GatedMlpImpl {
  explicit LlamaMLPImpl(const LlamaConfig& c)
      : GatedMlpImpl(c.hidden_size, c.intermediate_size, c.hidden_act, c.mlp_bias) {}
};
TORCH_MODULE(LlamaMLP);

struct LlamaModel : LlamaModelOf<LlamaPreTrainedModel, LlamaDecoderLayer<LlamaAttention, LlamaMLP>> {
  using LlamaModelOf::LlamaModelOf;
};

struct LlamaForCausalLM : CausalLMHead<LlamaPreTrainedModel, LlamaModel> {
  using CausalLMHead::CausalLMHead;
};
struct LlamaForSequenceClassification : SequenceClassificationHead<LlamaPreTrainedModel, LlamaModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct LlamaForTokenClassification : TokenClassificationHead<LlamaPreTrainedModel, LlamaModel> {
  using TokenClassificationHead::TokenClassificationHead;
};
struct LlamaForQuestionAnswering : QuestionAnsweringHead<LlamaPreTrainedModel, LlamaModel> {
  explicit LlamaForQuestionAnswering(const LlamaConfig& c) : QuestionAnsweringHead(c, "transformer") {}
};

BACKPLANE_PLUGIN(llama, plugin) {
  plugin.config<LlamaConfig>("code_llama");
  plugin.tokenizer("CodeLlamaTokenizer", "CodeLlamaTokenizerFast");
  plugin.model<LlamaModel>(Auto::Model);
  plugin.model<LlamaForCausalLM>(Auto::ForCausalLM);
  plugin.model<LlamaForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.config<LlamaConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.gguf(gguf_mapping());
  plugin.model<LlamaModel>(Auto::Model);
  plugin.model<LlamaForCausalLM>(Auto::ForCausalLM);
  plugin.model<LlamaForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<LlamaForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<LlamaForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::llama
