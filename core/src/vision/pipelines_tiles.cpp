// Vision-language models: pictures cut into tiles or patches, and batches of several pictures a prompt.

#include <algorithm>
#include <cmath>
#include <numeric>

#include "vision/pipelines.h"

namespace backplane::pipelines {
namespace {

constexpr int64_t kTiles = 4096;

uint8_t divided_255(int value) { return static_cast<uint8_t>(((value >> 8) + value) >> 8); }

double as_double(int64_t value) { return static_cast<double>(value); }

Feature size_rows(const Call& call, const std::vector<Size>& sizes) {
  std::vector<std::vector<int64_t>> rows;
  for (const Size size : sizes) rows.push_back({size.height, size.width});
  return call.rows(rows);
}

// The mean of the settings as bytes, cut: the colour of what is around a picture.
std::vector<double> mean_color(const Call& call) {
  std::vector<double> color;
  for (const double value : call.own_numbers("image_mean"))
    color.push_back(static_cast<double>(static_cast<int64_t>(value * 255)));
  return color;
}

std::vector<Size> pinpoints(const Call& call, const char* name = "image_grid_pinpoints") {
  const Value* value = call.find(name);
  if (value == nullptr || !value->is_list() || value->as_list().empty())
    throw_invalid(concat(name, " is not a list of sizes"));
  std::vector<Size> out;
  for (const auto& one : value->as_list()) {
    const SizeDict size = to_size_dict(one, SizeRule::square, name);
    out.push_back({size.height, size.width});
  }
  return out;
}

// As select_best_resolution: the most of the picture, then the least waste.
Size best_resolution(Size image, const std::vector<Size>& possible) {
  std::optional<Size> best;
  int64_t most = 0;
  double least = INFINITY;
  for (const Size size : possible) {
    const double scale =
        std::min(as_double(size.width) / as_double(image.width), as_double(size.height) / as_double(image.height));
    const auto width = static_cast<int64_t>(as_double(image.width) * scale),
               height = static_cast<int64_t>(as_double(image.height) * scale);
    const int64_t effective = std::min(width * height, image.width * image.height);
    const double wasted = as_double(size.width * size.height - effective);
    if (effective > most || (effective == most && wasted < least)) {
      most = effective;
      least = wasted;
      best = size;
    }
  }
  if (!best) throw_invalid("no entry of image_grid_pinpoints fits the picture");
  return *best;
}

// As get_patch_output_size.
Size fitted(Size image, Size target) {
  const double by_width = as_double(target.width) / as_double(image.width),
               by_height = as_double(target.height) / as_double(image.height);
  if (by_width < by_height)
    return {std::min(static_cast<int64_t>(std::ceil(as_double(image.height) * by_width)), target.height), target.width};
  return {target.height, std::min(static_cast<int64_t>(std::ceil(as_double(image.width) * by_height)), target.width)};
}

std::vector<Tensor> tiles(const Tensor& image, int64_t size) {
  if (size < 1 || (image.size(0) / size + 1) * (image.size(1) / size + 1) > kTiles)
    throw_invalid(concat("tiles of ", size, " pixels are too many or too small"));
  std::vector<Tensor> out;
  for (int64_t y = 0; y < image.size(0); y += size) {
    for (int64_t x = 0; x < image.size(1); x += size)
      out.push_back(
          image.narrow(0, y, std::min(size, image.size(0) - y)).narrow(1, x, std::min(size, image.size(1) - x)));
  }
  return out;
}

// The whole picture small, then the tiles of the resolution that fits it.
std::vector<Tensor> any_resolution(const Call& call, const Tensor& image, const std::vector<Size>& possible, Size whole,
                                   int64_t tile) {
  const Size target = best_resolution(size_of(image), possible);
  const Tensor resized = call.resize(image, fitted(size_of(image), target));
  // The reference fits what is already fitted once more.
  const Size inner = fitted(size_of(resized), target);
  const int64_t rows = target.height - inner.height, columns = target.width - inner.width;
  const Tensor padded = pad_constant(resized, rows / 2, rows - rows / 2, columns / 2, columns - columns / 2);
  std::vector<Tensor> out{call.resize(image, whole)};
  for (const auto& part : tiles(padded, tile)) out.push_back(part.contiguous());
  return out;
}

// Pictures of several tiles each: [pictures, most tiles, channels, height, width].
Feature stack_tiles(const Call& call, std::vector<Tensor> pictures, bool pads) {
  if (pads) {
    int64_t most = 0;
    for (const auto& x : pictures) most = std::max(most, x.size(0));
    for (auto& x : pictures) x = at::constant_pad_nd(x, {0, 0, 0, 0, 0, 0, 0, most - x.size(0)}, 0);
  }
  return call.stack(pictures);
}

Tensor stacked(const std::vector<Tensor>& images) {
  for (const auto& image : images) {
    if (image.sizes() != images.front().sizes())
      throw_invalid(
          "the tiles of a picture have different sizes; the sizes of image_grid_pinpoints are no multiples of the "
          "tile");
  }
  return at::stack(images);
}

}  // namespace

std::vector<Tensor> resolution_tiles(const Call& call, const Tensor& image, const char* name, int64_t tile) {
  const Size size = size_of(image);
  auto parts = any_resolution(call, image, pinpoints(call, name), size, tile);
  parts.erase(parts.begin());
  return parts;
}

Picture convert_plain(const Picture& picture) {
  const auto* image = std::get_if<Image>(&picture);
  if (image == nullptr || image->mode == ImageMode::rgba || image->mode == ImageMode::la) return picture;
  return convert_to_rgb(*image);
}

Tensor pad_to_square(const Tensor& image, const std::vector<double>& color) {
  const int64_t height = image.size(0), width = image.size(1), channels = image.size(2);
  if (height == width) return image;
  if (static_cast<int64_t>(color.size()) != channels)
    throw_invalid(concat("the background has ", color.size(), " channels, and the picture ", channels));
  const int64_t edge = std::max(height, width);
  Tensor out = at::empty({edge, edge, channels}, image.options());
  for (int64_t c = 0; c < channels; ++c) out.select(2, c).fill_(color[static_cast<size_t>(c)]);
  out.narrow(0, (edge - height) / 2, height).narrow(1, (edge - width) / 2, width).copy_(image);
  return out;
}

Picture pasted_over_white(const Picture& picture) {
  const auto* image = std::get_if<Image>(&picture);
  if (image == nullptr || (image->mode != ImageMode::rgba && image->mode != ImageMode::la)) return picture;
  const auto channels = static_cast<size_t>(image->channels());
  Image out = convert_to_rgb(*image);
  for (size_t i = 0; i < out.pixels.size() / 3; ++i) {
    const int alpha = image->pixels[i * channels + channels - 1];
    for (size_t c = 0; c < 3; ++c)
      out.pixels[3 * i + c] = divided_255(255 * (255 - alpha) + out.pixels[3 * i + c] * alpha + 128);
  }
  return out;
}

Picture composed_over_white(const Picture& picture) {
  const auto* image = std::get_if<Image>(&picture);
  if (image == nullptr || (image->mode != ImageMode::rgba && image->mode != ImageMode::la)) return picture;
  constexpr int kBits = 7;
  const auto channels = static_cast<size_t>(image->channels());
  Image out = convert_to_rgb(*image);
  for (size_t i = 0; i < out.pixels.size() / 3; ++i) {
    const int64_t alpha = image->pixels[i * channels + channels - 1];
    const int64_t over = alpha * 255 + 255 * (255 - alpha);
    const int64_t front = alpha * 255 * 255 * (1 << kBits) / over, back = 255 * (1 << kBits) - front;
    for (size_t c = 0; c < 3; ++c) {
      const int64_t sum = out.pixels[3 * i + c] * front + 255 * back + (0x80 << kBits);
      out.pixels[3 * i + c] = alpha == 0 ? 255 : static_cast<uint8_t>((((sum >> 8) + sum) >> 8) >> kBits);
    }
  }
  return out;
}

// The picture in the middle of a square of the mean's colour first, where do_pad says so.
BatchFeature llava(const Call& call) {
  return pixel_values(
      call,
      [&](const Tensor& image) {
        return shortest_or_exact_image(call, call.flag("do_pad") ? pad_to_square(image, mean_color(call)) : image);
      },
      call.fast);
}

BatchFeature llava_next(const Call& call) {
  call.validate();
  const auto possible = pinpoints(call);
  const SizeDict size = call.size("size", SizeRule::shortest);
  Size whole{size.shortest_edge, size.shortest_edge};
  if (size.exact()) {
    whole = {size.height, size.width};
    if (!call.fast) whole.height = whole.width = std::min(size.height, size.width);
  }
  const int64_t tile = call.find("crop_size") != nullptr ? call.exact_size("crop_size").height : whole.height;
  std::vector<Size> sizes;
  std::vector<Tensor> pictures;
  for (const auto& image : call.flat()) {
    sizes.push_back(size_of(image));
    pictures.push_back(stacked(call.map(any_resolution(call, image, possible, whole, tile),
                                        [&](const Tensor& part) { return shortest_or_exact_image(call, part); })));
  }
  const bool pads = call.flag("do_pad");
  if (pads && !call.stacks() && call.fast)
    throw_invalid("return_tensors is null and do_pad is true, which the fast class does not go on with");
  if (!pads && !call.fast)
    throw_invalid("do_pad is false, which the slow class does not go on with; use the fast class");
  return {{{"pixel_values", stack_tiles(call, pictures, pads)}, {"image_sizes", size_rows(call, sizes)}}};
}

// Tiles for a prompt's only picture; several are squared, and whole.
BatchFeature llava_onevision(const Call& call) {
  call.validate();
  const auto possible = pinpoints(call);
  const SizeDict size = call.size("size", SizeRule::shortest);
  const Size whole = size.exact() ? Size{size.height, size.width} : Size{size.shortest_edge, size.shortest_edge};
  std::vector<int64_t> counts;
  std::vector<Size> sizes;
  std::vector<Tensor> pictures;
  const auto lists = call.nested();
  for (const auto& list : lists) {
    if (call.inputs.nesting == Nesting::nested)
      counts.push_back(static_cast<int64_t>(list.size()));
    else
      counts.insert(counts.end(), list.size(), 1);
    for (const auto& image : list) {
      sizes.push_back(size_of(image));
      std::vector<Tensor> parts;
      if (call.inputs.nesting != Nesting::nested || list.size() == 1)
        parts = any_resolution(call, image, possible, whole, whole.height);
      else
        parts = {pad_to_square(image, mean_color(call))};
      pictures.push_back(stacked(call.map(parts, [&](Tensor x) {
        if (call.flag("do_resize")) x = call.resize(x, call.fast ? base_fast_size(size, size_of(x)) : whole);
        if (call.fast && call.flag("do_center_crop")) x = call.center_crop(x, call.exact_size("crop_size"));
        return call.finish(x);
      })));
    }
  }
  const bool pads = call.flag("do_pad");
  if (pads && !call.stacks() && call.fast)
    throw_invalid("return_tensors is null and do_pad is true, which the fast class does not go on with");
  if (!pads && !call.fast)
    throw_invalid("do_pad is false, which the slow class does not go on with; use the fast class");
  return {{{"pixel_values", stack_tiles(call, pictures, pads)},
           {"image_sizes", size_rows(call, sizes)},
           {"batch_num_images", call.numbers_feature(counts)}}};
}

Size qwen_size(Size image, int64_t factor, int64_t min_pixels, int64_t max_pixels) {
  if (factor < 1) throw_invalid("patch_size times merge_size is below 1");
  const double height = as_double(image.height), width = as_double(image.width), step = as_double(factor);
  if (std::max(height, width) / std::min(height, width) > 200)
    throw_invalid(
        concat("a picture of ", image.width, " x ", image.height, " pixels is more than 200 times as long as wide"));
  Size out{round_half_even(height / step) * factor, round_half_even(width / step) * factor};
  if (out.height * out.width > max_pixels) {
    const double beta = std::sqrt(height * width / as_double(max_pixels));
    out = {std::max(factor, static_cast<int64_t>(std::floor(height / beta / step)) * factor),
           std::max(factor, static_cast<int64_t>(std::floor(width / beta / step)) * factor)};
  } else if (out.height * out.width < min_pixels) {
    const double beta = std::sqrt(as_double(min_pixels) / (height * width));
    out = {static_cast<int64_t>(std::ceil(height * beta / step)) * factor,
           static_cast<int64_t>(std::ceil(width * beta / step)) * factor};
  }
  return out;
}

Size glm_size(int64_t frames, Size image, int64_t temporal, int64_t factor, int64_t min_pixels, int64_t max_pixels) {
  if (frames < temporal) throw_invalid(concat(frames, " frames are fewer than temporal_patch_size, ", temporal));
  if (image.height < factor || image.width < factor)
    throw_invalid(
        concat("a picture of ", image.width, " x ", image.height, " pixels is smaller than a patch of ", factor));
  const double height = as_double(image.height), width = as_double(image.width), step = as_double(factor);
  if (std::max(height, width) / std::min(height, width) > 200)
    throw_invalid(
        concat("a picture of ", image.width, " x ", image.height, " pixels is more than 200 times as long as wide"));
  Size out{round_half_even(height / step) * factor, round_half_even(width / step) * factor};
  const int64_t time = round_half_even(as_double(frames) / as_double(temporal)) * temporal;
  if (time * out.height * out.width > max_pixels) {
    const double beta = std::sqrt(as_double(frames) * height * width / as_double(max_pixels));
    out = {static_cast<int64_t>(std::floor(height / beta / step)) * factor,
           static_cast<int64_t>(std::floor(width / beta / step)) * factor};
  } else if (time * out.height * out.width < min_pixels) {
    const double beta = std::sqrt(as_double(min_pixels) / (as_double(frames) * height * width));
    out = {static_cast<int64_t>(std::ceil(height * beta / step)) * factor,
           static_cast<int64_t>(std::ceil(width * beta / step)) * factor};
  }
  return out;
}

// frames [frames, channels, height, width] -> [patches, values], patches of a merge_size square together; the last
// frame is repeated to whole temporal patches.
Tensor qwen_patches(Tensor frames, int64_t temporal, int64_t patch, int64_t merge, std::vector<int64_t>& grid) {
  if (temporal < 1 || patch < 1 || merge < 1)
    throw_invalid("patch_size, temporal_patch_size and merge_size must be above 0");
  const int64_t over = frames.size(0) % temporal;
  if (over != 0) frames = at::cat({frames, frames.slice(0, -1).expand({temporal - over, -1, -1, -1})});
  const int64_t time = frames.size(0) / temporal, channels = frames.size(1), rows = frames.size(2) / patch,
                columns = frames.size(3) / patch;
  if (rows % merge != 0 || columns % merge != 0 || frames.size(2) % patch != 0 || frames.size(3) % patch != 0 ||
      rows == 0 || columns == 0)
    throw_invalid(concat("a picture of ", frames.size(3), " x ", frames.size(2), " pixels has no whole patches of ",
                         patch, " times merge_size ", merge, "; set do_resize"));
  grid = {time, rows, columns};
  return frames.view({time, temporal, channels, rows / merge, merge, patch, columns / merge, merge, patch})
      .permute({0, 3, 6, 4, 7, 2, 1, 5, 8})
      .reshape({time * rows * columns, channels * temporal * patch * patch});
}

namespace {

BatchFeature patch_pictures(const Call& call, const std::function<Size(Size)>& target) {
  call.validate();
  const int64_t patch = call.integer("patch_size"), temporal = call.integer("temporal_patch_size"),
                merge = call.integer("merge_size");
  const auto images = call.flat();
  std::vector<Tensor> patches(images.size());
  std::vector<std::vector<int64_t>> grids(images.size());
  for (size_t i = 0; i < images.size(); ++i) {
    Tensor x = images[i];
    if (call.flag("do_resize")) x = call.resize(x, target(size_of(x)));
    x = call.finish(x).permute({2, 0, 1}).contiguous();
    patches[i] = qwen_patches(x.unsqueeze(0), temporal, patch, merge, grids[i]);
  }
  std::vector<Tensor> rows;
  for (const auto& grid : grids) rows.push_back(at::tensor(grid, at::kLong));
  return {{{"pixel_values", at::cat(patches)}, {"image_grid_thw", at::stack(rows)}}};
}

}  // namespace

// Sizes of whole merged patches, between min_pixels and max_pixels.
BatchFeature qwen2_vl(const Call& call) {
  const int64_t factor = call.integer("patch_size") * call.integer("merge_size");
  const auto pixels = [&](const char* name, const char* key) {
    const Value* size = call.argument("size");
    if (size != nullptr && size->find(key) == nullptr) throw_invalid(concat("size has no ", key));
    if (size != nullptr) return static_cast<int64_t>(size->find(key)->as_double());
    if (call.find("min_pixels") != nullptr && call.find("max_pixels") != nullptr) return call.integer(name);
    const Value* own = call.find("size");
    const Value* value = own != nullptr ? own->find(key) : nullptr;
    if (value == nullptr) throw_invalid(concat("size has no ", key));
    return static_cast<int64_t>(value->as_double());
  };
  const int64_t low = pixels("min_pixels", "shortest_edge"), high = pixels("max_pixels", "longest_edge");
  if (low < 1 || high < 1) throw_invalid("min_pixels and max_pixels must be above 0");
  return patch_pictures(call, [&](Size image) { return qwen_size(image, factor, low, high); });
}

// The same with the frames counted in, and bounds of its own whatever size says.
BatchFeature glm4v(const Call& call) {
  const int64_t factor = call.integer("patch_size") * call.integer("merge_size"),
                temporal = call.integer("temporal_patch_size");
  if (factor < 1 || temporal < 1) throw_invalid("patch_size, merge_size and temporal_patch_size must be above 0");
  return patch_pictures(call, [&](Size image) {
    return glm_size(temporal, image, temporal, factor, 112 * 112, 14 * 14 * 2 * 2 * 2 * 6144);
  });
}

// Whole patches within the longest edge; a batch is padded to its largest.
BatchFeature pixtral(const Call& call) {
  call.validate();
  const SizeDict limit = call.size("size", SizeRule::longest), patch = call.size("patch_size", SizeRule::square);
  if (!patch.exact()) throw_invalid("patch_size has no height and width");
  if (limit.longest_edge == 0 && !limit.exact()) throw_invalid("size has neither longest_edge nor height and width");
  const double max_height = as_double(limit.exact() ? limit.height : limit.longest_edge),
               max_width = as_double(limit.exact() ? limit.width : limit.longest_edge);
  std::vector<Tensor> images;
  for (const auto& list : call.inputs.images) {
    for (const auto& picture : list)
      images.push_back(call.array(call.flag("do_convert_rgb") && !call.fast ? pasted_over_white(picture) : picture));
  }
  if (images.empty()) throw_invalid("no picture; expected one or a list of them");
  Size largest;
  std::vector<Size> sizes;
  for (auto& x : images) {
    if (call.flag("do_resize")) {
      double height = as_double(x.size(0)), width = as_double(x.size(1));
      const double ratio = std::max(height / max_height, width / max_width);
      if (ratio > 1) height = std::floor(height / ratio), width = std::floor(width / ratio);
      const auto raised = [](double edge, int64_t step) {
        return ((static_cast<int64_t>(edge) - 1) / step + 1) * step;
      };
      if (height < 1 || width < 1) throw_invalid("a picture that is no pixel wide in the size asked for");
      x = call.resize(x, {raised(height, patch.height), raised(width, patch.width)});
    }
    if (call.fast && call.flag("do_center_crop")) x = call.center_crop(x, call.exact_size("crop_size"));
    sizes.push_back(size_of(x));
    x = call.finish(x);
    largest = {std::max(largest.height, x.size(0)), std::max(largest.width, x.size(1))};
  }
  for (auto& x : images) x = call.order(pad_constant(x, 0, largest.height - x.size(0), 0, largest.width - x.size(1)));
  const Feature pixels = call.fast ? Feature(at::stack(images)) : call.stack(images);
  return {{{"pixel_values", pixels}, {"image_sizes", size_rows(call, sizes)}}};
}

namespace {

// Columns and rows of tiles whose shape is nearest to the picture's; of equals the later one where the picture is
// large.
std::pair<int64_t, int64_t> tile_grid(Size image, Size tile, int64_t fewest, int64_t most) {
  if (most < 1 || most > 1024) throw_invalid(concat("max_patches is ", most, "; expected 1 to 1024"));
  std::vector<std::pair<int64_t, int64_t>> grids;
  for (int64_t columns = 1; columns <= most; ++columns) {
    for (int64_t rows = 1; rows <= most; ++rows) {
      if (columns * rows <= most && columns * rows >= fewest) grids.emplace_back(columns, rows);
    }
  }
  std::stable_sort(grids.begin(), grids.end(),
                   [](const auto& a, const auto& b) { return a.first * a.second < b.first * b.second; });
  const double shape = as_double(image.width) / as_double(image.height), area = as_double(image.width * image.height);
  double nearest = INFINITY;
  std::pair<int64_t, int64_t> best{1, 1};
  for (const auto& grid : grids) {
    const double distance = std::abs(shape - as_double(grid.first) / as_double(grid.second));
    if (distance < nearest) {
      nearest = distance;
      best = grid;
    } else if (distance == nearest && area > 0.5 * as_double(tile.height * tile.width * grid.first * grid.second)) {
      best = grid;
    }
  }
  return best;
}

}  // namespace

// InternVL's tiling, with the whole picture as the last tile.
BatchFeature got_ocr2(const Call& call) {
  call.validate();
  const Size tile = call.exact_size();
  const bool crops = call.flag("crop_to_patches") && (call.fast || call.integer("max_patches") > 1);
  // The slow class cuts tiles with its default filter, whatever resample says.
  const Resample filter = call.fast ? call.resample() : Resample::bicubic;
  std::vector<Tensor> images;
  std::vector<int64_t> counts;
  for (const auto& image : call.flat()) {
    if (!crops) {
      images.push_back(image);
      counts.push_back(1);
      continue;
    }
    const auto [columns, rows] =
        tile_grid(size_of(image), tile, call.integer("min_patches"), call.integer("max_patches"));
    const Tensor large = call.resize(image, {tile.height * rows, tile.width * columns}, filter);
    for (int64_t i = 0; i < columns * rows; ++i)
      images.push_back(large.narrow(0, i / columns * tile.height, tile.height)
                           .narrow(1, i % columns * tile.width, tile.width)
                           .contiguous());
    if (columns * rows != 1) images.push_back(call.resize(image, tile, filter));
    counts.push_back(columns * rows + (columns * rows != 1));
  }
  const auto out = call.map(images, [&](Tensor x) {
    if (call.flag("do_resize")) x = call.resize(x, tile);
    if (call.fast && call.flag("do_center_crop")) x = call.center_crop(x, call.exact_size("crop_size"));
    return call.finish(x);
  });
  Feature numbers = call.numbers_feature(counts);
  if (!call.fast) numbers = Feature(at::tensor(counts, at::kLong));
  return {{{"pixel_values", call.stack(out)}, {"num_patches", numbers}}};
}

// Long pictures bring parts of themselves along.
BatchFeature gemma3(const Call& call) {
  call.validate();
  const bool pans = call.flag("do_pan_and_scan");
  std::vector<Tensor> images;
  std::vector<int64_t> counts;
  for (const auto& image : call.flat()) {
    images.push_back(image);
    counts.push_back(0);
    if (!pans) continue;
    const int64_t height = image.size(0), width = image.size(1), smallest = call.integer("pan_and_scan_min_crop_size");
    const bool wide = width >= height;
    const double ratio = wide ? as_double(width) / as_double(height) : as_double(height) / as_double(width);
    if (ratio < call.number("pan_and_scan_min_ratio_to_activate")) continue;
    if (smallest < 1) throw_invalid("pan_and_scan_min_crop_size is below 1");
    int64_t count = std::min(std::max(width, height) / smallest, static_cast<int64_t>(std::floor(ratio + 0.5)));
    count = std::min(call.integer("pan_and_scan_max_num_crops"), std::max<int64_t>(2, count));
    if (count < 1 || count > kTiles) throw_invalid("pan_and_scan_max_num_crops is below 1 or too large");
    const int64_t rows = wide ? 1 : count, columns = wide ? count : 1;
    const int64_t crop_h = (height + rows - 1) / rows, crop_w = (width + columns - 1) / columns;
    if (std::min(crop_h, crop_w) < smallest) continue;
    for (int64_t y = 0; y < rows; ++y) {
      for (int64_t x = 0; x < columns; ++x)
        images.push_back(
            image.slice(0, y * crop_h, (y + 1) * crop_h).slice(1, x * crop_w, (x + 1) * crop_w).contiguous());
    }
    counts.back() = count;
  }
  const auto out = call.map(images, [&](Tensor x) {
    if (call.flag("do_resize") || (call.fast && pans)) x = call.resize(x, call.exact_size());
    return call.finish(x);
  });
  return {{{"pixel_values", call.stack(out)}, {"num_crops", call.numbers_feature(counts)}}};
}

// The longer edge to the size, the rest of the square in the mean's colour.
BatchFeature janus(const Call& call) {
  return pixel_values(call, [&](const Tensor& image) {
    Tensor x = image;
    if (call.flag("do_resize")) {
      const Size size = call.exact_size();
      if (size.height != size.width) throw_invalid("size is no square");
      const double scale = as_double(size.height) / as_double(std::max(x.size(0), x.size(1)));
      const int64_t least = call.integer("min_size");
      x = call.resize(x, {std::max(static_cast<int64_t>(as_double(x.size(0)) * scale), least),
                          std::max(static_cast<int64_t>(as_double(x.size(1)) * scale), least)});
      const Value* color = call.find("background_color");
      x = pad_to_square(x, color != nullptr ? call.numbers("background_color") : std::vector<double>{127, 127, 127});
    }
    return call.finish(x);
  });
}

// Several pictures a prompt, or four quarters and the whole of each; batches are padded in number and size.
BatchFeature idefics2(const Call& call) {
  call.validate();
  std::vector<std::vector<Tensor>> lists;
  for (const auto& given : call.inputs.images) {
    auto& list = lists.emplace_back();
    for (const auto& picture : given) {
      const Tensor image = call.array(call.flag("do_convert_rgb") ? composed_over_white(picture) : picture);
      if (call.flag("do_image_splitting")) {
        const int64_t y = image.size(0) / 2, x = image.size(1) / 2;
        if (y < 1 || x < 1) throw_invalid("a picture too small to be split");
        for (const auto& half : {image.slice(0, 0, y), image.slice(0, y)}) {
          list.push_back(half.slice(1, 0, x).contiguous());
          list.push_back(half.slice(1, x).contiguous());
        }
      }
      list.push_back(image);
    }
  }
  if (lists.empty() || lists.front().empty()) throw_invalid("no picture; expected one or a list of them");
  const SizeDict size = call.size("size", SizeRule::shortest);
  Size largest;
  size_t most = 0;
  for (auto& list : lists) {
    most = std::max(most, list.size());
    for (auto& x : list) {
      if (call.flag("do_resize")) {
        Size target{size.height, size.width};
        if (size.shortest_edge != 0 && size.longest_edge != 0) {
          target = size_of(x);
          const double shape = as_double(target.width) / as_double(target.height);
          if (target.width >= target.height && target.width > size.longest_edge) {
            target.width = size.longest_edge;
            target.height = static_cast<int64_t>(as_double(target.width) / shape);
          } else if (target.height > target.width && target.height > size.longest_edge) {
            target.height = size.longest_edge;
            target.width = static_cast<int64_t>(as_double(target.height) * shape);
          }
          target = {std::max(target.height, size.shortest_edge), std::max(target.width, size.shortest_edge)};
        } else if (!size.exact()) {
          throw_invalid("size has neither shortest_edge and longest_edge nor height and width");
        }
        x = call.fast ? resize_torch_rounded(x, target.height, target.width, call.resample()) : call.resize(x, target);
      }
      x = call.finish(x);
      largest = {std::max(largest.height, x.size(0)), std::max(largest.width, x.size(1))};
    }
  }
  if (!call.flag("do_pad")) {
    for (auto& list : lists) {
      for (auto& x : list) x = call.order(x);
    }
    return {{{"pixel_values", call.stack(lists)}}};
  }
  return pad_lists(call, lists, largest, most);
}

BatchFeature pad_lists(const Call& call, const std::vector<std::vector<Tensor>>& lists, Size largest, size_t most,
                       bool whole_masks) {
  const auto dtype = lists.front().front().scalar_type();
  const int64_t channels = lists.front().front().size(2), count = static_cast<int64_t>(lists.size()),
                width = static_cast<int64_t>(most);
  Tensor pixels = at::zeros({count, width, channels, largest.height, largest.width}, call.fast ? at::kFloat : dtype);
  // numpy's masks of absent pictures are float64, and make all of them so.
  bool full = true;
  for (const auto& list : lists) full = full && list.size() == most;
  Tensor mask = at::zeros({count, width, largest.height, largest.width}, call.fast ? at::kFloat
                                                                         : full || whole_masks ? at::kLong
                                                                         : at::kDouble);
  for (int64_t i = 0; i < count; ++i) {
    const auto& list = lists[static_cast<size_t>(i)];
    for (int64_t j = 0; j < static_cast<int64_t>(list.size()); ++j) {
      const Tensor& x = list[static_cast<size_t>(j)];
      pixels[i][j].narrow(1, 0, x.size(0)).narrow(2, 0, x.size(1)).copy_(x.permute({2, 0, 1}));
      mask[i][j].narrow(0, 0, x.size(0)).narrow(1, 0, x.size(1)).fill_(1);
    }
  }
  if (call.channels_last()) pixels = pixels.permute({0, 1, 3, 4, 2}).contiguous();
  return {{{"pixel_values", pixels}, {"pixel_attention_mask", mask}}};
}

}  // namespace backplane::pipelines
