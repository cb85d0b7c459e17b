#pragma once

#include "../gemma3/configuration_gemma3.h"

namespace backplane::shieldgemma2 {

struct ShieldGemma2Config : gemma3::Gemma3Config {
  static constexpr const char* model_type = "shieldgemma2";

  // Keys that only files have.
  int64_t token(std::string_view key, int64_t fallback) const {
    const Value* found = find_extra(key);
    return found ? found->as_int() : fallback;
  }
};

}  // namespace backplane::shieldgemma2
