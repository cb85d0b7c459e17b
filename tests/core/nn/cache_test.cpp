#include "backplane/nn/cache.h"

#include <catch2/catch.hpp>

#include "backplane/base/error.h"

using namespace backplane;

namespace {

// Position t holds the number t, in one head of one number.
Tensor positions(int64_t from, int64_t to) { return at::arange(from, to, at::kFloat).view({1, 1, to - from, 1}); }

std::vector<float> numbers(const Tensor& x) {
  const Tensor flat = x.contiguous();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

}  // namespace

TEST_CASE("a cache gives back all that a layer has seen, in order, as it grows") {
  KvCache cache(2);
  for (int64_t t = 0; t < 9; ++t) {
    const auto [k, v] = cache.update(0, positions(t, t + 1), -positions(t, t + 1));
    CHECK(at::equal(k, positions(0, t + 1)));
    CHECK(at::equal(v, -positions(0, t + 1)));
    cache.advance(1);
  }
  CHECK(cache.length() == 9);
}

TEST_CASE("a layer with a window keeps what its next query sees and no more") {
  KvCache cache;
  const auto [prompt, unused] = cache.update(0, positions(0, 5), positions(0, 5), 3);
  CHECK(numbers(prompt) == std::vector<float>{0, 1, 2, 3, 4});  // the prompt's own queries see all of it through a mask
  cache.advance(5);
  for (int64_t t = 5; t < 40; ++t) {
    const auto [k, v] = cache.update(0, positions(t, t + 1), positions(t, t + 1), 3);
    const auto now = static_cast<float>(t);
    CHECK(numbers(k) == std::vector<float>{now - 2, now - 1, now});
    CHECK(k.storage().nbytes() <= 8 * sizeof(float));
    cache.advance(1);
  }
  const auto [two, more] = cache.update(0, positions(40, 42), positions(40, 42), 3);
  CHECK(numbers(two) == std::vector<float>{38, 39, 40, 41});
}

TEST_CASE("a step that was not closed is overwritten by the next") {
  KvCache cache;
  cache.update(0, positions(0, 2), positions(0, 2));
  cache.advance(2);
  cache.update(0, positions(7, 8), positions(7, 8));
  const auto [k, v] = cache.update(0, positions(2, 3), positions(2, 3));
  CHECK(numbers(k) == std::vector<float>{0, 1, 2});
}

TEST_CASE("a cache refuses another number of sequences, and chooses rows of keys and states") {
  KvCache cache;
  cache.update(0, at::arange(2, at::kFloat).view({2, 1, 1, 1}), at::zeros({2, 1, 1, 1}));
  cache.state(1) = at::tensor({5.0f, 6.0f}).view({2, 1});
  cache.advance(1);
  CHECK_THROWS_AS(cache.update(0, positions(0, 1), positions(0, 1)), Error);
  cache.select(at::tensor({1, 1, 0}, at::kLong));
  const auto [k, v] = cache.update(0, at::full({3, 1, 1, 1}, 9.0f), at::zeros({3, 1, 1, 1}));
  CHECK(numbers(k) == std::vector<float>{1, 9, 1, 9, 0, 9});
  CHECK(numbers(cache.state(1)) == std::vector<float>{6, 6, 5});
}
