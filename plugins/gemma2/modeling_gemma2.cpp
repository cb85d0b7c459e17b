// Gemma 2: Gemma Team 2024, https://arxiv.org/abs/2408.00118
// Gemma 2 is Gemma except: every other layer has a sliding window, attention scores and logits are soft-capped, queries
// are scaled by query_pre_attn_scalar, and a norm stands before and behind each block. Reference: transformers,
// models/gemma2/modeling_gemma2.py

#include "../gemma/modeling_gemma.h"
#include "configuration_gemma2.h"

namespace backplane::gemma2 {

struct Gemma2PreTrainedModel : PreTrainedModel {
  using Config = Gemma2Config;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

using gemma::GemmaRMSNorm;

struct Gemma2AttentionImpl : nn::Module {
  int64_t heads, kv_heads, window;
  size_t layer;
  double scale, softcap, dropout;
  nn::Linear q_proj, k_proj, v_proj, o_proj;

  Gemma2AttentionImpl(const Gemma2Config& c, size_t layer)
      : heads(c.num_attention_heads),
        kv_heads(c.num_key_value_heads),
        window(c.window(layer)),
        layer(layer),
        scale(1 / std::sqrt(c.query_pre_attn_scalar)),
        softcap(c.attn_logit_softcapping.value_or(0)),
        dropout(c.attention_dropout),
        q_proj(register_module("q_proj", nn::Linear(c.hidden_size, heads * c.head_dim, c.attention_bias))),
        k_proj(register_module("k_proj", nn::Linear(c.hidden_size, kv_heads * c.head_dim, c.attention_bias))),
        v_proj(register_module("v_proj", nn::Linear(c.hidden_size, kv_heads * c.head_dim, c.attention_bias))),
        o_proj(register_module("o_proj", nn::Linear(heads * c.head_dim, c.hidden_size, c.attention_bias))) {}

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    const Tensor q = nn::apply_rotary(split_heads(q_proj(x), heads), call.cos, call.sin);
    const Tensor k = nn::apply_rotary(split_heads(k_proj(x), kv_heads), call.cos, call.sin);
    return o_proj(
        merge_heads(call.attend(layer, q, k, split_heads(v_proj(x), kv_heads),
                                {.scale = scale, .softcap = softcap, .dropout = is_training() ? dropout : 0}, window)));
  }
};
TORCH_MODULE(Gemma2Attention);

struct Gemma2DecoderLayerImpl : nn::Module {
  Gemma2Attention self_attn;
  nn::GatedMlp mlp;
  GemmaRMSNorm input_layernorm, post_attention_layernorm, pre_feedforward_layernorm, post_feedforward_layernorm;

  Gemma2DecoderLayerImpl(const Gemma2Config& c, size_t layer)
      : self_attn(register_module("self_attn", Gemma2Attention(c, layer))),
        mlp(register_module("mlp", nn::GatedMlp(c.hidden_size, c.intermediate_size, c.hidden_activation))),
        input_layernorm(register_module("input_layernorm", GemmaRMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", GemmaRMSNorm(c.hidden_size, c.rms_norm_eps))),
        pre_feedforward_layernorm(
            register_module("pre_feedforward_layernorm", GemmaRMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_feedforward_layernorm(
            register_module("post_feedforward_layernorm", GemmaRMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  Tensor forward(Tensor x, DecoderCall& call) {
    x = x + post_attention_layernorm(self_attn(input_layernorm(x), call));
    return x + post_feedforward_layernorm(mlp(pre_feedforward_layernorm(x)));
  }
};
TORCH_MODULE(Gemma2DecoderLayer);

struct Gemma2Model : llama::LlamaModelOf<Gemma2PreTrainedModel, Gemma2DecoderLayer, GemmaRMSNorm> {
  using LlamaModelOf::LlamaModelOf;
  Tensor embedded(const Tensor& x) override { return gemma::scale_embeddings(x); }
};

struct Gemma2ForCausalLM : CausalLMHead<Gemma2PreTrainedModel, Gemma2Model> {
  using CausalLMHead::CausalLMHead;
  Tensor scores(const Tensor& x) override {
    const auto cap = base->c.final_logit_softcapping;
    return cap ? at::tanh(lm_head(x) / *cap) * *cap : lm_head(x);
  }
};
struct Gemma2ForSequenceClassification : SequenceClassificationHead<Gemma2PreTrainedModel, Gemma2Model> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct Gemma2ForTokenClassification : TokenClassificationHead<Gemma2PreTrainedModel, Gemma2Model> {
  using TokenClassificationHead::TokenClassificationHead;
};

static GgufMapping gguf_mapping() {
  return {.architecture = "gemma2",
          .model_type = "gemma2",
          .keys = {{"context_length", "max_position_embeddings"},
                   {"block_count", "num_hidden_layers"},
                   {"feed_forward_length", "intermediate_size"},
                   {"embedding_length", "hidden_size"},
                   {"attention.head_count", "num_attention_heads"},
                   {"attention.head_count_kv", "num_key_value_heads"},
                   {"attention.layer_norm_rms_epsilon", "rms_norm_eps"},
                   {"attention.key_length", "head_dim"},
                   {"rope.freq_base", "rope_theta"},
                   {"attention.sliding_window", "sliding_window"},
                   {"vocab_size", "vocab_size"}},
          .tensors = {
              {"token_embd", "model.embed_tokens"},
              {"blk.{n}.attn_norm", "model.layers.{n}.input_layernorm", GgufTransform::subtract_one},
              {"blk.{n}.attn_q", "model.layers.{n}.self_attn.q_proj"},
              {"blk.{n}.attn_k", "model.layers.{n}.self_attn.k_proj"},
              {"blk.{n}.attn_v", "model.layers.{n}.self_attn.v_proj"},
              {"blk.{n}.attn_output", "model.layers.{n}.self_attn.o_proj"},
              {"blk.{n}.post_attention_norm", "model.layers.{n}.post_attention_layernorm", GgufTransform::subtract_one},
              {"blk.{n}.ffn_norm", "model.layers.{n}.pre_feedforward_layernorm", GgufTransform::subtract_one},
              {"blk.{n}.post_ffw_norm", "model.layers.{n}.post_feedforward_layernorm", GgufTransform::subtract_one},
              {"blk.{n}.ffn_gate", "model.layers.{n}.mlp.gate_proj"},
              {"blk.{n}.ffn_up", "model.layers.{n}.mlp.up_proj"},
              {"blk.{n}.ffn_down", "model.layers.{n}.mlp.down_proj"},
              {"output_norm", "model.norm", GgufTransform::subtract_one},
              {"output", "lm_head"}}};
}

BACKPLANE_PLUGIN(gemma2, plugin) {
  plugin.config<Gemma2Config>();
  plugin.tokenizer("GemmaTokenizer", "GemmaTokenizerFast");
  plugin.gguf(gguf_mapping());
  plugin.model<Gemma2Model>(Auto::Model);
  plugin.model<Gemma2ForCausalLM>(Auto::ForCausalLM);
  plugin.model<Gemma2ForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<Gemma2ForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::gemma2
