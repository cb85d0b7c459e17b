#pragma once

#include <algorithm>

#include "../roberta/configuration_roberta.h"

namespace backplane::xmod {

/// RoBERTa's keys, and those of the adapters of languages.
struct XmodConfig : roberta::RobertaConfig {
  static constexpr const char* model_type = "xmod";

  bool pre_norm = false;
  int64_t adapter_reduction_factor = 2;
  bool adapter_layer_norm = false;
  bool adapter_reuse_layer_norm = true;
  bool ln_before_adapter = true;
  std::vector<std::string> languages = {"en_XX"};
  std::optional<std::string> default_language;

  XmodConfig() { vocab_size = 30522; }

  void fields(FieldVisitor& field) override {
    RobertaConfig::fields(field);
    field(BACKPLANE_FIELD(pre_norm));
    field(BACKPLANE_FIELD(adapter_reduction_factor));
    field(BACKPLANE_FIELD(adapter_layer_norm));
    field(BACKPLANE_FIELD(adapter_reuse_layer_norm));
    field(BACKPLANE_FIELD(ln_before_adapter));
    field(BACKPLANE_FIELD(languages));
    field(BACKPLANE_FIELD(default_language));
  }

  void validate() override {
    if (adapter_reduction_factor < 1 || adapter_reduction_factor > hidden_size) {
      throw Error(ErrorCode::bad_config, concat("adapter_reduction_factor (", adapter_reduction_factor,
                                                ") must lie between 1 and hidden_size (", hidden_size, ")"));
    }
    for (auto language = languages.begin(); language != languages.end(); ++language) {
      if (language->empty() || language->find('.') != std::string::npos ||
          std::find(languages.begin(), language, *language) != language) {
        throw Error(ErrorCode::bad_config,
                    concat("languages: '", *language, "' stands there twice, is empty or has a dot in it"));
      }
    }
  }
};

}  // namespace backplane::xmod
