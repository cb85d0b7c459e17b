// T5: Raffel et al. 2019, https://arxiv.org/abs/1910.10683
// Pre-norm encoder and decoder with RMS norms, no biases, attention without scale and learned biases by distance, which
// the first block holds for all. Version 1.1 has a gated feed-forward part and an own output table.
// Reference: transformers, models/t5/modeling_t5.py

#include "modeling_t5.h"

namespace backplane::t5 {

struct T5Stack : Stack<T5Block> {
  using Stack::Stack;
};
struct T5Model : Seq2Seq<T5Config, T5Stack> {
  using Seq2Seq::Seq2Seq;
};
struct T5EncoderModel : EncoderOnly<T5Config, T5Stack> {
  using EncoderOnly::EncoderOnly;
};
struct T5ForConditionalGeneration : ConditionalGeneration<T5Config, T5Stack> {
  using ConditionalGeneration::ConditionalGeneration;
};
struct T5ForQuestionAnswering : QuestionAnswering<T5Config, T5Stack> {
  using QuestionAnswering::QuestionAnswering;
};
struct T5ForSequenceClassification : SequenceClassification<T5Model> {
  using SequenceClassification::SequenceClassification;
};
struct T5ForTokenClassification : TokenClassification<T5EncoderModel> {
  using TokenClassification::TokenClassification;
};

BACKPLANE_PLUGIN(t5, plugin) {
  plugin.config<T5Config>();
  plugin.tokenizer("T5Tokenizer", "T5TokenizerFast");
  plugin.model<T5EncoderModel>(Auto::ForTextEncoding);
  plugin.model<T5Model>(Auto::Model);
  plugin.model<T5ForConditionalGeneration>(Auto::ForPreTraining);
  plugin.model<T5ForConditionalGeneration>(Auto::WithLMHead);
  plugin.model<T5ForConditionalGeneration>(Auto::ForSeq2SeqLM);
  plugin.model<T5ForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<T5ForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<T5ForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::t5
