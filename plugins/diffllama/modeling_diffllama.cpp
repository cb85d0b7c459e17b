// Differential Transformer: Ye et al. 2024, https://arxiv.org/abs/2410.05258
// DiffLlama is LLaMA except: the two halves of the heads attend to the same pairs of values, and the second half's
// result, times a learned lambda, is taken off the first's. Reference: transformers,
// models/diffllama/modeling_diffllama.py

#include <backplane/nn/uninitialised.h>

#include "../llama/modeling_llama.h"
#include "configuration_diffllama.h"

namespace backplane::diffllama {

struct DiffLlamaPreTrainedModel : PreTrainedModel {
  using Config = DiffLlamaConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct DiffLlamaAttentionImpl : llama::LlamaAttentionImpl {
  double lambda_init, eps;
  Tensor lambda_q1, lambda_k1, lambda_q2, lambda_k2;  // [head_dim]

  DiffLlamaAttentionImpl(const DiffLlamaConfig& c, size_t layer)
      : LlamaAttentionImpl(c, layer),
        lambda_init(0.8 - 0.6 * std::exp(-0.3 * static_cast<double>(layer))),
        eps(c.rms_norm_eps),
        lambda_q1(register_parameter("lambda_q1", nn::uninitialised({shape.head_dim}))),
        lambda_k1(register_parameter("lambda_k1", nn::uninitialised({shape.head_dim}))),
        lambda_q2(register_parameter("lambda_q2", nn::uninitialised({shape.head_dim}))),
        lambda_k2(register_parameter("lambda_k2", nn::uninitialised({shape.head_dim}))) {}

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    const int64_t groups = shape.heads / shape.kv_heads;
    const Tensor q = nn::apply_rotary(split_heads(q_proj(x), shape.heads), call.cos, call.sin);
    const Tensor k =
        nn::apply_rotary(split_heads(k_proj(x), shape.kv_heads), call.cos, call.sin).repeat_interleave(groups, 1);
    // Both halves of the heads see the values of both: [batch, heads, seq, 2 * head_dim]
    const Tensor v = split_heads(v_proj(x), shape.kv_heads).repeat_interleave(groups, 1);
    const Tensor y = attend(q, k, at::cat(v.chunk(2, 1), -1).repeat({1, 2, 1, 1}), call);
    const auto exp_dot = [&](const Tensor& a, const Tensor& b) {
      return (a * b).sum(-1, false, at::kFloat).exp().to(x.scalar_type());
    };
    const Tensor lambda = exp_dot(lambda_q1, lambda_k1) - exp_dot(lambda_q2, lambda_k2) + lambda_init;
    const auto halves = y.chunk(2, 1);
    const Tensor difference = halves[0] - lambda * halves[1];
    const Tensor normed = difference * at::rsqrt(difference.square().mean(-1, true) + eps);
    return o_proj(merge_heads((1 - lambda_init) * normed));
  }
};
TORCH_MODULE(DiffLlamaAttention);

struct DiffLlamaModel
    : llama::LlamaModelOf<DiffLlamaPreTrainedModel, llama::LlamaDecoderLayer<DiffLlamaAttention, nn::GatedMlp>> {
  using LlamaModelOf::LlamaModelOf;
};

struct DiffLlamaForCausalLM : CausalLMHead<DiffLlamaPreTrainedModel, DiffLlamaModel> {
  using CausalLMHead::CausalLMHead;
};
struct DiffLlamaForSequenceClassification : SequenceClassificationHead<DiffLlamaPreTrainedModel, DiffLlamaModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct DiffLlamaForTokenClassification : TokenClassificationHead<DiffLlamaPreTrainedModel, DiffLlamaModel> {
  using TokenClassificationHead::TokenClassificationHead;
};
struct DiffLlamaForQuestionAnswering : QuestionAnsweringHead<DiffLlamaPreTrainedModel, DiffLlamaModel> {
  explicit DiffLlamaForQuestionAnswering(const DiffLlamaConfig& c) : QuestionAnsweringHead(c, "transformer") {}
};

BACKPLANE_PLUGIN(diffllama, plugin) {
  plugin.config<DiffLlamaConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.model<DiffLlamaModel>(Auto::Model);
  plugin.model<DiffLlamaForCausalLM>(Auto::ForCausalLM);
  plugin.model<DiffLlamaForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<DiffLlamaForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<DiffLlamaForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::diffllama
