#pragma once

#include <array>
#include <vector>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "vision/processor_call.h"

// The orders of steps, one function for each; pipelines.cpp says which classes have it. A slow class and its fast twin
// share one where only the arithmetic differs, which Call knows.
namespace backplane::pipelines {

/// CLIP's steps on one picture.
Tensor shortest_or_exact_image(const Call& call, const Tensor& image);
/// The size that BaseImageProcessorFast.resize takes, by whichever keys there are.
Size base_fast_size(const SizeDict& size, Size image);

/// The size of DPT: `size`, in multiples, with the shape kept where asked for.
Size dpt_size(const Call& call, Size image);
/// Zeros around a picture up to multiples of size_divisor.
Tensor pad_to_divisor(const Call& call, const Tensor& image);

/// The picture in the middle of a square of a colour, in bytes.
Tensor pad_to_square(const Tensor& image, const std::vector<double>& color);
/// Pictures with alpha on white, in the arithmetic of Pillow's paste and of its alpha_composite.
Picture pasted_over_white(const Picture& picture);
Picture composed_over_white(const Picture& picture);
/// Idefics3's size: the longer edge to `longest`, the other one even, both at most 4096.
Size idefics3_size(Size image, int64_t longest);
/// Grey and palette pictures in RGB; those with alpha as they are.
Picture convert_plain(const Picture& picture);
/// The tiles of the resolution in the setting `name` that fits a picture best.
std::vector<Tensor> resolution_tiles(const Call& call, const Tensor& image, const char* name, int64_t tile);
/// SegGPT's colours of num_labels classes, the background first.
std::vector<std::array<int64_t, 3>> seg_gpt_palette(int64_t labels);
/// As Qwen2-VL's and GLM-4.1V's smart_resize.
Size qwen_size(Size image, int64_t factor, int64_t min_pixels, int64_t max_pixels);
Size glm_size(int64_t frames, Size image, int64_t temporal, int64_t factor, int64_t min_pixels, int64_t max_pixels);
/// frames [frames, channels, height, width] -> [patches, values] in the order of merged squares; `grid`: time, rows,
/// columns.
Tensor qwen_patches(Tensor frames, int64_t temporal, int64_t patch, int64_t merge, std::vector<int64_t>& grid);
/// Lists of pictures as one tensor with their pixel_attention_mask, padded to the largest size and number.
BatchFeature pad_lists(const Call& call, const std::vector<std::vector<Tensor>>& lists, Size largest, size_t most,
                       bool whole_masks = false);

// name, class or classes that it is the order of
BatchFeature exact(const Call& call);                     // ViT: height and width
BatchFeature exact_nested(const Call& call);              // the same for lists of lists too
BatchFeature shortest_or_exact(const Call& call);         // MobileNet: the shorter edge, or height and width
BatchFeature shortest_or_exact_nested(const Call& call);  // CLIP
BatchFeature chinese_clip(const Call& call);
BatchFeature conv_next(const Call& call);
BatchFeature efficient_net(const Call& call);
BatchFeature llava(const Call& call);
BatchFeature llava_next(const Call& call);
BatchFeature llava_onevision(const Call& call);
BatchFeature qwen2_vl(const Call& call);
BatchFeature glm4v(const Call& call);
BatchFeature pixtral(const Call& call);
BatchFeature got_ocr2(const Call& call);
BatchFeature gemma3(const Call& call);
BatchFeature janus(const Call& call);
BatchFeature idefics2(const Call& call);
BatchFeature vilt(const Call& call);
BatchFeature bridge_tower(const Call& call);
BatchFeature donut(const Call& call);
BatchFeature nougat(const Call& call);
BatchFeature depth_pro(const Call& call);
BatchFeature swin2sr(const Call& call);
BatchFeature vit_matte(const Call& call);
BatchFeature zoe_depth(const Call& call);
BatchFeature prompt_depth_anything(const Call& call);
BatchFeature super_point(const Call& call);
BatchFeature super_glue(const Call& call);
BatchFeature siglip2(const Call& call);
BatchFeature idefics(const Call& call);
BatchFeature idefics3(const Call& call);
BatchFeature sam(const Call& call);
BatchFeature seg_gpt(const Call& call);
BatchFeature image_gpt(const Call& call);
BatchFeature mllama(const Call& call);
BatchFeature emu3(const Call& call);
BatchFeature aria(const Call& call);
BatchFeature tvp(const Call& call);
BatchFeature tvlt(const Call& call);
BatchFeature flava(const Call& call);
BatchFeature fuyu(const Call& call);
BatchFeature pix2struct(const Call& call);
BatchFeature llama4(const Call& call);
BatchFeature phi4_multimodal(const Call& call);
BatchFeature owlv2(const Call& call);
BatchFeature timm_wrapper(const Call& call);
BatchFeature beit(const Call& call);
BatchFeature segformer(const Call& call);
BatchFeature dpt(const Call& call);
BatchFeature mobile_vit(const Call& call);
BatchFeature mask_former(const Call& call);
BatchFeature one_former(const Call& call);
BatchFeature detr(const Call& call);
BatchFeature yolos(const Call& call);
BatchFeature rt_detr(const Call& call);
BatchFeature chameleon(const Call& call);
BatchFeature layoutlmv2(const Call& call);
BatchFeature layoutlmv3(const Call& call);
BatchFeature levit(const Call& call);
BatchFeature perceiver(const Call& call);
BatchFeature pool_former(const Call& call);
BatchFeature text_net(const Call& call);
BatchFeature glpn(const Call& call);
BatchFeature video_mae(const Call& call);
BatchFeature vivit(const Call& call);
BatchFeature llava_next_video(const Call& call);
BatchFeature instruct_blip_video(const Call& call);
BatchFeature video_llava(const Call& call);

}  // namespace backplane::pipelines
