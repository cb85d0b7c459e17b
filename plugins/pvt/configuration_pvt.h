#pragma once

#include <backplane/model.h>
#include <backplane/model/vision.h>

namespace backplane::pvt {

struct PvtConfig : PretrainedConfig {
  static constexpr const char* model_type = "pvt";

  int64_t image_size = 224;
  int64_t num_channels = 3;
  int64_t num_encoder_blocks = 4;
  std::vector<int64_t> depths = {2, 2, 2, 2};
  std::vector<int64_t> sequence_reduction_ratios = {8, 4, 2, 1};
  std::vector<int64_t> hidden_sizes = {64, 128, 320, 512};
  std::vector<int64_t> patch_sizes = {4, 2, 2, 2};
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

  PvtConfig() { set_num_labels(1000); }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(image_size));
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(num_encoder_blocks));
    field(BACKPLANE_FIELD(depths));
    field(BACKPLANE_FIELD(sequence_reduction_ratios));
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
  }

  void validate() override {
    constexpr int64_t kMostStages = 16;
    if (num_encoder_blocks <= 0 || num_encoder_blocks > kMostStages)
      throw Error(ErrorCode::bad_config, concat("num_encoder_blocks is ", num_encoder_blocks));
    const auto stages = static_cast<size_t>(num_encoder_blocks);
    check_stages(stages, {{"depths", depths.size()},
                          {"sequence_reduction_ratios", sequence_reduction_ratios.size()},
                          {"hidden_sizes", hidden_sizes.size()},
                          {"patch_sizes", patch_sizes.size()},
                          {"strides", strides.size()},
                          {"num_attention_heads", num_attention_heads.size()},
                          {"mlp_ratios", mlp_ratios.size()}});
    for (size_t i = 0; i < stages; ++i) {
      check_divides("hidden_sizes", hidden_sizes[i], "num_attention_heads", num_attention_heads[i]);
      if (patch_sizes[i] <= 0) throw Error(ErrorCode::bad_config, concat("patch_sizes has ", patch_sizes[i]));
    }
  }
};

}  // namespace backplane::pvt
