#include "backplane/nn/rotary.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "backplane/base/error.h"
#include "backplane/nn/cache.h"

using namespace backplane;

TEST_CASE("rotary positions turn pairs of numbers by position times frequency") {
  nn::RotaryEmbedding rotary({.dim = 4, .theta = 100});
  const auto [cos, sin] = rotary.forward(at::tensor({0, 3}, at::kLong).view({1, 2}));
  REQUIRE(cos.sizes() == at::IntArrayRef({1, 2, 2}));
  CHECK(cos[0][1][0].item<double>() == Approx(std::cos(3.0)));
  CHECK(sin[0][1][1].item<double>() == Approx(std::sin(0.3)));
  const Tensor x = at::tensor({1.0f, 0.0f, 0.0f, 0.0f, 1.0f, 0.0f, 0.0f, 0.0f}).view({1, 1, 2, 4});
  const Tensor y = nn::apply_rotary(x, cos, sin);
  CHECK(at::equal(y[0][0][0], x[0][0][0]));
  CHECK(y[0][0][1][0].item<double>() == Approx(std::cos(3.0)));
  CHECK(y[0][0][1][2].item<double>() == Approx(std::sin(3.0)));
  // what lies beyond the rotated part is left alone
  const Tensor longer = at::cat({x, at::full({1, 1, 2, 2}, 7.0f)}, -1);
  CHECK(nn::apply_rotary(longer, cos, sin)[0][0][1][5].item<float>() == 7);
}

TEST_CASE("scaled rotary positions follow their papers") {
  const auto angle = [](const nn::RotaryOptions& options, int64_t position, int64_t pair) {
    nn::RotaryEmbedding rotary(options);
    const auto [cos, sin] = rotary.forward(at::tensor({position}, at::kLong).view({1, 1}));
    return std::atan2(sin[0][0][pair].item<double>(), cos[0][0][pair].item<double>());
  };
  const auto scaling = [](Value::Object object) { return Value(std::move(object)); };
  CHECK(angle({.dim = 4, .theta = 100, .scaling = scaling({{"type", "linear"}, {"factor", 4.0}})}, 2, 0) ==
        Approx(0.5));
  // dynamic: unscaled up to the trained length, a larger base beyond it
  const nn::RotaryOptions dynamic{.dim = 4,
                                  .theta = 100,
                                  .max_position_embeddings = 8,
                                  .scaling = scaling({{"rope_type", "dynamic"}, {"factor", 2.0}})};
  CHECK(angle(dynamic, 7, 1) == Approx(0.7));
  CHECK(angle(dynamic, 15, 1) == Approx(15 / std::sqrt(100 * std::pow(2.0 * 16 / 8 - 1, 2.0))));
  // llama3: long waves are stretched by the factor, short ones kept
  const nn::RotaryOptions llama3{.dim = 4,
                                 .theta = 1e6,
                                 .scaling = scaling({{"rope_type", "llama3"},
                                                     {"factor", 8.0},
                                                     {"low_freq_factor", 1.0},
                                                     {"high_freq_factor", 4.0},
                                                     {"original_max_position_embeddings", 64}})};
  CHECK(angle(llama3, 1, 0) == Approx(1.0));
  CHECK(angle(llama3, 1, 1) == Approx(1e-3 / 8));
  // longrope: one factor a pair, other ones beyond the original length, and cos and sin scaled
  const nn::RotaryOptions longrope{
      .dim = 4,
      .theta = 100,
      .max_position_embeddings = 32,
      .scaling = scaling(
          {{"rope_type", "longrope"}, {"short_factor", Value::List{2.0, 1.0}}, {"long_factor", Value::List{4.0, 1.0}}}),
      .original_max_position_embeddings = 8};
  CHECK(angle(longrope, 2, 0) == Approx(1.0));
  CHECK(angle(longrope, 8, 0) == Approx(2.0));
  nn::RotaryEmbedding scaled(longrope);
  CHECK(scaled.forward(at::zeros({1, 1}, at::kLong)).first[0][0][0].item<double>() ==
        Approx(std::sqrt(1 + std::log(4.0) / std::log(8.0))));

  CHECK_THROWS_WITH(nn::RotaryEmbedding({.dim = 4, .scaling = scaling({{"rope_type", "linear"}})}),
                    Catch::Contains("factor"));
  CHECK_THROWS_WITH(nn::RotaryEmbedding({.dim = 4, .scaling = scaling({{"rope_type", "spiral"}})}),
                    Catch::Contains("'spiral'") && Catch::Contains("yarn"));
  CHECK_THROWS_AS(nn::RotaryEmbedding({.dim = 3}), Error);
}

TEST_CASE("the cache appends in place, grows, and keeps chosen rows") {
  KvCache cache(2);
  const auto numbers = [](float from, int64_t count) {
    return (at::arange(2 * count, at::kFloat) + from).view({2, 1, count, 1});
  };
  auto [k, v] = cache.update(0, numbers(0, 2), numbers(100, 2));
  cache.advance(2);
  CHECK(cache.length() == 2);
  std::tie(k, v) = cache.update(0, numbers(10, 1), numbers(110, 1));  // beyond the capacity
  cache.advance(1);
  CHECK(at::equal(k.flatten(), at::tensor({0.0f, 1.0f, 10.0f, 2.0f, 3.0f, 11.0f})));
  CHECK(at::equal(v[1].flatten(), at::tensor({102.0f, 103.0f, 111.0f})));
  CHECK_THROWS_AS(cache.update(0, at::zeros({3, 1, 1, 1}), at::zeros({3, 1, 1, 1})), Error);
  cache.select(at::tensor({1}, at::kLong));
  std::tie(k, v) = cache.update(0, at::zeros({1, 1, 1, 1}), at::zeros({1, 1, 1, 1}));
  CHECK(at::equal(k.flatten(), at::tensor({2.0f, 3.0f, 11.0f, 0.0f})));
}

TEST_CASE("interleaved positions turn neighbours, and leave what is beyond them") {
  const Tensor x = at::tensor({1.0f, 0.0f, 0.0f, 2.0f, 7.0f}).view({1, 1, 1, 5});
  const Tensor cos = at::tensor({0.0f, 1.0f}).view({1, 1, 2}), sin = at::tensor({1.0f, 0.0f}).view({1, 1, 2});
  const Tensor y = nn::apply_rotary_interleaved(x, cos, sin);
  CHECK(at::equal(y, at::tensor({0.0f, 1.0f, 0.0f, 2.0f, 7.0f}).view({1, 1, 1, 5})));
}
