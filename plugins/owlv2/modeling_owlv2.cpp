// OWLv2: Minderer et al. 2023, https://arxiv.org/abs/2306.09683
// OWL-ViT except: a patch also says how likely it is an object at all.
// Reference: transformers, models/owlv2/modeling_owlv2.py

#include "../owlvit/modeling_owlvit.h"
#include "configuration_owlv2.h"

namespace backplane::owlv2 {

struct Owlv2Model : owlvit::OwlViTModelOf<Owlv2Config> {
  using OwlViTModelOf::OwlViTModelOf;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "owlv2"}; }
};

struct Owlv2ForObjectDetection : owlvit::OwlViTForObjectDetectionOf<Owlv2Model> {
  owlvit::OwlViTBoxPredictionHead objectness_head;

  explicit Owlv2ForObjectDetection(const Owlv2Config& c)
      : OwlViTForObjectDetectionOf(c, "owlv2"),
        objectness_head(
            register_module("objectness_head", owlvit::OwlViTBoxPredictionHead(c.vision_config.hidden_size, 1))) {}

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "owlv2"}; }
  void more(const Tensor& patches, ModelOutput& output) override {
    output.set("objectness_logits", objectness_head(patches.detach()).select(-1, 0));
  }
};

BACKPLANE_PLUGIN(owlv2, plugin) {
  plugin.config<Owlv2Config>();
  plugin.tokenizer("CLIPTokenizer", "CLIPTokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "Owlv2ImageProcessor");
  plugin.preprocessor(Auto::Processor, "Owlv2Processor");
  plugin.model<Owlv2Model>(Auto::Model);
  plugin.model<Owlv2ForObjectDetection>(Auto::ForZeroShotObjectDetection);
}

}  // namespace backplane::owlv2
