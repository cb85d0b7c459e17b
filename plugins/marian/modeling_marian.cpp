// Marian: Junczys-Dowmunt et al. 2018, https://arxiv.org/abs/1804.00344
// Marian is BART except: sinusoidal positions, no norm after the embeddings, and tables of embeddings that encoder and
// decoder need not share. Reference: transformers, models/marian/modeling_marian.py

#include <backplane/nn/positions.h>

#include "../bart/modeling_bart.h"

namespace backplane::marian {

using namespace bart;

struct MarianConfig : BartBaseConfig {
  static constexpr const char* model_type = "marian";

  std::optional<int64_t> decoder_vocab_size;  // null or 0: vocab_size
  bool share_encoder_decoder_embeddings = true;

  MarianConfig() {
    vocab_size = 58101;
    pad_token_id = 58100;
    eos_token_id = 0;
    decoder_start_token_id = 58100;
    forced_eos_token_id = 0;
  }

  void fields(FieldVisitor& field) override {
    BartBaseConfig::fields(field);
    field(BACKPLANE_FIELD(decoder_vocab_size));
    field(BACKPLANE_FIELD(share_encoder_decoder_embeddings));
  }

  void validate() override {
    BartBaseConfig::validate();
    if (decoder_vocab_size.value_or(0) == 0) decoder_vocab_size = vocab_size;
  }

  int64_t target_vocab_size() const { return share_encoder_decoder_embeddings ? vocab_size : *decoder_vocab_size; }
};

struct MarianEncoder : EncoderParts<MarianConfig, BartEncoderLayer, nn::SinusoidalEmbedding> {
  using EncoderParts::EncoderParts;

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, embed_scale(c));
    return encode(c, inputs, dropout(x + embed_positions(at::arange(x.size(1), at::kLong))), layers, as_is);
  }
};

struct MarianDecoder : DecoderParts<MarianConfig, BartDecoderLayer, nn::SinusoidalEmbedding> {
  explicit MarianDecoder(const MarianConfig& c) : DecoderParts(c, c.target_vocab_size()) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, 1) * embed_scale(c);  // given embeddings, too
    const KvCachePtr cache = cache_of(inputs, c);
    const Tensor positions = embed_positions(positions_of(inputs, cache, x.size(1)));
    return decode(c, inputs, cache, dropout(x + positions), layers, as_is);
  }
};

inline CheckpointRules marian_rules() {
  return {.base_model_prefix = "model",
          .ignore_missing = {"final_logits_bias", R"(encoder\.embed_positions\.weight)",
                             R"(decoder\.embed_positions\.weight)", R"(shared\.weight)"}};
}

struct MarianModel : Seq2SeqModel<MarianConfig, MarianEncoder, MarianDecoder> {
  using Seq2SeqModel::Seq2SeqModel;

  void tie_weights() override {
    if (c.share_encoder_decoder_embeddings) Seq2SeqModel::tie_weights();
  }
  CheckpointRules checkpoint_rules() const override { return marian_rules(); }
};
struct MarianMTModel : Seq2SeqLM<MarianModel> {
  explicit MarianMTModel(const MarianConfig& c) : Seq2SeqLM(c, c.target_vocab_size()) {}
  CheckpointRules checkpoint_rules() const override { return marian_rules(); }
};
struct MarianForCausalLM : DecoderLM<MarianConfig, MarianDecoder> {
  using DecoderLM::DecoderLM;
  CheckpointRules checkpoint_rules() const override { return marian_rules(); }
};

BACKPLANE_PLUGIN(marian, plugin) {
  plugin.config<MarianConfig>();
  plugin.tokenizer("MarianTokenizer", "");
  plugin.model<MarianModel>(Auto::Model);
  plugin.model<MarianMTModel>(Auto::WithLMHead);
  plugin.model<MarianForCausalLM>(Auto::ForCausalLM);
  plugin.model<MarianMTModel>(Auto::ForSeq2SeqLM);
}

}  // namespace backplane::marian
