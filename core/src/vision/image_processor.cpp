#include "backplane/vision/image_processor.h"

#include <algorithm>
#include <map>

#include "backplane/base/files.h"
#include "backplane/base/json.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"
#include "vision/post_processing.h"
#include "vision/processor_call.h"

namespace backplane {
namespace {

constexpr ImageProcessorClass kClasses[] = {
#include "vision/image_processor_classes.inc"
};

const ImageProcessorClass& find_class(std::string_view name) {
  for (const auto& known : kClasses) {
    if (known.name == name && find_pipeline(name) != nullptr) return known;
  }
  throw Error(ErrorCode::unknown_class, concat("no image processor class '", name, "' is built in"));
}

Value::Object size_object(const SizeDict& size) {
  Value::Object out;
  const auto add = [&](const char* key, int64_t value) {
    if (value != 0) out.emplace_back(key, value);
  };
  add("height", size.height), add("width", size.width), add("shortest_edge", size.shortest_edge);
  add("longest_edge", size.longest_edge), add("max_height", size.max_height), add("max_width", size.max_width);
  return out;
}

const Value* find_in(const Value::Object& object, std::string_view key) {
  for (const auto& [name, value] : object) {
    if (name == key) return value.is_null() ? nullptr : &value;
  }
  return nullptr;
}

void rename(Value::Object& arguments, std::string_view from, std::string_view to) {
  for (auto& [key, value] : arguments) {
    if (key == from) key = to;
  }
}

// Old names of arguments.
Value::Object with_new_names(std::string_view stem, Value::Object arguments) {
  rename(arguments, "reduce_labels", "do_reduce_labels");
  rename(arguments, "pad_and_return_pixel_mask", "do_pad");
  if (stem == "LayoutLMv3") rename(arguments, "rescale_value", "rescale_factor");
  if (stem == "MaskFormer" || stem == "Mask2Former") rename(arguments, "size_divisibility", "size_divisor");
  if (stem == "Donut") {
    for (auto& [key, value] : arguments) {
      if (key == "size" && value.is_list() && value.as_list().size() == 2)
        value = Value::List{value.as_list()[1], value.as_list()[0]};
    }
  }
  return arguments;
}

// Settings that constructors derive from others, or do not take from the caller.
void derive(const ImageProcessorClass& type, std::string_view stem, const Value::Object& arguments,
            const Value::Object& defaults, Value::Object& settings) {
  const bool fast = is_fast(type.name);
  if (type.size_rule == SizeRule::shortest_1333 && find_in(defaults, "do_convert_annotations") != nullptr &&
      find_in(arguments, "do_convert_annotations") == nullptr) {
    if (const Value* normalizes = find_in(settings, "do_normalize"))
      set(settings, "do_convert_annotations", *normalizes);
  }
  if (const Value* longest = find_in(arguments, "max_size");
      longest != nullptr && type.size_rule == SizeRule::shortest_1333) {
    const Value* given = find_in(arguments, "size");
    if (given != nullptr && given->is_number())
      set(settings, "size", Value::Object{{"shortest_edge", *given}, {"longest_edge", *longest}});
    std::erase_if(settings, [](const auto& item) { return item.first == "max_size"; });
  }
  if (stem == "Qwen2VL" || stem == "Glm4v") {
    const Value* size = find_in(arguments, "size");
    if (size != nullptr && (size->find("shortest_edge") == nullptr || size->find("longest_edge") == nullptr))
      throw_invalid("size must have shortest_edge and longest_edge");
    Value::Object own = find_in(defaults, "size")->as_object();
    const Value* low = find_in(arguments, "min_pixels");
    const Value* high = find_in(arguments, "max_pixels");
    if (stem == "Qwen2VL" && low != nullptr) set(own, "shortest_edge", *low);
    if (stem == "Qwen2VL" && high != nullptr) set(own, "longest_edge", *high);
    if (stem == "Qwen2VL" && !fast) {
      set(settings, "min_pixels", *find_in(own, "shortest_edge"));
      set(settings, "max_pixels", *find_in(own, "longest_edge"));
    }
    set(settings, "size", own);
  }
  if (stem == "Emu3")
    set(settings, "size",
        Value::Object{{"min_pixels", *find_in(settings, "min_pixels")},
                      {"max_pixels", *find_in(settings, "max_pixels")}});
  if (const Value* mean = find_in(arguments, "image_mean"); mean != nullptr && stem == "Janus") {
    Value::List color;
    for (const auto& value : mean->as_list()) color.emplace_back(static_cast<int64_t>(value.as_double() * 255));
    set(settings, "background_color", color);
  }
  if (const Value* square = find_in(settings, "use_square_size"); square != nullptr && stem == "CLIP") {
    const Value* size = find_in(settings, "size");
    if (square->as_bool() && size->find("shortest_edge") != nullptr)
      set(settings, "size",
          Value::Object{{"height", *size->find("shortest_edge")}, {"width", *size->find("shortest_edge")}});
    std::erase_if(settings, [](const auto& item) { return item.first == "use_square_size"; });
  }
}

}  // namespace

const Tensor& Feature::tensor() const {
  if (const auto* tensor = std::get_if<Tensor>(&data_)) return *tensor;
  throw Error(ErrorCode::invalid_value, "this feature is no tensor; set return_tensors to \"pt\"");
}

const Feature::List& Feature::list() const {
  if (const auto* list = std::get_if<List>(&data_)) return *list;
  throw Error(ErrorCode::invalid_value, "this feature is no list");
}

const Feature::Dict& Feature::dict() const {
  if (const auto* dict = std::get_if<Dict>(&data_)) return *dict;
  throw Error(ErrorCode::invalid_value, "this feature is no dictionary");
}

const Feature& Feature::operator[](std::string_view name) const {
  for (const auto& [key, value] : dict()) {
    if (key == name) return value;
  }
  throw Error(ErrorCode::unknown_argument, concat("no feature '", name, "' here"));
}

bool BatchFeature::contains(std::string_view name) const {
  return std::any_of(items.begin(), items.end(), [&](const auto& item) { return item.first == name; });
}

const Feature& BatchFeature::operator[](std::string_view name) const {
  for (const auto& [key, value] : items) {
    if (key == name) return value;
  }
  throw Error(ErrorCode::unknown_argument, concat("the image processor gives no '", name, "'"));
}

ModelInputs BatchFeature::tensors() const {
  ModelInputs out;
  for (const auto& [key, value] : items) {
    if (const auto* tensor = std::get_if<Tensor>(&value.data())) out.set(key, *tensor);
  }
  return out;
}

ImageProcessor::ImageProcessor(const ImageProcessorClass& type, Value::Object settings)
    : type_(type), settings_(std::move(settings)) {}

Value::Object build_settings(const ImageProcessorClass& type, const Value::Object& given) {
  const std::string_view stem = type.name.substr(0, type.name.rfind("ImageProcessor"));
  const Value::Object defaults = to_value(parse_json(type.defaults, std::string(type.name))).as_object();
  const Value::Object arguments = with_new_names(stem, given);
  Value::Object settings = defaults;
  for (const auto& [key, value] : arguments) {
    if (key == "image_processor_type" || key == "feature_extractor_type") continue;
    if (key == "processor_class") {
      set(settings, "_processor_class", value);
      continue;
    }
    const bool is_size = key == "size", is_crop = key == "crop_size";
    // A null leaves the class's default where there is one.
    const auto known =
        std::find_if(settings.begin(), settings.end(), [&](const auto& item) { return item.first == key; });
    if (value.is_null() && known != settings.end() && !known->second.is_null() &&
        (is_size || is_crop || type.name.ends_with("Fast")))
      continue;
    const SizeRule rule = is_size ? type.size_rule : is_crop ? type.crop_rule : SizeRule::kept;
    if (rule == SizeRule::kept || value.is_null())
      set(settings, key, value);
    else
      set(settings, key,
          value.is_object() ? (to_size_dict(value, rule, key), value)
                            : Value(size_object(to_size_dict(value, rule, key))));
  }
  derive(type, stem, arguments, defaults, settings);
  return settings;
}

std::shared_ptr<ImageProcessor> ImageProcessor::create(std::string_view class_name, const Value::Object& arguments) {
  const auto& type = find_class(class_name);
  return std::shared_ptr<ImageProcessor>(new ImageProcessor(type, build_settings(type, arguments)));
}

std::shared_ptr<ImageProcessor> ImageProcessor::from_folder(std::string_view class_name, const std::string& folder,
                                                            const Value::Object& overrides) {
  const std::string path = folder + "/preprocessor_config.json";
  Value::Object arguments = to_value(read_json_file(path)).as_object();
  for (const auto& [key, value] : overrides) set(arguments, key, value);
  return create(class_name, arguments);
}

std::vector<std::string> ImageProcessor::class_names() {
  std::vector<std::string> names;
  for (const auto& known : kClasses) {
    if (find_pipeline(known.name) != nullptr) names.emplace_back(known.name);
  }
  return names;
}

const std::string& ImageProcessor::class_name() const {
  static const auto names = [] {
    std::map<std::string_view, std::string> out;
    for (const auto& known : kClasses) out.emplace(known.name, known.name);
    return out;
  }();
  return names.at(type_.name);
}

BatchFeature ImageProcessor::operator()(const ImageProcessorInputs& inputs, const Value::Object& arguments) const {
  try {
    return find_pipeline(type_.name)(Call(type_, settings_, arguments, inputs));
  } catch (const c10::Error& error) {
    // A setting that no tensor can follow: a channel too many, a size out of range.
    throw Error(ErrorCode::invalid_value, concat(class_name(), ": ", error.what_without_backtrace()));
  }
}

Value::Object ImageProcessor::to_dict() const {
  Value::Object out = settings_;
  set(out, "image_processor_type", class_name());
  return out;
}

std::string processor_json(const Value::Object& settings) {
  Json json = to_json(Value(settings));
  const Json processor = json.value("_processor_class", Json());
  json.erase("_processor_class");
  if (!processor.is_null()) json["processor_class"] = processor;
  return python_dumps(json, 2, true, true) + "\n";
}

std::string ImageProcessor::to_json_string() const { return processor_json(to_dict()); }

void ImageProcessor::save_pretrained(const std::string& folder) const {
  write_file(folder + "/preprocessor_config.json", to_json_string());
}

Feature ImageProcessor::post_process(std::string_view method, const ModelOutput& outputs,
                                     const Value::Object& arguments) const {
  return run_post_processing(*this, method, outputs, arguments);
}

const Value* ImageProcessor::setting(std::string_view name) const {
  for (const auto& [key, value] : settings_) {
    if (key == name) return &value;
  }
  return nullptr;
}

}  // namespace backplane
