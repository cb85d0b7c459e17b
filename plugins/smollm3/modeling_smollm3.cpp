// SmolLM3: Hugging Face 2025, https://huggingface.co/blog/smollm3
// SmolLM3 is LLaMA except: some layers have no positions (NoPE, https://arxiv.org/abs/2305.19466), and those may have a
// sliding window. Reference: transformers, models/smollm3/modeling_smollm3.py

#include "../llama/modeling_llama.h"
#include "configuration_smollm3.h"

namespace backplane::smollm3 {

struct SmolLM3PreTrainedModel : PreTrainedModel {
  using Config = SmolLM3Config;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct SmolLM3AttentionImpl : llama::LlamaAttentionImpl {
  bool rotates;

  SmolLM3AttentionImpl(const SmolLM3Config& c, size_t layer) : LlamaAttentionImpl(c, layer), rotates(c.rotates(layer)) {
    shape.window = c.window(layer);
  }

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    if (rotates) return LlamaAttentionImpl::forward(x, call);
    return o_proj(merge_heads(attend(split_heads(q_proj(x), shape.heads), split_heads(k_proj(x), shape.kv_heads),
                                     split_heads(v_proj(x), shape.kv_heads), call)));
  }
};
TORCH_MODULE(SmolLM3Attention);

struct SmolLM3Model
    : llama::LlamaModelOf<SmolLM3PreTrainedModel, llama::LlamaDecoderLayer<SmolLM3Attention, nn::GatedMlp>> {
  using LlamaModelOf::LlamaModelOf;
};

struct SmolLM3ForCausalLM : CausalLMHead<SmolLM3PreTrainedModel, SmolLM3Model> {
  using CausalLMHead::CausalLMHead;
};
struct SmolLM3ForSequenceClassification : SequenceClassificationHead<SmolLM3PreTrainedModel, SmolLM3Model> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct SmolLM3ForTokenClassification : TokenClassificationHead<SmolLM3PreTrainedModel, SmolLM3Model> {
  using TokenClassificationHead::TokenClassificationHead;
};
struct SmolLM3ForQuestionAnswering : QuestionAnsweringHead<SmolLM3PreTrainedModel, SmolLM3Model> {
  explicit SmolLM3ForQuestionAnswering(const SmolLM3Config& c) : QuestionAnsweringHead(c, "transformer") {}
};

BACKPLANE_PLUGIN(smollm3, plugin) {
  plugin.config<SmolLM3Config>();
  plugin.tokenizer("", "PreTrainedTokenizerFast");
  plugin.model<SmolLM3Model>(Auto::Model);
  plugin.model<SmolLM3ForCausalLM>(Auto::ForCausalLM);
  plugin.model<SmolLM3ForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<SmolLM3ForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<SmolLM3ForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::smollm3
