#pragma once

#include "../vit/configuration_vit.h"

namespace backplane::yolos {

struct YolosConfig : vit::ViTImageConfig {
  static constexpr const char* model_type = "yolos";

  int64_t num_detection_tokens = 100;
  bool use_mid_position_embeddings = true;
  bool auxiliary_loss = false;
  double class_cost = 1;
  double bbox_cost = 5;
  double giou_cost = 2;
  double bbox_loss_coefficient = 5;
  double giou_loss_coefficient = 2;
  double eos_coefficient = 0.1;

  YolosConfig() { image_size = Value::List{512, 864}; }

  void fields(FieldVisitor& field) override {
    ViTImageConfig::fields(field);
    field(BACKPLANE_FIELD(num_detection_tokens));
    field(BACKPLANE_FIELD(use_mid_position_embeddings));
    field(BACKPLANE_FIELD(auxiliary_loss));
    field(BACKPLANE_FIELD(class_cost));
    field(BACKPLANE_FIELD(bbox_cost));
    field(BACKPLANE_FIELD(giou_cost));
    field(BACKPLANE_FIELD(bbox_loss_coefficient));
    field(BACKPLANE_FIELD(giou_loss_coefficient));
    field(BACKPLANE_FIELD(eos_coefficient));
  }

  void validate() override {
    ViTImageConfig::validate();
    if (num_detection_tokens <= 0)
      throw Error(ErrorCode::bad_config, concat("num_detection_tokens is ", num_detection_tokens));
  }
};

}  // namespace backplane::yolos
