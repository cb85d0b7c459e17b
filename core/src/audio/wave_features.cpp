// Classes whose features are the samples themselves, padded and normalised.

#include "audio/extractor.h"

namespace backplane::audio {
namespace {

// Baevski et al. 2020, https://arxiv.org/abs/2006.11477
struct Wav2Vec2FeatureExtractor : Extractor {
  static Value::Object defaults() {
    return {{"feature_size", 1},       {"sampling_rate", 16000},         {"padding_value", 0.0},
            {"padding_side", "right"}, {"return_attention_mask", false}, {"do_normalize", true}};
  }
  Wav2Vec2FeatureExtractor(std::string name, Value::Object settings) : Extractor(std::move(name), std::move(settings)) {
    integer("sampling_rate");
    number("padding_value");
  }

  ModelInputs extract(const std::vector<Tensor>& waves, const FeatureOptions& options) const override {
    const PadOptions how = pad_options(options, false);
    Rows rows = pad(sounds(waves), how);
    if (flag("do_normalize"))
      rows.values = unit_variance(rows, padding_of(how.padding) != Padding::none, padding_value());
    ModelInputs inputs;
    inputs.set("input_values", stacked(rows.values));
    inputs.set("attention_mask", stacked(rows.masks));
    return inputs;
  }
};

// [channels, samples] or [samples] each -> [samples, channels] or [samples], as many channels as feature_size says.
std::vector<Tensor> channels_last(const std::vector<Tensor>& waves, int64_t feature_size) {
  std::vector<Tensor> sounds;
  for (const auto& wave : waves) {
    if (feature_size == 1 && wave.dim() != 1)
      throw Error(ErrorCode::invalid_value, concat("one channel is expected; the sound has the shape ", wave.sizes()));
    if (feature_size == 2 && (wave.dim() != 2 || wave.size(0) != 2))
      throw Error(ErrorCode::invalid_value,
                  concat("two channels are expected; the sound has the shape ", wave.sizes()));
    sounds.push_back(wave.dim() == 2 ? wave.t() : wave);
  }
  return sounds;
}

// -> [channels, samples] each; samples without channels stay so where feature_size is not 1
std::vector<Tensor> channels_first(const std::vector<Tensor>& rows, int64_t feature_size = 1) {
  std::vector<Tensor> sounds;
  for (const auto& row : rows) sounds.push_back(row.dim() == 2 ? row.t() : feature_size == 1 ? row.unsqueeze(0) : row);
  return sounds;
}

bool truthy(const Value& value) {
  return !value.is_null() && !(value.is_bool() && !value.as_bool()) &&
         !(value.is_string() && value.as_string().empty());
}

// The reference's codecs take either padding, the default, or truncation.
PadOptions codec_options(PadOptions how, const FeatureOptions& options) {
  if (truthy(options.padding) && how.truncation)
    throw Error(ErrorCode::invalid_value, "padding and truncation exclude each other here; set one of them");
  return how;
}

// EnCodec: Défossez et al. 2022, https://arxiv.org/abs/2210.13438. Long sounds go to the model in overlapping chunks;
// the padding makes the last one whole.
struct EncodecFeatureExtractor : Extractor {
  static Value::Object defaults() {
    return {{"feature_size", 1},       {"sampling_rate", 24000},        {"padding_value", 0.0},
            {"padding_side", "right"}, {"return_attention_mask", true}, {"chunk_length_s", nullptr},
            {"overlap", nullptr}};
  }
  EncodecFeatureExtractor(std::string name, Value::Object settings) : Extractor(std::move(name), std::move(settings)) {
    const int64_t rate = integer("sampling_rate");
    integer("feature_size");
    if (setting("chunk_length_s").is_null() || setting("overlap").is_null()) return;
    const double samples = number("chunk_length_s") * static_cast<double>(rate), overlap = number("overlap");
    if (!(samples >= 1 && samples < 1e12) || !(overlap >= 0 && overlap < 1)) {
      throw Error(ErrorCode::bad_config, concat("preprocessor_config.json: chunk_length_s (", number("chunk_length_s"),
                                                ") and overlap (", overlap, ") make no chunks"));
    }
    chunk_ = static_cast<int64_t>(samples);
    stride_ = std::max<int64_t>(1, static_cast<int64_t>((1 - overlap) * static_cast<double>(chunk_)));
  }

  ModelInputs extract(const std::vector<Tensor>& waves, const FeatureOptions& options) const override {
    const Rows rows = padded(waves, options);
    ModelInputs inputs;
    inputs.set("padding_mask", stacked(rows.masks));
    inputs.set("input_values", must_stack(channels_first(rows.values, integer("feature_size")), "the samples"));
    return inputs;
  }

 protected:
  Rows padded(const std::vector<Tensor>& waves, const FeatureOptions& options) const {
    PadOptions how = codec_options(pad_options(options, true), options);
    const std::vector<Tensor> sounds = channels_last(waves, how.feature_size);
    how.with_mask = padding_of(how.padding) != Padding::none;
    if (stride_ > 0 && !how.max_length) {
      int64_t shortest = sounds[0].size(0), longest = shortest;
      for (const auto& sound : sounds) {
        shortest = std::min(shortest, sound.size(0));
        longest = std::max(longest, sound.size(0));
      }
      if (how.truncation) {
        how.max_length = (shortest / stride_ - 1) * stride_ + chunk_;
      } else if (how.with_mask) {
        how.max_length = ((longest + stride_ - 1) / stride_ - 1) * stride_ + chunk_;
        how.padding = "max_length";
      } else {
        return {sounds, {}};
      }
    }
    return pad(sounds, how);
  }

 private:
  int64_t chunk_ = 0, stride_ = 0;  // samples; 0: no chunks
};

// Kyutai's speech to text: as EnCodec, with silence in front and behind for the model's delay.
struct KyutaiSpeechToTextFeatureExtractor : EncodecFeatureExtractor {
  static Value::Object defaults() {
    Value::Object all = EncodecFeatureExtractor::defaults();
    set(all, "audio_delay_seconds", 0.0);
    set(all, "audio_silence_prefix_seconds", 0.0);
    return all;
  }
  KyutaiSpeechToTextFeatureExtractor(std::string name, Value::Object settings)
      : EncodecFeatureExtractor(std::move(name), std::move(settings)) {
    const auto rate = static_cast<double>(sampling_rate());
    const double before = number("audio_silence_prefix_seconds"), after = number("audio_delay_seconds") + 1;
    if (!(before >= 0 && before < 3600) || !(after >= 0 && after < 3600))
      throw Error(
          ErrorCode::bad_config,
          "preprocessor_config.json: audio_silence_prefix_seconds and audio_delay_seconds have to be below an hour");
    before_ = static_cast<int64_t>(before * rate);
    after_ = static_cast<int64_t>(after * rate);
  }

  ModelInputs extract(const std::vector<Tensor>& waves, const FeatureOptions& options) const override {
    const Rows rows = padded(waves, options);
    const Tensor values = must_stack(rows.values, "the samples");
    if (values.dim() != 2) throw Error(ErrorCode::invalid_value, "one channel is expected");
    ModelInputs inputs;
    if (!rows.masks.empty())
      inputs.set("padding_mask", at::constant_pad_nd(must_stack(rows.masks, "the masks"), {before_, after_}, 0));
    inputs.set("input_values", integer("feature_size") == 1
                                   ? at::constant_pad_nd(values, {before_, after_}, 0).unsqueeze(1)
                                   : at::constant_pad_nd(values, {before_, after_}, 0));
    return inputs;
  }

 private:
  int64_t before_ = 0, after_ = 0;  // samples
};

// DAC: Kumar et al. 2023, https://arxiv.org/abs/2306.06546. Whole hops.
struct DacFeatureExtractor : Extractor {
  static Value::Object defaults() {
    return {{"feature_size", 1},       {"sampling_rate", 16000},        {"padding_value", 0.0},
            {"padding_side", "right"}, {"return_attention_mask", true}, {"hop_length", 512}};
  }
  DacFeatureExtractor(std::string name, Value::Object settings) : Extractor(std::move(name), std::move(settings)) {
    integer("sampling_rate");
    integer("hop_length");
  }

  ModelInputs extract(const std::vector<Tensor>& waves, const FeatureOptions& options) const override {
    PadOptions how = codec_options(pad_options(options, true), options);
    if (how.feature_size == 2) throw Error(ErrorCode::invalid_value, "stereo is not known here");
    how.with_mask = false;
    how.multiple_of = integer("hop_length");
    const Rows rows = pad(channels_last(waves, how.feature_size), how);
    ModelInputs inputs;
    inputs.set("input_values", must_stack(channels_first(rows.values), "the samples"));
    return inputs;
  }
};

// Dia: as DAC with a mask; stereo becomes its mean.
struct DiaFeatureExtractor : DacFeatureExtractor {
  using DacFeatureExtractor::DacFeatureExtractor;

  ModelInputs extract(const std::vector<Tensor>& waves, const FeatureOptions& options) const override {
    PadOptions how = codec_options(pad_options(options, true), options);
    std::vector<Tensor> sounds;
    for (const auto& wave : waves) sounds.push_back(how.feature_size == 2 && wave.dim() == 2 ? wave.mean(0) : wave);
    for (const auto& sound : sounds) {
      if (how.feature_size <= 2 && sound.dim() != 1)
        throw Error(ErrorCode::invalid_value,
                    concat("one channel is expected; the sound has the shape ", sound.sizes()));
    }
    how.feature_size = 1;
    how.with_mask = true;
    how.multiple_of = integer("hop_length");
    const Rows rows = pad(sounds, how);
    ModelInputs inputs;
    inputs.set("padding_mask", stacked(rows.masks));
    inputs.set("input_values", must_stack(channels_first(rows.values), "the samples"));
    return inputs;
  }
};

}  // namespace

std::vector<ExtractorClass> wave_classes() {
  return {
      {"Wav2Vec2FeatureExtractor", &Wav2Vec2FeatureExtractor::defaults, &make_extractor<Wav2Vec2FeatureExtractor>},
      {"EncodecFeatureExtractor", &EncodecFeatureExtractor::defaults, &make_extractor<EncodecFeatureExtractor>},
      {"KyutaiSpeechToTextFeatureExtractor", &KyutaiSpeechToTextFeatureExtractor::defaults,
       &make_extractor<KyutaiSpeechToTextFeatureExtractor>},
      {"DacFeatureExtractor", &DacFeatureExtractor::defaults, &make_extractor<DacFeatureExtractor>},
      {"DiaFeatureExtractor", &DiaFeatureExtractor::defaults, &make_extractor<DiaFeatureExtractor>},
  };
}

}  // namespace backplane::audio
