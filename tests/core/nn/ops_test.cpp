#include "backplane/nn/ops.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "backplane/base/error.h"
#include "backplane/nn/budget.h"
#include "backplane/nn/layers.h"

using namespace backplane;

namespace {

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.sizes() == b.sizes());
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

// The definition, without any of the shortcuts.
Tensor plain_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, double scale) {
  const int64_t groups = q.size(1) / k.size(1);
  Tensor scores = at::matmul(q.to(at::kDouble), k.to(at::kDouble).repeat_interleave(groups, 1).transpose(2, 3)) * scale;
  if (mask.defined()) scores = scores + mask.to(at::kDouble);
  return at::matmul(at::softmax(scores, -1), v.to(at::kDouble).repeat_interleave(groups, 1));
}

Tensor linear_of(const Tensor& x, const Tensor& weight, const Tensor& bias = {}) {
  nn::Linear layer(weight.size(1), weight.size(0), bias.defined());
  layer->tie_weight(weight);
  if (bias.defined()) layer->tie_bias(bias);
  return layer(x);
}

}  // namespace

TEST_CASE("linear of one row equals the definition, for sizes that are no multiple of a vector") {
  at::manual_seed(1);
  for (const int64_t in : {1, 31, 32, 33, 64, 100, 576}) {
    for (const int64_t out : {1, 3, 4, 5, 130}) {
      const Tensor x = at::randn({1, 1, in}), w = at::randn({out, in}), b = at::randn({out});
      const Tensor expected = at::matmul(x.to(at::kDouble), w.to(at::kDouble).t()) + b.to(at::kDouble);
      CHECK(largest_difference(linear_of(x, w, b), expected) < 1e-4);
      CHECK(largest_difference(linear_of(x, w), expected - b.to(at::kDouble)) < 1e-4);
      const Tensor narrow = linear_of(x.to(at::kBFloat16), w.to(at::kBFloat16), b.to(at::kBFloat16));
      const Tensor wide = linear_of(x.to(at::kBFloat16).to(at::kFloat), w.to(at::kBFloat16).to(at::kFloat),
                                    b.to(at::kBFloat16).to(at::kFloat));
      CHECK(narrow.scalar_type() == at::kBFloat16);
      CHECK(largest_difference(narrow, wide) <= 0.004 * wide.abs().max().item<double>() + 1e-6);
    }
  }
}

TEST_CASE("linear keeps gradients where they are wanted") {
  Tensor x = at::randn({1, 8}).set_requires_grad(true), w = at::randn({4, 8}).set_requires_grad(true);
  linear_of(x, w).sum().backward();
  REQUIRE(x.grad().defined());
  CHECK(largest_difference(x.grad(), w.detach().sum(0, true)) < 1e-6);
}

TEST_CASE("rms_norm divides by the root of the mean square") {
  const Tensor x = at::tensor({3.0f, 4.0f}).view({1, 2}), w = at::tensor({1.0f, 2.0f});
  const double root = std::sqrt(12.5);
  const Tensor y = rms_norm(x, w, 0.0);
  CHECK(y[0][0].item<double>() == Approx(3 / root));
  CHECK(y[0][1].item<double>() == Approx(8 / root));
  at::manual_seed(2);
  for (const int64_t size : {1, 31, 64, 576}) {
    const Tensor wide = at::randn({3, size}), weight = at::randn({size});
    const Tensor expected = weight * wide * at::rsqrt(wide.to(at::kDouble).square().mean(-1, true) + 1e-5);
    CHECK(largest_difference(rms_norm(wide, weight, 1e-5), expected) < 1e-5);
  }
}

TEST_CASE("attention equals the definition in every implementation, with grouped queries, masks and one query") {
  at::manual_seed(3);
  for (const int64_t d : {8, 32, 64}) {
    for (const int64_t q_length : {1, 5}) {
      const int64_t kv = 7;
      const Tensor q = at::randn({2, 6, q_length, d}), k = at::randn({2, 3, kv, d}), v = at::randn({2, 3, kv, d});
      Tensor mask = at::zeros({2, 1, 1, kv});
      mask[1][0][0].slice(0, 0, 2).fill_(std::numeric_limits<float>::lowest());
      for (const auto implementation : {AttnImplementation::eager, AttnImplementation::sdpa}) {
        for (const Tensor& m : {Tensor(), mask}) {
          const Tensor y = attention(q, k, v, {.mask = m, .scale = 0.3, .implementation = implementation});
          CHECK(largest_difference(y, plain_attention(q, k, v, m, 0.3)) < 1e-5);
        }
        Tensor bias = at::full({q_length, kv}, std::numeric_limits<float>::lowest())
                          .triu(kv - q_length + 1)
                          .view({1, 1, q_length, kv});
        const Tensor y = attention(q, k, v, {.causal = true, .implementation = implementation});
        CHECK(largest_difference(y, plain_attention(q, k, v, bias, 1 / std::sqrt(static_cast<double>(d)))) < 1e-5);
      }
      Tensor probs;
      attention(q, k, v, {.probs = &probs});
      CHECK(largest_difference(probs.sum(-1), at::ones({2, 6, q_length})) < 1e-5);
    }
  }
}

TEST_CASE("one query over a cache in bfloat16 agrees with float32 over the same numbers") {
  at::manual_seed(4);
  const Tensor q = at::randn({1, 4, 1, 64}).to(at::kBFloat16), k = at::randn({1, 2, 50, 64}).to(at::kBFloat16),
               v = at::randn({1, 2, 50, 64}).to(at::kBFloat16);
  const Tensor expected = plain_attention(q, k, v, {}, 0.125);
  CHECK(largest_difference(attention(q, k, v, {}), expected) < 0.01);
}

TEST_CASE("causal_mask hides later keys and padding, and a row of padding stays finite") {
  const Tensor attention_mask = at::tensor({0, 1, 1, 1}, at::kLong).view({1, 4});
  const Tensor mask = causal_mask(attention_mask, 3, 1, at::kFloat);
  REQUIRE(mask.sizes() == at::IntArrayRef({1, 1, 3, 4}));
  const Tensor seen = mask.eq(0)[0][0];
  CHECK(at::equal(seen, at::tensor({0, 1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1}, at::kLong).view({3, 4}).to(at::kBool)));
  const Tensor first = causal_mask(attention_mask, 4, 0, at::kFloat)[0][0][0];
  CHECK(at::softmax(first, -1).isfinite().all().item<bool>());
  CHECK_FALSE(causal_mask(at::ones({1, 4}, at::kLong), 1, 3, at::kFloat).defined());
  CHECK_THROWS_AS(causal_mask(at::ones({1, 3}, at::kLong), 2, 2, at::kFloat), Error);
}

TEST_CASE("a sliding window hides keys behind it, and the mask has the columns that the cache keeps") {
  const auto seen = [](const Tensor& mask) { return mask.squeeze(0).squeeze(0) == 0; };
  const Tensor prompt = seen(causal_mask({}, 4, 0, at::kFloat, 2));
  CHECK(at::equal(prompt, at::tensor({1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1}).view({4, 4}) == 1));
  // Two new positions after five: of the five only the last is seen, by the first of the two.
  CHECK(at::equal(seen(causal_mask({}, 2, 5, at::kFloat, 2)), at::tensor({1, 1, 0, 0, 1, 1}).view({2, 3}) == 1));
  CHECK_FALSE(causal_mask({}, 1, 5, at::kFloat, 2).defined());
  const Tensor padded = at::tensor({0, 0, 0, 0, 0, 1}).view({1, 6});
  CHECK(at::equal(seen(causal_mask(padded, 1, 5, at::kFloat, 2)), at::tensor({0, 1}).view({1, 2}) == 1));
  CHECK(decoder_mask({}, 4, 0, at::kFloat, 4).causal);
  CHECK_FALSE(decoder_mask({}, 4, 0, at::kFloat, 3).causal);
}

TEST_CASE("capped scores stay below the cap") {
  const Tensor q = at::full({1, 1, 1, 1}, 100.0f), k = at::tensor({100.0f, 0.0f}).view({1, 1, 2, 1}),
               v = at::tensor({1.0f, 0.0f}).view({1, 1, 2, 1});
  const double share = 1 / (1 + std::exp(-2.0));  // exp(2) against exp(0)
  CHECK(attention(q, k, v, {.softcap = 2}).item<float>() == Approx(share));
}

TEST_CASE("activations are found by the reference's names, and others are named in the error") {
  const Tensor x = at::tensor({-1.0f, 0.0f, 2.0f});
  CHECK(activation("relu2")(x)[2].item<float>() == 4);
  CHECK(activation("quick_gelu")(x)[2].item<double>() == Approx(2 / (1 + std::exp(-1.702 * 2))));
  CHECK(activation("gelu_new")(x)[0].item<double>() ==
        Approx(0.5 * -1 * (1 + std::tanh(std::sqrt(2 / M_PI) * (-1 - 0.044715)))));
  CHECK(activation("swish")(x)[2].item<double>() == Approx(2 / (1 + std::exp(-2.0))));
  CHECK_THROWS_WITH(activation("gelo"), Catch::Contains("unknown activation 'gelo'") && Catch::Contains("gelu"));
}

TEST_CASE("losses ignore -100, shift for next tokens, and follow the problem type") {
  const Tensor logits = at::tensor({2.0f, 0.0f, 0.0f, 2.0f, 1.0f, 1.0f}).view({1, 3, 2});
  const double good = std::log(1 + std::exp(-2.0)), even = std::log(2.0);
  CHECK(cross_entropy(logits, at::tensor({0, -100, 1}, at::kLong).view({1, 3})).item<double>() ==
        Approx((good + even) / 2));
  // position 0 predicts label 1, position 1 predicts label 2
  CHECK(causal_lm_loss(logits, at::tensor({1, 0, 1}, at::kLong).view({1, 3})).item<double>() == Approx(good));
  PretrainedConfig config;
  CHECK(classification_loss(at::tensor({0.0f, 0.0f}).view({1, 2}), at::tensor({1}, at::kLong), config).item<double>() ==
        Approx(even));
  config.problem_type = "regression";
  CHECK(classification_loss(at::tensor({1.0f, 3.0f}).view({1, 2}), at::tensor({0.0f, 0.0f}).view({1, 2}), config)
            .item<double>() == Approx(5));
  config.problem_type = "multi_label_classification";
  CHECK(classification_loss(at::zeros({1, 2}), at::tensor({1.0f, 0.0f}).view({1, 2}), config).item<double>() ==
        Approx(even));
  // positions outside of the sequence do not count
  const Tensor start = at::tensor({2.0f, 0.0f}).view({1, 2}).repeat({2, 1});
  CHECK(span_loss(start, start, at::tensor({0, 9}, at::kLong), at::tensor({0, 9}, at::kLong)).item<double>() ==
        Approx(good));
}

TEST_CASE("embedding refuses ids outside of its table") {
  nn::Embedding table(4, 2);
  at::NoGradGuard no_grad;
  table->weight.copy_(at::arange(8, at::kFloat).view({4, 2}));
  CHECK(at::equal(table(at::tensor({3, 0}, at::kLong)), at::tensor({6.0f, 7.0f, 0.0f, 1.0f}).view({2, 2})));
  CHECK_THROWS_WITH(table(at::tensor({0, 4}, at::kLong)), Catch::Contains("id 4") && Catch::Contains("4 rows"));
  CHECK_THROWS_WITH(table(at::tensor({-1}, at::kLong)), Catch::Contains("id -1"));
  CHECK_THROWS_AS(nn::Linear(-1, 2), Error);
}

TEST_CASE("a budget ends the making of modules that no weights could fill") {
  nn::ParameterBudget budget(100, 3);
  nn::Linear fits(4, 4);
  CHECK_THROWS_WITH(nn::Linear(20, 20), Catch::Contains("larger than its weight files"));
  CHECK_THROWS_AS(nn::Linear(int64_t{1} << 40, int64_t{1} << 40, false), Error);
}
