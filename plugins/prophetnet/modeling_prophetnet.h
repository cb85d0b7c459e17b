#pragma once

// ProphetNet's stacks and heads, over its configuration or a sibling's.

#include <backplane/model/encoder_decoder.h>
#include <backplane/nn/relative_bias.h>

#include "configuration_prophetnet.h"

namespace backplane::prophetnet {

// What every layer of one call shares. T tokens, S cached and new ones.
struct Pass {
  Tensor mask;                           // of the encoder: additive [batch, 1, 1, T]; of the main stream [.., T, S]
  Tensor predict_mask;                   // additive [batch or 1, ngram, 1, T, S + T], or undefined
  Tensor main_buckets, predict_buckets;  // of distances, [T, S] and [T, S + T]
  Tensor head_mask, cross_head_mask;     // [layers, heads], or undefined
  Tensor encoder, encoder_mask;
  KvCachePtr cache;
  std::vector<Tensor>* attentions = nullptr;
  std::vector<Tensor>* ngram_attentions = nullptr;
  std::vector<Tensor>* cross_attentions = nullptr;
};

struct ProphetNetAttentionImpl : nn::Module {
  int64_t heads;
  size_t layer;
  bool is_cross;
  double attention_dropout;
  AttnImplementation implementation;
  nn::Linear key_proj, value_proj, query_proj, out_proj;
  nn::Dropout dropout;

  ProphetNetAttentionImpl(const ProphetNetConfig& c, int64_t heads, size_t layer, bool is_cross)
      : heads(heads),
        layer(layer),
        is_cross(is_cross),
        attention_dropout(c.attention_dropout),
        implementation(c.attn_implementation),
        key_proj(register_module("key_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        value_proj(register_module("value_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        query_proj(register_module("query_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        out_proj(register_module("out_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  Tensor forward(const Tensor& x, const Pass& pass) {
    const auto [k, v] = keys_and_values(x, pass);
    const Tensor& head_mask = is_cross ? pass.cross_head_mask : pass.head_mask;
    auto* const seen = is_cross ? pass.cross_attentions : pass.attentions;
    Tensor probs;
    Tensor y = attention(split_heads(query_proj(x), heads), k, v,
                         {.mask = is_cross ? pass.encoder_mask : pass.mask,
                          .dropout = is_training() ? attention_dropout : 0,
                          .implementation = implementation,
                          .probs = seen || head_mask.defined() ? &probs : nullptr});
    if (head_mask.defined()) {
      probs = probs * head_mask[static_cast<int64_t>(layer)].view({1, -1, 1, 1});
      y = at::matmul(probs, v);
    }
    if (seen) seen->push_back(probs);
    return dropout(out_proj(merge_heads(y)));
  }

  std::pair<Tensor, Tensor> keys_and_values(const Tensor& x, const Pass& pass) {
    const Tensor& source = is_cross ? pass.encoder : x;
    if (!is_cross || !pass.cache) return {split_heads(key_proj(source), heads), split_heads(value_proj(source), heads)};
    auto& kept = pass.cache->cross(layer);
    if (!kept.first.defined()) kept = {split_heads(key_proj(source), heads), split_heads(value_proj(source), heads)};
    return kept;
  }
};
TORCH_MODULE(ProphetNetAttention);

struct ProphetNetFeedForwardImpl : nn::Module {
  nn::Linear intermediate, output;
  nn::Dropout activation_dropout, dropout;
  Activation act;

  ProphetNetFeedForwardImpl(const ProphetNetConfig& c, int64_t size)
      : intermediate(register_module("intermediate", nn::Linear(c.hidden_size, size))),
        output(register_module("output", nn::Linear(size, c.hidden_size))),
        activation_dropout(register_module("activation_dropout", nn::Dropout(c.activation_dropout))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))),
        act(activation(c.activation_function)) {}

  Tensor forward(const Tensor& x) { return dropout(output(activation_dropout(act(intermediate(x))))); }
};
TORCH_MODULE(ProphetNetFeedForward);

// The main stream attends to itself; each predicting stream to the main stream's past and to its own token. The
// relative positions' scores are made from the states.
struct ProphetNetNgramSelfAttentionImpl : nn::Module {
  int64_t heads, ngram, buckets;
  size_t layer;
  double attention_dropout;
  nn::Linear key_proj, value_proj, query_proj, out_proj, relative_pos_embeddings;
  nn::Dropout dropout;

  ProphetNetNgramSelfAttentionImpl(const ProphetNetConfig& c, size_t layer)
      : heads(c.num_decoder_attention_heads),
        ngram(c.ngram),
        buckets(c.num_buckets),
        layer(layer),
        attention_dropout(c.attention_dropout),
        key_proj(register_module("key_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        value_proj(register_module("value_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        query_proj(register_module("query_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        out_proj(register_module("out_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        relative_pos_embeddings(
            register_module("relative_pos_embeddings", nn::Linear(c.hidden_size, c.num_buckets * heads))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  // x [batch, (1 + ngram) * T, hidden]
  Tensor forward(const Tensor& x, const Pass& pass) {
    const int64_t batch = x.size(0), size = x.size(2), seq = x.size(1) / (1 + ngram), d = size / heads;
    const Tensor q = split_heads(query_proj(x), heads) / std::sqrt(static_cast<double>(d));
    const Tensor k = split_heads(key_proj(x), heads), v = split_heads(value_proj(x), heads);
    const auto main = [&](const Tensor& t) { return t.slice(2, 0, seq); };
    // [batch, heads, ngram * T, d] -> [batch, ngram, heads, T, d]
    const auto streams = [&](const Tensor& t) { return t.slice(2, seq).unflatten(2, {ngram, seq}).transpose(1, 2); };

    Tensor main_k = main(k), main_v = main(v);
    if (pass.cache) std::tie(main_k, main_v) = pass.cache->update(layer, main_k, main_v);
    Tensor scores = at::matmul(main(q), main_k.transpose(2, 3)) + main_positions(x.slice(1, 0, seq), pass);
    if (pass.mask.defined()) scores = scores + pass.mask;
    const Tensor probs = probabilities(scores, pass, {1, -1, 1, 1});
    const Tensor main_y = out_proj(merge_heads(at::matmul(probs, main_v)));

    const auto beside = [&](const Tensor& shared, const Tensor& own) {
      return at::cat({shared.unsqueeze(1).expand({-1, ngram, -1, -1, -1}), streams(own)}, 3);
    };
    Tensor ahead = at::matmul(streams(q), beside(main_k, k).transpose(3, 4)) +
                   predict_positions(x.slice(1, seq).unflatten(1, {ngram, seq}), pass);
    if (pass.predict_mask.defined()) ahead = ahead + pass.predict_mask;
    const Tensor ahead_probs = probabilities(ahead, pass, {1, 1, -1, 1, 1});
    const Tensor ahead_y =
        out_proj(at::matmul(ahead_probs, beside(main_v, v)).transpose(2, 3).reshape({batch, ngram * seq, size}));

    if (pass.attentions) pass.attentions->push_back(probs);
    if (pass.ngram_attentions) pass.ngram_attentions->push_back(ahead_probs);
    return dropout(at::cat({main_y, ahead_y}, 1));
  }

  Tensor probabilities(const Tensor& scores, const Pass& pass, at::IntArrayRef shape) {
    Tensor probs = at::softmax(scores, -1, at::kFloat).to(scores.scalar_type());
    if (pass.head_mask.defined()) probs = probs * pass.head_mask[static_cast<int64_t>(layer)].view(shape);
    return is_training() && attention_dropout > 0 ? at::dropout(probs, attention_dropout, true) : probs;
  }

  // x [batch, T, hidden] -> [batch, heads, T, S]
  Tensor main_positions(const Tensor& x, const Pass& pass) {
    const Tensor by_bucket = relative_pos_embeddings(x).unflatten(2, {buckets, heads}).permute({0, 3, 1, 2});
    return by_bucket.gather(3, pass.main_buckets.expand({x.size(0), heads, -1, -1}));
  }

  // x [batch, ngram, T, hidden] -> [batch, ngram, heads, T, S + T]. The reference lines the rows of the states up by
  // (batch, T, ngram, heads) and those of the buckets by (ngram, batch, heads, T).
  Tensor predict_positions(const Tensor& x, const Pass& pass) {
    const int64_t batch = x.size(0), seq = x.size(2);
    const Tensor by_bucket =
        relative_pos_embeddings(x).unflatten(3, {buckets, heads}).permute({0, 2, 1, 4, 3}).reshape({-1, buckets});
    const Tensor scores = by_bucket.gather(1, pass.predict_buckets.repeat({ngram * batch * heads, 1}));
    return scores.view({batch, ngram, heads, seq, -1});
  }
};
TORCH_MODULE(ProphetNetNgramSelfAttention);

struct ProphetNetEncoderLayerImpl : nn::Module {
  ProphetNetAttention self_attn;
  nn::LayerNorm self_attn_layer_norm;
  ProphetNetFeedForward feed_forward;
  nn::LayerNorm feed_forward_layer_norm;

  ProphetNetEncoderLayerImpl(const ProphetNetConfig& c, size_t i)
      : self_attn(register_module("self_attn", ProphetNetAttention(c, c.num_encoder_attention_heads, i, false))),
        self_attn_layer_norm(register_module("self_attn_layer_norm", nn::LayerNorm(c.hidden_size))),
        feed_forward(register_module("feed_forward", ProphetNetFeedForward(c, c.encoder_ffn_dim))),
        feed_forward_layer_norm(register_module("feed_forward_layer_norm", nn::LayerNorm(c.hidden_size))) {}

  Tensor forward(Tensor x, const Pass& pass) {
    x = self_attn_layer_norm(x + self_attn(x, pass));
    return feed_forward_layer_norm(x + feed_forward(x));
  }
};
TORCH_MODULE(ProphetNetEncoderLayer);

struct ProphetNetDecoderLayerImpl : nn::Module {
  ProphetNetNgramSelfAttention self_attn;
  nn::LayerNorm self_attn_layer_norm;
  ProphetNetAttention cross_attn{nullptr};
  nn::LayerNorm cross_attn_layer_norm{nullptr};
  ProphetNetFeedForward feed_forward;
  nn::LayerNorm feed_forward_layer_norm;

  ProphetNetDecoderLayerImpl(const ProphetNetConfig& c, size_t i)
      : self_attn(register_module("self_attn", ProphetNetNgramSelfAttention(c, i))),
        self_attn_layer_norm(register_module("self_attn_layer_norm", nn::LayerNorm(c.hidden_size))),
        feed_forward(register_module("feed_forward", ProphetNetFeedForward(c, c.decoder_ffn_dim))),
        feed_forward_layer_norm(register_module("feed_forward_layer_norm", nn::LayerNorm(c.hidden_size))) {
    if (!c.add_cross_attention) return;
    cross_attn = register_module("cross_attn", ProphetNetAttention(c, c.num_decoder_attention_heads, i, true));
    cross_attn_layer_norm = register_module("cross_attn_layer_norm", nn::LayerNorm(c.hidden_size));
  }

  Tensor forward(Tensor x, const Pass& pass) {
    x = self_attn_layer_norm(x + self_attn(x, pass));
    if (pass.encoder.defined()) x = cross_attn_layer_norm(x + cross_attn(x, pass));
    return feed_forward_layer_norm(x + feed_forward(x));
  }
};
TORCH_MODULE(ProphetNetDecoderLayer);

struct ProphetNetPreTrainedModel : PreTrainedModel {
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "prophetnet"}; }
};

inline Tensor embedded(const ModelInputs& inputs, nn::Embedding& table) {
  const Tensor ids = inputs.tensor("input_ids"), x = inputs.tensor("inputs_embeds");
  if (ids.defined() == x.defined()) throw Error(ErrorCode::invalid_value, "give either input_ids or inputs_embeds");
  return ids.defined() ? table(ids) : x;
}

struct ProphetNetEncoder : ProphetNetPreTrainedModel {
  const ProphetNetConfig& c;
  nn::Embedding word_embeddings, position_embeddings;
  nn::LayerNorm embeddings_layer_norm;
  nn::Layers<ProphetNetEncoderLayer> layers;
  nn::Dropout dropout;

  explicit ProphetNetEncoder(const ProphetNetConfig& config)
      : ProphetNetPreTrainedModel(config),
        c(config),
        word_embeddings(register_module("word_embeddings", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        position_embeddings(
            register_module("position_embeddings", nn::Embedding(c.max_position_embeddings, c.hidden_size))),
        embeddings_layer_norm(register_module("embeddings_layer_norm", nn::LayerNorm(c.hidden_size))),
        layers(register_module(
            "layers", nn::Layers<ProphetNetEncoderLayer>(
                          c.num_encoder_layers, [&](int64_t i) { return ProphetNetEncoderLayer(config, i); }))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  std::span<const std::string_view> arguments() const override { return kTextEncoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Tensor x = embedded(inputs, word_embeddings);
    const Tensor positions =
        (at::arange(1, x.size(1) + 1, at::kLong) + *c.pad_token_id).clamp(0, c.max_position_embeddings - 1);
    x = dropout(embeddings_layer_norm(x + position_embeddings(positions)));
    std::vector<Tensor> hidden_states, attentions;
    const bool keep = inputs.flag("output_hidden_states", c.output_hidden_states);
    Pass pass;
    pass.mask = padding_mask(inputs.tensor("attention_mask"), x.scalar_type());
    pass.head_mask = inputs.tensor("head_mask");
    if (inputs.flag("output_attentions", c.output_attentions)) pass.attentions = &attentions;
    for (auto& layer : *layers) {
      if (keep) hidden_states.push_back(x);
      x = layer(x, pass);
    }
    if (keep) hidden_states.push_back(x);
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("hidden_states", hidden_states);
    output.set("attentions", attentions);
    return output;
  }
};

struct ProphetNetDecoder : ProphetNetPreTrainedModel {
  const ProphetNetConfig& c;
  nn::Embedding word_embeddings, position_embeddings, ngram_embeddings;
  nn::Layers<ProphetNetDecoderLayer> layers;
  nn::LayerNorm embeddings_layer_norm;
  nn::Dropout dropout;

  explicit ProphetNetDecoder(const ProphetNetConfig& config)
      : ProphetNetPreTrainedModel(config),
        c(config),
        word_embeddings(register_module("word_embeddings", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        position_embeddings(
            register_module("position_embeddings", nn::Embedding(c.max_position_embeddings, c.hidden_size))),
        ngram_embeddings(register_module("ngram_embeddings", nn::Embedding(c.ngram, c.hidden_size))),
        layers(register_module(
            "layers", nn::Layers<ProphetNetDecoderLayer>(
                          c.num_decoder_layers, [&](int64_t i) { return ProphetNetDecoderLayer(config, i); }))),
        embeddings_layer_norm(register_module("embeddings_layer_norm", nn::LayerNorm(c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  std::span<const std::string_view> arguments() const override { return kTextDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Tensor x = embedded(inputs, word_embeddings);
    const int64_t seq = x.size(1);
    Pass pass;
    pass.cache = inputs.cache("past_key_values");
    if (!pass.cache && inputs.flag("use_cache", c.use_cache)) pass.cache = std::make_shared<KvCache>();
    const int64_t past = pass.cache ? pass.cache->length() : 0;
    if (past > 0 && seq != 1) {
      throw Error(ErrorCode::invalid_value,
                  concat("ProphetNet goes on from a cache by one token at a time; this call has ", seq));
    }
    const Tensor positions = (at::arange(past + 1, past + seq + 1, at::kLong) + *c.pad_token_id)
                                 .clamp(0, past > 0 ? past + seq + *c.pad_token_id : c.max_position_embeddings - 1);
    set_buckets(pass, seq, past);
    if (past == 0) set_masks(pass, inputs.tensor("attention_mask"), seq, x.scalar_type());

    const Tensor ahead = position_embeddings(positions + 1);
    std::vector<Tensor> all = {x + position_embeddings(positions)};
    for (int64_t i = 0; i < c.ngram; ++i) {
      const Tensor stream = ngram_embeddings->weight[i == 0 ? c.ngram - 1 : i - 1];
      all.push_back((stream + ahead).unsqueeze(0).expand({x.size(0), -1, -1}));
    }
    x = dropout(embeddings_layer_norm(at::cat(all, 1)));

    std::vector<Tensor> hidden_states, ngram_states, attentions, ngram_attentions, cross_attentions;
    const bool keep = inputs.flag("output_hidden_states", c.output_hidden_states);
    pass.head_mask = inputs.tensor("head_mask");
    pass.cross_head_mask = inputs.tensor("cross_attn_head_mask");
    pass.encoder = inputs.tensor("encoder_hidden_states");
    if (pass.encoder.defined()) {
      if (!c.add_cross_attention) {
        throw Error(ErrorCode::invalid_value,
                    "encoder_hidden_states need cross-attention layers: set add_cross_attention in the config");
      }
      pass.encoder_mask = padding_mask(inputs.tensor("encoder_attention_mask"), x.scalar_type());
    }
    if (inputs.flag("output_attentions", c.output_attentions)) {
      pass.attentions = &attentions;
      pass.ngram_attentions = &ngram_attentions;
      pass.cross_attentions = &cross_attentions;
    }
    const auto see = [&] {
      if (!keep) return;
      hidden_states.push_back(x.slice(1, 0, seq));
      ngram_states.push_back(x.slice(1, seq));
    };
    for (auto& layer : *layers) {
      see();
      x = layer(x, pass);
    }
    see();
    if (pass.cache) pass.cache->advance(seq);

    ModelOutput output;
    output.set("last_hidden_state", x.slice(1, 0, seq));
    output.set("last_hidden_state_ngram", x.slice(1, seq));
    output.set("past_key_values", pass.cache);
    output.set("hidden_states", hidden_states);
    output.set("hidden_states_ngram", ngram_states);
    output.set("attentions", attentions);
    output.set("ngram_attentions", ngram_attentions);
    output.set("cross_attentions", cross_attentions);
    return output;
  }

  // Without a cache the reference counts the distance to a stream's own tokens one too far.
  void set_buckets(Pass& pass, int64_t seq, int64_t past) const {
    const auto bucket = [&](const Tensor& relative) {
      return nn::relative_position_bucket(relative, false, c.num_buckets, c.relative_max_distance);
    };
    const Tensor query = at::arange(past, past + seq).unsqueeze(1), key = at::arange(past + seq).unsqueeze(0);
    if (past > 0) {
      const int64_t position = past + seq + *c.pad_token_id;
      pass.main_buckets = bucket(key + 1 - position);
      pass.predict_buckets = bucket(at::arange(past + seq + 1).unsqueeze(0) - position);
    } else {
      pass.main_buckets = bucket(key - query);
      pass.predict_buckets = bucket(at::cat({key - query - 1, key + 1 - query}, 1));
    }
  }

  // Stream s sees the main stream up to s tokens ago, always its first token, and itself.
  void set_masks(Pass& pass, const Tensor& attention_mask, int64_t seq, at::ScalarType dtype) const {
    const Tensor query = at::arange(seq).view({1, seq, 1}), key = at::arange(seq).view({1, 1, seq});
    const Tensor stream = at::arange(c.ngram).view({c.ngram, 1, 1});
    const Tensor left = (key > query - stream).logical_and(key > 0);
    const Tensor right = (key != query).expand({c.ngram, -1, -1});
    Tensor hidden = at::cat({left, right}, 2).unsqueeze(0);  // [1, ngram, T, 2 T]
    Tensor causal = (key > query).unsqueeze(0);              // [1, 1, T, T]
    if (attention_mask.defined()) {
      const Tensor padding = attention_mask == 0;  // [batch, T]
      causal = causal.logical_or(padding.unsqueeze(1).unsqueeze(1));
      const Tensor on_main = at::constant_pad_nd(padding, {0, seq});
      hidden = hidden.logical_or(on_main.unsqueeze(1).unsqueeze(1));
    }
    pass.mask = lowest_where(causal, dtype);
    pass.predict_mask = lowest_where(hidden, dtype).unsqueeze(2);
  }
};

// Mean loss over the streams (or the first alone), with label smoothing. logits [batch, ngram, T, vocab]
inline Tensor ngram_loss(const Tensor& logits, const Tensor& labels, const ProphetNetConfig& c) {
  Tensor targets = at::full({c.ngram, labels.size(0), labels.size(1)}, -100, labels.options());
  for (int64_t i = 0; i < (c.disable_ngram_loss ? 1 : c.ngram); ++i) targets[i].copy_(labels);
  targets = targets.flatten();
  const Tensor log_probs = at::log_softmax(logits.transpose(0, 1).flatten(0, 2), -1, at::kFloat);
  const Tensor loss = at::nll_loss(log_probs, targets);
  if (c.eps <= 0) return loss;
  const Tensor smooth = (-log_probs.sum(-1)).index({targets != -100}).mean();
  return (1 - c.eps) * loss + c.eps / static_cast<double>(log_probs.size(-1)) * smooth;
}

inline ModelOutput ngram_output(const ModelOutput& base, const Tensor& logits, const Tensor& labels,
                                const ProphetNetConfig& c) {
  ModelOutput output;
  if (labels.defined()) output.set("loss", ngram_loss(logits, labels, c));
  output.set("logits", logits.select(1, 0).contiguous());
  if (c.ngram > 1) output.set("logits_ngram", logits.slice(1, 1));
  output.pass_on(base);
  return output;
}

template <class Configuration>
struct Seq2SeqModel : ProphetNetPreTrainedModel {
  using Config = Configuration;

  const Config& c;
  nn::Embedding word_embeddings;
  std::shared_ptr<ProphetNetEncoder> encoder;
  std::shared_ptr<ProphetNetDecoder> decoder;

  explicit Seq2SeqModel(const Config& config)
      : ProphetNetPreTrainedModel(config),
        c(config),
        word_embeddings(register_module("word_embeddings", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        encoder(register_module("encoder", std::make_shared<ProphetNetEncoder>(c))),
        decoder(register_module("decoder", std::make_shared<ProphetNetDecoder>(c))) {}

  void tie_weights() override {
    encoder->word_embeddings->tie_weight(word_embeddings->weight);
    decoder->word_embeddings->tie_weight(word_embeddings->weight);
  }

  std::span<const std::string_view> arguments() const override { return kEncoderDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto encoded = run_encoder(*encoder, inputs);
    const auto decoded =
        decoder->forward(decoder_inputs(inputs, encoded["last_hidden_state"], inputs.tensor("attention_mask")));
    ModelOutput output = encoder_decoder_output(encoded, decoded);
    output.set("last_hidden_state_ngram", decoded["last_hidden_state_ngram"]);
    return output;
  }
};

template <class Model>
struct ConditionalGeneration : ProphetNetPreTrainedModel {
  using Config = typename Model::Config;

  const Config& c;
  std::shared_ptr<Model> prophetnet;
  nn::Linear lm_head;

  explicit ConditionalGeneration(const Config& config)
      : ProphetNetPreTrainedModel(config),
        c(config),
        prophetnet(register_module("prophetnet", std::make_shared<Model>(c))),
        lm_head(register_module("lm_head", nn::Linear(c.hidden_size, c.vocab_size, false))) {}

  void tie_weights() override {
    prophetnet->tie_weights();
    if (c.tie_word_embeddings) lm_head->tie_weight(prophetnet->word_embeddings->weight);
  }
  bool can_generate() const override { return true; }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderDecoderArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor labels = inputs.tensor("labels");
    ModelInputs call = inputs.select(prophetnet->arguments());
    if (labels.defined() && !call.contains("decoder_input_ids") && !call.contains("decoder_inputs_embeds"))
      call.set("decoder_input_ids", shift_right(labels, c.pad_token_id, c.decoder_start_token_id));
    const auto base = prophetnet->forward(call);
    return ngram_output(base, lm_head(base["last_hidden_state_ngram"].unflatten(1, {c.ngram, -1})), labels, c);
  }
};

struct ProphetNetDecoderWrapperImpl : nn::Module {
  nn::Embedding word_embeddings;
  std::shared_ptr<ProphetNetDecoder> decoder;

  explicit ProphetNetDecoderWrapperImpl(const ProphetNetConfig& c)
      : word_embeddings(register_module("word_embeddings", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        decoder(register_module("decoder", std::make_shared<ProphetNetDecoder>(c))) {}
};

template <class Configuration>
struct CausalLM : ProphetNetPreTrainedModel {
  using Config = Configuration;

  const Config& c;
  std::shared_ptr<ProphetNetDecoderWrapperImpl> prophetnet;
  nn::Linear lm_head;

  explicit CausalLM(const Config& config)
      : ProphetNetPreTrainedModel(config),
        c(config),
        prophetnet(register_module("prophetnet", std::make_shared<ProphetNetDecoderWrapperImpl>(c))),
        lm_head(register_module("lm_head", nn::Linear(c.hidden_size, c.vocab_size, false))) {}

  void tie_weights() override {
    prophetnet->decoder->word_embeddings->tie_weight(prophetnet->word_embeddings->weight);
    if (c.tie_word_embeddings) lm_head->tie_weight(prophetnet->word_embeddings->weight);
  }
  bool can_generate() const override { return true; }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kTextDecoderArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = prophetnet->decoder->forward(inputs.select(prophetnet->decoder->arguments()));
    return ngram_output(base, lm_head(base["last_hidden_state_ngram"].unflatten(1, {c.ngram, -1})),
                        inputs.tensor("labels"), c);
  }
};

}  // namespace backplane::prophetnet
