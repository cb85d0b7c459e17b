#pragma once

#include <backplane/model.h>
#include <backplane/model/vision.h>

namespace backplane::upernet {

struct UperNetConfig : PretrainedConfig {
  static constexpr const char* model_type = "upernet";

  std::shared_ptr<PretrainedConfig> backbone_config;
  std::optional<std::string> backbone;
  bool use_pretrained_backbone = false;
  bool use_timm_backbone = false;
  Value backbone_kwargs;
  int64_t hidden_size = 512;
  double initializer_range = 0.02;
  std::vector<int64_t> pool_scales = {1, 2, 3, 6};
  bool use_auxiliary_head = true;
  double auxiliary_loss_weight = 0.4;
  std::optional<int64_t> auxiliary_in_channels;  // null: those of the third map
  int64_t auxiliary_channels = 256;
  int64_t auxiliary_num_convs = 1;
  bool auxiliary_concat_input = false;
  int64_t loss_ignore_index = 255;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(backbone_config));
    field(BACKPLANE_FIELD(backbone));
    field(BACKPLANE_FIELD(use_pretrained_backbone));
    field(BACKPLANE_FIELD(use_timm_backbone));
    field(BACKPLANE_FIELD(backbone_kwargs));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(pool_scales));
    field(BACKPLANE_FIELD(use_auxiliary_head));
    field(BACKPLANE_FIELD(auxiliary_loss_weight));
    field(BACKPLANE_FIELD(auxiliary_in_channels));
    field(BACKPLANE_FIELD(auxiliary_channels));
    field(BACKPLANE_FIELD(auxiliary_num_convs));
    field(BACKPLANE_FIELD(auxiliary_concat_input));
    field(BACKPLANE_FIELD(loss_ignore_index));
  }

  void validate() override {
    if (!backbone_config && !backbone) {
      backbone_config = make_config("resnet");
      dynamic_cast<BackboneConfig&>(*backbone_config).out_features = {"stage1", "stage2", "stage3", "stage4"};
      backbone_config->validate();
    }
    if (backbone_config && backbone)
      throw Error(ErrorCode::bad_config, "backbone and backbone_config are both given; give one");
    for (int64_t scale : pool_scales) {
      if (scale <= 0 || scale > 1024) throw Error(ErrorCode::bad_config, concat("pool_scales has ", scale));
    }
  }
};

}  // namespace backplane::upernet
