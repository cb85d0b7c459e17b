#pragma once

// M2M100's stacks and its head, over any layers.

#include <backplane/nn/positions.h>

#include "../mbart/modeling_mbart.h"

namespace backplane::m2m_100 {

using namespace mbart;

// Positions of the ids, or of the embeddings in their order.
inline Tensor fairseq_positions(const ModelInputs& inputs, const Tensor& x, int64_t padding_idx, int64_t past) {
  if (const Tensor ids = inputs.tensor("input_ids"); ids.defined())
    return nn::positions_past_padding(ids, padding_idx, past);
  const int64_t first = padding_idx + 1 + past;
  return at::arange(first, first + x.size(1), at::kLong).unsqueeze(0).expand({x.size(0), -1});
}

template <class Configuration, class Layer = MBartEncoderLayer>
struct M2M100Encoder : BartPreTrainedModel {
  const Configuration& c;
  nn::FairseqSinusoids positions;
  nn::Embedding embed_tokens;
  nn::Layers<Layer> layers;
  nn::LayerNorm layer_norm;
  nn::Dropout dropout;

  explicit M2M100Encoder(const Configuration& config)
      : BartPreTrainedModel(config),
        c(config),
        positions(c.d_model, *c.pad_token_id),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.d_model, c.pad_token_id))),
        layers(register_module("layers",
                               nn::Layers<Layer>(c.encoder_layers, [&](int64_t i) { return Layer(config, i); }))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.d_model))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  std::span<const std::string_view> arguments() const override { return kTextEncoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, embed_scale(c));
    const Tensor where = fairseq_positions(inputs, x, *c.pad_token_id, 0);
    return encode(c, inputs, dropout(x + positions.forward(where, x.scalar_type())), layers, layer_norm);
  }
};

template <class Configuration, class Layer = MBartDecoderLayer>
struct M2M100Decoder : BartPreTrainedModel {
  const Configuration& c;
  nn::FairseqSinusoids positions;
  nn::Embedding embed_tokens;
  nn::Layers<Layer> layers;
  nn::LayerNorm layer_norm;
  nn::Dropout dropout;

  explicit M2M100Decoder(const Configuration& config)
      : BartPreTrainedModel(config),
        c(config),
        positions(c.d_model, *c.pad_token_id),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.d_model, c.pad_token_id))),
        layers(register_module("layers",
                               nn::Layers<Layer>(c.decoder_layers, [&](int64_t i) { return Layer(config, i); }))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.d_model))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  std::span<const std::string_view> arguments() const override { return kTextDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, embed_scale(c));
    const KvCachePtr cache = cache_of(inputs, c);
    const Tensor where = fairseq_positions(inputs, x, *c.pad_token_id, cache ? cache->length() : 0);
    return decode(c, inputs, cache, dropout(x + positions.forward(where, x.scalar_type())), layers, layer_norm);
  }
};

// A head without a bias of the logits.
template <class Model>
struct PlainLM : BartPreTrainedModel {
  using Config = typename Model::Config;

  std::shared_ptr<Model> model;
  nn::Linear lm_head;

  explicit PlainLM(const Config& c)
      : BartPreTrainedModel(c),
        model(register_module("model", std::make_shared<Model>(c))),
        lm_head(register_module("lm_head", nn::Linear(c.d_model, c.vocab_size, false))) {}

  void tie_weights() override {
    model->tie_weights();
    if (config().tie_word_embeddings) lm_head->tie_weight(model->decoder->embed_tokens->weight);
  }
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
  bool can_generate() const override { return true; }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderDecoderArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor labels = inputs.tensor("labels");
    ModelInputs call = inputs.select(model->arguments());
    if (labels.defined() && !call.contains("decoder_input_ids")) call.set("decoder_input_ids", model->start(labels));
    const auto base = model->forward(call);
    const Tensor logits = lm_head(base["last_hidden_state"]);
    ModelOutput output;
    if (labels.defined()) output.set("loss", cross_entropy(logits, labels));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

}  // namespace backplane::m2m_100
