#pragma once

#include <backplane/model.h>
#include <backplane/model/vision.h>

#include <cmath>

namespace backplane::mobilenet_v2 {

struct MobileNetV2Config : PretrainedConfig {
  static constexpr const char* model_type = "mobilenet_v2";

  int64_t num_channels = 3;
  int64_t image_size = 224;
  double depth_multiplier = 1;
  int64_t depth_divisible_by = 8;
  int64_t min_depth = 8;
  double expand_ratio = 6;
  int64_t output_stride = 32;
  bool first_layer_is_expansion = true;
  bool finegrained_output = true;
  std::string hidden_act = "relu6";
  bool tf_padding = true;
  double classifier_dropout_prob = 0.8;
  double initializer_range = 0.02;
  double layer_norm_eps = 0.001;
  int64_t semantic_loss_ignore_index = 255;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(image_size));
    field(BACKPLANE_FIELD(depth_multiplier));
    field(BACKPLANE_FIELD(depth_divisible_by));
    field(BACKPLANE_FIELD(min_depth));
    field(BACKPLANE_FIELD(expand_ratio));
    field(BACKPLANE_FIELD(output_stride));
    field(BACKPLANE_FIELD(first_layer_is_expansion));
    field(BACKPLANE_FIELD(finegrained_output));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(tf_padding));
    field(BACKPLANE_FIELD(classifier_dropout_prob));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(semantic_loss_ignore_index));
  }

  void validate() override {
    if (!(depth_multiplier > 0 && depth_multiplier < 1000))
      throw Error(ErrorCode::bad_config, concat("depth_multiplier is ", depth_multiplier, "; it must be above 0"));
    if (depth_divisible_by <= 0)
      throw Error(ErrorCode::bad_config, concat("depth_divisible_by is ", depth_divisible_by));
  }

  // The nearest multiple of depth_divisible_by that is at least 90 % of the value.
  int64_t divisible(double value) const {
    value = std::nearbyint(value);
    const auto divisor = static_cast<double>(depth_divisible_by);
    int64_t rounded =
        std::max(min_depth, static_cast<int64_t>(value + divisor / 2) / depth_divisible_by * depth_divisible_by);
    if (static_cast<double>(rounded) < 0.9 * value) rounded += depth_divisible_by;
    return rounded;
  }
  int64_t channels(int64_t depth) const { return divisible(static_cast<double>(depth) * depth_multiplier); }
};

}  // namespace backplane::mobilenet_v2
