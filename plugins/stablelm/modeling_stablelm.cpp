// StableLM 2: Bellagente et al. 2024, https://arxiv.org/abs/2402.17834
// StableLM is LLaMA except: LayerNorm, a quarter of each head is rotated, heads of q and k may each have a norm of
// their own, and attention and MLP may run side by side. Reference: transformers, models/stablelm/modeling_stablelm.py

#include "../llama/modeling_llama.h"
#include "configuration_stablelm.h"

namespace backplane::stablelm {

struct StableLmPreTrainedModel : PreTrainedModel {
  using Config = StableLmConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

// A LayerNorm without bias for each head.
struct StableLmLayerNormPerHeadImpl : nn::Module {
  nn::Layers<nn::LayerNorm> norms;

  StableLmLayerNormPerHeadImpl(int64_t dim, int64_t heads, double eps)
      : norms(register_module(
            "norms", nn::Layers<nn::LayerNorm>(heads, [&](int64_t) { return nn::LayerNorm(dim, eps, false); }))) {}

  // x [batch, heads, seq, dim] -> its shape
  Tensor forward(const Tensor& x) {
    std::vector<Tensor> weights;
    for (auto& norm : *norms) weights.push_back(norm->weight);
    const double eps = (*norms)[0]->eps;
    return at::layer_norm(x, {x.size(3)}, {}, {}, eps) * at::stack(weights).unsqueeze(1);
  }
};
TORCH_MODULE(StableLmLayerNormPerHead);

struct StableLmAttentionImpl : llama::LlamaAttentionImpl {
  StableLmLayerNormPerHead q_layernorm{nullptr}, k_layernorm{nullptr};

  StableLmAttentionImpl(const StableLmConfig& c, size_t layer) : LlamaAttentionImpl(shape_of(c), layer) {
    if (!c.qk_layernorm) return;
    q_layernorm =
        register_module("q_layernorm", StableLmLayerNormPerHead(shape.head_dim, shape.heads, c.layer_norm_eps));
    k_layernorm =
        register_module("k_layernorm", StableLmLayerNormPerHead(shape.head_dim, shape.kv_heads, c.layer_norm_eps));
  }

  static llama::AttentionShape shape_of(const StableLmConfig& c) {
    llama::AttentionShape shape = llama::attention_shape(c);
    shape.qkv_bias = c.use_qkv_bias;
    return shape;
  }

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    Tensor q = split_heads(q_proj(x), shape.heads), k = split_heads(k_proj(x), shape.kv_heads);
    if (q_layernorm) q = q_layernorm(q), k = k_layernorm(k);
    return o_proj(merge_heads(attend(nn::apply_rotary(q, call.cos, call.sin), nn::apply_rotary(k, call.cos, call.sin),
                                     split_heads(v_proj(x), shape.kv_heads), call)));
  }
};
TORCH_MODULE(StableLmAttention);

struct StableLmDecoderLayerImpl : nn::Module {
  StableLmAttention self_attn;
  nn::GatedMlp mlp;
  nn::LayerNorm input_layernorm, post_attention_layernorm{nullptr};  // the latter unless the blocks run side by side
  nn::Dropout dropout;

  StableLmDecoderLayerImpl(const StableLmConfig& c, size_t layer)
      : self_attn(register_module("self_attn", StableLmAttention(c, layer))),
        mlp(register_module("mlp", nn::GatedMlp(c))),
        input_layernorm(register_module("input_layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout))) {
    if (!c.use_parallel_residual) {
      post_attention_layernorm =
          register_module("post_attention_layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps));
    }
  }

  Tensor forward(Tensor x, DecoderCall& call) {
    const Tensor h = input_layernorm(x), attended = x + self_attn(h, call);
    return attended + dropout(mlp(post_attention_layernorm ? post_attention_layernorm(attended) : h));
  }
};
TORCH_MODULE(StableLmDecoderLayer);

struct StableLmModel : llama::LlamaModelOf<StableLmPreTrainedModel, StableLmDecoderLayer, nn::LayerNorm> {
  using LlamaModelOf::LlamaModelOf;
};

struct StableLmForCausalLM : CausalLMHead<StableLmPreTrainedModel, StableLmModel> {
  using CausalLMHead::CausalLMHead;
};
struct StableLmForSequenceClassification : SequenceClassificationHead<StableLmPreTrainedModel, StableLmModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct StableLmForTokenClassification : TokenClassificationHead<StableLmPreTrainedModel, StableLmModel> {
  using TokenClassificationHead::TokenClassificationHead;
};

static GgufMapping gguf_mapping() {
  return {.architecture = "stablelm",
          .model_type = "stablelm",
          .keys = {{"context_length", "max_position_embeddings"},
                   {"block_count", "num_hidden_layers"},
                   {"feed_forward_length", "intermediate_size"},
                   {"embedding_length", "hidden_size"},
                   {"attention.head_count", "num_attention_heads"},
                   {"attention.head_count_kv", "num_key_value_heads"},
                   {"attention.layer_norm_epsilon", "layer_norm_eps"},
                   {"vocab_size", "vocab_size"}},
          .tensors = {{"token_embd", "model.embed_tokens"},
                      {"blk.{n}.attn_norm", "model.layers.{n}.input_layernorm"},
                      {"blk.{n}.attn_q", "model.layers.{n}.self_attn.q_proj"},
                      {"blk.{n}.attn_k", "model.layers.{n}.self_attn.k_proj"},
                      {"blk.{n}.attn_v", "model.layers.{n}.self_attn.v_proj"},
                      {"blk.{n}.attn_output", "model.layers.{n}.self_attn.o_proj"},
                      {"blk.{n}.ffn_norm", "model.layers.{n}.post_attention_layernorm"},
                      {"blk.{n}.ffn_gate", "model.layers.{n}.mlp.gate_proj"},
                      {"blk.{n}.ffn_up", "model.layers.{n}.mlp.up_proj"},
                      {"blk.{n}.ffn_down", "model.layers.{n}.mlp.down_proj"},
                      {"output_norm", "model.norm"},
                      {"output", "lm_head"}}};
}

BACKPLANE_PLUGIN(stablelm, plugin) {
  plugin.config<StableLmConfig>();
  plugin.tokenizer("", "GPTNeoXTokenizerFast");
  plugin.gguf(gguf_mapping());
  plugin.model<StableLmModel>(Auto::Model);
  plugin.model<StableLmForCausalLM>(Auto::ForCausalLM);
  plugin.model<StableLmForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<StableLmForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::stablelm
