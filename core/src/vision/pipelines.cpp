#include "vision/pipelines.h"

namespace backplane {
namespace {

// Class names without their ending ImageProcessor or ImageProcessorFast.
struct Entry {
  std::string_view stem;
  Pipeline slow;
  Pipeline fast;  // of either null: there is none
};

using namespace pipelines;

constexpr Entry kEntries[] = {
    {"Aria", aria, nullptr},
    {"Beit", beit, beit},
    {"Bit", shortest_or_exact, shortest_or_exact},
    {"Blip", exact_nested, exact},
    {"BridgeTower", bridge_tower, bridge_tower},
    {"Chameleon", chameleon, nullptr},
    {"ChineseCLIP", chinese_clip, chinese_clip},
    {"CLIP", shortest_or_exact_nested, shortest_or_exact},
    {"ConditionalDetr", detr, detr},
    {"ConvNext", conv_next, conv_next},
    {"DeformableDetr", detr, detr},
    {"DeiT", exact, exact},
    {"DepthPro", depth_pro, depth_pro},
    {"Deta", detr, nullptr},
    {"Detr", detr, detr},
    {"Donut", donut, donut},
    {"DPT", dpt, dpt},
    {"EfficientFormer", exact, nullptr},
    {"EfficientNet", efficient_net, efficient_net},
    {"Emu3", emu3, nullptr},
    {"Flava", flava, flava},
    {"Fuyu", fuyu, nullptr},
    {"Gemma3", gemma3, gemma3},
    {"Glm4v", glm4v, glm4v},
    {"GLPN", glpn, nullptr},
    {"GotOcr2", got_ocr2, got_ocr2},
    {"GroundingDino", detr, detr},
    {"Idefics", idefics, nullptr},
    {"Idefics2", idefics2, idefics2},
    {"Idefics3", idefics3, idefics3},
    {"ImageGPT", image_gpt, nullptr},
    {"InstructBlipVideo", instruct_blip_video, nullptr},
    {"Janus", janus, nullptr},
    {"LayoutLMv2", layoutlmv2, layoutlmv2},
    {"LayoutLMv3", layoutlmv3, layoutlmv3},
    {"Levit", levit, levit},
    {"LightGlue", super_glue, nullptr},
    {"Llama4", nullptr, llama4},
    {"Llava", llava, llava},
    {"LlavaNext", llava_next, llava_next},
    {"LlavaNextVideo", llava_next_video, nullptr},
    {"LlavaOnevision", llava_onevision, llava_onevision},
    {"Mask2Former", mask_former, nullptr},
    {"MaskFormer", mask_former, nullptr},
    {"Mllama", mllama, nullptr},
    {"MobileNetV1", shortest_or_exact, shortest_or_exact},
    {"MobileNetV2", shortest_or_exact, shortest_or_exact},
    {"MobileViT", mobile_vit, nullptr},
    {"Nougat", nougat, nullptr},
    {"OneFormer", one_former, nullptr},
    {"Owlv2", owlv2, nullptr},
    {"OwlViT", exact, exact},
    {"Perceiver", perceiver, perceiver},
    {"Phi4Multimodal", nullptr, phi4_multimodal},
    {"Pix2Struct", pix2struct, nullptr},
    {"Pixtral", pixtral, pixtral},
    {"PoolFormer", pool_former, pool_former},
    {"PromptDepthAnything", prompt_depth_anything, nullptr},
    {"Pvt", exact, exact},
    {"Qwen2VL", qwen2_vl, qwen2_vl},
    {"RTDetr", rt_detr, rt_detr},
    {"Sam", sam, nullptr},
    {"Segformer", segformer, nullptr},
    {"SegGpt", seg_gpt, nullptr},
    {"Siglip", exact_nested, exact},
    {"Siglip2", siglip2, siglip2},
    {"SmolVLM", idefics3, idefics3},
    {"SuperGlue", super_glue, nullptr},
    {"SuperPoint", super_point, nullptr},
    {"Swin2SR", swin2sr, swin2sr},
    {"TextNet", text_net, nullptr},
    {"TimmWrapper", timm_wrapper, nullptr},
    {"Tvlt", tvlt, nullptr},
    {"Tvp", tvp, nullptr},
    {"VideoLlava", video_llava, nullptr},
    {"VideoMAE", video_mae, nullptr},
    {"Vilt", vilt, vilt},
    {"ViT", exact, exact},
    {"ViTHybrid", shortest_or_exact, nullptr},
    {"VitMatte", vit_matte, vit_matte},
    {"Vivit", vivit, nullptr},
    {"Yolos", yolos, yolos},
    {"ZoeDepth", zoe_depth, zoe_depth},
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
