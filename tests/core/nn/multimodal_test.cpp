#include "backplane/nn/multimodal.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "backplane/base/error.h"

using namespace backplane;

TEST_CASE("the contrastive loss is the mean of both directions") {
  const Tensor similarity = at::tensor({0.0, std::log(3.0), 0.0, 0.0}, at::kFloat).view({2, 2});
  // rows: -log(1/4), -log(1/2); columns: -log(1/2), -log(1/4)
  const double expected = (std::log(4.0) + std::log(2.0)) / 2;
  CHECK(contrastive_loss(similarity).item<double>() == Approx(expected));
}

TEST_CASE("unit_length divides by the Euclidean norm of each row") {
  CHECK(at::allclose(unit_length(at::tensor({3.0, 4.0}).view({1, 2})), at::tensor({0.6, 0.8}).view({1, 2})));
}

TEST_CASE("features replace the placeholders in order") {
  const Tensor embeds = at::zeros({2, 3, 2}), features = at::arange(1, 7, at::kFloat).view({3, 2});
  const Tensor ids = at::tensor({9, 1, 9, 1, 1, 9}, at::kLong).view({2, 3});
  const Tensor filled = scatter_features(embeds, ids == 9, features, "image");
  CHECK(at::equal(filled[0], at::tensor({1., 2., 0., 0., 3., 4.}, at::kFloat).view({3, 2})));
  CHECK(at::equal(filled[1][2], at::tensor({5., 6.}, at::kFloat)));
  CHECK_THROWS_WITH(scatter_features(embeds, ids == 1, features.slice(0, 0, 2), "image"),
                    Catch::Contains("3 image placeholders for 2 features"));
}

TEST_CASE("placeholders are found by id, or by their row of the table") {
  nn::Embedding table(3, 2);
  table->weight.set_data(at::arange(6, at::kFloat).view({3, 2}));
  const Tensor ids = at::tensor({0, 2, 1, 2}, at::kLong).view({2, 2});
  CHECK(at::equal(placeholder_mask(ids, {}, table, 2), ids == 2));
  CHECK(at::equal(placeholder_mask({}, table(ids), table, 2), ids == 2));
}

TEST_CASE("vision features come from one hidden state or several, with or without the class token") {
  const std::vector<Tensor> states = {at::zeros({1, 2, 1}), at::ones({1, 2, 1}), at::full({1, 2, 1}, 2.0)};
  CHECK(at::equal(select_features(states, -2, "full"), states[1]));
  CHECK(at::equal(select_features(states, Value::List{0, -1}, "default"), at::tensor({0.f, 2.f}).view({1, 1, 2})));
  CHECK_THROWS_WITH(select_features(states, 3, "full"), Catch::Contains("3 hidden states"));
  CHECK_THROWS_WITH(select_features(states, 0, "some"), Catch::Contains("'some'"));
}

TEST_CASE("segments of a packed row see themselves only") {
  at::manual_seed(1);
  const Tensor q = at::randn({1, 2, 6, 4}), k = at::randn({1, 2, 6, 4}), v = at::randn({1, 2, 6, 4});
  for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{3, 3}, {1, 5}, {6}}) {
    Tensor probs;
    const Tensor packed = segmented_attention(q, k, v, lengths, {});
    CHECK(at::allclose(packed, segmented_attention(q, k, v, lengths, {.probs = &probs}), 1e-5, 1e-6));
    const Tensor first = attention(q.slice(2, 0, lengths[0]), k.slice(2, 0, lengths[0]), v.slice(2, 0, lengths[0]), {});
    CHECK(at::allclose(packed.slice(2, 0, lengths[0]), first, 1e-5, 1e-6));
  }
}
