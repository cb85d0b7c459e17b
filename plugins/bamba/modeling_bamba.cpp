// Bamba: IBM Research 2024, https://huggingface.co/blog/bamba
// Layers of Mamba-2 and, where attn_layer_indices says so, of attention whose heads are rotated in half; each has an
// MLP. Reference: transformers, models/bamba/modeling_bamba.py

#include "../llama/modeling_llama.h"
#include "../mamba2/modeling_mamba2.h"
#include "configuration_bamba.h"

namespace backplane::bamba {

struct BambaPreTrainedModel : PreTrainedModel {
  using Config = BambaConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct BambaMixerImpl : mamba2::NormedMixerImpl {
  BambaMixerImpl(const BambaConfig& c, size_t layer)
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
TORCH_MODULE(BambaMixer);

struct BambaDecoderLayerImpl : nn::Module {
  llama::LlamaAttention self_attn{nullptr};
  BambaMixer mamba{nullptr};
  nn::GatedMlp feed_forward;
  nn::RMSNorm input_layernorm, pre_ff_layernorm;

  BambaDecoderLayerImpl(const BambaConfig& c, size_t layer)
      : feed_forward(register_module("feed_forward",
                                     nn::GatedMlp(c.hidden_size, c.intermediate_size, c.hidden_act, c.mlp_bias))),
        input_layernorm(register_module("input_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        pre_ff_layernorm(register_module("pre_ff_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {
    if (c.is_attention(layer)) {
      self_attn = register_module("self_attn", llama::LlamaAttention(c, layer));
    } else {
      mamba = register_module("mamba", BambaMixer(c, layer));
    }
  }

  Tensor forward(Tensor x, DecoderCall& call) {
    const Tensor h = input_layernorm(x), padding = mamba2::mask_of(call.padding());
    x = x + (self_attn ? self_attn(h, call)
                       : mamba->forward(h, {padding.defined() ? padding.unsqueeze(2) : padding, call.cache}));
    return x + feed_forward(pre_ff_layernorm(x));
  }
};
TORCH_MODULE(BambaDecoderLayer);

struct BambaModel : llama::LlamaModelOf<BambaPreTrainedModel, BambaDecoderLayer> {
  explicit BambaModel(const BambaConfig& c) : LlamaModelOf(c, "final_layernorm") {}
};

// The loss may hold a penalty on large scores (z-loss, https://arxiv.org/abs/2204.02311).
struct BambaForCausalLM : CausalLMHead<BambaPreTrainedModel, BambaModel> {
  using CausalLMHead::CausalLMHead;

  ModelOutput compute(const ModelInputs& inputs) override {
    ModelOutput output = CausalLMHead::compute(inputs);
    const Tensor loss = output.tensor("loss");
    const double z = base->c.z_loss_coefficient;
    if (loss.defined() && z > 0) output.set("loss", loss + z * output["logits"].logsumexp(-1).square().mean());
    return output;
  }
};

BACKPLANE_PLUGIN(bamba, plugin) {
  plugin.config<BambaConfig>();
  plugin.model<BambaModel>(Auto::Model);
  plugin.model<BambaForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::bamba
