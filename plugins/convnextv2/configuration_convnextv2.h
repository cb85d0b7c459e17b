#pragma once

#include <backplane/model.h>
#include <backplane/model/vision.h>

namespace backplane::convnextv2 {

struct ConvNextV2Config : BackboneConfig {
  static constexpr const char* model_type = "convnextv2";

  int64_t num_channels = 3;
  int64_t patch_size = 4;
  int64_t num_stages = 4;
  std::vector<int64_t> hidden_sizes = {96, 192, 384, 768};
  std::vector<int64_t> depths = {3, 3, 9, 3};
  std::string hidden_act = "gelu";
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-12;
  double drop_path_rate = 0;
  int64_t image_size = 224;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(patch_size));
    field(BACKPLANE_FIELD(num_stages));
    field(BACKPLANE_FIELD(hidden_sizes));
    field(BACKPLANE_FIELD(depths));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(drop_path_rate));
    field(BACKPLANE_FIELD(image_size));
    backbone_fields(field);
  }

  void validate() override {
    if (num_stages <= 0) throw Error(ErrorCode::bad_config, concat("num_stages is ", num_stages));
    check_stages(static_cast<size_t>(num_stages), {{"depths", depths.size()}, {"hidden_sizes", hidden_sizes.size()}});
    align_stages("stem", static_cast<int64_t>(depths.size()));
  }

  std::vector<int64_t> stage_channels() const override {
    std::vector<int64_t> channels = {hidden_sizes[0]};
    channels.insert(channels.end(), hidden_sizes.begin(), hidden_sizes.end());
    return channels;
  }
};

}  // namespace backplane::convnextv2
