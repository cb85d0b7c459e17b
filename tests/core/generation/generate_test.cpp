#include "backplane/generation/generate.h"

#include <catch2/catch.hpp>
#include <limits>

#include "backplane/base/error.h"

using namespace backplane;

namespace {

// Ten ids; after id n comes n + 1, with n + 2 close behind. The cache only counts.
struct CountingModel : PreTrainedModel {
  PretrainedConfig own;
  bool cached;
  std::vector<int64_t> widths;  // columns of input_ids in each call

  explicit CountingModel(bool cached) : PreTrainedModel(own), cached(cached) {}
  bool can_generate() const override { return true; }
  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 4> kCached = {"input_ids", "attention_mask", "past_key_values",
                                                                "position_ids"};
    return std::span(kCached).first(cached ? 4 : 2);
  }
  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor ids = inputs["input_ids"];
    widths.push_back(ids.size(1));
    Tensor logits = at::full({ids.size(0), ids.size(1), 10}, -5.0);
    logits.scatter_(2, ((ids + 1) % 10).unsqueeze(2), 2.0);
    logits.scatter_(2, ((ids + 2) % 10).unsqueeze(2), 1.0);
    if (auto cache = inputs.cache("past_key_values")) cache->advance(ids.size(1));
    return {{"logits", logits}};
  }
};

std::vector<int64_t> row(const Tensor& sequences, int64_t i) {
  const Tensor ids = sequences[i].contiguous();
  return {ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + ids.size(0)};
}

Tensor ids(std::vector<int64_t> values) { return at::tensor(values).unsqueeze(0); }

}  // namespace

TEST_CASE("greedy search with and without a cache gives the same, and the cache sees each token once") {
  for (const bool cached : {true, false}) {
    CountingModel model(cached);
    const auto result = generate(model, {{"input_ids", ids({3, 4})}}, {.max_new_tokens = 3});
    CHECK(row(result.sequences, 0) == std::vector<int64_t>{3, 4, 5, 6, 7});
    CHECK_FALSE(result.stopped);
    CHECK(model.widths == (cached ? std::vector<int64_t>{2, 1, 1} : std::vector<int64_t>{2, 3, 4}));
    CHECK(result.last_logits[0][7].item<float>() == 2);
  }
}

TEST_CASE("each row ends at its own end token and is filled with the padding id") {
  CountingModel model(true);
  const Tensor prompts = at::tensor({6, 3}, at::kLong).view({2, 1});
  const auto result = generate(model, {{"input_ids", prompts}},
                               {.max_new_tokens = 20, .eos_token_id = std::vector<int64_t>{8}, .pad_token_id = 0});
  CHECK(row(result.sequences, 0) == std::vector<int64_t>{6, 7, 8, 0, 0, 0});
  CHECK(row(result.sequences, 1) == std::vector<int64_t>{3, 4, 5, 6, 7, 8});
  CHECK(result.stopped);
}

TEST_CASE("min_new_tokens holds the end back, repetition_penalty prefers what is new") {
  CountingModel model(true);
  auto result = generate(model, {{"input_ids", ids({7})}},
                         {.max_new_tokens = 2, .min_new_tokens = 1, .eos_token_id = std::vector<int64_t>{8}});
  CHECK(row(result.sequences, 0) == std::vector<int64_t>{7, 9, 0});
  result = generate(model, {{"input_ids", ids({5, 4})}}, {.max_new_tokens = 1, .repetition_penalty = 3.0});
  CHECK(row(result.sequences, 0) == std::vector<int64_t>{5, 4, 6});  // 5 is likelier, but occurred
}

TEST_CASE("sampling repeats with its seed, and top_k and top_p cut the unlikely") {
  CountingModel model(true);
  const GenerateOptions options{.max_new_tokens = 50, .do_sample = true, .temperature = 1.0, .top_k = 2, .seed = 7};
  const auto first = row(generate(model, {{"input_ids", ids({0})}}, options).sequences, 0);
  CHECK(first == row(generate(model, {{"input_ids", ids({0})}}, options).sequences, 0));
  bool jumped = false;
  for (size_t i = 1; i < first.size(); ++i) {
    const int64_t step = (first[i] - first[i - 1] + 10) % 10;
    CHECK((step == 1 || step == 2));
    jumped = jumped || step == 2;
  }
  CHECK(jumped);
  // the likeliest has 0.73 of the probability, so a nucleus of 0.5 holds it alone
  const auto nucleus = row(generate(model, {{"input_ids", ids({0})}},
                                    {.max_new_tokens = 9, .do_sample = true, .top_k = 0, .top_p = 0.5, .seed = 1})
                               .sequences,
                           0);
  CHECK(nucleus == std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  const auto likely = row(generate(model, {{"input_ids", ids({0})}},
                                   {.max_new_tokens = 9, .do_sample = true, .top_k = 0, .min_p = 0.5, .seed = 1})
                              .sequences,
                          0);
  CHECK(likely == nucleus);
}

TEST_CASE("a streamer receives every token and may stop") {
  CountingModel model(true);
  std::vector<int64_t> seen;
  CallbackStreamer streamer([&](const std::vector<int64_t>& step) {
    seen.push_back(step.front());
    return seen.size() < 3;
  });
  const auto result = generate(model, {{"input_ids", ids({0})}}, {.max_new_tokens = 100}, &streamer);
  CHECK(seen == std::vector<int64_t>{1, 2, 3});
  CHECK(result.sequences.size(1) == 4);
}

TEST_CASE("generation refuses what cannot be, naming the value") {
  CountingModel model(true);
  const ModelInputs inputs{{"input_ids", ids({0})}};
  CHECK_THROWS_WITH(generate(model, inputs, {.max_new_tokens = 0}), Catch::Contains("max_new_tokens is 0"));
  CHECK_THROWS_WITH(generate(model, inputs, {.max_new_tokens = -1}), Catch::Contains("-1"));
  CHECK_THROWS_WITH(generate(model, inputs, {.do_sample = true, .temperature = 0.0}),
                    Catch::Contains("temperature is 0"));
  CHECK_THROWS_AS(generate(model, inputs, {.do_sample = true, .temperature = std::numeric_limits<double>::quiet_NaN()}),
                  Error);
  CHECK_THROWS_WITH(generate(model, inputs, {.do_sample = true, .top_p = 1.5}), Catch::Contains("top_p is 1.5"));
  CHECK_THROWS_WITH(generate(model, inputs, {.top_k = -3}), Catch::Contains("top_k is -3"));
  CHECK_THROWS_AS(generate(model, {{"input_ids", at::zeros({1, 0}, at::kLong)}}, {.max_new_tokens = 1}), Error);
  CHECK_THROWS_WITH(model.forward({{"input_idz", ids({0})}}),
                    Catch::Contains("'input_idz'") && Catch::Contains("input_ids, attention_mask"));
}
