#pragma once

#include <backplane/model.h>
#include <backplane/model/vision.h>

namespace backplane::mobilenet_v1 {

struct MobileNetV1Config : PretrainedConfig {
  static constexpr const char* model_type = "mobilenet_v1";

  int64_t num_channels = 3;
  int64_t image_size = 224;
  double depth_multiplier = 1;
  int64_t min_depth = 8;
  std::string hidden_act = "relu6";
  bool tf_padding = true;
  double classifier_dropout_prob = 0.999;
  double initializer_range = 0.02;
  double layer_norm_eps = 0.001;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(image_size));
    field(BACKPLANE_FIELD(depth_multiplier));
    field(BACKPLANE_FIELD(min_depth));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(tf_padding));
    field(BACKPLANE_FIELD(classifier_dropout_prob));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(layer_norm_eps));
  }

  void validate() override {
    if (!(depth_multiplier > 0 && depth_multiplier < 1000))
      throw Error(ErrorCode::bad_config, concat("depth_multiplier is ", depth_multiplier, "; it must be above 0"));
  }

  int64_t channels(int64_t depth) const {
    return std::max(static_cast<int64_t>(static_cast<double>(depth) * depth_multiplier), min_depth);
  }
};

}  // namespace backplane::mobilenet_v1
