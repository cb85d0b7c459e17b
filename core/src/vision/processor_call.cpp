#include "vision/processor_call.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

constexpr int64_t kLargestEdge = 1 << 20;
constexpr int64_t kPictures = 1 << 16;

bool are_channels(int64_t size) { return size == 1 || size == 3; }

Tensor as_array(const Image& image) {
  if (image.mode == ImageMode::i16)
    return at::from_blob(const_cast<uint8_t*>(image.pixels.data()), {image.height, image.width, 1}, at::kShort)
        .to(at::kInt)
        .bitwise_and(0xFFFF);
  return at::from_blob(const_cast<uint8_t*>(image.pixels.data()), {image.height, image.width, image.channels()},
                       at::kByte)
      .clone();
}

bool is_flat_value(const Tensor& image, double scale) {
  const Tensor scaled = scale == 1 ? image : image / scale;
  return scaled.ge(0).all().item<bool>() && scaled.le(1).all().item<bool>();
}

// As to_pil_image's _rescale_for_pil_conversion: whether values are fractions of 1; throws for others than bytes.
bool are_fractions(const Tensor& image) {
  if (image.scalar_type() == at::kByte) return false;
  if (at::allclose(image.to(at::kDouble), image.to(at::kLong).to(at::kDouble))) {
    if (is_flat_value(image, 255)) return false;
  } else if (is_flat_value(image, 1)) {
    return true;
  }
  throw_invalid(concat("a picture with values from ", image.min().item<double>(), " to ", image.max().item<double>(),
                       " cannot be resized; expected whole numbers of 0 to 255, or fractions of 0 to 1"));
}

// bytes [height, width, channels], table [256, channels of the result] -> float32 [height, width, channels of the
// result], laid out with the channels first.
Tensor lookup(const Tensor& bytes, const Tensor& table) {
  const int64_t in_channels = bytes.size(2), channels = table.size(1), pixels = bytes.size(0) * bytes.size(1);
  const Tensor image = bytes.contiguous();
  Tensor out = at::empty({channels, bytes.size(0), bytes.size(1)}, at::kFloat);
  const auto* from = image.const_data_ptr<uint8_t>();
  for (int64_t c = 0; c < channels; ++c) {
    const Tensor column = table.select(1, c).contiguous();
    const auto* values = column.const_data_ptr<float>();
    auto* to = out.mutable_data_ptr<float>() + c * pixels;
    const auto* byte = from + (in_channels == 1 ? 0 : c);
    for (int64_t i = 0; i < pixels; ++i) to[i] = values[byte[i * in_channels]];
  }
  return out.permute({1, 2, 0});
}

}  // namespace

void throw_invalid(const std::string& message) { throw Error(ErrorCode::invalid_value, message); }

int64_t round_half_even(double value) { return static_cast<int64_t>(std::nearbyint(value)); }

SizeDict to_size_dict(const Value& value, SizeRule rule, std::string_view name) {
  SizeDict out;
  const auto edge = [&](const Value& number) {
    const double edge = number.is_number() ? number.as_double() : 0;
    if (edge < 1 || edge > static_cast<double>(kLargestEdge))
      throw_invalid(concat(name, " is ", value.to_string(), "; expected edges of 1 to ", kLargestEdge, " pixels"));
    return static_cast<int64_t>(edge);
  };
  if (value.is_number()) {
    const int64_t number = edge(value);
    if (rule == SizeRule::longest)
      out.longest_edge = number;
    else if (rule == SizeRule::shortest || rule == SizeRule::shortest_1333)
      out.shortest_edge = number;
    else
      out.height = out.width = number;
    if (rule == SizeRule::shortest_1333) out.longest_edge = 1333;
    return out;
  }
  if (value.is_list() && value.as_list().size() == 2) {
    out.height = edge(value.as_list()[0]);
    out.width = edge(value.as_list()[1]);
    return out;
  }
  static constexpr std::array<std::pair<std::string_view, int64_t SizeDict::*>, 6> kKeys{
      {{"height", &SizeDict::height},
       {"width", &SizeDict::width},
       {"shortest_edge", &SizeDict::shortest_edge},
       {"longest_edge", &SizeDict::longest_edge},
       {"max_height", &SizeDict::max_height},
       {"max_width", &SizeDict::max_width}}};
  if (value.is_object()) {
    for (const auto& [key, number] : value.as_object()) {
      const auto* found =
          std::find_if(kKeys.begin(), kKeys.end(), [&](const auto& known) { return known.first == key; });
      if (found == kKeys.end())
        throw_invalid(concat(name, " has the key '", key,
                             "'; expected height and width, shortest_edge, longest_edge, or max_height and max_width"));
      if (!number.is_null()) out.*found->second = edge(number);
    }
    const bool pair = (out.height != 0) == (out.width != 0) && (out.max_height != 0) == (out.max_width != 0);
    const bool edges = out.shortest_edge != 0 || out.longest_edge != 0;
    if (pair && (out.height != 0) + (out.max_height != 0) + edges == 1) return out;
  }
  throw_invalid(concat(name, " is ", value.to_string(),
                       "; expected height and width, shortest_edge, longest_edge, or max_height and max_width"));
}

Size shortest_edge_size(Size image, int64_t shortest) {
  const bool tall = image.width <= image.height;
  const int64_t low = tall ? image.width : image.height, high = tall ? image.height : image.width;
  const auto longest = static_cast<int64_t>(static_cast<double>(shortest * high) / static_cast<double>(low));
  return tall ? Size{longest, shortest} : Size{shortest, longest};
}

Size aspect_ratio_size(Size image, int64_t shortest, int64_t longest) {
  const auto height = static_cast<double>(image.height), width = static_cast<double>(image.width);
  std::optional<double> raw;
  int64_t size = shortest;
  if (longest != 0) {
    const double low = std::min(height, width), high = std::max(height, width);
    if (high / low * static_cast<double>(size) > static_cast<double>(longest)) {
      raw = static_cast<double>(longest) * low / high;
      size = round_half_even(*raw);
    }
  }
  if ((image.height <= image.width && image.height == size) || (image.width <= image.height && image.width == size))
    return image;
  const double short_edge = raw ? *raw : static_cast<double>(size);
  if (image.width < image.height) return {static_cast<int64_t>(short_edge * height / width), size};
  return {size, static_cast<int64_t>(short_edge * width / height)};
}

Size max_size(Size image, int64_t max_height, int64_t max_width) {
  const auto height = static_cast<double>(image.height), width = static_cast<double>(image.width);
  const double scale = std::min(static_cast<double>(max_height) / height, static_cast<double>(max_width) / width);
  return {static_cast<int64_t>(height * scale), static_cast<int64_t>(width * scale)};
}

Tensor pad_constant(const Tensor& image, int64_t top, int64_t bottom, int64_t left, int64_t right, double value) {
  if (top == 0 && bottom == 0 && left == 0 && right == 0) return image;
  return at::constant_pad_nd(image, {0, 0, left, right, top, bottom}, value);
}

Call::Call(const ImageProcessorClass& type, const Value::Object& settings, const Value::Object& arguments,
           const ImageProcessorInputs& given)
    : inputs(given), fast(is_fast(type.name)), type_(type), settings_(settings), arguments_(arguments) {
  for (const auto& [key, value] : arguments) {
    if (key != "return_tensors") continue;
    stacks_ = !value.is_null();
    if (stacks_ && value != Value("pt") && value != Value("np"))
      throw_invalid(concat("return_tensors is ", value.to_string(), "; expected \"pt\", \"np\" or null"));
    if (stacks_ && fast && value != Value("pt"))
      throw_invalid("return_tensors is \"np\"; a fast image processor gives \"pt\" only");
  }
}

const Value* Call::find(std::string_view name) const {
  for (const auto& [key, value] : arguments_) {
    if (key == name && !value.is_null()) return &value;
  }
  for (const auto& [key, value] : settings_) {
    if (key == name) return value.is_null() ? nullptr : &value;
  }
  return nullptr;
}

bool Call::flag(std::string_view name) const {
  const Value* value = find(name);
  return value != nullptr && (value->is_bool()     ? value->as_bool()
                              : value->is_number() ? value->as_double() != 0
                                                   : true);
}

double Call::number(std::string_view name) const {
  const Value* value = find(name);
  if (value == nullptr || !value->is_number())
    throw_invalid(concat(name, " is ", value ? value->to_string() : "not set", "; expected a number"));
  return value->as_double();
}

int64_t Call::integer(std::string_view name) const {
  const double value = number(name);
  if (!(std::abs(value) < 1e15)) throw_invalid(concat(name, " is ", value, "; expected a whole number"));
  return static_cast<int64_t>(value);
}

Resample Call::resample(std::string_view name) const {
  const Value* value = find(name);
  if (value == nullptr) return Resample::bilinear;
  const int64_t filter = integer(name);
  if (filter < 0 || filter > 5) throw_invalid(concat(name, " is ", filter, "; expected 0 to 5"));
  return static_cast<Resample>(filter);
}

SizeDict Call::size(std::string_view name, SizeRule rule) const {
  const Value* value = find(name);
  if (value == nullptr) throw_invalid(concat(name, " is not set"));
  return to_size_dict(*value, rule, name);
}

Size Call::exact_size(std::string_view name) const {
  const SizeDict found = size(name);
  if (!found.exact()) throw_invalid(concat(name, " is ", find(name)->to_string(), "; expected height and width"));
  return {found.height, found.width};
}

const Value* Call::argument(std::string_view name) const {
  for (const auto& [key, value] : arguments_) {
    if (key == name) return value.is_null() ? nullptr : &value;
  }
  return nullptr;
}

namespace {

std::vector<double> to_numbers(const Value* value, std::string_view name) {
  if (value == nullptr) throw_invalid(concat(name, " is not set"));
  if (value->is_number()) return {value->as_double()};
  std::vector<double> out;
  for (const auto& number : value->as_list()) out.push_back(number.as_double());
  return out;
}

}  // namespace

std::vector<double> Call::numbers(std::string_view name) const { return to_numbers(find(name), name); }

std::vector<double> Call::own_numbers(std::string_view name) const {
  for (const auto& [key, value] : settings_) {
    if (key == name) return to_numbers(value.is_null() ? nullptr : &value, name);
  }
  return to_numbers(nullptr, name);
}

bool Call::channels_last() const {
  const Value* format = find("data_format");
  if (format == nullptr || *format == Value("channels_first")) return false;
  if (*format != Value("channels_last"))
    throw_invalid(concat("data_format is ", format->to_string(), "; expected \"channels_first\" or \"channels_last\""));
  if (fast) throw_invalid("data_format is \"channels_last\"; a fast image processor gives channels_first only");
  return true;
}

void Call::validate(bool crops) const {
  channels_last();
  if (flag("do_rescale") && find("rescale_factor") == nullptr)
    throw_invalid("rescale_factor is not set, and do_rescale is true");
  if (flag("do_normalize") && (find("image_mean") == nullptr || find("image_std") == nullptr))
    throw_invalid("image_mean or image_std is not set, and do_normalize is true");
  if (crops && flag("do_center_crop") && find("crop_size") == nullptr)
    throw_invalid("crop_size is not set, and do_center_crop is true");
  if (flag("do_resize") && (find("size") == nullptr || find("resample") == nullptr))
    throw_invalid("size or resample is not set, and do_resize is true");
}

Tensor Call::array(const Picture& picture, bool converts) const {
  const Image* image = std::get_if<Image>(&picture);
  const bool first = [&] {
    const Value* format = find("input_data_format");
    if (format != nullptr) return *format != Value("channels_last");
    if (image != nullptr) return false;
    const Tensor& given = std::get<Tensor>(picture);
    if (given.dim() != 3)
      throw_invalid(concat("a picture of ", given.dim(), " dimensions; expected height, width and channels"));
    if (are_channels(given.size(0))) return true;
    if (are_channels(given.size(2))) return false;
    throw_invalid(concat("the channels of a picture of ", given.size(0), " x ", given.size(1), " x ", given.size(2),
                         " cannot be told; expected 1 or 3 of them, first or last, or input_data_format"));
  }();
  if (image == nullptr) {
    const Tensor& given = std::get<Tensor>(picture);
    if (given.numel() == 0) throw_invalid("a picture without pixels");
    return (first ? given.permute({1, 2, 0}) : given).contiguous();
  }
  if (image->width < 1 || image->height < 1) throw_invalid("a picture without pixels");
  if (converts && flag("do_convert_rgb") && image->mode != ImageMode::rgb)
    return as_array(backplane::convert_to_rgb(*image));
  const int64_t channels = image->channels();
  // numpy drops the last dimension of grey pictures, and then nothing tells which one the channels are.
  if (!fast && channels == 1)
    throw_invalid("a grey or palette picture has no channels; expected RGB, or do_convert_rgb");
  if (!are_channels(channels))
    throw_invalid(concat("a picture of ", channels, " channels; expected RGB, or do_convert_rgb"));
  return as_array(*image);
}

std::vector<Tensor> Call::flat(bool allow_nested) const {
  std::vector<Tensor> out;
  for (const auto& list : nested()) out.insert(out.end(), list.begin(), list.end());
  if (inputs.nesting == Nesting::nested && !allow_nested)
    throw_invalid("pictures in lists of lists; expected one picture or a list of them");
  return out;
}

std::vector<std::vector<Tensor>> Call::nested(bool converts) const {
  std::vector<std::vector<Tensor>> out;
  int64_t count = 0;
  for (const auto& list : inputs.images) {
    auto& row = out.emplace_back();
    for (const auto& picture : list) {
      const Tensor* tensor = std::get_if<Tensor>(&picture);
      if (tensor != nullptr && tensor->dim() == 4) {
        for (const auto& part : tensor->unbind(0)) row.push_back(array(part, converts));
      } else {
        row.push_back(array(picture, converts));
      }
      if ((count = static_cast<int64_t>(row.size())) > kPictures) throw_invalid("too many pictures in one call");
    }
  }
  if (out.empty() || out.front().empty()) throw_invalid("no picture; expected one or a list of them");
  return out;
}

Tensor Call::resize(const Tensor& image, Size size, Resample filter, bool antialias) const {
  if (fast) return resize_torch(image, size.height, size.width, filter, antialias);
  const Tensor out = resize_pillow(bytes(image), size.height, size.width, filter);
  return are_fractions(image) ? rescale(out, 1 / 255.0) : out;
}

Tensor Call::resize_with_gap(const Tensor& image, Size size, Resample filter, double gap) const {
  const Tensor out = resize_pillow_with_gap(bytes(image), size.height, size.width, filter, gap);
  return are_fractions(image) ? rescale(out, 1 / 255.0) : out;
}

Tensor Call::bytes(const Tensor& image) const {
  return are_fractions(image) ? (image.to(at::kDouble) * 255).to(at::kFloat).to(at::kByte) : image.to(at::kByte);
}

Tensor Call::center_crop(const Tensor& image, Size size) const {
  if (fast) {
    Tensor x = image;
    const int64_t more_h = std::max<int64_t>(size.height - x.size(0), 0),
                  more_w = std::max<int64_t>(size.width - x.size(1), 0);
    x = pad_constant(x, more_h / 2, (more_h + 1) / 2, more_w / 2, (more_w + 1) / 2);
    const int64_t top = round_half_even(static_cast<double>(x.size(0) - size.height) / 2);
    const int64_t left = round_half_even(static_cast<double>(x.size(1) - size.width) / 2);
    return x.narrow(0, top, size.height).narrow(1, left, size.width);
  }
  // The reference floors (height - crop) / 2, and pads with the larger half in front.
  const auto floor_half = [](int64_t value) { return value >= 0 ? value / 2 : -((-value + 1) / 2); };
  int64_t top = floor_half(image.size(0) - size.height), left = floor_half(image.size(1) - size.width);
  if (top >= 0 && left >= 0) return image.narrow(0, top, size.height).narrow(1, left, size.width);
  const int64_t height = std::max(size.height, image.size(0)), width = std::max(size.width, image.size(1));
  const int64_t top_pad = (height - image.size(0) + 1) / 2, left_pad = (width - image.size(1) + 1) / 2;
  const Tensor x =
      pad_constant(image, top_pad, height - image.size(0) - top_pad, left_pad, width - image.size(1) - left_pad);
  top += top_pad;
  left += left_pad;
  const int64_t y0 = std::max<int64_t>(top, 0), x0 = std::max<int64_t>(left, 0);
  return x.narrow(0, y0, std::min(height, top + size.height) - y0)
      .narrow(1, x0, std::min(width, left + size.width) - x0);
}

Tensor Call::rescale(const Tensor& image, double factor) const {
  if (fast) return image * factor;
  return (image.to(at::kDouble) * factor).to(at::kFloat);
}

Tensor Call::normalize(const Tensor& given, const std::vector<double>& mean, const std::vector<double>& std) const {
  const int64_t channels = given.size(-1);
  const Tensor image = given.is_floating_point() ? given : given.to(at::kFloat);
  for (const auto* values : {&mean, &std}) {
    const auto count = static_cast<int64_t>(values->size());
    if (count != 1 && count != channels && !(fast && channels == 1))
      throw_invalid(concat("image_mean or image_std has ", count, " numbers, and the picture ", channels, " channels"));
  }
  for (const double value : std) {
    if (fast && value == 0) throw_invalid("image_std is 0");
  }
  const auto row = [&](const std::vector<double>& values) {
    return at::tensor(values, at::kDouble).to(image.scalar_type());
  };
  return (image - row(mean)).div(row(std));
}

Tensor Call::finish(const Tensor& image, const std::string& prefix) const {
  const bool rescales = flag(prefix + "do_rescale"), normalizes = flag(prefix + "do_normalize");
  if (!rescales && !normalizes) return image;
  const double factor = rescales ? number(prefix + "rescale_factor") : 1;
  if (!normalizes) return rescale(image, factor);
  auto mean = numbers(prefix + "image_mean"), std = numbers(prefix + "image_std");
  // 256 answers for each channel are all that a picture of bytes needs.
  const auto bytes = [&] { return at::arange(256, at::kByte).unsqueeze(1).expand({256, image.size(-1)}); };
  if (!rescales || !fast) {
    if (image.scalar_type() == at::kByte)
      return lookup(image, normalize(rescales ? rescale(bytes(), factor) : bytes(), mean, std));
    return normalize(rescales ? rescale(image, factor) : image, mean, std);
  }
  // Mean and deviation are scaled in float32 instead of the picture.
  for (auto* values : {&mean, &std}) {
    for (auto& value : *values) value = static_cast<float>(value) * static_cast<float>(1.0 / factor);
  }
  if (image.scalar_type() == at::kByte) return lookup(image, normalize(bytes(), mean, std));
  return normalize(image.to(at::kFloat), mean, std);
}

Tensor Call::order(const Tensor& image) const {
  if (channels_last()) return image.contiguous();
  return image.permute({2, 0, 1}).contiguous();
}

std::vector<Tensor> Call::map(const std::vector<Tensor>& images,
                              const std::function<Tensor(const Tensor&)>& each) const {
  std::vector<Tensor> out(images.size());
  // One picture alone leaves the threads to the operations on it.
  if (images.size() == 1) {
    out[0] = order(each(images[0]));
    return out;
  }
  at::parallel_for(0, static_cast<int64_t>(images.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[static_cast<size_t>(i)] = order(each(images[static_cast<size_t>(i)]));
  });
  return out;
}

Feature Call::stack(const std::vector<Tensor>& tensors) const {
  if (!stacks_) return Feature(tensors);
  for (const auto& tensor : tensors) {
    if (tensor.sizes() != tensors.front().sizes())
      throw_invalid(
          "the pictures have different sizes after processing, so they make no one tensor; resize or pad them, or set "
          "return_tensors to null");
  }
  return Feature(at::stack(tensors));
}

Feature Call::stack(const std::vector<std::vector<Tensor>>& tensors) const {
  if (!stacks_) {
    Feature::List list;
    for (const auto& row : tensors) list.emplace_back(row);
    return list;
  }
  std::vector<Tensor> rows;
  for (const auto& row : tensors) rows.push_back(stack(row).tensor());
  return stack(rows);
}

Feature Call::rows(const std::vector<std::vector<int64_t>>& rows) const {
  std::vector<Tensor> tensors;
  Feature::List list;
  for (const auto& row : rows) {
    if (stacks_)
      tensors.push_back(at::tensor(row, at::kLong));
    else
      list.emplace_back(Feature::List(row.begin(), row.end()));
  }
  return stacks_ ? stack(tensors) : Feature(list);
}

Feature Call::numbers_feature(const std::vector<int64_t>& values) const {
  if (stacks_) return Feature(at::tensor(values, at::kLong));
  return Feature(Feature::List(values.begin(), values.end()));
}

BatchFeature pixel_values(const Call& call, const std::function<Tensor(const Tensor&)>& each, bool allow_nested) {
  call.validate();
  return {{{"pixel_values", call.stack(call.map(call.flat(allow_nested), each))}}};
}

}  // namespace backplane
