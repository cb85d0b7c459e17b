// MiniMax-01: MiniMax 2025, https://arxiv.org/abs/2501.08313
// MiniMax is Mixtral except: every other layer attends linearly, with a decay for each head (lightning attention,
// https://arxiv.org/abs/2405.17381), and residuals are scaled and taken behind the norms.
// Reference: transformers, models/minimax/modeling_minimax.py

#include <backplane/nn/uninitialised.h>

#include "../mixtral/modeling_mixtral.h"
#include "configuration_minimax.h"

namespace backplane::minimax {

struct MiniMaxPreTrainedModel : PreTrainedModel {
  using Config = MiniMaxConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

// o_t = q_t S_t with S_t = decay S_(t-1) + k_t v_t, in blocks: inside a block like attention, between blocks by S.
struct MiniMaxLightningAttentionImpl : nn::Module {
  int64_t heads, head_dim, block;
  size_t layer;
  Activation act;
  nn::RMSNorm norm;
  nn::Linear qkv_proj, out_proj, output_gate;
  Tensor slope_rate;              // [heads, 1, 1]
  Tensor query_decay, key_decay;  // [heads, block, 1]
  Tensor diagonal_decay;          // [1, heads, block, block]

  MiniMaxLightningAttentionImpl(const MiniMaxConfig& c, size_t layer)
      : heads(c.num_attention_heads),
        head_dim(head_dim_of(c)),
        block(c.block_size),
        layer(layer),
        act(activation(c.hidden_act)),
        norm(register_module("norm", nn::RMSNorm(heads * head_dim, 1e-6))),
        qkv_proj(register_module("qkv_proj", nn::Linear(c.hidden_size, 3 * heads * head_dim, false))),
        out_proj(register_module("out_proj", nn::Linear(heads * head_dim, c.hidden_size, false))),
        output_gate(register_module("output_gate", nn::Linear(c.hidden_size, heads * head_dim, false))),
        slope_rate(register_buffer("slope_rate", nn::uninitialised({heads, 1, 1}))),
        query_decay(register_buffer("query_decay", nn::uninitialised({heads, block, 1}))),
        key_decay(register_buffer("key_decay", nn::uninitialised({heads, block, 1}))),
        diagonal_decay(register_buffer("diagonal_decay", nn::uninitialised({1, heads, block, block}))) {}

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    const auto qkv = act(qkv_proj(x)).unflatten(-1, {heads, 3 * head_dim}).transpose(1, 2).split(head_dim, 3);
    const Tensor &q = qkv[0], k = qkv[1];
    Tensor v = qkv[2];
    Tensor kv = call.cache ? call.cache->state(layer) : Tensor();  // [batch, heads, head_dim, head_dim]
    std::vector<Tensor> parts;
    if (kv.defined()) {
      const Tensor decay = at::exp(-slope_rate);
      for (int64_t t = 0; t < call.seq; ++t) {
        kv = decay * kv + at::matmul(k.slice(2, t, t + 1).transpose(2, 3), v.slice(2, t, t + 1));
        parts.push_back(at::matmul(q.slice(2, t, t + 1), kv));
      }
    } else {
      kv = at::zeros({call.batch, heads, head_dim, head_dim}, v.options());
      if (const Tensor kept = call.padding(); kept.defined()) v = v * kept.unsqueeze(1).unsqueeze(3);
      for (int64_t t = 0; t < call.seq; t += block) {
        const int64_t size = std::min(block, call.seq - t);
        const Tensor qt = q.slice(2, t, t + size), kt = k.slice(2, t, t + size), vt = v.slice(2, t, t + size);
        const Tensor inside = at::matmul(qt, kt.transpose(2, 3)) * diagonal_decay.slice(2, 0, size).slice(3, 0, size);
        parts.push_back(at::matmul(qt * query_decay.slice(1, 0, size), kv) + at::matmul(inside, vt));
        kv = kv * at::exp(-slope_rate * size) + at::matmul((kt * key_decay.slice(1, block - size)).transpose(2, 3), vt);
      }
    }
    if (call.cache) call.cache->state(layer) = kv;
    if (call.wants_attentions()) call.attentions.push_back(kv);
    return out_proj(at::sigmoid(output_gate(x)) * norm(merge_heads(at::cat(parts, 2))));
  }
};
TORCH_MODULE(MiniMaxLightningAttention);

struct MiniMaxDecoderLayerImpl : nn::Module {
  double attention_alpha, attention_beta, mlp_alpha, mlp_beta;
  mistral::MistralAttention attention{nullptr};
  MiniMaxLightningAttention lightning{nullptr};  // one of the two, as "self_attn"
  mixtral::MixtralSparseMoeBlock block_sparse_moe;
  nn::RMSNorm input_layernorm, post_attention_layernorm;

  MiniMaxDecoderLayerImpl(const MiniMaxConfig& c, size_t layer)
      : attention_alpha(c.is_linear(layer) ? c.linear_attn_alpha_factor : c.full_attn_alpha_factor),
        attention_beta(c.is_linear(layer) ? c.linear_attn_beta_factor : c.full_attn_beta_factor),
        mlp_alpha(c.mlp_alpha_factor),
        mlp_beta(c.mlp_beta_factor),
        block_sparse_moe(register_module("block_sparse_moe", mixtral::MixtralSparseMoeBlock(c))),
        input_layernorm(register_module("input_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {
    if (c.is_linear(layer)) {
      lightning = register_module("self_attn", MiniMaxLightningAttention(c, layer));
    } else {
      attention = register_module("self_attn", mistral::MistralAttention(c, layer));
    }
  }

  Tensor forward(Tensor x, DecoderCall& call) {
    x = input_layernorm(x);
    x = x * attention_alpha + (lightning ? lightning(x, call) : attention(x, call)) * attention_beta;
    x = post_attention_layernorm(x);
    return x * mlp_alpha + block_sparse_moe(x, call) * mlp_beta;
  }
};
TORCH_MODULE(MiniMaxDecoderLayer);

struct MiniMaxModel : llama::LlamaModelOf<MiniMaxPreTrainedModel, MiniMaxDecoderLayer> {
  using LlamaModelOf::LlamaModelOf;
};

struct MiniMaxForCausalLM : MoeCausalLMHead<MiniMaxPreTrainedModel, MiniMaxModel> {
  using MoeCausalLMHead::MoeCausalLMHead;
};
struct MiniMaxForSequenceClassification : SequenceClassificationHead<MiniMaxPreTrainedModel, MiniMaxModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct MiniMaxForTokenClassification : TokenClassificationHead<MiniMaxPreTrainedModel, MiniMaxModel> {
  using TokenClassificationHead::TokenClassificationHead;
};
struct MiniMaxForQuestionAnswering : QuestionAnsweringHead<MiniMaxPreTrainedModel, MiniMaxModel> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(minimax, plugin) {
  plugin.config<MiniMaxConfig>();
  plugin.tokenizer("GPT2Tokenizer", "GPT2TokenizerFast");
  plugin.model<MiniMaxModel>(Auto::Model);
  plugin.model<MiniMaxForCausalLM>(Auto::ForCausalLM);
  plugin.model<MiniMaxForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<MiniMaxForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<MiniMaxForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::minimax
