#pragma once

#include <backplane/model.h>
#include <backplane/model/vision.h>

namespace backplane::efficientnet {

struct EfficientNetConfig : PretrainedConfig {
  static constexpr const char* model_type = "efficientnet";

  int64_t num_channels = 3;
  int64_t image_size = 600;
  double width_coefficient = 2;
  double depth_coefficient = 3.1;
  int64_t depth_divisor = 8;
  std::vector<int64_t> kernel_sizes = {3, 3, 5, 3, 5, 5, 3};
  std::vector<int64_t> in_channels = {32, 16, 24, 40, 80, 112, 192};
  std::vector<int64_t> out_channels = {16, 24, 40, 80, 112, 192, 320};
  std::vector<int64_t> depthwise_padding;  // blocks that are padded evenly
  std::vector<int64_t> strides = {1, 2, 2, 2, 1, 2, 1};
  std::vector<int64_t> num_block_repeats = {1, 2, 2, 3, 3, 4, 1};
  std::vector<int64_t> expand_ratios = {1, 6, 6, 6, 6, 6, 6};
  double squeeze_expansion_ratio = 0.25;
  std::string hidden_act = "swish";
  int64_t hidden_dim = 2560;
  std::string pooling_type = "mean";  // or max
  double initializer_range = 0.02;
  double batch_norm_eps = 0.001;
  double batch_norm_momentum = 0.99;
  double dropout_rate = 0.5;
  double drop_connect_rate = 0.2;
  int64_t num_hidden_layers = 64;  // four a block

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(image_size));
    field(BACKPLANE_FIELD(width_coefficient));
    field(BACKPLANE_FIELD(depth_coefficient));
    field(BACKPLANE_FIELD(depth_divisor));
    field(BACKPLANE_FIELD(kernel_sizes));
    field(BACKPLANE_FIELD(in_channels));
    field(BACKPLANE_FIELD(out_channels));
    field(BACKPLANE_FIELD(depthwise_padding));
    field(BACKPLANE_FIELD(strides));
    field(BACKPLANE_FIELD(num_block_repeats));
    field(BACKPLANE_FIELD(expand_ratios));
    field(BACKPLANE_FIELD(squeeze_expansion_ratio));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(hidden_dim));
    field(BACKPLANE_FIELD(pooling_type));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(batch_norm_eps));
    field(BACKPLANE_FIELD(batch_norm_momentum));
    field(BACKPLANE_FIELD(dropout_rate));
    field(BACKPLANE_FIELD(drop_connect_rate));
    field(BACKPLANE_FIELD(num_hidden_layers));
  }

  void validate() override {
    if (depth_divisor <= 0) throw Error(ErrorCode::bad_config, concat("depth_divisor is ", depth_divisor));
    if (pooling_type != "mean" && pooling_type != "max")
      throw Error(ErrorCode::bad_config, concat("pooling_type is '", pooling_type, "'; possible are mean and max"));
    check_stages(in_channels.size(), {{"kernel_sizes", kernel_sizes.size()},
                                      {"out_channels", out_channels.size()},
                                      {"strides", strides.size()},
                                      {"num_block_repeats", num_block_repeats.size()},
                                      {"expand_ratios", expand_ratios.size()}});
    num_hidden_layers = 0;
    for (int64_t repeats : num_block_repeats) num_hidden_layers += 4 * repeats;
  }

  // The nearest multiple of depth_divisor that is at least 90 % of the scaled width.
  int64_t width(int64_t channels) const {
    const double scaled = static_cast<double>(channels) * width_coefficient,
                 divisor = static_cast<double>(depth_divisor);
    int64_t rounded =
        std::max(depth_divisor, static_cast<int64_t>(scaled + divisor / 2) / depth_divisor * depth_divisor);
    if (static_cast<double>(rounded) < 0.9 * scaled) rounded += depth_divisor;
    return rounded;
  }
};

}  // namespace backplane::efficientnet
