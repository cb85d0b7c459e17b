#include "golden/tokenizer_classes.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "backplane/base/files.h"
#include "backplane/base/limits.h"
#include "backplane/text/ctc_decoding.h"
#include "backplane/text/tokenizer.h"
#include "backplane/text/whisper_text.h"
#include "golden/judge.h"

namespace backplane::golden {
namespace {

namespace fs = std::filesystem;

using Ids = std::vector<int64_t>;

// Python's None for ids that are not there.
Json ids_json(const Ids& ids) {
  Json list = Json::array();
  for (const int64_t id : ids) list.push_back(id < 0 ? Json() : Json(id));
  return list;
}

template <class Answer>
Json attempt(Answer answer) {
  try {
    return answer();
  } catch (const Error& error) {
    return {{"error", error.what()}};
  }
}

Json about(const Tokenizer& t, const Json& expected) {
  Json special = Json::object();
  for (const auto& [name, token] : t.special_tokens_map()) special[name + "_token"] = token;
  auto tokens = t.all_special_tokens();
  auto ids = t.convert_tokens_to_ids(tokens);
  Json added = Json::object();
  for (const auto& [id, token] : t.added_tokens()) added[token.content] = id;
  const bool counted = added.size() > 60;
  if (counted) {
    added = {{"count", added.size()}};
    tokens.resize(std::min<size_t>(tokens.size(), 20));
    ids.resize(tokens.size());
  } else if (!t.additional_special_tokens().empty()) {
    special["additional_special_tokens"] = t.additional_special_tokens();
  }
  return {{"class", t.tokenizer_class()},
          {"is_fast", t.is_fast()},
          {"vocab_size", t.vocab_size()},
          {"len", t.vocab_size(true)},
          {"model_max_length", t.model_max_length() ? Json(*t.model_max_length()) : Json()},
          {"padding_side", t.padding_side() == Side::left ? "left" : "right"},
          {"truncation_side", t.truncation_side() == Side::left ? "left" : "right"},
          {"model_input_names", t.model_input_names()},
          {"all_special_tokens", tokens},
          {"all_special_ids", expected.contains("all_special_ids") && expected.at("all_special_ids").is_object() ? expected.at("all_special_ids") : ids_json(ids)},
          {"special", special},
          {"special_tokens_to_add", attempt([&] { return Json::array({t.num_special_tokens_to_add(), t.num_special_tokens_to_add(true)}); })},
          {"added_vocab", added}};
}

Json text_row(const Tokenizer& t, const std::string& text) {
  const Encoding encoding = t.encode(text);
  Json row = {{"text", text}, {"tokens", t.tokenize(text)}, {"ids", ids_json(encoding.ids)}};
  const Ids plain = t.encode(text, {.add_special_tokens = false}).ids;
  if (plain != encoding.ids) row["ids_plain"] = ids_json(plain);
  const auto& names = t.model_input_names();
  const bool typed = std::find(names.begin(), names.end(), "token_type_ids") != names.end();
  if (typed && std::any_of(encoding.type_ids.begin(), encoding.type_ids.end(), [](int64_t type) { return type != 0; })) row["type_ids"] = encoding.type_ids;
  const auto decode = [&](const DecodeOptions& options) {
    return attempt([&] { return Json(t.decode(encoding.ids, options)); });
  };
  row["decoded"] = decode({});
  const auto add = [&](const char* key, const Json& value) {
    const bool both_fail = value.is_object() && row["decoded"].is_object();
    if (value != row["decoded"] && !both_fail) row[key] = value;
  };
  add("decoded_skip", decode({.skip_special_tokens = true}));
  add("decoded_no_cleanup", decode({.clean_up_tokenization_spaces = false}));
  add("decoded_cleanup", decode({.clean_up_tokenization_spaces = true}));
  add("tokens_to_string", attempt([&] {
        const auto tokens = t.tokenize(text);
        const Json joined = t.convert_tokens_to_string(tokens);
        // The classes of CTC models give more than a text.
        if (t.tokenizer_class() == "Wav2Vec2CTCTokenizer") {
          const Json spans = tokens.empty() ? Json::array() : Json();
          return Json{{"text", joined}, {"char_offsets", spans}, {"word_offsets", spans}};
        }
        return t.tokenizer_class() == "Wav2Vec2PhonemeCTCTokenizer" ? Json{{"text", joined}, {"char_offsets", nullptr}} : joined;
      }));
  if (t.is_fast()) {
    Json offsets = Json::array();
    for (const auto& [begin, end] : encoding.offsets) {
      offsets.push_back(begin);
      offsets.push_back(end);
    }
    row["offsets"] = offsets;
    row["word_ids"] = ids_json(encoding.word_ids);
  }
  return row;
}

// The arguments of __call__ as options. Throws as the reference does for wrong ones.
struct Call {
  EncodeOptions options;
  std::vector<TextInput> inputs;
  bool several = false, special_mask = false, types = false, length = false, offsets = false, tensors = false;
};

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorCode::invalid_value, what); }

void read_inputs(const Json& text, const Json& pair, bool split, Call& call) {
  const auto is_words = [&](const Json& value) { return split && value.is_array() && (value.empty() || value[0].is_string()); };
  if (!text.is_string() && !text.is_array()) refuse("the text is neither a text nor a list");
  call.several = text.is_array() && !is_words(text);
  const size_t count = call.several ? text.size() : 1;
  if (count == 0) refuse("an empty batch");
  for (size_t i = 0; i < count; ++i) {
    TextInput input;
    const auto put = [&](const Json& value, bool second) {
      if (is_words(value)) {
        (second ? input.pair_words : input.words) = value.get<std::vector<std::string>>();
      } else if (value.is_string()) {
        if (second) input.pair = value.get<std::string>();
        else input.text = value.get<std::string>();
      } else {
        refuse("a text that is none");
      }
    };
    put(call.several ? text[i] : text, false);
    if (!pair.is_null()) put(call.several ? pair[i] : pair, true);
    call.inputs.push_back(std::move(input));
  }
}

Call read_call(const Json& spec) {
  Call call;
  bool split = false, explicit_truncation = false;
  for (const auto& [key, value] : spec.at("kwargs").items()) {
    if (key == "add_special_tokens") call.options.add_special_tokens = value.get<bool>();
    if (key == "padding") {
      if (value == true || value == "longest") call.options.padding = Padding::longest;
      else if (value == "max_length") call.options.padding = Padding::max_length;
      else if (value != false && value != "do_not_pad") refuse("unknown padding");
    }
    if (key == "truncation") {
      explicit_truncation = true;
      if (value == true || value == "longest_first") call.options.truncation = Truncation::longest_first;
      else if (value == "only_first") call.options.truncation = Truncation::only_first;
      else if (value == "only_second") call.options.truncation = Truncation::only_second;
      else if (value != false && value != "do_not_truncate") refuse("unknown truncation");
    }
    if (key == "max_length") call.options.max_length = value.get<int64_t>();
    if (key == "stride") call.options.stride = value.get<int64_t>();
    if (key == "pad_to_multiple_of") call.options.pad_to_multiple_of = value.get<int64_t>();
    if (key == "padding_side") call.options.padding_side = value == "left" ? Side::left : Side::right;
    if (key == "return_overflowing_tokens") call.options.return_overflowing_tokens = value.get<bool>();
    if (key == "return_special_tokens_mask") call.special_mask = value.get<bool>();
    if (key == "return_token_type_ids") call.types = value.get<bool>();
    if (key == "return_length") call.length = value.get<bool>();
    if (key == "return_offsets_mapping") call.offsets = value.get<bool>();
    if (key == "return_tensors") call.tensors = !value.is_null();
    if (key == "is_split_into_words") split = value.get<bool>();
  }
  if (call.options.max_length && !explicit_truncation && call.options.padding == Padding::none) call.options.truncation = Truncation::longest_first;
  if (spec.contains("truncation_side")) call.options.truncation_side = spec.at("truncation_side") == "left" ? Side::left : Side::right;
  const Json none;
  read_inputs(spec.contains("text") ? spec.at("text") : none, spec.contains("text_pair") ? spec.at("text_pair") : none, split, call);
  return call;
}

// The dictionary that the reference returns.
Json answer_call(const Tokenizer& t, const Call& call) {
  if (call.offsets && !t.is_fast()) refuse("no offsets");
  if (call.types && !call.options.add_special_tokens && !t.is_fast()) refuse("types need special tokens");
  const BatchEncoding batch = t.encode_inputs(call.inputs, call.options);
  std::vector<const Encoding*> rows;
  for (const Encoding& encoding : batch.encodings) {
    rows.push_back(&encoding);
    if (call.options.return_overflowing_tokens && t.is_fast())
      for (const Encoding& more : encoding.overflowing) rows.push_back(&more);
  }
  Json out = Json::object();
  const bool whole = call.several || (call.options.return_overflowing_tokens && t.is_fast());
  const auto put = [&](const char* key, auto value_of) {
    Json list = Json::array();
    for (const Encoding* row : rows) list.push_back(value_of(*row));
    out[key] = whole || call.tensors ? list : list[0];
  };
  for (const auto& [name, values] : batch.columns) {
    if (name == "input_ids") put("input_ids", [](const Encoding& e) { return ids_json(e.ids); });
    if (name == "token_type_ids") put("token_type_ids", [](const Encoding& e) { return Json(e.type_ids); });
    if (name == "attention_mask") put("attention_mask", [](const Encoding& e) { return Json(e.attention_mask); });
  }
  if (call.types) put("token_type_ids", [](const Encoding& e) { return Json(e.type_ids); });
  if (call.special_mask) put("special_tokens_mask", [](const Encoding& e) { return Json(e.special_tokens_mask); });
  if (call.length) {
    Json lengths = Json::array();
    for (const Encoding* row : rows) lengths.push_back(row->size());
    out["length"] = t.is_fast() || whole ? lengths : lengths[0];
  }
  if (call.offsets) put("offset_mapping", [](const Encoding& e) {
      Json list = Json::array();
      for (const auto& [begin, end] : e.offsets) list.push_back({begin, end});
      return list;
    });
  if (call.options.return_overflowing_tokens) {
    if (t.is_fast()) {
      out["overflow_to_sample_mapping"] = batch.overflow_to_sample_mapping;
    } else {
      put("overflowing_tokens", [](const Encoding& e) { return ids_json(e.overflowing.at(0).ids); });
      put("num_truncated_tokens", [](const Encoding& e) { return Json(e.num_truncated_tokens); });
    }
  }
  if (!call.tensors) return out;
  Json arrays = Json::object();
  for (const auto& [key, value] : out.items()) {
    // Rows of several lengths make numpy's array of objects.
    const bool ragged = std::any_of(value.begin(), value.end(), [&](const Json& row) { return row.size() != value[0].size(); });
    arrays[key] = {{"shape", ragged ? Json::array({value.size()}) : Json::array({value.size(), value[0].size()})}, {"dtype", ragged ? "object" : "int64"}, {"values", value}};
  }
  return arrays;
}

Json answer(const Tokenizer& t, const Json& spec) {
  Json out = Json::object();
  const bool target = spec.contains("text_target");
  if (!target || (spec.contains("text") && !spec.at("text").is_null())) out = answer_call(t, read_call(spec));
  if (!target) return out;
  Json other = spec;
  other["text"] = spec.at("text_target");
  other.erase("text_pair");
  Call call = read_call(other);
  call.options.as_target = true;
  const Json encoded = answer_call(t, call);
  if (out.empty()) return encoded;
  out["labels"] = encoded.at("input_ids");
  return out;
}

Json api(const Tokenizer& t, const std::string& name) {
  const Ids a{7, 8, 9}, b{11, 12};
  if (name == "build_single") return ids_json(t.build_inputs_with_special_tokens(a));
  if (name == "build_pair") return ids_json(t.build_inputs_with_special_tokens(a, &b));
  if (name == "types_single") return t.create_token_type_ids_from_sequences(a);
  if (name == "types_pair") return t.create_token_type_ids_from_sequences(a, &b);
  if (name == "special_mask") return t.get_special_tokens_mask(a, &b);
  if (name == "special_mask_done") return t.special_tokens_mask_of(t.build_inputs_with_special_tokens(a, &b));
  if (name == "prepare") {
    const Encoding e = t.prepare_for_model(a, &b, {.truncation = Truncation::longest_first, .max_length = 6});
    Json out = {{"input_ids", ids_json(e.ids)}};
    for (const std::string& column : t.model_input_names()) {
      if (column == "token_type_ids") out[column] = e.type_ids;
      if (column == "attention_mask") out[column] = e.attention_mask;
    }
    return out;
  }
  if (name == "ids_to_tokens") {
    Json tokens = Json::array();
    for (int64_t id = 0; id < 40; id += 3) {
      const auto token = t.id_to_token(id);
      tokens.push_back(token ? Json(*token) : Json());
    }
    return tokens;
  }
  if (name == "tokens_to_ids") return ids_json(t.convert_tokens_to_ids({"Hello", "the", "zzz-not-there", t.unk_token().value_or("x")}));
  if (name == "batch_decode") return t.batch_decode({a, b}, {.skip_special_tokens = true});
  if (name == "pad") {
    const BatchEncoding batch = t.pad({{5, 6, 7}, {8}}, {.padding = Padding::longest});
    Json out = Json::object();
    for (const auto& [key, rows] : batch.columns) out[key] = rows;
    return out;
  }
  refuse("no such method");
}

WhisperPrefix whisper_prefix(const Json& kwargs) {
  WhisperPrefix prefix;
  const auto text_of = [&](const char* key) { return kwargs.contains(key) && kwargs.at(key).is_string() ? std::optional(kwargs.at(key).get<std::string>()) : std::nullopt; };
  prefix.language = text_of("language");
  prefix.task = text_of("task");
  prefix.predict_timestamps = kwargs.value("predict_timestamps", false);
  return prefix;
}

// What the class's calls of its own answer; nothing for a kind that is not judged here.
Json special_call(Tokenizer& t, const std::string& folder, const Json& spec) {
  const auto name = spec.at("name").get<std::string>();
  if (name == "src" || name == "src_and_target" || name == "target" || name == "text" || name == "protein") {
    Json call = spec;
    if (!call.contains("kwargs")) call["kwargs"] = Json::object();
    return answer(t, call);
  }
  if (name == "other_source" || name == "translation_inputs") {
    const std::string before = t.src_lang();
    t.set_src_lang(spec.at("src_lang").get<std::string>());
    Json out = answer(t, {{"text", spec.at("text")}, {"kwargs", Json::object()}});
    if (name == "other_source") t.set_src_lang(before);
    else out["forced_bos_token_id"] = t.language_id(spec.at("tgt_lang").get<std::string>());
    return out;
  }
  if (name == "prefix_tokens") {
    // A language that is not named stays as it was.
    static thread_local std::optional<std::string> last_language;
    WhisperPrefix prefix = whisper_prefix(spec.at("kwargs"));
    if (!prefix.language) prefix.language = last_language;
    last_language = prefix.language;
    set_whisper_prefix(t, prefix);
    return {{"prefix", ids_json(whisper_prefix_ids(t, prefix))}, {"ids", ids_json(t.encode(spec.at("text").get<std::string>()).ids)}};
  }
  if (name == "decoder_prompt_ids") {
    const WhisperPrefix prefix = whisper_prefix(spec.at("kwargs"));
    set_whisper_prefix(t, prefix);
    const Ids ids = whisper_prefix_ids(t, prefix);
    Json list = Json::array();
    for (size_t i = 1; i < ids.size(); ++i) list.push_back(Json::array({i, ids[i]}));
    return {{"ids", list}};
  }
  if (name == "prompt_ids") return {{"ids", ids_json(whisper_prompt_ids(t, spec.at("text").get<std::string>()))}};
  if (name == "normalize") {
    const auto text = spec.at("text").get<std::string>();
    return {{"english", normalize_english_text(text, read_whisper_spelling(folder))}, {"basic", normalize_text_basic(text)}, {"basic_no_diacritics", normalize_text_basic(text, true)}};
  }
  if (name == "timestamps") {
    const auto ids = spec.at("result").at("ids").get<Ids>();
    Json segments = Json::array();
    for (const WhisperSegment& segment : whisper_segments(t, ids)) segments.push_back({{"text", segment.text}, {"timestamp", {segment.begin, segment.end}}});
    return {{"ids", ids}, {"plain", t.decode(ids)}, {"with_timestamps", whisper_decode_with_timestamps(t, ids)}, {"offsets", {{"text", t.decode(ids)}, {"offsets", segments}}}};
  }
  const auto spans = [](const std::vector<CtcSpan>& list, const char* key) {
    Json out = Json::array();
    for (const CtcSpan& span : list) out.push_back({{key, span.text}, {"start_offset", span.begin}, {"end_offset", span.end}});
    return out;
  };
  if (name == "ctc_decode") {
    const auto ids = spec.at("ids").get<Ids>();
    const CtcText decoded = decode_ctc(t, ids);
    return {{"text", t.decode(ids)},
            {"no_group", decode_ctc(t, ids, false, false).text},
            {"special", t.decode(ids, {.skip_special_tokens = true})},
            {"offsets", {{"text", decoded.text}, {"char_offsets", spans(decoded.characters, "char")}, {"word_offsets", spans(decoded.words, "word")}}}};
  }
  if (name == "batch_decode") return {{"texts", t.batch_decode(spec.at("ids").get<std::vector<Ids>>())}};
  if (name == "phonemes") return answer(t, {{"text", spec.at("text")}, {"kwargs", Json::object()}});
  if (name == "decode" && spec.contains("ids") && t.tokenizer_class() == "Wav2Vec2PhonemeCTCTokenizer") {
    const auto ids = spec.at("ids").get<Ids>();
    const CtcText decoded = decode_ctc(t, ids);
    return {{"text", t.decode(ids)}, {"offsets", {{"text", decoded.text}, {"char_offsets", spans(decoded.characters, "char")}}}};
  }
  refuse(concat("the runner has no call '", name, "'"));
}

// The fast class's answers are kept where they differ from the slow ones'.
Json fast_answers(const Json& slow, const Json& fast) {
  if (slow.is_null()) return fast;
  Json out = slow;
  out["about"] = fast.at("about");
  if (fast.contains("texts_where_not_as_slow")) {
    for (size_t i = 0; i < out["texts"].size(); ++i) {
      for (const auto& [key, value] : fast.at("texts_where_not_as_slow").at(i).items()) {
        if (key != "absent") out["texts"][i][key] = value;
        else for (const Json& gone : value) out["texts"][i].erase(gone.get<std::string>());
      }
    }
  }
  for (const auto& [from, to] : {std::pair("calls_where_not_as_slow", "calls"), std::pair("api_where_not_as_slow", "api")})
    if (fast.contains(from))
      for (const auto& [key, value] : fast.at(from).items()) out[to][key] = value;
  if (fast.contains("special_where_not_as_slow"))
    for (const Json& entry : fast.at("special_where_not_as_slow"))
      for (Json& old : out["special"]) {
        Json a = entry, b = old;
        a.erase("result");
        b.erase("result");
        if (a == b) old = entry;
      }
  if (fast.contains("added_not_as_slow")) out["added"] = fast.at("added_not_as_slow");
  return out;
}

void judge_answers(const std::string& folder, const std::string& class_name, const Json& expected, const Json& calls, Judge& judge) {
  std::shared_ptr<Tokenizer> tokenizer;
  const auto load = [&] { return Tokenizer::from_folder(folder, {.tokenizer_class = class_name}); };
  judge.check_call(class_name, true, [&] {
    tokenizer = load();
    return Json(true);
  });
  if (!tokenizer) return;
  const Tokenizer& t = *tokenizer;
  const auto where = [&](const auto&... parts) { return concat(class_name, " ", parts...); };
  const Json found = about(t, expected.at("about"));
  for (const auto& [key, value] : expected.at("about").items()) judge.check_call(where("about.", key), value, [&] { return found.at(key); });
  if (expected.contains("texts"))
    for (const Json& row : expected.at("texts")) {
      const auto text = row.at("text").get<std::string>();
      const Json mine = attempt([&] { return text_row(t, text); });
      if (row.contains("error") || row.contains("value") || mine.contains("error")) {
        judge.check(where("'", text.substr(0, 60), "'"), row.contains("error"), mine.contains("error") ? mine : Json(false));
        continue;
      }
      for (const auto* side : {&row, &mine})
        for (const auto& [key, value] : side->items())
          if (side == &row || !row.contains(key))
            judge.check_call(where("'", text.substr(0, 60), "'.", key), row.contains(key) ? row.at(key) : Json(), [&] { return mine.contains(key) ? mine.at(key) : Json(); });
    }
  if (expected.contains("calls"))
    for (const Json& spec : calls.at("calls")) {
      const auto name = spec.at("name").get<std::string>();
      if (expected.at("calls").contains(name)) judge.check_call(where("call ", name), expected.at("calls").at(name), [&] { return answer(t, spec); });
    }
  for (const auto& [name, value] : expected.at("api").items())
    if (name != "truncate_sequences") judge.check_call(where("api.", name), value, [&] { return api(t, name); });
  for (const Json& entry : expected.at("special"))
    judge.check_call(where("special ", entry.at("name").get<std::string>()), entry.at("result"), [&] { return special_call(*tokenizer, folder, entry); });
  if (!expected.contains("added")) return;
  const Json& added = expected.at("added");
  const auto fresh = load();
  judge.check_call(where("added"), added.contains("error") ? added : Json::array({added.at("add_tokens"), added.at("add_special"), added.at("len")}), [&] {
    const int64_t plain = fresh->add_tokens({{.content = "newword"}, {.content = "Zed", .single_word = true}, {.content = " lead", .lstrip = true, .normalized = false}});
    std::vector<AddedToken> special;
    const auto additional = fresh->additional_special_tokens();
    if (additional.empty()) {
      special = {{.content = "<extra>", .normalized = false}, {.content = "<e2>", .normalized = false}};
    } else {
      for (size_t i = 0; i < std::min<size_t>(3, additional.size()); ++i) special.push_back({.content = additional[i], .normalized = false});
      special.push_back({.content = "<extra>", .normalized = false});
    }
    return Json::array({plain, fresh->set_additional_special_tokens(special), fresh->vocab_size(true)});
  });
  if (added.contains("texts"))
    for (const Json& row : added.at("texts")) {
      const auto text = row.at("text").get<std::string>();
      judge.check_call(where("added '", text, "'.tokens"), row.at("tokens"), [&] { return Json(fresh->tokenize(text)); });
      judge.check_call(where("added '", text, "'.ids"), row.at("ids"), [&] { return ids_json(fresh->encode(text).ids); });
      judge.check_call(where("added '", text, "'.decoded_skip"), row.at("decoded_skip"), [&] { return Json(fresh->decode(fresh->encode(text).ids, {.skip_special_tokens = true})); });
    }
}

// The folder of a real tokenizer: links to the files of the cache, and a tokenizer_config.json where there is none.
std::string real_folder(const Json& fixture, const std::string& name, const std::string& cache, std::string& missing) {
  const fs::path folder = fs::temp_directory_path() / concat("backplane-golden-", std::to_string(::getpid()), "-", name);
  fs::remove_all(folder);
  fs::create_directories(folder);
  for (const auto& [file, source] : fixture.at("files").items()) {
    const fs::path from = fs::absolute(cache) / source.at("cache").get<std::string>();
    if (!fs::exists(from)) missing = source.at("cache").get<std::string>();
    else fs::create_symlink(from, folder / file);
  }
  if (!fs::exists(folder / "tokenizer_config.json")) {
    Json config = fixture.at("config");
    config["tokenizer_class"] = fixture.at("slow_class").is_null() ? fixture.at("fast_class") : fixture.at("slow_class");
    write_file((folder / "tokenizer_config.json").string(), config.dump());
  }
  return folder.string();
}

}  // namespace

bool is_tokenizer_class_fixture(const fs::path& file) {
  const std::string parent = file.parent_path().filename().string(), above = file.parent_path().parent_path().filename().string();
  return (above == "classes" && file.filename() == "cases.json") || (parent == "real_classes" && file.extension() == ".json" && !file.filename().string().starts_with("gguf_"));
}

GoldenResult run_tokenizer_class_fixture(const fs::path& file, const GoldenOptions& options) {
  const bool real = file.filename() != "cases.json";
  GoldenResult result;
  result.kind = real ? "tokenizers/real_classes" : "tokenizers/classes";
  result.name = real ? file.stem().string() : file.parent_path().filename().string();
  Judge judge(result);
  std::string temporary;
  try {
    const JsonLimits limits{.bytes = limits::kTokenizerBytes, .depth = 100};
    const Json fixture = read_json_file(file.string(), ErrorCode::bad_config, limits);
    const fs::path root = real ? file.parent_path().parent_path() : file.parent_path().parent_path().parent_path();
    const Json calls = read_json_file((root / "calls.json").string(), ErrorCode::bad_config, limits);
    std::string folder = file.parent_path().string();
    if (real) {
      std::string missing = options.cache.empty() ? "cache" : "";
      if (missing.empty()) folder = temporary = real_folder(fixture, result.name, options.cache, missing);
      if (!missing.empty()) {
        result.passed = true;
        result.reason = concat("skipped: no ", missing, " in the cache");
        if (!temporary.empty()) fs::remove_all(temporary);
        return result;
      }
    } else if (const char* fixtures = std::getenv("BACKPLANE_FIXTURES"); fixtures && !file_exists(folder + "/tokenizer_config.json") && !folder_exists(folder + "/question_encoder_tokenizer")) {
      // A second set of fixtures has the cases only; its vocabularies are those of the first.
      folder = concat(fixtures, "/preprocessing/tokenizers/classes/", result.name);
    }
    const Json slow = fixture.contains("slow") ? fixture.at("slow") : Json();
    if (!slow.is_null()) judge_answers(folder, fixture.at("slow_class").get<std::string>(), slow, calls, judge);
    if (fixture.contains("fast") && !fixture.at("fast").is_null()) judge_answers(folder, fixture.at("fast_class").get<std::string>(), fast_answers(slow, fixture.at("fast")), calls, judge);
    if (fixture.contains("fast_load"))
      judge.check_call(fixture.at("fast_class").get<std::string>(), fixture.at("fast_load"), [&] {
        Tokenizer::from_folder(folder, {.tokenizer_class = fixture.at("fast_class").get<std::string>()});
        return Json(true);
      });
  } catch (const std::exception& error) {
    ++result.failed_cases;
    if (result.reason.empty()) result.reason = error.what();
  }
  if (!temporary.empty()) fs::remove_all(temporary);
  result.passed = result.failed_cases == 0;
  return result;
}

}  // namespace backplane::golden
