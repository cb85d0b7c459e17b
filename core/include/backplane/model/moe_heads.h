#pragma once

#include "backplane/model/decoder.h"
#include "backplane/model/heads.h"
#include "backplane/nn/experts.h"

namespace backplane {

/// What forward of a base model with experts takes.
inline constexpr auto kMoeDecoderArguments = extend(kDecoderArguments, "output_router_logits");

/// Next-token scores over a base with experts: with `output_router_logits`, adds the auxiliary loss. The configuration
/// has output_router_logits, router_aux_loss_coef and `experts_per_token()`.
template <class PreTrained, class Model>
struct MoeCausalLMHead : CausalLMHead<PreTrained, Model> {
  using CausalLMHead<PreTrained, Model>::CausalLMHead;

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto& c = static_cast<const typename PreTrained::Config&>(this->config());
    ModelOutput output = CausalLMHead<PreTrained, Model>::compute(inputs);
    const auto router_logits = output.tuple("router_logits");
    if (router_logits.empty()) return output;
    const Tensor aux = load_balancing_loss(router_logits, c.experts_per_token(), inputs.tensor("attention_mask"));
    output.set("aux_loss", aux);
    if (const Tensor loss = output.tensor("loss"); loss.defined())
      output.set("loss", loss + c.router_aux_loss_coef * aux);
    return output;
  }
};

}  // namespace backplane
