#include "modeling_granitemoeshared.h"

#include "configuration_granitemoeshared.h"

namespace backplane::granitemoeshared {

struct GraniteMoeSharedPreTrainedModel : PreTrainedModel {
  using Config = GraniteMoeSharedConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct GraniteMoeSharedDecoderLayerImpl : nn::Module {
  double residual_multiplier;
  granitemoe::GraniteMoeAttention self_attn;
  nn::ParallelMoe block_sparse_moe;
  nn::RMSNorm input_layernorm, post_attention_layernorm;
  GraniteMoeSharedMLP shared_mlp{nullptr};

  GraniteMoeSharedDecoderLayerImpl(const GraniteMoeSharedConfig& c, size_t layer)
      : residual_multiplier(c.residual_multiplier),
        self_attn(register_module("self_attn", granitemoe::GraniteMoeAttention(c, layer))),
        block_sparse_moe(
            register_module("block_sparse_moe", nn::ParallelMoe(c.hidden_size, c.intermediate_size, c.hidden_act,
                                                                c.num_local_experts, c.num_experts_per_tok))),
        input_layernorm(register_module("input_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {
    if (c.shared_intermediate_size > 0) shared_mlp = register_module("shared_mlp", GraniteMoeSharedMLP(c));
  }

  Tensor forward(Tensor x, DecoderCall& call) {
    x = x + self_attn(input_layernorm(x), call) * residual_multiplier;
    const Tensor h = post_attention_layernorm(x), mixed = block_sparse_moe(h, call.router_logits);
    return x + (shared_mlp ? mixed + shared_mlp(h) : mixed) * residual_multiplier;
  }
};
TORCH_MODULE(GraniteMoeSharedDecoderLayer);

struct GraniteMoeSharedModel
    : granitemoe::GraniteMoeModelOf<GraniteMoeSharedPreTrainedModel, GraniteMoeSharedDecoderLayer> {
  using GraniteMoeModelOf::GraniteMoeModelOf;
};

struct GraniteMoeSharedForCausalLM : MoeCausalLMHead<GraniteMoeSharedPreTrainedModel, GraniteMoeSharedModel> {
  using MoeCausalLMHead::MoeCausalLMHead;
  Tensor scores(const Tensor& x) override { return lm_head(x) / base->c.logits_scaling; }
};

BACKPLANE_PLUGIN(granitemoeshared, plugin) {
  plugin.config<GraniteMoeSharedConfig>();
  plugin.tokenizer("GPT2Tokenizer", "");
  plugin.model<GraniteMoeSharedModel>(Auto::Model);
  plugin.model<GraniteMoeSharedForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::granitemoeshared
