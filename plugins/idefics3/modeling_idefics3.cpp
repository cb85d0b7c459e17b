// Idefics3: Laurençon et al. 2024, https://arxiv.org/abs/2408.12637
// SigLIP's tower with positions by fraction, blocks of patches merged to one token, any language model.
// Reference: transformers, models/idefics3/modeling_idefics3.py

#include "modeling_idefics3.h"

namespace backplane::idefics3 {

struct Idefics3VisionTransformer : Idefics3VisionTransformerOf<Idefics3VisionConfig> {
  using Idefics3VisionTransformerOf::Idefics3VisionTransformerOf;
};

struct Idefics3Model : Idefics3ModelOf<Idefics3Config, Idefics3VisionTransformer> {
  using Idefics3ModelOf::Idefics3ModelOf;
};

struct Idefics3ForConditionalGeneration : ConditionalGeneration<Idefics3Model> {
  explicit Idefics3ForConditionalGeneration(const Idefics3Config& c) : ConditionalGeneration(c, *c.text_config) {}
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

BACKPLANE_PLUGIN(idefics3, plugin) {
  plugin.config<Idefics3VisionConfig>();
  plugin.model<Idefics3VisionTransformer>(Auto::Model);
  plugin.config<Idefics3Config>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "Idefics3ImageProcessor", "Idefics3ImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "Idefics3Processor");
  plugin.model<Idefics3Model>(Auto::Model);
  plugin.model<Idefics3ForConditionalGeneration>(Auto::ForPreTraining);
  plugin.model<Idefics3ForConditionalGeneration>(Auto::ForVision2Seq);
  plugin.model<Idefics3ForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::idefics3
