// PEGASUS: Zhang et al. 2019, https://arxiv.org/abs/1912.08777
// PEGASUS is mBART except: sinusoidal positions, no norm after the embeddings, decoder ids that begin with
// decoder_start_token_id. Reference: transformers, models/pegasus/modeling_pegasus.py

#include <backplane/nn/positions.h>

#include "../mbart/modeling_mbart.h"

namespace backplane::pegasus {

using namespace mbart;

struct PegasusConfig : BartBaseConfig {
  static constexpr const char* model_type = "pegasus";

  PegasusConfig() {
    pad_token_id = 0;
    eos_token_id = 1;
    decoder_start_token_id = 0;
    forced_eos_token_id = 1;
  }
};

struct PegasusEncoder : EncoderParts<PegasusConfig, MBartEncoderLayer, nn::SinusoidalEmbedding> {
  nn::LayerNorm layer_norm;

  explicit PegasusEncoder(const PegasusConfig& c)
      : EncoderParts(c), layer_norm(register_module("layer_norm", nn::LayerNorm(c.d_model))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, embed_scale(c));
    return encode(c, inputs, dropout(x + embed_positions(at::arange(x.size(1), at::kLong))), layers, layer_norm);
  }
};

struct PegasusDecoder : DecoderParts<PegasusConfig, MBartDecoderLayer, nn::SinusoidalEmbedding> {
  nn::LayerNorm layer_norm;

  explicit PegasusDecoder(const PegasusConfig& c)
      : DecoderParts(c), layer_norm(register_module("layer_norm", nn::LayerNorm(c.d_model))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, 1) * embed_scale(c);  // given embeddings, too
    const KvCachePtr cache = cache_of(inputs, c);
    const Tensor positions = embed_positions(positions_of(inputs, cache, x.size(1)));
    return decode(c, inputs, cache, dropout(x + positions), layers, layer_norm);
  }
};

struct PegasusModel : Seq2SeqModel<PegasusConfig, PegasusEncoder, PegasusDecoder> {
  using Seq2SeqModel::Seq2SeqModel;
};
struct PegasusForConditionalGeneration : Seq2SeqLM<PegasusModel> {
  using Seq2SeqLM::Seq2SeqLM;
};
struct PegasusForCausalLM : DecoderLM<PegasusConfig, PegasusDecoder> {
  using DecoderLM::DecoderLM;
};

BACKPLANE_PLUGIN(pegasus, plugin) {
  plugin.config<PegasusConfig>();
  plugin.tokenizer("PegasusTokenizer", "PegasusTokenizerFast");
  plugin.model<PegasusModel>(Auto::Model);
  plugin.model<PegasusForCausalLM>(Auto::ForCausalLM);
  plugin.model<PegasusForConditionalGeneration>(Auto::ForSeq2SeqLM);
}

}  // namespace backplane::pegasus
