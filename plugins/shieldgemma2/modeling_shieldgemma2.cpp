// ShieldGemma 2: Zeng et al. 2025, https://arxiv.org/abs/2504.01081
// Gemma 3, asked whether an image is against a policy: the scores of "Yes" and "No" as its next word.
// Reference: transformers, models/shieldgemma2/modeling_shieldgemma2.py

#include "../gemma3/modeling_gemma3.h"
#include "configuration_shieldgemma2.h"

namespace backplane::shieldgemma2 {

struct Gemma3ForConditionalGeneration : gemma3::Gemma3ForConditionalGeneration {
  using Config = ShieldGemma2Config;
  explicit Gemma3ForConditionalGeneration(const ShieldGemma2Config& c) : gemma3::Gemma3ForConditionalGeneration(c) {}
};

struct ShieldGemma2ForImageClassification : PreTrainedModel {
  using Config = ShieldGemma2Config;

  std::shared_ptr<Gemma3ForConditionalGeneration> model;
  Tensor answers;  // the ids of "Yes" and "No"

  explicit ShieldGemma2ForImageClassification(const ShieldGemma2Config& c)
      : PreTrainedModel(c),
        model(register_module("model", std::make_shared<Gemma3ForConditionalGeneration>(c))),
        answers(at::tensor({c.token("yes_token_index", 10784), c.token("no_token_index", 3771)}, at::kLong)) {
    const int64_t vocab = model->lm_head->weight.size(0);
    if (answers.min().item<int64_t>() < 0 || answers.max().item<int64_t>() >= vocab) {
      throw Error(ErrorCode::bad_config, concat("config.json: yes_token_index and no_token_index have to be below "
                                                "vocab_size (",
                                                vocab, ")"));
    }
  }

  void tie_weights() override { model->tie_weights(); }
  nn::Embedding get_input_embeddings() override { return model->get_input_embeddings(); }
  std::span<const std::string_view> arguments() const override { return model->arguments(); }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor all = model->forward(inputs)["logits"];
    const Tensor logits = all.select(1, all.size(1) - 1).index_select(-1, answers);
    ModelOutput output;
    output.set("logits", logits);
    output.set("probabilities", at::softmax(logits, -1));
    return output;
  }
};

BACKPLANE_PLUGIN(shieldgemma2, plugin) {
  plugin.config<ShieldGemma2Config>();
  plugin.tokenizer("GemmaTokenizer", "GemmaTokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "Gemma3ImageProcessor", "Gemma3ImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "ShieldGemma2Processor");
  plugin.model<ShieldGemma2ForImageClassification>(Auto::ForImageClassification);
  plugin.model<Gemma3ForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::shieldgemma2
