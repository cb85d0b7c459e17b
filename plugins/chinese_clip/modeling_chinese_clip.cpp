// Chinese CLIP: Yang et al. 2022, https://arxiv.org/abs/2211.01335
// CLIP except: the text tower is BERT, and its first token stands for the text.
// Reference: transformers, models/chinese_clip/modeling_chinese_clip.py

#include "../bert/modeling_bert.h"
#include "../clip/modeling_clip.h"
#include "configuration_chinese_clip.h"

namespace backplane::chinese_clip {

template <class C>
struct ChineseCLIPPreTrainedModel : PreTrainedModel {
  using Config = C;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "chinese_clip"}; }
};

struct ChineseCLIPTextModel : bert::BertModelOf<ChineseCLIPPreTrainedModel<ChineseCLIPTextConfig>, bert::BertEmbeddings,
                                                bert::BertEncoder<bert::BertLayer>> {
  using BertModelOf::BertModelOf;
};

struct ChineseCLIPVisionModel : ChineseCLIPPreTrainedModel<ChineseCLIPVisionConfig> {
  clip::CLIPVisionTransformer vision_model;

  explicit ChineseCLIPVisionModel(const ChineseCLIPVisionConfig& c)
      : ChineseCLIPPreTrainedModel(c), vision_model(register_module("vision_model", clip::CLIPVisionTransformer(c))) {}

  std::span<const std::string_view> arguments() const override { return clip::kVisionArguments; }
  ModelOutput compute(const ModelInputs& inputs) override { return vision_model(inputs); }
};

struct ChineseCLIPModel : ChineseCLIPPreTrainedModel<ChineseCLIPConfig> {
  std::shared_ptr<ChineseCLIPTextModel> text_model;
  clip::CLIPVisionTransformer vision_model;
  nn::Linear visual_projection, text_projection;
  Tensor logit_scale;

  explicit ChineseCLIPModel(const ChineseCLIPConfig& c)
      : ChineseCLIPPreTrainedModel(c),
        text_model(register_module("text_model", std::make_shared<ChineseCLIPTextModel>(c.text_config, false))),
        vision_model(register_module("vision_model", clip::CLIPVisionTransformer(c.vision_config))),
        visual_projection(
            register_module("visual_projection", nn::Linear(c.vision_config.hidden_size, c.projection_dim, false))),
        text_projection(
            register_module("text_projection", nn::Linear(c.text_config.hidden_size, c.projection_dim, false))),
        logit_scale(register_parameter("logit_scale", nn::uninitialised({}))) {}

  nn::Embedding get_input_embeddings() override { return text_model->get_input_embeddings(); }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames =
        extend(clip::kTextArguments, "token_type_ids", "pixel_values", "interpolate_pos_encoding", "return_loss");
    return kNames;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto vision = vision_model(for_part(inputs, clip::kVisionArguments, config()));
    const auto text = text_model->forward(for_part(inputs.select(arguments()), text_model->arguments(), config()));
    ModelOutput output = clip::compare(inputs, text_projection(text["last_hidden_state"].select(1, 0)),
                                       visual_projection(vision["pooler_output"]), logit_scale);
    set_part(output, "text_model_output", text);
    set_part(output, "vision_model_output", vision);
    return output;
  }
};

BACKPLANE_PLUGIN(chinese_clip, plugin) {
  plugin.config<ChineseCLIPVisionConfig>();
  plugin.model<ChineseCLIPVisionModel>(Auto::Model);
  plugin.config<ChineseCLIPConfig>();
  plugin.tokenizer("BertTokenizer", "BertTokenizerFast");
  plugin.preprocessor(Auto::FeatureExtractor, "ChineseCLIPFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "ChineseCLIPImageProcessor", "ChineseCLIPImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "ChineseCLIPProcessor");
  plugin.model<ChineseCLIPModel>(Auto::Model);
  plugin.model<ChineseCLIPModel>(Auto::ForZeroShotImageClassification);
}

}  // namespace backplane::chinese_clip
