#pragma once

#include <backplane/model.h>
#include <backplane/model/vision.h>

#include <cctype>

namespace backplane::bit {

struct BitConfig : BackboneConfig {
  static constexpr const char* model_type = "bit";

  int64_t num_channels = 3;
  int64_t embedding_size = 64;
  std::vector<int64_t> hidden_sizes = {256, 512, 1024, 2048};
  std::vector<int64_t> depths = {3, 4, 6, 3};
  std::string layer_type = "preactivation";  // or bottleneck
  std::string hidden_act = "relu";
  std::optional<std::string> global_padding;  // SAME or VALID
  int64_t num_groups = 32;
  double drop_path_rate = 0;
  bool embedding_dynamic_padding = false;
  int64_t output_stride = 32;
  double width_factor = 1;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(embedding_size));
    field(BACKPLANE_FIELD(hidden_sizes));
    field(BACKPLANE_FIELD(depths));
    field(BACKPLANE_FIELD(layer_type));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(global_padding));
    field(BACKPLANE_FIELD(num_groups));
    field(BACKPLANE_FIELD(drop_path_rate));
    field(BACKPLANE_FIELD(embedding_dynamic_padding));
    field(BACKPLANE_FIELD(output_stride));
    field(BACKPLANE_FIELD(width_factor));
    backbone_fields(field);
  }

  void validate() override {
    if (layer_type != "preactivation" && layer_type != "bottleneck") {
      throw Error(ErrorCode::bad_config,
                  concat("layer_type is '", layer_type, "'; possible are preactivation and bottleneck"));
    }
    if (global_padding) {
      for (char& c : *global_padding) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      if (*global_padding != "SAME" && *global_padding != "VALID") {
        throw Error(ErrorCode::bad_config,
                    concat("global_padding is '", *global_padding, "'; possible are SAME and VALID"));
      }
    }
    check_stages(depths.size(), {{"hidden_sizes", hidden_sizes.size()}});
    align_stages("stem", static_cast<int64_t>(depths.size()));
  }

  std::vector<int64_t> stage_channels() const override {
    std::vector<int64_t> channels = {embedding_size};
    channels.insert(channels.end(), hidden_sizes.begin(), hidden_sizes.end());
    return channels;
  }
};

}  // namespace backplane::bit
