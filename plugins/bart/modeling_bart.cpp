// BART: Lewis et al. 2019, https://arxiv.org/abs/1910.13461
// Encoder and decoder of post-norm layers over one table of embeddings, learned positions, a norm after the
// embeddings. Reference: transformers, models/bart/modeling_bart.py

#include "modeling_bart.h"

namespace backplane::bart {

struct BartModel : DenoisingModel<BartConfig, BartEncoder<BartConfig>, BartDecoder<BartConfig>> {
  using DenoisingModel::DenoisingModel;
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
struct BartForCausalLM : DecoderLM<BartConfig, BartDecoder<BartConfig>> {
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
