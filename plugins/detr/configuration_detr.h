#pragma once

#include <backplane/model.h>
#include <backplane/model/vision.h>

namespace backplane::detr {

// The keys that DETR and its kin have in common.
struct DetrFamilyConfig : PretrainedConfig {
  bool use_timm_backbone = true;
  std::shared_ptr<PretrainedConfig> backbone_config;
  int64_t num_channels = 3;
  int64_t d_model = 256;
  int64_t encoder_ffn_dim = 2048;
  int64_t encoder_layers = 6;
  int64_t encoder_attention_heads = 8;
  int64_t decoder_ffn_dim = 2048;
  int64_t decoder_layers = 6;
  int64_t decoder_attention_heads = 8;
  double dropout = 0.1;
  double attention_dropout = 0;
  double activation_dropout = 0;
  std::string activation_function = "relu";
  double init_std = 0.02;
  double init_xavier_std = 1;
  double encoder_layerdrop = 0;
  double decoder_layerdrop = 0;
  int64_t num_queries = 100;
  bool auxiliary_loss = false;
  std::string position_embedding_type = "sine";  // or learned
  std::optional<std::string> backbone = "resnet50";
  bool use_pretrained_backbone = true;
  Value backbone_kwargs;
  std::optional<bool> dilation = false;
  double class_cost = 1;
  double bbox_cost = 5;
  double giou_cost = 2;
  double bbox_loss_coefficient = 5;
  double giou_loss_coefficient = 2;

  DetrFamilyConfig() { is_encoder_decoder = true; }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(use_timm_backbone));
    field(BACKPLANE_FIELD(backbone_config));
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(d_model));
    field(BACKPLANE_FIELD(encoder_ffn_dim));
    field(BACKPLANE_FIELD(encoder_layers));
    field(BACKPLANE_FIELD(encoder_attention_heads));
    field(BACKPLANE_FIELD(decoder_ffn_dim));
    field(BACKPLANE_FIELD(decoder_layers));
    field(BACKPLANE_FIELD(decoder_attention_heads));
    field(BACKPLANE_FIELD(dropout));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(activation_dropout));
    field(BACKPLANE_FIELD(activation_function));
    field(BACKPLANE_FIELD(init_std));
    field(BACKPLANE_FIELD(init_xavier_std));
    field(BACKPLANE_FIELD(encoder_layerdrop));
    field(BACKPLANE_FIELD(decoder_layerdrop));
    field(BACKPLANE_FIELD(num_queries));
    field(BACKPLANE_FIELD(auxiliary_loss));
    field(BACKPLANE_FIELD(position_embedding_type));
    field(BACKPLANE_FIELD(backbone));
    field(BACKPLANE_FIELD(use_pretrained_backbone));
    field(BACKPLANE_FIELD(backbone_kwargs));
    field(BACKPLANE_FIELD(dilation));
    field(BACKPLANE_FIELD(class_cost));
    field(BACKPLANE_FIELD(bbox_cost));
    field(BACKPLANE_FIELD(giou_cost));
    field(BACKPLANE_FIELD(bbox_loss_coefficient));
    field(BACKPLANE_FIELD(giou_loss_coefficient));
    field.alias("hidden_size", "d_model");
    field.alias("num_attention_heads", "encoder_attention_heads");
  }

  void validate() override {
    check_divides("d_model", d_model, "encoder_attention_heads", encoder_attention_heads);
    check_divides("d_model", d_model, "decoder_attention_heads", decoder_attention_heads);
    if (use_timm_backbone && backbone_kwargs.is_null()) {
      Value::Object kwargs;
      if (dilation.value_or(false)) kwargs.emplace_back("output_stride", 16);
      kwargs.emplace_back("out_indices", Value::List{1, 2, 3, 4});
      kwargs.emplace_back("in_chans", num_channels);
      backbone_kwargs = kwargs;
    } else if (!use_timm_backbone && (!backbone || *backbone == "resnet50")) {
      if (!backbone_config) {
        backbone_config = make_config("resnet");
        dynamic_cast<BackboneConfig&>(*backbone_config).out_features = {"stage4"};
        backbone_config->validate();
      }
      backbone.reset();
      dilation.reset();
    }
    if (backbone_config && backbone)
      throw Error(ErrorCode::bad_config, "backbone and backbone_config are both given; give one");
    if (backbone_config && use_timm_backbone)
      throw Error(ErrorCode::bad_config, "backbone_config and use_timm_backbone are both given; give one");
    if (position_embedding_type != "sine" && position_embedding_type != "learned") {
      throw Error(ErrorCode::bad_config,
                  concat("position_embedding_type is '", position_embedding_type, "'; possible are sine and learned"));
    }
  }
};

struct DetrConfig : DetrFamilyConfig {
  static constexpr const char* model_type = "detr";

  double mask_loss_coefficient = 1;
  double dice_loss_coefficient = 1;
  double eos_coefficient = 0.1;
  int64_t num_hidden_layers = 6;  // as many as encoder_layers

  void fields(FieldVisitor& field) override {
    DetrFamilyConfig::fields(field);
    field(BACKPLANE_FIELD(mask_loss_coefficient));
    field(BACKPLANE_FIELD(dice_loss_coefficient));
    field(BACKPLANE_FIELD(eos_coefficient));
    field(BACKPLANE_FIELD(num_hidden_layers));
  }

  void validate() override {
    DetrFamilyConfig::validate();
    num_hidden_layers = encoder_layers;
  }
};

}  // namespace backplane::detr
