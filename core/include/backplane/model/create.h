#pragma once

#include <memory>

#include "backplane/config/pretrained_config.h"

namespace backplane {

class PreTrainedModel;

/// A model of class `Model` for a configuration of its class, which is copied and checked; parameters are
/// uninitialised, ties are made. Throws `bad_config`.
template <class Model>
std::shared_ptr<PreTrainedModel> create_model(const PretrainedConfig& config) {
  auto own = std::make_shared<typename Model::Config>(dynamic_cast<const typename Model::Config&>(config));
  own->validate();
  auto model = std::make_shared<Model>(*own);
  model->own_config(own);
  model->tie_weights();
  return model;
}

/// False where the class says `static constexpr bool supports_sdpa = false;`: it computes attention eagerly (AC-114).
template <class Model>
constexpr bool has_sdpa() {
  if constexpr (requires { Model::supports_sdpa; }) return Model::supports_sdpa;
  return true;
}

}  // namespace backplane
