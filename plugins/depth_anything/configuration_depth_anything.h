#pragma once

#include "../dinov2/configuration_dinov2.h"

namespace backplane::depth_anything {

struct DepthAnythingConfig : PretrainedConfig {
  static constexpr const char* model_type = "depth_anything";

  std::shared_ptr<PretrainedConfig> backbone_config;
  std::optional<std::string> backbone;
  bool use_pretrained_backbone = false;
  bool use_timm_backbone = false;
  Value backbone_kwargs;
  int64_t patch_size = 14;
  double initializer_range = 0.02;
  int64_t reassemble_hidden_size = 384;
  std::vector<double> reassemble_factors = {4, 2, 1, 0.5};
  std::vector<int64_t> neck_hidden_sizes = {48, 96, 192, 384};
  int64_t fusion_hidden_size = 64;
  int64_t head_in_index = -1;
  int64_t head_hidden_size = 32;
  std::string depth_estimation_type = "relative";  // or metric
  std::optional<double> max_depth;                 // metres; null or 0: 1

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(backbone_config));
    field(BACKPLANE_FIELD(backbone));
    field(BACKPLANE_FIELD(use_pretrained_backbone));
    field(BACKPLANE_FIELD(use_timm_backbone));
    field(BACKPLANE_FIELD(backbone_kwargs));
    field(BACKPLANE_FIELD(patch_size));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(reassemble_hidden_size));
    field(BACKPLANE_FIELD(reassemble_factors));
    field(BACKPLANE_FIELD(neck_hidden_sizes));
    field(BACKPLANE_FIELD(fusion_hidden_size));
    field(BACKPLANE_FIELD(head_in_index));
    field(BACKPLANE_FIELD(head_hidden_size));
    field(BACKPLANE_FIELD(depth_estimation_type));
    field(BACKPLANE_FIELD(max_depth));
  }

  void validate() override {
    if (depth_estimation_type != "relative" && depth_estimation_type != "metric") {
      throw Error(ErrorCode::bad_config,
                  concat("depth_estimation_type is '", depth_estimation_type, "'; possible are relative and metric"));
    }
    if (max_depth.value_or(0) == 0) max_depth = 1;
    if (!backbone_config && !backbone) {
      backbone_config = make_config("dinov2");
      auto& c = dynamic_cast<dinov2::Dinov2Config&>(*backbone_config);
      c.image_size = 518;
      c.hidden_size = 384;
      c.num_attention_heads = 6;
      c.out_indices = {9, 10, 11, 12};
      c.reshape_hidden_states = false;
      c.validate();
    }
    if (backbone_config && backbone)
      throw Error(ErrorCode::bad_config, "backbone and backbone_config are both given; give one");
    const auto stages = static_cast<int64_t>(neck_hidden_sizes.size());
    check_stages(neck_hidden_sizes.size(), {{"reassemble_factors", reassemble_factors.size()}});
    if (head_in_index >= stages || head_in_index < -stages)
      throw Error(ErrorCode::bad_config, concat("head_in_index is ", head_in_index, "; there are ", stages, " stages"));
    for (double factor : reassemble_factors) {
      if (!(factor > 0 && factor < 1024)) throw Error(ErrorCode::bad_config, concat("reassemble_factors has ", factor));
    }
    if (patch_size <= 0) throw Error(ErrorCode::bad_config, concat("patch_size is ", patch_size));
  }
};

}  // namespace backplane::depth_anything
