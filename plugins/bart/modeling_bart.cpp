// BART: Lewis et al. 2019, https://arxiv.org/abs/1910.13461
// Encoder and decoder of post-norm layers over one table of embeddings, learned positions, a norm after the
// embeddings. Reference: transformers, models/bart/modeling_bart.py

#include "modeling_bart.h"

namespace backplane::bart {

struct BartEncoder : BartPreTrainedModel {
  const BartConfig& c;
  nn::Embedding embed_tokens;
  BartLearnedPositionalEmbedding embed_positions;
  nn::Layers<BartEncoderLayer> layers;
  nn::LayerNorm layernorm_embedding;
  nn::Dropout dropout;

  explicit BartEncoder(const BartConfig& config)
      : BartPreTrainedModel(config),
        c(config),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.d_model, c.pad_token_id))),
        embed_positions(
            register_module("embed_positions", BartLearnedPositionalEmbedding(c.max_position_embeddings, c.d_model))),
        layers(register_module("layers", nn::Layers<BartEncoderLayer>(
                                             c.encoder_layers, [&](int64_t i) { return BartEncoderLayer(c, i); }))),
        layernorm_embedding(register_module("layernorm_embedding", nn::LayerNorm(c.d_model))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  std::span<const std::string_view> arguments() const override { return kTextEncoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, embed_scale(c));
    const Tensor positions = embed_positions(at::arange(x.size(1), at::kLong));
    return encode(c, inputs, dropout(layernorm_embedding(x + positions)), layers, as_is);
  }
};

struct BartDecoder : BartPreTrainedModel {
  const BartConfig& c;
  nn::Embedding embed_tokens;
  BartLearnedPositionalEmbedding embed_positions;
  nn::Layers<BartDecoderLayer> layers;
  nn::LayerNorm layernorm_embedding;
  nn::Dropout dropout;

  explicit BartDecoder(const BartConfig& config)
      : BartPreTrainedModel(config),
        c(config),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.d_model, c.pad_token_id))),
        embed_positions(
            register_module("embed_positions", BartLearnedPositionalEmbedding(c.max_position_embeddings, c.d_model))),
        layers(register_module("layers", nn::Layers<BartDecoderLayer>(
                                             c.decoder_layers, [&](int64_t i) { return BartDecoderLayer(c, i); }))),
        layernorm_embedding(register_module("layernorm_embedding", nn::LayerNorm(c.d_model))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  std::span<const std::string_view> arguments() const override { return kTextDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, embed_scale(c));
    const KvCachePtr cache = cache_of(inputs, c);
    const Tensor positions = embed_positions(positions_of(inputs, cache, x.size(1)));
    return decode(c, inputs, cache, dropout(layernorm_embedding(x + positions)), layers, as_is);
  }
};

struct BartModel : Seq2SeqModel<BartConfig, BartEncoder, BartDecoder> {
  using Seq2SeqModel::Seq2SeqModel;
};
struct BartForConditionalGeneration : Seq2SeqLM<BartModel> {
  using Seq2SeqLM::Seq2SeqLM;
};
struct BartForSequenceClassification : Seq2SeqClassifier<BartModel> {
  using Seq2SeqClassifier::Seq2SeqClassifier;
};
struct BartForQuestionAnswering : Seq2SeqQuestionAnswering<BartModel> {
  using Seq2SeqQuestionAnswering::Seq2SeqQuestionAnswering;
};
struct BartForCausalLM : DecoderLM<BartConfig, BartDecoder> {
  using DecoderLM::DecoderLM;
};

BACKPLANE_PLUGIN(bart, plugin) {
  plugin.config<BartConfig>();
  plugin.tokenizer("BartTokenizer", "BartTokenizerFast");
  plugin.model<BartModel>(Auto::Model);
  plugin.model<BartForConditionalGeneration>(Auto::ForPreTraining);
  plugin.model<BartForConditionalGeneration>(Auto::WithLMHead);
  plugin.model<BartForCausalLM>(Auto::ForCausalLM);
  plugin.model<BartForConditionalGeneration>(Auto::ForMaskedLM);
  plugin.model<BartForConditionalGeneration>(Auto::ForSeq2SeqLM);
  plugin.model<BartForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<BartForQuestionAnswering>(Auto::ForQuestionAnswering);
}

}  // namespace backplane::bart
