#pragma once

// What BART has in common with its siblings: attention, the post-norm layers, the run through a stack of layers, and
// the heads.

#include <backplane/model/encoder_decoder.h>

#include "configuration_bart.h"

namespace backplane::bart {

// What every layer of one call shares.
struct Pass {
  Tensor attention_mask;   // as given, or undefined
  Tensor mask;             // additive [batch, 1, q or 1, kv], or undefined
  bool causal = false;     // queries see no later keys, and the mask does not say so
  Tensor head_mask;        // [layers, heads], or undefined
  Tensor cross_head_mask;  // as head_mask, of cross-attention
  Tensor encoder;          // [batch, encoder seq, d_model], or undefined
  Tensor encoder_mask;     // additive [batch, 1, 1, encoder seq], or undefined
  KvCachePtr cache;
  std::vector<Tensor>* attentions = nullptr;
  std::vector<Tensor>* cross_attentions = nullptr;
};

struct ProjectionOptions {
  bool bias = true;
  std::optional<int64_t> kv_size = {};  // of what keys and values are made of; d_model where it is not set
};

struct BartAttentionImpl : nn::Module {
  int64_t heads;
  size_t layer;
  bool is_cross;
  double dropout;
  AttnImplementation implementation;
  nn::Linear k_proj, v_proj, q_proj, out_proj;

  BartAttentionImpl(const BartBaseConfig& c, int64_t heads, size_t layer, bool is_cross = false,
                    const ProjectionOptions& options = {})
      : heads(heads),
        layer(layer),
        is_cross(is_cross),
        dropout(c.attention_dropout),
        implementation(c.attn_implementation),
        k_proj(register_module("k_proj", nn::Linear(options.kv_size.value_or(c.d_model), c.d_model, options.bias))),
        v_proj(register_module("v_proj", nn::Linear(options.kv_size.value_or(c.d_model), c.d_model, options.bias))),
        q_proj(register_module("q_proj", nn::Linear(c.d_model, c.d_model, options.bias))),
        out_proj(register_module("out_proj", nn::Linear(c.d_model, c.d_model, options.bias))) {}

  // x [batch, seq, d_model] -> [batch, seq, d_model]
  Tensor forward(const Tensor& x, const Pass& pass) {
    const Tensor q = split_heads(q_proj(x), heads);  // [batch, heads, seq, d]
    const auto [k, v] = keys_and_values(x, pass);
    const Tensor& head_mask = is_cross ? pass.cross_head_mask : pass.head_mask;
    auto* const seen = is_cross ? pass.cross_attentions : pass.attentions;
    Tensor probs;
    Tensor y = attention(q, k, v,
                         {.mask = is_cross ? pass.encoder_mask : pass.mask,
                          .causal = !is_cross && pass.causal,
                          .dropout = is_training() ? dropout : 0,
                          .implementation = implementation,
                          .probs = seen || head_mask.defined() ? &probs : nullptr});
    if (head_mask.defined()) {
      probs = probs * head_mask[static_cast<int64_t>(layer)].view({1, -1, 1, 1});
      y = at::matmul(probs, v);
    }
    if (seen) seen->push_back(probs);
    return out_proj(merge_heads(y));
  }

  std::pair<Tensor, Tensor> keys_and_values(const Tensor& x, const Pass& pass) {
    if (!is_cross) {
      const Tensor k = split_heads(k_proj(x), heads), v = split_heads(v_proj(x), heads);
      return pass.cache ? pass.cache->update(layer, k, v) : std::pair(k, v);
    }
    if (!pass.cache) return {split_heads(k_proj(pass.encoder), heads), split_heads(v_proj(pass.encoder), heads)};
    auto& kept = pass.cache->cross(layer);
    if (!kept.first.defined())
      kept = {split_heads(k_proj(pass.encoder), heads), split_heads(v_proj(pass.encoder), heads)};
    return kept;
  }
};
TORCH_MODULE(BartAttention);

// Half precision overflows in deep encoders.
inline Tensor clamp_half(const Tensor& x) { return x.scalar_type() == at::kHalf ? x.clamp(-64504.0, 64504.0) : x; }

template <class Attention>
struct EncoderLayerImpl : nn::Module {
  Attention self_attn;
  nn::LayerNorm self_attn_layer_norm;
  nn::Linear fc1, fc2;
  nn::LayerNorm final_layer_norm;
  nn::Dropout dropout, activation_dropout;
  Activation act;

  template <class Configuration>
  EncoderLayerImpl(const Configuration& c, size_t layer)
      : self_attn(register_module("self_attn", Attention(c, c.encoder_attention_heads, layer))),
        self_attn_layer_norm(register_module("self_attn_layer_norm", nn::LayerNorm(c.d_model))),
        fc1(register_module("fc1", nn::Linear(c.d_model, c.encoder_ffn_dim))),
        fc2(register_module("fc2", nn::Linear(c.encoder_ffn_dim, c.d_model))),
        final_layer_norm(register_module("final_layer_norm", nn::LayerNorm(c.d_model))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))),
        activation_dropout(register_module("activation_dropout", nn::Dropout(c.activation_dropout))),
        act(activation(c.activation_function)) {}

  Tensor forward(Tensor x, const Pass& pass) {
    x = self_attn_layer_norm(x + dropout(self_attn(x, pass)));
    x = final_layer_norm(x + dropout(fc2(activation_dropout(act(fc1(x))))));
    return clamp_half(x);
  }
};

struct BartEncoderLayerImpl : EncoderLayerImpl<BartAttention> {
  using EncoderLayerImpl::EncoderLayerImpl;
};
TORCH_MODULE(BartEncoderLayer);

template <class Attention>
struct DecoderLayerImpl : nn::Module {
  Attention self_attn;
  nn::LayerNorm self_attn_layer_norm;
  Attention encoder_attn;
  nn::LayerNorm encoder_attn_layer_norm;
  nn::Linear fc1, fc2;
  nn::LayerNorm final_layer_norm;
  nn::Dropout dropout, activation_dropout;
  Activation act;

  template <class Configuration>
  DecoderLayerImpl(const Configuration& c, size_t layer)
      : self_attn(register_module("self_attn", Attention(c, c.decoder_attention_heads, layer))),
        self_attn_layer_norm(register_module("self_attn_layer_norm", nn::LayerNorm(c.d_model))),
        encoder_attn(register_module("encoder_attn", Attention(c, c.decoder_attention_heads, layer, true))),
        encoder_attn_layer_norm(register_module("encoder_attn_layer_norm", nn::LayerNorm(c.d_model))),
        fc1(register_module("fc1", nn::Linear(c.d_model, c.decoder_ffn_dim))),
        fc2(register_module("fc2", nn::Linear(c.decoder_ffn_dim, c.d_model))),
        final_layer_norm(register_module("final_layer_norm", nn::LayerNorm(c.d_model))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))),
        activation_dropout(register_module("activation_dropout", nn::Dropout(c.activation_dropout))),
        act(activation(c.activation_function)) {}

  Tensor forward(Tensor x, const Pass& pass) {
    x = self_attn_layer_norm(x + dropout(self_attn(x, pass)));
    if (pass.encoder.defined()) x = encoder_attn_layer_norm(x + dropout(encoder_attn(x, pass)));
    return final_layer_norm(x + dropout(fc2(activation_dropout(act(fc1(x))))));
  }
};

struct BartDecoderLayerImpl : DecoderLayerImpl<BartAttention> {
  using DecoderLayerImpl::DecoderLayerImpl;
};
TORCH_MODULE(BartDecoderLayer);

// Positions that are learned; the table starts with two rows that none has.
struct BartLearnedPositionalEmbeddingImpl : nn::EmbeddingImpl {
  BartLearnedPositionalEmbeddingImpl(int64_t positions, int64_t dim) : nn::EmbeddingImpl(positions + 2, dim) {}
  Tensor forward(const Tensor& positions) const { return nn::EmbeddingImpl::forward(positions + 2); }
};
TORCH_MODULE(BartLearnedPositionalEmbedding);

inline double embed_scale(const BartBaseConfig& c) {
  return c.scale_embedding ? std::sqrt(static_cast<double>(c.d_model)) : 1.0;
}

// input_ids [batch, seq] looked up and scaled, or inputs_embeds as they are: [batch, seq, d_model].
inline Tensor embedded(const ModelInputs& inputs, nn::Embedding& table, double scale) {
  const Tensor ids = inputs.tensor("input_ids"), x = inputs.tensor("inputs_embeds");
  if (ids.defined() == x.defined()) throw Error(ErrorCode::invalid_value, "give either input_ids or inputs_embeds");
  if (x.defined()) return x;
  const Tensor looked_up = table(ids.view({-1, ids.size(-1)}));
  return scale == 1 ? looked_up : looked_up * scale;
}

inline KvCachePtr cache_of(const ModelInputs& inputs, const BartBaseConfig& c) {
  KvCachePtr cache = inputs.cache("past_key_values");
  return !cache && inputs.flag("use_cache", c.use_cache) ? std::make_shared<KvCache>() : cache;
}

// Positions of `seq` new tokens behind those in the cache: [seq].
inline Tensor positions_of(const ModelInputs& inputs, const KvCachePtr& cache, int64_t seq) {
  const Tensor given = inputs.tensor("cache_position");
  const int64_t past = cache ? cache->length() : 0;
  return given.defined() ? given : at::arange(past, past + seq, at::kLong);
}

inline Tensor checked_head_mask(const ModelInputs& inputs, const char* name, size_t layers) {
  const Tensor mask = inputs.tensor(name);
  if (mask.defined() && mask.size(0) != static_cast<int64_t>(layers)) {
    throw Error(ErrorCode::invalid_value, concat(name, " is for ", mask.size(0), " layers; the model has ", layers));
  }
  return mask;
}

// Fan et al. 2019, https://arxiv.org/abs/1909.11556: training leaves layers out.
inline bool drops(const nn::Module& module, double layerdrop) {
  return module.is_training() && layerdrop > 0 && at::rand({}).item<double>() < layerdrop;
}

// Runs the layers of an encoder over embedded x [batch, seq, d_model]; `finish` is the norm after them, if there is
// one.
template <class Layer, class Finish>
ModelOutput encode(const BartBaseConfig& c, const ModelInputs& inputs, Tensor x, nn::Layers<Layer>& layers,
                   Finish&& finish) {
  std::vector<Tensor> hidden_states, attentions;
  const bool keep = inputs.flag("output_hidden_states", c.output_hidden_states);
  Pass pass;
  pass.attention_mask = inputs.tensor("attention_mask");
  pass.mask = padding_mask(pass.attention_mask, x.scalar_type());
  pass.head_mask = checked_head_mask(inputs, "head_mask", layers->size());
  if (inputs.flag("output_attentions", c.output_attentions)) pass.attentions = &attentions;
  for (auto& layer : *layers) {
    if (keep) hidden_states.push_back(x);
    if (!drops(*layers, c.encoder_layerdrop)) x = layer(x, pass);
  }
  x = finish(x);
  if (keep) hidden_states.push_back(x);

  ModelOutput output;
  output.set("last_hidden_state", x);
  output.set("hidden_states", hidden_states);
  output.set("attentions", attentions);
  return output;
}

// Runs the layers of a decoder over embedded x [batch, seq, d_model].
template <class Layer, class Finish>
ModelOutput decode(const BartBaseConfig& c, const ModelInputs& inputs, const KvCachePtr& cache, Tensor x,
                   nn::Layers<Layer>& layers, Finish&& finish) {
  const int64_t seq = x.size(1), past = cache ? cache->length() : 0;
  std::vector<Tensor> hidden_states, attentions, cross_attentions;
  const bool keep = inputs.flag("output_hidden_states", c.output_hidden_states);
  Pass pass;
  pass.cache = cache;
  // Without padding the kernels know the causal mask themselves.
  const Tensor& attention_mask = pass.attention_mask = inputs.tensor("attention_mask");
  pass.causal = past == 0 &&
                (!attention_mask.defined() || (attention_mask.dim() == 2 && attention_mask.min().item<double>() >= 1));
  if (!pass.causal) pass.mask = causal_mask(attention_mask, seq, past, x.scalar_type());
  pass.head_mask = checked_head_mask(inputs, "head_mask", layers->size());
  pass.cross_head_mask = checked_head_mask(inputs, "cross_attn_head_mask", layers->size());
  pass.encoder = inputs.tensor("encoder_hidden_states");
  if (pass.encoder.defined())
    pass.encoder_mask = padding_mask(inputs.tensor("encoder_attention_mask"), x.scalar_type());
  if (inputs.flag("output_attentions", c.output_attentions)) {
    pass.attentions = &attentions;
    pass.cross_attentions = &cross_attentions;
  }
  for (auto& layer : *layers) {
    if (keep) hidden_states.push_back(x);
    if (!drops(*layers, c.decoder_layerdrop)) x = layer(x, pass);
  }
  x = finish(x);
  if (keep) hidden_states.push_back(x);
  if (cache) cache->advance(seq);

  ModelOutput output;
  output.set("last_hidden_state", x);
  output.set("past_key_values", cache);
  output.set("hidden_states", hidden_states);
  output.set("attentions", attentions);
  output.set("cross_attentions", cross_attentions);
  return output;
}

inline const auto as_is = [](const Tensor& x) { return x; };

struct BartPreTrainedModel : PreTrainedModel {
  using PreTrainedModel::PreTrainedModel;
  static constexpr const char* base_name = "model";  // of the base model in the classes with heads
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "model",
            .ignore_missing = {"final_logits_bias"},
            .ignore_unexpected = {R"(encoder\.version)", R"(decoder\.version)"}};
  }
};

// The parts that every encoder of the family has; a sibling adds its norms and the way from ids to layers.
template <class Configuration, class Layer, class Positions>
struct EncoderParts : BartPreTrainedModel {
  const Configuration& c;
  nn::Embedding embed_tokens;
  Positions embed_positions;
  nn::Layers<Layer> layers;
  nn::Dropout dropout;

  explicit EncoderParts(const Configuration& config)
      : BartPreTrainedModel(config),
        c(config),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.d_model, c.pad_token_id))),
        embed_positions(register_module("embed_positions", Positions(c.max_position_embeddings, c.d_model))),
        layers(register_module("layers",
                               nn::Layers<Layer>(c.encoder_layers, [&](int64_t i) { return Layer(config, i); }))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  std::span<const std::string_view> arguments() const override { return kTextEncoderArguments; }
};

// The same of a decoder.
template <class Configuration, class Layer, class Positions>
struct DecoderParts : BartPreTrainedModel {
  const Configuration& c;
  nn::Embedding embed_tokens;
  Positions embed_positions;
  nn::Layers<Layer> layers;
  nn::Dropout dropout;

  DecoderParts(const Configuration& config, int64_t vocab_size)
      : BartPreTrainedModel(config),
        c(config),
        embed_tokens(register_module("embed_tokens", nn::Embedding(vocab_size, c.d_model, c.pad_token_id))),
        embed_positions(register_module("embed_positions", Positions(c.max_position_embeddings, c.d_model))),
        layers(register_module("layers",
                               nn::Layers<Layer>(c.decoder_layers, [&](int64_t i) { return Layer(config, i); }))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}
  explicit DecoderParts(const Configuration& config) : DecoderParts(config, config.vocab_size) {}

  std::span<const std::string_view> arguments() const override { return kTextDecoderArguments; }
};

template <class Configuration, class Layer = BartEncoderLayer>
struct BartEncoder : EncoderParts<Configuration, Layer, BartLearnedPositionalEmbedding> {
  using Base = EncoderParts<Configuration, Layer, BartLearnedPositionalEmbedding>;
  nn::LayerNorm layernorm_embedding;

  explicit BartEncoder(const Configuration& c)
      : Base(c), layernorm_embedding(this->register_module("layernorm_embedding", nn::LayerNorm(c.d_model))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, this->embed_tokens, embed_scale(this->c));
    const Tensor positions = this->embed_positions(at::arange(x.size(1), at::kLong));
    return encode(this->c, inputs, this->dropout(layernorm_embedding(x + positions)), this->layers, as_is);
  }
};

template <class Configuration, class Layer = BartDecoderLayer>
struct BartDecoder : DecoderParts<Configuration, Layer, BartLearnedPositionalEmbedding> {
  using Base = DecoderParts<Configuration, Layer, BartLearnedPositionalEmbedding>;
  nn::LayerNorm layernorm_embedding;

  explicit BartDecoder(const Configuration& c)
      : Base(c), layernorm_embedding(this->register_module("layernorm_embedding", nn::LayerNorm(c.d_model))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, this->embed_tokens, embed_scale(this->c));
    const KvCachePtr cache = cache_of(inputs, this->c);
    const Tensor positions = this->embed_positions(positions_of(inputs, cache, x.size(1)));
    return decode(this->c, inputs, cache, this->dropout(layernorm_embedding(x + positions)), this->layers, as_is);
  }
};

// Encoder and decoder over one table of embeddings.
template <class Configuration, class Encoder, class Decoder>
struct Seq2SeqModel : BartPreTrainedModel {
  using Config = Configuration;

  const Config& c;
  nn::Embedding shared;
  std::shared_ptr<Encoder> encoder;
  std::shared_ptr<Decoder> decoder;

  explicit Seq2SeqModel(const Config& config)
      : BartPreTrainedModel(config),
        c(config),
        shared(register_module("shared", nn::Embedding(c.vocab_size, c.d_model, c.pad_token_id))),
        encoder(register_module("encoder", std::make_shared<Encoder>(c))),
        decoder(register_module("decoder", std::make_shared<Decoder>(c))) {}

  void tie_weights() override {
    encoder->embed_tokens->tie_weight(shared->weight);
    decoder->embed_tokens->tie_weight(shared->weight);
  }

  std::span<const std::string_view> arguments() const override { return kEncoderDecoderArguments; }

  // The decoder's ids for labels.
  virtual Tensor start(const Tensor& labels) const {
    return shift_right(labels, c.pad_token_id, c.decoder_start_token_id);
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto encoded = run_encoder(*encoder, inputs);
    const auto decoded =
        decoder->forward(decoder_inputs(inputs, encoded["last_hidden_state"], inputs.tensor("attention_mask")));
    return encoder_decoder_output(encoded, decoded);
  }
};

// Where the call has no ids for the decoder, it gets the encoder's, shifted: what a denoiser is trained on.
template <class Configuration, class Encoder, class Decoder>
struct DenoisingModel : Seq2SeqModel<Configuration, Encoder, Decoder> {
  using Seq2SeqModel<Configuration, Encoder, Decoder>::Seq2SeqModel;

  ModelOutput compute(const ModelInputs& inputs) override {
    ModelInputs call = inputs;
    if (!call.contains("decoder_input_ids") && !call.contains("decoder_inputs_embeds")) {
      if (!call.contains("input_ids")) {
        throw Error(ErrorCode::invalid_value,
                    "give decoder_input_ids or decoder_inputs_embeds: without input_ids there is nothing to derive "
                    "them from");
      }
      call.set("decoder_input_ids", this->start(call["input_ids"]));
    }
    return Seq2SeqModel<Configuration, Encoder, Decoder>::compute(call);
  }
};

template <class Model>
struct Seq2SeqLM : BartPreTrainedModel {
  using Config = typename Model::Config;

  std::shared_ptr<Model> model;
  Tensor final_logits_bias;  // [1, vocab]
  nn::Linear lm_head;

  explicit Seq2SeqLM(const Config& c, int64_t vocab_size)
      : BartPreTrainedModel(c),
        model(register_module(Model::base_name, std::make_shared<Model>(c))),
        final_logits_bias(register_buffer("final_logits_bias", at::zeros({1, vocab_size}))),
        lm_head(register_module("lm_head", nn::Linear(c.d_model, vocab_size, false))) {}
  explicit Seq2SeqLM(const Config& c) : Seq2SeqLM(c, c.vocab_size) {}

  void tie_weights() override {
    model->tie_weights();
    if (config().tie_word_embeddings) lm_head->tie_weight(model->decoder->embed_tokens->weight);
  }
  bool can_generate() const override { return true; }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderDecoderArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor labels = inputs.tensor("labels");
    ModelInputs call = inputs.select(model->arguments());
    if (labels.defined()) {
      call.set("use_cache", false);
      if (!call.contains("decoder_input_ids") && !call.contains("decoder_inputs_embeds"))
        call.set("decoder_input_ids", model->start(labels));
    }
    const auto base = model->forward(call);
    const Tensor logits = lm_head(base["last_hidden_state"]) + final_logits_bias;
    ModelOutput output;
    if (labels.defined()) output.set("loss", cross_entropy(logits, labels));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

struct BartClassificationHeadImpl : nn::Module {
  nn::Linear dense, out_proj;
  nn::Dropout dropout;

  BartClassificationHeadImpl(int64_t size, int64_t classes, double dropout)
      : dense(register_module("dense", nn::Linear(size, size))),
        out_proj(register_module("out_proj", nn::Linear(size, classes))),
        dropout(register_module("dropout", nn::Dropout(dropout))) {}

  Tensor forward(const Tensor& x) { return out_proj(dropout(at::tanh(dense(dropout(x))))); }
};
TORCH_MODULE(BartClassificationHead);

template <class Model>
struct Seq2SeqClassifier : BartPreTrainedModel {
  using Config = typename Model::Config;

  std::shared_ptr<Model> model;
  BartClassificationHead classification_head;

  explicit Seq2SeqClassifier(const Config& c)
      : BartPreTrainedModel(c),
        model(register_module(Model::base_name, std::make_shared<Model>(c))),
        classification_head(register_module("classification_head",
                                            BartClassificationHead(c.d_model, c.num_labels(), c.classifier_dropout))) {}

  void tie_weights() override { model->tie_weights(); }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderDecoderArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor labels = inputs.tensor("labels"), ids = inputs.tensor("input_ids");
    if (!ids.defined())
      throw Error(ErrorCode::invalid_value, "sequence classification needs input_ids, to find their end tokens");
    ModelInputs call = inputs.select(model->arguments());
    if (labels.defined()) call.set("use_cache", false);
    const auto base = model->forward(call);
    const Tensor logits = classification_head(last_eos_state(base["last_hidden_state"], ids, config()));
    ModelOutput output;
    if (labels.defined()) output.set("loss", classification_loss(logits, labels, config()));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

template <class Model>
struct Seq2SeqQuestionAnswering : BartPreTrainedModel {
  using Config = typename Model::Config;

  std::shared_ptr<Model> model;
  nn::Linear qa_outputs;

  explicit Seq2SeqQuestionAnswering(const Config& c)
      : BartPreTrainedModel(c),
        model(register_module(Model::base_name, std::make_shared<Model>(c))),
        qa_outputs(register_module("qa_outputs", nn::Linear(c.d_model, 2))) {}

  void tie_weights() override { model->tie_weights(); }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderDecoderArguments, "start_positions", "end_positions");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor from = inputs.tensor("start_positions"), to = inputs.tensor("end_positions");
    ModelInputs call = inputs.select(model->arguments());
    if (from.defined() && to.defined()) call.set("use_cache", false);
    const auto base = model->forward(call);
    const Tensor logits = qa_outputs(base["last_hidden_state"]);
    const Tensor start = logits.select(-1, 0).contiguous(), end = logits.select(-1, 1).contiguous();
    ModelOutput output;
    if (from.defined() && to.defined()) output.set("loss", span_loss(start, end, from, to));
    output.set("start_logits", start);
    output.set("end_logits", end);
    output.pass_on(base);
    return output;
  }
};

// The decoder alone, as checkpoints of the whole name it.
template <class Decoder>
struct DecoderWrapperImpl : nn::Module {
  std::shared_ptr<Decoder> decoder;

  template <class Config>
  explicit DecoderWrapperImpl(const Config& c) : decoder(register_module("decoder", std::make_shared<Decoder>(c))) {}
};

template <class Configuration, class Decoder>
struct DecoderLM : BartPreTrainedModel {
  using Config = Configuration;

  std::shared_ptr<DecoderWrapperImpl<Decoder>> model;
  nn::Linear lm_head;

  explicit DecoderLM(const Config& c)
      : BartPreTrainedModel(c),
        model(register_module("model", std::make_shared<DecoderWrapperImpl<Decoder>>(c))),
        lm_head(
            register_module("lm_head", nn::Linear(c.d_model, model->decoder->embed_tokens->weight.size(0), false))) {}

  void tie_weights() override {
    if (config().tie_word_embeddings) lm_head->tie_weight(model->decoder->embed_tokens->weight);
  }
  bool can_generate() const override { return true; }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kTextDecoderArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = model->decoder->forward(inputs.select(model->decoder->arguments()));
    const Tensor logits = lm_head(base["last_hidden_state"]), labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) output.set("loss", cross_entropy(logits, labels));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

}  // namespace backplane::bart
