// Classes that resize, crop, rescale and normalize; each function is the order of one of them, and says who else has
// it.

#include <algorithm>
#include <cmath>

#include "vision/pipelines.h"

namespace backplane::pipelines {
namespace {

// The size of BaseImageProcessorFast.resize: whichever keys there are.
Size fast_size(const SizeDict& size, Size image) {
  if (size.shortest_edge != 0 && size.longest_edge != 0)
    return aspect_ratio_size(image, size.shortest_edge, size.longest_edge);
  if (size.shortest_edge != 0) return shortest_edge_size(image, size.shortest_edge);
  if (size.max_height != 0) return max_size(image, size.max_height, size.max_width);
  if (size.exact()) return {size.height, size.width};
  throw_invalid("size has neither height and width, shortest_edge, nor max_height and max_width");
}

Size shortest_or_exact_size(const Call& call, Size image) {
  const SizeDict size = call.size("size", SizeRule::shortest);
  if (call.fast) return fast_size(size, image);
  if (size.shortest_edge != 0) return shortest_edge_size(image, size.shortest_edge);
  if (size.exact()) return {size.height, size.width};
  throw_invalid("size has neither shortest_edge nor height and width");
}

Size plain_size(const Call& call, Size image) { return call.fast ? fast_size(call.size(), image) : call.exact_size(); }

Tensor plain(const Call& call, Tensor x, Size (*target)(const Call&, Size)) {
  if (call.flag("do_resize")) x = call.resize(x, target(call, size_of(x)));
  if (call.flag("do_center_crop")) x = call.center_crop(x, call.exact_size("crop_size"));
  return call.finish(x);
}

Tensor flip_channels(const Tensor& x) { return x.flip(-1); }

}  // namespace

Tensor shortest_or_exact_image(const Call& call, const Tensor& image) {
  return plain(call, image, shortest_or_exact_size);
}
Size base_fast_size(const SizeDict& size, Size image) { return fast_size(size, image); }

BatchFeature exact(const Call& call) {
  return pixel_values(
      call, [&](const Tensor& image) { return plain(call, image, plain_size); }, call.fast);
}

BatchFeature exact_nested(const Call& call) {
  return pixel_values(call, [&](const Tensor& image) { return plain(call, image, plain_size); });
}

BatchFeature shortest_or_exact(const Call& call) {
  return pixel_values(
      call, [&](const Tensor& image) { return shortest_or_exact_image(call, image); }, call.fast);
}

BatchFeature shortest_or_exact_nested(const Call& call) {
  return pixel_values(call, [&](const Tensor& image) { return shortest_or_exact_image(call, image); });
}

// The slow class reads height and width, whatever its default says.
BatchFeature chinese_clip(const Call& call) {
  if (call.fast) return shortest_or_exact(call);
  return exact(call);
}

// Below 384 pixels a larger picture is cropped, above it is squeezed.
BatchFeature conv_next(const Call& call) {
  return pixel_values(
      call,
      [&](const Tensor& image) {
        Tensor x = image;
        if (call.flag("do_resize")) {
          const int64_t edge = call.size("size", SizeRule::shortest).shortest_edge;
          if (edge == 0) throw_invalid("size has no shortest_edge");
          if (edge < 384) {
            const auto larger = static_cast<int64_t>(static_cast<double>(edge) / call.number("crop_pct"));
            x = call.center_crop(call.resize(x, shortest_edge_size(size_of(x), larger)), {edge, edge});
          } else {
            x = call.resize(x, {edge, edge});
          }
        }
        if (call.fast && call.flag("do_center_crop")) x = call.center_crop(x, call.exact_size("crop_size"));
        return call.finish(x);
      },
      call.fast);
}

// rescale_offset moves to -1 … 1; include_top divides by the deviation once more.
BatchFeature efficient_net(const Call& call) {
  return pixel_values(
      call,
      [&](const Tensor& image) {
        Tensor x = image;
        if (call.flag("do_resize")) x = call.resize(x, plain_size(call, size_of(x)));
        if (call.flag("do_center_crop")) x = call.center_crop(x, call.exact_size("crop_size"));
        const bool rescales = call.flag("do_rescale"), offset = call.flag("rescale_offset");
        if (rescales && offset) {
          x = call.rescale(x, call.number("rescale_factor")) - 1;
          if (call.flag("do_normalize")) x = call.normalize(x, call.numbers("image_mean"), call.numbers("image_std"));
        } else {
          x = call.finish(x);
        }
        if (call.flag("include_top")) {
          if (call.fast && !x.is_floating_point()) throw_invalid("include_top needs do_rescale or do_normalize");
          x = call.normalize(x, {0}, call.numbers("image_std"));
        }
        return x;
      },
      call.fast);
}

namespace {

// Over white, as Chameleon blends; bytes [height, width, 4] of float64 arithmetic, cut.
Picture over_white(const Picture& picture) {
  const auto* image = std::get_if<Image>(&picture);
  if (image == nullptr || (image->mode != ImageMode::rgba && image->mode != ImageMode::la)) return picture;
  const auto channels = static_cast<size_t>(image->channels());
  Image out = convert_to_rgb(*image);
  const size_t count = out.pixels.size() / 3;
  bool opaque = true;
  for (size_t i = 0; i < count; ++i) opaque = opaque && image->pixels[i * channels + channels - 1] == 255;
  if (opaque) return out;
  for (size_t i = 0; i < count; ++i) {
    const double alpha = image->pixels[i * channels + channels - 1] / 255.0;
    for (size_t c = 0; c < 3; ++c)
      out.pixels[3 * i + c] = static_cast<uint8_t>((1 - alpha) * 255 + alpha * out.pixels[3 * i + c]);
  }
  return out;
}

}  // namespace

BatchFeature chameleon(const Call& call) {
  call.validate();
  std::vector<Tensor> images;
  for (const auto& list : call.inputs.images) {
    for (const auto& picture : list)
      images.push_back(call.array(call.flag("do_convert_rgb") ? over_white(picture) : picture));
  }
  if (images.empty()) throw_invalid("no picture; expected one or a list of them");
  return {{{"pixel_values",
            call.stack(call.map(images, [&](const Tensor& image) { return shortest_or_exact_image(call, image); }))}}};
}

// OCR is not here: words and boxes come from the caller, so only apply_ocr false works.
void refuse_ocr(const Call& call) {
  if (call.flag("apply_ocr"))
    throw Error(ErrorCode::missing_dependency,
                "apply_ocr is true, and there is no OCR here; set apply_ocr to false and give the words and boxes to "
                "the tokenizer");
}

// Blue first, and nothing else.
BatchFeature layoutlmv2(const Call& call) {
  refuse_ocr(call);
  return pixel_values(
      call,
      [&](const Tensor& image) {
        return flip_channels(call.flag("do_resize") ? call.resize(image, plain_size(call, size_of(image))) : image);
      },
      call.fast);
}

BatchFeature layoutlmv3(const Call& call) {
  refuse_ocr(call);
  return exact(call);
}

// The shorter edge is 256/224 of what size says.
BatchFeature levit(const Call& call) {
  return pixel_values(
      call,
      [&](const Tensor& image) {
        return plain(call, image, [](const Call& c, Size from) -> Size {
          const SizeDict size = c.size("size", SizeRule::shortest);
          if (size.shortest_edge != 0)
            return shortest_edge_size(from,
                                      static_cast<int64_t>(256.0 / 224 * static_cast<double>(size.shortest_edge)));
          return c.exact_size();
        });
      },
      call.fast);
}

// Cropped to size / crop_size of the shorter edge, then resized.
BatchFeature perceiver(const Call& call) {
  return pixel_values(
      call,
      [&](const Tensor& image) {
        Tensor x = image;
        if (call.flag("do_center_crop")) {
          const Size size = call.exact_size(), crop = call.exact_size("crop_size");
          const auto shorter = static_cast<double>(std::min(x.size(0), x.size(1)));
          x = call.center_crop(
              x, {static_cast<int64_t>(static_cast<double>(size.height) / static_cast<double>(crop.height) * shorter),
                  static_cast<int64_t>(static_cast<double>(size.width) / static_cast<double>(crop.width) * shorter)});
        }
        if (call.flag("do_resize")) x = call.resize(x, plain_size(call, size_of(x)));
        return call.finish(x);
      },
      call.fast);
}

// The size is divided by crop_pct before the crop.
BatchFeature pool_former(const Call& call) {
  return pixel_values(
      call,
      [&](const Tensor& image) {
        Tensor x = image;
        if (call.flag("do_resize")) {
          x = call.resize(x, [&]() -> Size {
            const SizeDict size = call.size("size", SizeRule::shortest);
            if (call.find("crop_pct") == nullptr) return shortest_or_exact_size(call, size_of(x));
            const double part = call.number("crop_pct");
            const auto larger = [&](int64_t edge) { return static_cast<int64_t>(static_cast<double>(edge) / part); };
            if (size.shortest_edge != 0) return shortest_edge_size(size_of(x), larger(size.shortest_edge));
            if (!size.exact()) throw_invalid("size has neither shortest_edge nor height and width");
            if (size.height == size.width) return shortest_edge_size(size_of(x), larger(size.height));
            return {larger(size.height), larger(size.width)};
          }());
        }
        if (call.flag("do_center_crop")) {
          const Size crop = call.exact_size("crop_size");
          // The fast class cuts where torchvision rounds.
          if (call.fast && crop.height <= x.size(0) && crop.width <= x.size(1)) {
            x = x.narrow(0, (x.size(0) - crop.height) / 2, crop.height)
                    .narrow(1, (x.size(1) - crop.width) / 2, crop.width);
          } else if (call.fast) {
            const int64_t more_h = std::max<int64_t>(crop.height - x.size(0), 0),
                          more_w = std::max<int64_t>(crop.width - x.size(1), 0);
            x = pad_constant(x, more_h / 2, (more_h + 1) / 2, more_w / 2, (more_w + 1) / 2);
            x = x.narrow(0, (x.size(0) - crop.height) / 2, crop.height)
                    .narrow(1, (x.size(1) - crop.width) / 2, crop.width);
          } else {
            x = call.center_crop(x, crop);
          }
        }
        return call.finish(x);
      },
      call.fast);
}

// Both edges are raised to multiples of size_divisor.
BatchFeature text_net(const Call& call) {
  return pixel_values(
      call,
      [&](const Tensor& image) {
        return plain(call, image, [](const Call& c, Size from) -> Size {
          Size size = shortest_or_exact_size(c, from);
          const int64_t step = c.integer("size_divisor");
          if (step < 1) throw_invalid(concat("size_divisor is ", step, "; expected 1 or more"));
          return {(size.height + step - 1) / step * step, (size.width + step - 1) / step * step};
        });
      },
      false);
}

// Both edges are cut to multiples of size_divisor; values of 0 to 1 are all there is.
BatchFeature glpn(const Call& call) {
  call.channels_last();
  const int64_t step = call.integer("size_divisor");
  if (step < 1) throw_invalid(concat("size_divisor is ", step, "; expected 1 or more"));
  return {{{"pixel_values", call.stack(call.map(call.flat(false), [&](const Tensor& image) {
              Tensor x = image;
              if (call.flag("do_resize")) x = call.resize(x, {x.size(0) / step * step, x.size(1) / step * step});
              return call.flag("do_rescale") ? call.rescale(x, 1 / 255.0) : x;
            }))}}};
}

// Clips: every frame by itself, [clips, frames, channels, height, width].
namespace {

BatchFeature clips(const Call& call, std::string_view name, const std::function<Tensor(const Tensor&)>& each) {
  call.validate();
  std::vector<std::vector<Tensor>> out;
  for (const auto& frames : call.nested()) out.push_back(call.map(frames, each));
  return {{{std::string(name), call.stack(out)}}};
}

}  // namespace

BatchFeature video_mae(const Call& call) {
  return clips(call, "pixel_values", [&](const Tensor& image) { return shortest_or_exact_image(call, image); });
}

BatchFeature vivit(const Call& call) {
  const bool offset = call.flag("offset");
  if (offset && !call.flag("do_rescale")) throw_invalid("offset is true and do_rescale is not");
  return clips(call, "pixel_values", [&](const Tensor& image) {
    Tensor x = image;
    if (call.flag("do_resize")) x = call.resize(x, shortest_or_exact_size(call, size_of(x)));
    if (call.flag("do_center_crop")) x = call.center_crop(x, call.exact_size("crop_size"));
    if (!offset) return call.finish(x);
    x = call.rescale(x, call.number("rescale_factor")) - 1;
    return call.flag("do_normalize") ? call.normalize(x, call.numbers("image_mean"), call.numbers("image_std")) : x;
  });
}

// Clips as one array each: frames of one size, whose colours stay as they are.
namespace {

BatchFeature array_clips(const Call& call, std::string_view name, const std::function<Tensor(const Tensor&)>& each) {
  call.validate();
  std::vector<std::vector<Tensor>> out;
  for (const auto& frames : call.nested(false)) {
    for (const auto& frame : frames) {
      if (frame.sizes() != frames.front().sizes()) throw_invalid("the frames of a clip have different sizes");
    }
    out.push_back(call.map(frames, each));
  }
  return {{{std::string(name), call.stack(out)}}};
}

}  // namespace

BatchFeature llava_next_video(const Call& call) {
  return array_clips(call, "pixel_values_videos",
                     [&](const Tensor& image) { return shortest_or_exact_image(call, image); });
}

BatchFeature instruct_blip_video(const Call& call) {
  return array_clips(call, "pixel_values", [&](const Tensor& image) { return plain(call, image, plain_size); });
}

BatchFeature video_llava(const Call& call) {
  call.validate();
  return {{{"pixel_values_images", call.stack(call.map(call.flat(false), [&](const Tensor& image) {
              return shortest_or_exact_image(call, image);
            }))}}};
}

}  // namespace backplane::pipelines
