// OWL-ViT: Minderer et al. 2022, https://arxiv.org/abs/2205.06230
// CLIP whose patches, multiplied by the class token, are detected objects, compared with text queries.
// Reference: transformers, models/owlvit/modeling_owlvit.py

#include "modeling_owlvit.h"

namespace backplane::owlvit {

struct OwlViTModel : OwlViTModelOf<OwlViTConfig> {
  using OwlViTModelOf::OwlViTModelOf;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "owlvit"}; }
};

struct OwlViTForObjectDetection : OwlViTForObjectDetectionOf<OwlViTModel> {
  explicit OwlViTForObjectDetection(const OwlViTConfig& c) : OwlViTForObjectDetectionOf(c, "owlvit") {}
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "owlvit"}; }
};

BACKPLANE_PLUGIN(owlvit, plugin) {
  plugin.config<OwlViTConfig>();
  plugin.tokenizer("CLIPTokenizer", "CLIPTokenizerFast");
  plugin.preprocessor(Auto::FeatureExtractor, "OwlViTFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "OwlViTImageProcessor", "OwlViTImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "OwlViTProcessor");
  plugin.model<OwlViTModel>(Auto::Model);
  plugin.model<OwlViTForObjectDetection>(Auto::ForZeroShotObjectDetection);
}

}  // namespace backplane::owlvit
