// PaliGemma: Beyer et al. 2024, https://arxiv.org/abs/2407.07726
// LLaVA over SigLIP and Gemma except: one linear map, image and prompt see each other in full, and positions begin
// with 1. Reference: transformers, models/paligemma/modeling_paligemma.py

#include "../llava/modeling_llava.h"
#include "configuration_paligemma.h"

namespace backplane::paligemma {

struct PaliGemmaMultiModalProjectorImpl : nn::Module {
  nn::Linear linear;

  explicit PaliGemmaMultiModalProjectorImpl(const PaliGemmaConfig& c)
      : linear(register_module("linear", nn::Linear(int_field(*c.vision_config, "hidden_size"), c.projection_dim))) {}

  Tensor forward(const Tensor& x) { return linear(x); }
};
TORCH_MODULE(PaliGemmaMultiModalProjector);

struct PaliGemmaModel : PreTrainedModel {
  using Config = PaliGemmaConfig;
  static constexpr std::array<std::string_view, 2> kPromptOnly = {"pixel_values", "token_type_ids"};

  const PaliGemmaConfig& c;
  int64_t text_vocab;
  double image_scale;
  std::shared_ptr<PreTrainedModel> vision_tower, language_model;
  PaliGemmaMultiModalProjector multi_modal_projector;

  explicit PaliGemmaModel(const PaliGemmaConfig& config)
      : PreTrainedModel(config),
        c(config),
        text_vocab(int_field(*c.text_config, "vocab_size")),
        image_scale(1 / std::sqrt(static_cast<double>(int_field(*c.text_config, "hidden_size")))),
        vision_tower(register_module("vision_tower", make_model(Auto::Model, *c.vision_config))),
        language_model(register_module("language_model", make_model(Auto::Model, *c.text_config))),
        multi_modal_projector(register_module("multi_modal_projector", PaliGemmaMultiModalProjector(c))) {}

  CheckpointRules checkpoint_rules() const override {
    return {.renames = {{R"(language_model\.model)", "language_model"}}};
  }
  nn::Embedding get_input_embeddings() override { return language_model->get_input_embeddings(); }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kDecoderArguments, "pixel_values", "token_type_ids", "labels");
    return kNames;
  }

  // The image's placeholder may be no row of the table.
  Tensor embedded(const ModelInputs& inputs) {
    const Tensor ids = inputs.tensor("input_ids");
    if (!ids.defined() || c.image_token_index < text_vocab) return llava::embedded(inputs, get_input_embeddings());
    ModelInputs known = inputs;
    known.set("input_ids", ids.masked_fill(ids == c.image_token_index, 0));
    return llava::embedded(known, get_input_embeddings());
  }

  // What each of `seq` new positions sees after `past`: the prompt all of itself; where a suffix is learned (labels and
  // token types), all of the prefix and what came before. Additive [batch or 1, 1, seq, past + seq].
  static Tensor prefix_mask(const ModelInputs& inputs, int64_t seq, int64_t past, at::ScalarType dtype) {
    const Tensor attention_mask = inputs.tensor("attention_mask");
    if (attention_mask.defined() && attention_mask.dim() == 4) return attention_mask;
    const int64_t kv = past + seq;
    if (attention_mask.defined() && attention_mask.size(-1) != kv) {
      throw Error(ErrorCode::invalid_value,
                  concat("attention_mask has ", attention_mask.size(-1), " columns; expected ", kv));
    }
    const Tensor types = inputs.tensor("token_type_ids"), keys = at::arange(kv);
    Tensor seen = keys.unsqueeze(0) <= at::arange(past, kv).unsqueeze(1);  // [seq, kv]
    const bool learns = types.defined() && inputs.contains("labels");
    if (!learns && seq > 1) seen = seen.logical_or(keys < seq);
    seen = seen.view({1, 1, seq, kv});
    if (learns) seen = seen.logical_or((types == 0).view({types.size(0), 1, 1, -1}));
    if (attention_mask.defined()) {
      seen = seen.logical_and((attention_mask != 0).view({attention_mask.size(0), 1, 1, kv}));
    }
    return lowest_where(seen.logical_not(), dtype);
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Tensor x = embedded(inputs), features;
    const KvCachePtr cache = inputs.cache("past_key_values");
    const int64_t past = cache ? cache->length() : 0, seq = x.size(1);
    if (const Tensor pixels = inputs.tensor("pixel_values"); pixels.defined()) {
      const auto vision = vision_tower->forward({{"pixel_values", pixels}});
      features = multi_modal_projector(vision["last_hidden_state"]) * image_scale;
      const Tensor where = placeholder_mask(inputs.tensor("input_ids"), x, get_input_embeddings(), c.image_token_index);
      x = scatter_features(x, where, features, "image");
    }
    ModelInputs call = for_language_model(inputs, *language_model, c, x);
    if (!inputs.contains("position_ids")) call.set("position_ids", at::arange(past + 1, past + seq + 1).unsqueeze(0));
    call.set("attention_mask", prefix_mask(inputs, seq, past, x.scalar_type()));
    ModelOutput output = language_model->forward(call);
    output.set("image_hidden_states", features);
    return output;
  }
};

struct PaliGemmaForConditionalGeneration : llava::LlavaHead<PaliGemmaModel> {
  using LlavaHead::LlavaHead;

  void prepare_inputs_for_generation(ModelInputs& inputs, int64_t past) const override {
    LlavaHead::prepare_inputs_for_generation(inputs, past);
    if (const Tensor positions = inputs.tensor("position_ids"); positions.defined()) {
      inputs.set("position_ids", positions + 1);
    }
  }
};

BACKPLANE_PLUGIN(paligemma, plugin) {
  plugin.config<PaliGemmaConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "SiglipImageProcessor", "SiglipImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "PaliGemmaProcessor");
  plugin.model<PaliGemmaModel>(Auto::Model);
  plugin.model<PaliGemmaForConditionalGeneration>(Auto::ForPreTraining);
  plugin.model<PaliGemmaForConditionalGeneration>(Auto::ForVision2Seq);
  plugin.model<PaliGemmaForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::paligemma
