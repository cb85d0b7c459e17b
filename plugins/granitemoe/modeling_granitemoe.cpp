#include "modeling_granitemoe.h"

#include "configuration_granitemoe.h"

namespace backplane::granitemoe {

struct GraniteMoePreTrainedModel : PreTrainedModel {
  using Config = GraniteMoeConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct GraniteMoeDecoderLayerImpl : nn::Module {
  double residual_multiplier;
  GraniteMoeAttention self_attn;
  nn::ParallelMoe block_sparse_moe;
  nn::RMSNorm input_layernorm, post_attention_layernorm;

  GraniteMoeDecoderLayerImpl(const GraniteMoeConfig& c, size_t layer)
      : residual_multiplier(c.residual_multiplier),
        self_attn(register_module("self_attn", GraniteMoeAttention(c, layer))),
        block_sparse_moe(
            register_module("block_sparse_moe", nn::ParallelMoe(c.hidden_size, c.intermediate_size, c.hidden_act,
                                                                c.num_local_experts, c.num_experts_per_tok))),
        input_layernorm(register_module("input_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  Tensor forward(Tensor x, DecoderCall& call) {
    x = x + self_attn(input_layernorm(x), call) * residual_multiplier;
    return x + block_sparse_moe(post_attention_layernorm(x), call.router_logits) * residual_multiplier;
  }
};
TORCH_MODULE(GraniteMoeDecoderLayer);

struct GraniteMoeModel : GraniteMoeModelOf<GraniteMoePreTrainedModel, GraniteMoeDecoderLayer> {
  using GraniteMoeModelOf::GraniteMoeModelOf;
};

struct GraniteMoeForCausalLM : MoeCausalLMHead<GraniteMoePreTrainedModel, GraniteMoeModel> {
  using MoeCausalLMHead::MoeCausalLMHead;
  Tensor scores(const Tensor& x) override { return lm_head(x) / base->c.logits_scaling; }
};

BACKPLANE_PLUGIN(granitemoe, plugin) {
  plugin.config<GraniteMoeConfig>();
  plugin.tokenizer("GPT2Tokenizer", "");
  plugin.model<GraniteMoeModel>(Auto::Model);
  plugin.model<GraniteMoeForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::granitemoe
