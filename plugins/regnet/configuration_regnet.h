#pragma once

#include <backplane/model.h>
#include <backplane/model/vision.h>

namespace backplane::regnet {

struct RegNetConfig : PretrainedConfig {
  static constexpr const char* model_type = "regnet";

  int64_t num_channels = 3;
  int64_t embedding_size = 32;
  std::vector<int64_t> hidden_sizes = {128, 192, 512, 1088};
  std::vector<int64_t> depths = {2, 6, 12, 2};
  int64_t groups_width = 64;
  std::string layer_type = "y";  // or x
  std::string hidden_act = "relu";
  bool downsample_in_first_stage = true;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(embedding_size));
    field(BACKPLANE_FIELD(hidden_sizes));
    field(BACKPLANE_FIELD(depths));
    field(BACKPLANE_FIELD(groups_width));
    field(BACKPLANE_FIELD(layer_type));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(downsample_in_first_stage));
  }

  void validate() override {
    if (layer_type != "x" && layer_type != "y")
      throw Error(ErrorCode::bad_config, concat("layer_type is '", layer_type, "'; possible are x and y"));
    if (groups_width <= 0) throw Error(ErrorCode::bad_config, concat("groups_width is ", groups_width));
    check_stages(depths.size(), {{"hidden_sizes", hidden_sizes.size()}});
    downsample_in_first_stage = true;
  }
};

}  // namespace backplane::regnet
