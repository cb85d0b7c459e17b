#include "backplane/nn/sequence_summary.h"

#include <catch2/catch.hpp>

#include "backplane/base/error.h"

using namespace backplane;

TEST_CASE("a summary is the first, last or named token, or the mean") {
  const Tensor x = at::arange(12, at::kFloat).view({2, 3, 2});
  const auto summary = [&](const char* type, const Tensor& cls_index = {}) {
    return nn::SequenceSummary(nn::SummaryOptions{.hidden_size = 2, .type = type})->forward(x, cls_index);
  };
  CHECK(at::equal(summary("first"), at::tensor({0.f, 1.f, 6.f, 7.f}).view({2, 2})));
  CHECK(at::equal(summary("last"), at::tensor({4.f, 5.f, 10.f, 11.f}).view({2, 2})));
  CHECK(at::equal(summary("mean"), at::tensor({2.f, 3.f, 8.f, 9.f}).view({2, 2})));
  CHECK(at::equal(summary("cls_index"), summary("last")));
  CHECK(at::equal(summary("cls_index", at::tensor({1, 0}, at::kLong)), at::tensor({2.f, 3.f, 6.f, 7.f}).view({2, 2})));
}

TEST_CASE("a summary's projection and activation come from the options") {
  nn::SequenceSummary summary(
      nn::SummaryOptions{.hidden_size = 2, .type = "first", .projection = 1, .activation = "relu"});
  const auto parameters = summary->named_parameters();
  REQUIRE(parameters.contains("summary.weight"));
  parameters["summary.weight"].data().copy_(at::tensor({1.f, -2.f}).view({1, 2}));
  parameters["summary.bias"].data().fill_(0.5);
  const Tensor x = at::tensor({3.f, 1.f, 1.f, 3.f}).view({2, 1, 2});
  CHECK(at::allclose(summary(x), at::tensor({1.5f, 0.f}).view({2, 1})));
}

TEST_CASE("an unknown kind of summary is a typed error") {
  CHECK_THROWS_AS(nn::SequenceSummary(nn::SummaryOptions{.hidden_size = 2, .type = "attn"}), Error);
}
