// Falcon: Almazrouei et al. 2023, https://arxiv.org/abs/2311.16867
// Decoder with rotary positions or linear biases, one key and value for all heads (multi_query) or for each group of
// them (new_decoder_architecture), and attention and feed-forward part side by side (parallel_attn). Reference:
// transformers, models/falcon/modeling_falcon.py

#include <backplane/model/encoder_heads.h>
#include <backplane/model/transformer.h>
#include <backplane/nn/alibi.h>

#include "configuration_falcon.h"

namespace backplane::falcon {

// Where a call's tokens stand: cosines and sines [batch, seq, d / 2], or biases of scores [batch or 1, heads, 1, kv].
struct Positions {
  Tensor cos, sin, alibi;
};

struct FalconAttentionImpl : nn::Module {
  int64_t heads, kv_heads, d;
  bool grouped;
  size_t layer;
  double dropout;
  nn::Linear query_key_value, dense;

  FalconAttentionImpl(const FalconConfig& c, size_t layer)
      : heads(c.num_attention_heads),
        kv_heads(c.kv_heads()),
        d(c.head_size()),
        grouped(c.new_decoder_architecture),
        layer(layer),
        dropout(c.alibi ? c.attention_dropout : 0),
        query_key_value(register_module("query_key_value",
                                        nn::Linear(c.hidden_size, (heads + 2 * kv_heads) * c.head_size(), c.bias))),
        dense(register_module("dense", nn::Linear(c.hidden_size, c.hidden_size, c.bias))) {}

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, const Positions& positions, TransformerCall& call) {
    // Each group of queries is followed by its key and its value: [batch, seq, kv_heads, queries + 2, d].
    const int64_t queries = heads / kv_heads;
    const Tensor fused = query_key_value(x).view({call.batch, call.seq, kv_heads, queries + 2, d});
    const auto part = [&](int64_t first, int64_t count) {
      return fused.narrow(3, first, count).flatten(2, 3).transpose(1, 2);  // [batch, heads of the part, seq, d]
    };
    Tensor q = part(0, queries), k = part(queries, 1), v = part(queries + 1, 1);
    if (!positions.alibi.defined()) {
      q = nn::apply_rotary(q, positions.cos, positions.sin);
      k = nn::apply_rotary(k, positions.cos, positions.sin);
    }
    std::tie(k, v) = call.append(layer, k, v);
    return dense(
        merge_heads(call.attend(layer, q, k, v, {.mask = positions.alibi, .dropout = is_training() ? dropout : 0})));
  }
};
TORCH_MODULE(FalconAttention);

struct FalconMLPImpl : nn::Module {
  nn::Linear dense_h_to_4h, dense_4h_to_h;
  Activation act;

  explicit FalconMLPImpl(const FalconConfig& c)
      : dense_h_to_4h(register_module("dense_h_to_4h", nn::Linear(c.hidden_size, c.inner_size(), c.bias))),
        dense_4h_to_h(register_module("dense_4h_to_h", nn::Linear(c.inner_size(), c.hidden_size, c.bias))),
        act(backplane::activation(c.activation)) {}

  Tensor forward(const Tensor& x) { return dense_4h_to_h(act(dense_h_to_4h(x))); }
};
TORCH_MODULE(FalconMLP);

struct FalconDecoderLayerImpl : nn::Module {
  bool parallel;
  FalconAttention self_attention;
  FalconMLP mlp;
  nn::LayerNorm input_layernorm{nullptr}, post_attention_layernorm{nullptr}, ln_attn{nullptr}, ln_mlp{nullptr};
  nn::Dropout attention_dropout, hidden_dropout;

  FalconDecoderLayerImpl(const FalconConfig& c, size_t layer)
      : parallel(c.parallel_attn),
        self_attention(register_module("self_attention", FalconAttention(c, layer))),
        mlp(register_module("mlp", FalconMLP(c))),
        attention_dropout(register_module("attention_dropout", nn::Dropout(c.attention_dropout))),
        hidden_dropout(register_module("hidden_dropout", nn::Dropout(c.hidden_dropout))) {
    const auto norm = [&](const char* name) {
      return register_module(name, nn::LayerNorm(c.hidden_size, c.layer_norm_epsilon));
    };
    if (c.two_norms()) {
      ln_attn = norm("ln_attn");
      ln_mlp = norm("ln_mlp");
      return;
    }
    input_layernorm = norm("input_layernorm");
    if (!parallel) post_attention_layernorm = norm("post_attention_layernorm");
  }

  Tensor forward(Tensor x, const Positions& positions, TransformerCall& call) {
    const Tensor normed = ln_attn ? ln_attn(x) : input_layernorm(x);
    const Tensor y = self_attention(normed, positions, call);
    if (parallel) return hidden_dropout(mlp(ln_mlp ? ln_mlp(x) : normed) + y) + x;
    x = attention_dropout(y) + x;
    return hidden_dropout(mlp(post_attention_layernorm(x))) + x;
  }
};
TORCH_MODULE(FalconDecoderLayer);

struct FalconPreTrainedModel : PreTrainedModel {
  using Config = FalconConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "transformer"}; }
};

struct FalconModel : FalconPreTrainedModel {
  const FalconConfig& c;
  std::optional<nn::RotaryEmbedding> rotary;
  nn::Embedding word_embeddings;
  nn::Layers<FalconDecoderLayer> h;
  nn::LayerNorm ln_f;

  explicit FalconModel(const FalconConfig& config)
      : FalconPreTrainedModel(config),
        c(config),
        word_embeddings(register_module("word_embeddings", nn::Embedding(c.vocab_size, c.hidden_size))),
        h(register_module(
            "h", nn::Layers<FalconDecoderLayer>(
                     c.num_hidden_layers, [&](int64_t i) { return FalconDecoderLayer(c, static_cast<size_t>(i)); }))),
        ln_f(register_module("ln_f", nn::LayerNorm(c.hidden_size, c.layer_norm_epsilon))) {
    if (c.alibi) return;
    rotary.emplace(nn::RotaryOptions{.dim = c.head_size(),
                                     .theta = c.rope_theta,
                                     .max_position_embeddings = c.max_position_embeddings,
                                     .scaling = c.rope_scaling});
  }

  nn::Embedding get_input_embeddings() override { return word_embeddings; }
  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 10> kArguments = {
        "input_ids",     "past_key_values", "attention_mask",    "position_ids",         "head_mask",
        "inputs_embeds", "use_cache",       "output_attentions", "output_hidden_states", "cache_position"};
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    TransformerCall call(
        inputs, c,
        {.layers = c.num_hidden_layers, .heads = c.num_attention_heads, .causal = true, .use_cache = c.use_cache});
    if (!c.alibi) call.head_mask.reset();  // only attention with biases looks at it
    const Tensor ids = inputs.tensor("input_ids");
    Tensor x = ids.defined() ? word_embeddings(ids) : inputs["inputs_embeds"];
    call.start(x);
    const Positions positions = places(inputs, call);
    for (auto& layer : *h) {
      call.see(x);
      x = layer(x, positions, call);
    }
    x = ln_f(x);
    call.see(x);
    return call.finish(x);
  }

 private:
  // The reference makes biases in bfloat16 and scales them with the scores. Where no fused kernel runs and no heads are
  // masked, it adds them twice: with the mask, too.
  Positions places(const ModelInputs& inputs, const TransformerCall& call) const {
    if (c.alibi) {
      const bool eager = c.attn_implementation == AttnImplementation::eager || call.wants_attentions();
      const double times = eager && !call.head_mask.defined() ? 2 : 1;
      const Tensor counts = nn::alibi_positions(inputs.tensor("attention_mask"), call.past + call.seq);
      const Tensor bias = nn::alibi_slopes(c.num_attention_heads).to(at::kBFloat16).view({1, -1, 1, 1}) * counts;
      return {.alibi = bias.to(at::kFloat) * (times / std::sqrt(static_cast<double>(c.head_size())))};
    }
    Tensor ids = inputs.tensor("position_ids");
    if (!ids.defined()) ids = at::arange(call.past, call.past + call.seq, at::kLong).unsqueeze(0);
    const auto [cos, sin] = rotary->forward(ids);
    return {.cos = cos, .sin = sin};
  }
};

struct FalconForCausalLM : CausalLMHead<FalconPreTrainedModel, FalconModel> {
  explicit FalconForCausalLM(const FalconConfig& c) : CausalLMHead(c) {}
};
struct FalconForSequenceClassification : SequenceClassificationHead<FalconPreTrainedModel, FalconModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct FalconForTokenClassification : TokenLabelHead<FalconPreTrainedModel, FalconModel> {
  explicit FalconForTokenClassification(const FalconConfig& c) : TokenLabelHead(c, dropout_of(c)) {}

  // A key that the configuration does not know comes first.
  static double dropout_of(const FalconConfig& c) {
    const Value* p = c.find_extra("classifier_dropout");
    return p && !p->is_null() ? p->as_double() : c.hidden_dropout;
  }
};
struct FalconForQuestionAnswering : QuestionAnsweringHead<FalconPreTrainedModel, FalconModel> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(falcon, plugin) {
  plugin.config<FalconConfig>();
  plugin.tokenizer("", "PreTrainedTokenizerFast");
  plugin.model<FalconModel>(Auto::Model);
  plugin.model<FalconForCausalLM>(Auto::ForCausalLM);
  plugin.model<FalconForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<FalconForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<FalconForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::falcon
