// UMT5: Chung et al. 2023, https://arxiv.org/abs/2304.09151
// UMT5 is T5 except: every block has its own table of position biases; the defaults.
// Reference: transformers, models/umt5/modeling_umt5.py

#include "../t5/modeling_t5.h"

namespace backplane::umt5 {

using namespace t5;

struct UMT5Config : T5Config {
  static constexpr const char* model_type = "umt5";

  UMT5Config() {
    vocab_size = 250112;
    d_ff = 1024;
    num_layers = 8;
    num_heads = 6;
    feed_forward_proj = "gated-gelu";
    tokenizer_class = "T5Tokenizer";
    decoder_start_token_id = 0;
  }
};

struct UMT5BlockImpl : T5BlockImpl {
  UMT5BlockImpl(const T5Config& c, size_t i, Role role, bool) : T5BlockImpl(c, i, role, true) {}
};
TORCH_MODULE(UMT5Block);

struct UMT5Stack : Stack<UMT5Block> {
  using Stack::Stack;
};
struct UMT5Model : Seq2Seq<UMT5Config, UMT5Stack> {
  using Seq2Seq::Seq2Seq;
};
struct UMT5EncoderModel : EncoderOnly<UMT5Config, UMT5Stack> {
  using EncoderOnly::EncoderOnly;
};
struct UMT5ForConditionalGeneration : ConditionalGeneration<UMT5Config, UMT5Stack> {
  using ConditionalGeneration::ConditionalGeneration;
};
struct UMT5ForQuestionAnswering : QuestionAnswering<UMT5Config, UMT5Stack> {
  using QuestionAnswering::QuestionAnswering;
};
struct UMT5ForSequenceClassification : SequenceClassification<UMT5Model> {
  using SequenceClassification::SequenceClassification;
};
struct UMT5ForTokenClassification : TokenClassification<UMT5EncoderModel> {
  using TokenClassification::TokenClassification;
};

BACKPLANE_PLUGIN(umt5, plugin) {
  plugin.config<UMT5Config>();
  plugin.tokenizer("T5Tokenizer", "T5TokenizerFast");
  plugin.model<UMT5EncoderModel>(Auto::ForTextEncoding);
  plugin.model<UMT5Model>(Auto::Model);
  plugin.model<UMT5ForConditionalGeneration>(Auto::ForSeq2SeqLM);
  plugin.model<UMT5ForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<UMT5ForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<UMT5ForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::umt5
