#pragma once

#include <cmath>
#include <limits>
#include <numeric>

// Images as a whole and in tiles, the tiles put together again, without the padding that made them fit.

#include <backplane/nn/uninitialised.h>

#include "../llava/modeling_llava.h"
#include "configuration_llava_next.h"

namespace backplane::llava_next {

struct Size {
  int64_t height, width;
};

inline Size size_at(const Tensor& image_sizes, int64_t i) {
  const Size size{image_sizes[i][0].item<int64_t>(), image_sizes[i][1].item<int64_t>()};
  if (size.height <= 0 || size.width <= 0)
    throw Error(ErrorCode::invalid_value, concat("image_sizes has ", size.height, " x ", size.width, " pixels"));
  return size;
}

// Of the sizes possible, the one that keeps most of an image, and wastes least.
inline Size best_resolution(const Size& image, const Value& possible) {
  Size best{0, 0};
  int64_t most = 0, least_waste = std::numeric_limits<int64_t>::max();
  for (const auto& pair : possible.as_list()) {
    const int64_t height = pair.as_list()[0].as_int(), width = pair.as_list()[1].as_int();
    const double scale = std::min(static_cast<double>(width) / static_cast<double>(image.width),
                                  static_cast<double>(height) / static_cast<double>(image.height));
    const auto scaled = [&](int64_t x) { return static_cast<int64_t>(static_cast<double>(x) * scale); };
    const int64_t kept = std::min(scaled(image.width) * scaled(image.height), image.width * image.height);
    const int64_t waste = width * height - kept;
    if (kept > most || (kept == most && waste < least_waste)) {
      most = kept;
      least_waste = waste;
      best = {height, width};
    }
  }
  return best;
}

// The whole image and its tiles of `tile` pixels.
inline int64_t tile_count(const Size& image, const Value& pinpoints, int64_t tile) {
  const auto [height, width] = best_resolution(image, pinpoints);
  return ((height + tile - 1) / tile) * ((width + tile - 1) / tile) + 1;
}

// Takes the padding off features [channels, height, width] of an image that was padded to fit.
inline Tensor unpad(const Tensor& x, const Size& image) {
  const auto h = static_cast<double>(x.size(1)), w = static_cast<double>(x.size(2));
  const auto original_h = static_cast<double>(image.height), original_w = static_cast<double>(image.width);
  const auto rounded = [](double value) { return static_cast<int64_t>(std::round(value * 1e7) / 1e7); };
  if (original_w / original_h > w / h) {
    const int64_t padding = (x.size(1) - rounded(original_h * (w / original_w))) / 2;
    return x.slice(1, padding, x.size(1) - padding);
  }
  const int64_t padding = (x.size(2) - rounded(original_w * (h / original_h))) / 2;
  return x.slice(2, padding, x.size(2) - padding);
}

// Adds the embedding of a line's end to each row of [channels, height, width] -> [height * (width + 1), channels].
inline Tensor with_newlines(const Tensor& x, const Tensor& newline) {
  const Tensor ends = newline.view({-1, 1, 1}).expand({-1, x.size(1), 1}).to(x.scalar_type());
  return at::cat({x, ends}, -1).flatten(1, 2).t();
}

template <class C>
struct TiledModel : llava::LlavaModelOf<C, llava::LlavaMultiModalProjector> {
  using Base = llava::LlavaModelOf<C, llava::LlavaMultiModalProjector>;
  using Base::c;
  Tensor image_newline;
  int64_t tile, side;  // pixels of a tile, patches of its side

  explicit TiledModel(const C& config)
      : Base(config),
        image_newline(
            this->register_parameter("image_newline", nn::uninitialised({int_field(*c.text_config, "hidden_size")}))),
        tile(int_field(*c.vision_config, "image_size")),
        side(tile / std::max<int64_t>(int_field(*c.vision_config, "patch_size"), 1)) {
    if (tile <= 0) throw Error(ErrorCode::bad_config, concat("config.json: vision_config: image_size is ", tile));
  }

  // Changes the put-together tiles [channels, height, width] before lines are ended.
  virtual Tensor reduced(const Tensor& x) const { return x; }
  // Whether the images come in tiles; one alone does.
  virtual bool in_tiles(const ModelInputs&, int64_t /*image*/) const { return true; }

  // The features of the whole image and of its tiles [1 + tiles, patches, hidden] -> [tokens, hidden]
  Tensor packed(const Tensor& features, const Size& image) const {
    if (features.size(0) == 1) return at::cat({features[0], image_newline.unsqueeze(0).to(features.scalar_type())});
    const auto [height, width] = best_resolution(image, c.image_grid_pinpoints);
    const int64_t rows = height / tile, columns = width / tile;
    if (features.size(1) != side * side || features.size(0) - 1 != rows * columns) {
      throw Error(ErrorCode::invalid_value,
                  concat("an image has ", features.size(0) - 1, " tiles of ", features.size(1), " patches; expected ",
                         rows, " x ", columns, " tiles of ", side, " x ", side,
                         " patches: vision_feature_select_strategy does not fit the vision tower"));
    }
    Tensor x = features.slice(0, 1).reshape({rows, columns, side, side, -1}).permute({4, 0, 2, 1, 3});
    x = reduced(unpad(x.flatten(1, 2).flatten(2, 3), image));
    return at::cat({features[0], with_newlines(x, image_newline)});
  }

  std::vector<Tensor> packed_images(const Tensor& pixel_values, const ModelInputs& inputs) {
    const Tensor sizes = inputs.tensor("image_sizes");
    if (!sizes.defined()) throw Error(ErrorCode::invalid_value, "pixel_values need image_sizes [images, 2]");
    std::vector<int64_t> counts;
    for (int64_t i = 0; i < sizes.size(0); ++i) {
      counts.push_back(in_tiles(inputs, i) ? tile_count(size_at(sizes, i), c.image_grid_pinpoints, tile) : 1);
    }
    Tensor pixels = pixel_values;
    if (pixels.dim() == 5) {
      std::vector<Tensor> tiles;
      for (int64_t i = 0; i < std::min(pixels.size(0), sizes.size(0)); ++i)
        tiles.push_back(pixels[i].slice(0, 0, counts[i]));
      pixels = at::cat(tiles);
    } else if (pixels.dim() != 4) {
      throw Error(ErrorCode::invalid_value,
                  concat("pixel_values has the shape ", pixels.sizes(), "; expected 4 or 5 dimensions"));
    }
    ModelInputs without_sizes = inputs;
    without_sizes.set("image_sizes", {});
    const Tensor features = this->multi_modal_projector(llava::vision_features(
        *this->vision_tower, pixels, without_sizes, c.vision_feature_layer, c.vision_feature_select_strategy));
    if (std::accumulate(counts.begin(), counts.end(), int64_t{0}) != features.size(0)) {
      throw Error(ErrorCode::invalid_value,
                  concat("pixel_values hold ", features.size(0), " tiles, which is not what image_sizes say"));
    }
    std::vector<Tensor> images;
    int64_t i = 0;
    for (const auto& part : features.split_with_sizes(counts)) images.push_back(packed(part, size_at(sizes, i++)));
    return images;
  }

  // [all tokens of all images, hidden]
  Tensor image_features(const Tensor& pixel_values, const ModelInputs& inputs) override {
    return at::cat(packed_images(pixel_values, inputs));
  }
};

}  // namespace backplane::llava_next
