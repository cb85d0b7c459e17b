// Classes whose features are Kaldi's filter banks: frames of 25 ms every 10 ms at 16 kHz, without mean, pre-emphasised.

#include "audio/extractor.h"

namespace backplane::audio {
namespace {

constexpr double kFloor = 1.192092955078125e-07;

struct FbankExtractor : Extractor {
  FbankExtractor(std::string name, Value::Object settings, std::string_view window)
      : Extractor(std::move(name), std::move(settings)), window_(window_function(400, window, false)) {
    const int64_t rate = integer("sampling_rate", 40, 1 << 24);
    filters_ = mel_filter_bank({.bins = 257,
                                .mels = integer("num_mel_bins"),
                                .low = 20,
                                .high = static_cast<double>(rate / 2),
                                .rate = rate,
                                .scale = MelScale::kaldi,
                                .triangles_in_mels = true});
  }

  // wave [samples] -> [frames, mels]
  Tensor fbank(const Tensor& wave, double dither = 0) const {
    return spectrogram(wave, window_,
                       {.frames = {.hop = 160,
                                   .fft_length = 512,
                                   .center = false,
                                   .remove_dc_offset = true,
                                   .preemphasis = 0.97,
                                   .dither = dither},
                        .power = 2,
                        .filters = filters_,
                        .floor = kFloor,
                        .log = LogScale::log})
        .t();
  }

 private:
  Tensor window_, filters_;
};

// AST: Gong et al. 2021, https://arxiv.org/abs/2104.01778
struct ASTFeatureExtractor : FbankExtractor {
  static Value::Object defaults() {
    return {{"feature_size", 1},       {"sampling_rate", 16000},         {"padding_value", 0.0},
            {"padding_side", "right"}, {"return_attention_mask", false}, {"num_mel_bins", 128},
            {"max_length", 1024},      {"do_normalize", true},           {"mean", -4.2677393},
            {"std", 4.5689974}};
  }
  ASTFeatureExtractor(std::string name, Value::Object settings)
      : FbankExtractor(std::move(name), std::move(settings), "hann") {
    integer("max_length", 1, 1 << 24);
  }

  ModelInputs extract(const std::vector<Tensor>& waves, const FeatureOptions&) const override {
    const int64_t length = integer("max_length");
    std::vector<Tensor> features;
    for (const auto& wave : sounds(waves)) {
      Tensor x = fbank(wave);
      x = at::constant_pad_nd(x, {0, 0, 0, length - x.size(0)});  // or cut
      features.push_back(flag("do_normalize") ? (x - number("mean")) / (number("std") * 2) : x);
    }
    ModelInputs inputs;
    inputs.set("input_values", stacked(features));
    return inputs;
  }
};

// SeamlessM4T: Barrault et al. 2023, https://arxiv.org/abs/2308.11596. Each mel bin normalised, `stride` frames side by
// side.
struct SeamlessM4TFeatureExtractor : FbankExtractor {
  static Value::Object defaults() {
    return {{"feature_size", 80},
            {"sampling_rate", 16000},
            {"padding_value", 0.0},
            {"padding_side", "right"},
            {"return_attention_mask", true},
            {"num_mel_bins", 80},
            {"stride", 2}};
  }
  SeamlessM4TFeatureExtractor(std::string name, Value::Object settings)
      : FbankExtractor(std::move(name), std::move(settings), "povey"), stride_(integer("stride", 1, 1 << 16)) {}

  ModelInputs extract(const std::vector<Tensor>& waves, const FeatureOptions& options) const override {
    const bool several = waves.size() > 1;
    std::vector<Tensor> features;
    for (const auto& wave : several ? waves : sounds(waves)) {
      Tensor x = fbank((wave.dim() == 2 ? wave[0] : wave) * 32768.0);
      if (more_flag(options, "do_normalize_per_mel_bins", true)) x = (x - x.mean(0)) / at::sqrt(x.var(0, true) + 1e-7);
      features.push_back(x);
    }
    PadOptions how = pad_options(options, true);
    if (!how.multiple_of) how.multiple_of = 2;
    how.with_mask = true;
    const Rows rows = pad(features, how);
    Tensor x = must_stack(rows.values, "the features"), mask = must_stack(rows.masks, "the masks");
    const int64_t frames = x.size(1) / stride_;
    x = x.slice(1, 0, frames * stride_).reshape({x.size(0), frames, -1});
    ModelInputs inputs;
    inputs.set("input_features", x);
    // The reference keeps the mask of each stride's second frame.
    if (wants_mask(options))
      inputs.set("attention_mask", stride_ > 1 ? mask.slice(1, 0, frames * stride_).slice(1, 1, std::nullopt, stride_)
                                               : mask.slice(1, 0, 0));
    return inputs;
  }

 private:
  int64_t stride_;
};

// S2T: Wang et al. 2020, https://arxiv.org/abs/2010.05171
struct Speech2TextFeatureExtractor : FbankExtractor {
  static Value::Object defaults() {
    return {{"feature_size", 80},      {"sampling_rate", 16000},        {"padding_value", 0.0},
            {"padding_side", "right"}, {"return_attention_mask", true}, {"num_mel_bins", 80},
            {"dither", 0.0},           {"do_ceptral_normalize", true},  {"normalize_means", true},
            {"normalize_vars", true}};
  }
  Speech2TextFeatureExtractor(std::string name, Value::Object settings)
      : FbankExtractor(std::move(name), std::move(settings), "povey") {}

  ModelInputs extract(const std::vector<Tensor>& waves, const FeatureOptions& options) const override {
    const PadOptions how = pad_options(options, false);
    std::vector<Tensor> features;
    for (const auto& wave : sounds(waves)) features.push_back(fbank(wave * 32768.0, number("dither")));
    Rows rows = pad(features, how);
    if (flag("do_ceptral_normalize")) {
      const bool by_mask = padding_of(how.padding) != Padding::none;
      if (by_mask && rows.masks.empty())
        throw Error(ErrorCode::invalid_value, "normalising padded features needs return_attention_mask");
      rows.values =
          cepstral_normalised(rows, by_mask, flag("normalize_means"), flag("normalize_vars"), padding_value());
    }
    ModelInputs inputs;
    inputs.set("input_features", stacked(rows.values));
    inputs.set("attention_mask", stacked(rows.masks));
    return inputs;
  }
};

}  // namespace

std::vector<ExtractorClass> fbank_classes() {
  return {
      {"ASTFeatureExtractor", &ASTFeatureExtractor::defaults, &make_extractor<ASTFeatureExtractor>},
      {"SeamlessM4TFeatureExtractor", &SeamlessM4TFeatureExtractor::defaults,
       &make_extractor<SeamlessM4TFeatureExtractor>},
      {"Speech2TextFeatureExtractor", &Speech2TextFeatureExtractor::defaults,
       &make_extractor<Speech2TextFeatureExtractor>},
  };
}

}  // namespace backplane::audio
