#include "modeling_mamba.h"

namespace backplane::mamba {

struct MambaPreTrainedModel : PreTrainedModel {
  static constexpr bool supports_sdpa = false;
  using Config = MambaConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "backbone"}; }
};

struct MambaModel : MambaModelOf<MambaPreTrainedModel, MambaMixer> {
  using MambaModelOf::MambaModelOf;
};

struct MambaForCausalLM : MambaCausalLMHead<MambaPreTrainedModel, MambaModel> {
  using MambaCausalLMHead::MambaCausalLMHead;
};

static GgufMapping gguf_mapping() {
  return {.architecture = "mamba",
          .model_type = "mamba",
          .keys = {{"vocab_size", "vocab_size"},
                   {"context_length", "max_position_embeddings"},
                   {"embedding_length", "hidden_size"},
                   {"attention.layer_norm_rms_epsilon", "layer_norm_epsilon"},
                   {"block_count", "num_hidden_layers"},
                   {"ssm.conv_kernel", "conv_kernel"},
                   {"ssm.state_size", "state_size"},
                   {"ssm.time_step_rank", "time_step_rank"},
                   {"ssm.inner_size", "intermediate_size"}},
          .tensors = {{"token_embd", "backbone.embeddings"},
                      {"blk.{n}.attn_norm", "backbone.layers.{n}.norm"},
                      {"blk.{n}.ssm_in", "backbone.layers.{n}.mixer.in_proj"},
                      {"blk.{n}.ssm_conv1d", "backbone.layers.{n}.mixer.conv1d", GgufTransform::insert_dim1},
                      {"blk.{n}.ssm_x", "backbone.layers.{n}.mixer.x_proj"},
                      {"blk.{n}.ssm_dt", "backbone.layers.{n}.mixer.dt_proj"},
                      {"blk.{n}.ssm_a", "backbone.layers.{n}.mixer.A_log", GgufTransform::log_of_negative},
                      {"blk.{n}.ssm_d", "backbone.layers.{n}.mixer.D"},
                      {"blk.{n}.ssm_out", "backbone.layers.{n}.mixer.out_proj"},
                      {"output_norm", "backbone.norm_f"},
                      {"output", "lm_head"}}};
}

BACKPLANE_PLUGIN(mamba, plugin) {
  plugin.config<MambaConfig>();
  plugin.tokenizer("", "GPTNeoXTokenizerFast");
  plugin.gguf(gguf_mapping());
  plugin.model<MambaModel>(Auto::Model);
  plugin.model<MambaForCausalLM>(Auto::ForPreTraining);
  plugin.model<MambaForCausalLM>(Auto::WithLMHead);
  plugin.model<MambaForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::mamba
