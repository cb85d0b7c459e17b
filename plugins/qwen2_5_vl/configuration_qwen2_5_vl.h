#pragma once

#include "../qwen2_vl/configuration_qwen2_vl.h"

namespace backplane::qwen2_5_vl {

struct Qwen2_5_VLVisionConfig : PretrainedConfig {
  static constexpr const char* model_type = "qwen2_5_vl";

  int64_t depth = 32;
  int64_t hidden_size = 3584;
  std::string hidden_act = "silu";
  int64_t intermediate_size = 3420;
  int64_t num_heads = 16;
  int64_t in_channels = 3;
  int64_t patch_size = 14;
  int64_t spatial_merge_size = 2;
  int64_t temporal_patch_size = 2;
  int64_t tokens_per_second = 4;
  int64_t window_size = 112;  // pixels
  int64_t out_hidden_size = 3584;
  std::vector<int64_t> fullatt_block_indexes = {7, 15, 23, 31};
  double initializer_range = 0.02;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(depth));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(num_heads));
    field(BACKPLANE_FIELD(in_channels));
    field(BACKPLANE_FIELD(patch_size));
    field(BACKPLANE_FIELD(spatial_merge_size));
    field(BACKPLANE_FIELD(temporal_patch_size));
    field(BACKPLANE_FIELD(tokens_per_second));
    field(BACKPLANE_FIELD(window_size));
    field(BACKPLANE_FIELD(fullatt_block_indexes));
    field(BACKPLANE_FIELD(out_hidden_size));
    field(BACKPLANE_FIELD(initializer_range));
  }
};

struct Qwen2_5_VLTextConfig : qwen2_vl::Qwen2VLTextConfig {
  static constexpr const char* model_type = "qwen2_5_vl_text";
};

struct Qwen2_5_VLConfig : qwen2_vl::GridConfig<Qwen2_5_VLTextConfig, Qwen2_5_VLVisionConfig> {
  static constexpr const char* model_type = "qwen2_5_vl";
};

}  // namespace backplane::qwen2_5_vl
