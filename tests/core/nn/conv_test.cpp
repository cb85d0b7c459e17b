#include "backplane/nn/conv.h"

#include <catch2/catch.hpp>

#include "backplane/base/error.h"

using namespace backplane;

namespace {

void give(Tensor parameter, const Tensor& value) { parameter.set_data(value.view(parameter.sizes())); }

}  // namespace

TEST_CASE("a convolution slides its kernel over padded input, in groups") {
  nn::Conv1d conv(2, 2, 3, nn::ConvOptions<1>{.stride = {2}, .padding = {1}, .groups = 2});
  CHECK(conv->weight.sizes() == at::IntArrayRef({2, 1, 3}));
  give(conv->weight, at::tensor({1.f, 2.f, 3.f, -1.f, 0.f, 1.f}));
  give(conv->bias, at::tensor({10.f, 0.f}));
  const Tensor x = at::tensor({1.f, 2.f, 3.f, 4.f, 5.f, 6.f, 7.f, 9.f}).view({1, 2, 4});
  // channel 0: (0 1 2) and (2 3 4) with 1 2 3; channel 1: (0 5 6) and (6 7 9) with -1 0 1
  CHECK(at::equal(conv(x), at::tensor({18.f, 30.f, 6.f, 3.f}).view({1, 2, 2})));
}

TEST_CASE("a transposed convolution spreads each number over its kernel") {
  nn::ConvTranspose1d conv(1, 1, 2, nn::ConvOptions<1>{.stride = {2}, .with_bias = false, .output_padding = {1}});
  CHECK_FALSE(conv->bias.defined());
  give(conv->weight, at::tensor({1.f, 10.f}));
  CHECK(
      at::equal(conv(at::tensor({3.f, 4.f}).view({1, 1, 2})), at::tensor({3.f, 30.f, 4.f, 40.f, 0.f}).view({1, 1, 5})));
}

TEST_CASE("batch norm in evaluation mode uses what it remembers") {
  nn::BatchNorm norm(2, 0.0);
  norm->eval();
  give(norm->weight, at::tensor({2.f, 1.f}));
  give(norm->bias, at::tensor({1.f, 0.f}));
  give(norm->running_mean, at::tensor({1.f, 2.f}));
  give(norm->running_var, at::tensor({4.f, 1.f}));
  CHECK(at::allclose(norm(at::tensor({3.f, 5.f}).view({1, 2, 1})), at::tensor({3.f, 3.f}).view({1, 2, 1})));
}

TEST_CASE("channels that cannot be split into groups are refused") {
  CHECK_THROWS_AS(nn::Conv2d(3, 4, 3, nn::ConvOptions<2>{.groups = 2}), Error);
  CHECK_THROWS_AS(nn::Conv2d(4, 4, 3, nn::ConvOptions<2>{.groups = 0}), Error);
  CHECK_THROWS_AS(nn::GroupNorm(3, 4), Error);
}
