#pragma once

#include <backplane/config/field_value.h>

#include "../llama/configuration_llama.h"

namespace backplane::aria {

struct AriaTextConfig : llama::LlamaConfig {
  static constexpr const char* model_type = "aria_text";

  int64_t moe_num_experts = 8;
  int64_t moe_topk = 2;
  int64_t moe_num_shared_experts = 2;

  AriaTextConfig() {
    intermediate_size = 4096;
    pad_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    LlamaConfig::fields(field);
    field(BACKPLANE_FIELD(moe_num_experts));
    field(BACKPLANE_FIELD(moe_topk));
    field(BACKPLANE_FIELD(moe_num_shared_experts));
  }

  void validate() override {
    LlamaConfig::validate();
    if (moe_num_experts <= 0 || moe_topk <= 0 || moe_topk > moe_num_experts || moe_num_shared_experts < 0) {
      throw Error(ErrorCode::bad_config, concat("moe_topk is ", moe_topk, " of ", moe_num_experts,
                                                " experts; expected at least one, and no more than there are"));
    }
  }
};

struct AriaConfig : PretrainedConfig {
  static constexpr const char* model_type = "aria";

  std::shared_ptr<PretrainedConfig> vision_config;
  AriaTextConfig text_config;
  int64_t vision_feature_layer = -1;
  Value projector_patch_to_query_dict = Value::Object{{"1225", 128}, {"4900", 256}};  // patches -> tokens of an image
  int64_t max_value_projector_patch_to_query_dict = 256;
  int64_t image_token_index = 9;
  double initializer_range = 0.02;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(image_token_index));
    field.alias("image_token_id", "image_token_index");
    field(BACKPLANE_FIELD(projector_patch_to_query_dict));
    field(BACKPLANE_FIELD(max_value_projector_patch_to_query_dict));
    field(BACKPLANE_FIELD(vision_feature_layer));
    field(BACKPLANE_FIELD(vision_config), "idefics3_vision");
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(text_config));
  }

  void validate() override {
    if (!vision_config)
      throw Error(ErrorCode::bad_config, "vision_config is null; expected a vision tower's configuration");
    if (projector_patch_to_query_dict.is_null())
      projector_patch_to_query_dict = Value::Object{{"1225", 128}, {"4900", 256}};
    max_value_projector_patch_to_query_dict = 0;
    for (const auto& [patches, tokens] : projector_patch_to_query_dict.as_object()) {
      max_value_projector_patch_to_query_dict = std::max(max_value_projector_patch_to_query_dict, tokens.as_int());
    }
    if (max_value_projector_patch_to_query_dict <= 0)
      throw Error(ErrorCode::bad_config, "projector_patch_to_query_dict names no number of tokens above 0");
  }
};

}  // namespace backplane::aria
