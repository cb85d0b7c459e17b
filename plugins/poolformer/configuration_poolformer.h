#pragma once

#include <backplane/model.h>
#include <backplane/model/vision.h>

namespace backplane::poolformer {

struct PoolFormerConfig : PretrainedConfig {
  static constexpr const char* model_type = "poolformer";

  int64_t num_channels = 3;
  int64_t patch_size = 16;
  int64_t stride = 16;
  int64_t pool_size = 3;
  double mlp_ratio = 4;
  std::vector<int64_t> depths = {2, 2, 6, 2};
  std::vector<int64_t> hidden_sizes = {64, 128, 320, 512};
  std::vector<int64_t> patch_sizes = {7, 3, 3, 3};
  std::vector<int64_t> strides = {4, 2, 2, 2};
  std::vector<int64_t> padding = {2, 1, 1, 1};
  int64_t num_encoder_blocks = 4;
  double drop_path_rate = 0;
  std::string hidden_act = "gelu";
  bool use_layer_scale = true;
  double layer_scale_init_value = 1e-5;
  double initializer_range = 0.02;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(patch_size));
    field(BACKPLANE_FIELD(stride));
    field(BACKPLANE_FIELD(pool_size));
    field(BACKPLANE_FIELD(mlp_ratio));
    field(BACKPLANE_FIELD(depths));
    field(BACKPLANE_FIELD(hidden_sizes));
    field(BACKPLANE_FIELD(patch_sizes));
    field(BACKPLANE_FIELD(strides));
    field(BACKPLANE_FIELD(padding));
    field(BACKPLANE_FIELD(num_encoder_blocks));
    field(BACKPLANE_FIELD(drop_path_rate));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(use_layer_scale));
    field(BACKPLANE_FIELD(layer_scale_init_value));
    field(BACKPLANE_FIELD(initializer_range));
  }

  void validate() override {
    if (num_encoder_blocks <= 0 || pool_size <= 0) {
      throw Error(ErrorCode::bad_config, concat("num_encoder_blocks (", num_encoder_blocks, ") and pool_size (",
                                                pool_size, ") must be positive"));
    }
    check_stages(static_cast<size_t>(num_encoder_blocks), {{"depths", depths.size()},
                                                           {"hidden_sizes", hidden_sizes.size()},
                                                           {"patch_sizes", patch_sizes.size()},
                                                           {"strides", strides.size()},
                                                           {"padding", padding.size()}});
  }
};

}  // namespace backplane::poolformer
