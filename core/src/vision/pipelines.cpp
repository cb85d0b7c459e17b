#include "vision/pipelines.h"

namespace backplane {
namespace {

// Class names without their ending ImageProcessor or ImageProcessorFast.
struct Entry {
  std::string_view stem;
  Pipeline slow;
  Pipeline fast;  // null: there is none
};

using namespace pipelines;

constexpr Entry kEntries[] = {
    {"Bit", shortest_or_exact, shortest_or_exact},
    {"Blip", exact_nested, exact},
    {"CLIP", shortest_or_exact_nested, shortest_or_exact},
    {"Chameleon", chameleon, nullptr},
    {"ChineseCLIP", chinese_clip, chinese_clip},
    {"ConvNext", conv_next, conv_next},
    {"DeiT", exact, exact},
    {"EfficientFormer", exact, nullptr},
    {"EfficientNet", efficient_net, efficient_net},
    {"GLPN", glpn, nullptr},
    {"InstructBlipVideo", instruct_blip_video, nullptr},
    {"LayoutLMv2", layoutlmv2, layoutlmv2},
    {"LayoutLMv3", layoutlmv3, layoutlmv3},
    {"Levit", levit, levit},
    {"LlavaNextVideo", llava_next_video, nullptr},
    {"MobileNetV1", shortest_or_exact, shortest_or_exact},
    {"MobileNetV2", shortest_or_exact, shortest_or_exact},
    {"Perceiver", perceiver, perceiver},
    {"PoolFormer", pool_former, pool_former},
    {"Pvt", exact, exact},
    {"Siglip", exact_nested, exact},
    {"TextNet", text_net, nullptr},
    {"ViT", exact, exact},
    {"ViTHybrid", shortest_or_exact, nullptr},
    {"VideoLlava", video_llava, nullptr},
    {"VideoMAE", video_mae, nullptr},
    {"Vivit", vivit, nullptr},
    {"ConditionalDetr", detr, detr},
    {"DeformableDetr", detr, detr},
    {"Detr", detr, detr},
    {"GroundingDino", detr, detr},
    {"Yolos", yolos, yolos},
    {"RTDetr", rt_detr, rt_detr},
    {"Deta", detr, nullptr},
    {"Beit", beit, beit},
    {"Segformer", segformer, nullptr},
    {"DPT", dpt, dpt},
    {"MobileViT", mobile_vit, nullptr},
    {"MaskFormer", mask_former, nullptr},
    {"Mask2Former", mask_former, nullptr},
    {"OneFormer", one_former, nullptr},
    {"Llava", llava, llava},
    {"LlavaNext", llava_next, llava_next},
    {"LlavaOnevision", llava_onevision, llava_onevision},
    {"Qwen2VL", qwen2_vl, qwen2_vl},
    {"Glm4v", glm4v, glm4v},
    {"Pixtral", pixtral, pixtral},
    {"GotOcr2", got_ocr2, got_ocr2},
    {"Gemma3", gemma3, gemma3},
    {"Janus", janus, nullptr},
    {"Idefics2", idefics2, idefics2},
    {"OwlViT", exact, exact},
    {"Vilt", vilt, vilt},
    {"BridgeTower", bridge_tower, bridge_tower},
    {"Donut", donut, donut},
    {"Nougat", nougat, nullptr},
    {"DepthPro", depth_pro, depth_pro},
    {"Swin2SR", swin2sr, swin2sr},
    {"VitMatte", vit_matte, vit_matte},
    {"ZoeDepth", zoe_depth, zoe_depth},
    {"PromptDepthAnything", prompt_depth_anything, nullptr},
    {"SuperPoint", super_point, nullptr},
    {"SuperGlue", super_glue, nullptr},
    {"LightGlue", super_glue, nullptr},
    {"Siglip2", siglip2, siglip2},
};

}  // namespace

Pipeline find_pipeline(std::string_view class_name) {
  constexpr std::string_view kSlow = "ImageProcessor", kFast = "ImageProcessorFast";
  const bool fast = class_name.ends_with(kFast);
  if (!fast && !class_name.ends_with(kSlow)) return nullptr;
  class_name.remove_suffix(fast ? kFast.size() : kSlow.size());
  for (const auto& entry : kEntries) {
    if (entry.stem == class_name) return fast ? entry.fast : entry.slow;
  }
  return nullptr;
}

}  // namespace backplane
