#include "backplane/model/transformer.h"

#include <catch2/catch.hpp>

#include "backplane/base/error.h"

using namespace backplane;

namespace {

struct Input {
  Tensor q = at::randn({2, 2, 3, 4}), k = at::randn({2, 2, 3, 4}), v = at::randn({2, 2, 3, 4});
  Tensor x = at::zeros({2, 3, 8});
  ModelInputs inputs = {{"inputs_embeds", x}};
};

Tensor plain(const Input& in, const Tensor& bias) {
  Tensor scores = at::matmul(in.q, in.k.transpose(2, 3)) / 2;
  if (bias.defined()) scores = scores + bias;
  return at::matmul(at::softmax(scores, -1), in.v);
}

}  // namespace

TEST_CASE("a call attends with padding, bias and masked heads as the definition says") {
  at::manual_seed(1);
  Input in;
  in.inputs.set("attention_mask", at::tensor({1, 1, 1, 1, 1, 0}, at::kLong).view({2, 3}));
  in.inputs.set("head_mask", at::tensor({1.f, 0.f}));
  in.inputs.set("output_attentions", true);
  const PretrainedConfig config;
  TransformerCall call(in.inputs, config, {.layers = 1, .heads = 2});
  call.start(in.x);
  const Tensor bias = at::randn({1, 2, 3, 3});
  const Tensor y = call.attend(0, in.q, in.k, in.v, {.mask = bias});
  const Tensor padding = at::tensor({0.f, 0.f, 0.f, 0.f, 0.f, -1e30f}).view({2, 1, 1, 3});
  const Tensor heads = at::tensor({1.f, 0.f}).view({1, 2, 1, 1});
  CHECK(at::allclose(y, plain(in, bias + padding) * heads, 1e-5, 1e-6));
  const auto output = call.finish(in.x);
  REQUIRE(output.tuple("attentions").size() == 1);
  CHECK(output.tuple("attentions")[0].select(1, 1).abs().max().item<float>() == 0);
  CHECK_FALSE(output.contains("past_key_values"));
}

TEST_CASE("a causal call keeps a cache and sees no later positions") {
  at::manual_seed(2);
  Input in;
  const PretrainedConfig config;
  TransformerCall call(in.inputs, config, {.layers = 1, .heads = 2, .causal = true, .use_cache = true});
  call.start(in.x);
  const auto [k, v] = call.append(0, in.k, in.v);
  const Tensor later = at::full({3, 3}, -1e30f).triu(1);
  CHECK(at::allclose(call.attend(0, in.q, k, v), plain(in, later), 1e-5, 1e-6));
  CHECK(at::equal(call.additive_mask() < 0, (later < 0).view({1, 1, 3, 3})));
  const auto output = call.finish(in.x);
  REQUIRE(output.cache("past_key_values"));
  CHECK(output.cache("past_key_values")->length() == 3);
}

TEST_CASE("what a call cannot use is a typed error") {
  Input in;
  const PretrainedConfig config;
  CHECK_THROWS_AS(TransformerCall({}, config, {.layers = 1, .heads = 2}), Error);
  in.inputs.set("head_mask", at::ones({3}));
  CHECK_THROWS_AS(TransformerCall(in.inputs, config, {.layers = 1, .heads = 2}), Error);
  CHECK_THROWS_AS(check_head_size(10, 3), Error);
  CHECK_THROWS_AS(check_head_size(10, 0), Error);
}
