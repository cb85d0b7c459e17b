#pragma once

#include <backplane/model.h>
#include <backplane/model/vision.h>

namespace backplane::pvt_v2 {

struct PvtV2Config : BackboneConfig {
  static constexpr const char* model_type = "pvt_v2";

  Value image_size = 224;  // a number, or [height, width]
  int64_t num_channels = 3;
  int64_t num_encoder_blocks = 4;
  std::vector<int64_t> depths = {2, 2, 2, 2};
  std::vector<int64_t> sr_ratios = {8, 4, 2, 1};
  std::vector<int64_t> hidden_sizes = {32, 64, 160, 256};
  std::vector<int64_t> patch_sizes = {7, 3, 3, 3};
  std::vector<int64_t> strides = {4, 2, 2, 2};
  std::vector<int64_t> num_attention_heads = {1, 2, 5, 8};
  std::vector<double> mlp_ratios = {8, 8, 4, 4};
  std::string hidden_act = "gelu";
  double hidden_dropout_prob = 0;
  double attention_probs_dropout_prob = 0;
  double initializer_range = 0.02;
  double drop_path_rate = 0;
  double layer_norm_eps = 1e-6;
  bool qkv_bias = true;
  bool linear_attention = false;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(image_size));
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(num_encoder_blocks));
    field(BACKPLANE_FIELD(depths));
    field(BACKPLANE_FIELD(sr_ratios));
    field(BACKPLANE_FIELD(hidden_sizes));
    field(BACKPLANE_FIELD(patch_sizes));
    field(BACKPLANE_FIELD(strides));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(mlp_ratios));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(hidden_dropout_prob));
    field(BACKPLANE_FIELD(attention_probs_dropout_prob));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(drop_path_rate));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(qkv_bias));
    field(BACKPLANE_FIELD(linear_attention));
    backbone_fields(field);
  }

  void validate() override {
    if (image_size.is_int()) image_size = Value::List{image_size, image_size};
    if (num_encoder_blocks <= 0)
      throw Error(ErrorCode::bad_config, concat("num_encoder_blocks is ", num_encoder_blocks));
    const auto stages = static_cast<size_t>(num_encoder_blocks);
    check_stages(stages, {{"depths", depths.size()},
                          {"sr_ratios", sr_ratios.size()},
                          {"hidden_sizes", hidden_sizes.size()},
                          {"patch_sizes", patch_sizes.size()},
                          {"strides", strides.size()},
                          {"num_attention_heads", num_attention_heads.size()},
                          {"mlp_ratios", mlp_ratios.size()}});
    for (size_t i = 0; i < stages; ++i)
      check_divides("hidden_sizes", hidden_sizes[i], "num_attention_heads", num_attention_heads[i]);
    std::vector<std::string> names;
    for (size_t i = 1; i <= depths.size(); ++i) names.push_back("stage" + std::to_string(i));
    align_stages(names);
  }

  std::vector<int64_t> stage_channels() const override { return hidden_sizes; }
};

}  // namespace backplane::pvt_v2
