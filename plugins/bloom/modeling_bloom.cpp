// BLOOM: BigScience 2022, https://arxiv.org/abs/2211.05100
// Pre-norm decoder whose positions are linear biases of the scores, with a norm behind the words' embeddings.
// Reference: transformers, models/bloom/modeling_bloom.py

#include <backplane/model/encoder_heads.h>
#include <backplane/model/transformer.h>
#include <backplane/nn/alibi.h>

#include "configuration_bloom.h"

namespace backplane::bloom {

// Megatron's slices of a linear map, summed; their bias is left out, as in the reference.
static Tensor sliced(nn::Linear& dense, const Tensor& x, const BloomConfig& c) {
  return c.pretraining_tp > 1 && c.slow_but_exact ? at::linear(x, dense->weight) : dense(x);
}

struct BloomAttentionImpl : nn::Module {
  const BloomConfig& c;
  size_t layer;
  nn::Linear query_key_value, dense;
  nn::Dropout hidden_dropout;

  BloomAttentionImpl(const BloomConfig& config, size_t layer)
      : c(config),
        layer(layer),
        query_key_value(register_module("query_key_value", nn::Linear(c.hidden_size, 3 * c.hidden_size))),
        dense(register_module("dense", nn::Linear(c.hidden_size, c.hidden_size))),
        hidden_dropout(register_module("hidden_dropout", nn::Dropout(c.hidden_dropout))) {}

  // x and residual [batch, seq, hidden], alibi [batch or 1, heads, 1, kv] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, const Tensor& residual, const Tensor& alibi, TransformerCall& call) {
    // [batch, seq, heads, 3, d] -> three of [batch, heads, seq, d]
    const auto qkv =
        query_key_value(x).view({call.batch, call.seq, c.n_head, 3, -1}).permute({3, 0, 2, 1, 4}).unbind(0);
    const auto [k, v] = call.append(layer, qkv[1], qkv[2]);
    const Tensor y =
        call.attend(layer, qkv[0], k, v, {.mask = alibi, .dropout = is_training() ? c.attention_dropout : 0});
    return hidden_dropout(sliced(dense, merge_heads(y), c)) + residual;
  }
};
TORCH_MODULE(BloomAttention);

struct BloomMLPImpl : nn::Module {
  const BloomConfig& c;
  nn::Linear dense_h_to_4h, dense_4h_to_h;
  nn::Dropout hidden_dropout;

  explicit BloomMLPImpl(const BloomConfig& config)
      : c(config),
        dense_h_to_4h(register_module("dense_h_to_4h", nn::Linear(c.hidden_size, 4 * c.hidden_size))),
        dense_4h_to_h(register_module("dense_4h_to_h", nn::Linear(4 * c.hidden_size, c.hidden_size))),
        hidden_dropout(register_module("hidden_dropout", nn::Dropout(c.hidden_dropout))) {}

  Tensor forward(const Tensor& x, const Tensor& residual) {
    return hidden_dropout(sliced(dense_4h_to_h, at::gelu(dense_h_to_4h(x), "tanh"), c)) + residual;
  }
};
TORCH_MODULE(BloomMLP);

struct BloomBlockImpl : nn::Module {
  bool residual_after_norm;
  nn::LayerNorm input_layernorm, post_attention_layernorm;
  BloomAttention self_attention;
  BloomMLP mlp;

  BloomBlockImpl(const BloomConfig& c, size_t layer)
      : residual_after_norm(c.apply_residual_connection_post_layernorm),
        input_layernorm(register_module("input_layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_epsilon))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_epsilon))),
        self_attention(register_module("self_attention", BloomAttention(c, layer))),
        mlp(register_module("mlp", BloomMLP(c))) {}

  Tensor forward(Tensor x, const Tensor& alibi, TransformerCall& call) {
    Tensor normed = input_layernorm(x);
    x = self_attention(normed, residual_after_norm ? normed : x, alibi, call);
    normed = post_attention_layernorm(x);
    return mlp(normed, residual_after_norm ? normed : x);
  }
};
TORCH_MODULE(BloomBlock);

struct BloomPreTrainedModel : PreTrainedModel {
  using Config = BloomConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "transformer"}; }
};

struct BloomModel : BloomPreTrainedModel {
  const BloomConfig& c;
  nn::Embedding word_embeddings;
  nn::LayerNorm word_embeddings_layernorm, ln_f;
  nn::Layers<BloomBlock> h;

  explicit BloomModel(const BloomConfig& config)
      : BloomPreTrainedModel(config),
        c(config),
        word_embeddings(register_module("word_embeddings", nn::Embedding(c.vocab_size, c.hidden_size))),
        word_embeddings_layernorm(
            register_module("word_embeddings_layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_epsilon))),
        ln_f(register_module("ln_f", nn::LayerNorm(c.hidden_size, c.layer_norm_epsilon))),
        h(register_module(
            "h", nn::Layers<BloomBlock>(c.n_layer, [&](int64_t i) { return BloomBlock(c, static_cast<size_t>(i)); }))) {
  }

  nn::Embedding get_input_embeddings() override { return word_embeddings; }
  std::span<const std::string_view> arguments() const override {
    // position_ids are taken and have no effect.
    static constexpr std::array<std::string_view, 10> kArguments = {
        "input_ids",     "past_key_values", "attention_mask",    "position_ids",         "head_mask",
        "inputs_embeds", "use_cache",       "output_attentions", "output_hidden_states", "cache_position"};
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    TransformerCall call(inputs, c, {.layers = c.n_layer, .heads = c.n_head, .causal = true, .use_cache = c.use_cache});
    const Tensor ids = inputs.tensor("input_ids");
    Tensor x = word_embeddings_layernorm(ids.defined() ? word_embeddings(ids) : inputs["inputs_embeds"]);
    call.start(x);
    const Tensor alibi =
        nn::alibi_bias(inputs.tensor("attention_mask"), c.n_head, call.past + call.seq).to(x.scalar_type());
    for (auto& block : *h) {
      call.see(x);
      x = block(x, alibi, call);
    }
    x = ln_f(x);
    call.see(x);
    return call.finish(x);
  }
};

struct BloomForCausalLM : CausalLMHead<BloomPreTrainedModel, BloomModel> {
  explicit BloomForCausalLM(const BloomConfig& c) : CausalLMHead(c) {}
};
struct BloomForSequenceClassification : SequenceClassificationHead<BloomPreTrainedModel, BloomModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct BloomForTokenClassification : TokenLabelHead<BloomPreTrainedModel, BloomModel> {
  explicit BloomForTokenClassification(const BloomConfig& c) : TokenLabelHead(c, dropout_of(c)) {}

  // A key that the configuration does not know comes first.
  static double dropout_of(const BloomConfig& c) {
    const Value* p = c.find_extra("classifier_dropout");
    return p && !p->is_null() ? p->as_double() : c.hidden_dropout;
  }
};
struct BloomForQuestionAnswering : QuestionAnsweringHead<BloomPreTrainedModel, BloomModel> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(bloom, plugin) {
  plugin.config<BloomConfig>();
  plugin.tokenizer("", "BloomTokenizerFast");
  plugin.model<BloomModel>(Auto::Model);
  plugin.model<BloomForCausalLM>(Auto::ForPreTraining);
  plugin.model<BloomForCausalLM>(Auto::WithLMHead);
  plugin.model<BloomForCausalLM>(Auto::ForCausalLM);
  plugin.model<BloomForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<BloomForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<BloomForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::bloom
