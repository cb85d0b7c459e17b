// ProphetNet: Qi et al. 2020, https://arxiv.org/abs/2001.04063
// Post-norm encoder and decoder; the decoder has further streams beside the main one, of which each predicts one token
// further ahead, and positions by scores made from the states. Reference: transformers,
// models/prophetnet/modeling_prophetnet.py

#include "modeling_prophetnet.h"

namespace backplane::prophetnet {

struct ProphetNetModel : Seq2SeqModel<ProphetNetConfig> {
  using Seq2SeqModel::Seq2SeqModel;
};
struct ProphetNetForConditionalGeneration : ConditionalGeneration<ProphetNetModel> {
  using ConditionalGeneration::ConditionalGeneration;
};
struct ProphetNetForCausalLM : CausalLM<ProphetNetConfig> {
  using CausalLM::CausalLM;
};

BACKPLANE_PLUGIN(prophetnet, plugin) {
  plugin.config<ProphetNetConfig>();
  plugin.tokenizer("ProphetNetTokenizer", "");
  plugin.model<ProphetNetModel>(Auto::Model);
  plugin.model<ProphetNetForCausalLM>(Auto::ForCausalLM);
  plugin.model<ProphetNetForConditionalGeneration>(Auto::ForSeq2SeqLM);
}

}  // namespace backplane::prophetnet
