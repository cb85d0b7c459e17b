#pragma once

#include <optional>
#include <string_view>

#include "backplane/nn/module.h"

// Spectrograms as the reference's feature extractors make them. Pure functions, thread-safe. They throw
// `invalid_value` for sizes that make no sense, before anything is allocated.
namespace backplane {

/// A window of `length` numbers in float64: boxcar, hann, hamming or povey (names may end in "_window"). `periodic`:
/// the first `length` of a symmetric one of length + 1.
Tensor window_function(int64_t length, std::string_view name = "hann", bool periodic = true);

enum class MelScale { htk, slaney, kaldi };

struct MelOptions {
  int64_t bins;     // of the spectrogram: 1 + fft_length / 2
  int64_t mels;     // filters
  double low = 0;   // Hz
  double high = 0;  // Hz
  int64_t rate;     // Hz
  MelScale scale = MelScale::htk;
  bool slaney_norm = false;        // each filter has the area 1
  bool triangles_in_mels = false;  // straight on the mel scale instead of in Hz
};
/// Triangular filters [bins, mels] in float64. Stevens, Volkmann and Newman 1937 for the scale.
Tensor mel_filter_bank(const MelOptions& options);

struct FrameOptions {
  int64_t hop = 0;                // samples from frame to frame
  int64_t fft_length = 0;         // 0: the window's length; frames are padded with zeros to it
  bool center = true;             // frames around their time: the wave is mirrored at both ends
  bool remove_dc_offset = false;  // the mean of each frame is taken off
  double preemphasis = 0;         // x[t] - p x[t - 1] within each frame
  double dither = 0;              // standard deviation of added noise
};
/// wave [samples] -> [1 + fft_length / 2, frames] complex64. The window's dtype is that of the computation.
Tensor stft(const Tensor& wave, const Tensor& window, const FrameOptions& options);

enum class LogScale { none, log, log10, decibel };

struct SpectrogramOptions {
  FrameOptions frames;
  double power = 1;  // 1: amplitudes, 2: energies
  Tensor filters;    // [bins, mels]; undefined: the bins themselves
  double floor = 1e-10;
  LogScale log = LogScale::none;
  std::optional<double> decibel_range = {};  // what is further below the maximum is lifted
};
/// wave [samples] -> [mels or bins, frames], float32 with a logarithm and in the window's dtype without.
Tensor spectrogram(const Tensor& wave, const Tensor& window, const SpectrogramOptions& options);

/// x [samples] mirrored without its ends, again and again where it is short: [before + samples + after].
Tensor pad_reflected(const Tensor& x, int64_t before, int64_t after);

}  // namespace backplane
