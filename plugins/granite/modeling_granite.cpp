#include "modeling_granite.h"

#include "configuration_granite.h"

namespace backplane::granite {

struct GranitePreTrainedModel : PreTrainedModel {
  using Config = GraniteConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct GraniteDecoderLayerImpl : nn::Module {
  double residual_multiplier;
  GraniteAttention self_attn;
  nn::GatedMlp mlp;
  nn::RMSNorm input_layernorm, post_attention_layernorm;

  GraniteDecoderLayerImpl(const GraniteConfig& c, size_t layer)
      : residual_multiplier(c.residual_multiplier),
        self_attn(register_module("self_attn", GraniteAttention(c, layer))),
        mlp(register_module("mlp", nn::GatedMlp(c.hidden_size, c.intermediate_size, c.hidden_act, c.mlp_bias))),
        input_layernorm(register_module("input_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  Tensor forward(Tensor x, DecoderCall& call) {
    x = x + self_attn(input_layernorm(x), call) * residual_multiplier;
    return x + mlp(post_attention_layernorm(x)) * residual_multiplier;
  }
};
TORCH_MODULE(GraniteDecoderLayer);

struct GraniteModel : llama::LlamaModelOf<GranitePreTrainedModel, GraniteDecoderLayer> {
  using LlamaModelOf::LlamaModelOf;
  Tensor embedded(const Tensor& x) override { return x * c.embedding_multiplier; }
};

struct GraniteForCausalLM : CausalLMHead<GranitePreTrainedModel, GraniteModel> {
  using CausalLMHead::CausalLMHead;
  Tensor scores(const Tensor& x) override { return lm_head(x) / base->c.logits_scaling; }
};

BACKPLANE_PLUGIN(granite, plugin) {
  plugin.config<GraniteConfig>();
  plugin.tokenizer("GPT2Tokenizer", "");
  plugin.model<GraniteModel>(Auto::Model);
  plugin.model<GraniteForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::granite
