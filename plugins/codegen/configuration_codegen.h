#pragma once

#include "../gptj/configuration_gptj.h"

namespace backplane::codegen {

/// GPT-J's keys and the size of the context.
struct CodeGenConfig : gptj::GPTJConfig {
  static constexpr const char* model_type = "codegen";

  int64_t n_ctx = 2048;

  void fields(FieldVisitor& field) override {
    GPTJConfig::fields(field);
    field(BACKPLANE_FIELD(n_ctx));
  }

  void validate() override {
    GPTJConfig::validate();
    if (n_head % 4 != 0) throw Error(ErrorCode::bad_config, concat("n_head (", n_head, ") is not divisible by 4"));
  }
};

}  // namespace backplane::codegen
