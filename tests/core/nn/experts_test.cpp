#include "backplane/nn/experts.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "backplane/base/error.h"

using namespace backplane;

TEST_CASE("each token gets the weighted sum of its experts, which run once over all of theirs") {
  const Tensor x = at::tensor({1.0f, 2.0f, 3.0f}).view({3, 1});
  const Routing routing = {at::tensor({0.25f, 0.75f, 1.0f, 0.0f, 0.5f, 0.5f}).view({3, 2}),
                           at::tensor({0, 2, 2, 0, 3, 0}, at::kLong).view({3, 2})};
  std::vector<std::pair<int64_t, int64_t>> calls;  // expert, rows
  const Tensor y = mix_experts(x, routing, 4, [&](int64_t i, const Tensor& rows) {
    calls.emplace_back(i, rows.size(0));
    return rows * std::pow(10.0, static_cast<double>(i));
  });
  CHECK(calls == std::vector<std::pair<int64_t, int64_t>>{{0, 3}, {2, 2}, {3, 1}});
  CHECK(at::allclose(y, at::tensor({75.25f, 200.0f, 1501.5f}).view({3, 1})));
}

TEST_CASE("routing takes the largest scores and may normalise them") {
  const Tensor scores = at::tensor({0.1f, 0.5f, 0.4f}).view({1, 3});
  const Routing plain = route(scores, 2, false), normal = route(scores, 2, true);
  CHECK(at::equal(plain.experts, at::tensor({1, 2}, at::kLong).view({1, 2})));
  CHECK(at::allclose(plain.weights, at::tensor({0.5f, 0.4f}).view({1, 2})));
  CHECK(at::allclose(normal.weights, at::tensor({5.0f / 9, 4.0f / 9}).view({1, 2})));
}

TEST_CASE("the balancing loss is 1 where tokens spread evenly, more where they crowd, and skips padding") {
  const float high = std::log(3.0f);  // probabilities 3/4 and 1/4
  const Tensor even = at::tensor({high, 0.0f, 0.0f, high}).view({2, 2}),
               crowded = at::tensor({high, 0.0f, high, 0.0f}).view({2, 2});
  CHECK(load_balancing_loss({even}, 1, {}).item<float>() == Approx(1));
  CHECK(load_balancing_loss({crowded}, 1, {}).item<float>() == Approx(1.5));
  CHECK(load_balancing_loss({even, even}, 1, at::tensor({1, 0}, at::kLong).view({1, 2})).item<float>() == Approx(1.5));
  CHECK_THROWS_AS(check_experts(2, 3), Error);
  CHECK_THROWS_AS(check_experts(2, 0), Error);
}
