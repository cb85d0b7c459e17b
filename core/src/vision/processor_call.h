#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/vision/image_processor.h"
#include "backplane/vision/resample.h"

namespace backplane {

class Call;

/// How the constructor turns a whole number given as `size` into a dictionary.
enum class SizeRule { kept, square, shortest, shortest_1333, longest };

using Pipeline = BatchFeature (*)(const Call& call);

struct ImageProcessorClass {
  std::string_view name;
  SizeRule size_rule;
  SizeRule crop_rule;
  std::string_view defaults;  // JSON of to_dict()
};

/// Whether a class computes as torchvision does.
inline bool is_fast(std::string_view class_name) {
  return class_name.ends_with("Fast") || class_name.ends_with("VideoProcessor");
}

/// The settings of an object that is built with `arguments`: the class's defaults, and what its constructor makes of
/// both.
Value::Object build_settings(const ImageProcessorClass& type, const Value::Object& arguments);
/// As to_json_string of the reference.
std::string processor_json(const Value::Object& settings);

/// The pipeline of a class; null where there is none.
Pipeline find_pipeline(std::string_view class_name);

struct Size {
  int64_t height = 0, width = 0;
  friend bool operator==(const Size&, const Size&) = default;
};

/// A `size` of the reference: which keys it has.
struct SizeDict {
  int64_t height = 0, width = 0, shortest_edge = 0, longest_edge = 0, max_height = 0, max_width = 0;
  bool exact() const { return height != 0 && width != 0; }
};

/// Python's round(): halves go to the even neighbour.
int64_t round_half_even(double value);

[[noreturn]] void throw_invalid(const std::string& message);

/// A number as a size. Throws for what is none, below 1 or above 2^20.
SizeDict to_size_dict(const Value& value, SizeRule rule, std::string_view name);

/// As get_resize_output_image_size with one number: the shorter edge becomes `shortest`.
Size shortest_edge_size(Size image, int64_t shortest);
/// As get_size_with_aspect_ratio.
Size aspect_ratio_size(Size image, int64_t shortest, int64_t longest);
/// As get_image_size_for_max_height_width.
Size max_size(Size image, int64_t max_height, int64_t max_width);

/// One call of a processor: its settings with the call's arguments over them, and the operations in the arithmetic of
/// its kind. Pictures are [height, width, channels] within a pipeline.
class Call {
 public:
  Call(const ImageProcessorClass& type, const Value::Object& settings, const Value::Object& arguments,
       const ImageProcessorInputs& inputs);

  const ImageProcessorInputs& inputs;
  const bool fast;

  std::string_view class_name() const { return type_.name; }
  const Value* find(std::string_view name) const;                // null for null, too
  const Value* argument(std::string_view name) const;            // of this call alone
  std::vector<double> own_numbers(std::string_view name) const;  // of the settings, whatever this call says
  bool flag(std::string_view name) const;
  int64_t integer(std::string_view name) const;
  double number(std::string_view name) const;
  Resample resample(std::string_view name = "resample") const;
  SizeDict size(std::string_view name = "size", SizeRule rule = SizeRule::square) const;
  Size exact_size(std::string_view name = "size") const;
  std::vector<double> numbers(std::string_view name) const;  // one number stands for all channels
  bool stacks() const { return stacks_; }
  bool channels_last() const;

  /// Checks as validate_preprocess_arguments.
  void validate(bool crops = true) const;

  /// All pictures in one list; `allow_nested` false: lists of lists are refused, as make_list_of_images does.
  std::vector<Tensor> flat(bool allow_nested = true) const;
  /// As they are grouped. `converts` false: as they are, whatever do_convert_rgb says.
  std::vector<std::vector<Tensor>> nested(bool converts = true) const;

  /// What a picture is as an array of the class's kind, RGB first where do_convert_rgb says so.
  Tensor array(const Picture& picture, bool converts = true) const;

  Tensor resize(const Tensor& image, Size size) const { return resize(image, size, resample()); }
  Tensor resize(const Tensor& image, Size size, Resample filter, bool antialias = true) const;
  /// Reduced by whole factors first, as Pillow's reducing_gap; slow classes only.
  Tensor resize_with_gap(const Tensor& image, Size size, Resample filter, double gap) const;
  /// Fractions of 1 as bytes, cut; whole numbers of 0 to 255 as they are; throws for others.
  Tensor bytes(const Tensor& image) const;
  Tensor center_crop(const Tensor& image, Size size) const;

  /// Rescaled and normalized as do_rescale and do_normalize say, or those with `prefix` before them; still [height,
  /// width, channels].
  Tensor finish(const Tensor& image, const std::string& prefix = "") const;
  Tensor rescale(const Tensor& image, double factor) const;
  Tensor normalize(const Tensor& image, const std::vector<double>& mean, const std::vector<double>& std) const;

  /// [height, width, channels] -> what data_format asks for.
  Tensor order(const Tensor& image) const;

  /// `each` on all pictures, in threads, with the result in `data_format`.
  std::vector<Tensor> map(const std::vector<Tensor>& images, const std::function<Tensor(const Tensor&)>& each) const;

  /// One tensor of them all, where tensors are asked for. Throws where their shapes differ.
  Feature stack(const std::vector<Tensor>& tensors) const;
  Feature stack(const std::vector<std::vector<Tensor>>& tensors) const;
  /// Rows of whole numbers: a tensor, or lists.
  Feature rows(const std::vector<std::vector<int64_t>>& rows) const;
  Feature numbers_feature(const std::vector<int64_t>& values) const;

 private:
  const ImageProcessorClass& type_;
  const Value::Object& settings_;
  const Value::Object& arguments_;
  bool stacks_ = true;
};

/// { "pixel_values": … } of every picture by `each`.
BatchFeature pixel_values(const Call& call, const std::function<Tensor(const Tensor&)>& each, bool allow_nested = true);

/// Zeros (or `value`) around a picture [height, width, channels].
Tensor pad_constant(const Tensor& image, int64_t top, int64_t bottom, int64_t left, int64_t right, double value = 0);

inline Size size_of(const Tensor& image) { return {image.size(0), image.size(1)}; }

}  // namespace backplane
