#pragma once

#include <string>

#include "backplane/nn/module.h"

namespace backplane {

/// A sound: samples [channels, samples] in float32 from -1 to 1, and how many of them a second has (Hz).
struct Wave {
  Tensor samples;
  int64_t rate = 0;
};

/// Reads wav, flac, ogg, mp3 and whatever else libsndfile knows; what the file holds decides, not its name. Throws
/// `file_not_found`; `invalid_value` for a file that is no sound, `limit_exceeded` for more than a day.
Wave read_wave(const std::string& path);

/// The mean of the channels, [samples].
Tensor mono(const Wave& wave);

/// The sound at another rate, by soxr in the quality that librosa takes ("soxr_hq"), and as long as librosa makes it.
/// samples [samples] -> [samples * to / from], rounded up.
Tensor resample(const Tensor& samples, int64_t from, int64_t to);

}  // namespace backplane
