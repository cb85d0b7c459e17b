#include "backplane/model/encoder_decoder.h"

#include <catch2/catch.hpp>

#include "backplane/base/error.h"

using namespace backplane;

namespace {

Tensor table(std::vector<int64_t> values, int64_t rows) { return at::tensor(values).view({rows, -1}); }

}  // namespace

TEST_CASE("ids move one to the right behind the start, and ignored ones become padding") {
  CHECK(at::equal(shift_right(table({5, 6, -100, 7, 8, 9}, 2), 1, 2), table({2, 5, 6, 2, 7, 8}, 2)));
  CHECK(at::equal(shift_right(table({-100, 6, 7}, 1), 1, 2), table({2, 1, 6}, 1)));
  CHECK_THROWS_WITH(shift_right(table({1, 2}, 1), std::nullopt, 2), Catch::Contains("pad_token_id"));
  CHECK_THROWS_WITH(shift_right(table({1, 2}, 1), 1, std::nullopt), Catch::Contains("decoder_start_token_id"));
}

TEST_CASE("the decoder gets its own arguments and the encoder's states") {
  const Tensor ids = table({1, 2}, 1), states = at::zeros({1, 2, 3}), mask = at::ones({1, 2});
  const ModelInputs call = {{"input_ids", table({9}, 1)}, {"decoder_input_ids", ids}, {"attention_mask", mask},
                            {"use_cache", false},         {"head_mask", mask},        {"decoder_head_mask", states}};
  const ModelInputs mine = decoder_inputs(call, states, mask);
  CHECK(at::equal(mine["input_ids"], ids));
  CHECK(mine["head_mask"].is_same(states));
  CHECK(mine["encoder_hidden_states"].is_same(states));
  CHECK(mine["encoder_attention_mask"].is_same(mask));
  CHECK_FALSE(mine.flag("use_cache", true));
  CHECK_FALSE(mine.contains("attention_mask"));
}

TEST_CASE("the state of the last end token stands for a sequence") {
  PretrainedConfig config;
  config.eos_token_id = 2;
  const Tensor x = at::arange(8).view({2, 4, 1});
  CHECK(at::equal(last_eos_state(x, table({2, 5, 2, 1, 5, 2, 5, 2}, 2), config), table({2, 7}, 2)));
  CHECK_THROWS_WITH(last_eos_state(x, table({2, 5, 2, 1, 5, 2, 5, 5}, 2), config),
                    Catch::Contains("same number of end tokens (2)"));
  CHECK_THROWS_AS(last_eos_state(x, table({5, 5, 5, 5, 5, 5, 5, 5}, 2), config), Error);
}
