// Falcon Mamba: Zuo et al. 2024, https://arxiv.org/abs/2410.05355
// Falcon Mamba is Mamba except: time step, B and C are normalised, without weights.
// Reference: transformers, models/falcon_mamba/modeling_falcon_mamba.py

#include "../mamba/modeling_mamba.h"
#include "configuration_falcon_mamba.h"

namespace backplane::falcon_mamba {

struct FalconMambaPreTrainedModel : PreTrainedModel {
  static constexpr bool supports_sdpa = false;
  using Config = FalconMambaConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "backbone"}; }
};

struct FalconMambaMixerImpl : mamba::MambaMixerImpl {
  double eps;

  FalconMambaMixerImpl(const FalconMambaConfig& c, size_t layer) : MambaMixerImpl(c, layer), eps(c.mixer_rms_eps) {}

  std::vector<Tensor> selection(std::vector<Tensor> parts) override {
    for (auto& part : parts) {
      const Tensor wide = part.to(at::kFloat);
      part = (wide * at::rsqrt(wide.square().mean(-1, true) + eps)).to(part.scalar_type());
    }
    return parts;
  }
};
TORCH_MODULE(FalconMambaMixer);

struct FalconMambaModel : mamba::MambaModelOf<FalconMambaPreTrainedModel, FalconMambaMixer> {
  using MambaModelOf::MambaModelOf;
};

struct FalconMambaForCausalLM : mamba::MambaCausalLMHead<FalconMambaPreTrainedModel, FalconMambaModel> {
  using MambaCausalLMHead::MambaCausalLMHead;
};

BACKPLANE_PLUGIN(falcon_mamba, plugin) {
  plugin.config<FalconMambaConfig>();
  plugin.tokenizer("", "GPTNeoXTokenizerFast");
  plugin.model<FalconMambaModel>(Auto::Model);
  plugin.model<FalconMambaForCausalLM>(Auto::ForPreTraining);
  plugin.model<FalconMambaForCausalLM>(Auto::WithLMHead);
  plugin.model<FalconMambaForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::falcon_mamba
