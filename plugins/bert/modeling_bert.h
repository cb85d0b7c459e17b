#pragma once

#include <backplane/model/encoder_heads.h>
#include <backplane/model/transformer.h>

#include "configuration_bert.h"

// BERT: Devlin et al. 2018, https://arxiv.org/abs/1810.04805
// Post-norm encoder, learned absolute positions, two token types. As a decoder (is_decoder) it is causal, keeps a
// cache, and may attend to an encoder's states. Relative positions: Shaw et al. 2018, https://arxiv.org/abs/1803.02155,
// and Huang et al. 2020, https://arxiv.org/abs/2009.13658.
// A sibling's configuration derives from BertConfig; it replaces the embeddings, the layers or the pooler of
// BertModelOf. Reference: transformers, models/bert/modeling_bert.py
namespace backplane::bert {

// Positions past … past + seq - 1, unless the call has position_ids: [batch or 1, seq].
inline Tensor counted_positions(const ModelInputs& inputs, const TransformerCall& call, int64_t max_positions) {
  if (call.past + call.seq > max_positions) {
    throw Error(ErrorCode::invalid_value,
                concat("a sequence of ", call.past + call.seq, " tokens is longer than max_position_embeddings (",
                       max_positions, "); truncate it"));
  }
  const Tensor given = inputs.tensor("position_ids");
  return given.defined() ? given : at::arange(call.past, call.past + call.seq, at::kLong).unsqueeze(0);
}

// token_type_ids; 0 for all where the call has none: [batch or 1, seq or 1].
inline Tensor token_types(const ModelInputs& inputs) {
  const Tensor given = inputs.tensor("token_type_ids");
  return given.defined() ? given : at::zeros({1, 1}, at::kLong);
}

struct BertEmbeddingsImpl : nn::Module {
  bool absolute;
  int64_t max_positions;
  nn::Embedding word_embeddings, position_embeddings, token_type_embeddings;
  nn::LayerNorm LayerNorm;
  nn::Dropout dropout;

  explicit BertEmbeddingsImpl(const BertConfig& c) : BertEmbeddingsImpl(c, c.hidden_size) {}
  BertEmbeddingsImpl(const BertConfig& c, int64_t size)
      : absolute(c.position_embedding_type == "absolute"),
        max_positions(c.max_position_embeddings),
        word_embeddings(register_module("word_embeddings", nn::Embedding(c.vocab_size, size, c.pad_token_id))),
        position_embeddings(register_module("position_embeddings", nn::Embedding(max_positions, size))),
        token_type_embeddings(register_module("token_type_embeddings", nn::Embedding(c.type_vocab_size, size))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  Tensor words(const ModelInputs& inputs) {
    const Tensor ids = inputs.tensor("input_ids");
    return ids.defined() ? word_embeddings(ids) : inputs["inputs_embeds"];
  }

  // Words, token types and positions, [batch, seq, size]
  Tensor sum(const ModelInputs& inputs, const TransformerCall& call) {
    const Tensor x = words(inputs) + token_type_embeddings(token_types(inputs));
    const Tensor positions = counted_positions(inputs, call, max_positions);
    return absolute ? x + position_embeddings(positions) : x;
  }

  Tensor forward(const ModelInputs& inputs, const TransformerCall& call) {
    return dropout(LayerNorm(sum(inputs, call)));
  }
};
TORCH_MODULE(BertEmbeddings);

struct BertSelfAttentionImpl : nn::Module {
  int64_t heads, max_positions;
  size_t layer;
  bool is_cross, by_query, by_key;
  double dropout;
  nn::Linear query, key, value;
  nn::Embedding distance_embedding{nullptr};

  // Attention to an encoder's states knows no distances, unless a sibling says so.
  BertSelfAttentionImpl(const BertConfig& c, size_t layer, bool is_cross)
      : BertSelfAttentionImpl(c, layer, is_cross, is_cross ? "absolute" : c.position_embedding_type) {}

  BertSelfAttentionImpl(const BertConfig& c, size_t layer, bool is_cross, const std::string& position_embedding_type)
      : heads(c.num_attention_heads),
        max_positions(c.max_position_embeddings),
        layer(layer),
        is_cross(is_cross),
        by_query(position_embedding_type == "relative_key_query"),
        by_key(by_query || position_embedding_type == "relative_key"),
        dropout(c.attention_probs_dropout_prob),
        query(register_module("query", nn::Linear(c.hidden_size, c.hidden_size))),
        key(register_module("key", nn::Linear(c.hidden_size, c.hidden_size))),
        value(register_module("value", nn::Linear(c.hidden_size, c.hidden_size))) {
    if (by_key) {
      distance_embedding =
          register_module("distance_embedding", nn::Embedding(2 * max_positions - 1, c.hidden_size / heads));
    }
  }

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, TransformerCall& call) {
    const Tensor q = split_heads(query(x), heads);  // [batch, heads, seq, d]
    const auto keys_and_values = [&](const Tensor& y) {
      return std::pair(split_heads(key(y), heads), split_heads(value(y), heads));
    };
    AttentionOptions options{.dropout = is_training() ? dropout : 0};
    if (is_cross) {
      const auto [k, v] = call.encoded(layer, keys_and_values);
      if (by_key) options.mask = relative_bias(q, k, call.past > 0 ? k.size(2) - q.size(2) : 0);
      return merge_heads(call.attend_encoder(layer, q, k, v, options));
    }
    auto [k, v] = keys_and_values(x);
    std::tie(k, v) = call.append(layer, k, v);
    if (by_key) options.mask = relative_bias(q, k, call.past);
    return merge_heads(call.attend(layer, q, k, v, options));
  }

  // What the distances of positions add to the scaled scores, [batch, heads, q, kv].
  Tensor relative_bias(const Tensor& q, const Tensor& k, int64_t past) {
    const Tensor distance = at::arange(past, past + q.size(2)).unsqueeze(1) - at::arange(k.size(2)).unsqueeze(0);
    const Tensor positions = distance_embedding(distance + max_positions - 1);  // [q, kv, d]
    Tensor bias = at::einsum("bhld,lrd->bhlr", {q, positions});
    if (by_query) bias = bias + at::einsum("bhrd,lrd->bhlr", {k, positions});
    return bias / std::sqrt(static_cast<double>(q.size(3)));
  }
};
TORCH_MODULE(BertSelfAttention);

// Linear, dropout, residual, norm: after attention and after the feed-forward part.
struct BertOutputImpl : nn::Module {
  nn::Linear dense;
  nn::LayerNorm LayerNorm;
  nn::Dropout dropout;

  template <class Config>
  BertOutputImpl(const Config& c, int64_t in_features)
      : dense(register_module("dense", nn::Linear(in_features, c.hidden_size))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  Tensor forward(const Tensor& x, const Tensor& residual) { return LayerNorm(dropout(dense(x)) + residual); }
};
TORCH_MODULE(BertOutput);

struct BertIntermediateImpl : nn::Module {
  nn::Linear dense;
  Activation act;

  template <class Config>
  explicit BertIntermediateImpl(const Config& c)
      : dense(register_module("dense", nn::Linear(c.hidden_size, c.intermediate_size))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return act(dense(x)); }
};
TORCH_MODULE(BertIntermediate);

// A layer over any self-attention that is made from (config, layer, is_cross).
template <class SelfAttention>
struct BertAttentionImpl : nn::Module {
  SelfAttention self;
  BertOutput output;

  template <class Config>
  BertAttentionImpl(const Config& c, size_t layer, bool is_cross)
      : self(register_module("self", SelfAttention(c, layer, is_cross))),
        output(register_module("output", BertOutput(c, c.hidden_size))) {}

  Tensor forward(const Tensor& x, TransformerCall& call) { return output(self(x, call), x); }
};
template <class SelfAttention>
struct BertAttention : nn::ModuleHolder<BertAttentionImpl<SelfAttention>> {
  using nn::ModuleHolder<BertAttentionImpl<SelfAttention>>::ModuleHolder;
};

template <class SelfAttention>
struct BertLayerImpl : nn::Module {
  BertAttention<SelfAttention> attention, crossattention{nullptr};
  BertIntermediate intermediate;
  BertOutput output;

  template <class Config>
  BertLayerImpl(const Config& c, size_t layer)
      : attention(register_module("attention", BertAttention<SelfAttention>(c, layer, false))),
        intermediate(register_module("intermediate", BertIntermediate(c))),
        output(register_module("output", BertOutput(c, c.intermediate_size))) {
    if (c.add_cross_attention)
      crossattention = register_module("crossattention", BertAttention<SelfAttention>(c, layer, true));
  }

  Tensor forward(Tensor x, TransformerCall& call) {
    x = attention(x, call);
    if (call.encoder.defined()) x = crossattention(x, call);
    return output(intermediate(x), x);
  }
};
template <class SelfAttention>
struct BertLayerOf : nn::ModuleHolder<BertLayerImpl<SelfAttention>> {
  using nn::ModuleHolder<BertLayerImpl<SelfAttention>>::ModuleHolder;
};
using BertLayer = BertLayerOf<BertSelfAttention>;

template <class Layer>
struct BertEncoderImpl : nn::Module {
  nn::Layers<Layer> layer;

  template <class Config>
  explicit BertEncoderImpl(const Config& c)
      : layer(register_module(
            "layer", nn::Layers<Layer>(c.num_hidden_layers, [&](int64_t i) { return Layer(c, size_t(i)); }))) {}

  Tensor forward(Tensor x, TransformerCall& call) {
    for (auto& one : *layer) {
      call.see(x);
      x = one(x, call);
    }
    call.see(x);
    return x;
  }
};
template <class Layer>
struct BertEncoder : nn::ModuleHolder<BertEncoderImpl<Layer>> {
  using nn::ModuleHolder<BertEncoderImpl<Layer>>::ModuleHolder;
};

// tanh of a linear map of the first token.
struct BertPoolerImpl : nn::Module {
  nn::Linear dense;

  template <class Config>
  explicit BertPoolerImpl(const Config& c)
      : dense(register_module("dense", nn::Linear(c.hidden_size, c.hidden_size))) {}

  // x [batch, seq, hidden] -> [batch, hidden]
  Tensor forward(const Tensor& x) { return at::tanh(dense(x.select(1, 0).contiguous())); }
};
TORCH_MODULE(BertPooler);

// The configuration, once it is known to make a model.
template <class Config>
const Config& checked(const Config& c) {
  check_head_size(c.hidden_size, c.num_attention_heads);
  if (c.add_cross_attention && !c.is_decoder)
    throw Error(ErrorCode::bad_config, "config.json: add_cross_attention needs is_decoder to be true");
  return c;
}

// The base model over embeddings called with (inputs, call), an encoder called with (x, call), and a pooler.
template <class PreTrained, class Embeddings, class Encoder, class Pooler = BertPooler>
struct BertModelOf : PreTrained {
  using Config = typename PreTrained::Config;

  const Config& c;
  Embeddings embeddings;
  Encoder encoder;
  Pooler pooler{nullptr};

  explicit BertModelOf(const Config& config, bool add_pooling_layer = true)
      : PreTrained(config),
        c(checked(config)),
        embeddings(this->register_module("embeddings", Embeddings(c))),
        encoder(this->register_module("encoder", Encoder(c))) {
    if (add_pooling_layer) pooler = this->register_module("pooler", Pooler(c));
  }

  nn::Embedding get_input_embeddings() override { return embeddings->word_embeddings; }
  std::span<const std::string_view> arguments() const override { return kTransformerArguments; }

  // What a sibling does to the embeddings before the first layer, and to the states after the last.
  virtual Tensor embedded(const Tensor& x) { return x; }
  virtual Tensor finished(const Tensor& x) { return x; }

  ModelOutput compute(const ModelInputs& inputs) override {
    TransformerCall call(inputs, c,
                         {.layers = c.num_hidden_layers,
                          .heads = c.num_attention_heads,
                          .causal = c.is_decoder,
                          .use_cache = c.use_cache});
    Tensor x = embedded(embeddings(inputs, call));
    call.start(x);
    x = finished(encoder(x, call));
    return call.finish(x, pooler ? pooler(x) : Tensor());
  }
};

struct BertPredictionHeadTransformImpl : nn::Module {
  nn::Linear dense;
  Activation act;
  nn::LayerNorm LayerNorm;

  template <class Config>
  explicit BertPredictionHeadTransformImpl(const Config& c) : BertPredictionHeadTransformImpl(c, c.hidden_size) {}
  template <class Config>
  BertPredictionHeadTransformImpl(const Config& c, int64_t out_features)
      : dense(register_module("dense", nn::Linear(c.hidden_size, out_features))),
        act(activation(c.hidden_act)),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(out_features, c.layer_norm_eps))) {}

  Tensor forward(const Tensor& x) { return LayerNorm(act(dense(x))); }
};
TORCH_MODULE(BertPredictionHeadTransform);

struct BertLMPredictionHeadImpl : nn::Module {
  Tensor bias;
  BertPredictionHeadTransform transform;
  nn::Linear decoder;

  template <class Config>
  explicit BertLMPredictionHeadImpl(const Config& c) : BertLMPredictionHeadImpl(c, c.hidden_size) {}
  template <class Config>
  BertLMPredictionHeadImpl(const Config& c, int64_t embedding_size)
      : bias(register_parameter("bias", at::empty({c.vocab_size}))),
        transform(register_module("transform", BertPredictionHeadTransform(c, embedding_size))),
        decoder(register_module("decoder", nn::Linear(embedding_size, c.vocab_size))) {
    decoder->tie_bias(bias);
  }

  // x [batch, seq, hidden] -> [batch, seq, vocab]
  Tensor forward(const Tensor& x) { return decoder(transform(x)); }
};
TORCH_MODULE(BertLMPredictionHead);

// Words.
struct BertOnlyMLMHeadImpl : nn::Module {
  BertLMPredictionHead predictions;

  template <class Config>
  explicit BertOnlyMLMHeadImpl(const Config& c)
      : predictions(register_module("predictions", BertLMPredictionHead(c))) {}

  nn::Linear output_embeddings() { return predictions->decoder; }
  Tensor forward(const Tensor& x) { return predictions(x); }
};
TORCH_MODULE(BertOnlyMLMHead);

// Words and the next sentence.
struct BertPreTrainingHeadsImpl : BertOnlyMLMHeadImpl {
  nn::Linear seq_relationship;

  template <class Config>
  explicit BertPreTrainingHeadsImpl(const Config& c)
      : BertOnlyMLMHeadImpl(c), seq_relationship(register_module("seq_relationship", nn::Linear(c.hidden_size, 2))) {}
};
TORCH_MODULE(BertPreTrainingHeads);

template <class PreTrained, class Model>
struct BertPreTrainingOf : WordsHead<PreTrained, Model, BertPreTrainingHeads> {
  // `order`: the label of the second task.
  explicit BertPreTrainingOf(const typename PreTrained::Config& c, const char* order = "next_sentence_label",
                             const char* order_logits = "seq_relationship_logits")
      : WordsHead<PreTrained, Model, BertPreTrainingHeads>(c, "cls", {"labels", order}),
        order_(order),
        order_logits_(order_logits) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = this->run_base(inputs);
    const Tensor words = this->head(base["last_hidden_state"]),
                 next = this->head->seq_relationship(base["pooler_output"]);
    const Tensor labels = inputs.tensor("labels"), order = inputs.tensor(order_);
    ModelOutput output;
    if (labels.defined() && order.defined())
      output.set("loss", cross_entropy(words, labels) + cross_entropy(next, order));
    output.set("prediction_logits", words);
    output.set(order_logits_, next);
    output.pass_on(base);
    return output;
  }

 private:
  const char *order_, *order_logits_;
};

struct BertOnlyNSPHeadImpl : nn::Module {
  nn::Linear seq_relationship;

  template <class Config>
  explicit BertOnlyNSPHeadImpl(const Config& c)
      : seq_relationship(register_module("seq_relationship", nn::Linear(c.hidden_size, 2))) {}
};
TORCH_MODULE(BertOnlyNSPHead);

template <class PreTrained, class Model>
struct BertNextSentenceOf : ModelWithBase<PreTrained, Model> {
  BertOnlyNSPHead cls;

  explicit BertNextSentenceOf(const typename PreTrained::Config& c)
      : ModelWithBase<PreTrained, Model>(c, {"labels"}), cls(this->register_module("cls", BertOnlyNSPHead(c))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = this->run_base(inputs);
    const Tensor logits = cls->seq_relationship(base["pooler_output"]), labels = inputs.tensor("labels");
    return head_output(labels.defined() ? cross_entropy(logits, labels) : Tensor(), logits, base);
  }
};

template <class PreTrained, class Model>
struct BertMaskedWordsOf : MaskedWordsHead<PreTrained, Unpooled<Model>, BertOnlyMLMHead> {
  explicit BertMaskedWordsOf(const typename PreTrained::Config& c)
      : MaskedWordsHead<PreTrained, Unpooled<Model>, BertOnlyMLMHead>(c, "cls") {}
};

template <class PreTrained, class Model>
struct BertNextWordsOf : NextWordsHead<PreTrained, Unpooled<Model>, BertOnlyMLMHead> {
  explicit BertNextWordsOf(const typename PreTrained::Config& c)
      : NextWordsHead<PreTrained, Unpooled<Model>, BertOnlyMLMHead>(c, "cls") {}
};

}  // namespace backplane::bert
