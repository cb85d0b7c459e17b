// LLaVA: Liu et al. 2023, https://arxiv.org/abs/2304.08485
// The patches of a vision tower, mapped by two linear layers, stand where the prompt has image tokens; any vision tower
// and any language model. Reference: transformers, models/llava/modeling_llava.py

#include "modeling_llava.h"

namespace backplane::llava {

struct LlavaModel : LlavaModelOf<LlavaConfig, LlavaMultiModalProjector> {
  using LlavaModelOf::LlavaModelOf;

  // [all patches of all images, hidden]
  Tensor image_features(const Tensor& pixel_values, const ModelInputs& inputs) override {
    return projected(pixel_values, inputs).flatten(0, 1);
  }
};

struct LlavaForConditionalGeneration : LlavaHead<LlavaModel> {
  using LlavaHead::LlavaHead;
};

BACKPLANE_PLUGIN(llava, plugin) {
  plugin.config<LlavaConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "LlavaImageProcessor", "LlavaImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "LlavaProcessor");
  plugin.model<LlavaModel>(Auto::Model);
  plugin.model<LlavaForConditionalGeneration>(Auto::ForPreTraining);
  plugin.model<LlavaForConditionalGeneration>(Auto::ForVision2Seq);
  plugin.model<LlavaForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::llava
