#include "backplane/nn/state_space.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "backplane/base/error.h"

using namespace backplane;

TEST_CASE("a causal convolution goes on where its state left off") {
  const Tensor x = at::arange(1, 7, at::kFloat).view({1, 1, 6});
  const Tensor weight = at::tensor({100.0f, 10.0f, 1.0f}).view({1, 1, 3}), bias = at::tensor({0.5f});
  const Tensor whole = causal_conv1d(x, weight, bias, nullptr);
  CHECK(at::equal(whole, at::tensor({1.5f, 12.5f, 123.5f, 234.5f, 345.5f, 456.5f}).view({1, 1, 6})));
  Tensor state;
  const Tensor first = causal_conv1d(x.slice(2, 0, 1), weight, bias, &state);
  CHECK(at::equal(state, at::tensor({0.0f, 0.0f, 1.0f}).view({1, 1, 3})));
  const Tensor second = causal_conv1d(x.slice(2, 1, 2), weight, bias, &state),
               rest = causal_conv1d(x.slice(2, 2), weight, bias, &state);
  CHECK(at::equal(at::cat({first, second, rest}, 2), whole));
}

TEST_CASE("the selective scan equals its recurrence, whole, in parts, and with gradients") {
  at::manual_seed(3);
  const int64_t batch = 2, seq = 70, d = 3, n = 4;
  const Tensor x = at::randn({batch, seq, d}), dt = at::rand({batch, seq, d}), A = -at::rand({d, n});
  const Tensor B = at::randn({batch, seq, n}), C = at::randn({batch, seq, n});
  Tensor h = at::zeros({batch, d, n}), expected = at::empty({batch, seq, d});
  for (int64_t t = 0; t < seq; ++t) {
    const Tensor step = dt.select(1, t).unsqueeze(2);
    h = at::exp(step * A) * h + step * B.select(1, t).unsqueeze(1) * x.select(1, t).unsqueeze(2);
    expected.select(1, t).copy_((h * C.select(1, t).unsqueeze(1)).sum(-1));
  }
  Tensor state;
  CHECK(at::allclose(selective_scan(x, dt, A, B, C, &state), expected, 1e-4, 1e-5));
  CHECK(at::allclose(state, h, 1e-4, 1e-5));
  Tensor part;
  const auto run = [&](int64_t from, int64_t to) {
    return selective_scan(x.slice(1, from, to), dt.slice(1, from, to), A, B.slice(1, from, to), C.slice(1, from, to),
                          &part);
  };
  CHECK(at::allclose(at::cat({run(0, 65), run(65, 66), run(66, seq)}, 1), expected, 1e-4, 1e-5));
  const Tensor wanted = A.clone().requires_grad_();
  CHECK(at::allclose(selective_scan(x, dt, wanted, B, C, nullptr), expected, 1e-4, 1e-5));
}

TEST_CASE("the scan with one decay a head equals the selective scan with that decay everywhere") {
  at::manual_seed(4);
  const int64_t seq = 5, heads = 4, p = 2, groups = 2, n = 3;
  const Tensor x = at::randn({1, seq, heads, p}), dt = at::rand({1, seq, heads}), A = -at::rand({heads});
  const Tensor B = at::randn({1, seq, groups, n}), C = at::randn({1, seq, groups, n});
  Tensor state;
  const Tensor y = state_space_scan(x, dt, A, B, C, &state);
  for (int64_t head = 0; head < heads; ++head) {
    const int64_t group = head / 2;
    const Tensor expected = selective_scan(x.select(2, head), dt.select(2, head).unsqueeze(2).expand({1, seq, p}),
                                           A[head].expand({p, n}), B.select(2, group), C.select(2, group), nullptr);
    CHECK(at::allclose(y.select(2, head), expected, 1e-4, 1e-5));
  }
  CHECK(state.sizes() == at::IntArrayRef({1, heads, p, n}));
  CHECK_THROWS_AS(check_state_space_heads(0, 1, 1, 0), Error);
  CHECK_THROWS_AS(check_state_space_heads(4, 2, 3, 8), Error);
}
