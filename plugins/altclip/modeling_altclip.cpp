// AltCLIP: Chen et al. 2022, https://arxiv.org/abs/2211.06679
// CLIP except: the text tower is XLM-RoBERTa, normalised and mapped to the teacher's space; its first token stands for
// the text. Reference: transformers, models/altclip/modeling_altclip.py

#include "../clip/modeling_clip.h"
#include "../roberta/modeling_roberta.h"
#include "configuration_altclip.h"

namespace backplane::altclip {

template <class C>
struct AltCLIPPreTrainedModel : PreTrainedModel {
  using Config = C;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "altclip"}; }
};

struct AltRobertaModel : roberta::RobertaModelOf<AltCLIPPreTrainedModel<AltCLIPTextConfig>> {
  using BertModelOf::BertModelOf;
};

struct AltCLIPTextModel : AltCLIPPreTrainedModel<AltCLIPTextConfig> {
  std::shared_ptr<AltRobertaModel> roberta;
  nn::Linear transformation;
  nn::LayerNorm pre_LN;

  explicit AltCLIPTextModel(const AltCLIPTextConfig& c)
      : AltCLIPPreTrainedModel(c),
        roberta(register_module("roberta", std::make_shared<AltRobertaModel>(c, false))),
        transformation(register_module("transformation", nn::Linear(c.hidden_size, c.project_dim))),
        pre_LN(register_module("pre_LN", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  nn::Embedding get_input_embeddings() override { return roberta->get_input_embeddings(); }
  std::span<const std::string_view> arguments() const override { return roberta->arguments(); }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = roberta->forward(inputs);
    const Tensor x = transformation(pre_LN(base["last_hidden_state"]));
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("pooler_output", x.select(1, 0));
    output.set("hidden_states", base.tuple("hidden_states"));
    output.set("attentions", base.tuple("attentions"));
    return output;
  }
};

struct AltCLIPModel : AltCLIPPreTrainedModel<AltCLIPConfig> {
  std::shared_ptr<AltCLIPTextModel> text_model;
  clip::CLIPVisionTransformer vision_model;
  nn::Linear visual_projection, text_projection;
  Tensor logit_scale;

  explicit AltCLIPModel(const AltCLIPConfig& c)
      : AltCLIPPreTrainedModel(c),
        text_model(register_module("text_model", std::make_shared<AltCLIPTextModel>(c.text_config))),
        vision_model(register_module("vision_model", clip::CLIPVisionTransformer(c.vision_config))),
        visual_projection(
            register_module("visual_projection", nn::Linear(c.vision_config.hidden_size, c.projection_dim, false))),
        text_projection(
            register_module("text_projection", nn::Linear(c.text_config.project_dim, c.projection_dim, false))),
        logit_scale(register_parameter("logit_scale", nn::uninitialised({}))) {}

  nn::Embedding get_input_embeddings() override { return text_model->get_input_embeddings(); }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames =
        extend(clip::kTextArguments, "token_type_ids", "pixel_values", "interpolate_pos_encoding", "return_loss");
    return kNames;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto text = text_model->forward(for_part(inputs.select(arguments()), text_model->arguments(), config()));
    const auto vision = vision_model(for_part(inputs, clip::kVisionArguments, config()));
    ModelOutput output = clip::compare(inputs, text_projection(text["pooler_output"]),
                                       visual_projection(vision["pooler_output"]), logit_scale);
    set_part(output, "text_model_output", text);
    set_part(output, "vision_model_output", vision);
    return output;
  }
};

BACKPLANE_PLUGIN(altclip, plugin) {
  plugin.config<AltCLIPConfig>();
  plugin.preprocessor(Auto::Processor, "AltCLIPProcessor");
  plugin.model<AltCLIPModel>(Auto::Model);
  plugin.model<AltCLIPModel>(Auto::ForZeroShotImageClassification);
}

}  // namespace backplane::altclip
