// GPT-NeoX: Black et al. 2022, https://arxiv.org/abs/2204.06745
// Decoder with rotary positions in the first part of each head, one map for queries, keys and values, and attention and
// feed-forward part side by side (use_parallel_residual) or one after the other.
// Reference: transformers, models/gpt_neox/modeling_gpt_neox.py

#include <backplane/model/encoder_heads.h>
#include <backplane/model/transformer.h>

#include "configuration_gpt_neox.h"

namespace backplane::gpt_neox {

// Cosines and sines of a call's positions, [batch, seq, rotated / 2].
struct Rotation {
  Tensor cos, sin;
};

struct GPTNeoXAttentionImpl : nn::Module {
  int64_t heads;
  size_t layer;
  double dropout;
  nn::Linear query_key_value, dense;

  GPTNeoXAttentionImpl(const GPTNeoXConfig& c, size_t layer)
      : heads(c.num_attention_heads),
        layer(layer),
        dropout(c.attention_dropout),
        query_key_value(
            register_module("query_key_value", nn::Linear(c.hidden_size, 3 * c.hidden_size, c.attention_bias))),
        dense(register_module("dense", nn::Linear(c.hidden_size, c.hidden_size, c.attention_bias))) {}

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, const Rotation& r, TransformerCall& call) {
    const auto qkv = split_heads(query_key_value(x), heads).chunk(3, -1);  // [batch, heads, seq, d] each
    const auto [k, v] = call.append(layer, nn::apply_rotary(qkv[1], r.cos, r.sin), qkv[2]);
    return dense(merge_heads(
        call.attend(layer, nn::apply_rotary(qkv[0], r.cos, r.sin), k, v, {.dropout = is_training() ? dropout : 0})));
  }
};
TORCH_MODULE(GPTNeoXAttention);

struct GPTNeoXMLPImpl : nn::Module {
  nn::Linear dense_h_to_4h, dense_4h_to_h;
  Activation act;

  explicit GPTNeoXMLPImpl(const GPTNeoXConfig& c)
      : dense_h_to_4h(register_module("dense_h_to_4h", nn::Linear(c.hidden_size, c.intermediate_size))),
        dense_4h_to_h(register_module("dense_4h_to_h", nn::Linear(c.intermediate_size, c.hidden_size))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return dense_4h_to_h(act(dense_h_to_4h(x))); }
};
TORCH_MODULE(GPTNeoXMLP);

struct GPTNeoXLayerImpl : nn::Module {
  bool parallel;
  nn::LayerNorm input_layernorm, post_attention_layernorm;
  GPTNeoXAttention attention;
  GPTNeoXMLP mlp;
  nn::Dropout dropout;

  GPTNeoXLayerImpl(const GPTNeoXConfig& c, size_t layer)
      : parallel(c.use_parallel_residual),
        input_layernorm(register_module("input_layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        attention(register_module("attention", GPTNeoXAttention(c, layer))),
        mlp(register_module("mlp", GPTNeoXMLP(c))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout))) {}

  Tensor forward(Tensor x, const Rotation& rotation, TransformerCall& call) {
    const Tensor y = dropout(attention(input_layernorm(x), rotation, call));
    if (parallel) return dropout(mlp(post_attention_layernorm(x))) + y + x;
    x = y + x;
    return dropout(mlp(post_attention_layernorm(x))) + x;
  }
};
TORCH_MODULE(GPTNeoXLayer);

struct GPTNeoXPreTrainedModel : PreTrainedModel {
  using Config = GPTNeoXConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override {
    // Old checkpoints hold the causal masks and frequencies.
    return {.base_model_prefix = "gpt_neox",
            .ignore_unexpected = {R"(attention\.(masked_)?bias$)", R"(rotary_emb\.inv_freq$)"}};
  }
};

struct GPTNeoXModel : GPTNeoXPreTrainedModel {
  const GPTNeoXConfig& c;
  nn::RotaryEmbedding rotary;
  nn::Embedding embed_in;
  nn::Dropout emb_dropout;
  nn::Layers<GPTNeoXLayer> layers;
  nn::LayerNorm final_layer_norm;

  explicit GPTNeoXModel(const GPTNeoXConfig& config)
      : GPTNeoXPreTrainedModel(config),
        c(config),
        rotary({.dim = c.rotated(),
                .theta = c.rotary_emb_base,
                .max_position_embeddings = c.max_position_embeddings,
                .scaling = c.rope_scaling}),
        embed_in(register_module("embed_in", nn::Embedding(c.vocab_size, c.hidden_size))),
        emb_dropout(register_module("emb_dropout", nn::Dropout(c.hidden_dropout))),
        layers(register_module(
            "layers", nn::Layers<GPTNeoXLayer>(c.num_hidden_layers,
                                               [&](int64_t i) { return GPTNeoXLayer(c, static_cast<size_t>(i)); }))),
        final_layer_norm(register_module("final_layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  nn::Embedding get_input_embeddings() override { return embed_in; }
  std::span<const std::string_view> arguments() const override {
    // Some heads of the reference take token_type_ids, which have no effect.
    static constexpr auto kArguments = extend(kEncoderArguments, "past_key_values", "use_cache", "cache_position");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    TransformerCall call(
        inputs, c,
        {.layers = c.num_hidden_layers, .heads = c.num_attention_heads, .causal = true, .use_cache = c.use_cache});
    const Tensor ids = inputs.tensor("input_ids");
    Tensor positions = inputs.tensor("position_ids");
    if (!positions.defined()) positions = at::arange(call.past, call.past + call.seq, at::kLong).unsqueeze(0);
    const auto [cos, sin] = rotary.forward(positions);
    const Rotation rotation{cos, sin};
    Tensor x = emb_dropout(ids.defined() ? embed_in(ids) : inputs["inputs_embeds"]);
    call.start(x);
    for (auto& layer : *layers) {
      call.see(x);
      x = layer(x, rotation, call);
    }
    x = final_layer_norm(x);
    call.see(x);
    return call.finish(x);
  }
};

struct GPTNeoXForCausalLM : CausalLMHead<GPTNeoXPreTrainedModel, GPTNeoXModel> {
  explicit GPTNeoXForCausalLM(const GPTNeoXConfig& c) : CausalLMHead(c, {.name = "embed_out"}) {}
};
struct GPTNeoXForSequenceClassification : SequenceClassificationHead<GPTNeoXPreTrainedModel, GPTNeoXModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct GPTNeoXForTokenClassification : TokenLabelHead<GPTNeoXPreTrainedModel, GPTNeoXModel> {
  explicit GPTNeoXForTokenClassification(const GPTNeoXConfig& c) : TokenLabelHead(c, c.classifier_dropout) {}
};
struct GPTNeoXForQuestionAnswering : QuestionAnsweringHead<GPTNeoXPreTrainedModel, GPTNeoXModel> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(gpt_neox, plugin) {
  plugin.config<GPTNeoXConfig>();
  plugin.tokenizer("", "GPTNeoXTokenizerFast");
  plugin.model<GPTNeoXModel>(Auto::Model);
  plugin.model<GPTNeoXForCausalLM>(Auto::WithLMHead);
  plugin.model<GPTNeoXForCausalLM>(Auto::ForCausalLM);
  plugin.model<GPTNeoXForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<GPTNeoXForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<GPTNeoXForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::gpt_neox
