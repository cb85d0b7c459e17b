// Idefics, SmolVLM, SAM, SegGPT, ImageGPT, Mllama, Emu3, Aria: each with a preparation of its own.

#include <algorithm>
#include <cmath>

#include "vision/pipelines.h"

namespace backplane::pipelines {
namespace {

double as_double(int64_t value) { return static_cast<double>(value); }

// bytes [height, width, 4] on white, in the arithmetic of Pillow's alpha_composite.
Tensor composed(const Tensor& rgba) {
  constexpr int64_t kBits = 7;
  const Tensor wide = rgba.to(at::kLong), alpha = wide.narrow(2, 3, 1), color = wide.narrow(2, 0, 3);
  const Tensor over = alpha * 255 + (255 - alpha) * 255;
  const Tensor front = at::div(alpha * (255 * 255 * (1 << kBits)), over, "floor");
  const Tensor sum = color * front + (255 * (1 << kBits) - front) * 255 + (0x80 << kBits);
  const Tensor mixed =
      at::bitwise_right_shift(at::bitwise_right_shift(at::bitwise_right_shift(sum, 8) + sum, 8), kBits);
  return at::where(alpha.eq(0), at::full({}, 255, at::kLong), mixed).to(at::kByte);
}

// A picture with the palette that its pixels are numbers of.
struct Indexed {
  Tensor pixels;
  std::vector<uint8_t> palette;
};

Indexed any_channels(const Call& call, const Picture& picture) {
  const auto* image = std::get_if<Image>(&picture);
  if (image == nullptr) {
    const Tensor& given = std::get<Tensor>(picture);
    if (given.dim() == 2) return {given.unsqueeze(2), {}};
    return {call.array(picture, false), {}};
  }
  if (image->mode == ImageMode::la || image->mode == ImageMode::cmyk || image->mode == ImageMode::i16)
    throw_invalid("a picture that is neither grey, palette, RGB nor RGBA");
  return {at::from_blob(const_cast<uint8_t*>(image->pixels.data()), {image->height, image->width, image->channels()},
                        at::kByte)
              .clone(),
          image->palette};
}

Tensor to_rgb(const Indexed& image) {
  const int64_t channels = image.pixels.size(2);
  if (channels == 4) return composed(image.pixels);
  if (channels == 3) return image.pixels;
  if (image.palette.empty()) return image.pixels.expand({-1, -1, 3}).contiguous();
  const Tensor palette = at::from_blob(const_cast<uint8_t*>(image.palette.data()), {256, 3}, at::kByte).clone();
  return palette.index({image.pixels.squeeze(2).to(at::kLong)});
}

int64_t raised(double value, int64_t step) { return static_cast<int64_t>(std::ceil(value / as_double(step))) * step; }

// The size of whole tiles that a picture is brought to before it is cut.
Size tiled_size(Size image, int64_t tile) {
  const double shape = as_double(image.width) / as_double(image.height);
  if (image.width >= image.height) {
    const int64_t width = raised(as_double(image.width), tile);
    return {raised(as_double(static_cast<int64_t>(as_double(width) / shape)), tile), width};
  }
  const int64_t height = raised(as_double(image.height), tile);
  return {height, raised(as_double(static_cast<int64_t>(as_double(height) * shape)), tile)};
}

}  // namespace

Size idefics3_size(Size image, int64_t longest) {
  constexpr int64_t kLargest = 4096;
  const double shape = as_double(image.width) / as_double(image.height);
  Size out;
  if (image.width >= image.height) {
    out = {static_cast<int64_t>(as_double(longest) / shape), longest};
    out.height += out.height % 2;
  } else {
    out = {longest, static_cast<int64_t>(as_double(longest) * shape)};
    out.width += out.width % 2;
  }
  out = {std::max<int64_t>(out.height, 1), std::max<int64_t>(out.width, 1)};
  const double again = as_double(out.width) / as_double(out.height);
  if (out.width >= out.height && out.width > kLargest)
    out = {static_cast<int64_t>(as_double(kLargest) / again), kLargest};
  else if (out.height > out.width && out.height > kLargest)
    out = {kLargest, static_cast<int64_t>(as_double(kLargest) * again)};
  return {std::max<int64_t>(out.height, 1), std::max<int64_t>(out.width, 1)};
}

// RGB on white, squeezed to a square.
BatchFeature idefics(const Call& call) {
  const int64_t edge = call.integer("image_size");
  if (edge < 1 || edge > 1 << 16) throw_invalid(concat("image_size is ", edge));
  std::vector<Tensor> out;
  if (call.inputs.nesting == Nesting::nested)
    throw_invalid("pictures in lists of lists; expected one picture or a list of them");
  for (const auto& list : call.inputs.images) {
    for (const auto& picture : list) {
      if (!std::holds_alternative<Image>(picture)) throw_invalid("this class takes decoded pictures only, no arrays");
      Tensor x = call.resize(call.array(composed_over_white(convert_plain(picture))), {edge, edge}, Resample::bicubic);
      x = call.normalize(call.rescale(x, call.number("rescale_factor")), call.numbers("image_mean"),
                         call.numbers("image_std"));
      out.push_back(x.permute({2, 0, 1}).contiguous());
    }
  }
  if (out.empty()) throw_invalid("no picture; expected one or a list of them");
  return {{{"pixel_values", call.stack(out)}}};
}

// Idefics3 and SmolVLM: tiles of max_image_size and the whole picture behind them; batches padded in number and size.
BatchFeature idefics3(const Call& call) {
  call.validate();
  const SizeDict size = call.size("size", SizeRule::longest), limit = call.size("max_image_size", SizeRule::longest);
  if (limit.longest_edge == 0) throw_invalid("max_image_size has no longest_edge");
  const int64_t tile = limit.longest_edge;
  const auto resized = [&](const Tensor& x, Size target) {
    if (call.fast)
      return resize_torch_rounded(x, target.height, target.width,
                                  call.resample() == Resample::lanczos ? Resample::bicubic : call.resample());
    // Pictures of one channel count as numbers of colours, which are not mixed.
    return resize_pillow(call.bytes(x), target.height, target.width,
                         x.size(2) == 1 ? Resample::nearest : call.resample());
  };
  std::vector<std::vector<Tensor>> lists;
  Feature::List rows, columns;
  Size largest;
  size_t most = 0;
  for (const auto& given : call.inputs.images) {
    auto& list = lists.emplace_back();
    Feature::List list_rows, list_columns;
    for (const auto& picture : given) {
      Indexed image = call.fast ? Indexed{call.array(picture), {}} : any_channels(call, picture);
      Tensor x = image.pixels;
      if (call.flag("do_resize")) {
        if (size.longest_edge == 0 && !size.exact())
          throw_invalid("size has neither longest_edge nor height and width");
        x = resized(
            x, size.longest_edge != 0 ? idefics3_size(size_of(x), size.longest_edge) : Size{size.height, size.width});
      }
      std::vector<Tensor> parts;
      int64_t across = 0, down = 0;
      if (call.flag("do_image_splitting")) {
        x = resized(x, tiled_size(size_of(x), tile));
        if (x.size(0) > tile || x.size(1) > tile) {
          down = x.size(0) / tile, across = x.size(1) / tile;
          if (down * across > 4096) throw_invalid("the picture makes more than 4096 tiles");
          for (int64_t i = 0; i < down * across; ++i)
            parts.push_back(x.narrow(0, i / across * tile, tile).narrow(1, i % across * tile, tile).contiguous());
          x = resized(x, {tile, tile});
        }
      } else {
        x = resized(x, {tile, tile});
      }
      parts.push_back(x);
      list_rows.emplace_back(down);
      list_columns.emplace_back(across);
      for (auto& part : parts) {
        if (!call.fast && call.flag("do_convert_rgb")) part = to_rgb({part, image.palette});
        part = call.finish(part);
        largest = {std::max(largest.height, part.size(0)), std::max(largest.width, part.size(1))};
        list.push_back(part);
      }
    }
    rows.emplace_back(list_rows);
    columns.emplace_back(list_columns);
    most = std::max(most, list.size());
  }
  if (lists.empty() || lists.front().empty()) throw_invalid("no picture; expected one or a list of them");
  BatchFeature out;
  if (call.flag("do_pad")) {
    out = pad_lists(call, lists, largest, most, /*whole_masks=*/true);
    if (!call.stacks() && !call.fast) {
      for (auto& [name, feature] : out.items) {
        Feature::List outer;
        for (const auto& row : feature.tensor().unbind(0)) outer.emplace_back(row.unbind(0));
        feature = Feature(outer);
      }
    }
  } else {
    for (auto& list : lists) {
      for (auto& x : list) x = call.order(x);
    }
    out = {{{"pixel_values", call.stack(lists)}}};
  }
  if (call.flag("return_row_col_info")) {
    out.items.emplace_back("rows", rows);
    out.items.emplace_back("cols", columns);
  }
  return out;
}

// The longer edge to the size, zeros below and on the right.
BatchFeature sam(const Call& call) {
  call.validate();
  const auto prepare = [&](Tensor x, const char* size_name, const char* pad_name, Resample filter, bool finishes,
                           Size& reshaped) {
    if (call.flag("do_resize")) {
      const int64_t longest = call.size(size_name, SizeRule::longest).longest_edge;
      if (longest == 0) throw_invalid(concat(size_name, " has no longest_edge"));
      const double scale = as_double(longest) * 1.0 / as_double(std::max(x.size(0), x.size(1)));
      x = call.resize(x,
                      {static_cast<int64_t>(as_double(x.size(0)) * scale + 0.5),
                       static_cast<int64_t>(as_double(x.size(1)) * scale + 0.5)},
                      filter);
    }
    reshaped = size_of(x);
    if (finishes) x = call.finish(x);
    if (!call.flag("do_pad")) return x;
    const Size pad = call.exact_size(pad_name);
    if (pad.height < x.size(0) || pad.width < x.size(1))
      throw_invalid(concat("a picture of ", x.size(1), " x ", x.size(0), " pixels does not fit into ", pad_name));
    return pad_constant(x, 0, pad.height - x.size(0), 0, pad.width - x.size(1));
  };
  std::vector<Tensor> images, labels;
  std::vector<std::vector<int64_t>> original, reshaped;
  for (const auto& image : call.flat(false)) {
    Size size;
    images.push_back(call.order(prepare(image, "size", "pad_size", call.resample(), true, size)));
    original.push_back({image.size(0), image.size(1)});
    reshaped.push_back({size.height, size.width});
  }
  BatchFeature out{{{"pixel_values", call.stack(images)},
                    {"original_sizes", call.rows(original)},
                    {"reshaped_input_sizes", call.rows(reshaped)}}};
  for (size_t i = 0; i < call.inputs.segmentation_maps.size(); ++i) {
    const Tensor& map = call.inputs.segmentation_maps[i];
    if (map.dim() != 2 || i >= original.size() || map.size(0) != original[i][0] || map.size(1) != original[i][1])
      throw_invalid("a segmentation map is not of its picture's size");
    Size size;
    labels.push_back(prepare(map.unsqueeze(2), "mask_size", "mask_pad_size", Resample::nearest, false, size)
                         .squeeze(2)
                         .to(at::kLong));
  }
  if (!labels.empty()) out.items.emplace_back("labels", call.stack(labels));
  return out;
}

// Colours for num_labels classes and the background, evenly spread.
std::vector<std::array<int64_t, 3>> seg_gpt_palette(int64_t labels) {
  if (labels < 1 || labels > 255 * 255) throw_invalid(concat("num_labels is ", labels));
  const int64_t base = static_cast<int64_t>(std::pow(as_double(labels), 1.0 / 3)) + 1, margin = 256 / base;
  std::vector<std::array<int64_t, 3>> out{{0, 0, 0}};
  for (int64_t i = 0; i < labels; ++i)
    out.push_back({255 - i / (base * base) * margin, 255 - i % (base * base) / base * margin, 255 - i % base * margin});
  return out;
}

// The picture, an example of it, and the example's mask in colours.
BatchFeature seg_gpt(const Call& call) {
  call.validate();
  const auto step = [&](const Tensor& image, Resample filter) {
    return call.order(call.finish(call.flag("do_resize") ? call.resize(image, call.exact_size(), filter) : image));
  };
  BatchFeature out;
  const auto add = [&](const char* name, const std::vector<Picture>& pictures) {
    std::vector<Tensor> images;
    for (const auto& picture : pictures) images.push_back(step(call.array(picture, false), call.resample()));
    out.items.emplace_back(name, call.stack(images));
  };
  if (call.inputs.images.empty() && call.inputs.prompt_images.empty() && call.inputs.prompt_masks.empty())
    throw_invalid("no picture, prompt picture or prompt mask");
  if (call.inputs.nesting == Nesting::nested)
    throw_invalid("pictures in lists of lists; expected one picture or a list of them");
  if (!call.inputs.images.empty()) add("pixel_values", call.inputs.images.front());
  if (!call.inputs.prompt_images.empty()) add("prompt_pixel_values", call.inputs.prompt_images);
  if (!call.inputs.prompt_masks.empty()) {
    if (!call.flag("do_convert_rgb")) throw_invalid("do_convert_rgb is false; prompt masks need colours");
    std::vector<Tensor> masks;
    for (const auto& mask : call.inputs.prompt_masks) {
      if (mask.dim() != 2)
        throw_invalid(concat("a prompt mask of ", mask.dim(), " dimensions; expected height and width"));
      Tensor rgb = mask.unsqueeze(2).expand({-1, -1, 3}).contiguous();
      if (call.find("num_labels") != nullptr) {
        const auto palette = seg_gpt_palette(call.integer("num_labels"));
        const Tensor colors = at::from_blob(const_cast<int64_t*>(palette.front().data()),
                                            {static_cast<int64_t>(palette.size()), 3}, at::kLong)
                                  .to(at::kByte);
        const Tensor index = mask.to(at::kLong);
        if (index.min().item<int64_t>() < 0 || index.max().item<int64_t>() >= colors.size(0))
          throw_invalid("a prompt mask has a class above num_labels");
        rgb = colors.index({index});
      }
      masks.push_back(step(rgb, Resample::nearest));
    }
    out.items.emplace_back("prompt_masks", call.stack(masks));
  }
  return out;
}

// Each pixel becomes the number of the nearest colour.
BatchFeature image_gpt(const Call& call) {
  call.validate();
  Tensor clusters;
  const bool quantizes = call.flag("do_color_quantize");
  if (quantizes) {
    const Value* value = call.find("clusters");
    if (value == nullptr || !value->is_list() || value->as_list().empty() || value->as_list().size() > 1 << 16)
      throw_invalid("clusters is not set, and do_color_quantize is true");
    std::vector<double> numbers;
    for (const auto& row : value->as_list()) {
      if (!row.is_list() || row.as_list().size() != 3) throw_invalid("clusters has a row that is not three numbers");
      for (const auto& number : row.as_list()) numbers.push_back(number.as_double());
    }
    clusters = at::tensor(numbers, at::kDouble).view({-1, 3});
  }
  std::vector<Tensor> out;
  for (Tensor x : call.flat(false)) {
    if (call.flag("do_resize")) x = call.resize(x, call.exact_size());
    if (call.flag("do_normalize")) x = call.rescale(x, 1 / 127.5) - 1;
    if (!quantizes) {
      out.push_back(call.order(x));
      continue;
    }
    if (x.size(2) != 3) throw_invalid("do_color_quantize needs RGB");
    const Tensor colors = x.reshape({-1, 3}).to(at::kDouble);
    out.push_back((clusters.square().sum(1).unsqueeze(0) - colors.matmul(clusters.t()) * 2).argmin(1));
  }
  return {{{"input_ids", call.stack(out)}}};
}

// Canvases of up to max_image_tiles square tiles, the one that shrinks or grows the picture least.
BatchFeature mllama(const Call& call) {
  call.validate();
  const Size size = call.exact_size();
  const int64_t tile = size.height, tiles = call.integer("max_image_tiles");
  if (size.height != size.width) throw_invalid("size is no square");
  if (!call.flag("do_pad") || !call.flag("do_resize")) throw_invalid("do_pad and do_resize must be true");
  if (tiles < 1 || tiles > 256) throw_invalid(concat("max_image_tiles is ", tiles, "; expected 1 to 256"));
  std::vector<std::pair<int64_t, int64_t>> grids;
  for (int64_t rows = 1; rows <= tiles; ++rows) {
    for (int64_t columns = 1; columns <= tiles; ++columns) {
      if (rows * columns <= tiles) grids.emplace_back(rows, columns);
    }
  }
  std::vector<std::vector<Tensor>> lists;
  std::vector<std::vector<std::pair<int64_t, int64_t>>> shapes;
  size_t most = 0;
  for (const auto& given : call.inputs.images) {
    auto& list = lists.emplace_back();
    auto& shape = shapes.emplace_back();
    for (const auto& picture : given) {
      Tensor x = call.array(call.flag("do_convert_rgb") ? composed_over_white(convert_plain(picture)) : picture);
      std::vector<double> scales;
      for (const auto& [rows, columns] : grids)
        scales.push_back(
            std::min(as_double(rows * tile) / as_double(x.size(0)), as_double(columns * tile) / as_double(x.size(1))));
      double chosen = INFINITY;
      for (const double scale : scales) {
        if (scale >= 1) chosen = std::min(chosen, scale);
      }
      if (chosen == INFINITY) chosen = *std::max_element(scales.begin(), scales.end());
      std::pair<int64_t, int64_t> grid{0, 0};
      for (size_t i = 0; i < grids.size(); ++i) {
        if (scales[i] == chosen && (grid.first == 0 || grids[i].first * grids[i].second < grid.first * grid.second))
          grid = grids[i];
      }
      const int64_t height = std::clamp(x.size(0), tile, grid.first * tile),
                    width = std::clamp(x.size(1), tile, grid.second * tile);
      const double by_height = as_double(height) / as_double(x.size(0)),
                   by_width = as_double(width) / as_double(x.size(1));
      Size target{height, width};
      if (by_width < by_height)
        target.height =
            std::min(std::max<int64_t>(static_cast<int64_t>(std::floor(as_double(x.size(0)) * by_width)), 1), height);
      else
        target.width =
            std::min(std::max<int64_t>(static_cast<int64_t>(std::floor(as_double(x.size(1)) * by_height)), 1), width);
      x = call.resize(x, target);
      x = call.finish(pad_constant(x, 0, grid.first * tile - x.size(0), 0, grid.second * tile - x.size(1)));
      list.push_back(x.permute({2, 0, 1})
                         .reshape({x.size(2), grid.first, tile, grid.second, tile})
                         .permute({1, 3, 0, 2, 4})
                         .reshape({-1, x.size(2), tile, tile}));
      shape.push_back(grid);
    }
    most = std::max(most, list.size());
  }
  if (lists.empty() || lists.front().empty()) throw_invalid("no picture; expected one or a list of them");
  const auto batch = static_cast<int64_t>(lists.size()), count = static_cast<int64_t>(most);
  Tensor pixels = at::zeros({batch, count, tiles, lists.front().front().size(1), tile, tile}, at::kFloat);
  Tensor ids = at::zeros({batch, count}, at::kLong), mask = at::zeros({batch, count, tiles}, at::kLong);
  mask.select(2, 0).fill_(1);
  Feature::List numbers;
  for (int64_t i = 0; i < batch; ++i) {
    Feature::List row;
    for (int64_t j = 0; j < static_cast<int64_t>(lists[static_cast<size_t>(i)].size()); ++j) {
      const Tensor& x = lists[static_cast<size_t>(i)][static_cast<size_t>(j)];
      const auto grid = shapes[static_cast<size_t>(i)][static_cast<size_t>(j)];
      pixels[i][j].narrow(0, 0, x.size(0)).copy_(x);
      mask[i][j].narrow(0, 0, x.size(0)).fill_(1);
      ids[i][j] = std::find(grids.begin(), grids.end(), grid) - grids.begin() + 1;
      row.emplace_back(x.size(0));
    }
    numbers.emplace_back(row);
  }
  return {{{"pixel_values", pixels}, {"aspect_ratio_ids", ids}, {"aspect_ratio_mask", mask}, {"num_tiles", numbers}}};
}

// Qwen2-VL's sizes; a batch is padded to its largest.
BatchFeature emu3(const Call& call) {
  call.validate();
  std::vector<Tensor> images;
  std::vector<std::vector<int64_t>> sizes;
  const int64_t factor = call.integer("spatial_factor"), low = call.integer("min_pixels"),
                high = call.integer("max_pixels");
  if (low < 1 || high < 1) throw_invalid("min_pixels and max_pixels must be above 0");
  int64_t height = 0, width = 0;
  for (Tensor x : call.flat()) {
    if (call.flag("do_resize")) x = call.resize(x, qwen_size(size_of(x), factor, low, high));
    images.push_back(call.order(call.finish(x)));
    sizes.push_back({images.back().size(1), images.back().size(2)});
    height = std::max(height, sizes.back()[0]), width = std::max(width, sizes.back()[1]);
  }
  const Value* pads = call.find("do_pad");
  if (pads != nullptr && !pads->as_bool())
    return {{{"pixel_values", call.stack(images)}, {"image_sizes", call.rows(sizes)}}};
  if (!call.channels_last()) {
    for (auto& x : images) x = at::constant_pad_nd(x, {0, width - x.size(2), 0, height - x.size(1)}, 0);
  }
  return {{{"pixel_values", at::stack(images)}, {"image_sizes", call.rows(sizes)}}};
}

// The longer edge to max_image_size, the shorter to at least min_image_size, the rest zeros.
BatchFeature aria(const Call& call) {
  call.validate();
  const int64_t edge = call.integer("max_image_size"), least = call.integer("min_image_size");
  if (edge != 490 && edge != 980) throw_invalid(concat("max_image_size is ", edge, "; expected 490 or 980"));
  if (least < 1 || least > edge) throw_invalid(concat("min_image_size is ", least, "; expected 1 to max_image_size"));
  std::vector<Tensor> images, masks;
  int64_t crops = 0;
  for (const auto& image : call.flat()) {
    const auto parts = call.flag("split_image") ? resolution_tiles(call, image, "split_resolutions", edge)
                                                : std::vector<Tensor>{image};
    crops = std::max(crops, static_cast<int64_t>(parts.size()));
    for (Tensor x : parts) {
      const double scale = as_double(edge) / as_double(std::max(x.size(0), x.size(1)));
      const Size size = x.size(1) >= x.size(0)
                            ? Size{std::max(static_cast<int64_t>(as_double(x.size(0)) * scale), least), edge}
                            : Size{edge, std::max(static_cast<int64_t>(as_double(x.size(1)) * scale), least)};
      x = pad_constant(call.resize(x, size), 0, edge - size.height, 0, edge - size.width);
      Tensor mask = at::zeros({edge, edge}, at::kBool);
      mask.narrow(0, 0, size.height).narrow(1, 0, size.width).fill_(true);
      masks.push_back(mask);
      if (call.flag("do_rescale")) x = call.rescale(x, call.number("rescale_factor"));
      // The reference puts the channels first only where it normalizes.
      if (call.flag("do_normalize"))
        images.push_back(call.order(call.normalize(x, call.own_numbers("image_mean"), call.own_numbers("image_std"))));
      else
        images.push_back(x.contiguous());
    }
  }
  Feature count(crops);
  if (call.stacks()) count = Feature(at::full({}, crops, at::kLong));
  return {{{"pixel_values", at::stack(images)}, {"pixel_mask", at::stack(masks)}, {"num_crops", count}}};
}

}  // namespace backplane::pipelines
