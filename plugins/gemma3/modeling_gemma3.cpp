// Gemma 3: Gemma Team 2025, https://arxiv.org/abs/2503.19786
// SigLIP's patches, averaged in blocks, in Gemma 3's language model; the tokens of an image see each other.
// Reference: transformers, models/gemma3/modeling_gemma3.py

#include "modeling_gemma3.h"

namespace backplane::gemma3 {

BACKPLANE_PLUGIN(gemma3, plugin) {
  plugin.config<Gemma3Config>();
  plugin.tokenizer("GemmaTokenizer", "GemmaTokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "Gemma3ImageProcessor", "Gemma3ImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "Gemma3Processor");
  plugin.model<Gemma3Model>(Auto::Model);
  plugin.model<Gemma3ForConditionalGeneration>(Auto::ForPreTraining);
  plugin.model<Gemma3ForConditionalGeneration>(Auto::ForCausalLM);
  plugin.model<Gemma3ForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::gemma3
