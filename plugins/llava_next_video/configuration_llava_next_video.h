#pragma once

#include "../llava_next/configuration_llava_next.h"

namespace backplane::llava_next_video {

struct LlavaNextVideoConfig : llava_next::TiledConfig {
  static constexpr const char* model_type = "llava_next_video";

  int64_t video_token_index = 32000;
  std::string spatial_pool_mode = "average";  // or "max", "conv"
  int64_t spatial_pool_stride = 2;
  int64_t image_seq_length = 576;
  int64_t video_seq_length = 288;

  LlavaNextVideoConfig() { image_token_index = 32001; }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    parts(field, "clip_vision_model", "llama");
    tiles(field);
    field(BACKPLANE_FIELD(video_token_index));
    field.alias("video_token_id", "video_token_index");
    field(BACKPLANE_FIELD(spatial_pool_mode));
    field(BACKPLANE_FIELD(spatial_pool_stride));
    field(BACKPLANE_FIELD(image_seq_length));
    field(BACKPLANE_FIELD(video_seq_length));
  }

  void validate() override {
    TiledConfig::validate();
    if (spatial_pool_mode != "average" && spatial_pool_mode != "max" && spatial_pool_mode != "conv") {
      throw Error(ErrorCode::bad_config,
                  concat("spatial_pool_mode is '", spatial_pool_mode, "'; expected 'average', 'max' or 'conv'"));
    }
    if (spatial_pool_stride <= 0)
      throw Error(ErrorCode::bad_config,
                  concat("spatial_pool_stride is ", spatial_pool_stride, "; expected 1 or more"));
  }
};

}  // namespace backplane::llava_next_video
