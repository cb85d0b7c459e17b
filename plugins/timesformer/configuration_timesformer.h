#pragma once

#include "../vit/configuration_vit.h"

namespace backplane::timesformer {

struct TimesformerConfig : vit::ViTImageConfig {
  static constexpr const char* model_type = "timesformer";

  int64_t num_frames = 8;
  std::string attention_type = "divided_space_time";  // or space_only, joint_space_time
  double drop_path_rate = 0;

  TimesformerConfig() { layer_norm_eps = 1e-6; }

  void fields(FieldVisitor& field) override {
    ViTImageConfig::fields(field);
    field(BACKPLANE_FIELD(num_frames));
    field(BACKPLANE_FIELD(attention_type));
    field(BACKPLANE_FIELD(drop_path_rate));
  }

  void validate() override {
    ViTImageConfig::validate();
    if (num_frames <= 0) throw Error(ErrorCode::bad_config, concat("num_frames is ", num_frames));
    if (attention_type != "divided_space_time" && attention_type != "space_only" &&
        attention_type != "joint_space_time") {
      throw Error(ErrorCode::bad_config, concat("attention_type is '", attention_type,
                                                "'; possible are divided_space_time, space_only and joint_space_time"));
    }
  }
};

}  // namespace backplane::timesformer
