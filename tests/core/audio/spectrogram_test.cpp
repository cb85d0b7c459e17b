#include "backplane/audio/spectrogram.h"

#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <numbers>

#include "backplane/base/error.h"

using namespace backplane;

TEST_CASE("a Hann window is zero at its start and one in the middle") {
  const at::Tensor periodic = window_function(4), symmetric = window_function(5, "hann", false);
  CHECK(at::allclose(periodic, at::tensor({0.0, 0.5, 1.0, 0.5}, at::kDouble)));
  CHECK(at::allclose(symmetric, at::tensor({0.0, 0.5, 1.0, 0.5, 0.0}, at::kDouble)));
  CHECK_THROWS_AS(window_function(4, "kaiser"), Error);
  CHECK_THROWS_AS(window_function(0), Error);
}

TEST_CASE("a mirrored sound does not repeat its ends, however short it is") {
  const at::Tensor x = at::tensor({1.0f, 2.0f, 3.0f});
  CHECK(at::equal(pad_reflected(x, 2, 1), at::tensor({3.0f, 2.0f, 1.0f, 2.0f, 3.0f, 2.0f})));
  CHECK(at::equal(pad_reflected(x, 5, 0), at::tensor({2.0f, 1.0f, 2.0f, 3.0f, 2.0f, 1.0f, 2.0f, 3.0f})));
  CHECK(at::equal(pad_reflected(at::tensor({7.0f}), 2, 2), at::full({5}, 7.0f)));
}

TEST_CASE("a tone has its energy in one bin") {
  const at::Tensor time = at::arange(64, at::kDouble);
  const at::Tensor tone = at::cos(2 * std::numbers::pi * 4 / 16 * time);  // the fourth bin of 16 samples
  const at::Tensor energies =
      spectrogram(tone, window_function(16, "boxcar"), {.frames = {.hop = 16, .center = false}, .power = 2});
  REQUIRE(energies.sizes() == at::IntArrayRef({9, 4}));
  CHECK(energies[4][0].item<double>() == Approx(64.0));
  CHECK(energies[3][0].item<double>() == Approx(0.0).margin(1e-9));
}

TEST_CASE("a long sound gives the same frames piece by piece") {
  const at::Tensor noise = at::sin(at::arange(5000, at::kDouble).square());
  const at::Tensor window = window_function(8),
                   whole = spectrogram(noise, window, {.frames = {.hop = 1, .center = false}});
  REQUIRE(whole.size(1) == 4993);
  const at::Tensor end = spectrogram(noise.slice(0, 4000), window, {.frames = {.hop = 1, .center = false}});
  CHECK(at::allclose(whole.slice(1, 4000), end));
}

TEST_CASE("mel filters rise and fall in triangles") {
  const at::Tensor filters = mel_filter_bank({.bins = 5, .mels = 1, .low = 0, .high = 4000, .rate = 8000});
  REQUIRE(filters.sizes() == at::IntArrayRef({5, 1}));
  CHECK(filters[0][0].item<double>() == Approx(0.0));
  CHECK(filters[1][0].item<double>() == Approx(1000.0 / 1113.0).epsilon(0.01));  // half of 2146 mel is 1113 Hz
  CHECK(filters[4][0].item<double>() == Approx(0.0).margin(1e-9));
  CHECK_THROWS_AS(mel_filter_bank({.bins = 1, .mels = 1, .rate = 8000}), Error);
  CHECK_THROWS_AS(mel_filter_bank({.bins = 1 << 20, .mels = 1 << 14, .high = 1, .rate = 8000}), Error);
}

TEST_CASE("sizes that make no sense are errors") {
  const at::Tensor window = window_function(16), wave = at::zeros({8});
  CHECK_THROWS_AS(spectrogram(wave, window, {.frames = {.hop = 0}}), Error);
  CHECK_THROWS_AS(spectrogram(wave, window, {.frames = {.hop = 4, .center = false}}), Error);
  CHECK_THROWS_AS(spectrogram(wave, window, {.frames = {.hop = 4, .fft_length = 8}}), Error);
  CHECK_THROWS_AS(spectrogram(at::zeros({0}), window, {.frames = {.hop = 4}}), Error);
}
