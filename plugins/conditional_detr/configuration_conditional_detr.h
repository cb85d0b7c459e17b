#pragma once

#include "../detr/configuration_detr.h"

namespace backplane::conditional_detr {

struct ConditionalDetrConfig : detr::DetrFamilyConfig {
  static constexpr const char* model_type = "conditional_detr";

  double mask_loss_coefficient = 1;
  double dice_loss_coefficient = 1;
  double cls_loss_coefficient = 2;
  double focal_alpha = 0.25;
  int64_t num_hidden_layers = 6;  // as many as encoder_layers

  ConditionalDetrConfig() {
    num_queries = 300;
    class_cost = 2;
  }

  void fields(FieldVisitor& field) override {
    DetrFamilyConfig::fields(field);
    field(BACKPLANE_FIELD(mask_loss_coefficient));
    field(BACKPLANE_FIELD(dice_loss_coefficient));
    field(BACKPLANE_FIELD(cls_loss_coefficient));
    field(BACKPLANE_FIELD(focal_alpha));
    field(BACKPLANE_FIELD(num_hidden_layers));
  }

  void validate() override {
    DetrFamilyConfig::validate();
    num_hidden_layers = encoder_layers;
  }
};

}  // namespace backplane::conditional_detr
