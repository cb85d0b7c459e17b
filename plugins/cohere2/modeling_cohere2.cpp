// Cohere's Command R7B: https://cohere.com/blog/command-r7b
// Command R7B is Command-R except: most layers have a sliding window, and only those have rotary positions.
// Reference: transformers, models/cohere2/modeling_cohere2.py

#include "../cohere/modeling_cohere.h"
#include "configuration_cohere2.h"

namespace backplane::cohere2 {

struct Cohere2PreTrainedModel : PreTrainedModel {
  using Config = Cohere2Config;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct Cohere2AttentionImpl : llama::LlamaAttentionImpl {
  Cohere2AttentionImpl(const Cohere2Config& c, size_t layer) : LlamaAttentionImpl(c, layer) {
    shape.window = c.window(layer);
  }

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    Tensor q = split_heads(q_proj(x), shape.heads), k = split_heads(k_proj(x), shape.kv_heads);
    if (shape.window > 0) {
      q = nn::apply_rotary_interleaved(q, call.cos, call.sin);
      k = nn::apply_rotary_interleaved(k, call.cos, call.sin);
    }
    return o_proj(merge_heads(attend(q, k, split_heads(v_proj(x), shape.kv_heads), call)));
  }
};
TORCH_MODULE(Cohere2Attention);

struct Cohere2Model : llama::LlamaModelOf<Cohere2PreTrainedModel, cohere::CohereDecoderLayer<Cohere2Attention>,
                                          cohere::CohereLayerNorm> {
  using LlamaModelOf::LlamaModelOf;
};

struct Cohere2ForCausalLM : CausalLMHead<Cohere2PreTrainedModel, Cohere2Model> {
  using CausalLMHead::CausalLMHead;
  Tensor scores(const Tensor& x) override { return lm_head(x) * base->c.logit_scale; }
};

BACKPLANE_PLUGIN(cohere2, plugin) {
  plugin.config<Cohere2Config>();
  plugin.tokenizer("", "CohereTokenizerFast");
  plugin.model<Cohere2Model>(Auto::Model);
  plugin.model<Cohere2ForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::cohere2
