// Classes whose features are mel spectrograms.

#include <algorithm>
#include <cmath>

#include "audio/extractor.h"

namespace backplane::audio {
namespace {

constexpr int64_t kMostFft = 1 << 20;

// Whisper: Radford et al. 2022, https://arxiv.org/abs/2212.04356. log10 of a mel spectrogram, at most 8 (80 dB) below
// its maximum, scaled to about [-1, 1]; computed in float32, as the reference does with torch.
struct WhisperFeatureExtractor : Extractor {
  static Value::Object defaults() {
    return {{"feature_size", 80},
            {"sampling_rate", 16000},
            {"padding_value", 0.0},
            {"padding_side", "right"},
            {"return_attention_mask", false},
            {"n_fft", 400},
            {"hop_length", 160},
            {"chunk_length", 30},
            {"dither", 0.0}};
  }
  WhisperFeatureExtractor(std::string name, Value::Object settings)
      : Extractor(std::move(name), std::move(settings)), hop_(integer("hop_length")) {
    const int64_t rate = integer("sampling_rate", 1, 1 << 24), fft = integer("n_fft", 2, kMostFft);
    samples_ = integer("chunk_length", 1, 24 * 3600) * rate;
    derive("n_samples", samples_);
    derive("nb_max_frames", samples_ / hop_);
    window_ = window_function(fft).to(at::kFloat);
    filters_ = mel_filter_bank({.bins = 1 + fft / 2,
                                .mels = integer("feature_size"),
                                .low = 0,
                                .high = 8000,
                                .rate = rate,
                                .scale = MelScale::slaney,
                                .slaney_norm = true})
                   .to(at::kFloat);
  }

  ModelInputs extract(const std::vector<Tensor>& waves, const FeatureOptions& options) const override {
    PadOptions how = pad_options(options, "max_length", true);
    if (how.max_length.value_or(0) == 0) how.max_length = samples_;
    const bool normalise = options.do_normalize.value_or(false);
    how.with_mask = options.return_attention_mask.value_or(false) || normalise ||
                    (!options.return_attention_mask && !options.do_normalize && flag("return_attention_mask"));
    how.feature_size = 1;
    Rows rows = pad(sounds(waves), how);
    if (normalise) rows.values = unit_variance(rows, true, padding_value());
    std::vector<Tensor> features;
    for (const auto& wave : rows.values) {
      Tensor x = spectrogram(wave, window_,
                             {.frames = {.hop = hop_, .dither = number("dither")},
                              .power = 2,
                              .filters = filters_,
                              .log = LogScale::log10});
      x = x.slice(1, 0, -1);  // the last frame is of nothing but the mirrored end
      features.push_back((at::clamp_min(x, x.max().item<double>() - 8.0) + 4.0) / 4.0);
    }
    ModelInputs inputs;
    inputs.set("input_features", must_stack(features, "the features"));
    if (!rows.masks.empty()) {
      const Tensor mask = must_stack(rows.masks, "the masks");
      inputs.set("attention_mask",
                 options.return_attention_mask.value_or(false) ? mask.slice(1, 0, std::nullopt, hop_) : mask);
    }
    return inputs;
  }

 private:
  int64_t hop_, samples_;
  Tensor window_, filters_;
};

// CLVP (Tortoise): Betker 2023, https://arxiv.org/abs/2305.07243
struct ClvpFeatureExtractor : Extractor {
  static Value::Object defaults() {
    return {{"feature_size", 80},
            {"sampling_rate", 22050},
            {"padding_value", 0.0},
            {"padding_side", "right"},
            {"return_attention_mask", false},
            {"n_fft", 1024},
            {"hop_length", 256},
            {"chunk_length", 30},
            {"default_audio_length", 6},
            {"mel_norms", nullptr}};
  }
  ClvpFeatureExtractor(std::string name, Value::Object settings)
      : Extractor(std::move(name), std::move(settings)), hop_(integer("hop_length")) {
    const int64_t rate = integer("sampling_rate", 1, 1 << 24), fft = integer("n_fft", 2, kMostFft),
                  mels = integer("feature_size");
    const int64_t samples = integer("chunk_length", 1, 24 * 3600) * rate;
    derive("n_samples", samples);
    derive("nb_max_frames", samples / hop_);
    length_ = integer("default_audio_length", 1, 24 * 3600) * rate;
    window_ = window_function(fft);
    filters_ =
        mel_filter_bank({.bins = 1 + fft / 2, .mels = mels, .low = 0, .high = 8000, .rate = rate, .slaney_norm = true});
    if (const Value& norms = setting("mel_norms"); !norms.is_null()) {
      std::vector<double> numbers;
      for (const auto& norm : norms.as_list()) numbers.push_back(norm.as_double());
      if (static_cast<int64_t>(numbers.size()) != mels)
        throw Error(ErrorCode::bad_config,
                    concat("preprocessor_config.json: mel_norms has ", numbers.size(), " numbers; expected ", mels));
      norms_ = at::tensor(numbers, at::kDouble).unsqueeze(1);
    }
  }

  ModelInputs extract(const std::vector<Tensor>& waves, const FeatureOptions& options) const override {
    PadOptions how = pad_options(options, "max_length", true);
    if (!how.max_length) how.max_length = length_;
    how.with_mask = options.return_attention_mask.value_or(true);
    how.feature_size = 1;
    const Rows rows = pad(sounds(waves), how);
    must_stack(rows.values, "the samples");
    std::vector<Tensor> features;
    for (const auto& wave : rows.values) {
      Tensor x =
          spectrogram(wave, window_, {.frames = {.hop = hop_}, .power = 2, .filters = filters_}).clamp_min(1e-5).log();
      features.push_back((norms_.defined() ? x / norms_ : x).to(at::kFloat));
    }
    ModelInputs inputs;
    inputs.set("input_features", stacked(features));
    inputs.set("attention_mask", stacked(rows.masks));
    return inputs;
  }

 private:
  int64_t hop_, length_;
  Tensor window_, filters_, norms_;
};

// CLAP: Wu et al. 2022, https://arxiv.org/abs/2211.06687. Long sounds are cut at random, or fused: the whole one shrunk
// and three chunks of it.
struct ClapFeatureExtractor : Extractor {
  static Value::Object defaults() {
    return {{"feature_size", 64},
            {"sampling_rate", 48000},
            {"padding_value", 0.0},
            {"padding_side", "right"},
            {"return_attention_mask", false},
            {"top_db", nullptr},
            {"truncation", "fusion"},
            {"padding", "repeatpad"},
            {"fft_window_size", 1024},
            {"hop_length", 480},
            {"max_length_s", 10},
            {"frequency_min", 0},
            {"frequency_max", 14000}};
  }
  ClapFeatureExtractor(std::string name, Value::Object settings)
      : Extractor(std::move(name), std::move(settings)), hop_(integer("hop_length")) {
    const int64_t rate = integer("sampling_rate", 1, 1 << 24), fft = integer("fft_window_size", 2, kMostFft),
                  mels = integer("feature_size");
    samples_ = integer("max_length_s", 1, 24 * 3600) * rate;
    derive("nb_frequency_bins", (fft >> 1) + 1);
    derive("nb_max_samples", samples_);
    window_ = window_function(fft);
    MelOptions filters{.bins = (fft >> 1) + 1,
                       .mels = mels,
                       .low = number("frequency_min"),
                       .high = number("frequency_max"),
                       .rate = rate};
    filters_ = mel_filter_bank(filters);
    filters.scale = MelScale::slaney;
    filters.slaney_norm = true;
    slaney_filters_ = mel_filter_bank(filters);
  }

  ModelInputs extract(const std::vector<Tensor>& waves, const FeatureOptions& options) const override {
    const bool says_padding = !options.padding.is_null() && !(options.padding.is_bool() && !options.padding.as_bool());
    const std::string padding =
        says_padding ? (options.padding.is_string() ? options.padding.as_string() : "") : text("padding");
    const std::string truncation = options.truncation.is_null()     ? text("truncation")
                                   : options.truncation.is_string() ? options.truncation.as_string()
                                                                    : "";
    const int64_t length = options.max_length.value_or(0) > 0 ? *options.max_length : samples_;
    std::vector<Tensor> features;
    Tensor is_longer = at::zeros({static_cast<int64_t>(sounds(waves).size()), 1}, at::kBool);
    for (const auto& wave : sounds(waves)) {
      const auto row = static_cast<int64_t>(features.size());
      bool longer = false;
      features.push_back(wave.size(0) > length ? shortened(wave, length, truncation, longer)
                                               : lengthened(wave, length, padding, truncation));
      if (longer) is_longer[row].fill_(true);
    }
    // The model expects one long sound at least.
    if (truncation == "fusion" && !is_longer.any().item<bool>())
      is_longer[at::randint(is_longer.size(0), {1}).item<int64_t>()].fill_(true);
    ModelInputs inputs;
    inputs.set("input_features", stacked(features));
    inputs.set("is_longer", is_longer);
    return inputs;
  }

 private:
  // [frames, mels]
  Tensor mel(const Tensor& wave, const Tensor& filters) const {
    return spectrogram(wave, window_,
                       {.frames = {.hop = hop_}, .power = 2, .filters = filters, .log = LogScale::decibel})
        .t();
  }

  // -> [4 or 1, frames, mels]
  Tensor shortened(const Tensor& wave, int64_t length, const std::string& truncation, bool& longer) const {
    if (truncation == "rand_trunc") {
      longer = true;
      const int64_t from = at::randint(wave.size(0) - length + 1, {1}).item<int64_t>();
      return mel(wave.slice(0, from, from + length), slaney_filters_).unsqueeze(0);
    }
    if (truncation != "fusion")
      throw Error(ErrorCode::invalid_value, concat("truncation is '", truncation, "'; expected fusion or rand_trunc"));
    const Tensor whole = mel(wave, filters_);
    const int64_t frames = whole.size(0), chunk = length / hop_ + 1;
    if (chunk == frames) return at::stack({whole, whole, whole, whole});
    if (chunk > frames)
      throw Error(ErrorCode::invalid_value,
                  concat("the sound has ", frames, " frames, fewer than a chunk (", chunk, ")"));
    longer = true;
    if (whole.size(1) != 64)
      throw Error(ErrorCode::invalid_value, concat("fusion needs feature_size 64; it is ", whole.size(1)));
    // A start in each third of those possible.
    const int64_t starts = frames - chunk + 1, size = starts / 3, larger = starts % 3;
    std::vector<Tensor> parts = {at::upsample_bilinear2d(whole.unsqueeze(0).unsqueeze(0), {chunk, 64}, false)[0][0]};
    int64_t from = 0;
    for (int64_t third = 0; third < 3; ++third) {
      const int64_t choices = size + (third < larger ? 1 : 0);
      const int64_t start = choices > 0 ? from + at::randint(choices, {1}).item<int64_t>() : 0;
      parts.push_back(whole.slice(0, start, start + chunk));
      from += choices;
    }
    return at::stack(parts);
  }

  Tensor lengthened(Tensor wave, int64_t length, const std::string& padding, const std::string& truncation) const {
    if (wave.size(0) < length) {
      const int64_t times = length / wave.size(0);
      if (padding == "repeat") wave = wave.repeat({times + 1}).slice(0, 0, length);
      if (padding == "repeatpad") wave = wave.repeat({times});
      wave = at::constant_pad_nd(wave, {0, length - wave.size(0)});
    }
    if (truncation != "fusion") return mel(wave, slaney_filters_).unsqueeze(0);
    const Tensor whole = mel(wave, filters_);
    return at::stack({whole, whole, whole, whole});
  }

  int64_t hop_, samples_;
  Tensor window_, filters_, slaney_filters_;
};

int64_t power_of_two_from(int64_t length) {
  int64_t power = 1;
  while (power < length) power *= 2;
  return power;
}

// SpeechT5: Ao et al. 2021, https://arxiv.org/abs/2110.07205. Samples for the encoder, log-mel spectrograms as targets.
struct SpeechT5FeatureExtractor : Extractor {
  static Value::Object defaults() {
    return {{"feature_size", 1},
            {"sampling_rate", 16000},
            {"padding_value", 0.0},
            {"padding_side", "right"},
            {"do_normalize", false},
            {"return_attention_mask", true},
            {"num_mel_bins", 80},
            {"hop_length", 16},
            {"win_length", 64},
            {"win_function", "hann_window"},
            {"frame_signal_scale", 1.0},
            {"fmin", 80},
            {"fmax", 7600},
            {"mel_floor", 1e-10},
            {"reduction_factor", 2}};
  }
  SpeechT5FeatureExtractor(std::string name, Value::Object settings) : Extractor(std::move(name), std::move(settings)) {
    const int64_t rate = integer("sampling_rate", 1, 1 << 24);
    const int64_t length = integer("win_length", 1, 1 << 20) * rate / 1000;
    hop_ = integer("hop_length", 1, 1 << 20) * rate / 1000;
    window_ = window_function(length, text("win_function"));
    fft_ = power_of_two_from(length);
    filters_ = mel_filter_bank({.bins = fft_ / 2 + 1,
                                .mels = integer("num_mel_bins"),
                                .low = number("fmin"),
                                .high = number("fmax"),
                                .rate = rate,
                                .scale = MelScale::slaney,
                                .slaney_norm = true});
  }

  ModelInputs extract(const std::vector<Tensor>& waves, const FeatureOptions& options) const override {
    const bool target = more_flag(options, "audio_target", false), audio = more_flag(options, "audio", !target);
    if (!audio) return processed(waves, options, true);
    ModelInputs inputs = processed(waves, options, false);
    if (target) {
      const ModelInputs targets = processed(waves, options, true);
      inputs.set("labels", *targets.find("input_values"));
      if (const Argument* mask = targets.find("attention_mask")) inputs.set("decoder_attention_mask", *mask);
    }
    return inputs;
  }

 private:
  ModelInputs processed(const std::vector<Tensor>& waves, const FeatureOptions& options, bool is_target) const {
    PadOptions how = pad_options(options, false);
    std::vector<Tensor> values = sounds(waves);
    if (is_target) {
      how.feature_size = integer("num_mel_bins");
      for (auto& value : values) {
        value = spectrogram(value, window_,
                            {.frames = {.hop = hop_, .fft_length = fft_},
                             .filters = filters_,
                             .floor = number("mel_floor"),
                             .log = LogScale::log10})
                    .t();
      }
    }
    Rows rows = pad(values, how);
    if (!is_target && flag("do_normalize"))
      rows.values = unit_variance(rows, padding_of(how.padding) != Padding::none, padding_value());
    ModelInputs inputs;
    inputs.set("input_values", stacked(rows.values));
    inputs.set("attention_mask", stacked(rows.masks));
    return inputs;
  }

  int64_t hop_, fft_;
  Tensor window_, filters_;
};

// UnivNet: Jang et al. 2021, https://arxiv.org/abs/2106.07889
struct UnivNetFeatureExtractor : Extractor {
  static Value::Object defaults() {
    return {{"feature_size", 1},
            {"sampling_rate", 24000},
            {"padding_value", 0.0},
            {"padding_side", "right"},
            {"return_attention_mask", true},
            {"do_normalize", false},
            {"num_mel_bins", 100},
            {"hop_length", 256},
            {"win_length", 1024},
            {"win_function", "hann_window"},
            {"filter_length", 1024},
            {"fmin", 0.0},
            {"fmax", nullptr},
            {"mel_floor", 1e-9},
            {"max_length_s", 10},
            {"center", false},
            {"compression_factor", 1.0},
            {"compression_clip_val", 1e-5},
            {"normalize_min", -11.512925148010254},
            {"normalize_max", 2.3143386840820312},
            {"model_in_channels", 64},
            {"pad_end_length", 10}};
  }
  UnivNetFeatureExtractor(std::string name, Value::Object settings)
      : Extractor(std::move(name), std::move(settings)), hop_(integer("hop_length", 1, kMostFft)) {
    const int64_t rate = integer("sampling_rate", 1, 1 << 24);
    if (setting("fmax").is_null()) derive("fmax", static_cast<double>(rate) / 2);
    samples_ = integer("max_length_s", 1, 24 * 3600) * rate;
    window_ = window_function(integer("win_length", 1, kMostFft), text("win_function"));
    fft_ =
        setting("filter_length").is_null() ? power_of_two_from(window_.size(0)) : integer("filter_length", 2, kMostFft);
    filters_ = mel_filter_bank({.bins = fft_ / 2 + 1,
                                .mels = integer("num_mel_bins"),
                                .low = number("fmin"),
                                .high = number("fmax"),
                                .rate = rate,
                                .scale = MelScale::slaney,
                                .slaney_norm = true});
  }

  ModelInputs extract(const std::vector<Tensor>& waves, const FeatureOptions& options) const override {
    if (window_.size(0) != fft_)
      throw Error(ErrorCode::invalid_value,
                  concat("win_length (", window_.size(0), ") has to be the frame's length (", fft_, ")"));
    PadOptions how = pad_options(options, true, true);
    if (!how.max_length) how.max_length = samples_;
    std::vector<Tensor> values = sounds(waves);
    if (more_flag(options, "pad_end", false)) {
      const Value* length = more(options, "pad_length");
      const int64_t frames = length ? length->as_int() : integer("pad_end_length", 0);
      if (frames < 0 || frames > 1 << 24) throw Error(ErrorCode::invalid_value, concat("pad_length is ", frames));
      for (auto& value : values) value = at::constant_pad_nd(value, {0, frames * hop_}, padding_value());
    }
    const Rows rows = pad(values, how);
    std::vector<Tensor> features, noise;
    for (const auto& wave : rows.values) {
      features.push_back(mel(wave, options.do_normalize.value_or(flag("do_normalize"))));
      noise.push_back(at::randn({features.back().size(0), integer("model_in_channels", 1, 1 << 16)}));
    }
    ModelInputs inputs;
    inputs.set("input_features", stacked(features));
    inputs.set("padding_mask", stacked(rows.masks));
    if (more_flag(options, "return_noise", true)) inputs.set("noise_sequence", stacked(noise));
    return inputs;
  }

 private:
  // [frames, mels]
  Tensor mel(const Tensor& wave, bool normalise) const {
    const int64_t side = (fft_ - hop_) / 2;
    const Tensor bins =
        stft(pad_reflected(wave, side, side), window_, {.hop = hop_, .fft_length = fft_, .center = flag("center")});
    const Tensor energy = at::view_as_real(bins).square().sum(-1);
    const Tensor amplitude = (energy + number("mel_floor")).sqrt().to(at::kDouble);
    Tensor x = at::matmul(filters_.t(), amplitude).clamp_min(number("compression_clip_val"));
    x = (x * number("compression_factor")).log().t().to(at::kFloat);
    const double low = number("normalize_min"), high = number("normalize_max");
    return normalise ? 2 * ((x - low) / (high - low)) - 1 : x;
  }

  int64_t hop_, fft_, samples_;
  Tensor window_, filters_;
};

// TVLT: Tang et al. 2022, https://arxiv.org/abs/2209.14156. A spectrogram as a picture, in whole patches.
struct TvltFeatureExtractor : Extractor {
  static Value::Object defaults() {
    return {{"feature_size", 128},
            {"sampling_rate", 44100},
            {"padding_value", 0.0},
            {"padding_side", "right"},
            {"return_attention_mask", true},
            {"spectrogram_length", 2048},
            {"num_channels", 1},
            {"patch_size", Value::List{16, 16}},
            {"n_fft", 2048},
            {"hop_length_to_sampling_rate", 86}};
  }
  TvltFeatureExtractor(std::string name, Value::Object settings) : Extractor(std::move(name), std::move(settings)) {
    const int64_t rate = integer("sampling_rate", 1, 1 << 24), fft = integer("n_fft", 2, kMostFft),
                  mels = integer("feature_size");
    hop_ = rate / integer("hop_length_to_sampling_rate", 1, rate);
    std::erase_if(settings_, [](const auto& item) { return item.first == "hop_length_to_sampling_rate"; });
    derive("hop_length", hop_);
    const auto patch = setting("patch_size").as_int_list();
    if (patch.size() != 2 || patch[0] <= 0 || patch[1] <= 0 || patch[1] > mels)
      throw Error(ErrorCode::bad_config, concat("preprocessor_config.json: patch_size is ",
                                                setting("patch_size").to_string(), "; expected two numbers"));
    patch_ = patch[0];
    columns_ = mels / patch[1];
    derive("freq_len", columns_);
    window_ = window_function(fft);
    filters_ = mel_filter_bank({.bins = 1 + fft / 2,
                                .mels = mels,
                                .low = 0,
                                .high = 22050,
                                .rate = rate,
                                .scale = MelScale::slaney,
                                .slaney_norm = true});
  }

  ModelInputs extract(const std::vector<Tensor>& waves, const FeatureOptions& options) const override {
    std::vector<Tensor> features;
    int64_t most = 0;
    const auto patches = [&](const Tensor& x) { return (x.size(0) + patch_ - 1) / patch_; };
    for (const auto& wave : sounds(waves)) {
      Tensor x = spectrogram(
          wave, window_,
          {.frames = {.hop = hop_}, .power = 2, .filters = filters_, .log = LogScale::decibel, .decibel_range = 80.0});
      x = ((x.slice(1, 0, -1) - 20.0) / 40.0).clamp(-2.0, 0.0) + 1.0;
      features.push_back(x.t().slice(0, 0, integer("spectrogram_length")));
      most = std::max(most, patches(features.back()));
    }
    const auto batch = static_cast<int64_t>(features.size());
    Tensor values = at::full({batch, 1, most * patch_, integer("feature_size")}, padding_value());
    Tensor mask = at::zeros({batch, most * columns_});
    for (int64_t i = 0; i < batch; ++i) {
      const Tensor& x = features[static_cast<size_t>(i)];
      values[i][0].slice(0, 0, x.size(0)).copy_(x);
      mask[i].slice(0, 0, patches(x) * columns_).fill_(1);
    }
    ModelInputs inputs;
    inputs.set("audio_values", values);
    if (options.return_attention_mask.value_or(true)) inputs.set("audio_mask", mask);
    return inputs;
  }

 private:
  int64_t hop_, patch_, columns_;
  Tensor window_, filters_;
};

// M-CTC-T: Lugosch et al. 2021, https://arxiv.org/abs/2111.00161
struct MCTCTFeatureExtractor : Extractor {
  static Value::Object defaults() {
    return {{"feature_size", 80},
            {"sampling_rate", 16000},
            {"padding_value", 0.0},
            {"padding_side", "right"},
            {"return_attention_mask", false},
            {"hop_length", 10},
            {"win_length", 25},
            {"win_function", "hamming_window"},
            {"frame_signal_scale", 32768.0},
            {"preemphasis_coeff", 0.97},
            {"mel_floor", 1.0},
            {"normalize_means", true},
            {"normalize_vars", true}};
  }
  MCTCTFeatureExtractor(std::string name, Value::Object settings) : Extractor(std::move(name), std::move(settings)) {
    const int64_t rate = integer("sampling_rate", 1, 1 << 24), length = integer("win_length", 1, 1 << 20) * rate / 1000;
    hop_ = integer("hop_length", 1, 1 << 20) * rate / 1000;
    fft_ = power_of_two_from(length);
    derive("sample_size", length);
    derive("sample_stride", hop_);
    derive("n_fft", fft_);
    derive("n_freqs", fft_ / 2 + 1);
    window_ = window_function(length, text("win_function"), text("win_function") != "hamming_window");
    filters_ = mel_filter_bank({.bins = fft_ / 2 + 1,
                                .mels = integer("feature_size"),
                                .low = 0,
                                .high = static_cast<double>(rate) / 2,
                                .rate = rate});
  }

  ModelInputs extract(const std::vector<Tensor>& waves, const FeatureOptions& options) const override {
    PadOptions how = pad_options(options, false);
    how.with_mask = true;
    std::vector<Tensor> features;
    for (const auto& wave : sounds(waves)) {
      features.push_back(
          spectrogram(
              wave * number("frame_signal_scale"), window_,
              {.frames = {.hop = hop_, .fft_length = fft_, .center = false, .preemphasis = number("preemphasis_coeff")},
               .filters = filters_,
               .floor = number("mel_floor"),
               .log = LogScale::log})
              .t());
    }
    Rows rows = pad(features, how);
    const bool means = flag("normalize_means"), variances = flag("normalize_vars");
    if (means || variances)
      rows.values =
          cepstral_normalised(rows, padding_of(how.padding) != Padding::none, means, variances, padding_value());
    ModelInputs inputs;
    inputs.set("input_features", stacked(rows.values));
    inputs.set("attention_mask", stacked(rows.masks));
    return inputs;
  }

 private:
  int64_t hop_, fft_;
  Tensor window_, filters_;
};

// Phi-4 multimodal: Microsoft 2025, https://arxiv.org/abs/2503.01743. Log energies above 1, in float32.
struct Phi4MultimodalFeatureExtractor : Extractor {
  static Value::Object defaults() {
    return {{"feature_size", 80},
            {"sampling_rate", 16000},
            {"padding_value", 0.0},
            {"padding_side", "right"},
            {"return_attention_mask", true},
            {"hop_length", 160},
            {"n_fft", 512},
            {"win_length", 400},
            {"preemphasis", 0.97},
            {"audio_compression_rate", 8},
            {"audio_downsample_rate", 1},
            {"audio_feat_stride", 1},
            {"mel_min_frequency", 0},
            {"mel_max_frequency", 7690}};
  }
  Phi4MultimodalFeatureExtractor(std::string name, Value::Object settings)
      : Extractor(std::move(name), std::move(settings)),
        hop_(integer("hop_length", 1, kMostFft)),
        window_(window_function(integer("win_length", 1, kMostFft), "hamming", false)) {
    const int64_t fft = integer("n_fft", 2, kMostFft);
    filters_ = mel_filter_bank({.bins = fft / 2 + 1,
                                .mels = integer("feature_size"),
                                .low = number("mel_min_frequency"),
                                .high = number("mel_max_frequency"),
                                .rate = integer("sampling_rate", 1, 1 << 24),
                                .scale = MelScale::kaldi,
                                .triangles_in_mels = true})
                   .to(at::kFloat);
  }

  ModelInputs extract(const std::vector<Tensor>& waves, const FeatureOptions& options) const override {
    PadOptions how = pad_options(options, "longest");
    how.feature_size = 1;
    how.with_mask = false;
    const std::vector<Tensor> values = sounds(waves);
    const int64_t length = window_.size(0);
    int64_t longest = 0;
    std::vector<int64_t> frames, sizes;  // of each sound: frames, tokens that the model makes of them
    for (const auto& value : values) {
      longest = std::max(longest, value.size(0));
      frames.push_back(floor_div(value.size(0) - length, hop_) + 1);
      const int64_t strided = frames.back() * integer("audio_feat_stride");
      sizes.push_back(ceil_div(ceil_div(strided, integer("audio_compression_rate")), integer("audio_downsample_rate")));
    }
    const Tensor all = must_stack(pad(values, how).values, "the samples");
    if (all.size(1) < length)
      throw Error(ErrorCode::invalid_value,
                  concat("a sound of ", all.size(1), " samples is shorter than one frame of ", length));
    Tensor x = all.unfold(1, length, hop_).clone();  // [batch, frames, length]
    // Frames that are partly padding count as silence.
    for (size_t i = 0; i < values.size(); ++i) {
      const int64_t whole = std::clamp<int64_t>(frames[i], 0, x.size(1)), touched = values[i].size(0) / hop_ - 1;
      if (values[i].size(0) < longest && whole < touched) x[static_cast<int64_t>(i)].slice(0, whole, touched).zero_();
    }
    x = (x - number("preemphasis") * at::cat({x.slice(2, 0, 1), x.slice(2, 0, -1)}, 2)) * 32768.0;
    const Tensor bins = at::fft_rfft(window_ * x, integer("n_fft"), 2).to(at::kComplexFloat);
    ModelInputs inputs;
    inputs.set("audio_input_features", at::matmul(bins.abs().square(), filters_).clamp_min(1.0).log());
    inputs.set("audio_embed_sizes", at::tensor(sizes, at::kLong));
    if (values.size() > 1 && options.return_attention_mask.value_or(true)) {
      const Tensor lengths = at::tensor(frames, at::kLong) * integer("audio_feat_stride");
      inputs.set("audio_attention_mask", at::arange(lengths.max().item<int64_t>()).unsqueeze(0) < lengths.unsqueeze(1));
    }
    return inputs;
  }

 private:
  static int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
  static int64_t ceil_div(int64_t a, int64_t b) { return floor_div(a + b - 1, b); }

  int64_t hop_;
  Tensor window_, filters_;
};

}  // namespace

std::vector<ExtractorClass> mel_classes() {
  return {
      {"WhisperFeatureExtractor", &WhisperFeatureExtractor::defaults, &make_extractor<WhisperFeatureExtractor>},
      {"ClvpFeatureExtractor", &ClvpFeatureExtractor::defaults, &make_extractor<ClvpFeatureExtractor>},
      {"ClapFeatureExtractor", &ClapFeatureExtractor::defaults, &make_extractor<ClapFeatureExtractor>},
      {"SpeechT5FeatureExtractor", &SpeechT5FeatureExtractor::defaults, &make_extractor<SpeechT5FeatureExtractor>},
      {"UnivNetFeatureExtractor", &UnivNetFeatureExtractor::defaults, &make_extractor<UnivNetFeatureExtractor>},
      {"TvltFeatureExtractor", &TvltFeatureExtractor::defaults, &make_extractor<TvltFeatureExtractor>},
      {"Phi4MultimodalFeatureExtractor", &Phi4MultimodalFeatureExtractor::defaults,
       &make_extractor<Phi4MultimodalFeatureExtractor>},
      {"MCTCTFeatureExtractor", &MCTCTFeatureExtractor::defaults, &make_extractor<MCTCTFeatureExtractor>},
  };
}

}  // namespace backplane::audio
