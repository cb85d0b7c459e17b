// Fuyu: Bavishi et al. 2023, https://www.adept.ai/blog/fuyu-8b
// No vision tower: patches are mapped linearly into the language model's embeddings.
// Reference: transformers, models/fuyu/modeling_fuyu.py

#include <backplane/model/composite.h>
#include <backplane/model/decoder.h>
#include <backplane/nn/multimodal.h>

#include "configuration_fuyu.h"

namespace backplane::fuyu {

struct FuyuModel : PreTrainedModel {
  using Config = FuyuConfig;
  static constexpr std::array<std::string_view, 2> kPromptOnly = {"image_patches", "image_patches_indices"};

  const FuyuConfig& c;
  std::shared_ptr<PreTrainedModel> language_model;
  nn::Linear vision_embed_tokens;

  explicit FuyuModel(const FuyuConfig& config)
      : PreTrainedModel(config),
        c(config),
        language_model(register_module("language_model", make_model(Auto::Model, *c.text_config))),
        vision_embed_tokens(register_module("vision_embed_tokens",
                                            nn::Linear(c.patch_size * c.patch_size * c.num_channels, c.hidden_size))) {}

  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "fuyu", .renames = {{R"(language_model\.model)", "language_model"}}};
  }
  nn::Embedding get_input_embeddings() override { return language_model->get_input_embeddings(); }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kDecoderArguments, "image_patches", "image_patches_indices");
    return kNames;
  }

  // The rows of pixels of all images, [patches, patch_size^2 * channels].
  static Tensor rows(const Argument& patches) {
    if (const auto* tensor = std::get_if<Tensor>(&patches)) return tensor->flatten(0, -2);
    if (const auto* list = std::get_if<std::vector<Tensor>>(&patches)) {
      std::vector<Tensor> all;
      for (const Tensor& image : *list) all.push_back(image.flatten(0, -2));
      return at::cat(all);
    }
    throw Error(ErrorCode::invalid_value, "image_patches is neither a tensor nor a list of tensors");
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor ids = inputs.tensor("input_ids");
    Tensor x = inputs.tensor("inputs_embeds");
    if (ids.defined() == x.defined()) throw Error(ErrorCode::invalid_value, "give either input_ids or inputs_embeds");
    if (ids.defined()) {
      x = get_input_embeddings()(ids);
      const KvCachePtr cache = inputs.cache("past_key_values");
      if (const Argument* patches = inputs.find("image_patches"); patches && (!cache || cache->length() == 0)) {
        const Tensor pixels = rows(*patches).to(vision_embed_tokens->weight.scalar_type());
        x = scatter_features(x, ids == c.image_token_id, vision_embed_tokens(pixels), "image patch");
      }
    }
    ModelInputs call = for_language_model(inputs, *language_model, c, x);
    if (!inputs.contains("use_cache")) call.set("use_cache", c.use_cache);
    return language_model->forward(call);
  }
};

struct FuyuForCausalLM : ConditionalGeneration<FuyuModel> {
  explicit FuyuForCausalLM(const FuyuConfig& c) : ConditionalGeneration(c, *c.text_config) {}
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "fuyu",
            .renames = {{R"(^language_model\.model)", "model.language_model"},
                        {"^vision_embed_tokens", "model.vision_embed_tokens"},
                        {R"(^language_model\.lm_head)", "lm_head"}}};
  }
};

BACKPLANE_PLUGIN(fuyu, plugin) {
  plugin.config<FuyuConfig>();
  plugin.preprocessor(Auto::ImageProcessor, "FuyuImageProcessor");
  plugin.preprocessor(Auto::Processor, "FuyuProcessor");
  plugin.model<FuyuModel>(Auto::Model);
  plugin.model<FuyuForCausalLM>(Auto::ForCausalLM);
  plugin.model<FuyuForCausalLM>(Auto::ForImageTextToText);
}

}  // namespace backplane::fuyu
