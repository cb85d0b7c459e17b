#include "backplane/audio/spectrogram.h"

#include <cmath>
#include <numbers>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

constexpr int64_t kMostFft = int64_t{1} << 20;
constexpr int64_t kMostMels = 1 << 14;
constexpr int64_t kFramesAtOnce = 2048;  // long sounds are worked off piece by piece

const at::TensorOptions kWide = at::TensorOptions().dtype(at::kDouble);

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorCode::invalid_value, message); }

double to_mel(double hertz, MelScale scale) {
  if (scale == MelScale::htk) return 2595 * std::log10(1 + hertz / 700);
  if (scale == MelScale::kaldi) return 1127 * std::log(1 + hertz / 700);
  return hertz < 1000 ? 3 * hertz / 200 : 15 + std::log(hertz / 1000) * 27 / std::log(6.4);
}

Tensor to_hertz(const Tensor& mels, MelScale scale) {
  if (scale == MelScale::htk) return 700 * (at::pow(10.0, mels / 2595) - 1);
  if (scale == MelScale::kaldi) return 700 * (at::exp(mels / 1127) - 1);
  return at::where(mels < 15, 200 * mels / 3, 1000 * at::exp(std::log(6.4) / 27 * (mels - 15)));
}

Tensor to_mel(const Tensor& hertz, MelScale scale) {
  Tensor mels = hertz.clone();
  auto* values = mels.mutable_data_ptr<double>();
  for (int64_t i = 0; i < mels.numel(); ++i) values[i] = to_mel(values[i], scale);
  return mels;
}

int64_t checked_fft_length(const Tensor& window, const FrameOptions& options) {
  const int64_t length = window.size(0), fft = options.fft_length > 0 ? options.fft_length : length;
  if (options.hop <= 0)
    refuse(concat("the hop of a spectrogram is ", options.hop, " samples; expected a number above 0"));
  if (length <= 0 || length > fft || fft > kMostFft)
    refuse(concat("frames of ", length, " samples do not go into a Fourier transform of ", fft, " (at most ", kMostFft,
                  ")"));
  return fft;
}

// The frames of a wave that is already padded, [frames, frame_length], as a view.
Tensor frames_of(const Tensor& wave, int64_t frame_length, int64_t hop) {
  if (wave.size(0) < frame_length)
    refuse(concat("a sound of ", wave.size(0), " samples is shorter than one frame of ", frame_length, "; pad it"));
  return wave.unfold(0, frame_length, hop);
}

// frames [frames, frame_length] -> [frames, bins] complex64
Tensor transformed(Tensor frames, const Tensor& window, int64_t fft, const FrameOptions& options) {
  frames = frames.to(window.scalar_type());
  if (options.dither != 0) frames = frames + options.dither * at::randn_like(frames);
  if (options.remove_dc_offset) frames = frames - frames.mean(1, true);
  if (options.preemphasis != 0) {
    const Tensor before = at::cat({frames.slice(1, 0, 1), frames.slice(1, 0, -1)}, 1);
    frames = frames - options.preemphasis * before;
  }
  return at::fft_rfft(frames * window, fft, 1).to(at::kComplexFloat);
}

Tensor prepared(const Tensor& wave, const Tensor& window, const FrameOptions& options) {
  if (wave.dim() != 1) refuse(concat("a sound of one channel is expected; found the shape ", wave.sizes()));
  return options.center ? pad_reflected(wave, window.size(0) / 2, window.size(0) / 2) : wave;
}

}  // namespace

Tensor window_function(int64_t length, std::string_view name, bool periodic) {
  if (length <= 0 || length > kMostFft)
    refuse(concat("a window of ", length, " samples; expected between 1 and ", kMostFft));
  const int64_t whole = periodic ? length + 1 : length;
  const Tensor angle = whole > 1 ? at::arange(whole, kWide) * (2 * std::numbers::pi / static_cast<double>(whole - 1))
                                 : at::full({1}, std::numbers::pi, kWide);
  Tensor window;
  if (name == "boxcar") {
    window = at::ones(whole, kWide);
  } else if (name == "hamming" || name == "hamming_window") {
    window = 0.54 - 0.46 * at::cos(angle);
  } else if (name == "hann" || name == "hann_window") {
    window = 0.5 - 0.5 * at::cos(angle);
  } else if (name == "povey") {
    window = at::pow(at::clamp_min(0.5 - 0.5 * at::cos(angle), 0), 0.85);
  } else {
    refuse(concat("unknown window '", name, "'; known are boxcar, hann, hamming and povey"));
  }
  return window.slice(0, 0, length);
}

Tensor mel_filter_bank(const MelOptions& options) {
  if (options.bins < 2 || options.bins > kMostFft || options.mels < 1 || options.mels > kMostMels ||
      options.bins * options.mels > (int64_t{1} << 27)) {
    refuse(concat(options.mels, " mel filters over ", options.bins, " bins; expected at least 1 over 2, at most ",
                  kMostMels));
  }
  if (!(options.low <= options.high)) refuse(concat("mel filters from ", options.low, " to ", options.high, " Hz"));
  const Tensor mels =
      at::linspace(to_mel(options.low, options.scale), to_mel(options.high, options.scale), options.mels + 2, kWide);
  const Tensor corners = to_hertz(mels, options.scale);
  Tensor at_bins, at_corners = corners;
  if (options.triangles_in_mels) {
    const double width = static_cast<double>(options.rate) / static_cast<double>((options.bins - 1) * 2);
    at_bins = to_mel(at::arange(options.bins, kWide) * width, options.scale);
    at_corners = mels;
  } else {
    at_bins = at::linspace(0, static_cast<double>(options.rate / 2), options.bins, kWide);
  }
  const Tensor widths = at_corners.slice(0, 1) - at_corners.slice(0, 0, -1);  // [mels + 1]
  const Tensor slopes = at_corners.unsqueeze(0) - at_bins.unsqueeze(1);       // [bins, mels + 2]
  const Tensor falling = -slopes.slice(1, 0, -2) / widths.slice(0, 0, -1);
  const Tensor rising = slopes.slice(1, 2) / widths.slice(0, 1);
  Tensor filters = at::clamp_min(at::minimum(falling, rising), 0);
  if (options.slaney_norm) filters = filters * (2.0 / (corners.slice(0, 2) - corners.slice(0, 0, options.mels)));
  return filters;
}

Tensor pad_reflected(const Tensor& x, int64_t before, int64_t after) {
  const int64_t size = x.size(0);
  if (size == 0) refuse("a sound without samples cannot be padded by its mirror image");
  if (before < 0 || after < 0) refuse(concat("a sound cannot be padded by ", before, " and ", after, " samples"));
  if (before < size && after < size && size > 1)
    return at::reflection_pad1d(x.unsqueeze(0), {before, after}).squeeze(0);
  const int64_t period = std::max<int64_t>(2 * (size - 1), 1);
  Tensor index = at::remainder(at::arange(-before, size + after, at::kLong), period);
  index = at::where(index >= size, period - index, index);
  return x.index_select(0, index);
}

Tensor stft(const Tensor& wave, const Tensor& window, const FrameOptions& options) {
  const int64_t fft = checked_fft_length(window, options);
  return transformed(frames_of(prepared(wave, window, options), window.size(0), options.hop), window, fft, options).t();
}

Tensor spectrogram(const Tensor& wave, const Tensor& window, const SpectrogramOptions& options) {
  const int64_t fft = checked_fft_length(window, options.frames);
  const Tensor whole = prepared(wave, window, options.frames);
  const Tensor frames = frames_of(whole, window.size(0), options.frames.hop);
  std::vector<Tensor> pieces;  // [mels or bins, frames of the piece]
  for (int64_t at = 0; at < frames.size(0); at += kFramesAtOnce) {
    const Tensor bins = transformed(frames.slice(0, at, at + kFramesAtOnce), window, fft, options.frames);
    Tensor amplitude = at::view_as_real(bins).to(window.scalar_type()).square().sum(-1);  // energies
    if (options.power == 1) {
      amplitude = amplitude.sqrt();
    } else if (options.power != 2) {
      amplitude = amplitude.pow(options.power / 2);
    }
    if (options.filters.defined())
      amplitude = at::matmul(amplitude, options.filters.to(amplitude.scalar_type())).clamp_min(options.floor);
    pieces.push_back(amplitude.t());
  }
  Tensor result = pieces.size() == 1 ? pieces.front() : at::cat(pieces, 1);
  switch (options.log) {
    case LogScale::none:
      return result;
    case LogScale::log:
      result = result.log();
      break;
    case LogScale::log10:
      result = result.log10();
      break;
    case LogScale::decibel: {
      constexpr double kSmallest = 1e-10;
      result = (options.power == 1 ? 20.0 : 10.0) * result.clamp_min(kSmallest).log10();
      if (options.decibel_range) result = result.clamp_min(result.max().item<double>() - *options.decibel_range);
      break;
    }
  }
  return result.to(at::kFloat);
}

}  // namespace backplane
