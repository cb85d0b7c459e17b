#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

#include "backplane/config/value.h"
#include "backplane/nn/conv.h"
#include "backplane/nn/layers.h"
#include "backplane/nn/sequence.h"

// What vision models share: sizes, resizing, patches, windows. Functions are thread-safe; modules as in layers.h.
namespace backplane {

/// Height and width, in pixels or patches.
using Size2 = std::array<int64_t, 2>;

/// A size of a config, one number for both directions or [height, width]. Throws `bad_config`, naming `key`, for
/// anything else and for numbers that are not positive.
Size2 size_of(const Value& value, std::string_view key);

/// How many patches fit. Throws `bad_config` where none does.
Size2 patch_grid(const Value& image_size, const Value& patch_size);

/// Throws `bad_config` where `part` is not positive or does not divide `whole`: keys and values.
void check_divides(std::string_view whole_key, int64_t whole, std::string_view part_key, int64_t part);
/// Throws `bad_config` where one of the lists of a config is shorter than there are stages.
void check_stages(size_t stages, std::initializer_list<std::pair<std::string_view, size_t>> lists);

enum class Resampling { nearest, bilinear, bicubic };

/// Resizes x [batch, channels, height, width] to `size`; x itself where it has that size.
Tensor resize(const Tensor& x, Size2 size, Resampling how, bool align_corners = false);

/// Position embeddings [1, prefix + n * n, dim] for another number of patches: the first `prefix` stay, the square grid
/// of the others is resized (bicubic) -> [1, prefix + grid[0] * grid[1], dim]. Touvron et al. 2020,
/// https://arxiv.org/abs/2012.12877. Throws `invalid_value` where the others are no square.
Tensor resize_positions(const Tensor& positions, int64_t prefix, Size2 grid);

/// head_mask [heads] or [layers, heads], 1 where a head counts -> [layers, 1, heads, 1, 1], to be multiplied with what
/// the heads give; undefined stays undefined.
Tensor head_mask_of_layers(const Tensor& head_mask, int64_t layers, int64_t heads, at::ScalarType dtype);

/// Tokens [batch, height * width, dim] <-> maps [batch, dim, height, width].
Tensor tokens_to_map(const Tensor& tokens, Size2 grid);
Tensor map_to_tokens(const Tensor& map);

/// Pads x [batch, height, width, dim] on the right and at the bottom to whole windows, and cuts it into them ->
/// [batch * windows, window[0] * window[1], dim].
Tensor window_partition(const Tensor& x, Size2 window);
/// The inverse; `size` is that of x before padding, which is cut off.
Tensor window_reverse(const Tensor& windows, Size2 window, Size2 size);

/// Where in a table [(2 h - 1) * (2 w - 1), …] the offset of two places of a window stands: [h * w, h * w]. Liu et al.
/// 2021, https://arxiv.org/abs/2103.14030.
Tensor relative_position_index(Size2 window);

/// -100 between places of a rolled map [height, width] that were no neighbours, 0 elsewhere: [windows, n, n], n places
/// a window. height and width are whole windows.
Tensor shifted_window_mask(Size2 size, Size2 window, Size2 shift, at::ScalarType dtype);

/// `count` numbers from 0 to `last`: the rates of stochastic depth. Throws `bad_config` for a count that no model has.
std::vector<double> linear_rates(double last, int64_t count);

/// Mean distance of the masked patches in pixels: bool_masked_pos [batch, patches], images [batch, channels, h, w].
/// Xie et al. 2021, https://arxiv.org/abs/2111.09886.
Tensor masked_image_loss(const Tensor& pixel_values, const Tensor& reconstruction, const Tensor& bool_masked_pos,
                         int64_t patch_size);

/// Cross entropy of logits [batch, classes, h, w], resized to the labels [batch, H, W].
Tensor segmentation_loss(const Tensor& logits, const Tensor& labels, int64_t ignore_index);

/// Space to depth reversed: x [batch, channels * factor^2, h, w] -> [batch, channels, h * factor, w * factor].
inline auto pixel_shuffle(int64_t factor) {
  return [factor](const Tensor& x) { return at::pixel_shuffle(x, factor); };
}

/// Throws `invalid_value` where images [batch, channels, height, width] are missing, have another number of dimensions
/// or of channels.
void check_images(const Tensor& pixel_values, int64_t channels);

namespace nn {

/// The same in both directions; becomes ConvOptions<2>.
struct Square {
  int64_t stride = 1, padding = 0, dilation = 1, groups = 1;
  bool with_bias = true;
  operator ConvOptions<2>() const {
    return {.stride = extent<2>(stride),
            .padding = extent<2>(padding),
            .dilation = extent<2>(dilation),
            .groups = groups,
            .with_bias = with_bias};
  }
};

/// Parameters of modules that are no layers (tokens, positions, scales): uninitialised, within the budget of the
/// loader. Throws `bad_config` for a shape that no tensor can have.
Tensor parameter(at::IntArrayRef shape);

/// Stochastic depth: drops a sample's branch with probability p; active only in training mode. Huang et al. 2016,
/// https://arxiv.org/abs/1603.09382.
class DropPathImpl : public Module {
 public:
  explicit DropPathImpl(double p) : p(p) {}
  Tensor forward(const Tensor& x) const;

  double p;
};
TORCH_MODULE(DropPath);

/// LayerNorm over the channels of x [batch, channels, height, width].
class LayerNorm2dImpl : public Module {
 public:
  explicit LayerNorm2dImpl(int64_t channels, double eps = 1e-6);
  Tensor forward(const Tensor& x) const;

  Tensor weight, bias;
  double eps;
};
TORCH_MODULE(LayerNorm2d);

/// Images of one size cut into patches, each projected. Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929.
class PatchEmbeddingsImpl : public Module {
 public:
  PatchEmbeddingsImpl(const Value& image_size, const Value& patch_size, int64_t channels, int64_t hidden_size);
  /// [batch, channels, height, width] -> [batch, patches, hidden]. Throws `invalid_value` for another number of
  /// channels, and for another size unless `any_size`.
  Tensor forward(const Tensor& pixel_values, bool any_size = false);
  int64_t patches() const { return grid[0] * grid[1]; }

  Size2 image, patch, grid;
  int64_t channels;
  Conv2d projection;
};
TORCH_MODULE(PatchEmbeddings);

}  // namespace nn
}  // namespace backplane
