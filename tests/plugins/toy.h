#pragma once

#include <backplane/plugin.h>

namespace backplane::toy {

struct ToyConfig : PretrainedConfig {
  static constexpr const char* model_type = "toy";
  int64_t hidden_size = 7;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field("hidden_size", hidden_size);
  }
};

}  // namespace backplane::toy
