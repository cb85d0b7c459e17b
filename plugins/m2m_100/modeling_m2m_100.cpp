// M2M100: Fan et al. 2020, https://arxiv.org/abs/2010.11125
// M2M100 is mBART except: sinusoidal positions that padding has none of, no norm after the embeddings, no bias of the
// logits. Reference: transformers, models/m2m_100/modeling_m2m_100.py

#include "modeling_m2m_100.h"

namespace backplane::m2m_100 {

struct M2M100Config : BartBaseConfig {
  static constexpr const char* model_type = "m2m_100";

  M2M100Config() {
    vocab_size = 128112;
    encoder_layerdrop = 0.05;
    decoder_layerdrop = 0.05;
    activation_function = "relu";
    attention_dropout = 0.1;
    scale_embedding = true;
    pad_token_id = 1;
    bos_token_id = 0;
    eos_token_id = 2;
    decoder_start_token_id = 2;
  }

  void validate() override {
    BartBaseConfig::validate();
    if (!pad_token_id) throw Error(ErrorCode::bad_config, "pad_token_id is null; positions are counted behind it");
  }
};

struct M2M100Model : Seq2SeqModel<M2M100Config, M2M100Encoder<M2M100Config>, M2M100Decoder<M2M100Config>> {
  using Seq2SeqModel::Seq2SeqModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};
struct M2M100ForConditionalGeneration : PlainLM<M2M100Model> {
  using PlainLM::PlainLM;
};

BACKPLANE_PLUGIN(m2m_100, plugin) {
  plugin.config<M2M100Config>();
  plugin.tokenizer("M2M100Tokenizer", "");
  plugin.model<M2M100Model>(Auto::Model);
  plugin.model<M2M100ForConditionalGeneration>(Auto::WithLMHead);
  plugin.model<M2M100ForConditionalGeneration>(Auto::ForSeq2SeqLM);
}

}  // namespace backplane::m2m_100
