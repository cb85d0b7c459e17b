#pragma once

#include "../roberta/configuration_roberta.h"

namespace backplane::roberta_prelayernorm {

/// RoBERTa's keys and defaults.
struct RobertaPreLayerNormConfig : roberta::RobertaConfig {
  static constexpr const char* model_type = "roberta-prelayernorm";
};

}  // namespace backplane::roberta_prelayernorm
