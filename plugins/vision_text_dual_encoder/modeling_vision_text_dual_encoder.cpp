// Vision-text dual encoder: Zhai et al. 2021 (LiT), https://arxiv.org/abs/2111.07991
// CLIP of any vision and any text model. Reference: transformers,
// models/vision_text_dual_encoder/modeling_vision_text_dual_encoder.py

#include "../clip/modeling_clip.h"
#include "configuration_vision_text_dual_encoder.h"

namespace backplane::vision_text_dual_encoder {

struct VisionTextDualEncoderModel : PreTrainedModel {
  using Config = VisionTextDualEncoderConfig;

  std::shared_ptr<PreTrainedModel> vision_model, text_model;
  nn::Linear visual_projection, text_projection;
  Tensor logit_scale;

  explicit VisionTextDualEncoderModel(const VisionTextDualEncoderConfig& c)
      : PreTrainedModel(c),
        vision_model(register_module("vision_model", make_model(Auto::Model, *c.vision_config))),
        text_model(register_module("text_model", make_model(Auto::Model, *c.text_config))),
        visual_projection(register_module(
            "visual_projection", nn::Linear(int_field(*c.vision_config, "hidden_size"), c.projection_dim, false))),
        text_projection(register_module("text_projection",
                                        nn::Linear(int_field(*c.text_config, "hidden_size"), c.projection_dim, false))),
        logit_scale(register_parameter("logit_scale", nn::uninitialised({}))) {}

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "vision_text_dual_encoder"}; }
  nn::Embedding get_input_embeddings() override { return text_model->get_input_embeddings(); }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(clip::kTextArguments, "token_type_ids", "pixel_values", "return_loss");
    return kNames;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto tower = [&](PreTrainedModel& model) { return model.forward(inputs.select(model.arguments())); };
    const auto vision = tower(*vision_model), text = tower(*text_model);
    ModelOutput output = clip::compare(inputs, text_projection(text["pooler_output"]),
                                       visual_projection(vision["pooler_output"]), logit_scale);
    set_part(output, "text_model_output", text);
    set_part(output, "vision_model_output", vision);
    return output;
  }
};

BACKPLANE_PLUGIN(vision_text_dual_encoder, plugin) {
  plugin.config<VisionTextDualEncoderConfig>();
  plugin.preprocessor(Auto::Processor, "VisionTextDualEncoderProcessor");
  plugin.model<VisionTextDualEncoderModel>(Auto::Model);
}

}  // namespace backplane::vision_text_dual_encoder
