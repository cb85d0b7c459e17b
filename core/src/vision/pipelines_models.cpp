// TVP, TVLT, FLAVA, Fuyu, Pix2Struct, Llama 4, Phi-4: each with a preparation of its own.

#include <algorithm>
#include <cmath>
#include <set>

#include "vision/pipelines.h"

namespace backplane::pipelines {
namespace {

double as_double(int64_t value) { return static_cast<double>(value); }

}  // namespace

// Clips, blue first, padded to pad_size below and on the right.
BatchFeature tvp(const Call& call) {
  call.validate();
  const Value* mode = call.find("pad_mode");
  if (call.flag("do_pad") && mode != nullptr && *mode != Value("constant"))
    throw_invalid(concat("pad_mode is ", mode->to_string(), "; expected \"constant\""));
  std::vector<Tensor> clips;
  for (const auto& frames : call.nested()) {
    const auto out = call.map(frames, [&](Tensor x) {
      if (call.flag("do_resize")) {
        const SizeDict size = call.size("size", SizeRule::shortest);
        if (size.exact()) {
          x = call.resize(x, {size.height, size.width});
        } else {
          if (size.longest_edge == 0) throw_invalid("size has neither longest_edge nor height and width");
          const double height = as_double(x.size(0)), width = as_double(x.size(1)),
                       longest = as_double(size.longest_edge);
          x = call.resize(x, height >= width
                                 ? Size{size.longest_edge, static_cast<int64_t>(longest * (width / height))}
                                 : Size{static_cast<int64_t>(longest * (height / width)), size.longest_edge});
        }
      }
      if (call.flag("do_center_crop")) x = call.center_crop(x, call.exact_size("crop_size"));
      x = call.finish(x);
      if (call.flag("do_pad")) {
        const Size pad = call.exact_size("pad_size");
        if (pad.height < x.size(0) || pad.width < x.size(1)) throw_invalid("a frame is larger than pad_size");
        x = pad_constant(x, 0, pad.height - x.size(0), 0, pad.width - x.size(1), call.number("constant_values"));
      }
      return call.flag("do_flip_channel_order") ? x.flip(-1) : x;
    });
    for (const auto& x : out) {
      if (x.sizes() != out.front().sizes()) throw_invalid("the frames of a clip have different sizes after processing");
    }
    clips.push_back(at::stack(out));
  }
  return {{{"pixel_values", call.stack(clips)}}};
}

// Clips with a mask of their patches.
BatchFeature tvlt(const Call& call) {
  call.validate();
  const auto clips = call.nested();
  const int64_t edge = call.size("size", SizeRule::shortest).shortest_edge;
  const auto patch = call.numbers("patch_size");
  if (edge == 0 || patch.empty() || patch[0] < 1) throw_invalid("size has no shortest_edge, or patch_size is below 1");
  const int64_t row = edge / static_cast<int64_t>(patch[0]), patches = row * row, most = call.integer("num_frames");
  int64_t longest = 0;
  for (const auto& clip : clips) {
    if (static_cast<int64_t>(clip.size()) > most)
      throw_invalid(concat("a clip of ", clip.size(), " frames is longer than num_frames, ", most));
    longest = std::max(longest, static_cast<int64_t>(clip.size()));
  }
  std::vector<std::vector<Tensor>> out;
  Tensor mask = at::zeros({static_cast<int64_t>(clips.size()), longest * patches}, at::kLong);
  for (size_t i = 0; i < clips.size(); ++i) {
    out.push_back(call.map(clips[i], [&](const Tensor& image) { return shortest_or_exact_image(call, image); }));
    mask[static_cast<int64_t>(i)].narrow(0, 0, static_cast<int64_t>(clips[i].size()) * patches).fill_(1);
  }
  const std::string end = call.flag("is_mixed") ? "_mixed" : "";
  return {{{"pixel_values" + end, call.stack(out)}, {"pixel_mask" + end, mask}}};
}

// The picture, and small once more for the codebook, whose values keep away from 0 and 1.
BatchFeature flava(const Call& call) {
  constexpr double kEpsilon = 0.1;
  if (call.flag("return_image_mask"))
    throw_invalid("return_image_mask is true; random masks are not made here, pass bool_masked_pos yourself");
  BatchFeature out = exact(call);
  if (!call.flag("return_codebook_pixels")) return out;
  out.items.emplace_back("codebook_pixel_values", call.stack(call.map(call.flat(call.fast), [&](Tensor x) {
    if (call.flag("codebook_do_resize"))
      x = call.resize(x, call.exact_size("codebook_size"), call.resample("codebook_resample"));
    if (call.flag("codebook_do_center_crop")) x = call.center_crop(x, call.exact_size("codebook_crop_size"));
    x = call.finish(x, "codebook_");
    return call.flag("codebook_do_map_pixels") ? x * (1 - 2 * kEpsilon) + kEpsilon : x;
  })));
  return out;
}

// Larger pictures are shrunk to fit, all are padded to the size; sizes and factors beside each.
BatchFeature fuyu(const Call& call) {
  call.validate();
  const Size size = call.exact_size();
  const Value* mode = call.find("padding_mode");
  if (mode != nullptr && *mode != Value("constant"))
    throw_invalid(concat("padding_mode is ", mode->to_string(), "; expected \"constant\""));
  Feature::List images, heights, widths, factors;
  const auto number = [&](Feature value, const Tensor& tensor) {
    return Feature::List{call.stacks() ? Feature(tensor) : std::move(value)};
  };
  for (const auto& list : call.nested()) {
    if (call.inputs.nesting == Nesting::nested && list.size() >= 2)
      throw_invalid("several pictures for one prompt; this class takes one");
    for (Tensor x : list) {
      const Size before = size_of(x);
      if (call.flag("do_resize") && (before.width > size.width || before.height > size.height)) {
        const double scale = std::min(as_double(size.height) / as_double(before.height),
                                      as_double(size.width) / as_double(before.width));
        x = call.resize(x,
                        {static_cast<int64_t>(as_double(before.height) * scale),
                         static_cast<int64_t>(as_double(before.width) * scale)},
                        Resample::bilinear);
      }
      const double factor = as_double(x.size(0)) / as_double(before.height);
      heights.emplace_back(number(x.size(0), at::full({}, x.size(0), at::kLong)));
      widths.emplace_back(number(x.size(1), at::full({}, x.size(1), at::kLong)));
      factors.emplace_back(number(factor, at::full({}, factor, at::kDouble)));
      if (call.flag("do_pad")) {
        if (size.height < x.size(0) || size.width < x.size(1))
          throw_invalid("the picture is larger than size; set do_resize");
        x = pad_constant(x, 0, size.height - x.size(0), 0, size.width - x.size(1), call.number("padding_value"));
      }
      images.emplace_back(Feature::List{call.order(call.finish(x))});
    }
  }
  return {{{"images", images},
           {"image_unpadded_heights", heights},
           {"image_unpadded_widths", widths},
           {"image_scale_factors", factors}}};
}

// Whitened by its own mean and deviation; patches with their row and column in front, [max_patches, 2 + values].
BatchFeature pix2struct(const Call& call) {
  if (call.flag("is_vqa"))
    throw Error(ErrorCode::missing_dependency,
                "is_vqa is true: the question is drawn above the picture, and there is no font here; draw it yourself "
                "and set is_vqa to false");
  const SizeDict patch = call.size("patch_size", SizeRule::square);
  const int64_t most = call.integer("max_patches");
  if (!patch.exact() || most < 1 || most > 1 << 16)
    throw_invalid("patch_size has no height and width, or max_patches is below 1 or too large");
  std::vector<Tensor> patches, masks;
  for (Tensor x : call.flat(false)) {
    if (call.flag("do_normalize")) {
      if (!x.is_floating_point()) x = x.to(at::kFloat);
      const double mean = x.mean().item<double>(), deviation = x.std(/*unbiased=*/false).item<double>();
      x = call.normalize(x, {mean}, {std::max(deviation, 1 / std::sqrt(as_double(x.numel())))});
    }
    const double height = as_double(x.size(0)), width = as_double(x.size(1));
    const double scale =
        std::sqrt(as_double(most) * (as_double(patch.height) / height) * (as_double(patch.width) / width));
    const auto count = [&](double edge, int64_t step) {
      return std::max<int64_t>(std::min(static_cast<int64_t>(std::floor(scale * edge / as_double(step))), most), 1);
    };
    const int64_t rows = count(height, patch.height), columns = count(width, patch.width);
    x = resize_torch(x, rows * patch.height, columns * patch.width, Resample::bilinear);
    const Tensor values = x.contiguous()
                              .view({rows, patch.height, columns, patch.width, x.size(2)})
                              .permute({0, 2, 1, 3, 4})
                              .reshape({rows * columns, -1})
                              .to(at::kFloat);
    const Tensor row = at::arange(1, rows + 1, at::kFloat).unsqueeze(1).expand({rows, columns}).reshape({-1, 1});
    const Tensor column = at::arange(1, columns + 1, at::kFloat).expand({rows, columns}).reshape({-1, 1});
    patches.push_back(at::constant_pad_nd(at::cat({row, column, values}, 1), {0, 0, 0, most - rows * columns}, 0));
    masks.push_back(patches.back().sum(-1).ne(0).to(at::kFloat));
  }
  return {{{"flattened_patches", call.stack(patches)}, {"attention_mask", call.stack(masks)}}};
}

// Up to max_patches tiles on the canvas that fits best, and the whole picture where there are several; in bfloat16.
BatchFeature llama4(const Call& call) {
  call.validate();
  const Size tile = call.exact_size();
  const int64_t most = call.integer("max_patches");
  if (tile.height != tile.width || most < 1 || most > 1024)
    throw_invalid("size is no square, or max_patches is not 1 to 1024");
  if (call.flag("resize_to_max_canvas"))
    throw_invalid("resize_to_max_canvas is true, which the reference does not go on with");
  std::vector<std::pair<double, std::vector<Size>>> by_shape;
  for (int64_t count = most; count > 0; --count) {
    for (int64_t rows = 1; rows <= count; ++rows) {
      if (count % rows != 0) continue;
      const double shape = as_double(rows) / as_double(count / rows);
      auto known = std::find_if(by_shape.begin(), by_shape.end(), [&](const auto& one) { return one.first == shape; });
      if (known == by_shape.end()) known = by_shape.insert(by_shape.end(), {shape, {}});
      known->second.push_back({rows * tile.height, count / rows * tile.width});
    }
  }
  std::vector<Size> possible;
  for (const auto& [shape, sizes] : by_shape) possible.insert(possible.end(), sizes.begin(), sizes.end());
  const bool rescales = call.flag("do_rescale"), normalizes = call.flag("do_normalize");
  const auto finished = [&](const Tensor& x) {
    if (rescales && normalizes)
      return call.normalize(x.to(at::kBFloat16) * call.number("rescale_factor"), call.numbers("image_mean"),
                            call.numbers("image_std"));
    if (rescales) return x * call.number("rescale_factor");
    if (!normalizes) return x;
    if (!x.is_floating_point()) throw_invalid("a picture of whole numbers is not normalized; set do_rescale");
    return call.normalize(x, call.numbers("image_mean"), call.numbers("image_std"));
  };
  std::vector<Tensor> pictures, ratios;
  for (const auto& image : call.flat()) {
    const Size from = size_of(image);
    std::vector<float> scales;
    for (const Size size : possible)
      scales.push_back(std::min(static_cast<float>(size.width) / static_cast<float>(from.width),
                                static_cast<float>(size.height) / static_cast<float>(from.height)));
    float chosen = INFINITY;
    for (const float scale : scales) {
      if (scale >= 1) chosen = std::min(chosen, scale);
    }
    if (chosen == INFINITY) chosen = *std::max_element(scales.begin(), scales.end());
    Size canvas;
    for (size_t i = 0; i < possible.size(); ++i) {
      if (scales[i] == chosen &&
          (canvas.height == 0 || possible[i].height * possible[i].width < canvas.height * canvas.width))
        canvas = possible[i];
    }
    const Size limit{std::min(std::max(from.height, tile.height), canvas.height),
                     std::min(std::max(from.width, tile.height), canvas.width)};
    const double by_width = as_double(limit.width) / as_double(from.width),
                 by_height = as_double(limit.height) / as_double(from.height);
    Size target = limit;
    if (by_width < by_height)
      target.height = std::min(static_cast<int64_t>(std::floor(as_double(from.height) * by_width)), limit.height);
    else
      target.width = std::min(static_cast<int64_t>(std::floor(as_double(from.width) * by_height)), limit.width);
    target = {std::max<int64_t>(target.height, 1), std::max<int64_t>(target.width, 1)};
    Tensor x = call.resize(image, target);
    x = finished(pad_constant(x, 0, canvas.height - target.height, 0, canvas.width - target.width));
    const int64_t rows = canvas.height / tile.height, columns = canvas.width / tile.width, channels = x.size(2);
    x = x.contiguous()
            .view({rows, tile.height, columns, tile.width, channels})
            .permute({0, 2, 4, 1, 3})
            .reshape({rows * columns, channels, tile.height, tile.width});
    if (rows * columns > 1) x = at::cat({x, finished(call.resize(image, tile)).permute({2, 0, 1}).unsqueeze(0)});
    pictures.push_back(x);
    ratios.push_back(at::tensor({rows, columns}, at::kLong));
  }
  if (!call.stacks()) return {{{"pixel_values", pictures}, {"aspect_ratios", ratios}}};
  return {{{"pixel_values", at::cat(pictures)}, {"aspect_ratios", at::stack(ratios)}}};
}

// Tiles of the picture on white, the whole picture before them, and which of their patches are real.
BatchFeature phi4_multimodal(const Call& call) {
  call.validate();
  const Size tile = call.exact_size();
  const int64_t patch = call.integer("patch_size"), most = call.integer("dynamic_hd"), edge = tile.height;
  if (tile.height != tile.width || patch < 1 || most < 1 || most > 1024)
    throw_invalid("size is no square, patch_size is below 1, or dynamic_hd is not 1 to 1024");
  const int64_t side = edge / patch;
  std::vector<Tensor> images, masks, sizes;
  std::vector<int64_t> tokens;
  int64_t crops = 0;
  for (const auto& image : call.flat()) {
    const int64_t height = image.size(0), width = image.size(1);
    int64_t columns = (width + edge - 1) / edge, rows = (height + edge - 1) / edge;
    if (columns * rows > most) {
      const double shape = as_double(width) / as_double(height);
      std::set<std::pair<int64_t, int64_t>> unique;
      for (int64_t i = 1; i <= most; ++i) {
        for (int64_t j = 1; i * j <= most; ++j) unique.emplace(i, j);
      }
      std::vector<std::pair<int64_t, int64_t>> ratios(unique.begin(), unique.end());
      std::stable_sort(ratios.begin(), ratios.end(),
                       [](const auto& a, const auto& b) { return a.first * a.second < b.first * b.second; });
      double nearest = INFINITY;
      std::pair<int64_t, int64_t> best{1, 1};
      for (const auto& ratio : ratios) {
        const double distance = std::abs(shape - as_double(ratio.first) / as_double(ratio.second));
        if (distance < nearest) {
          nearest = distance;
          best = ratio;
        } else if (distance == nearest &&
                   as_double(width * height) > 0.5 * as_double(edge * edge * ratio.first * ratio.second)) {
          best = ratio;
        }
      }
      columns = best.first, rows = best.second;
    }
    const int64_t target_width = edge * columns, target_height = edge * rows;
    const double by_width = as_double(target_width) / as_double(width),
                 by_height = as_double(target_height) / as_double(height);
    Size inner{target_height, target_width};
    if (by_width < by_height)
      inner.height = static_cast<int64_t>(as_double(height) * by_width);
    else
      inner.width = static_cast<int64_t>(as_double(width) * by_height);
    if (std::min(inner.height, inner.width) < 10)
      throw_invalid(concat("a picture of ", width, " x ", height, " pixels is too long for its width"));
    Tensor mask = at::ones({side * rows, side * columns}, at::kFloat);
    const int64_t blank_columns = (target_width - inner.width) / patch,
                  blank_rows = (target_height - inner.height) / patch;
    if (blank_columns > 0)
      mask.narrow(1, std::max<int64_t>(mask.size(1) - blank_columns, 0), std::min(blank_columns, mask.size(1))).zero_();
    if (blank_rows > 0)
      mask.narrow(0, std::max<int64_t>(mask.size(0) - blank_rows, 0), std::min(blank_rows, mask.size(0))).zero_();
    Tensor x = call.resize(image, inner, Resample::bilinear);
    x = call.finish(pad_constant(x, 0, target_height - inner.height, 0, target_width - inner.width, 255));
    const Tensor whole = resize_torch(x, edge, edge, call.resample(), false).permute({2, 0, 1}).unsqueeze(0);
    const Tensor parts = x.contiguous()
                             .view({rows, edge, columns, edge, x.size(2)})
                             .permute({0, 2, 4, 1, 3})
                             .reshape({rows * columns, x.size(2), edge, edge});
    const Tensor part_masks = mask.view({rows, side, columns, side}).transpose(1, 2).reshape({-1, side, side});
    const Tensor half = part_masks.slice(1, 0, side, 2).slice(2, 0, side, 2);
    const Tensor low = half.reshape({rows, columns, half.size(1), half.size(2)})
                           .transpose(1, 2)
                           .reshape({rows * half.size(1), columns * half.size(2)});
    tokens.push_back(256 + 1 + low.sum().item<int64_t>() + low.select(1, 0).sum().item<int64_t>() + 16);
    images.push_back(at::cat({whole, parts}));
    masks.push_back(at::cat({at::ones({1, side, side}, at::kFloat), part_masks}));
    sizes.push_back(at::tensor({target_height, target_width}, at::kLong));
    crops = std::max(crops, images.back().size(0));
  }
  for (size_t i = 0; i < images.size(); ++i) {
    const int64_t missing = crops - images[i].size(0);
    images[i] = at::constant_pad_nd(images[i], {0, 0, 0, 0, 0, 0, 0, missing}, 0);
    masks[i] = at::constant_pad_nd(masks[i], {0, 0, 0, 0, 0, missing}, 1);
  }
  return {{{"image_pixel_values", at::stack(images)},
           {"image_sizes", at::stack(sizes)},
           {"image_attention_mask", at::stack(masks)},
           {"num_img_tokens", call.numbers_feature(tokens)}}};
}

}  // namespace backplane::pipelines
