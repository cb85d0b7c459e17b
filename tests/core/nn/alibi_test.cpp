#include "backplane/nn/alibi.h"

#include <catch2/catch.hpp>
#include <cmath>

using namespace backplane;

TEST_CASE("slopes of a power of two of heads halve from 2^(-8/n) on") {
  const Tensor slopes = nn::alibi_slopes(8);
  REQUIRE(slopes.numel() == 8);
  for (int64_t i = 0; i < 8; ++i)
    CHECK(slopes[i].item<double>() == Approx(std::pow(2.0, -static_cast<double>(i + 1))).epsilon(1e-6));
}

TEST_CASE("other counts of heads take every second slope of twice the power of two below") {
  const Tensor slopes = nn::alibi_slopes(6), of_four = nn::alibi_slopes(4), of_eight = nn::alibi_slopes(8);
  REQUIRE(slopes.numel() == 6);
  CHECK(at::allclose(slopes.slice(0, 0, 4), of_four));
  CHECK(slopes[4].item<double>() == Approx(of_eight[0].item<double>()));
  CHECK(slopes[5].item<double>() == Approx(of_eight[2].item<double>()));
}

TEST_CASE("biases count the tokens that are no padding") {
  const Tensor mask = at::tensor({0, 1, 1, 1, 1, 0}, at::kLong).view({2, 3});
  const Tensor bias = nn::alibi_bias(mask, 2, 3);
  REQUIRE(bias.sizes() == at::IntArrayRef({2, 2, 1, 3}));
  const Tensor slopes = nn::alibi_slopes(2), places = at::tensor({0, 0, 1, 0, 1, 0}, at::kFloat).view({2, 1, 1, 3});
  CHECK(at::allclose(bias, slopes.view({1, 2, 1, 1}) * places));
  CHECK(at::allclose(nn::alibi_bias({}, 2, 3), slopes.view({1, 2, 1, 1}) * at::arange(3).view({1, 1, 1, 3})));
}
