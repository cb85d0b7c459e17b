// TrOCR's decoder: Li et al. 2021, https://arxiv.org/abs/2109.10282
// It is BART's decoder except: sinusoidal positions and no norm after the embeddings on demand, and keys and values of
// the encoder's own width.
// Reference: transformers, models/trocr/modeling_trocr.py

#include <backplane/nn/positions.h>

#include "../bart/modeling_bart.h"

namespace backplane::trocr {

using namespace bart;

struct TrOCRConfig : BartBaseConfig {
  static constexpr const char* model_type = "trocr";

  bool use_learned_position_embeddings = true;
  bool layernorm_embedding = true;

  TrOCRConfig() {
    is_encoder_decoder = false;
    max_position_embeddings = 512;
    pad_token_id = 1;
    bos_token_id = 0;
    eos_token_id = 2;
    decoder_start_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(d_model));
    field(BACKPLANE_FIELD(decoder_layers));
    field(BACKPLANE_FIELD(decoder_attention_heads));
    field(BACKPLANE_FIELD(decoder_ffn_dim));
    field(BACKPLANE_FIELD(activation_function));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(dropout));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(activation_dropout));
    field(BACKPLANE_FIELD(init_std));
    field(BACKPLANE_FIELD(decoder_layerdrop));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(scale_embedding));
    field(BACKPLANE_FIELD(use_learned_position_embeddings));
    field(BACKPLANE_FIELD(layernorm_embedding));
    field.alias("num_attention_heads", "decoder_attention_heads");
    field.alias("hidden_size", "d_model");
    field.alias("num_hidden_layers", "decoder_layers");
  }

  void validate() override {
    encoder_attention_heads = decoder_attention_heads;
    BartBaseConfig::validate();
    if (!use_learned_position_embeddings && !pad_token_id)
      throw Error(ErrorCode::bad_config, "pad_token_id is null; sinusoidal positions are counted behind it");
  }
};

struct TrOCRAttentionImpl : BartAttentionImpl {
  TrOCRAttentionImpl(const BartBaseConfig& c, int64_t heads, size_t layer, bool is_cross = false)
      : BartAttentionImpl(c, heads, layer, is_cross,
                          {.kv_size = is_cross ? c.cross_attention_hidden_size : std::nullopt}) {}
};
TORCH_MODULE(TrOCRAttention);

struct TrOCRDecoderLayerImpl : DecoderLayerImpl<TrOCRAttention> {
  using DecoderLayerImpl::DecoderLayerImpl;
};
TORCH_MODULE(TrOCRDecoderLayer);

struct TrOCRDecoder : BartPreTrainedModel {
  const TrOCRConfig& c;
  nn::Embedding embed_tokens;
  BartLearnedPositionalEmbedding embed_positions{nullptr};
  nn::FairseqSinusoids sinusoids;
  nn::LayerNorm layernorm_embedding{nullptr};
  nn::Layers<TrOCRDecoderLayer> layers;
  nn::Dropout dropout;

  explicit TrOCRDecoder(const TrOCRConfig& config)
      : BartPreTrainedModel(config),
        c(config),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.d_model, c.pad_token_id))),
        sinusoids(c.d_model, c.pad_token_id.value_or(0)),
        layers(register_module(
            "layers",
            nn::Layers<TrOCRDecoderLayer>(c.decoder_layers, [&](int64_t i) { return TrOCRDecoderLayer(config, i); }))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {
    if (c.use_learned_position_embeddings) {
      embed_positions =
          register_module("embed_positions", BartLearnedPositionalEmbedding(c.max_position_embeddings, c.d_model));
    }
    if (c.layernorm_embedding) layernorm_embedding = register_module("layernorm_embedding", nn::LayerNorm(c.d_model));
  }

  std::span<const std::string_view> arguments() const override { return kTextDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Tensor x = embedded(inputs, embed_tokens, embed_scale(c));
    const KvCachePtr cache = cache_of(inputs, c);
    if (embed_positions) {
      x = x + embed_positions(positions_of(inputs, cache, x.size(1)));
    } else {
      const Tensor where =
          nn::positions_past_padding(inputs["input_ids"], *c.pad_token_id, cache ? cache->length() : 0);
      x = x + sinusoids.forward(where, x.scalar_type());
    }
    if (layernorm_embedding) x = layernorm_embedding(x);
    return decode(c, inputs, cache, dropout(x), layers, as_is);
  }
};

struct TrOCRForCausalLM : BartPreTrainedModel {
  static constexpr bool supports_sdpa = false;
  using Config = TrOCRConfig;

  std::shared_ptr<DecoderWrapperImpl<TrOCRDecoder>> model;
  nn::Linear output_projection;

  explicit TrOCRForCausalLM(const TrOCRConfig& c)
      : BartPreTrainedModel(c),
        model(register_module("model", std::make_shared<DecoderWrapperImpl<TrOCRDecoder>>(c))),
        output_projection(register_module("output_projection", nn::Linear(c.d_model, c.vocab_size, false))) {}

  void tie_weights() override {
    if (config().tie_word_embeddings) output_projection->tie_weight(model->decoder->embed_tokens->weight);
  }
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "model", .ignore_unexpected = {R"(embed_positions\._float_tensor)"}};
  }
  bool can_generate() const override { return true; }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kTextDecoderArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = model->decoder->forward(inputs.select(model->decoder->arguments()));
    const Tensor logits = output_projection(base["last_hidden_state"]), labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) output.set("loss", cross_entropy(logits, labels));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

BACKPLANE_PLUGIN(trocr, plugin) {
  plugin.config<TrOCRConfig>();
  plugin.preprocessor(Auto::Processor, "TrOCRProcessor");
  plugin.model<TrOCRForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::trocr
