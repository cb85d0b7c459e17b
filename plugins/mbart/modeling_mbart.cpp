// mBART: Liu et al. 2020, https://arxiv.org/abs/2001.08210
// mBART is BART except: pre-norm layers, a norm after each stack, and decoder ids that begin with the language at the
// end of the labels. Reference: transformers, models/mbart/modeling_mbart.py

#include "modeling_mbart.h"

namespace backplane::mbart {

struct MBartConfig : BartBaseConfig {
  static constexpr const char* model_type = "mbart";

  double classifier_dropout = 0;

  MBartConfig() {
    pad_token_id = 1;
    bos_token_id = 0;
    eos_token_id = 2;
    forced_eos_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    BartBaseConfig::fields(field);
    field(BACKPLANE_FIELD(classifier_dropout));
  }
};

struct MBartEncoder : EncoderParts<MBartConfig, MBartEncoderLayer, BartLearnedPositionalEmbedding> {
  nn::LayerNorm layernorm_embedding, layer_norm;

  explicit MBartEncoder(const MBartConfig& c)
      : EncoderParts(c),
        layernorm_embedding(register_module("layernorm_embedding", nn::LayerNorm(c.d_model))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.d_model))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, embed_scale(c));
    const Tensor positions = embed_positions(at::arange(x.size(1), at::kLong));
    return encode(c, inputs, dropout(layernorm_embedding(x + positions)), layers, layer_norm);
  }
};

struct MBartDecoder : DecoderParts<MBartConfig, MBartDecoderLayer, BartLearnedPositionalEmbedding> {
  nn::LayerNorm layernorm_embedding, layer_norm;

  explicit MBartDecoder(const MBartConfig& c)
      : DecoderParts(c),
        layernorm_embedding(register_module("layernorm_embedding", nn::LayerNorm(c.d_model))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.d_model))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, embed_scale(c));
    const KvCachePtr cache = cache_of(inputs, c);
    const Tensor positions = embed_positions(positions_of(inputs, cache, x.size(1)));
    return decode(c, inputs, cache, dropout(layernorm_embedding(x + positions)), layers, layer_norm);
  }
};

struct MBartModel : DenoisingModel<MBartConfig, MBartEncoder, MBartDecoder> {
  using DenoisingModel::DenoisingModel;
  Tensor start(const Tensor& labels) const override { return wrap_right(labels, c.pad_token_id); }
};
struct MBartForConditionalGeneration : Seq2SeqLM<MBartModel> {
  using Seq2SeqLM::Seq2SeqLM;
};
struct MBartForSequenceClassification : Seq2SeqClassifier<MBartModel> {
  using Seq2SeqClassifier::Seq2SeqClassifier;
};
struct MBartForQuestionAnswering : Seq2SeqQuestionAnswering<MBartModel> {
  using Seq2SeqQuestionAnswering::Seq2SeqQuestionAnswering;
};
struct MBartForCausalLM : DecoderLM<MBartConfig, MBartDecoder> {
  using DecoderLM::DecoderLM;
};

BACKPLANE_PLUGIN(mbart, plugin) {
  plugin.config<MBartConfig>();
  plugin.tokenizer("MBartTokenizer", "MBartTokenizerFast");
  plugin.model<MBartModel>(Auto::Model);
  plugin.model<MBartForCausalLM>(Auto::ForCausalLM);
  plugin.model<MBartForConditionalGeneration>(Auto::ForMaskedLM);
  plugin.model<MBartForConditionalGeneration>(Auto::ForSeq2SeqLM);
  plugin.model<MBartForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<MBartForQuestionAnswering>(Auto::ForQuestionAnswering);
}

}  // namespace backplane::mbart
