#include "backplane/generation/logits_processor.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "backplane/base/error.h"

using namespace backplane;

namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

Tensor ids(std::vector<int64_t> values) { return at::tensor(values).unsqueeze(0); }
Tensor scores(std::vector<float> values) { return at::tensor(values).unsqueeze(0); }

std::vector<float> run(const GenerationConfig& config, const LogitsContext& context, const Tensor& ids, Tensor scores) {
  for (const auto& processor : make_logits_processors(config, context)) scores = processor(ids, scores);
  scores = scores.contiguous();
  return {scores.const_data_ptr<float>(), scores.const_data_ptr<float>() + scores.numel()};
}

using Floats = std::vector<float>;

}  // namespace

TEST_CASE("defaults change nothing and make no processor") {
  CHECK(make_logits_processors({}, {.prompt_length = 1, .max_length = 20, .eos = {2}}).empty());
}

TEST_CASE("penalties divide what is positive, multiply what is negative") {
  GenerationConfig c;
  c.repetition_penalty = 2.0;
  CHECK(run(c, {}, ids({0, 1, 0}), scores({1, -1, 2})) == Floats{0.5, -2, 2});
  c.repetition_penalty = 1.0;
  c.encoder_repetition_penalty = 2.0;  // rewards what the encoder read
  CHECK(run(c, {.encoder_input_ids = ids({0, 1})}, ids({2}), scores({1, -1, 2})) == Floats{2, -0.5, 2});
}

TEST_CASE("n-grams do not come twice, nor those of the encoder") {
  GenerationConfig c;
  c.no_repeat_ngram_size = 2;
  CHECK(run(c, {}, ids({1, 2, 1}), scores({0, 0, 0, 0})) == Floats{0, 0, kNever, 0});
  CHECK(run(c, {}, ids({1}), scores({0, 0})) == Floats{0, 0});
  c.no_repeat_ngram_size = 1;
  CHECK(run(c, {}, ids({1, 2}), scores({0, 0, 0, 0})) == Floats{0, kNever, kNever, 0});
  c.no_repeat_ngram_size = 0;
  c.encoder_no_repeat_ngram_size = 2;
  // two rows of the encoder, two beams each
  const LogitsContext context{.encoder_input_ids = at::tensor({1, 2, 1, 3}, at::kLong).view({2, 2})};
  const Tensor beams = at::tensor({1, 0, 1, 0}, at::kLong).view({4, 1});
  CHECK(run(c, context, beams, at::zeros({4, 4})) == Floats{0, 0, kNever, 0, 0, 0, 0, 0, 0, 0, 0, kNever, 0, 0, 0, 0});
}

TEST_CASE("ends wait for the minimum, and tokens are forced at their places") {
  GenerationConfig c;
  c.min_length = 3;
  const LogitsContext context{.prompt_length = 1, .max_length = 5, .eos = {1, 2}};
  CHECK(run(c, context, ids({0, 0}), scores({5, 6, 7})) == Floats{5, kNever, kNever});
  CHECK(run(c, context, ids({0, 0, 0}), scores({5, 6, 7})) == Floats{5, 6, 7});
  c.min_length = 0;
  c.min_new_tokens = 1;
  CHECK(run(c, context, ids({0}), scores({5, 6, 7})) == Floats{5, kNever, kNever});
  c.min_new_tokens.reset();
  c.forced_bos_token_id = 2;
  c.forced_eos_token_id = Value::List{0, 1};
  CHECK(run(c, context, ids({0}), scores({5, 6, 7})) == Floats{kNever, kNever, 0});
  CHECK(run(c, context, ids({0, 1}), scores({5, 6, 7})) == Floats{5, 6, 7});
  CHECK(run(c, context, ids({0, 1, 1, 1}), scores({5, 6, 7})) == Floats{0, 0, kNever});
  c.forced_bos_token_id = 3;
  CHECK_THROWS_WITH(run(c, context, ids({0}), scores({5, 6, 7})),
                    Catch::Contains("forced_bos_token_id") && Catch::Contains("3"));
}

TEST_CASE("suppressed tokens, everywhere or at the beginning") {
  GenerationConfig c;
  c.suppress_tokens = Value::List{0, 99, -1};
  c.begin_suppress_tokens = Value::List{1};
  const LogitsContext context{.prompt_length = 1, .max_length = 9};
  CHECK(run(c, context, ids({0}), scores({1, 2, 3})) == Floats{kNever, kNever, 3});
  CHECK(run(c, context, ids({0, 2}), scores({1, 2, 3})) == Floats{kNever, 2, 3});
  c.suppress_tokens = Value();
  c.forced_bos_token_id = 2;  // the beginning is behind it
  CHECK(run(c, context, ids({0, 2}), scores({1, 2, 3})) == Floats{1, kNever, 3});
}

TEST_CASE("bad words and biased sequences") {
  GenerationConfig c;
  c.bad_words_ids = Value::List{Value::List{3}, Value::List{1, 2}, Value::List{0}};
  const LogitsContext context{.eos = {0}};  // an end alone is no bad word
  CHECK(run(c, context, ids({0, 1}), scores({0, 1, 2, 3})) == Floats{0, 1, kNever, kNever});
  CHECK(run(c, context, ids({2}), scores({0, 1, 2, 3})) == Floats{0, 1, 2, kNever});
  c.bad_words_ids = Value();
  c.sequence_bias = Value::List{Value::List{Value::List{1}, 2.5}, Value::List{Value::List{3, 1}, -1.0}};
  CHECK(run(c, context, ids({0, 3}), scores({0, 1, 2, 3})) == Floats{0, 2.5, 2, 3});
  CHECK(run(c, context, ids({0}), scores({0, 1, 2, 3})) == Floats{0, 3.5, 2, 3});
  c.sequence_bias = Value::List{Value::List{Value::List{9}, 2.5}};
  CHECK_THROWS_WITH(run(c, context, ids({3}), scores({0, 1})), Catch::Contains("sequence_bias names the token 9"));
  c.sequence_bias = Value::List{1};
  CHECK_THROWS_AS(make_logits_processors(c, context), Error);
}

TEST_CASE("the wish to end grows, invalid scores go, and scores become log probabilities again") {
  GenerationConfig c;
  c.exponential_decay_length_penalty = Value::List{1, 2.0};
  const LogitsContext context{.prompt_length = 1, .max_length = 9, .eos = {1}};
  CHECK(run(c, context, ids({0, 0}), scores({1, -1})) == Floats{1, -1});
  CHECK(run(c, context, ids({0, 0, 0}), scores({1, -1})) == Floats{1, 0});     // -1 + 1 * (2^1 - 1)
  CHECK(run(c, context, ids({0, 0, 0, 0}), scores({1, -1})) == Floats{1, 2});  // -1 + 1 * (2^2 - 1)
  GenerationConfig clean;
  clean.remove_invalid_values = true;
  const float inf = std::numeric_limits<float>::infinity(), most = std::numeric_limits<float>::max();
  CHECK(run(clean, {}, ids({0}), scores({NAN, inf, -inf, 1})) == Floats{0, most, -most, 1});
  GenerationConfig even;
  even.renormalize_logits = true;
  const auto logs = run(even, {}, ids({0}), scores({3, 3}));
  CHECK(logs[0] == Approx(std::log(0.5)));
}

TEST_CASE("filters of sampling keep the likely and only then") {
  // probabilities 0.5, 0.3, 0.15, 0.05
  const Tensor logits = at::log(at::tensor({0.5f, 0.3f, 0.15f, 0.05f})).unsqueeze(0);
  const auto kept = [&](auto&& set) {
    GenerationConfig c;
    c.do_sample = true;
    c.top_k = 0;
    set(c);
    const auto left = run(c, {}, ids({0}), logits);
    std::vector<int> tokens;
    for (size_t i = 0; i < left.size(); ++i) {
      if (left[i] != kNever) tokens.push_back(static_cast<int>(i));
    }
    return tokens;
  };
  using Tokens = std::vector<int>;
  CHECK(kept([](auto& c) { c.top_k = 2; }) == Tokens{0, 1});
  CHECK(kept([](auto& c) { c.top_p = 0.7; }) == Tokens{0, 1});
  CHECK(kept([](auto& c) { c.top_p = 0.1; }) == Tokens{0});
  CHECK(kept([](auto& c) { c.min_p = 0.25; }) == Tokens{0, 1, 2});
  CHECK(kept([](auto& c) { c.epsilon_cutoff = 0.2; }) == Tokens{0, 1});
  CHECK(kept([](auto& c) { c.epsilon_cutoff = 0.9; }) == Tokens{0});  // never none
  // entropy 1.142; -log p - entropy: 0.449, 0.062, 0.755, 1.854
  CHECK(kept([](auto& c) { c.typical_p = 0.2; }) == Tokens{1});
  CHECK(kept([](auto& c) { c.typical_p = 0.6; }) == Tokens{0, 1});
  // min(0.25, 0.5 * exp(-1.142)) = 0.1596
  CHECK(kept([](auto& c) { c.eta_cutoff = 0.25; }) == Tokens{0, 1});
  // a beam keeps one token more than there are ends
  CHECK(kept([](auto& c) {
          c.top_p = 0.1;
          c.num_beams = 2;
        }) == Tokens{0, 1});
  GenerationConfig greedy;
  greedy.top_k = 1;
  CHECK(make_logits_processors(greedy, {}).empty());
  GenerationConfig cool;
  cool.do_sample = true;
  cool.top_k = 0;
  cool.temperature = 0.5;
  CHECK(run(cool, {}, ids({0}), scores({1, 2})) == Floats{2, 4});
}

TEST_CASE("own processors come behind the penalties and before the filters") {
  GenerationConfig c;
  c.repetition_penalty = 2.0;
  c.do_sample = true;
  c.top_k = 1;
  const auto list = make_logits_processors(c, {}, {[](const Tensor&, const Tensor& x) { return -x; }});
  REQUIRE(list.size() == 3);
  Tensor x = scores({4, 1});
  for (const auto& processor : list) x = processor(ids({0}), x);
  CHECK(x[0][0].item<float>() == kNever);
  CHECK(x[0][1].item<float>() == -1);
}
