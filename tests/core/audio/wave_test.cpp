#include "backplane/audio/wave.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <boost/filesystem.hpp>
#include <catch2/catch.hpp>
#include <fstream>
#include <numbers>

#include "backplane/audio/feature_extractor.h"
#include "backplane/base/error.h"

using namespace backplane;

namespace {

struct File {
  boost::filesystem::path path =
      boost::filesystem::temp_directory_path() / boost::filesystem::unique_path("sound-%%%%%%%%.wav");
  explicit File(const std::string& bytes) { std::ofstream(path.string(), std::ios::binary) << bytes; }
  ~File() { boost::filesystem::remove(path); }
};

std::string number(uint32_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xFF);
  return text;
}

// 16-bit samples, `channels` interleaved; the header says `claimed` bytes of them.
std::string wav(const std::vector<int16_t>& samples, uint32_t channels, uint32_t rate, uint32_t claimed) {
  std::string data;
  for (int16_t sample : samples) data += number(static_cast<uint16_t>(sample), 2);
  return "RIFF" + number(36 + claimed, 4) + "WAVEfmt " + number(16, 4) + number(1, 2) + number(channels, 2) +
         number(rate, 4) + number(rate * channels * 2, 4) + number(channels * 2, 2) + number(16, 2) + "data" +
         number(claimed, 4) + data;
}

}  // namespace

TEST_CASE("the samples of a wav file are fractions of 32768, channel by channel") {
  const File file(wav({16384, -32768, 0, 8192}, 2, 8000, 8));
  const Wave wave = read_wave(file.path.string());
  CHECK(wave.rate == 8000);
  CHECK(at::equal(wave.samples, at::tensor({0.5f, 0.0f, -1.0f, 0.25f}).view({2, 2})));
  CHECK(at::equal(mono(wave), at::tensor({-0.25f, 0.125f})));
}

TEST_CASE("a header that lies about its length allocates nothing") {
  const File file(wav({1, 2, 3}, 1, 8000, 0x7FFFFFF0));
  CHECK(read_wave(file.path.string()).samples.size(1) == 3);
}

TEST_CASE("what is no sound is an error") {
  CHECK_THROWS_AS(read_wave("/nowhere.wav"), Error);
  CHECK_THROWS_AS(read_wave(File("not a sound at all").path.string()), Error);
  CHECK_THROWS_AS(read_wave(File(wav({}, 1, 8000, 0)).path.string()), Error);
  CHECK_THROWS_AS(read_wave(File(wav({1, 2}, 1, 0, 4)).path.string()), Error);
}

TEST_CASE("resampling keeps a tone") {
  const at::Tensor fast = at::sin(2 * std::numbers::pi * 100 * at::arange(8000) / 8000.0).to(at::kFloat);
  const at::Tensor slow = resample(fast, 8000, 4000);
  REQUIRE(slow.size(0) == 4000);
  const at::Tensor expected = fast.slice(0, 0, 8000, 2);
  CHECK((slow - expected).slice(0, 200, 3800).abs().max().item<float>() < 1e-3f);
  CHECK_THROWS_AS(resample(fast, 0, 16000), Error);
}

TEST_CASE("a feature extractor normalises and pads") {
  const auto extractor = FeatureExtractor::make("Wav2Vec2FeatureExtractor");
  const auto inputs = (*extractor)({at::tensor({1.0f, 3.0f}), at::tensor({2.0f, 4.0f, 6.0f})},
                                   {.padding = true, .return_attention_mask = true});
  CHECK(at::allclose(inputs["input_values"][0], at::tensor({-1.0f, 1.0f, 0.0f}), 1e-4, 1e-4));
  CHECK(at::equal(inputs["attention_mask"], at::tensor({1, 1, 0, 1, 1, 1}, at::kInt).view({2, 3})));
  CHECK_THROWS_AS((*extractor)({at::ones({4})}, {.sampling_rate = 8000}), Error);
  CHECK_THROWS_AS((*extractor)({}), Error);
}

TEST_CASE("hostile settings of a feature extractor are errors") {
  CHECK_THROWS_AS(FeatureExtractor::make("WhisperFeatureExtractor", {{"hop_length", 0}}), Error);
  CHECK_THROWS_AS(FeatureExtractor::make("WhisperFeatureExtractor", {{"n_fft", int64_t{1} << 40}}), Error);
  CHECK_THROWS_AS(FeatureExtractor::make("WhisperFeatureExtractor", {{"feature_size", "many"}}), Error);
  CHECK_THROWS_AS(FeatureExtractor::make("SpeechT5FeatureExtractor", {{"win_length", 0}}), Error);
  CHECK_THROWS_AS(FeatureExtractor::make("TvltFeatureExtractor", {{"patch_size", Value::List{16, 0}}}), Error);
  CHECK_THROWS_AS(FeatureExtractor::make("NoSuchExtractor"), Error);
}
