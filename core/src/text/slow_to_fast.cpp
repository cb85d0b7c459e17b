// tokenizer.json of fast classes from the files of the Python classes, as transformers' convert_slow_tokenizer makes it.
#include <algorithm>
#include <cmath>

#include "backplane/base/files.h"
#include "backplane/base/limits.h"
#include "text/json_fields.h"
#include "text/language_codes.h"
#include "text/python_text.h"
#include "text/tokenizer_classes.h"
#include "text/unicode.h"

namespace backplane::text {
namespace {

using Scored = std::vector<std::pair<std::string, double>>;

Json sequence(const char* key, Json list) { return {{"type", "Sequence"}, {key, std::move(list)}}; }
Json replace_text(const char* from, const char* to) { return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}}; }
Json replace_regex(const char* from, const char* to) { return {{"type", "Replace"}, {"pattern", {{"Regex", from}}}, {"content", to}}; }
Json byte_level(bool prefix, bool trim = true, bool regex = true) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", prefix}, {"trim_offsets", trim}, {"use_regex", regex}};
}

std::string encode_base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) bits = bits << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) out += i + k <= bytes.size() ? kDigits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

Json vocabulary_of(const TokenTable& table) {
  Json vocab = Json::object();
  for (const auto& [id, token] : table.tokens()) vocab[token] = id;
  return vocab;
}
Json vocabulary_of(const std::vector<std::pair<std::string, int64_t>>& tokens) {
  Json vocab = Json::object();
  auto& entries = static_cast<std::vector<std::pair<const std::string, Json>>&>(vocab.get_ref<Json::object_t&>());
  for (const auto& [token, id] : tokens) entries.emplace_back(token, id);
  return vocab;
}

// Every way to put a piece together from two others; better pieces first.
Json merges_of(const std::unordered_map<std::string, int64_t>& vocab, const Scored& scored) {
  struct Merge {
    double score;
    size_t left_length, right_length;
    int64_t left_id, right_id;
    std::string left, right;
  };
  constexpr size_t kLongestPiece = 1024;
  std::vector<Merge> merges;
  std::unordered_map<std::string, double> scores;
  for (const auto& [piece, score] : scored) scores[piece] = score;
  std::unordered_map<std::string, bool> seen;
  for (const auto& entry : scored) {
    const std::string& piece = entry.first;
    if (!seen.try_emplace(piece, true).second || piece.size() > kLongestPiece) continue;
    const size_t begin = merges.size(), length = count_code_points(piece);
    size_t characters = 0;
    for (size_t cut = 1; cut < piece.size(); ++cut) {
      if (is_continuation(piece[cut])) continue;
      ++characters;
      const auto left = vocab.find(piece.substr(0, cut));
      if (left == vocab.end()) continue;
      const auto right = vocab.find(piece.substr(cut));
      if (right == vocab.end()) continue;
      merges.push_back({scores[piece], characters, length - characters, left->second, right->second, left->first, right->first});
    }
    std::stable_sort(merges.begin() + static_cast<ptrdiff_t>(begin), merges.end(),
                     [](const Merge& a, const Merge& b) { return std::pair(a.left_id, a.right_id) < std::pair(b.left_id, b.right_id); });
  }
  std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    return std::tuple(a.score, a.left_length, a.right_length) > std::tuple(b.score, b.left_length, b.right_length);
  });
  Json list = Json::array();
  for (const Merge& merge : merges) list.push_back(Json::array({merge.left, merge.right}));
  return list;
}

class Converter {
 public:
  Converter(const TokenizerClass& row, const TokenizerArguments& arguments)
      : row_(row), arguments_(arguments), slow_(make_slow(concat(row.stem, "Tokenizer"), arguments)), options_(row, arguments, state_) {}

  std::string convert() {
    for (const char* key : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) out_[key] = nullptr;
    const std::string_view file = row_.file;
    if (file == "vocab.txt") word_piece();
    else if (file == "vocab.json") byte_pairs();
    else sentence_piece();
    Json whole = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}, {"added_tokens", added_}};
    for (const auto& [key, value] : out_.items()) whole[key] = value;
    return whole.dump();
  }

 private:
  std::string special(const char* name) const {
    const std::string* token = slow_->special(name);
    return token ? *token : "";
  }
  Json layout(const std::string& single, const std::string& pair) const { return template_of({single, pair}, *slow_); }
  Json pair_of(const char* name) const { return Json::array({special(name), slow_->token_id(special(name))}); }
  bool flag(const char* key, bool absent) const { return options_.flag(key, absent); }
  bool is(std::initializer_list<std::string_view> stems) const { return std::find(stems.begin(), stems.end(), row_.stem) != stems.end(); }

  void word_piece() {
    const TokenTable table = read_vocab_txt(options_.path(row_.file));
    const bool basic = flag("do_basic_tokenize", true);
    const Json strip = options_.has("strip_accents") ? arguments_.config.at("strip_accents") : Json();
    out_["normalizer"] = {{"type", "BertNormalizer"},
                          {"clean_text", true},
                          {"handle_chinese_chars", basic && flag("tokenize_chinese_chars", true)},
                          {"strip_accents", basic ? strip : Json(false)},
                          {"lowercase", basic ? flag("do_lower_case", true) : row_.stem == "LayoutLMv2"}};
    out_["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
    out_["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
    if (row_.stem == "Funnel") {
      out_["post_processor"] = layout("cls:2 A sep", "cls:2 A sep B:1 sep:1");
    } else if (row_.stem == "MPNet") {
      out_["post_processor"] = layout("cls A sep", "cls A sep sep B:1 sep:1");
    } else if (row_.stem == "Splinter") {
      const std::string question = "=" + options_.text("question_token", "[QUESTION]");
      out_["post_processor"] = slow_->padding_side == Side::right ? layout("cls A sep", concat("cls A ", question, " =. sep B:1 sep:1"))
                                                                 : layout("cls A sep", concat("cls A sep B:1 ", question, " =. sep:1"));
    } else {
      out_["post_processor"] = layout("cls A sep", "cls A sep B:1 sep:1");
    }
    out_["model"] = {{"type", "WordPiece"}, {"unk_token", special("unk")}, {"continuing_subword_prefix", "##"}, {"max_input_chars_per_word", 100}, {"vocab", vocabulary_of(table)}};
  }

  void byte_pairs() {
    const TokenTable table = read_vocab_json(options_.path("vocab.json"));
    const size_t skip_last = is({"CLIP", "Qwen2"}) ? 0 : 1;
    Json merges = Json::array();
    const Merges read = read_merges_file(options_.path("merges.txt"), 1, skip_last);
    for (const auto& [left, right] : read.pairs())
      if (left.find("#version:") == std::string::npos) merges.push_back(Json::array({left, right}));
    const bool suffix = is({"CLIP", "OpenAIGPT", "Herbert"});
    Json unknown = is({"CLIP", "OpenAIGPT", "Herbert", "MarkupLM"}) ? Json(special("unk")) : Json();
    const Json prefix = is({"OpenAIGPT", "Herbert"}) ? Json() : Json("");
    out_["model"] = {{"type", "BPE"},       {"dropout", nullptr},     {"unk_token", unknown},
                     {"continuing_subword_prefix", prefix}, {"end_of_word_suffix", suffix ? "</w>" : ""}, {"fuse_unk", false},
                     {"byte_fallback", false}, {"ignore_merges", false}, {"vocab", vocabulary_of(table)}, {"merges", std::move(merges)}};
    const bool blank = flag("add_prefix_space", row_.stem == "LayoutLMv3");
    if (is({"OpenAIGPT", "Herbert"})) {
      const bool gpt = row_.stem == "OpenAIGPT";
      out_["normalizer"] = {{"type", "BertNormalizer"}, {"clean_text", true}, {"handle_chinese_chars", true}, {"strip_accents", gpt ? Json() : Json(false)}, {"lowercase", gpt}};
      out_["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
      out_["decoder"] = {{"type", "BPEDecoder"}, {"suffix", "</w>"}};
      if (gpt) {
        if (table.contains(special("unk"))) added_.push_back(added_token(table.id(special("unk")), special("unk"), true));
      } else {
        out_["post_processor"] = {{"type", "BertProcessing"}, {"sep", pair_of("sep")}, {"cls", pair_of("cls")}};
      }
      return;
    }
    out_["decoder"] = byte_level(true);
    out_["pre_tokenizer"] = byte_level(blank);
    if (row_.stem == "CLIP") {
      out_["normalizer"] = sequence("normalizers", Json::array({{{"type", "NFC"}}, replace_regex("\\s+", " "), {{"type", "Lowercase"}}}));
      const Json split = {{"type", "Split"}, {"pattern", {{"Regex", "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"}}}, {"behavior", "Removed"}, {"invert", true}};
      out_["pre_tokenizer"] = sequence("pretokenizers", Json::array({split, byte_level(false)}));
      out_["post_processor"] = {{"type", "RobertaProcessing"}, {"sep", pair_of("eos")}, {"cls", pair_of("bos")}, {"trim_offsets", false}, {"add_prefix_space", false}};
    } else if (row_.stem == "Qwen2") {
      out_["normalizer"] = {{"type", "NFC"}};
      const Json split = {{"type", "Split"},
                          {"pattern", {{"Regex", R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}}},
                          {"behavior", "Isolated"},
                          {"invert", false}};
      out_["pre_tokenizer"] = sequence("pretokenizers", Json::array({split, byte_level(blank, true, false)}));
      out_["post_processor"] = byte_level(true, false);
    } else if (row_.stem == "Deberta") {
      out_["post_processor"] = layout("=[CLS] A =[SEP]", "=[CLS] A =[SEP] B:1 =[SEP]:1");
    } else if (row_.stem == "Blenderbot") {
      out_["post_processor"] = layout("A eos", "A B:1");
    } else if (row_.stem == "Whisper") {
      out_["post_processor"] = layout(slow_->layout.single, slow_->layout.pair);
    } else if (row_.stem == "MarkupLM") {
      out_["post_processor"] = layout("cls A sep", "cls A sep B sep");
    } else if (is({"GPT2", "CodeGen"})) {
      if (flag("add_bos_token", false)) out_["post_processor"] = layout("bos A", "bos A B:1");
      else out_["post_processor"] = byte_level(true, false);
    } else {
      out_["post_processor"] = {{"type", "RobertaProcessing"}, {"sep", pair_of("sep")}, {"cls", pair_of("cls")}, {"trim_offsets", true}, {"add_prefix_space", blank}};
    }
  }

  static Json added_token(int64_t id, const std::string& content, bool special) {
    return {{"id", id}, {"content", content}, {"single_word", false}, {"lstrip", false}, {"rstrip", false}, {"normalized", false}, {"special", special}};
  }

  Scored pieces_of(const SentencePiece& model) const {
    const auto& pieces = model.pieces();
    Scored scored;
    const auto rest = [&](size_t skip) {
      for (size_t i = skip; i < pieces.size(); ++i) scored.emplace_back(pieces[i].text, pieces[i].score);
    };
    if (is({"Albert", "XLNet"})) {
      for (const auto& piece : pieces) {
        uint32_t length;
        const std::string& text = piece.text;
        const bool comma = text.size() > 1 && text.back() == ',' && py::is_digit(decode_before(text.data() + text.size() - 1, length));
        scored.emplace_back(text, comma ? static_cast<double>(piece.score) - 100 : piece.score);
      }
    } else if (row_.stem == "Camembert") {
      scored = {{"<s>NOTUSED", 0}, {"<pad>", 0}, {"</s>NOTUSED", 0}, {"<unk>", 0}, {"<unk>NOTUSED", -100}};
      rest(1);
      scored.emplace_back("<mask>", 0);
    } else if (is({"MBart", "MBart50", "Nllb", "XLMRoberta", "LayoutXLM", "XGLM"})) {
      scored = {{"<s>", 0}, {"<pad>", 0}, {"</s>", 0}, {"<unk>", 0}};
      rest(3);
      if (is({"MBart", "MBart50"}))
        for (const std::string& code : split(row_.stem == "MBart" ? kMbartLanguages : kMbart50Languages, ' ')) scored.emplace_back(code, 0);
      if (row_.stem == "XGLM")
        for (int i = 0; i < 7; ++i) scored.emplace_back(concat("<madeupword", i, ">"), 0);
      else if (row_.stem != "Nllb") scored.emplace_back("<mask>", 0);
    } else if (row_.stem == "SeamlessM4T") {
      scored = {{"<pad>", 0}, {"<unk>", 0}, {"<s>", 0}, {"</s>", 0}};
      rest(3);
    } else if (row_.stem == "Pegasus") {
      const int64_t offset = options_.number("offset", 103);
      scored = {{special("pad"), 0}, {special("eos"), 0}};
      if (!arguments_.config.contains("mask_token_sent") || options_.has("mask_token_sent")) scored.emplace_back(options_.text("mask_token_sent", "<mask_1>"), 0);
      if (!special("mask").empty() && slow_->token_id(special("mask")) < offset) scored.emplace_back(special("mask"), 0);
      for (int64_t i = 2; i < offset; ++i) scored.emplace_back(concat("<unk_", i, ">"), -100);
      rest(2);
    } else if (is({"Llama", "CodeLlama"})) {
      for (int64_t id = 0; id < 3; ++id) scored.emplace_back(slow_->id_to_token(id).value_or(""), 0);
      rest(3);
    } else if (row_.stem == "Gemma") {
      scored = {{special("pad"), 0}, {special("eos"), 0}, {special("bos"), 0}};
      rest(3);
      const auto named = [&](const char* text) { return std::find_if(scored.begin(), scored.end(), [&](const auto& entry) { return entry.first == text; }); };
      if (const auto byte = named("<0x09>"); named("\t") == scored.end() && byte != scored.end()) *byte = {"\t", 0};
    } else {
      rest(0);
      if (is({"T5", "MT5"}))
        for (int64_t i = options_.number("extra_ids", 100); i-- > 0;) scored.emplace_back(concat("<extra_id_", i, ">"), 0);
    }
    return scored;
  }

  int64_t unknown_id(const SentencePiece& model) const {
    if (is({"Barthez", "Camembert", "MBart", "MBart50", "Nllb", "XLMRoberta", "LayoutXLM", "XGLM", "Gemma"})) return 3;
    if (is({"Llama", "CodeLlama"})) return 0;
    if (row_.stem == "SeamlessM4T") return slow_->token_id(special("unk"));
    return model.trained_unknown_id() + (row_.stem == "Pegasus" ? options_.number("offset", 103) : 0);
  }

  void sentence_piece() {
    const SentencePiece model = SentencePiece::from_file(options_.path(row_.file));
    const Scored scored = pieces_of(model);
    const bool bytes = is({"Llama", "CodeLlama", "Gemma"});
    if (model.algorithm() == SentencePiece::Algorithm::unigram) {
      Json vocab = Json::array();
      for (const auto& [piece, score] : scored) vocab.push_back(Json::array({piece, score}));
      out_["model"] = {{"type", "Unigram"}, {"unk_id", unknown_id(model)}, {"vocab", std::move(vocab)}, {"byte_fallback", bytes}};
    } else if (model.algorithm() == SentencePiece::Algorithm::bpe) {
      std::unordered_map<std::string, int64_t> ids;
      for (size_t i = 0; i < model.size(); ++i) ids[model.piece(i).text] = static_cast<int64_t>(i);
      if (row_.stem == "Gemma" && !ids.contains("\t") && ids.contains("<0x09>")) ids["\t"] = ids["<0x09>"];
      std::unordered_map<std::string, size_t> last;
      std::vector<std::pair<std::string, int64_t>> vocab;
      for (size_t i = 0; i < scored.size(); ++i) {
        const auto [entry, fresh] = last.try_emplace(scored[i].first, vocab.size());
        if (fresh) vocab.emplace_back(scored[i].first, i);
        else vocab[entry->second].second = static_cast<int64_t>(i);
      }
      out_["model"] = {{"type", "BPE"},       {"dropout", nullptr},   {"unk_token", model.trained_unknown_piece()},
                       {"continuing_subword_prefix", nullptr}, {"end_of_word_suffix", nullptr}, {"fuse_unk", true},
                       {"byte_fallback", bytes}, {"ignore_merges", false}, {"vocab", vocabulary_of(vocab)}, {"merges", merges_of(ids, scored)}};
    } else {
      bad(concat("'", options_.path(row_.file), "'"), "a word or character model has no fast tokenizer; ask for the slow class");
    }
    // Control pieces are special tokens, user-defined ones plain added tokens; their ids follow from the vocabulary.
    for (size_t i = 0; i < model.size(); ++i) {
      const auto& piece = model.piece(i);
      const bool control = piece.type == SentencePiece::PieceType::control, user = piece.type == SentencePiece::PieceType::user_defined;
      if (!control && !user) continue;
      const auto at = std::find_if(scored.begin(), scored.end(), [&](const auto& entry) { return entry.first == piece.text; });
      const bool turn = row_.stem == "Gemma" && (piece.text == "<start_of_turn>" || piece.text == "<end_of_turn>");
      added_.push_back(added_token(at == scored.end() ? static_cast<int64_t>(scored.size()) : at - scored.begin(), piece.text, control || turn));
    }
    const std::string& charsmap = model.normalization().charsmap;
    const Json precompiled = charsmap.empty() ? Json() : Json{{"type", "Precompiled"}, {"precompiled_charsmap", encode_base64(charsmap)}};
    normalize(precompiled);

    const bool add_prefix = flag("add_prefix_space", true), legacy = flag("legacy", !is({"SeamlessM4T"}));
    const bool has_legacy = is({"T5", "MT5", "Llama", "CodeLlama", "SeamlessM4T"});
    const char* scheme = !add_prefix ? "never" : has_legacy && !legacy ? "first" : "always";
    const auto metaspace = [&](bool split) { return Json{{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}, {"split", split}}; };
    out_["pre_tokenizer"] = metaspace(true);
    out_["decoder"] = metaspace(true);
    if (row_.stem == "Pegasus") out_["pre_tokenizer"] = sequence("pretokenizers", Json::array({{{"type", "WhitespaceSplit"}}, metaspace(true)}));
    if (row_.stem == "DebertaV2") {
      Json parts = Json::array();
      if (flag("split_by_punct", false)) parts.push_back({{"type", "Punctuation"}, {"behavior", "Isolated"}});
      parts.push_back(metaspace(true));
      out_["pre_tokenizer"] = sequence("pretokenizers", std::move(parts));
    }
    if (bytes) {
      Json decoders = Json::array({replace_text("▁", " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
      if (row_.stem == "Gemma") {
        out_["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"String", " "}}}, {"behavior", "MergedWithPrevious"}, {"invert", false}};
      } else {
        out_["pre_tokenizer"] = legacy ? Json() : metaspace(false);
        if (add_prefix) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
      }
      out_["decoder"] = sequence("decoders", std::move(decoders));
    }
    post_process();
  }

  void normalize(const Json& precompiled) {
    Json list = Json::array();
    const auto add_precompiled = [&] {
      if (!precompiled.is_null()) list.push_back(precompiled);
    };
    const auto accents = [&] {
      if (!flag("keep_accents", is({"FNet", "RemBert"}))) {
        list.push_back({{"type", "NFKD"}});
        list.push_back({{"type", "StripAccents"}});
      }
      if (flag("do_lower_case", row_.stem == "Albert")) list.push_back({{"type", "Lowercase"}});
    };
    if (is({"Albert", "XLNet", "FNet", "RemBert"})) {
      list.push_back(replace_text("``", "\""));
      list.push_back(replace_text("''", "\""));
      if (row_.stem == "RemBert") list.push_back(replace_regex(" {2,}", " "));
      accents();
      add_precompiled();
      if (row_.stem != "RemBert") list.push_back(replace_regex(" {2,}", " "));
    } else if (row_.stem == "DebertaV2") {
      if (flag("do_lower_case", false)) list.push_back({{"type", "Lowercase"}});
      list.push_back({{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}});
      add_precompiled();
      list.push_back(replace_regex(" {2,}", " "));
    } else if (row_.stem == "Gemma") {
      out_["normalizer"] = replace_text(" ", "▁");
      return;
    } else if (is({"Llama", "CodeLlama"})) {
      if (!flag("legacy", true)) return;
      if (flag("add_prefix_space", true)) list.push_back({{"type", "Prepend"}, {"prepend", "▁"}});
      list.push_back(replace_text(" ", "▁"));
    } else {
      add_precompiled();
      list.push_back({{"type", "Strip"}, {"strip_left", false}, {"strip_right", true}});
      list.push_back(replace_regex(" {2,}", "▁"));
    }
    out_["normalizer"] = sequence("normalizers", std::move(list));
  }

  void post_process() {
    if (is({"Albert", "DebertaV2", "RemBert", "BigBird", "FNet"})) out_["post_processor"] = layout("=[CLS] A =[SEP]", "=[CLS] A =[SEP] B:1 =[SEP]:1");
    if (is({"Barthez", "Camembert", "XLMRoberta", "LayoutXLM"})) out_["post_processor"] = layout("=<s> A =</s>", "=<s> A =</s> =</s> B =</s>");
    if (row_.stem == "XLNet") out_["post_processor"] = layout("A =<sep> =<cls>:2", "A =<sep> B:1 =<sep>:1 =<cls>:2");
    if (row_.stem == "Pegasus") out_["post_processor"] = layout("A eos", "A B eos");
    if (is({"T5", "MT5", "Udop"})) out_["post_processor"] = layout("A =</s>", "A =</s> B =</s>");
    if (row_.stem == "XGLM") out_["post_processor"] = layout("=</s> A", "=</s> A =</s> =</s> B");
  }

  const TokenizerClass& row_;
  const TokenizerArguments& arguments_;
  std::unique_ptr<Tokenizer::Impl> slow_;
  TokenizerState state_;
  ClassBuilder options_;
  Json out_ = Json::object(), added_ = Json::array();
};

}  // namespace

std::optional<std::string> convert_to_fast(const TokenizerClass& row, const std::string&, const TokenizerArguments& arguments, bool whole) {
  TokenizerState state;
  const ClassBuilder options(row, arguments, state);
  if (!options.exists(row.file)) return std::nullopt;
  // These are converted again where this is asked for.
  const bool insists = (row.stem == "Llama" || row.stem == "T5") && options.has("add_prefix_space");
  if (whole && !insists) return std::nullopt;
  return Converter(row, arguments).convert();
}

}  // namespace backplane::text
