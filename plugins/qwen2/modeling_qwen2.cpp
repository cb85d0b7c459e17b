// Qwen2: Yang et al. 2024, https://arxiv.org/abs/2407.10671
// Qwen2 is LLaMA except: q, k and v have biases, and layers from max_window_layers on may have a sliding window.
// Reference: transformers, models/qwen2/modeling_qwen2.py

#include "../llama/modeling_llama.h"
#include "configuration_qwen2.h"

namespace backplane::qwen2 {

struct Qwen2PreTrainedModel : PreTrainedModel {
  using Config = Qwen2Config;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct Qwen2AttentionImpl : llama::LlamaAttentionImpl {
  Qwen2AttentionImpl(const Qwen2Config& c, size_t layer) : LlamaAttentionImpl(shape_of(c, layer), layer) {}

  static llama::AttentionShape shape_of(const Qwen2Config& c, size_t layer) {
    llama::AttentionShape shape = llama::attention_shape(c);
    shape.qkv_bias = true;
    shape.window = c.window(layer);
    return shape;
  }
};
TORCH_MODULE(Qwen2Attention);

struct Qwen2Model : llama::LlamaModelOf<Qwen2PreTrainedModel, llama::LlamaDecoderLayer<Qwen2Attention, nn::GatedMlp>> {
  using LlamaModelOf::LlamaModelOf;
};

struct Qwen2ForCausalLM : CausalLMHead<Qwen2PreTrainedModel, Qwen2Model> {
  using CausalLMHead::CausalLMHead;
};
struct Qwen2ForSequenceClassification : SequenceClassificationHead<Qwen2PreTrainedModel, Qwen2Model> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct Qwen2ForTokenClassification : TokenClassificationHead<Qwen2PreTrainedModel, Qwen2Model> {
  using TokenClassificationHead::TokenClassificationHead;
};
struct Qwen2ForQuestionAnswering : QuestionAnsweringHead<Qwen2PreTrainedModel, Qwen2Model> {
  explicit Qwen2ForQuestionAnswering(const Qwen2Config& c) : QuestionAnsweringHead(c, "transformer") {}
};

// Unlike LLaMA's, rows of q and k are stored in the reference's order.
static GgufMapping gguf_mapping() {
  GgufMapping mapping = llama::gguf_mapping("qwen2", "qwen2");
  for (auto& tensor : mapping.tensors) tensor.transform = GgufTransform::none;
  std::erase_if(mapping.keys, [](const auto& key) { return key.config == "head_dim"; });
  return mapping;
}

BACKPLANE_PLUGIN(qwen2, plugin) {
  plugin.config<Qwen2Config>();
  plugin.tokenizer("Qwen2Tokenizer", "Qwen2TokenizerFast");
  plugin.gguf(gguf_mapping());
  plugin.model<Qwen2Model>(Auto::Model);
  plugin.model<Qwen2ForCausalLM>(Auto::ForCausalLM);
  plugin.model<Qwen2ForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<Qwen2ForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<Qwen2ForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::qwen2
