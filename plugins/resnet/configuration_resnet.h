#pragma once

#include <backplane/model.h>
#include <backplane/model/vision.h>

namespace backplane::resnet {

struct ResNetConfig : BackboneConfig {
  static constexpr const char* model_type = "resnet";

  int64_t num_channels = 3;
  int64_t embedding_size = 64;
  std::vector<int64_t> hidden_sizes = {256, 512, 1024, 2048};
  std::vector<int64_t> depths = {3, 4, 6, 3};
  std::string layer_type = "bottleneck";  // or basic
  std::string hidden_act = "relu";
  bool downsample_in_first_stage = false;
  bool downsample_in_bottleneck = false;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(embedding_size));
    field(BACKPLANE_FIELD(hidden_sizes));
    field(BACKPLANE_FIELD(depths));
    field(BACKPLANE_FIELD(layer_type));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(downsample_in_first_stage));
    field(BACKPLANE_FIELD(downsample_in_bottleneck));
    backbone_fields(field);
  }

  void validate() override {
    if (layer_type != "basic" && layer_type != "bottleneck")
      throw Error(ErrorCode::bad_config, concat("layer_type is '", layer_type, "'; possible are basic and bottleneck"));
    check_stages(depths.size(), {{"hidden_sizes", hidden_sizes.size()}});
    align_stages("stem", static_cast<int64_t>(depths.size()));
  }

  std::vector<int64_t> stage_channels() const override {
    std::vector<int64_t> channels = {embedding_size};
    channels.insert(channels.end(), hidden_sizes.begin(), hidden_sizes.end());
    return channels;
  }
};

}  // namespace backplane::resnet
