// PLBART: Ahmad et al. 2021, https://arxiv.org/abs/2103.06333
// PLBART is BART except: the defaults, and decoder ids that begin with the language at the end of the labels, as
// mBART's. Reference: transformers, models/plbart/modeling_plbart.py

#include "../mbart/modeling_mbart.h"

namespace backplane::plbart {

using namespace bart;

struct PLBartConfig : BartBaseConfig {
  static constexpr const char* model_type = "plbart";

  double classifier_dropout = 0;

  PLBartConfig() {
    vocab_size = 50005;
    encoder_layers = 6;
    encoder_ffn_dim = 3072;
    encoder_attention_heads = 12;
    decoder_layers = 6;
    decoder_ffn_dim = 3072;
    decoder_attention_heads = 12;
    d_model = 768;
    attention_dropout = 0.1;
    scale_embedding = true;
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

struct PLBartModel : DenoisingModel<PLBartConfig, BartEncoder<PLBartConfig>, BartDecoder<PLBartConfig>> {
  using DenoisingModel::DenoisingModel;
  Tensor start(const Tensor& labels) const override { return mbart::wrap_right(labels, c.pad_token_id); }
};
struct PLBartForConditionalGeneration : Seq2SeqLM<PLBartModel> {
  using Seq2SeqLM::Seq2SeqLM;
};
struct PLBartForSequenceClassification : Seq2SeqClassifier<PLBartModel> {
  using Seq2SeqClassifier::Seq2SeqClassifier;
};
struct PLBartForCausalLM : DecoderLM<PLBartConfig, BartDecoder<PLBartConfig>> {
  using DecoderLM::DecoderLM;
};

BACKPLANE_PLUGIN(plbart, plugin) {
  plugin.config<PLBartConfig>();
  plugin.tokenizer("PLBartTokenizer", "");
  plugin.model<PLBartModel>(Auto::Model);
  plugin.model<PLBartForConditionalGeneration>(Auto::WithLMHead);
  plugin.model<PLBartForCausalLM>(Auto::ForCausalLM);
  plugin.model<PLBartForConditionalGeneration>(Auto::ForSeq2SeqLM);
  plugin.model<PLBartForSequenceClassification>(Auto::ForSequenceClassification);
}

}  // namespace backplane::plbart
