#include "backplane/nn/vision.h"

#include <catch2/catch.hpp>

#include "backplane/base/error.h"
#include "backplane/nn/detection.h"

using namespace backplane;

namespace {

Tensor count_up(at::IntArrayRef shape) {
  int64_t elements = 1;
  for (int64_t size : shape) elements *= size;
  return at::arange(elements, at::kFloat).view(shape);
}

void give(Tensor parameter, const Tensor& value) { parameter.set_data(value.view(parameter.sizes())); }

}  // namespace

TEST_CASE("sizes are one number or two, and positive") {
  CHECK(size_of(Value(7), "patch_size") == Size2{7, 7});
  CHECK(size_of(Value(Value::List{3, 5}), "patch_size") == Size2{3, 5});
  CHECK_THROWS_AS(size_of(Value(0), "patch_size"), Error);
  CHECK_THROWS_AS(size_of(Value(Value::List{3, 5, 7}), "patch_size"), Error);
  CHECK(patch_grid(Value(Value::List{32, 50}), Value(16)) == Size2{2, 3});
  CHECK_THROWS_AS(patch_grid(Value(8), Value(16)), Error);
  CHECK_THROWS_AS(check_divides("hidden_size", 10, "num_attention_heads", 0), Error);
  CHECK_THROWS_AS(check_divides("hidden_size", 10, "num_attention_heads", 3), Error);
  CHECK_THROWS_AS(check_stages(2, {{"depths", 1}}), Error);
}

TEST_CASE("windows are cut row by row, and put together again") {
  const Tensor x = count_up({1, 3, 4, 1});  // rows 0 1 2 3 | 4 5 6 7 | 8 9 10 11
  const Tensor windows = window_partition(x, {2, 2});
  CHECK(windows.sizes() == at::IntArrayRef({4, 4, 1}));
  CHECK(at::equal(windows[0].flatten(), at::tensor({0.f, 1.f, 4.f, 5.f})));
  CHECK(at::equal(windows[3].flatten(), at::tensor({10.f, 11.f, 0.f, 0.f})));  // padded below
  CHECK(at::equal(window_reverse(windows, {2, 2}, {3, 4}), x));
}

TEST_CASE("offsets of two places of a window stand at one index, their reverse at another") {
  const Tensor index = relative_position_index({1, 2});  // offsets -1, 0, 1
  CHECK(at::equal(index, at::tensor({1, 0, 2, 1}, at::kLong).view({2, 2})));
}

TEST_CASE("what a shift brought together does not see each other") {
  // One row of 4 in windows of 2, shifted by 1: the last window holds places 3 and 0.
  const Tensor mask = shifted_window_mask({1, 4}, {1, 2}, {0, 1}, at::kFloat);
  CHECK(mask.sizes() == at::IntArrayRef({2, 2, 2}));
  CHECK(mask[0].abs().sum().item<float>() == 0);
  CHECK(at::equal(mask[1], at::tensor({0.f, -100.f, -100.f, 0.f}).view({2, 2})));
}

TEST_CASE("positions of another grid are interpolated, those in front are not") {
  const Tensor positions = at::cat({at::full({1, 1, 1}, 9.f), at::ones({1, 4, 1})}, 1);
  const Tensor resized = resize_positions(positions, 1, {3, 2});
  CHECK(resized.sizes() == at::IntArrayRef({1, 7, 1}));
  CHECK(resized[0][0][0].item<float>() == 9);
  CHECK(at::allclose(resized.slice(1, 1), at::ones({1, 6, 1})));
  CHECK_THROWS_AS(resize_positions(at::ones({1, 4, 1}), 1, {3, 2}), Error);
}

TEST_CASE("tokens and maps are the same numbers in another order") {
  const Tensor tokens = count_up({1, 6, 2}), map = tokens_to_map(tokens, {2, 3});
  CHECK(map[0][1][1][2].item<float>() == tokens[0][5][1].item<float>());
  CHECK(at::equal(map_to_tokens(map), tokens));
}

TEST_CASE("the masked image loss counts masked patches only") {
  const Tensor images = at::zeros({1, 1, 4, 4}), guess = at::ones({1, 1, 4, 4});
  const Tensor mask = at::tensor({1, 0, 0, 0}, at::kLong).view({1, 4});
  CHECK(masked_image_loss(images, guess, mask, 2).item<double>() == Approx(1).epsilon(1e-4));
  CHECK(masked_image_loss(images, guess * mask.to(at::kFloat)[0][1], mask, 2).item<double>() == 0);
}

TEST_CASE("a norm over channels leaves each place with mean 0 and deviation 1") {
  nn::LayerNorm2d norm(2, 0.0);
  give(norm->weight, at::tensor({1.f, 2.f}));
  give(norm->bias, at::tensor({0.f, 1.f}));
  const Tensor y = norm(at::tensor({1.f, 5.f, 3.f, 9.f}).view({1, 2, 1, 2}));  // places (1, 3) and (5, 9)
  CHECK(at::allclose(y.flatten(), at::tensor({-1.f, -1.f, 3.f, 3.f})));
}

TEST_CASE("a sequence counts functions among its places") {
  nn::Sequence sequence(nn::Linear(1, 1, false), at::relu, nn::Linear(1, 1, false));
  CHECK(sequence->named_parameters().contains("0.weight"));
  CHECK(sequence->named_parameters().contains("2.weight"));
  give(sequence->named_parameters()["0.weight"], at::tensor({-1.f}));
  give(sequence->named_parameters()["2.weight"], at::tensor({3.f}));
  CHECK(at::equal(sequence(at::tensor({-2.f, 2.f}).view({2, 1})), at::tensor({6.f, 0.f}).view({2, 1})));
}

TEST_CASE("rates rise to the last layer's; a count that no model has is refused") {
  CHECK(linear_rates(0.2, 3) == std::vector<double>{0, 0.1, 0.2});
  CHECK(linear_rates(0.2, 1) == std::vector<double>{0});
  CHECK_THROWS_AS(linear_rates(0.2, int64_t{1} << 40), Error);
  CHECK_THROWS_AS(linear_rates(0.2, -1), Error);
}

TEST_CASE("patches are refused for images of another size or number of channels") {
  nn::PatchEmbeddings patches(Value(4), Value(2), 1, 1);
  give(patches->projection->weight, at::ones({1, 1, 2, 2}));
  give(patches->projection->bias, at::zeros({1}));
  CHECK(at::equal(patches(count_up({1, 1, 4, 4})).flatten(), at::tensor({10.f, 18.f, 42.f, 50.f})));
  CHECK_THROWS_AS(patches(at::zeros({1, 1, 6, 4})), Error);
  CHECK(patches(at::zeros({1, 1, 6, 4}), true).size(1) == 6);
  CHECK_THROWS_AS(patches(at::zeros({1, 3, 4, 4})), Error);
  CHECK_THROWS_AS(patches(Tensor()), Error);
}

TEST_CASE("sine positions count the pixels that matter, rows before columns") {
  const Tensor mask = at::tensor({1, 1, 0, 0}, at::kLong).view({1, 2, 2});
  const Tensor places = sine_positions(mask, {.features = 2, .scale = 0});
  CHECK(places.sizes() == at::IntArrayRef({1, 4, 2, 2}));
  CHECK(places[0][0][0][1].item<double>() == Approx(std::sin(1.0)));  // first row
  CHECK(places[0][3][0][1].item<double>() == Approx(std::cos(2.0)));  // second column
}

TEST_CASE("frozen batch norms have no counter and do not learn") {
  nn::BatchNorm norm{nullptr};
  {
    nn::FrozenBatchNorms frozen;
    norm = nn::BatchNorm(1, 0.0);
  }
  CHECK_FALSE(norm->named_buffers().contains("num_batches_tracked"));
  give(norm->weight, at::ones({1}));
  give(norm->bias, at::zeros({1}));
  give(norm->running_mean, at::ones({1}));
  give(norm->running_var, at::ones({1}));
  norm->train();
  CHECK(norm(at::full({1, 1, 1}, 3.f)).item<float>() == 2);
  CHECK(norm->running_mean.item<float>() == 1);
  CHECK(nn::BatchNorm(1)->named_buffers().contains("num_batches_tracked"));
}
