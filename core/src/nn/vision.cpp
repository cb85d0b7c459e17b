#include "backplane/nn/vision.h"

#include <cmath>

#include "backplane/nn/ops.h"
#include "backplane/nn/uninitialised.h"

namespace backplane {

Size2 size_of(const Value& value, std::string_view key) {
  Size2 size{};
  if (value.is_list()) {
    const auto numbers = value.as_int_list();
    if (numbers.size() != 2)
      throw Error(ErrorCode::bad_config, concat("config.json: ", key, " is ", value.to_string(), ", not two numbers"));
    size = {numbers[0], numbers[1]};
  } else {
    size = {value.as_int(), value.as_int()};
  }
  if (size[0] <= 0 || size[1] <= 0)
    throw Error(ErrorCode::bad_config,
                concat("config.json: ", key, " is ", value.to_string(), "; it must be positive"));
  return size;
}

Size2 patch_grid(const Value& image_size, const Value& patch_size) {
  const Size2 image = size_of(image_size, "image_size"), patch = size_of(patch_size, "patch_size");
  if (patch[0] > image[0] || patch[1] > image[1]) {
    throw Error(ErrorCode::bad_config, concat("config.json: patch_size (", patch_size.to_string(),
                                              ") is larger than image_size (", image_size.to_string(), ")"));
  }
  return {image[0] / patch[0], image[1] / patch[1]};
}

void check_divides(std::string_view whole_key, int64_t whole, std::string_view part_key, int64_t part) {
  if (part <= 0 || whole % part != 0) {
    throw Error(ErrorCode::bad_config,
                concat("config.json: ", whole_key, " (", whole, ") is not divisible by ", part_key, " (", part, ")"));
  }
}

void check_stages(size_t stages, std::initializer_list<std::pair<std::string_view, size_t>> lists) {
  if (stages == 0) throw Error(ErrorCode::bad_config, "config.json: a model without stages is not possible");
  for (const auto& [key, length] : lists) {
    if (length < stages) {
      throw Error(ErrorCode::bad_config,
                  concat("config.json: ", key, " has ", length, " elements; there are ", stages, " stages"));
    }
  }
}

Tensor resize(const Tensor& x, Size2 size, Resampling how, bool align_corners) {
  if (x.size(2) == size[0] && x.size(3) == size[1]) return x;
  switch (how) {
    case Resampling::nearest:
      return at::upsample_nearest2d(x, size);
    case Resampling::bilinear:
      return at::upsample_bilinear2d(x, size, align_corners);
    default:
      return at::upsample_bicubic2d(x, size, align_corners);
  }
}

Tensor resize_positions(const Tensor& positions, int64_t prefix, Size2 grid) {
  const int64_t patches = positions.size(1) - prefix, side = std::llround(std::sqrt(static_cast<double>(patches)));
  if (side * side != patches) {
    throw Error(ErrorCode::invalid_value,
                concat("position embeddings of ", patches, " patches form no square and cannot be interpolated"));
  }
  const Tensor map = tokens_to_map(positions.slice(1, prefix), {side, side});
  return at::cat({positions.slice(1, 0, prefix), map_to_tokens(resize(map, grid, Resampling::bicubic))}, 1);
}

Tensor head_mask_of_layers(const Tensor& head_mask, int64_t layers, int64_t heads, at::ScalarType dtype) {
  if (!head_mask.defined()) return {};
  const Tensor mask = head_mask.dim() == 1 ? head_mask.unsqueeze(0).expand({layers, head_mask.size(0)}) : head_mask;
  if (mask.numel() != layers * heads) {
    throw Error(ErrorCode::invalid_value, concat("head_mask has the shape ", head_mask.sizes(), "; expected [", heads,
                                                 "] or [", layers, ", ", heads, "]"));
  }
  return mask.reshape({layers, 1, heads, 1, 1}).to(dtype);
}

Tensor tokens_to_map(const Tensor& tokens, Size2 grid) {
  return tokens.transpose(1, 2).reshape({tokens.size(0), tokens.size(2), grid[0], grid[1]});
}

Tensor map_to_tokens(const Tensor& map) { return map.flatten(2).transpose(1, 2); }

Tensor window_partition(const Tensor& x, Size2 window) {
  const int64_t right = (window[1] - x.size(2) % window[1]) % window[1],
                bottom = (window[0] - x.size(1) % window[0]) % window[0];
  const Tensor padded = right || bottom ? at::constant_pad_nd(x, {0, 0, 0, right, 0, bottom}) : x;
  const int64_t rows = padded.size(1) / window[0], columns = padded.size(2) / window[1];
  return padded.reshape({x.size(0), rows, window[0], columns, window[1], x.size(3)})
      .transpose(2, 3)
      .reshape({x.size(0) * rows * columns, window[0] * window[1], x.size(3)});
}

Tensor window_reverse(const Tensor& windows, Size2 window, Size2 size) {
  const int64_t rows = (size[0] + window[0] - 1) / window[0], columns = (size[1] + window[1] - 1) / window[1],
                batch = windows.size(0) / (rows * columns);
  const Tensor x = windows.reshape({batch, rows, columns, window[0], window[1], windows.size(2)})
                       .transpose(2, 3)
                       .reshape({batch, rows * window[0], columns * window[1], windows.size(2)});
  return x.slice(1, 0, size[0]).slice(2, 0, size[1]);
}

Tensor relative_position_index(Size2 window) {
  const Tensor y = at::arange(window[0]).view({-1, 1}).expand({window[0], window[1]}).reshape({-1}),
               x = at::arange(window[1]).expand({window[0], window[1]}).reshape({-1});
  const Tensor down = y.unsqueeze(1) - y.unsqueeze(0) + (window[0] - 1),
               right = x.unsqueeze(1) - x.unsqueeze(0) + (window[1] - 1);
  return down * (2 * window[1] - 1) + right;
}

Tensor shifted_window_mask(Size2 size, Size2 window, Size2 shift, at::ScalarType dtype) {
  // Three bands a direction: what stays in place, the last window's old part, and what was rolled in.
  const auto bands = [](int64_t length, int64_t window, int64_t shift) {
    Tensor band = at::zeros({length}, at::kLong);
    band.slice(0, length - window).fill_(1);
    if (shift > 0) band.slice(0, length - shift).fill_(2);
    return band;
  };
  const Tensor regions =
      bands(size[0], window[0], shift[0]).unsqueeze(1) * 3 + bands(size[1], window[1], shift[1]).unsqueeze(0);
  const Tensor windows = window_partition(regions.view({1, size[0], size[1], 1}), window).squeeze(-1);
  return (windows.unsqueeze(1) != windows.unsqueeze(2)).to(dtype) * -100.0;
}

std::vector<double> linear_rates(double last, int64_t count) {
  constexpr int64_t kMostLayers = 100000;
  if (count < 0 || count > kMostLayers)
    throw Error(ErrorCode::bad_config, concat("config.json: a model of ", count, " layers is not possible"));
  std::vector<double> rates;
  for (int64_t i = 0; i < count; ++i)
    rates.push_back(count > 1 ? last * static_cast<double>(i) / static_cast<double>(count - 1) : 0);
  return rates;
}

Tensor masked_image_loss(const Tensor& pixel_values, const Tensor& reconstruction, const Tensor& bool_masked_pos,
                         int64_t patch_size) {
  const int64_t rows = pixel_values.size(2) / patch_size, columns = pixel_values.size(3) / patch_size;
  const Tensor mask = bool_masked_pos.reshape({-1, rows, columns})
                          .to(pixel_values.scalar_type())
                          .repeat_interleave(patch_size, 1)
                          .repeat_interleave(patch_size, 2)
                          .unsqueeze(1);
  return (at::abs(pixel_values - reconstruction) * mask).sum() / (mask.sum() + 1e-5) /
         static_cast<double>(pixel_values.size(1));
}

Tensor segmentation_loss(const Tensor& logits, const Tensor& labels, int64_t ignore_index) {
  const Tensor wide = resize(logits, {labels.size(-2), labels.size(-1)}, Resampling::bilinear);
  return at::cross_entropy_loss(wide, labels, {}, at::Reduction::Mean, ignore_index);
}

void check_images(const Tensor& pixel_values, int64_t channels) {
  if (!pixel_values.defined()) throw Error(ErrorCode::invalid_value, "pixel_values are missing");
  if (pixel_values.dim() != 4 || pixel_values.size(1) != channels) {
    throw Error(ErrorCode::invalid_value, concat("pixel_values have the shape ", pixel_values.sizes(),
                                                 "; expected [batch, ", channels, ", height, width]"));
  }
}

namespace nn {

Tensor parameter(at::IntArrayRef shape) { return uninitialised(shape); }

Tensor DropPathImpl::forward(const Tensor& x) const {
  if (!is_training() || p <= 0) return x;
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[0] = x.size(0);
  return x / (1 - p) * at::floor(at::rand(shape, x.options()) + (1 - p));
}

LayerNorm2dImpl::LayerNorm2dImpl(int64_t channels, double eps) : eps(eps) {
  weight = register_parameter("weight", uninitialised({channels}));
  bias = register_parameter("bias", uninitialised({channels}));
}

Tensor LayerNorm2dImpl::forward(const Tensor& x) const {
  return at::layer_norm(x.permute({0, 2, 3, 1}), weight.sizes(), weight, bias, eps).permute({0, 3, 1, 2});
}

PatchEmbeddingsImpl::PatchEmbeddingsImpl(const Value& image_size, const Value& patch_size, int64_t channels,
                                         int64_t hidden_size)
    : image(size_of(image_size, "image_size")),
      patch(size_of(patch_size, "patch_size")),
      grid(patch_grid(image_size, patch_size)),
      channels(channels),
      projection(register_module("projection", Conv2d(channels, hidden_size, patch, ConvOptions<2>{.stride = patch}))) {
}

Tensor PatchEmbeddingsImpl::forward(const Tensor& pixel_values, bool any_size) {
  check_images(pixel_values, channels);
  if (!any_size && (pixel_values.size(2) != image[0] || pixel_values.size(3) != image[1])) {
    throw Error(ErrorCode::invalid_value, concat("images of ", pixel_values.size(2), " x ", pixel_values.size(3),
                                                 " pixels do not match the model's ", image[0], " x ", image[1]));
  }
  return map_to_tokens(projection(pixel_values));
}

}  // namespace nn
}  // namespace backplane
