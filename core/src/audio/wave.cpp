#include "backplane/audio/wave.h"

#include <sndfile.h>
#include <soxr.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <numeric>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

constexpr sf_count_t kMostFrames = sf_count_t{24} * 3600 * 48000;  // a day
constexpr int kMostChannels = 64;
constexpr int kMostRate = 768000;
constexpr sf_count_t kFramesAtOnce = 1 << 16;

}  // namespace

Wave read_wave(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> exists(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (!exists) throw Error(ErrorCode::file_not_found, concat("no sound file at ", path));
  SF_INFO info{};
  const std::unique_ptr<SNDFILE, int (*)(SNDFILE*)> file(sf_open(path.c_str(), SFM_READ, &info), &sf_close);
  if (!file) {
    throw Error(ErrorCode::invalid_value, concat(path, " is no sound that can be read (", sf_strerror(nullptr),
                                                 "); expected wav, flac, ogg or mp3"));
  }
  if (info.channels < 1 || info.channels > kMostChannels || info.samplerate < 1 || info.samplerate > kMostRate) {
    throw Error(ErrorCode::invalid_value, concat(path, " has ", info.channels, " channels at ", info.samplerate,
                                                 " Hz; expected 1 to ", kMostChannels, " at up to ", kMostRate, " Hz"));
  }
  // What the header says is not believed: room is made for what is really read.
  const int64_t channels = info.channels;
  std::vector<Tensor> pieces;
  sf_count_t frames = 0;
  while (true) {
    Tensor piece = at::empty({kFramesAtOnce, channels});
    const sf_count_t got = sf_readf_float(file.get(), piece.mutable_data_ptr<float>(), kFramesAtOnce);
    if (got <= 0) break;
    frames += got;
    if (frames > kMostFrames) throw Error(ErrorCode::limit_exceeded, concat(path, " is longer than a day"));
    pieces.push_back(got == kFramesAtOnce ? piece : piece.slice(0, 0, got).clone());
  }
  if (pieces.empty()) throw Error(ErrorCode::invalid_value, concat(path, " holds no samples"));
  Wave wave;
  wave.samples = at::nan_to_num(at::cat(pieces, 0).t().contiguous());
  wave.rate = info.samplerate;
  return wave;
}

Tensor mono(const Wave& wave) { return wave.samples.size(0) == 1 ? wave.samples[0] : wave.samples.mean(0); }

Tensor resample(const Tensor& samples, int64_t from, int64_t to) {
  if (from <= 0 || to <= 0 || from > kMostRate || to > kMostRate)
    throw Error(ErrorCode::invalid_value, concat("a sound cannot be taken from ", from, " to ", to, " Hz"));
  if (from == to) return samples;
  const Tensor in = samples.to(at::kFloat).contiguous();
  const double ratio = static_cast<double>(to) / static_cast<double>(from);
  const auto expected = static_cast<int64_t>(std::ceil(static_cast<double>(in.size(0)) * ratio));
  Tensor out = at::zeros({expected});
  const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
  const soxr_io_spec_t io = soxr_io_spec(SOXR_FLOAT32_I, SOXR_FLOAT32_I);
  size_t used = 0, made = 0;
  if (soxr_error_t error =
          soxr_oneshot(static_cast<double>(from), static_cast<double>(to), 1, in.const_data_ptr<float>(),
                       static_cast<size_t>(in.size(0)), &used, out.mutable_data_ptr<float>(),
                       static_cast<size_t>(expected), &made, &io, &quality, nullptr)) {
    throw Error(ErrorCode::invalid_value,
                concat("resampling from ", from, " to ", to, " Hz failed: ", soxr_strerror(error)));
  }
  return out;
}

}  // namespace backplane
