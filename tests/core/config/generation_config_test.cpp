#include "backplane/config/generation_config_json.h"
#include "core/config/toy_configs.h"

using namespace toy;

namespace {
std::string generation_failure(std::string_view text) {
  return failure([&] {
    WarningCollector warnings;
    read_generation_config(json(text), "generation_config.json");
  });
}
}  // namespace

TEST_CASE("AC-116: generation_config.json is read over the defaults, unknown keys are kept") {
  const auto config = read_generation_config(
      json(R"({"do_sample":true,"temperature":0.6,"top_p":0.9,"eos_token_id":[1,2],"bos_token_id":0,"my_key":[1],"transformers_version":"4.40.0"})"), "x");
  CHECK(config.do_sample);
  CHECK(config.temperature == 0.6);
  CHECK(config.top_k == 50);
  CHECK(config.eos_token_id.as_int_list() == std::vector<int64_t>{1, 2});
  CHECK(config.extra.at(0).first == "my_key");
  CHECK(generation_config_to_json_string(config) == R"({
  "bos_token_id": 0,
  "do_sample": true,
  "eos_token_id": [
    1,
    2
  ],
  "my_key": [
    1
  ],
  "temperature": 0.6,
  "top_p": 0.9,
  "transformers_version": "4.53.3"
}
)");
}

TEST_CASE("AC-116: without the file, generation settings come from the model's configuration") {
  const auto config = read(R"({"max_length":50,"num_beams":4,"eos_token_id":7,"top_k":null,"use_cache":false,"unknown":1})");
  const auto generation = generation_config_from(*config);
  CHECK(generation._from_model_config);
  CHECK(generation.max_length == 50);
  CHECK(generation.num_beams == 4);
  CHECK(generation.top_k == 50);
  CHECK(generation.eos_token_id == Value(7));
  CHECK(generation.bos_token_id == Value(1));
  CHECK_FALSE(generation.use_cache);
  CHECK(generation.extra.empty());
}

TEST_CASE("AC-116: keywords that are generation attributes apply") {
  auto config = read_generation_config(json(R"({"own":1})"), "x");
  WarningCollector warnings;
  CHECK(python_dumps(override_generation_config(config, json(R"({"top_k":9,"own":2,"foo":3})"))) == R"({"foo": 3})");
  CHECK(config.top_k == 9);
  CHECK(config.extra.at(0).second == Value(2));
  REQUIRE(warnings.messages().size() == 1);
  CHECK(warnings.messages()[0] == "the following generation settings have no effect as the others stand: top_k");
}

TEST_CASE("generation settings that the reference refuses are refused") {
  CHECK(generation_failure(R"({"max_new_tokens":0})") == "invalid_value: generation_config.json: max_new_tokens is 0; expected more than 0");
  CHECK(generation_failure(R"({"early_stopping":"soon"})") ==
        R"(invalid_value: generation_config.json: early_stopping is "soon"; expected true, false or 'never')");
  CHECK(generation_failure(R"({"num_return_sequences":2})").find("greedy search finds one sequence") != std::string::npos);
  CHECK(generation_failure(R"({"num_return_sequences":2,"do_sample":true})") == "");
  CHECK(generation_failure(R"({"num_beams":2,"num_return_sequences":3})").find("at most num_beams (2)") != std::string::npos);
  CHECK(generation_failure(R"({"num_beams":4,"num_beam_groups":3,"diversity_penalty":0.5})").find("multiple of num_beam_groups (3)") != std::string::npos);
  CHECK(generation_failure(R"({"num_beams":4,"num_beam_groups":2})").find("diversity_penalty is 0") != std::string::npos);
  CHECK(generation_failure(R"({"cache_implementation":"big"})").find("cache_implementation is big; expected one of static") != std::string::npos);
  CHECK(generation_failure(R"({"cache_config":{}})") != "");
  CHECK(generation_failure(R"({"streamer":1})").find("streamer is an argument of generate") != std::string::npos);
  CHECK(generation_failure(R"({"watermarking_config":{"seeding_scheme":"x"}})") != "");
  CHECK(generation_failure(R"({"temperature":"hot"})") == R"(bad_config: generation_config.json: temperature is "hot"; expected a number)");
  CHECK(generation_failure("[]") == "bad_config: generation_config.json is []; expected an object");
}

TEST_CASE("ranges are checked when generation starts") {
  const auto failed = [](GenerationConfig config) { return failure([&] { config.check_ranges(); }); };
  CHECK(failed({}) == "");
  CHECK(failed({.temperature = 0.0}) == "");  // greedy: no effect
  CHECK(failed({.do_sample = true, .temperature = 0.0}) ==
        "invalid_value: temperature is 0; expected more than 0; for a temperature of 0 set do_sample to false");
  CHECK(failed({.do_sample = true, .top_p = 1.5}) == "invalid_value: top_p is 1.5; expected a number from 0 to 1");
  CHECK(failed({.do_sample = true, .top_k = -1}) != "");
  CHECK(failed({.repetition_penalty = 0.0}) == "invalid_value: repetition_penalty is 0; expected more than 0");
  CHECK(failed({.bad_words_ids = Value::List{Value::List{-1}}}) == "invalid_value: bad_words_ids is [[-1]]; expected a list of lists of token ids");
  CHECK(failed({.max_length = 0}) != "");
}
