#include "backplane/audio/feature_extractor.h"

#include <algorithm>

#include "audio/extractor.h"
#include "backplane/base/log.h"

namespace backplane {
namespace audio {

constexpr int64_t kLongest = int64_t{1} << 32;  // samples of one row

Padding padding_of(const Value& padding) {
  if (padding.is_bool()) return padding.as_bool() ? Padding::longest : Padding::none;
  const std::string name = padding.is_string() ? padding.as_string() : padding.to_string();
  if (name == "longest") return Padding::longest;
  if (name == "max_length") return Padding::max_length;
  if (name == "do_not_pad") return Padding::none;
  throw Error(ErrorCode::invalid_value,
              concat("padding is '", name, "'; expected true, false, longest, max_length or do_not_pad"));
}

Rows pad(std::vector<Tensor> values, const PadOptions& options) {
  Padding how = padding_of(options.padding);
  std::optional<int64_t> target = options.max_length;
  if (how == Padding::max_length && !target)
    throw Error(ErrorCode::invalid_value, "padding to max_length needs max_length");
  if (options.truncation && !target) throw Error(ErrorCode::invalid_value, "truncation needs max_length");
  if (target && (*target < 0 || *target > kLongest))
    throw Error(ErrorCode::invalid_value, concat("max_length is ", *target, "; expected up to ", kLongest));
  if (options.multiple_of && (*options.multiple_of <= 0 || *options.multiple_of > kLongest))
    throw Error(ErrorCode::invalid_value,
                concat("pad_to_multiple_of is ", *options.multiple_of, "; expected a number above 0"));
  const auto rounded = [&](int64_t length) {
    const int64_t m = options.multiple_of.value_or(1);
    return (length + m - 1) / m * m;
  };
  if (options.truncation) {
    for (auto& value : values) value = value.slice(0, 0, rounded(*target));
  }
  if (how == Padding::longest) {
    target = 0;
    for (const auto& value : values) target = std::max(*target, value.size(0));
  }
  if (target) target = rounded(*target);
  Rows rows;
  for (auto& value : values) {
    const int64_t length = value.size(0);
    Tensor mask = options.with_mask ? at::ones({length}, at::kInt) : Tensor();
    if (how != Padding::none && length < *target) {
      if (options.feature_size > 1 && value.dim() == 1)
        throw Error(ErrorCode::invalid_value,
                    concat("samples without channels cannot be padded: feature_size is ", options.feature_size));
      std::vector<int64_t> amounts(static_cast<size_t>(2 * value.dim()), 0);
      amounts.back() = *target - length;  // the last pair is of the first dimension
      value = at::constant_pad_nd(value, amounts, options.value);
      if (mask.defined()) mask = at::constant_pad_nd(mask, {0, *target - length}, 0);
    }
    rows.values.push_back(value);
    if (mask.defined()) rows.masks.push_back(mask);
  }
  return rows;
}

Argument stacked(const std::vector<Tensor>& rows) {
  if (rows.empty()) return {};
  const bool alike =
      std::all_of(rows.begin(), rows.end(), [&](const Tensor& row) { return row.sizes() == rows[0].sizes(); });
  return alike ? Argument(at::stack(rows)) : Argument(rows);
}

Tensor must_stack(const std::vector<Tensor>& rows, const char* what) {
  const Argument all = stacked(rows);
  if (const auto* tensor = std::get_if<Tensor>(&all)) return *tensor;
  throw Error(ErrorCode::invalid_value, concat(what, " of the sounds have different lengths; pad them"));
}

std::vector<Tensor> unit_variance(const Rows& rows, bool by_mask, double padding_value) {
  std::vector<Tensor> normalised;
  for (size_t i = 0; i < rows.values.size(); ++i) {
    const Tensor x = rows.values[i];
    const int64_t length = by_mask && !rows.masks.empty() ? rows.masks[i].sum().item<int64_t>() : x.size(0);
    const Tensor heard = x.slice(0, 0, length);
    Tensor y = (x - heard.mean()) / at::sqrt(heard.var(false) + 1e-7);
    if (length < x.size(0)) y.slice(0, length).fill_(padding_value);
    normalised.push_back(y);
  }
  return normalised;
}

std::vector<Tensor> cepstral_normalised(const Rows& rows, bool by_mask, bool means, bool variances,
                                        double padding_value) {
  std::vector<Tensor> normalised;
  for (size_t i = 0; i < rows.values.size(); ++i) {
    Tensor x = rows.values[i];
    const int64_t length = by_mask ? rows.masks[i].sum().item<int64_t>() : x.size(0);
    if (means) x = x - x.slice(0, 0, length).mean(0);
    if (variances) x = x / at::sqrt(x.slice(0, 0, length).var(0, false));
    if (length < x.size(0)) x.slice(0, length).fill_(padding_value);
    normalised.push_back(x.to(at::kFloat));
  }
  return normalised;
}

const Value& Extractor::setting(std::string_view key) const {
  for (const auto& [name, value] : settings_) {
    if (name == key) return value;
  }
  throw Error(ErrorCode::bad_config, concat("preprocessor_config.json: ", class_name(), " needs '", key, "'"));
}

static Error wrong(std::string_view key, const Value& value, const std::string& expected) {
  return Error(ErrorCode::bad_config,
               concat("preprocessor_config.json: ", key, " is ", value.to_string(), "; expected ", expected));
}

int64_t Extractor::integer(std::string_view key, int64_t low, int64_t high) const {
  const Value& value = setting(key);
  const auto expected = [&] { return concat("a whole number from ", low, " to ", high); };
  if (!value.is_number()) throw wrong(key, value, expected());
  const double number = value.as_double();
  if (!(number >= static_cast<double>(low) && number <= static_cast<double>(high))) throw wrong(key, value, expected());
  return static_cast<int64_t>(number);
}

double Extractor::number(std::string_view key) const {
  const Value& value = setting(key);
  if (!value.is_number()) throw wrong(key, value, "a number");
  return value.as_double();
}

bool Extractor::flag(std::string_view key) const {
  const Value& value = setting(key);
  if (value.is_null()) return false;
  if (!value.is_bool()) throw wrong(key, value, "true or false");
  return value.as_bool();
}

const std::string& Extractor::text(std::string_view key) const {
  const Value& value = setting(key);
  if (!value.is_string()) throw wrong(key, value, "a text");
  return value.as_string();
}

PadOptions Extractor::pad_options(const FeatureOptions& options, Value padding, bool truncation) const {
  return {.padding = options.padding.is_null() ? std::move(padding) : options.padding,
          .truncation = options.truncation.is_null() ? truncation : options.truncation.as_bool(),
          .max_length = options.max_length,
          .multiple_of = options.pad_to_multiple_of,
          .with_mask = wants_mask(options),
          .feature_size = integer("feature_size"),
          .value = padding_value()};
}

std::vector<Tensor> Extractor::sounds(const std::vector<Tensor>& waves) {
  if (waves.size() == 1 && waves[0].dim() == 2) return waves[0].unbind(0);
  for (const auto& wave : waves) {
    if (wave.dim() != 1)
      throw Error(ErrorCode::invalid_value,
                  concat("only sounds of one channel are taken; found the shape ", wave.sizes()));
  }
  return waves;
}

const Value* Extractor::more(const FeatureOptions& options, std::string_view key) {
  for (const auto& [name, value] : options.more) {
    if (name == key && !value.is_null()) return &value;
  }
  return nullptr;
}

bool Extractor::more_flag(const FeatureOptions& options, std::string_view key, bool fallback) {
  const Value* value = more(options, key);
  return value ? value->as_bool() : fallback;
}

static const std::vector<ExtractorClass>& classes() {
  static const std::vector<ExtractorClass> all = [] {
    std::vector<ExtractorClass> list = wave_classes();
    for (auto more : {mel_classes(), fbank_classes()}) list.insert(list.end(), more.begin(), more.end());
    return list;
  }();
  return all;
}

}  // namespace audio

FeatureExtractor::~FeatureExtractor() = default;

std::shared_ptr<FeatureExtractor> FeatureExtractor::make(std::string_view class_name, const Value::Object& settings) {
  for (const auto& known : audio::classes()) {
    if (known.name != class_name) continue;
    Value::Object all = known.defaults();
    for (const auto& [key, value] : settings) {
      if (key != "mel_filters") set(all, key, value);  // computed, not believed
    }
    set(all, "feature_extractor_type", std::string(class_name));
    return known.make(std::string(class_name), std::move(all));
  }
  throw Error(ErrorCode::unknown_class,
              concat("there is no feature extractor class '", class_name, "'; there are ", join(class_names())));
}

std::vector<std::string> FeatureExtractor::class_names() {
  std::vector<std::string> names;
  for (const auto& known : audio::classes()) names.emplace_back(known.name);
  return names;
}

int64_t FeatureExtractor::sampling_rate() const {
  for (const auto& [key, value] : settings_) {
    if (key == "sampling_rate") return value.as_int();
  }
  return 0;
}

ModelInputs FeatureExtractor::operator()(const std::vector<Tensor>& waves, const FeatureOptions& options) const {
  c10::InferenceMode guard;
  if (waves.empty()) throw Error(ErrorCode::invalid_value, "there is no sound to take features of");
  if (options.sampling_rate && *options.sampling_rate != sampling_rate()) {
    throw Error(ErrorCode::invalid_value, concat(class_name(), " works at ", sampling_rate(), " Hz; the sound has ",
                                                 *options.sampling_rate, " Hz: resample it"));
  }
  std::vector<Tensor> sounds;
  for (const auto& wave : waves) {
    if (!wave.defined() || wave.dim() < 1 || wave.dim() > 2 || wave.numel() == 0)
      throw Error(ErrorCode::invalid_value, "a sound is [samples] or [channels, samples], with at least one sample");
    sounds.push_back(wave.to(at::kFloat));
  }
  return extract(sounds, options);
}

}  // namespace backplane
