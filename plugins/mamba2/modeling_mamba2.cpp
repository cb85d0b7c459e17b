#include "modeling_mamba2.h"

#include "configuration_mamba2.h"

namespace backplane::mamba2 {

struct Mamba2PreTrainedModel : PreTrainedModel {
  static constexpr bool supports_sdpa = false;
  using Config = Mamba2Config;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "backbone"}; }
};

struct Mamba2MixerImpl : NormedMixerImpl {
  Mamba2MixerImpl(const Mamba2Config& c, size_t layer)
      : NormedMixerImpl({.hidden_size = c.hidden_size,
                         .inner = c.inner(),
                         .heads = c.num_heads,
                         .head_dim = c.head_dim,
                         .groups = c.n_groups,
                         .n = c.state_size,
                         .kernel = c.conv_kernel,
                         .conv_bias = c.use_conv_bias,
                         .in_bias = c.use_bias,
                         .out_bias = c.use_bias,
                         .dt_min = c.time_step_limit[0],
                         .dt_max = c.time_step_limit[1],
                         .act = c.hidden_act},
                        c.layer_norm_epsilon, layer) {}
};
TORCH_MODULE(Mamba2Mixer);

struct Mamba2Model : mamba::MambaModelOf<Mamba2PreTrainedModel, Mamba2Mixer> {
  using MambaModelOf::MambaModelOf;
  Tensor mask_of(const Tensor& attention_mask) const override { return mamba2::mask_of(attention_mask); }
};

struct Mamba2ForCausalLM : mamba::MambaCausalLMHead<Mamba2PreTrainedModel, Mamba2Model> {
  using MambaCausalLMHead::MambaCausalLMHead;
};

BACKPLANE_PLUGIN(mamba2, plugin) {
  plugin.config<Mamba2Config>();
  plugin.tokenizer("", "GPTNeoXTokenizerFast");
  plugin.model<Mamba2Model>(Auto::Model);
  plugin.model<Mamba2ForCausalLM>(Auto::ForPreTraining);
  plugin.model<Mamba2ForCausalLM>(Auto::WithLMHead);
  plugin.model<Mamba2ForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::mamba2
