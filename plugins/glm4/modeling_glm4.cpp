// GLM-4-0414: https://huggingface.co/THUDM/GLM-4-9B-0414
// GLM-4-0414 is GLM except: a norm stands behind attention and MLP too.
// Reference: transformers, models/glm4/modeling_glm4.py

#include "../glm/modeling_glm.h"
#include "configuration_glm4.h"

namespace backplane::glm4 {

struct Glm4PreTrainedModel : PreTrainedModel {
  using Config = Glm4Config;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct Glm4DecoderLayerImpl : nn::Module {
  glm::GlmAttention self_attn;
  nn::FusedGatedMlp mlp;
  nn::RMSNorm input_layernorm, post_attention_layernorm, post_self_attn_layernorm, post_mlp_layernorm;

  Glm4DecoderLayerImpl(const Glm4Config& c, size_t layer)
      : self_attn(register_module("self_attn", glm::GlmAttention(c, layer))),
        mlp(register_module("mlp", nn::FusedGatedMlp(c))),
        input_layernorm(register_module("input_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_self_attn_layernorm(
            register_module("post_self_attn_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_mlp_layernorm(register_module("post_mlp_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  Tensor forward(Tensor x, DecoderCall& call) {
    x = x + post_self_attn_layernorm(self_attn(input_layernorm(x), call));
    return x + post_mlp_layernorm(mlp(post_attention_layernorm(x)));
  }
};
TORCH_MODULE(Glm4DecoderLayer);

struct Glm4Model : llama::LlamaModelOf<Glm4PreTrainedModel, Glm4DecoderLayer> {
  using LlamaModelOf::LlamaModelOf;
};

struct Glm4ForCausalLM : CausalLMHead<Glm4PreTrainedModel, Glm4Model> {
  using CausalLMHead::CausalLMHead;
};
struct Glm4ForSequenceClassification : SequenceClassificationHead<Glm4PreTrainedModel, Glm4Model> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct Glm4ForTokenClassification : TokenClassificationHead<Glm4PreTrainedModel, Glm4Model> {
  using TokenClassificationHead::TokenClassificationHead;
};

BACKPLANE_PLUGIN(glm4, plugin) {
  plugin.config<Glm4Config>();
  plugin.tokenizer("", "PreTrainedTokenizerFast");
  plugin.model<Glm4Model>(Auto::Model);
  plugin.model<Glm4ForCausalLM>(Auto::ForCausalLM);
  plugin.model<Glm4ForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<Glm4ForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::glm4
