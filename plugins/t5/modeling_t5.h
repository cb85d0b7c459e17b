#pragma once

// T5's blocks, the stack of them, and the heads; siblings replace a block.

#include <backplane/model/encoder_decoder.h>
#include <backplane/nn/relative_bias.h>

#include "configuration_t5.h"

namespace backplane::t5 {

// What the blocks of one call share.
struct Pass {
  Tensor attention_mask;   // as given, or undefined
  Tensor mask;             // additive [batch or 1, 1, q or 1, kv], or undefined
  Tensor bias;             // of positions, and the mask: additive [batch or 1, heads, q, kv]
  int64_t past = 0;        // cached positions
  Tensor head_mask;        // [layers, 1, heads, 1, 1], or undefined
  Tensor cross_head_mask;  // as head_mask, of cross-attention
  Tensor encoder;          // [batch, encoder seq, d_model], or undefined
  Tensor encoder_mask;     // additive [batch, 1, 1, encoder seq], or undefined
  KvCachePtr cache;
  std::vector<Tensor>* attentions = nullptr;
  std::vector<Tensor>* cross_attentions = nullptr;
};

// What a sibling's pass adds to the output of a stack.
inline void report(const Pass&, ModelOutput&) {}

enum class Role { encoder, decoder, cross };

// Attention without scale; a block with a table of position biases sets the bias that those after it use, too.
struct T5AttentionImpl : nn::Module {
  int64_t heads, max_distance;
  size_t layer;
  Role role;
  double dropout;
  AttnImplementation implementation;
  nn::Linear q, k, v, o;
  nn::Embedding relative_attention_bias{nullptr};

  T5AttentionImpl(const T5Config& c, size_t layer, Role role, bool has_bias)
      : heads(c.num_heads),
        max_distance(c.relative_attention_max_distance),
        layer(layer),
        role(role),
        dropout(c.dropout_rate),
        implementation(c.attn_implementation),
        q(register_module("q", nn::Linear(c.d_model, heads * c.d_kv, false))),
        k(register_module("k", nn::Linear(c.d_model, heads * c.d_kv, false))),
        v(register_module("v", nn::Linear(c.d_model, heads * c.d_kv, false))),
        o(register_module("o", nn::Linear(heads * c.d_kv, c.d_model, false))) {
    if (has_bias) {
      relative_attention_bias =
          register_module("relative_attention_bias", nn::Embedding(c.relative_attention_num_buckets, c.num_heads));
    }
  }

  // x [batch, seq, d_model] -> [batch, seq, d_model]
  Tensor forward(const Tensor& x, Pass& pass) {
    const bool is_cross = role == Role::cross;
    const Tensor queries = split_heads(q(x), heads);  // [batch, heads, seq, d_kv]
    const auto [keys, values] = keys_and_values(x, pass);
    if (relative_attention_bias) {
      pass.bias = nn::relative_bias(relative_attention_bias, x.size(1), keys.size(2), pass.past, role == Role::encoder,
                                    max_distance);
      if (pass.mask.defined()) pass.bias = pass.bias + pass.mask;
    }
    const Tensor& head_mask = is_cross ? pass.cross_head_mask : pass.head_mask;
    auto* const seen = is_cross ? pass.cross_attentions : pass.attentions;
    Tensor probs;
    Tensor y = attention(queries, keys, values,
                         {.mask = is_cross ? pass.encoder_mask : pass.bias,
                          .scale = 1,
                          .dropout = is_training() ? dropout : 0,
                          .implementation = implementation,
                          .probs = seen || head_mask.defined() ? &probs : nullptr});
    if (head_mask.defined()) {
      probs = probs * head_mask[static_cast<int64_t>(layer)];
      y = at::matmul(probs, values);
    }
    if (seen) seen->push_back(probs);
    return o(merge_heads(y));
  }

  std::pair<Tensor, Tensor> keys_and_values(const Tensor& x, const Pass& pass) {
    if (role != Role::cross) {
      const Tensor keys = split_heads(k(x), heads), values = split_heads(v(x), heads);
      return pass.cache ? pass.cache->update(layer, keys, values) : std::pair(keys, values);
    }
    if (!pass.cache) return {split_heads(k(pass.encoder), heads), split_heads(v(pass.encoder), heads)};
    auto& kept = pass.cache->cross(layer);
    if (!kept.first.defined()) kept = {split_heads(k(pass.encoder), heads), split_heads(v(pass.encoder), heads)};
    return kept;
  }
};
TORCH_MODULE(T5Attention);

struct T5LayerSelfAttentionImpl : nn::Module {
  T5Attention SelfAttention;
  nn::RMSNorm layer_norm;
  nn::Dropout dropout;

  T5LayerSelfAttentionImpl(const T5Config& c, size_t layer, Role role, bool has_bias)
      : SelfAttention(register_module("SelfAttention", T5Attention(c, layer, role, has_bias))),
        layer_norm(register_module("layer_norm", nn::RMSNorm(c.d_model, c.layer_norm_epsilon))),
        dropout(register_module("dropout", nn::Dropout(c.dropout_rate))) {}

  Tensor forward(const Tensor& x, Pass& pass) { return x + dropout(SelfAttention(layer_norm(x), pass)); }
};
TORCH_MODULE(T5LayerSelfAttention);

struct T5LayerCrossAttentionImpl : nn::Module {
  T5Attention EncDecAttention;
  nn::RMSNorm layer_norm;
  nn::Dropout dropout;

  T5LayerCrossAttentionImpl(const T5Config& c, size_t layer)
      : EncDecAttention(register_module("EncDecAttention", T5Attention(c, layer, Role::cross, false))),
        layer_norm(register_module("layer_norm", nn::RMSNorm(c.d_model, c.layer_norm_epsilon))),
        dropout(register_module("dropout", nn::Dropout(c.dropout_rate))) {}

  Tensor forward(const Tensor& x, Pass& pass) { return x + dropout(EncDecAttention(layer_norm(x), pass)); }
};
TORCH_MODULE(T5LayerCrossAttention);

// wi and wo, or with a gate wi_0, wi_1 and wo: Shazeer 2020, https://arxiv.org/abs/2002.05202.
struct T5DenseImpl : nn::Module {
  nn::Linear wi{nullptr}, wi_0{nullptr}, wi_1{nullptr}, wo;
  nn::Dropout dropout;
  Activation act;

  explicit T5DenseImpl(const T5Config& c)
      : wo(register_module("wo", nn::Linear(c.d_ff, c.d_model, false))),
        dropout(register_module("dropout", nn::Dropout(c.dropout_rate))),
        act(activation(*c.dense_act_fn)) {
    if (*c.is_gated_act) {
      wi_0 = register_module("wi_0", nn::Linear(c.d_model, c.d_ff, false));
      wi_1 = register_module("wi_1", nn::Linear(c.d_model, c.d_ff, false));
    } else {
      wi = register_module("wi", nn::Linear(c.d_model, c.d_ff, false));
    }
  }

  Tensor forward(const Tensor& x) { return wo(dropout(wi ? act(wi(x)) : act(wi_0(x)) * wi_1(x))); }
};
TORCH_MODULE(T5Dense);

struct T5LayerFFImpl : nn::Module {
  T5Dense DenseReluDense;
  nn::RMSNorm layer_norm;
  nn::Dropout dropout;

  explicit T5LayerFFImpl(const T5Config& c)
      : DenseReluDense(register_module("DenseReluDense", T5Dense(c))),
        layer_norm(register_module("layer_norm", nn::RMSNorm(c.d_model, c.layer_norm_epsilon))),
        dropout(register_module("dropout", nn::Dropout(c.dropout_rate))) {}

  Tensor forward(const Tensor& x) { return x + dropout(DenseReluDense(layer_norm(x))); }
};
TORCH_MODULE(T5LayerFF);

// Half precision overflows in deep stacks.
inline Tensor clamp_half(const Tensor& x) {
  if (x.scalar_type() != at::kHalf) return x;
  const double limit = x.isinf().any().item<bool>() ? 64504.0 : 65504.0;
  return x.clamp(-limit, limit);
}

struct T5BlockImpl : nn::Module {
  using Call = Pass;
  std::shared_ptr<nn::Module> layer = register_module("layer", std::make_shared<nn::Module>());
  T5LayerSelfAttention self;
  T5LayerCrossAttention cross{nullptr};
  T5LayerFF ff{nullptr};

  T5BlockImpl(const T5Config& c, size_t i, Role role, bool has_bias)
      : self(layer->register_module("0", T5LayerSelfAttention(c, i, role, has_bias))) {
    if (role == Role::decoder) cross = layer->register_module("1", T5LayerCrossAttention(c, i));
    ff = layer->register_module(cross ? "2" : "1", T5LayerFF(c));
  }

  Tensor forward(Tensor x, Pass& pass) {
    x = clamp_half(self(x, pass));
    if (cross && pass.encoder.defined()) x = clamp_half(cross(x, pass));
    return clamp_half(ff(x));
  }
};
TORCH_MODULE(T5Block);

struct T5PreTrainedModel : PreTrainedModel {
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "transformer",
            .ignore_unexpected = {R"(decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight)"}};
  }
};

// [heads] or [layers, heads] -> [layers, 1, heads, 1, 1]
inline Tensor spread_head_mask(const Tensor& mask, int64_t layers, at::ScalarType dtype) {
  if (!mask.defined()) return {};
  const Tensor wide = mask.dim() == 1 ? mask.unsqueeze(0).expand({layers, mask.size(0)}) : mask;
  return wide.unsqueeze(1).unsqueeze(-1).unsqueeze(-1).to(dtype);
}

template <class Block, class Configuration = T5Config>
struct Stack : T5PreTrainedModel {
  const Configuration& c;
  Role role;
  nn::Embedding embed_tokens;
  nn::Layers<Block> block;
  nn::RMSNorm final_layer_norm;
  nn::Dropout dropout;

  Stack(const Configuration& config, Role role)
      : T5PreTrainedModel(config),
        c(config),
        role(role),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.d_model))),
        block(register_module("block",
                              nn::Layers<Block>(layers(), [&](int64_t i) { return Block(c, i, role, i == 0); }))),
        final_layer_norm(register_module("final_layer_norm", nn::RMSNorm(c.d_model, c.layer_norm_epsilon))),
        dropout(register_module("dropout", nn::Dropout(c.dropout_rate))) {}

  int64_t layers() const { return role == Role::decoder ? *c.num_decoder_layers : c.num_layers; }

  std::span<const std::string_view> arguments() const override {
    if (role == Role::decoder) return kTextDecoderArguments;
    return kTextEncoderArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor ids = inputs.tensor("input_ids");
    Tensor x = inputs.tensor("inputs_embeds");
    if (ids.defined() == x.defined()) throw Error(ErrorCode::invalid_value, "give either input_ids or inputs_embeds");
    if (ids.defined()) x = embed_tokens(ids.view({-1, ids.size(-1)}));
    const int64_t seq = x.size(1);

    std::vector<Tensor> hidden_states, attentions, cross_attentions;
    const bool keep = inputs.flag("output_hidden_states", c.output_hidden_states);
    typename Block::ContainedType::Call pass;
    pass.attention_mask = inputs.tensor("attention_mask");
    if (role == Role::decoder) {
      pass.cache = inputs.cache("past_key_values");
      if (!pass.cache && inputs.flag("use_cache", c.use_cache)) pass.cache = std::make_shared<KvCache>();
      pass.past = pass.cache ? pass.cache->length() : 0;
      pass.mask = causal_mask(pass.attention_mask, seq, pass.past, x.scalar_type());
      pass.encoder = inputs.tensor("encoder_hidden_states");
      if (pass.encoder.defined())
        pass.encoder_mask = padding_mask(inputs.tensor("encoder_attention_mask"), x.scalar_type());
      pass.cross_head_mask = spread_head_mask(inputs.tensor("cross_attn_head_mask"), layers(), x.scalar_type());
    } else {
      pass.mask = padding_mask(pass.attention_mask, x.scalar_type());
    }
    pass.head_mask = spread_head_mask(inputs.tensor("head_mask"), layers(), x.scalar_type());
    if (inputs.flag("output_attentions", c.output_attentions)) {
      pass.attentions = &attentions;
      pass.cross_attentions = &cross_attentions;
    }

    x = dropout(x);
    for (auto& one : *block) {
      if (keep) hidden_states.push_back(x);
      x = one(x, pass);
    }
    x = dropout(final_layer_norm(x));
    if (keep) hidden_states.push_back(x);
    if (pass.cache) pass.cache->advance(seq);

    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("past_key_values", pass.cache);
    output.set("hidden_states", hidden_states);
    output.set("attentions", attentions);
    output.set("cross_attentions", cross_attentions);
    report(pass, output);
    return output;
  }
};

// Encoder and decoder over one table of embeddings.
template <class Configuration, class Encoder, class Decoder = Encoder>
struct Seq2Seq : T5PreTrainedModel {
  using Config = Configuration;

  const Config& c;
  nn::Embedding shared;
  std::shared_ptr<Encoder> encoder;
  std::shared_ptr<Decoder> decoder;

  explicit Seq2Seq(const Config& config)
      : T5PreTrainedModel(config),
        c(config),
        shared(register_module("shared", nn::Embedding(c.vocab_size, c.d_model))),
        encoder(register_module("encoder", std::make_shared<Encoder>(c, Role::encoder))),
        decoder(register_module("decoder", std::make_shared<Decoder>(c, Role::decoder))) {}

  void tie_weights() override {
    encoder->embed_tokens->tie_weight(shared->weight);
    decoder->embed_tokens->tie_weight(shared->weight);
  }

  std::span<const std::string_view> arguments() const override { return kEncoderDecoderArguments; }

  Tensor start(const Tensor& ids) const { return shift_right(ids, c.pad_token_id, c.decoder_start_token_id); }

  ModelOutput run(const ModelInputs& inputs) {
    const auto encoded = run_encoder(*encoder, inputs);
    const auto decoded =
        decoder->forward(decoder_inputs(inputs, encoded["last_hidden_state"], inputs.tensor("attention_mask")));
    return encoder_decoder_output(encoded, decoded);
  }

  ModelOutput compute(const ModelInputs& inputs) override { return run(inputs); }
};

inline bool has_decoder_input(const ModelInputs& inputs) {
  return inputs.contains("decoder_input_ids") || inputs.contains("decoder_inputs_embeds");
}

// The call with the decoder's ids, derived from the encoder's where it has none.
inline ModelInputs with_decoder_ids(const ModelInputs& inputs, const PretrainedConfig& c) {
  ModelInputs call = inputs;
  if (has_decoder_input(call)) return call;
  if (!call.contains("input_ids")) {
    throw Error(ErrorCode::invalid_value,
                "give decoder_input_ids or decoder_inputs_embeds: without input_ids there is "
                "nothing to derive them from");
  }
  call.set("decoder_input_ids", shift_right(call["input_ids"], c.pad_token_id, c.decoder_start_token_id));
  return call;
}

template <class Configuration, class Encoder, class Decoder = Encoder>
struct ConditionalGeneration : Seq2Seq<Configuration, Encoder, Decoder> {
  using Base = Seq2Seq<Configuration, Encoder, Decoder>;
  using Base::c;

  nn::Linear lm_head;

  explicit ConditionalGeneration(const Configuration& config)
      : Base(config), lm_head(this->register_module("lm_head", nn::Linear(c.d_model, c.vocab_size, false))) {}

  void tie_weights() override {
    Base::tie_weights();
    if (c.tie_word_embeddings) lm_head->tie_weight(this->shared->weight);
  }
  bool can_generate() const override { return true; }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderDecoderArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor labels = inputs.tensor("labels");
    ModelInputs call = inputs;
    if (labels.defined() && !has_decoder_input(call)) call.set("decoder_input_ids", this->start(labels));
    const auto base = this->run(call);
    Tensor x = base["last_hidden_state"];
    if (c.tie_word_embeddings) x = x * (1 / std::sqrt(static_cast<double>(c.d_model)));
    const Tensor logits = lm_head(x);
    ModelOutput output;
    if (labels.defined()) output.set("loss", cross_entropy(logits, labels));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

template <class Configuration, class Encoder, class Decoder = Encoder>
struct QuestionAnswering : Seq2Seq<Configuration, Encoder, Decoder> {
  using Base = Seq2Seq<Configuration, Encoder, Decoder>;
  using Base::c;

  nn::Linear qa_outputs;

  explicit QuestionAnswering(const Configuration& config)
      : Base(config), qa_outputs(this->register_module("qa_outputs", nn::Linear(c.d_model, c.num_labels()))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderDecoderArguments, "start_positions", "end_positions");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor from = inputs.tensor("start_positions"), to = inputs.tensor("end_positions");
    ModelInputs call = with_decoder_ids(inputs, c);
    if (from.defined() && to.defined()) call.set("use_cache", false);
    const auto base = this->run(call);
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

template <class Configuration, class Encoder>
struct EncoderOnly : T5PreTrainedModel {
  using Config = Configuration;

  nn::Embedding shared;
  std::shared_ptr<Encoder> encoder;

  explicit EncoderOnly(const Config& c)
      : T5PreTrainedModel(c),
        shared(register_module("shared", nn::Embedding(c.vocab_size, c.d_model))),
        encoder(register_module("encoder", std::make_shared<Encoder>(c, Role::encoder))) {}

  void tie_weights() override { encoder->embed_tokens->tie_weight(shared->weight); }
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "transformer", .ignore_unexpected = {"decoder"}};
  }
  std::span<const std::string_view> arguments() const override { return kTextEncoderArguments; }
  ModelOutput compute(const ModelInputs& inputs) override { return encoder->forward(inputs); }
};

struct T5ClassificationHeadImpl : nn::Module {
  nn::Linear dense, out_proj;
  nn::Dropout dropout;

  explicit T5ClassificationHeadImpl(const T5Config& c)
      : dense(register_module("dense", nn::Linear(c.d_model, c.d_model))),
        out_proj(register_module("out_proj", nn::Linear(c.d_model, c.num_labels()))),
        dropout(register_module("dropout", nn::Dropout(c.classifier_dropout))) {}

  Tensor forward(const Tensor& x) { return out_proj(dropout(at::tanh(dense(dropout(x))))); }
};
TORCH_MODULE(T5ClassificationHead);

template <class Model>
struct SequenceClassification : T5PreTrainedModel {
  using Config = typename Model::Config;

  std::shared_ptr<Model> transformer;
  T5ClassificationHead classification_head;

  explicit SequenceClassification(const Config& c)
      : T5PreTrainedModel(c),
        transformer(register_module("transformer", std::make_shared<Model>(c))),
        classification_head(register_module("classification_head", T5ClassificationHead(c))) {}

  void tie_weights() override { transformer->tie_weights(); }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderDecoderArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor labels = inputs.tensor("labels"), ids = inputs.tensor("input_ids");
    if (!ids.defined())
      throw Error(ErrorCode::invalid_value, "sequence classification needs input_ids, to find their end tokens");
    ModelInputs call = with_decoder_ids(inputs.select(transformer->arguments()), config());
    if (labels.defined()) call.set("use_cache", false);
    const auto base = transformer->forward(call);
    const Tensor logits = classification_head(last_eos_state(base["last_hidden_state"], ids, config()));
    ModelOutput output;
    if (labels.defined()) output.set("loss", classification_loss(logits, labels, config()));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

template <class Model>
struct TokenClassification : T5PreTrainedModel {
  using Config = typename Model::Config;

  std::shared_ptr<Model> transformer;
  nn::Dropout dropout;
  nn::Linear classifier;

  explicit TokenClassification(const Config& c)
      : T5PreTrainedModel(c),
        transformer(register_module("transformer", std::make_shared<Model>(c))),
        dropout(register_module("dropout", nn::Dropout(c.classifier_dropout))),
        classifier(register_module("classifier", nn::Linear(c.d_model, c.num_labels()))) {}

  void tie_weights() override { transformer->tie_weights(); }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kTextEncoderArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = transformer->forward(inputs.select(transformer->arguments()));
    const Tensor logits = classifier(dropout(base["last_hidden_state"])), labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) output.set("loss", cross_entropy(logits, labels));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

}  // namespace backplane::t5
