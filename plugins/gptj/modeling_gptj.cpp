#include "modeling_gptj.h"

namespace backplane::gptj {

struct GPTJAttentionImpl : nn::Module {
  int64_t heads;
  size_t layer;
  double dropout;
  nn::Linear k_proj, v_proj, q_proj, out_proj;
  nn::Dropout resid_dropout;

  GPTJAttentionImpl(const GPTJConfig& c, size_t layer)
      : heads(c.n_head),
        layer(layer),
        dropout(c.attn_pdrop),
        k_proj(register_module("k_proj", nn::Linear(c.n_embd, c.n_embd, false))),
        v_proj(register_module("v_proj", nn::Linear(c.n_embd, c.n_embd, false))),
        q_proj(register_module("q_proj", nn::Linear(c.n_embd, c.n_embd, false))),
        out_proj(register_module("out_proj", nn::Linear(c.n_embd, c.n_embd, false))),
        resid_dropout(register_module("resid_dropout", nn::Dropout(c.resid_pdrop))) {}

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, const Rotation& rotation, TransformerCall& call) {
    const Tensor q = rotated(split_heads(q_proj(x), heads), rotation);
    const auto [k, v] =
        call.append(layer, rotated(split_heads(k_proj(x), heads), rotation), split_heads(v_proj(x), heads));
    return resid_dropout(out_proj(merge_heads(call.attend(layer, q, k, v, {.dropout = is_training() ? dropout : 0}))));
  }
};
TORCH_MODULE(GPTJAttention);

struct GPTJPreTrainedModel : PreTrainedModel {
  using Config = GPTJConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override {
    // Old checkpoints hold the causal masks.
    return {.base_model_prefix = "transformer", .ignore_unexpected = {R"(attn\.(masked_)?bias$)"}};
  }
};

struct GPTJModel : GPTJModelOf<GPTJPreTrainedModel, GPTJAttention> {
  using GPTJModelOf::GPTJModelOf;
};
struct GPTJForCausalLM : CausalLMHead<GPTJPreTrainedModel, GPTJModel> {
  explicit GPTJForCausalLM(const GPTJConfig& c) : CausalLMHead(c, {.with_bias = true}) {}
};
struct GPTJForSequenceClassification : SequenceClassificationHead<GPTJPreTrainedModel, GPTJModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct GPTJForQuestionAnswering : QuestionAnsweringHead<GPTJPreTrainedModel, GPTJModel> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(gptj, plugin) {
  plugin.config<GPTJConfig>();
  plugin.tokenizer("GPT2Tokenizer", "GPT2TokenizerFast");
  plugin.model<GPTJModel>(Auto::Model);
  plugin.model<GPTJForCausalLM>(Auto::WithLMHead);
  plugin.model<GPTJForCausalLM>(Auto::ForCausalLM);
  plugin.model<GPTJForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<GPTJForQuestionAnswering>(Auto::ForQuestionAnswering);
}

}  // namespace backplane::gptj
