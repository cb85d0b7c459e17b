// Classes that pad: to batches (ViLT, BridgeTower), to pages (Donut, Nougat), to multiples (Swin2SR, ViTMatte), and
// depth and keypoint models.

#include <algorithm>
#include <cmath>

#include "vision/pipelines.h"

namespace backplane::pipelines {
namespace {

double as_double(int64_t value) { return static_cast<double>(value); }

std::vector<Tensor> rgb_pictures(const Call& call) {
  std::vector<Tensor> out;
  for (const auto& list : call.inputs.images) {
    for (const auto& picture : list) {
      const auto* image = std::get_if<Image>(&picture);
      out.push_back(call.array(image != nullptr ? Picture(convert_to_rgb(*image)) : picture));
    }
  }
  if (out.empty()) throw_invalid("no picture; expected one or a list of them");
  return out;
}

// Index of each pixel of a padded edge; `repeat_edge`: the mirror stands behind the last pixel, not on it.
Tensor mirrored(int64_t size, int64_t before, int64_t after, bool repeat_edge) {
  const int64_t period = repeat_edge ? 2 * size : std::max<int64_t>(2 * (size - 1), 1);
  std::vector<int64_t> index;
  for (int64_t i = -before; i < size + after; ++i) {
    int64_t at = ((i % period) + period) % period;
    if (at >= size) at = repeat_edge ? period - 1 - at : period - at;
    index.push_back(size == 1 ? 0 : at);
  }
  return at::tensor(index, at::kLong);
}

Tensor pad_mirrored(const Tensor& x, int64_t top, int64_t bottom, int64_t left, int64_t right, bool repeat_edge) {
  return x.index_select(0, mirrored(x.size(0), top, bottom, repeat_edge))
      .index_select(1, mirrored(x.size(1), left, right, repeat_edge));
}

// ViLT's: the shorter edge to `shortest`, the longer to at most 1333/800 of it, both cut to multiples.
Size vilt_size(const Call& call, Size image) {
  const int64_t shortest = call.size("size", SizeRule::shortest).shortest_edge, divisor = call.integer("size_divisor");
  if (shortest == 0) throw_invalid("size has no shortest_edge");
  if (divisor < 1) throw_invalid(concat("size_divisor is ", divisor, "; expected 1 or more"));
  const auto longest = static_cast<double>(static_cast<int64_t>(1333.0 / 800 * as_double(shortest)));
  double height = as_double(shortest), width = as_double(shortest);
  const double scale = as_double(shortest) / as_double(std::min(image.height, image.width));
  if (image.height < image.width)
    width = scale * as_double(image.width);
  else
    height = scale * as_double(image.height);
  if (std::max(height, width) > longest) {
    const double less = longest / std::max(height, width);
    height *= less;
    width *= less;
  }
  return {static_cast<int64_t>(height + 0.5) / divisor * divisor,
          static_cast<int64_t>(width + 0.5) / divisor * divisor};
}

// Pictures padded below and on the right to the largest of them; true masks unless `all_ones`.
BatchFeature pad_batch(const Call& call, std::vector<Tensor> images, bool all_ones, bool mask_first) {
  Size largest;
  for (const auto& x : images) largest = {std::max(largest.height, x.size(0)), std::max(largest.width, x.size(1))};
  std::vector<Tensor> masks;
  for (auto& x : images) {
    Tensor mask = at::zeros({largest.height, largest.width}, at::kLong);
    if (all_ones)
      mask.fill_(1);
    else
      mask.narrow(0, 0, x.size(0)).narrow(1, 0, x.size(1)).fill_(1);
    masks.push_back(mask);
    x = call.order(pad_constant(x, 0, largest.height - x.size(0), 0, largest.width - x.size(1)));
  }
  if (mask_first) return {{{"pixel_mask", call.stack(masks)}, {"pixel_values", call.stack(images)}}};
  return {{{"pixel_values", call.stack(images)}, {"pixel_mask", call.stack(masks)}}};
}

BatchFeature ordered(const Call& call, std::vector<Tensor> images) {
  for (auto& x : images) x = call.order(x);
  return {{{"pixel_values", call.stack(images)}}};
}

}  // namespace

BatchFeature vilt(const Call& call) {
  call.validate();
  auto images = call.flat(call.fast);
  for (auto& x : images) x = call.finish(call.flag("do_resize") ? call.resize(x, vilt_size(call, size_of(x))) : x);
  return call.flag("do_pad") ? pad_batch(call, images, false, false) : ordered(call, images);
}

// ViLT's sizes and a square crop.
BatchFeature bridge_tower(const Call& call) {
  call.validate(/*crops=*/false);
  auto images = call.flat();
  for (auto& x : images) {
    if (call.flag("do_resize")) x = call.resize(x, vilt_size(call, size_of(x)));
    if (call.flag("do_center_crop")) {
      const char* name = call.find("crop_size") != nullptr ? "crop_size" : "size";
      int64_t edge = call.size(name, SizeRule::shortest).shortest_edge;
      if (edge == 0) throw_invalid(concat(name, " has no shortest_edge"));
      // The fast class does not fall back on size.
      if (call.fast && call.find("crop_size") == nullptr) edge = 288;
      x = call.center_crop(x, {edge, edge});
    }
    x = call.finish(x);
  }
  return call.flag("do_pad") ? pad_batch(call, images, call.fast, call.fast) : ordered(call, images);
}

namespace {

// Donut's page: turned as the page is, fitted, in the middle of it.
Tensor page(const Call& call, Tensor x) {
  const Size size = call.exact_size();
  if (call.flag("do_align_long_axis") &&
      ((size.width < size.height && x.size(1) > x.size(0)) || (size.width > size.height && x.size(1) < x.size(0))))
    x = x.rot90(3, {0, 1}).contiguous();
  if (call.flag("do_resize")) x = call.resize(x, shortest_edge_size(size_of(x), std::min(size.height, size.width)));
  if (call.flag("do_thumbnail")) {
    const Size from = size_of(x);
    Size to{std::min(from.height, size.height), std::min(from.width, size.width)};
    if (to != from) {
      if (from.height > from.width)
        to.width = static_cast<int64_t>(as_double(from.width * to.height) / as_double(from.height));
      else if (from.width > from.height)
        to.height = static_cast<int64_t>(as_double(from.height * to.width) / as_double(from.width));
      x = call.fast ? call.resize(x, to, Resample::bicubic) : call.resize_with_gap(x, to, Resample::bicubic, 2);
    }
  }
  if (call.flag("do_pad")) {
    const int64_t rows = size.height - x.size(0), columns = size.width - x.size(1);
    if (!call.fast && (rows < 0 || columns < 0))
      throw_invalid("the picture is larger than size, so it cannot be padded to it; set do_thumbnail");
    const auto half = [](int64_t value) { return value >= 0 ? value / 2 : -((-value + 1) / 2); };
    x = pad_constant(x, half(rows), rows - half(rows), half(columns), columns - half(columns));
  }
  if (call.fast && call.flag("do_center_crop")) x = call.center_crop(x, call.exact_size("crop_size"));
  return call.finish(x);
}

// The rectangle of all that is darker than a threshold between the darkest and the lightest pixel.
Tensor crop_margin(const Call& call, const Tensor& given) {
  constexpr double kThreshold = 200;
  const Tensor image = call.bytes(given).contiguous();
  if (image.size(2) != 3) throw_invalid("do_crop_margin needs RGB");
  const int64_t count = image.size(0) * image.size(1);
  std::vector<uint8_t> grey(static_cast<size_t>(count));
  const auto* pixel = image.const_data_ptr<uint8_t>();
  for (int64_t i = 0; i < count; ++i)
    grey[static_cast<size_t>(i)] = static_cast<uint8_t>(
        (pixel[3 * i] * 19595 + pixel[3 * i + 1] * 38470 + pixel[3 * i + 2] * 7471 + 0x8000) >> 16);
  const auto [low, high] = std::minmax_element(grey.begin(), grey.end());
  const int least = *low, most = *high;
  if (least == most) return image;
  int64_t top = image.size(0), bottom = -1, left = image.size(1), right = -1;
  for (int64_t i = 0; i < count; ++i) {
    if ((grey[static_cast<size_t>(i)] - least) / static_cast<double>(most - least) * 255 >= kThreshold) continue;
    const int64_t y = i / image.size(1), x = i % image.size(1);
    top = std::min(top, y), bottom = std::max(bottom, y), left = std::min(left, x), right = std::max(right, x);
  }
  return image.slice(0, top, bottom + 1).slice(1, left, right + 1).contiguous();
}

}  // namespace

BatchFeature donut(const Call& call) {
  call.validate();
  if (!call.fast && call.inputs.nesting == Nesting::nested)
    throw_invalid("pictures in lists of lists; expected one picture or a list of them");
  return {{{"pixel_values", call.stack(call.map(call.fast ? call.flat() : rgb_pictures(call),
                                                [&](const Tensor& image) { return page(call, image); }))}}};
}

BatchFeature nougat(const Call& call) {
  return pixel_values(
      call,
      [&](const Tensor& image) { return page(call, call.flag("do_crop_margin") ? crop_margin(call, image) : image); },
      false);
}

// Normalized first, then resized without antialiasing.
BatchFeature depth_pro(const Call& call) {
  return pixel_values(
      call,
      [&](const Tensor& image) {
        const Tensor x = call.finish(image);
        if (!call.flag("do_resize")) return x;
        const Size size = call.exact_size();
        return resize_torch(x, size.height, size.width, call.resample(), false);
      },
      call.fast);
}

// Mirrored below and on the right to the next multiple of pad_size, of whole multiples too.
BatchFeature swin2sr(const Call& call) {
  call.channels_last();
  return {{{"pixel_values", call.stack(call.map(call.flat(call.fast), [&](const Tensor& image) {
              Tensor x = call.flag("do_rescale") ? call.rescale(image, call.number("rescale_factor")) : image;
              if (!call.flag("do_pad")) return x;
              const int64_t step = call.integer("pad_size");
              if (step < 1 || step > 4096) throw_invalid(concat("pad_size is ", step, "; expected 1 to 4096"));
              return pad_mirrored(x, 0, (x.size(0) / step + 1) * step - x.size(0), 0,
                                  (x.size(1) / step + 1) * step - x.size(1), true);
            }))}}};
}

// The trimap is the fourth channel.
BatchFeature vit_matte(const Call& call) {
  call.validate();
  auto images = call.flat(call.fast);
  if (call.inputs.trimaps.size() != images.size())
    throw_invalid(concat(call.inputs.trimaps.size(), " trimaps for ", images.size(), " pictures"));
  const int64_t step = call.integer("size_divisibility");
  if (step < 1 || step > 4096) throw_invalid(concat("size_divisibility is ", step, "; expected 1 to 4096"));
  for (size_t i = 0; i < images.size(); ++i) {
    Tensor& x = images[i];
    Tensor map = call.inputs.trimaps[i];
    if (map.dim() != 2 || map.size(0) != x.size(0) || map.size(1) != x.size(1))
      throw_invalid("a trimap is not of its picture's size");
    if (call.flag("do_rescale")) map = call.rescale(map, call.number("rescale_factor"));
    x = at::cat({call.finish(x), map.unsqueeze(2)}, 2);
    if (call.flag("do_pad"))
      x = pad_constant(x, 0, (step - x.size(0) % step) % step, 0, (step - x.size(1) % step) % step);
  }
  return ordered(call, images);
}

// Mirrored around first; resized with the corners aligned.
BatchFeature zoe_depth(const Call& call) {
  return pixel_values(
      call,
      [&](const Tensor& image) {
        Tensor x = call.flag("do_rescale") ? call.rescale(image, call.number("rescale_factor")) : image;
        if (call.flag("do_pad")) {
          const auto margin = [](int64_t size) { return static_cast<int64_t>(std::sqrt(as_double(size) / 2) * 3); };
          const int64_t rows = margin(x.size(0)), columns = margin(x.size(1));
          x = pad_mirrored(x, rows, rows, columns, columns, false);
        }
        if (call.flag("do_resize")) {
          const Size size = call.exact_size();
          const double multiple = call.number("ensure_multiple_of");
          if (!(multiple > 0)) throw_invalid("ensure_multiple_of is not above 0");
          double by_height = as_double(size.height) / as_double(x.size(0)),
                 by_width = as_double(size.width) / as_double(x.size(1));
          if (call.flag("keep_aspect_ratio")) {
            if (std::abs(1 - by_width) < std::abs(1 - by_height))
              by_height = by_width;
            else
              by_width = by_height;
          }
          const auto snapped = [&](double edge) {
            return static_cast<int64_t>(std::nearbyint(edge / multiple) * multiple);
          };
          const std::array<int64_t, 2> to{snapped(by_height * as_double(x.size(0))),
                                          snapped(by_width * as_double(x.size(1)))};
          if (to[0] < 1 || to[1] < 1 || to[0] > 1 << 16 || to[1] > 1 << 16)
            throw_invalid("size and ensure_multiple_of give an impossible size");
          const Tensor batch = x.permute({2, 0, 1}).unsqueeze(0).contiguous();
          if (call.resample() == Resample::bilinear)
            x = at::upsample_bilinear2d(batch, to, true);
          else if (call.resample() == Resample::bicubic)
            x = at::upsample_bicubic2d(batch, to, true);
          else
            throw_invalid(concat("resample is ", static_cast<int64_t>(call.resample()),
                                 "; expected 2 (bilinear) or 3 (bicubic)"));
          x = x.squeeze(0).permute({1, 2, 0});
        }
        if (!call.flag("do_normalize")) return x;
        if (call.fast && !x.is_floating_point())
          throw_invalid("a picture of whole numbers is not normalized; set do_rescale");
        return call.normalize(x, call.numbers("image_mean"), call.numbers("image_std"));
      },
      call.fast);
}

// DPT's steps, and a measured depth in metres.
BatchFeature prompt_depth_anything(const Call& call) {
  BatchFeature out = pixel_values(
      call,
      [&](const Tensor& image) {
        const Tensor x =
            call.finish(call.flag("do_resize") ? call.resize(image, dpt_size(call, size_of(image))) : image);
        return call.flag("do_pad") ? pad_to_divisor(call, x) : x;
      },
      false);
  if (call.inputs.prompt_depth.empty()) return out;
  size_t pictures = 0;
  for (const auto& list : call.inputs.images) pictures += list.size();
  if (call.inputs.prompt_depth.size() != pictures)
    throw_invalid(concat(call.inputs.prompt_depth.size(), " depths for ", pictures, " pictures"));
  std::vector<Tensor> depths;
  for (const auto& depth : call.inputs.prompt_depth) {
    if (depth.dim() != 2) throw_invalid(concat("a depth of ", depth.dim(), " dimensions; expected height and width"));
    Tensor metres = depth * call.number("prompt_scale_to_meter");
    if (metres.min().eq(metres.max()).item<bool>()) metres[0][0] += 1e-6;
    depths.push_back(call.order(metres.to(at::kFloat).unsqueeze(2)));
  }
  out.items.emplace_back("prompt_depth", call.stack(depths));
  return out;
}

namespace {

Tensor keypoint_image(const Call& call, Tensor x, Resample filter) {
  if (call.flag("do_resize")) x = call.resize(x, call.exact_size(), filter);
  if (call.flag("do_rescale")) x = call.rescale(x, call.number("rescale_factor"));
  if (!call.flag("do_grayscale") || x.size(2) == 1) return x;
  const Tensor red = x.select(2, 0), green = x.select(2, 1), blue = x.select(2, 2);
  if (red.eq(green).all().item<bool>() && green.eq(blue).all().item<bool>()) return x;
  const auto part = [&](const Tensor& channel, double weight) {
    return (x.is_floating_point() ? channel : channel.to(at::kDouble)) * weight;
  };
  return (part(red, 0.2989) + part(green, 0.587) + part(blue, 0.114)).unsqueeze(2).expand({-1, -1, 3});
}

}  // namespace

BatchFeature super_point(const Call& call) {
  call.channels_last();
  return {{{"pixel_values", call.stack(call.map(call.flat(false), [&](const Tensor& image) {
              return keypoint_image(call, image, Resample::bilinear);
            }))}}};
}

// Pictures two by two: [pairs, 2, channels, height, width].
BatchFeature super_glue(const Call& call) {
  call.validate();
  std::vector<Tensor> images;
  for (const auto& list : call.nested()) {
    if (list.size() != 2) throw_invalid(concat(list.size(), " pictures; expected a pair, or a list of pairs"));
    images.insert(images.end(), list.begin(), list.end());
  }
  images = call.map(images, [&](const Tensor& image) { return keypoint_image(call, image, call.resample()); });
  std::vector<std::vector<Tensor>> pairs;
  for (size_t i = 0; i + 1 < images.size(); i += 2) pairs.push_back({images[i], images[i + 1]});
  return {{{"pixel_values", call.stack(pairs)}}};
}

// NaFlex: as many whole patches as fit, [max_num_patches, values], and which of them are real.
BatchFeature siglip2(const Call& call) {
  call.channels_last();
  const int64_t patch = call.integer("patch_size"), most = call.integer("max_num_patches");
  if (patch < 1 || patch > 4096 || most < 1 || most > 1 << 16)
    throw_invalid("patch_size or max_num_patches is below 1 or too large");
  std::vector<Tensor> values, masks;
  std::vector<std::vector<int64_t>> shapes;
  for (Tensor x : call.flat()) {
    if (call.flag("do_resize")) {
      const auto edge = [&](double scale, int64_t size) {
        const double step = as_double(patch);
        return static_cast<int64_t>(std::max(step, std::ceil(as_double(size) * scale / step) * step));
      };
      double low = 1e-5 / 10, high = 100;
      while (high - low >= 1e-5) {
        const double scale = (low + high) / 2;
        const double count = as_double(edge(scale, x.size(0))) / as_double(patch) *
                             (as_double(edge(scale, x.size(1))) / as_double(patch));
        (count <= as_double(most) ? low : high) = scale;
      }
      x = call.resize(x, {edge(low, x.size(0)), edge(low, x.size(1))});
    }
    x = call.finish(x);
    const int64_t rows = x.size(0) / patch, columns = x.size(1) / patch, channels = x.size(2);
    if (rows * patch != x.size(0) || columns * patch != x.size(1))
      throw_invalid(concat("a picture of ", x.size(1), " x ", x.size(0), " pixels has no whole patches of ", patch,
                           "; set do_resize"));
    const Tensor patches = x.contiguous()
                               .view({rows, patch, columns, patch, channels})
                               .permute({0, 2, 1, 3, 4})
                               .reshape({rows * columns, patch * patch * channels});
    const int64_t missing = std::max<int64_t>(most - rows * columns, 0);
    Tensor mask = at::ones({most}, at::kInt);
    if (missing > 0) mask.narrow(0, most - missing, missing).zero_();
    values.push_back(at::constant_pad_nd(patches, {0, 0, 0, missing}, 0));
    masks.push_back(mask);
    shapes.push_back({rows, columns});
  }
  if (!call.fast)
    return {{{"pixel_values", call.stack(values)},
             {"pixel_attention_mask", call.stack(masks)},
             {"spatial_shapes", call.rows(shapes)}}};
  std::vector<Tensor> rows;
  for (const auto& shape : shapes) rows.push_back(at::tensor(shape, at::kLong));
  return {{{"pixel_values", at::stack(values)},
           {"pixel_attention_mask", at::stack(masks)},
           {"spatial_shapes", at::stack(rows)}}};
}

}  // namespace backplane::pipelines
