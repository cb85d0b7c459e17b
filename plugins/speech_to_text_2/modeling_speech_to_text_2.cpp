// Speech2Text2's decoder: Wang et al. 2021, https://arxiv.org/abs/2104.06678
// It is BART's decoder except: sinusoidal positions that padding has none of, no norm after the embeddings.
// Reference: transformers, models/deprecated/speech_to_text_2/modeling_speech_to_text_2.py

#include <backplane/nn/positions.h>

#include "../bart/modeling_bart.h"

namespace backplane::speech_to_text_2 {

using namespace bart;

struct Speech2Text2Config : BartBaseConfig {
  static constexpr const char* model_type = "speech_to_text_2";

  int64_t max_target_positions = 1024;

  Speech2Text2Config() {
    is_encoder_decoder = false;
    vocab_size = 10000;
    decoder_layers = 6;
    decoder_ffn_dim = 2048;
    decoder_attention_heads = 4;
    activation_function = "relu";
    d_model = 256;
    scale_embedding = true;
    pad_token_id = 1;
    bos_token_id = 0;
    eos_token_id = 2;
    decoder_start_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(d_model));
    field(BACKPLANE_FIELD(decoder_ffn_dim));
    field(BACKPLANE_FIELD(decoder_layers));
    field(BACKPLANE_FIELD(decoder_attention_heads));
    field(BACKPLANE_FIELD(dropout));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(activation_dropout));
    field(BACKPLANE_FIELD(activation_function));
    field(BACKPLANE_FIELD(init_std));
    field(BACKPLANE_FIELD(decoder_layerdrop));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(scale_embedding));
    field(BACKPLANE_FIELD(max_target_positions));
    field.alias("num_attention_heads", "decoder_attention_heads");
    field.alias("hidden_size", "d_model");
  }

  void validate() override {
    encoder_attention_heads = decoder_attention_heads;
    encoder_layers = decoder_layers;
    BartBaseConfig::validate();
    if (!pad_token_id) throw Error(ErrorCode::bad_config, "pad_token_id is null; positions are counted behind it");
  }
};

struct Speech2Text2Decoder : BartPreTrainedModel {
  const Speech2Text2Config& c;
  nn::FairseqSinusoids positions;
  nn::Embedding embed_tokens;
  nn::Layers<BartDecoderLayer> layers;
  nn::Dropout dropout;

  explicit Speech2Text2Decoder(const Speech2Text2Config& config)
      : BartPreTrainedModel(config),
        c(config),
        positions(c.d_model, *c.pad_token_id),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.d_model, c.pad_token_id))),
        layers(register_module(
            "layers",
            nn::Layers<BartDecoderLayer>(c.decoder_layers, [&](int64_t i) { return BartDecoderLayer(config, i); }))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  std::span<const std::string_view> arguments() const override { return kTextDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, embed_scale(c));
    const KvCachePtr cache = cache_of(inputs, c);
    const Tensor where = nn::positions_past_padding(inputs["input_ids"], *c.pad_token_id, cache ? cache->length() : 0);
    return decode(c, inputs, cache, dropout(x + positions.forward(where, x.scalar_type())), layers, as_is);
  }
};

struct Speech2Text2ForCausalLM : DecoderLM<Speech2Text2Config, Speech2Text2Decoder> {
  using DecoderLM::DecoderLM;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "model", .ignore_unexpected = {R"(embed_positions\.weights)"}};
  }
};

BACKPLANE_PLUGIN(speech_to_text_2, plugin) {
  plugin.config<Speech2Text2Config>();
  plugin.tokenizer("Speech2Text2Tokenizer", "");
  plugin.preprocessor(Auto::Processor, "Speech2Text2Processor");
  plugin.model<Speech2Text2ForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::speech_to_text_2
