#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "backplane/config/value.h"
#include "backplane/model/named_values.h"
#include "backplane/vision/image.h"

namespace backplane {

/// What a processor gives under one name: a tensor, lists of tensors where shapes differ, or nested lists, dictionaries
/// and plain values, as the reference nests them.
class Feature {
 public:
  using List = std::vector<Feature>;
  using Dict = std::vector<std::pair<std::string, Feature>>;
  using Data = std::variant<std::monostate, bool, int64_t, double, std::string, Tensor, List, Dict>;

  Feature() = default;
  Feature(bool value) : data_(value) {}
  Feature(int value) : data_(int64_t{value}) {}
  Feature(int64_t value) : data_(value) {}
  Feature(double value) : data_(value) {}
  Feature(const char* value) : data_(std::string(value)) {}
  Feature(std::string value) : data_(std::move(value)) {}
  Feature(Tensor value) : data_(std::move(value)) {}
  Feature(List value) : data_(std::move(value)) {}
  Feature(Dict value) : data_(std::move(value)) {}
  Feature(const std::vector<Tensor>& list) : data_(List(list.begin(), list.end())) {}

  const Data& data() const { return data_; }
  /// The accessors throw `invalid_value` where the feature is of another kind.
  const Tensor& tensor() const;
  const List& list() const;
  const Dict& dict() const;
  /// A member of a dictionary; throws `unknown_argument` where there is none.
  const Feature& operator[](std::string_view name) const;

 private:
  Data data_;
};

/// The result of a processor, in the reference's order.
struct BatchFeature {
  Feature::Dict items;

  bool contains(std::string_view name) const;
  const Feature& operator[](std::string_view name) const;
  /// The tensors, as arguments of a model's forward.
  ModelInputs tensors() const;
};

/// A picture as a processor takes it: decoded, or an array [height, width, channels], [channels, height, width], or
/// with one more dimension in front for several.
using Picture = std::variant<Image, Tensor>;

/// How the caller wrote the pictures: one by itself, a list, or a list of lists (the pictures of each prompt, or the
/// frames of each clip). Some classes differ in what they take.
enum class Nesting { single, list, nested };

struct ImageProcessorInputs {
  std::vector<std::vector<Picture>> images;  // one inner list, unless nested
  Nesting nesting = Nesting::list;
  std::vector<Value> annotations;         // COCO detection or panoptic, one for each picture
  std::vector<Tensor> segmentation_maps;  // [height, width], one for each picture
  std::vector<Tensor> trimaps;            // VitMatte
  std::vector<Tensor> prompt_depth;       // PromptDepthAnything
  std::vector<Picture> prompt_images;     // SegGpt
  std::vector<Tensor> prompt_masks;       // SegGpt
  std::vector<std::string> task_inputs;   // OneFormer

  ImageProcessorInputs() = default;
  explicit ImageProcessorInputs(Picture picture) : images{{std::move(picture)}}, nesting(Nesting::single) {}
  explicit ImageProcessorInputs(std::vector<Picture> pictures) : images{std::move(pictures)} {}
};

struct ImageProcessorClass;

/// An image processor of the reference, by its class name: `slow` classes compute as Pillow and numpy do, those whose
/// names end in Fast as torchvision does. Immutable; calls are thread-safe.
class ImageProcessor {
 public:
  /// `arguments`: those of the constructor, or the object of a preprocessor_config.json. Throws `unknown_class` for a
  /// name that is not among class_names(), `invalid_value` for impossible sizes.
  static std::shared_ptr<ImageProcessor> create(std::string_view class_name, const Value::Object& arguments = {});

  /// Reads `folder`/preprocessor_config.json.
  static std::shared_ptr<ImageProcessor> from_folder(std::string_view class_name, const std::string& folder,
                                                     const Value::Object& overrides = {});

  static std::vector<std::string> class_names();

  const std::string& class_name() const;

  /// Pictures to tensors. `arguments` replace settings for this call; `return_tensors` "np" or "pt" stacks (what a slow
  /// and a fast class does without it, too), null gives lists. Throws `invalid_value` where the reference raises:
  /// pictures of which the channels cannot be told, sizes that do not stack, settings that are missing.
  BatchFeature operator()(const ImageProcessorInputs& inputs, const Value::Object& arguments = {}) const;

  /// Every setting, as the reference's to_dict.
  Value::Object to_dict() const;
  /// As the reference's to_json_string: sorted keys, two blanks, a final newline.
  std::string to_json_string() const;
  /// Writes `folder`/preprocessor_config.json.
  void save_pretrained(const std::string& folder) const;

  /// Turns a model's outputs into detections, maps or depth: the post-processing method of that name
  /// ("post_process_object_ detection", …), with its arguments by the reference's names. Throws `unknown_argument`
  /// where the class has no such method.
  Feature post_process(std::string_view method, const ModelOutput& outputs, const Value::Object& arguments = {}) const;

  const Value* setting(std::string_view name) const;

 private:
  ImageProcessor(const ImageProcessorClass& type, Value::Object settings);
  const ImageProcessorClass& type_;
  Value::Object settings_;
};

}  // namespace backplane
