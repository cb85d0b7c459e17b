// OLMo: Groeneveld et al. 2024, https://arxiv.org/abs/2402.00838
// OLMo is LLaMA except: norms have no parameters, and q, k and v may be clipped.
// Reference: transformers, models/olmo/modeling_olmo.py

#include "../llama/modeling_llama.h"
#include "configuration_olmo.h"

namespace backplane::olmo {

struct OlmoPreTrainedModel : PreTrainedModel {
  using Config = OlmoConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

// Layer norm without parameters, in float32.
struct OlmoLayerNormImpl : nn::Module {
  int64_t size;
  double eps;

  OlmoLayerNormImpl(int64_t size, double eps) : size(size), eps(eps) {}
  Tensor forward(const Tensor& x) const {
    return at::layer_norm(x.to(at::kFloat), {size}, {}, {}, eps).to(x.scalar_type());
  }
};
TORCH_MODULE(OlmoLayerNorm);

struct OlmoAttentionImpl : llama::LlamaAttentionImpl {
  std::optional<double> clip;

  OlmoAttentionImpl(const OlmoConfig& c, size_t layer) : LlamaAttentionImpl(c, layer), clip(c.clip_qkv) {}

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    const Tensor q = split_heads(clipped(q_proj(x)), shape.heads);
    const Tensor k = split_heads(clipped(k_proj(x)), shape.kv_heads);
    const Tensor v = split_heads(clipped(v_proj(x)), shape.kv_heads);
    return o_proj(
        merge_heads(attend(nn::apply_rotary(q, call.cos, call.sin), nn::apply_rotary(k, call.cos, call.sin), v, call)));
  }

  Tensor clipped(const Tensor& x) const { return clip ? x.clamp(-*clip, *clip) : x; }
};
TORCH_MODULE(OlmoAttention);

struct OlmoModel
    : llama::LlamaModelOf<OlmoPreTrainedModel, llama::LlamaDecoderLayer<OlmoAttention, nn::GatedMlp, OlmoLayerNorm>,
                          OlmoLayerNorm> {
  using LlamaModelOf::LlamaModelOf;
};

struct OlmoForCausalLM : CausalLMHead<OlmoPreTrainedModel, OlmoModel> {
  using CausalLMHead::CausalLMHead;
};

BACKPLANE_PLUGIN(olmo, plugin) {
  plugin.config<OlmoConfig>();
  plugin.tokenizer("", "GPTNeoXTokenizerFast");
  plugin.model<OlmoModel>(Auto::Model);
  plugin.model<OlmoForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::olmo
