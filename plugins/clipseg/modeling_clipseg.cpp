// CLIPSeg: Lüddecke and Ecker 2021, https://arxiv.org/abs/2112.10003
// CLIP except: positions follow the image's size unless a call says otherwise.
// Reference: transformers, models/clipseg/modeling_clipseg.py

#include "../clip/modeling_clip.h"
#include "configuration_clipseg.h"

namespace backplane::clipseg {

struct CLIPSegModel : clip::CLIPModelOf<CLIPSegConfig, clip::CLIPTextTransformer, clip::CLIPVisionTransformer> {
  using CLIPModelOf::CLIPModelOf;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "clip"}; }
  nn::Embedding get_input_embeddings() override { return text_model->embeddings->token_embedding; }

  ModelOutput compute(const ModelInputs& inputs) override {
    ModelInputs call = inputs;
    call.set("interpolate_pos_encoding", inputs.flag("interpolate_pos_encoding", true));
    return CLIPModelOf::compute(call);
  }
};

BACKPLANE_PLUGIN(clipseg, plugin) {
  plugin.config<CLIPSegConfig>();
  plugin.tokenizer("CLIPTokenizer", "CLIPTokenizerFast");
  plugin.preprocessor(Auto::FeatureExtractor, "ViTFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "ViTImageProcessor", "ViTImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "CLIPSegProcessor");
  plugin.model<CLIPSegModel>(Auto::Model);
  plugin.model<CLIPSegModel>(Auto::ForZeroShotImageClassification);
}

}  // namespace backplane::clipseg
