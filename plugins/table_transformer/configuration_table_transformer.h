#pragma once

#include "../detr/configuration_detr.h"

namespace backplane::table_transformer {

struct TableTransformerConfig : detr::DetrFamilyConfig {
  static constexpr const char* model_type = "table-transformer";

  double mask_loss_coefficient = 1;
  double dice_loss_coefficient = 1;
  double eos_coefficient = 0.1;
  int64_t num_hidden_layers = 6;  // as many as encoder_layers

  void fields(FieldVisitor& field) override {
    DetrFamilyConfig::fields(field);
    field(BACKPLANE_FIELD(mask_loss_coefficient));
    field(BACKPLANE_FIELD(dice_loss_coefficient));
    field(BACKPLANE_FIELD(eos_coefficient));
    field(BACKPLANE_FIELD(num_hidden_layers));
  }

  void validate() override {
    DetrFamilyConfig::validate();
    num_hidden_layers = encoder_layers;
  }
};

}  // namespace backplane::table_transformer
