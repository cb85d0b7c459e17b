// XLM-ProphetNet: Qi et al. 2020, https://arxiv.org/abs/2001.04063, over many languages
// XLM-ProphetNet is ProphetNet except: the names. Reference: transformers,
// models/deprecated/xlm_prophetnet/modeling_xlm_prophetnet.py

#include "../prophetnet/modeling_prophetnet.h"

namespace backplane::xlm_prophetnet {

using namespace prophetnet;

struct XLMProphetNetConfig : ProphetNetConfig {
  static constexpr const char* model_type = "xlm-prophetnet";
};

struct XLMProphetNetModel : Seq2SeqModel<XLMProphetNetConfig> {
  using Seq2SeqModel::Seq2SeqModel;
};
struct XLMProphetNetForConditionalGeneration : ConditionalGeneration<XLMProphetNetModel> {
  using ConditionalGeneration::ConditionalGeneration;
};
struct XLMProphetNetForCausalLM : CausalLM<XLMProphetNetConfig> {
  using CausalLM::CausalLM;
};

BACKPLANE_PLUGIN(xlm_prophetnet, plugin) {
  plugin.config<XLMProphetNetConfig>();
  plugin.tokenizer("XLMProphetNetTokenizer", "");
  plugin.model<XLMProphetNetModel>(Auto::Model);
  plugin.model<XLMProphetNetForCausalLM>(Auto::ForCausalLM);
  plugin.model<XLMProphetNetForConditionalGeneration>(Auto::ForSeq2SeqLM);
}

}  // namespace backplane::xlm_prophetnet
