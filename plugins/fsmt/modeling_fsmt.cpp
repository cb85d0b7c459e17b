// FSMT: Ng et al. 2019, https://arxiv.org/abs/1907.06616
// FSMT is BART except: a table of embeddings a language, sinusoidal positions that padding has none of, no norm after
// the embeddings, logits made by the decoder itself. With a cache the decoder takes the last id alone, at the first
// position, as the reference does. Reference: transformers, models/fsmt/modeling_fsmt.py

#include <backplane/nn/positions.h>

#include "../bart/modeling_bart.h"
#include "../mbart/modeling_mbart.h"

namespace backplane::fsmt {

using namespace bart;

struct FSMTDecoderConfig : PretrainedConfig {
  static constexpr const char* model_type = "fsmt_decoder";

  int64_t vocab_size = 0;

  FSMTDecoderConfig() {
    bos_token_id = 0;
    is_encoder_decoder = true;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
  }
};

struct FSMTConfig : BartBaseConfig {
  static constexpr const char* model_type = "fsmt";

  std::vector<std::string> langs = {"en", "de"};
  int64_t src_vocab_size = 42024;
  int64_t tgt_vocab_size = 42024;
  FSMTDecoderConfig decoder;

  FSMTConfig() {
    activation_function = "relu";
    scale_embedding = true;
    tie_word_embeddings = false;
    max_length = 200;
    num_beams = 5;
    bos_token_id = 0;
    pad_token_id = 1;
    eos_token_id = 2;
    decoder_start_token_id = 2;
    forced_eos_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(langs));
    field(BACKPLANE_FIELD(src_vocab_size));
    field(BACKPLANE_FIELD(tgt_vocab_size));
    field(BACKPLANE_FIELD(d_model));
    field(BACKPLANE_FIELD(encoder_ffn_dim));
    field(BACKPLANE_FIELD(encoder_layers));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(encoder_attention_heads));
    field(BACKPLANE_FIELD(encoder_layerdrop));
    field(BACKPLANE_FIELD(decoder_layerdrop));
    field(BACKPLANE_FIELD(decoder_ffn_dim));
    field(BACKPLANE_FIELD(decoder_layers));
    field(BACKPLANE_FIELD(decoder_attention_heads));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(init_std));
    field(BACKPLANE_FIELD(activation_function));
    field(BACKPLANE_FIELD(decoder));
    field(BACKPLANE_FIELD(scale_embedding));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(activation_dropout));
    field(BACKPLANE_FIELD(dropout));
    field(BACKPLANE_FIELD(use_cache));
    field.alias("num_attention_heads", "encoder_attention_heads");
    field.alias("hidden_size", "d_model");
  }

  void validate() override {
    BartBaseConfig::validate();
    decoder.vocab_size = tgt_vocab_size;
    if (eos_token_id.is_int()) decoder.bos_token_id = eos_token_id.as_int();
    if (!pad_token_id) throw Error(ErrorCode::bad_config, "pad_token_id is null; positions are counted behind it");
  }
};

// The table is in checkpoints; longer sequences get rows that are computed.
struct SinusoidalPositionalEmbeddingImpl : nn::Module {
  int64_t padding_idx;
  nn::FairseqSinusoids sinusoids;
  Tensor weight;

  explicit SinusoidalPositionalEmbeddingImpl(const FSMTConfig& c)
      : padding_idx(*c.pad_token_id),
        sinusoids(c.d_model, padding_idx),
        weight(register_buffer("weight", nn::fairseq_sinusoidal_table(c.max_position_embeddings + padding_idx + 1,
                                                                      c.d_model, padding_idx))) {}

  // ids [batch, seq] -> [batch, seq, d_model]
  Tensor forward(const Tensor& ids) {
    const Tensor positions = nn::positions_past_padding(ids, padding_idx);
    if (padding_idx + 1 + ids.size(1) > weight.size(0)) return sinusoids.forward(positions, weight.scalar_type());
    return at::embedding(weight, positions);
  }

  // As if an embedding that begins with 0 were padding.
  Tensor of_embeddings(const Tensor& x) {
    const Tensor first = x.select(2, 0);
    return forward(at::where(first == 0, padding_idx, padding_idx + 1));
  }
};
TORCH_MODULE(SinusoidalPositionalEmbedding);

struct FSMTEncoder : BartPreTrainedModel {
  const FSMTConfig& c;
  nn::Embedding embed_tokens;
  SinusoidalPositionalEmbedding embed_positions;
  nn::Layers<BartEncoderLayer> layers;
  nn::Dropout dropout;

  explicit FSMTEncoder(const FSMTConfig& config)
      : BartPreTrainedModel(config),
        c(config),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.src_vocab_size, c.d_model, c.pad_token_id))),
        embed_positions(register_module("embed_positions", SinusoidalPositionalEmbedding(c))),
        layers(register_module(
            "layers",
            nn::Layers<BartEncoderLayer>(c.encoder_layers, [&](int64_t i) { return BartEncoderLayer(config, i); }))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  std::span<const std::string_view> arguments() const override { return kTextEncoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, 1) * embed_scale(c), ids = inputs.tensor("input_ids");
    const Tensor positions = ids.defined() ? embed_positions(ids) : embed_positions->of_embeddings(x);
    return encode(c, inputs, dropout(x + positions), layers, as_is);
  }
};

struct FSMTDecoder : BartPreTrainedModel {
  const FSMTConfig& c;
  nn::Embedding embed_tokens;
  SinusoidalPositionalEmbedding embed_positions;
  nn::Layers<BartDecoderLayer> layers;
  nn::Linear output_projection;
  nn::Dropout dropout;

  explicit FSMTDecoder(const FSMTConfig& config)
      : BartPreTrainedModel(config),
        c(config),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.tgt_vocab_size, c.d_model, c.pad_token_id))),
        embed_positions(register_module("embed_positions", SinusoidalPositionalEmbedding(c))),
        layers(register_module(
            "layers",
            nn::Layers<BartDecoderLayer>(c.decoder_layers, [&](int64_t i) { return BartDecoderLayer(config, i); }))),
        output_projection(register_module("output_projection", nn::Linear(c.d_model, c.tgt_vocab_size, false))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  std::span<const std::string_view> arguments() const override { return kTextDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const KvCachePtr cache = cache_of(inputs, c);
    ModelInputs call = inputs;
    Tensor x, ids = inputs.tensor("input_ids");
    if (ids.defined()) {
      Tensor positions = embed_positions(ids);
      if (cache) {
        ids = ids.slice(1, -1);
        positions = positions.slice(1, -1);
      }
      x = embed_tokens(ids) * embed_scale(c) + positions;
    } else {
      x = inputs["inputs_embeds"];
      x = x * embed_scale(c) + embed_positions->of_embeddings(x);
    }
    if (cache) {
      call.set("attention_mask", {});
    } else if (!call.contains("attention_mask") && ids.defined()) {
      call.set("attention_mask", (ids != *c.pad_token_id).to(at::kLong));
    }
    return decode(c, call, cache, dropout(x), layers, as_is);
  }
};

CheckpointRules fsmt_rules() {
  return {.base_model_prefix = "model", .ignore_missing = {R"(embed_positions\.weight)"}};
}

struct FSMTModel : BartPreTrainedModel {
  static constexpr bool supports_sdpa = false;
  using Config = FSMTConfig;

  const FSMTConfig& c;
  std::shared_ptr<FSMTEncoder> encoder;
  std::shared_ptr<FSMTDecoder> decoder;

  explicit FSMTModel(const FSMTConfig& config)
      : BartPreTrainedModel(config),
        c(config),
        encoder(register_module("encoder", std::make_shared<FSMTEncoder>(c))),
        decoder(register_module("decoder", std::make_shared<FSMTDecoder>(c))) {}

  void tie_weights() override {
    if (c.tie_word_embeddings) decoder->embed_tokens->tie_weight(encoder->embed_tokens->weight);
    decoder->output_projection->tie_weight(decoder->embed_tokens->weight);
  }
  CheckpointRules checkpoint_rules() const override { return fsmt_rules(); }
  std::span<const std::string_view> arguments() const override { return kEncoderDecoderArguments; }

  // The result's last_hidden_state are logits, as the reference's.
  ModelOutput compute(const ModelInputs& inputs) override {
    ModelInputs call = inputs;
    if (!call.contains("decoder_input_ids")) {
      call.set("use_cache", false);
      if (!call.contains("decoder_inputs_embeds"))
        call.set("decoder_input_ids", mbart::wrap_right(call["input_ids"], c.pad_token_id));
    }
    const auto encoded = run_encoder(*encoder, call);
    const auto decoded =
        decoder->forward(decoder_inputs(call, encoded["last_hidden_state"], call.tensor("attention_mask")));
    ModelOutput output = encoder_decoder_output(encoded, decoded);
    output.set("last_hidden_state", decoder->output_projection(decoded["last_hidden_state"]));
    return output;
  }
};

struct FSMTForConditionalGeneration : BartPreTrainedModel {
  static constexpr bool supports_sdpa = false;
  using Config = FSMTConfig;

  std::shared_ptr<FSMTModel> model;

  explicit FSMTForConditionalGeneration(const FSMTConfig& c)
      : BartPreTrainedModel(c), model(register_module("model", std::make_shared<FSMTModel>(c))) {}

  void tie_weights() override { model->tie_weights(); }
  CheckpointRules checkpoint_rules() const override { return fsmt_rules(); }
  bool can_generate() const override { return true; }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderDecoderArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor labels = inputs.tensor("labels");
    ModelInputs call = inputs.select(model->arguments());
    if (labels.defined()) call.set("use_cache", false);
    const auto base = model->forward(call);
    const Tensor logits = base["last_hidden_state"];
    ModelOutput output;
    if (labels.defined()) output.set("loss", cross_entropy(logits, labels));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

BACKPLANE_PLUGIN(fsmt, plugin) {
  plugin.config<FSMTConfig>();
  plugin.tokenizer("FSMTTokenizer", "");
  plugin.model<FSMTModel>(Auto::Model);
  plugin.model<FSMTForConditionalGeneration>(Auto::ForPreTraining);
  plugin.model<FSMTForConditionalGeneration>(Auto::WithLMHead);
  plugin.model<FSMTForConditionalGeneration>(Auto::ForSeq2SeqLM);
}

}  // namespace backplane::fsmt
