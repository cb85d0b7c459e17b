// Blenderbot small: Roller et al. 2020, https://arxiv.org/abs/2004.13637
// Blenderbot small is BART except: positions from the table's first row on, and a decoder that norms its embeddings,
// unscaled, before the positions come in. Reference: transformers, models/blenderbot_small/modeling_blenderbot_small.py

#include "../bart/modeling_bart.h"

namespace backplane::blenderbot_small {

using namespace bart;

struct BlenderbotSmallConfig : BartBaseConfig {
  static constexpr const char* model_type = "blenderbot-small";

  BlenderbotSmallConfig() {
    max_position_embeddings = 512;
    encoder_layers = 8;
    encoder_ffn_dim = 2048;
    decoder_layers = 8;
    decoder_ffn_dim = 2048;
    d_model = 512;
    pad_token_id = 0;
    bos_token_id = 1;
    eos_token_id = 2;
    decoder_start_token_id = 1;
    forced_eos_token_id = 2;
  }
};

struct BlenderbotSmallEncoder : EncoderParts<BlenderbotSmallConfig, BartEncoderLayer, nn::Embedding> {
  nn::LayerNorm layernorm_embedding;

  explicit BlenderbotSmallEncoder(const BlenderbotSmallConfig& c)
      : EncoderParts(c), layernorm_embedding(register_module("layernorm_embedding", nn::LayerNorm(c.d_model))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, embed_scale(c));
    const Tensor positions = embed_positions(at::arange(x.size(1), at::kLong));
    return encode(c, inputs, dropout(layernorm_embedding(x + positions)), layers, as_is);
  }
};

struct BlenderbotSmallDecoder : DecoderParts<BlenderbotSmallConfig, BartDecoderLayer, nn::Embedding> {
  nn::LayerNorm layernorm_embedding;

  explicit BlenderbotSmallDecoder(const BlenderbotSmallConfig& c)
      : DecoderParts(c), layernorm_embedding(register_module("layernorm_embedding", nn::LayerNorm(c.d_model))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, 1);
    const KvCachePtr cache = cache_of(inputs, c);
    const Tensor positions = embed_positions(positions_of(inputs, cache, x.size(1)));
    return decode(c, inputs, cache, dropout(layernorm_embedding(x) + positions), layers, as_is);
  }
};

struct BlenderbotSmallModel : Seq2SeqModel<BlenderbotSmallConfig, BlenderbotSmallEncoder, BlenderbotSmallDecoder> {
  using Seq2SeqModel::Seq2SeqModel;
};
struct BlenderbotSmallForConditionalGeneration : Seq2SeqLM<BlenderbotSmallModel> {
  using Seq2SeqLM::Seq2SeqLM;
};
struct BlenderbotSmallForCausalLM : DecoderLM<BlenderbotSmallConfig, BlenderbotSmallDecoder> {
  using DecoderLM::DecoderLM;
};

BACKPLANE_PLUGIN(blenderbot_small, plugin) {
  plugin.config<BlenderbotSmallConfig>();
  plugin.tokenizer("BlenderbotSmallTokenizer", "");
  plugin.model<BlenderbotSmallModel>(Auto::Model);
  plugin.model<BlenderbotSmallForConditionalGeneration>(Auto::WithLMHead);
  plugin.model<BlenderbotSmallForCausalLM>(Auto::ForCausalLM);
  plugin.model<BlenderbotSmallForConditionalGeneration>(Auto::ForSeq2SeqLM);
}

}  // namespace backplane::blenderbot_small
