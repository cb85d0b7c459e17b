#include "modeling_gemma3_text.h"

namespace backplane::gemma3_text {

struct Gemma3ForCausalLM : CausalLMHead<Gemma3TextPreTrainedModel, Gemma3TextModel> {
  using CausalLMHead::CausalLMHead;
  Tensor scores(const Tensor& x) override {
    const auto cap = base->c.final_logit_softcapping;
    return cap ? at::tanh(lm_head(x) / *cap) * *cap : lm_head(x);
  }
};

BACKPLANE_PLUGIN(gemma3_text, plugin) {
  plugin.config<Gemma3TextConfig>();
  plugin.tokenizer("GemmaTokenizer", "GemmaTokenizerFast");
  plugin.model<Gemma3TextModel>(Auto::Model);
  plugin.model<Gemma3ForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::gemma3_text
