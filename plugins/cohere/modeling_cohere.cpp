#include "modeling_cohere.h"

#include <backplane/nn/uninitialised.h>

#include "configuration_cohere.h"

namespace backplane::cohere {

struct CoherePreTrainedModel : PreTrainedModel {
  using Config = CohereConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

// LayerNorm over each head with a weight of its own, [heads, head_dim].
struct CohereHeadNormImpl : nn::Module {
  Tensor weight;
  double eps;

  CohereHeadNormImpl(int64_t heads, int64_t head_dim, double eps)
      : weight(register_parameter("weight", nn::uninitialised({heads, head_dim}))), eps(eps) {}

  // x [batch, heads, seq, head_dim] -> its shape
  Tensor forward(const Tensor& x) {
    const Tensor normed = at::layer_norm(x.to(at::kFloat), {x.size(3)}, {}, {}, eps);
    return (normed * weight.unsqueeze(1).to(at::kFloat)).to(x.scalar_type());
  }
};
TORCH_MODULE(CohereHeadNorm);

struct CohereAttentionImpl : llama::LlamaAttentionImpl {
  CohereHeadNorm q_norm{nullptr}, k_norm{nullptr};

  CohereAttentionImpl(const CohereConfig& c, size_t layer) : LlamaAttentionImpl(c, layer) {
    if (!c.use_qk_norm) return;
    q_norm = register_module("q_norm", CohereHeadNorm(shape.heads, shape.head_dim, c.layer_norm_eps));
    k_norm = register_module("k_norm", CohereHeadNorm(shape.kv_heads, shape.head_dim, c.layer_norm_eps));
  }

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    Tensor q = split_heads(q_proj(x), shape.heads), k = split_heads(k_proj(x), shape.kv_heads);
    if (q_norm) q = q_norm(q), k = k_norm(k);
    return o_proj(merge_heads(attend(nn::apply_rotary_interleaved(q, call.cos, call.sin),
                                     nn::apply_rotary_interleaved(k, call.cos, call.sin),
                                     split_heads(v_proj(x), shape.kv_heads), call)));
  }
};
TORCH_MODULE(CohereAttention);

struct CohereModel : llama::LlamaModelOf<CoherePreTrainedModel, CohereDecoderLayer<CohereAttention>, CohereLayerNorm> {
  using LlamaModelOf::LlamaModelOf;
};

struct CohereForCausalLM : CausalLMHead<CoherePreTrainedModel, CohereModel> {
  using CausalLMHead::CausalLMHead;
  Tensor scores(const Tensor& x) override { return lm_head(x) * base->c.logit_scale; }
};

BACKPLANE_PLUGIN(cohere, plugin) {
  plugin.config<CohereConfig>();
  plugin.tokenizer("", "CohereTokenizerFast");
  plugin.model<CohereModel>(Auto::Model);
  plugin.model<CohereForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::cohere
