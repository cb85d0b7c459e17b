#include "golden/tokenizers.h"

#include <algorithm>
#include <map>

#include "backplane/base/files.h"
#include "backplane/base/json.h"
#include "backplane/base/strings.h"
#include "backplane/text/parts.h"
#include "backplane/text/tokenizer.h"
#include "golden/judge.h"

namespace backplane::golden {
namespace {

namespace fs = std::filesystem;

template <class Pairs>
Json flat(const Pairs& pairs) {
  Json list = Json::array();
  for (const auto& [begin, end] : pairs) {
    list.push_back(begin);
    list.push_back(end);
  }
  return list;
}

Json or_null(const std::vector<int64_t>& values) {
  Json list = Json::array();
  for (const int64_t value : values) list.push_back(value < 0 ? Json() : Json(value));
  return list;
}

bool all_are(const std::vector<int64_t>& values, int64_t wanted) {
  return std::all_of(values.begin(), values.end(), [&](int64_t value) { return value == wanted; });
}

// The fixtures' form of an encoding.
Json to_json(const Encoding& e) {
  Json out{{"ids", e.ids}, {"tokens", e.tokens}, {"offsets", flat(e.offsets)}, {"word_ids", or_null(e.word_ids)}};
  if (!all_are(e.type_ids, 0)) out["type_ids"] = e.type_ids;
  if (!all_are(e.special_tokens_mask, 0)) out["special_tokens_mask"] = e.special_tokens_mask;
  if (!all_are(e.attention_mask, 1)) out["attention_mask"] = e.attention_mask;
  if (!all_are(e.sequence_ids, 0)) out["sequence_ids"] = or_null(e.sequence_ids);
  for (const Encoding& more : e.overflowing) out["overflowing"].push_back(to_json(more));
  return out;
}

// Compares with the keys that a case has for its encoding.
void check_encoding(Judge& judge, const std::string& where, const Json& expected, const Encoding& encoding) {
  const Json found = to_json(encoding);
  for (const char* key : {"ids", "tokens", "offsets", "word_ids", "type_ids", "special_tokens_mask", "attention_mask", "sequence_ids", "overflowing"})
    judge.check(concat(where, ".", key), expected.contains(key) ? expected.at(key) : Json(), found.contains(key) ? found.at(key) : Json());
}

EncodeOptions as_file(bool add_special_tokens = true) {
  EncodeOptions options;
  options.add_special_tokens = add_special_tokens;
  options.padding = Padding::as_file;
  options.truncation = Truncation::as_file;
  return options;
}

void run_normalizers(const Json& fixture, Judge& judge) {
  for (const Json& c : fixture.at("cases")) {
    const std::string config = c.at("config").dump();
    for (size_t i = 0; i < fixture.at("inputs").size(); ++i) {
      const auto input = fixture.at("inputs")[i].get<std::string>();
      const std::string where = concat(c.at("name").get<std::string>(), "[", i, "]");
      judge.check_call(where, c.at("outputs")[i], [&] { return Json(normalize_text(config, input).text); });
      if (c.contains("char_offsets") && c.at("outputs")[i].is_string())
        judge.check_call(where + ".char_offsets", c.at("char_offsets")[i], [&] { return flat(normalize_text(config, input).offsets); });
    }
  }
}

void run_pre_tokenizers(const Json& fixture, Judge& judge) {
  for (const Json& c : fixture.at("cases")) {
    for (size_t i = 0; i < fixture.at("inputs").size(); ++i) {
      judge.check_call(concat(c.at("name").get<std::string>(), "[", i, "]"), c.at("outputs")[i], [&] {
        Json list = Json::array();
        for (const TextPiece& piece : pre_tokenize_text("null", c.at("config").dump(), fixture.at("inputs")[i].get<std::string>()))
          list.push_back(Json::array({piece.text, piece.begin, piece.end}));
        return list;
      });
    }
  }
}

void run_offsets(const Json& fixture, Judge& judge) {
  for (const Json& c : fixture.at("cases")) {
    for (size_t i = 0; i < fixture.at("inputs").size(); ++i) {
      judge.check_call(concat(c.value("name", "case"), "[", i, "]"), c.at("offsets")[i], [&] {
        Json list = Json::array();
        for (const TextPiece& piece : pre_tokenize_text(c.at("normalizer").dump(), c.at("pre_tokenizer").dump(), fixture.at("inputs")[i].get<std::string>())) {
          list.push_back(piece.begin);
          list.push_back(piece.end);
        }
        return list;
      });
    }
  }
}

void run_decoders(const Json& fixture, Judge& judge) {
  for (const Json& c : fixture.at("cases"))
    for (size_t i = 0; i < fixture.at("inputs").size(); ++i)
      judge.check_call(concat(c.at("name").get<std::string>(), "[", i, "]"), c.at("outputs")[i],
                       [&] { return Json(decode_tokens(c.at("config").dump(), fixture.at("inputs")[i].get<std::vector<std::string>>())); });
}

void run_models(const Json& fixture, Judge& judge) {
  for (const Json& c : fixture.at("cases")) {
    const TokenizerModel model(c.at("config").dump());
    for (size_t i = 0; i < fixture.at("inputs").size(); ++i) {
      judge.check_call(concat(c.at("name").get<std::string>(), "[", i, "]"), c.at("outputs")[i], [&] {
        Json list = Json::array();
        for (const auto& token : model.tokenize(fixture.at("inputs")[i].get<std::string>()))
          list.push_back(Json::array({token.text, token.id, token.begin, token.end}));
        return list;
      });
    }
  }
}

void run_post_processors(const Json& fixture, Judge& judge) {
  for (const Json& c : fixture.at("cases")) {
    const auto name = c.at("name").get<std::string>();
    Json json = fixture.at("tokenizer");
    json["post_processor"] = c.at("config");
    const auto tokenizer = Tokenizer::from_json(json.dump());
    judge.check(name + ".added", c.at("added"), Json::array({tokenizer->num_special_tokens_to_add(), tokenizer->num_special_tokens_to_add(true)}));
    for (const Json& r : c.at("results")) {
      const auto text = r.at("text").get<std::string>();
      const EncodeOptions options = as_file(r.at("add_special_tokens").get<bool>());
      const std::string where = concat(name, " '", text, "'");
      try {
        const Encoding encoding = r.at("pair").is_null() ? tokenizer->encode(text, options) : tokenizer->encode_pair(text, r.at("pair").get<std::string>(), options);
        if (r.contains("error")) judge.check(where, r.at("error"), to_json(encoding));
        else check_encoding(judge, where, r, encoding);
      } catch (const Error& error) {
        judge.check(where, r.contains("error"), true);
      }
    }
  }
}

void run_added_tokens(const Json& fixture, Judge& judge) {
  for (const Json& c : fixture.at("cases")) {
    const auto tokenizer = Tokenizer::from_json(c.at("tokenizer").dump());
    for (size_t i = 0; i < fixture.at("inputs").size(); ++i) {
      const std::string where = concat(c.at("name").get<std::string>(), "[", i, "]");
      const Encoding encoding = tokenizer->encode(fixture.at("inputs")[i].get<std::string>(), as_file());
      const Json& expected = c.at("results")[i];
      judge.check(where + ".ids", expected.at("ids"), encoding.ids);
      judge.check(where + ".tokens", expected.at("tokens"), encoding.tokens);
      judge.check(where + ".offsets", expected.at("offsets"), flat(encoding.offsets));
      judge.check(where + ".decoded", expected.at("decoded"), tokenizer->decode(encoding.ids, {.skip_special_tokens = true}));
      judge.check(where + ".decoded_all", expected.at("decoded_all"), tokenizer->decode(encoding.ids));
    }
  }
}

void run_truncation_padding(const Json& fixture, Judge& judge) {
  std::vector<TextInput> pairs, singles;
  for (const Json& pair : fixture.at("batch_pairs")) pairs.push_back({.text = pair[0].get<std::string>(), .pair = pair[1].get<std::string>()});
  for (const Json& text : fixture.at("batch_singles")) singles.push_back({.text = text.get<std::string>()});
  static const std::map<std::string, std::string> kNames{{"longest_first", "LongestFirst"}, {"only_first", "OnlyFirst"}, {"only_second", "OnlySecond"},
                                                         {"right", "Right"},                {"left", "Left"}};
  size_t number = 0;
  for (const Json& c : fixture.at("cases")) {
    const std::string name = concat("case ", number++);
    Json json = fixture.at("tokenizer");
    EncodeOptions options = as_file();
    if (const Json& t = c.at("truncation"); !t.is_null()) {
      options.truncation = t.at("strategy") == "longest_first" ? Truncation::longest_first
                           : t.at("strategy") == "only_first"  ? Truncation::only_first
                                                               : Truncation::only_second;
      options.max_length = t.at("max_length").get<int64_t>();
      options.stride = t.at("stride").get<int64_t>();
      options.truncation_side = t.at("direction") == "left" ? Side::left : Side::right;
    }
    if (const Json& p = c.at("padding"); !p.is_null()) {
      json["padding"] = {{"strategy", p.at("length").is_null() ? Json("BatchLongest") : Json{{"Fixed", p.at("length")}}},
                         {"direction", kNames.at(p.at("direction").get<std::string>())},
                         {"pad_to_multiple_of", p.at("pad_to_multiple_of")},
                         {"pad_id", p.at("pad_id")},
                         {"pad_type_id", p.at("pad_type_id")},
                         {"pad_token", p.at("pad_token")}};
    }
    const auto tokenizer = Tokenizer::from_json(json.dump());
    const auto batch = [&](const std::vector<TextInput>& inputs, bool special) {
      EncodeOptions call = options;
      call.add_special_tokens = special;
      Json list = Json::array();
      for (const Encoding& encoding : tokenizer->encode_inputs(inputs, call).encodings) list.push_back(to_json(encoding));
      return list;
    };
    if (c.contains("error")) {
      judge.check_call(name, {{"error", c.at("error")}}, [&] { return batch(singles, true); });
      continue;
    }
    judge.check_call(name + ".batch_pairs", c.at("batch_pairs"), [&] { return batch(pairs, true); });
    judge.check_call(name + ".batch_singles", c.at("batch_singles"), [&] { return batch(singles, true); });
    judge.check_call(name + ".one", c.at("one"), [&] { return batch({singles[0]}, true)[0]; });
    judge.check_call(name + ".one_plain", c.at("one_plain"), [&] { return batch({singles[0]}, false)[0]; });
  }
}

void run_pipeline(const Json& fixture, const std::string& tokenizer_json, const std::string& name, Judge& judge) {
  const std::shared_ptr<const Tokenizer> tokenizer = Tokenizer::from_json(tokenizer_json, name);
  if (fixture.contains("vocab_size")) judge.check("vocab_size", fixture.at("vocab_size"), Json::array({tokenizer->vocab_size(), tokenizer->vocab_size(true)}));
  if (fixture.contains("special_tokens_to_add")) judge.check("special_tokens_to_add", fixture.at("special_tokens_to_add"),
              Json::array({tokenizer->num_special_tokens_to_add(), tokenizer->num_special_tokens_to_add(true)}));
  // What is written must read back as the same tokenizer.
  const std::shared_ptr<const Tokenizer> again = Tokenizer::from_json(tokenizer->to_json(), name);
  for (const Json& c : fixture.at("texts")) {
    const auto text = c.at("text").get<std::string>();
    const std::string where = concat("'", text.substr(0, 60), "'");
    if (c.contains("error")) {
      judge.check_call(where, {{"error", c.at("error")}}, [&] { return to_json(tokenizer->encode(text, as_file())); });
      continue;
    }
    const Encoding encoding = tokenizer->encode(text, as_file());
    check_encoding(judge, where, c, encoding);
    judge.check(where + ".decoded", c.at("decoded"), tokenizer->decode(encoding.ids, {.skip_special_tokens = true}));
    judge.check(where + ".decoded_all", c.contains("decoded_all") ? c.at("decoded_all") : c.at("decoded"), tokenizer->decode(encoding.ids));
    judge.check(where + ".ids_plain", c.contains("ids_plain") ? c.at("ids_plain") : c.at("ids"), tokenizer->encode(text, as_file(false)).ids);
    EncodeOptions plain;
    judge.check(where + " without details", tokenizer->encode(text, plain).ids, tokenizer->encode_ids(text));
    judge.check(where + " written and read", encoding.ids, again->encode(text, as_file()).ids);
  }
  for (const Json& c : fixture.value("pairs", Json::array())) {
    const auto pair = c.at("pair").get<std::vector<std::string>>();
    check_encoding(judge, concat("pair '", pair[0].substr(0, 40), "'"), c, tokenizer->encode_pair(pair[0], pair[1], as_file()));
  }
  const Json words = fixture.value("words", Json::array());
  const auto run_words = [&](const Json& c) { check_encoding(judge, "words", c, tokenizer->encode_words(c.at("words").get<std::vector<std::string>>(), as_file())); };
  if (words.is_array()) for (const Json& c : words) run_words(c);
  else run_words(words);
  const auto run_stream = [&](const Json& c) {
    DecodeStream stream(tokenizer, true);
    Json steps = Json::array();
    for (const int64_t id : tokenizer->encode(c.at("text").get<std::string>(), as_file()).ids) {
      const auto step = stream.step(id);
      steps.push_back(step ? Json(*step) : Json());
    }
    judge.check("stream", c.at("steps"), steps);
  };
  const Json streams = fixture.value("stream", Json::array());
  if (streams.is_array()) for (const Json& c : streams) run_stream(c);
  else run_stream(streams);
}

using Runner = void (*)(const Json&, Judge&);
const std::map<std::string, Runner> kComponents{
    {"normalizers", run_normalizers},         {"pre_tokenizers", run_pre_tokenizers}, {"offsets_through_both", run_offsets},
    {"decoders", run_decoders},               {"models", run_models},                 {"post_processors", run_post_processors},
    {"added_tokens", run_added_tokens},       {"truncation_padding", run_truncation_padding}};

enum class Kind { none, component, pipeline, real };

Kind kind_of(const fs::path& file) {
  const std::string parent = file.parent_path().filename().string();
  const std::string above = file.parent_path().parent_path().filename().string();
  if (parent == "components" && above == "tokenizers" && kComponents.count(file.stem().string())) return Kind::component;
  if (above == "pipelines" && file.filename() == "cases.json") return Kind::pipeline;
  if (parent == "real" && above == "tokenizers") return Kind::real;
  return Kind::none;
}

}  // namespace

bool is_tokenizer_fixture(const fs::path& file) { return kind_of(file) != Kind::none; }

GoldenResult run_tokenizer_fixture(const fs::path& file, const GoldenOptions& options) {
  const Kind kind = kind_of(file);
  GoldenResult result;
  result.kind = kind == Kind::component ? "tokenizers/components" : kind == Kind::pipeline ? "tokenizers/pipelines" : "tokenizers/real";
  result.name = kind == Kind::pipeline ? file.parent_path().filename().string() : file.stem().string();
  Judge judge(result);
  try {
    const Json fixture = read_json_file(file.string(), ErrorCode::bad_config, {.bytes = limits::kTokenizerBytes, .depth = 100});
    if (kind == Kind::component) {
      kComponents.at(file.stem().string())(fixture, judge);
    } else if (kind == Kind::pipeline) {
      // A second set of fixtures has the cases only; its vocabularies are those of the set beside it.
      run_pipeline(fixture, read_file((file.parent_path() / "tokenizer.json").string(), limits::kTokenizerBytes), result.name, judge);
    } else {
      const std::string path = concat(options.cache, "/", fixture.at("tokenizer").get<std::string>());
      if (options.cache.empty() || !file_exists(path)) {
        result.passed = true;
        result.cases = 0;
        result.reason = "skipped: no " + fixture.at("tokenizer").get<std::string>() + " in the cache";
        return result;
      }
      run_pipeline(fixture, read_file(path, limits::kTokenizerBytes), result.name, judge);
    }
  } catch (const std::exception& error) {
    ++result.failed_cases;
    if (result.reason.empty()) result.reason = error.what();
  }
  result.passed = result.failed_cases == 0;
  return result;
}

}  // namespace backplane::golden
