// mT5: Xue et al. 2020, https://arxiv.org/abs/2010.11934
// mT5 is T5 except: the names and the defaults. Reference: transformers, models/mt5/modeling_mt5.py

#include "../t5/modeling_t5.h"

namespace backplane::mt5 {

using namespace t5;

struct MT5Config : T5Config {
  static constexpr const char* model_type = "mt5";

  MT5Config() {
    vocab_size = 250112;
    d_ff = 1024;
    num_layers = 8;
    num_heads = 6;
    feed_forward_proj = "gated-gelu";
    tokenizer_class = "T5Tokenizer";
    tie_word_embeddings = false;
    decoder_start_token_id = 0;
  }
};

struct MT5Stack : Stack<T5Block> {
  using Stack::Stack;
};
struct MT5Model : Seq2Seq<MT5Config, MT5Stack> {
  using Seq2Seq::Seq2Seq;
};
struct MT5EncoderModel : EncoderOnly<MT5Config, MT5Stack> {
  using EncoderOnly::EncoderOnly;
};
struct MT5ForConditionalGeneration : ConditionalGeneration<MT5Config, MT5Stack> {
  using ConditionalGeneration::ConditionalGeneration;
};
struct MT5ForQuestionAnswering : QuestionAnswering<MT5Config, MT5Stack> {
  using QuestionAnswering::QuestionAnswering;
};
struct MT5ForSequenceClassification : SequenceClassification<MT5Model> {
  using SequenceClassification::SequenceClassification;
};
struct MT5ForTokenClassification : TokenClassification<MT5EncoderModel> {
  using TokenClassification::TokenClassification;
};

BACKPLANE_PLUGIN(mt5, plugin) {
  plugin.config<MT5Config>();
  plugin.tokenizer("MT5Tokenizer", "MT5TokenizerFast");
  plugin.model<MT5EncoderModel>(Auto::ForTextEncoding);
  plugin.model<MT5Model>(Auto::Model);
  plugin.model<MT5ForConditionalGeneration>(Auto::ForSeq2SeqLM);
  plugin.model<MT5ForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<MT5ForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<MT5ForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::mt5
