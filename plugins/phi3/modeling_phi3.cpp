// Phi-3: Abdin et al. 2024, https://arxiv.org/abs/2404.14219
// Phi-3 is Mistral except: q, k and v come from one matrix, gate and up too; part of each head may be left unrotated,
// and long positions use LongRoPE. Reference: transformers, models/phi3/modeling_phi3.py

#include "../llama/modeling_llama.h"
#include "configuration_phi3.h"

namespace backplane::phi3 {

struct Phi3PreTrainedModel : PreTrainedModel {
  using Config = Phi3Config;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct Phi3AttentionImpl : nn::Module {
  llama::AttentionShape shape;
  size_t layer;
  nn::Linear o_proj, qkv_proj;

  Phi3AttentionImpl(const Phi3Config& c, size_t layer)
      : shape(llama::attention_shape(c)),
        layer(layer),
        o_proj(register_module("o_proj", nn::Linear(shape.heads * shape.head_dim, c.hidden_size, false))),
        qkv_proj(register_module(
            "qkv_proj", nn::Linear(c.hidden_size, (shape.heads + 2 * shape.kv_heads) * shape.head_dim, false))) {
    shape.window = c.sliding_window.value_or(0);
  }

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    const int64_t kv = shape.kv_heads * shape.head_dim;
    const auto qkv = qkv_proj(x).split_with_sizes({shape.heads * shape.head_dim, kv, kv}, -1);
    const Tensor q = nn::apply_rotary(split_heads(qkv[0], shape.heads), call.cos, call.sin);
    const Tensor k = nn::apply_rotary(split_heads(qkv[1], shape.kv_heads), call.cos, call.sin);
    return o_proj(merge_heads(call.attend(layer, q, k, split_heads(qkv[2], shape.kv_heads),
                                          {.dropout = is_training() ? shape.dropout : 0}, shape.window)));
  }
};
TORCH_MODULE(Phi3Attention);

struct Phi3DecoderLayerImpl : nn::Module {
  Phi3Attention self_attn;
  nn::FusedGatedMlp mlp;
  nn::RMSNorm input_layernorm, post_attention_layernorm;
  nn::Dropout resid_attn_dropout, resid_mlp_dropout;

  Phi3DecoderLayerImpl(const Phi3Config& c, size_t layer)
      : self_attn(register_module("self_attn", Phi3Attention(c, layer))),
        mlp(register_module("mlp", nn::FusedGatedMlp(c))),
        input_layernorm(register_module("input_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        resid_attn_dropout(register_module("resid_attn_dropout", nn::Dropout(c.resid_pdrop))),
        resid_mlp_dropout(register_module("resid_mlp_dropout", nn::Dropout(c.resid_pdrop))) {}

  Tensor forward(Tensor x, DecoderCall& call) {
    x = x + resid_attn_dropout(self_attn(input_layernorm(x), call));
    return x + resid_mlp_dropout(mlp(post_attention_layernorm(x)));
  }
};
TORCH_MODULE(Phi3DecoderLayer);

struct Phi3Model : llama::LlamaModelOf<Phi3PreTrainedModel, Phi3DecoderLayer> {
  using LlamaModelOf::LlamaModelOf;
};

struct Phi3ForCausalLM : CausalLMHead<Phi3PreTrainedModel, Phi3Model> {
  using CausalLMHead::CausalLMHead;
};
struct Phi3ForSequenceClassification : SequenceClassificationHead<Phi3PreTrainedModel, Phi3Model> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct Phi3ForTokenClassification : TokenClassificationHead<Phi3PreTrainedModel, Phi3Model> {
  using TokenClassificationHead::TokenClassificationHead;
};

static GgufMapping gguf_mapping() {
  return {.architecture = "phi3",
          .model_type = "phi3",
          .keys = {{"context_length", "max_position_embeddings"},
                   {"block_count", "num_hidden_layers"},
                   {"feed_forward_length", "intermediate_size"},
                   {"embedding_length", "hidden_size"},
                   {"rope.freq_base", "rope_theta"},
                   {"attention.head_count", "num_attention_heads"},
                   {"attention.head_count_kv", "num_key_value_heads"},
                   {"attention.layer_norm_rms_epsilon", "rms_norm_eps"},
                   {"vocab_size", "vocab_size"}},
          .tensors = {{"token_embd", "model.embed_tokens"},
                      {"blk.{n}.attn_norm", "model.layers.{n}.input_layernorm"},
                      {"blk.{n}.attn_qkv", "model.layers.{n}.self_attn.qkv_proj"},
                      {"blk.{n}.attn_output", "model.layers.{n}.self_attn.o_proj"},
                      {"blk.{n}.ffn_norm", "model.layers.{n}.post_attention_layernorm"},
                      {"blk.{n}.ffn_up", "model.layers.{n}.mlp.gate_up_proj"},
                      {"blk.{n}.ffn_down", "model.layers.{n}.mlp.down_proj"},
                      {"output_norm", "model.norm"},
                      {"output", "lm_head"}}};
}

BACKPLANE_PLUGIN(phi3, plugin) {
  plugin.config<Phi3Config>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.gguf(gguf_mapping());
  plugin.model<Phi3Model>(Auto::Model);
  plugin.model<Phi3ForCausalLM>(Auto::ForCausalLM);
  plugin.model<Phi3ForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<Phi3ForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::phi3
