// timm's evaluation transforms, as its data_config says: resized to input_size / crop_pct, cropped, normalized.

#include <algorithm>
#include <cmath>

#include "vision/pipelines.h"

namespace backplane::pipelines {

BatchFeature timm_wrapper(const Call& call) {
  const Value* config = call.find("data_config");
  const auto member = [&](const char* name) -> const Value& {
    const Value* value = config != nullptr ? config->find(name) : nullptr;
    if (value == nullptr) throw_invalid(concat("data_config has no ", name));
    return *value;
  };
  const Value* asked = call.argument("return_tensors");
  if (asked != nullptr && *asked != Value("pt")) throw_invalid("return_tensors must be \"pt\" for this class");
  const auto numbers = [&](const char* name) {
    std::vector<double> out;
    for (const auto& number : member(name).as_list()) out.push_back(number.as_double());
    return out;
  };
  const auto input = member("input_size").as_int_list();
  if (input.size() != 3 || *std::min_element(input.begin(), input.end()) < 1 ||
      *std::max_element(input.begin(), input.end()) > 1 << 16)
    throw_invalid("data_config.input_size is not channels, height and width");
  const Size size{input[1], input[2]};
  const double part = member("crop_pct").as_double();
  if (!(part > 0)) throw_invalid("data_config.crop_pct is not above 0");
  const Size scale{static_cast<int64_t>(std::floor(static_cast<double>(size.height) / part)),
                   static_cast<int64_t>(std::floor(static_cast<double>(size.width) / part))};
  const std::string mode = member("crop_mode").as_string(), filter_name = member("interpolation").as_string();
  static constexpr std::pair<std::string_view, Resample> kFilters[] = {
      {"nearest", Resample::nearest}, {"bilinear", Resample::bilinear}, {"bicubic", Resample::bicubic},
      {"box", Resample::box},         {"hamming", Resample::hamming},   {"lanczos", Resample::lanczos}};
  const auto* filter =
      std::find_if(std::begin(kFilters), std::end(kFilters), [&](const auto& one) { return one.first == filter_name; });
  if (filter == std::end(kFilters)) throw_invalid(concat("data_config.interpolation is '", filter_name, "'"));
  const auto mean = numbers("mean"), deviation = numbers("std");

  std::vector<Tensor> out;
  const auto add = [&](Tensor x, bool decoded) {
    const auto height = static_cast<double>(x.size(0)), width = static_cast<double>(x.size(1));
    Size target = scale;
    if (mode == "center" && scale.height == scale.width) {
      target = shortest_edge_size(size_of(x), scale.height);
    } else if (mode != "squash") {
      const double by_height = height / static_cast<double>(scale.height),
                   by_width = width / static_cast<double>(scale.width);
      const double ratio = mode == "border" ? std::max(by_height, by_width) : std::min(by_height, by_width);
      target = {round_half_even(height / ratio), round_half_even(width / ratio)};
    }
    x = decoded ? resize_pillow(x, target.height, target.width, filter->second)
                : resize_torch(x, target.height, target.width, filter->second);
    const int64_t rows = std::max<int64_t>(size.height - x.size(0), 0),
                  columns = std::max<int64_t>(size.width - x.size(1), 0);
    if (mode == "border" && rows + columns > 0) {
      Tensor wide = at::empty({x.size(0) + rows, x.size(1) + columns, x.size(2)}, x.options());
      for (int64_t c = 0; c < x.size(2); ++c)
        wide.select(2, c).fill_(std::nearbyint(255 * mean.at(static_cast<size_t>(c))));
      wide.narrow(0, rows / 2, x.size(0)).narrow(1, columns / 2, x.size(1)).copy_(x);
      x = wide;
    } else {
      x = pad_constant(x, rows / 2, rows - rows / 2, columns / 2, columns - columns / 2);
    }
    const auto start = [](int64_t whole, int64_t cut) { return round_half_even(static_cast<double>(whole - cut) / 2); };
    x = x.narrow(0, start(x.size(0), size.height), size.height).narrow(1, start(x.size(1), size.width), size.width);
    if (!x.is_floating_point()) x = x.to(at::kFloat).div(255);
    out.push_back(call.normalize(x, mean, deviation).permute({2, 0, 1}).contiguous());
  };
  if (call.inputs.nesting == Nesting::nested)
    throw_invalid("pictures in lists of lists; expected one picture or a list of them");
  for (const auto& list : call.inputs.images) {
    for (const auto& picture : list) add(call.array(picture), std::holds_alternative<Image>(picture));
  }
  if (out.empty()) throw_invalid("no picture; expected one or a list of them");
  return {{{"pixel_values", call.stack(out)}}};
}

}  // namespace backplane::pipelines
