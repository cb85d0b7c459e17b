// LLaVA-NeXT: Liu et al. 2024, https://llava-vl.github.io/blog/2024-01-30-llava-next
// LLaVA except: an image is seen whole and in tiles, and an embedding of its own ends each line of the tiles.
// Reference: transformers, models/llava_next/modeling_llava_next.py

#include "modeling_llava_next.h"

namespace backplane::llava_next {

struct LlavaNextModel : TiledModel<LlavaNextConfig> {
  using TiledModel::TiledModel;
};

struct LlavaNextForConditionalGeneration : llava::LlavaHead<LlavaNextModel> {
  using LlavaHead::LlavaHead;
};

BACKPLANE_PLUGIN(llava_next, plugin) {
  plugin.config<LlavaNextConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "LlavaNextImageProcessor", "LlavaNextImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "LlavaNextProcessor");
  plugin.model<LlavaNextModel>(Auto::Model);
  plugin.model<LlavaNextForConditionalGeneration>(Auto::ForPreTraining);
  plugin.model<LlavaNextForConditionalGeneration>(Auto::ForVision2Seq);
  plugin.model<LlavaNextForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::llava_next
