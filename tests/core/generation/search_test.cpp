#include "backplane/generation/generate.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "backplane/base/error.h"

using namespace backplane;

namespace {

// Four ids with fixed probabilities of the next; 3 ends. The likeliest first step, 1, leads to less likely sequences.
Tensor transitions() {
  return at::log(at::tensor({0.00f, 0.60f, 0.40f, 0.00f,  //
                             0.05f, 0.30f, 0.25f, 0.40f,  //
                             0.00f, 0.08f, 0.02f, 0.90f,  //
                             0.25f, 0.25f, 0.25f, 0.25f})
                     .view({4, 4})
                     .clamp_min(1e-9));
}

struct TableModel : PreTrainedModel {
  PretrainedConfig own;
  TableModel() : PreTrainedModel(own) {}
  bool can_generate() const override { return true; }
  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 2> kNames = {"input_ids", "attention_mask"};
    return kNames;
  }
  ModelOutput compute(const ModelInputs& inputs) override {
    return {{"logits", transitions().index({inputs["input_ids"]})}};
  }
};

// An encoder that sums its ids and a decoder that counts up from there; both note how often they ran.
struct SumModel : PreTrainedModel {
  PretrainedConfig own;
  int encoded = 0, decoded = 0;
  SumModel() : PreTrainedModel(own) {}
  bool can_generate() const override { return true; }
  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 5> kNames = {"input_ids", "attention_mask", "decoder_input_ids",
                                                               "encoder_outputs", "past_key_values"};
    return kNames;
  }
  ModelOutput compute(const ModelInputs& inputs) override {
    Tensor sum;
    if (inputs.contains("encoder_outputs")) {
      sum = inputs.tuple("encoder_outputs").front();
    } else {
      ++encoded;
      Tensor ids = inputs["input_ids"];
      if (inputs.contains("attention_mask")) ids = ids * inputs["attention_mask"];
      sum = ids.sum(1);
    }
    ++decoded;
    const Tensor ids = inputs["decoder_input_ids"];
    if (auto cache = inputs.cache("past_key_values")) cache->advance(ids.size(1));
    const Tensor next = at::where(ids == 0, sum.unsqueeze(1), ids + 1) % 10;
    return {{"logits", at::one_hot(next, 10).to(at::kFloat)}, {"encoder_last_hidden_state", sum}};
  }
};

std::vector<int64_t> row(const Tensor& sequences, int64_t i) {
  const Tensor ids = sequences[i].contiguous();
  return {ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + ids.size(0)};
}

using Ids = std::vector<int64_t>;

}  // namespace

TEST_CASE("beam search finds the likelier sequence that greedy search misses") {
  TableModel model;
  const ModelInputs inputs{{"input_ids", at::zeros({1, 1}, at::kLong)}};
  GenerateOptions options{.max_new_tokens = 4, .eos_token_id = Ids{3}, .pad_token_id = 9};
  CHECK(row(generate(model, inputs, options).sequences, 0) == Ids{0, 1, 3});
  options.num_beams = 2;
  auto result = generate(model, inputs, options);
  CHECK(row(result.sequences, 0) == Ids{0, 2, 3});
  CHECK(result.sequences_scores[0].item<double>() == Approx(std::log(0.4 * 0.9) / 2));
  CHECK(result.stopped);
  CHECK(result.prompt_length == 1);

  options.num_return_sequences = 2;
  result = generate(model, inputs, options);
  CHECK(row(result.sequences, 1) == Ids{0, 1, 3});
  CHECK(result.sequences_scores[1].item<double>() == Approx(std::log(0.6 * 0.4) / 2));

  options.length_penalty = 0;  // the plain log probability
  CHECK(generate(model, inputs, options).sequences_scores[0].item<double>() == Approx(std::log(0.36)));
}

TEST_CASE("beams of a batch do not mix, and short ones are filled") {
  TableModel model;
  const Tensor starts = at::tensor({0, 2}, at::kLong).view({2, 1});
  const auto result =
      generate(model, {{"input_ids", starts}},
               {.max_new_tokens = 4, .eos_token_id = Ids{3}, .pad_token_id = 9, .num_beams = 2, .length_penalty = 0.0});
  CHECK(row(result.sequences, 0) == Ids{0, 2, 3});
  CHECK(row(result.sequences, 1) == Ids{2, 3, 9});
}

TEST_CASE("without an end beam search runs to the length") {
  TableModel model;
  const auto result = generate(model, {{"input_ids", at::zeros({1, 1}, at::kLong)}},
                               {.max_new_tokens = 3, .eos_token_id = Ids{}, .num_beams = 3});
  CHECK(result.sequences.size(1) == 4);
  CHECK(std::isfinite(result.sequences_scores[0].item<double>()));
}

TEST_CASE("sampling returns several sequences, and beams may sample") {
  TableModel model;
  const ModelInputs inputs{{"input_ids", at::zeros({1, 1}, at::kLong)}};
  const GenerateOptions options{.max_new_tokens = 3,
                                .do_sample = true,
                                .eos_token_id = Ids{3},
                                .pad_token_id = 9,
                                .seed = 3,
                                .num_return_sequences = 4};
  CHECK(generate(model, inputs, options).sequences.size(0) == 4);
  auto beams = options;
  beams.num_beams = 4;
  const auto first = generate(model, inputs, beams), again = generate(model, inputs, beams);
  CHECK(at::equal(first.sequences, again.sequences));
}

TEST_CASE("an encoder runs once, whatever the search, and the decoder begins with its token") {
  SumModel model;
  GenerationConfig config;
  config.decoder_start_token_id = 0;
  config.pad_token_id = 9;
  const ModelInputs inputs{{"input_ids", at::tensor({1, 2, 1, 9}, at::kLong).view({2, 2})}};
  GenerateOptions options{.max_new_tokens = 3, .config = config};
  auto result = generate(model, inputs, options);
  CHECK(row(result.sequences, 0) == Ids{0, 3, 4, 5});
  CHECK(row(result.sequences, 1) == Ids{0, 1, 2, 3});  // 9 is padding: the mask follows from the id
  CHECK(result.prompt_length == 1);
  CHECK(model.encoded == 1);
  CHECK(model.decoded == 3);
  options.num_beams = 3;
  result = generate(model, inputs, options);
  CHECK(row(result.sequences, 0) == Ids{0, 3, 4, 5});
  CHECK(row(result.sequences, 1) == Ids{0, 1, 2, 3});
  CHECK(model.encoded == 2);
}

TEST_CASE("given decoder ids get the start in front unless they have it, or are taken as they are") {
  SumModel model;
  GenerationConfig config;
  config.decoder_start_token_id = 0;
  const Tensor ids = at::tensor({1, 2}, at::kLong).view({1, 2});
  GenerateOptions options{.max_new_tokens = 1, .config = config};
  const auto begin = [&](Ids given) {
    return row(
        generate(model, {{"input_ids", ids}, {"decoder_input_ids", at::tensor(given).unsqueeze(0)}}, options).sequences,
        0);
  };
  CHECK(begin({5}) == Ids{0, 5, 6});
  CHECK(begin({0, 5}) == Ids{0, 5, 6});
  options.prepend_decoder_start = false;
  CHECK(begin({5}) == Ids{5, 6});
  config.decoder_start_token_id = Value();
  options.config = config;
  CHECK_THROWS_WITH(generate(model, {{"input_ids", ids}}, options), Catch::Contains("decoder_start_token_id"));
}

TEST_CASE("what generate does not do is refused, naming the setting") {
  TableModel model;
  const ModelInputs inputs{{"input_ids", at::zeros({1, 1}, at::kLong)}};
  GenerationConfig config;
  config.num_beam_groups = 2;
  CHECK_THROWS_WITH(generate(model, inputs, {.config = config}), Catch::Contains("num_beam_groups"));
  CHECK_THROWS_WITH(generate(model, inputs, {.num_beams = 2, .num_return_sequences = 3}),
                    Catch::Contains("num_return_sequences is 3"));
  CHECK_THROWS_WITH(generate(model, inputs, {.num_return_sequences = 2}), Catch::Contains("greedy"));
  CHECK_THROWS_WITH(generate(model, inputs, {.num_beams = 0}), Catch::Contains("num_beams is 0"));
  CHECK_THROWS_WITH(generate(model, inputs, {.eos_token_id = Ids{0, 1, 2, 3}, .num_beams = 2}),
                    Catch::Contains("10 continuations"));
  GenerationConfig stop;
  stop.stop_strings = "x";
  CHECK_THROWS_WITH(generate(model, inputs, {.config = stop}), Catch::Contains("tokenizer"));
  CallbackStreamer streamer([](const Ids&) { return true; });
  CHECK_THROWS_WITH(generate(model, inputs, {.num_beams = 2}, &streamer), Catch::Contains("stream"));
}

TEST_CASE("the default length counts new tokens alone; a set one counts the prompt") {
  TableModel model;
  const ModelInputs inputs{{"input_ids", at::zeros({1, 4}, at::kLong)}};
  CHECK(generate(model, inputs, {}).sequences.size(1) == 24);
  CHECK(generate(model, inputs, {.max_length = 6}).sequences.size(1) == 6);
  CHECK_THROWS_WITH(generate(model, inputs, {.max_length = 4}), Catch::Contains("nothing is left to generate"));
}
