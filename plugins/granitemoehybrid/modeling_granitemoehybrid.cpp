// Granite 4.0: IBM Granite Team 2025, https://www.ibm.com/new/announcements/ibm-granite-4-0-tiny-preview-sneak-peek
// GraniteMoeHybrid is GraniteMoeShared except: layers are Mamba-2 but for those that layer_types calls attention, and
// there may be no mixture of experts beside the shared one. Reference: transformers,
// models/granitemoehybrid/modeling_granitemoehybrid.py

#include "../granitemoeshared/modeling_granitemoeshared.h"
#include "../mamba2/modeling_mamba2.h"
#include "configuration_granitemoehybrid.h"

namespace backplane::granitemoehybrid {

struct GraniteMoeHybridPreTrainedModel : PreTrainedModel {
  using Config = GraniteMoeHybridConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct GraniteMoeHybridMambaLayerImpl : mamba2::NormedMixerImpl {
  GraniteMoeHybridMambaLayerImpl(const GraniteMoeHybridConfig& c, size_t layer)
      : NormedMixerImpl({.hidden_size = c.hidden_size,
                         .inner = c.mamba_expand * c.hidden_size,
                         .heads = c.mamba_n_heads,
                         .head_dim = c.mamba_d_head.as_int(),
                         .groups = c.mamba_n_groups,
                         .n = c.mamba_d_state,
                         .kernel = c.mamba_d_conv,
                         .conv_bias = c.mamba_conv_bias,
                         .in_bias = c.mamba_proj_bias,
                         .out_bias = c.mamba_proj_bias,
                         .act = c.hidden_act},
                        c.rms_norm_eps, layer) {}
};
TORCH_MODULE(GraniteMoeHybridMambaLayer);

struct GraniteMoeHybridDecoderLayerImpl : nn::Module {
  double residual_multiplier;
  granitemoe::GraniteMoeAttention self_attn{nullptr};
  GraniteMoeHybridMambaLayer mamba{nullptr};
  nn::ParallelMoe block_sparse_moe{nullptr};
  granitemoeshared::GraniteMoeSharedMLP shared_mlp;
  nn::RMSNorm input_layernorm, post_attention_layernorm;

  GraniteMoeHybridDecoderLayerImpl(const GraniteMoeHybridConfig& c, size_t layer)
      : residual_multiplier(c.residual_multiplier),
        shared_mlp(register_module("shared_mlp", granitemoeshared::GraniteMoeSharedMLP(c))),
        input_layernorm(register_module("input_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {
    if (c.is_attention(layer)) {
      self_attn = register_module("self_attn", granitemoe::GraniteMoeAttention(c, layer));
    } else {
      mamba = register_module("mamba", GraniteMoeHybridMambaLayer(c, layer));
    }
    if (c.num_local_experts > 0) {
      block_sparse_moe =
          register_module("block_sparse_moe", nn::ParallelMoe(c.hidden_size, c.intermediate_size, c.hidden_act,
                                                              c.num_local_experts, c.num_experts_per_tok));
    }
  }

  Tensor forward(Tensor x, DecoderCall& call) {
    const Tensor h = input_layernorm(x), padding = mamba2::mask_of(call.padding());
    x = x + (self_attn ? self_attn(h, call)
                       : mamba->forward(h, {padding.defined() ? padding.unsqueeze(2) : padding, call.cache})) *
                residual_multiplier;
    const Tensor g = post_attention_layernorm(x);
    const Tensor y = block_sparse_moe ? block_sparse_moe(g, call.router_logits) + shared_mlp(g) : shared_mlp(g);
    return x + y * residual_multiplier;
  }
};
TORCH_MODULE(GraniteMoeHybridDecoderLayer);

struct GraniteMoeHybridModel
    : granitemoe::GraniteMoeModelOf<GraniteMoeHybridPreTrainedModel, GraniteMoeHybridDecoderLayer> {
  using GraniteMoeModelOf::GraniteMoeModelOf;
};

struct GraniteMoeHybridForCausalLM : MoeCausalLMHead<GraniteMoeHybridPreTrainedModel, GraniteMoeHybridModel> {
  using MoeCausalLMHead::MoeCausalLMHead;
  Tensor scores(const Tensor& x) override { return lm_head(x) / base->c.logits_scaling; }
};

BACKPLANE_PLUGIN(granitemoehybrid, plugin) {
  plugin.config<GraniteMoeHybridConfig>();
  plugin.tokenizer("GPT2Tokenizer", "");
  plugin.model<GraniteMoeHybridModel>(Auto::Model);
  plugin.model<GraniteMoeHybridForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::granitemoehybrid
