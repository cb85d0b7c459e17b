// Blenderbot: Roller et al. 2020, https://arxiv.org/abs/2004.13637
// Blenderbot is mBART except: no norm after the embeddings, positions from the table's first row on, decoder ids that
// begin with decoder_start_token_id. Reference: transformers, models/blenderbot/modeling_blenderbot.py

#include "../mbart/modeling_mbart.h"

namespace backplane::blenderbot {

using namespace mbart;

struct BlenderbotConfig : BartBaseConfig {
  static constexpr const char* model_type = "blenderbot";

  BlenderbotConfig() {
    vocab_size = 8008;
    max_position_embeddings = 128;
    encoder_layers = 2;
    encoder_ffn_dim = 10240;
    encoder_attention_heads = 32;
    decoder_layers = 24;
    decoder_ffn_dim = 10240;
    decoder_attention_heads = 32;
    d_model = 2560;
    pad_token_id = 0;
    bos_token_id = 1;
    eos_token_id = 2;
    decoder_start_token_id = 1;
    encoder_no_repeat_ngram_size = 3;
    forced_eos_token_id = 2;
  }
};

struct BlenderbotEncoder : EncoderParts<BlenderbotConfig, MBartEncoderLayer, nn::Embedding> {
  nn::LayerNorm layer_norm;

  explicit BlenderbotEncoder(const BlenderbotConfig& c)
      : EncoderParts(c), layer_norm(register_module("layer_norm", nn::LayerNorm(c.d_model))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, embed_scale(c));
    return encode(c, inputs, dropout(x + embed_positions(at::arange(x.size(1), at::kLong))), layers, layer_norm);
  }
};

struct BlenderbotDecoder : DecoderParts<BlenderbotConfig, MBartDecoderLayer, nn::Embedding> {
  nn::LayerNorm layer_norm;

  explicit BlenderbotDecoder(const BlenderbotConfig& c)
      : DecoderParts(c), layer_norm(register_module("layer_norm", nn::LayerNorm(c.d_model))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, embed_scale(c));
    const KvCachePtr cache = cache_of(inputs, c);
    const Tensor positions = embed_positions(positions_of(inputs, cache, x.size(1)));
    return decode(c, inputs, cache, dropout(x + positions), layers, layer_norm);
  }
};

struct BlenderbotModel : Seq2SeqModel<BlenderbotConfig, BlenderbotEncoder, BlenderbotDecoder> {
  using Seq2SeqModel::Seq2SeqModel;
};
struct BlenderbotForConditionalGeneration : Seq2SeqLM<BlenderbotModel> {
  using Seq2SeqLM::Seq2SeqLM;
};
struct BlenderbotForCausalLM : DecoderLM<BlenderbotConfig, BlenderbotDecoder> {
  using DecoderLM::DecoderLM;
};

BACKPLANE_PLUGIN(blenderbot, plugin) {
  plugin.config<BlenderbotConfig>();
  plugin.tokenizer("BlenderbotTokenizer", "BlenderbotTokenizerFast");
  plugin.model<BlenderbotModel>(Auto::Model);
  plugin.model<BlenderbotForCausalLM>(Auto::ForCausalLM);
  plugin.model<BlenderbotForConditionalGeneration>(Auto::ForSeq2SeqLM);
}

}  // namespace backplane::blenderbot
