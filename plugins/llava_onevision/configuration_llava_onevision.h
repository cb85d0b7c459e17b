#pragma once

#include <charconv>

#include "../llava_next/configuration_llava_next.h"

namespace backplane::llava_onevision {

struct LlavaOnevisionConfig : llava_next::TiledConfig {
  static constexpr const char* model_type = "llava_onevision";

  int64_t video_token_index = 151647;
  std::string vision_aspect_ratio = "anyres_max_9";

  LlavaOnevisionConfig() {
    image_token_index = 151646;
    vision_feature_select_strategy = "full";
    vision_feature_layer = -1;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    parts(field, "siglip_vision_model", "qwen2");
    tiles(field);
    field(BACKPLANE_FIELD(video_token_index));
    field.alias("video_token_id", "video_token_index");
    field(BACKPLANE_FIELD(vision_aspect_ratio));
  }

  Value default_pinpoints() const override {
    Value::List sizes;
    for (int height = 384; height <= 2304; height += 384) {
      for (int width = 384; width <= 2304; width += 384) sizes.push_back(Value::List{height, width});
    }
    return sizes;
  }
};

// "anyres_max_9": tiles whose features are as many as those of 9 tiles at most.
inline int64_t most_tiles(const std::string& aspect_ratio) {
  int64_t count = 0;
  const size_t digits = aspect_ratio.find_first_of("0123456789");
  const char *first = aspect_ratio.data() + std::min(digits, aspect_ratio.size()),
             *last = aspect_ratio.data() + aspect_ratio.size();
  if (const auto [end, error] = std::from_chars(first, last, count);
      error != std::errc() || end != last || count <= 0) {
    throw Error(ErrorCode::invalid_value,
                concat("vision_aspect_ratio is '", aspect_ratio, "'; expected 'anyres_max_<number>'"));
  }
  return count;
}

}  // namespace backplane::llava_onevision
