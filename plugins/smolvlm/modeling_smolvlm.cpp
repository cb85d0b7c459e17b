// SmolVLM: Marafioti et al. 2025, https://arxiv.org/abs/2504.05299
// Idefics3 except: where all images are padding, the first counts.
// Reference: transformers, models/smolvlm/modeling_smolvlm.py

#include "../idefics3/modeling_idefics3.h"
#include "configuration_smolvlm.h"

namespace backplane::smolvlm {

struct SmolVLMVisionTransformer : idefics3::Idefics3VisionTransformerOf<SmolVLMVisionConfig> {
  using Idefics3VisionTransformerOf::Idefics3VisionTransformerOf;
};

struct SmolVLMModel : idefics3::Idefics3ModelOf<SmolVLMConfig, SmolVLMVisionTransformer> {
  using Idefics3ModelOf::Idefics3ModelOf;
  bool keeps_one_image() const override { return true; }
};

struct SmolVLMForConditionalGeneration : ConditionalGeneration<SmolVLMModel> {
  explicit SmolVLMForConditionalGeneration(const SmolVLMConfig& c) : ConditionalGeneration(c, *c.text_config) {}
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

BACKPLANE_PLUGIN(smolvlm, plugin) {
  plugin.config<SmolVLMVisionConfig>();
  plugin.model<SmolVLMVisionTransformer>(Auto::Model);
  plugin.config<SmolVLMConfig>();
  plugin.preprocessor(Auto::ImageProcessor, "SmolVLMImageProcessor", "SmolVLMImageProcessorFast");
  plugin.preprocessor(Auto::VideoProcessor, "SmolVLMVideoProcessor");
  plugin.preprocessor(Auto::Processor, "SmolVLMProcessor");
  plugin.model<SmolVLMModel>(Auto::Model);
  plugin.model<SmolVLMForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::smolvlm
