#include "backplane/text/gguf_tokenizer.h"

#include <algorithm>
#include <unordered_map>

#include "backplane/base/error.h"
#include "backplane/base/json.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

enum class TokenType { normal = 1, unknown, control, user_defined, unused, byte };

// How byte-level vocabularies cut their text, by the name that converters give it: llama.cpp, src/llama-vocab.cpp.
enum class Cut { gpt2, digits_gpt2, split };
struct PreTokenizer {
  std::string_view name;
  Cut cut;
  std::string_view pattern;
  bool nfc = false;
  bool ignore_merges = false;
};

constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kO200k =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
                                     R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
                                     R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr PreTokenizer kPreTokenizers[] = {
    {"", Cut::gpt2, ""},
    {"default", Cut::gpt2, ""},
    {"gpt-2", Cut::gpt2, ""},
    {"phi-2", Cut::gpt2, ""},
    {"mpt", Cut::gpt2, ""},
    {"olmo", Cut::gpt2, ""},
    {"jais", Cut::gpt2, ""},
    {"roberta-bpe", Cut::gpt2, ""},
    {"trillion", Cut::gpt2, ""},
    {"exaone4", Cut::gpt2, ""},
    {"granite-docling", Cut::gpt2, ""},
    {"smollm", Cut::digits_gpt2, ""},
    {"starcoder", Cut::digits_gpt2, ""},
    {"refact", Cut::digits_gpt2, ""},
    {"command-r", Cut::digits_gpt2, ""},
    {"codeshell", Cut::digits_gpt2, ""},
    {"exaone", Cut::digits_gpt2, ""},
    {"minerva-7b", Cut::digits_gpt2, ""},
    {"llama3", Cut::split, kLlama3, false, true},
    {"llama-v3", Cut::split, kLlama3, false, true},
    {"llama-bpe", Cut::split, kLlama3, false, true},
    {"falcon3", Cut::split, kLlama3, false, true},
    {"dbrx", Cut::split, kLlama3},
    {"smaug-bpe", Cut::split, kLlama3},
    {"chatglm-bpe", Cut::split, kLlama3},
    {"glm4", Cut::split, kLlama3},
    {"qwen2", Cut::split, kQwen2, true},
    {"deepseek-r1-qwen", Cut::split, kQwen2, true},
    {"stablelm2", Cut::split, kQwen2},
    {"hunyuan", Cut::split, kQwen2},
    {"megrez", Cut::split, kQwen2},
    {"gpt-4o", Cut::split, kO200k},
    {"llama4", Cut::split, kO200k},
    {"tekken", Cut::split, kTekken, false, true},
};

class Converter {
 public:
  Converter(const GgufTokenizer& gguf, const std::string& file) : gguf_(gguf), file_(file) {}

  GgufTokenizerFiles convert() {
    Json tokenizer = {{"version", "1.0"},          {"truncation", nullptr},
                      {"padding", nullptr},        {"added_tokens", added_tokens()},
                      {"normalizer", nullptr},     {"pre_tokenizer", nullptr},
                      {"post_processor", nullptr}, {"decoder", nullptr},
                      {"model", nullptr}};
    if (gguf_.model == "gpt2") {
      byte_level(tokenizer);
    } else if (gguf_.model == "llama") {
      sentencepiece(tokenizer);
    } else if (gguf_.model == "bert") {
      wordpiece(tokenizer);
    } else {
      throw Error(ErrorCode::bad_tokenizer,
                  concat("'", file_, "': tokenizer.ggml.model is '", gguf_.model, "'; expected gpt2, llama or bert"));
    }
    return {tokenizer.dump(), config().dump()};
  }

 private:
  TokenType type(size_t id) const {
    return gguf_.types.empty() ? TokenType::normal : static_cast<TokenType>(gguf_.types[id]);
  }
  const std::string& token(int64_t id) const { return gguf_.tokens[static_cast<size_t>(id)]; }

  Json added_tokens() const {
    Json added = Json::array();
    const auto add = [&](size_t id, bool special) {
      added.push_back({{"id", id},
                       {"content", gguf_.tokens[id]},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", special}});
    };
    for (size_t id = 0; id < gguf_.tokens.size(); ++id) {
      const bool is_special = type(id) == TokenType::control || type(id) == TokenType::unknown;
      const bool is_named =
          gguf_.types.empty() && (gguf_.bos == static_cast<int64_t>(id) || gguf_.eos == static_cast<int64_t>(id) ||
                                  gguf_.unknown == static_cast<int64_t>(id));
      if (is_special || is_named) add(id, true);
      if (type(id) == TokenType::user_defined) add(id, false);
    }
    return added;
  }

  // Token -> id, in the order of ids. A token twice: the first id, as a byte-pair vocabulary can hold only one.
  template <class Spell>
  Json vocabulary(Spell spell) {
    Json vocab = Json::object();
    auto& entries = static_cast<std::vector<std::pair<const std::string, Json>>&>(vocab.get_ref<Json::object_t&>());
    entries.reserve(gguf_.tokens.size());
    for (size_t id = 0; id < gguf_.tokens.size(); ++id) {
      std::string content = spell(id);
      if (ids_.try_emplace(content, id).second) entries.emplace_back(std::move(content), id);
    }
    return vocab;
  }
  Json vocabulary() {
    return vocabulary([&](size_t id) { return gguf_.tokens[id]; });
  }

  Json merges() const {
    Json merges = Json::array();
    for (const auto& merge : gguf_.merges) {
      // A piece may begin with a blank only where the file is wrong; the first blank after it divides.
      const size_t blank = merge.find(' ', 1);
      if (blank == std::string::npos)
        throw Error(ErrorCode::bad_tokenizer, concat("'", file_, "': the merge '", merge, "' has no two parts"));
      merges.push_back(Json::array({merge.substr(0, blank), merge.substr(blank + 1)}));
    }
    return merges;
  }

  Json bpe(Json vocab, Json merges) const {
    return {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", std::move(vocab)},
            {"merges", std::move(merges)}};
  }

  static Json byte_level_part(bool use_regex) {
    return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
  }

  void byte_level(Json& tokenizer) {
    const auto* pre = std::find_if(std::begin(kPreTokenizers), std::end(kPreTokenizers),
                                   [&](const auto& entry) { return entry.name == gguf_.pre; });
    if (pre == std::end(kPreTokenizers)) {
      std::vector<std::string> known;
      for (const auto& entry : kPreTokenizers) known.emplace_back(entry.name);
      const auto close = close_matches(gguf_.pre, known);
      throw Error(ErrorCode::bad_tokenizer,
                  concat("'", file_, "': tokenizer.ggml.pre is '", gguf_.pre, "', a pre-tokenizer that is not known",
                         close.empty() ? "" : concat("; did you mean ", join(close), "?")));
    }
    switch (pre->cut) {
      case Cut::gpt2:
        tokenizer["pre_tokenizer"] = byte_level_part(true);
        break;
      case Cut::digits_gpt2:
        tokenizer["pre_tokenizer"] = {
            {"type", "Sequence"},
            {"pretokenizers", Json::array({{{"type", "Digits"}, {"individual_digits", true}}, byte_level_part(true)})}};
        break;
      case Cut::split: {
        const Json split = {
            {"type", "Split"}, {"pattern", {{"Regex", pre->pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
        tokenizer["pre_tokenizer"] = {{"type", "Sequence"},
                                      {"pretokenizers", Json::array({split, byte_level_part(false)})}};
        break;
      }
    }
    if (pre->nfc) tokenizer["normalizer"] = {{"type", "NFC"}};
    tokenizer["model"] = bpe(vocabulary(), merges());
    tokenizer["model"]["ignore_merges"] = pre->ignore_merges;
    tokenizer["decoder"] = byte_level_part(true);
    tokenizer["post_processor"] = around(gguf_.add_bos.value_or(pre->ignore_merges), gguf_.add_eos.value_or(false));
  }

  // SentencePiece's BPE: blanks are "▁", unknown characters fall apart into bytes.
  void sentencepiece(Json& tokenizer) {
    const bool prefix = gguf_.add_space_prefix.value_or(true);
    Json normalizers = Json::array(), decoders = Json::array();
    if (prefix) normalizers.push_back({{"type", "Prepend"}, {"prepend", "▁"}});
    normalizers.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}});
    tokenizer["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::move(normalizers)}};
    decoders.push_back({{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}});
    decoders.push_back({{"type", "ByteFallback"}});
    decoders.push_back({{"type", "Fuse"}});
    if (prefix) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
    tokenizer["decoder"] = {{"type", "Sequence"}, {"decoders", std::move(decoders)}};
    Json vocab = vocabulary();
    Json model = bpe(std::move(vocab), gguf_.merges.empty() ? merges_of_scores() : merges());
    model["fuse_unk"] = true;
    model["byte_fallback"] = true;
    if (gguf_.unknown) model["unk_token"] = token(*gguf_.unknown);
    tokenizer["model"] = std::move(model);
    tokenizer["post_processor"] = around(gguf_.add_bos.value_or(true), gguf_.add_eos.value_or(false));
  }

  // Every way to put a token together from two others; better tokens first, and of one token the way with the better
  // parts.
  Json merges_of_scores() const {
    if (gguf_.scores.empty())
      throw Error(ErrorCode::bad_tokenizer,
                  concat("'", file_, "' has neither tokenizer.ggml.merges nor tokenizer.ggml.scores"));
    struct Merge {
      size_t token, left, right;
    };
    std::vector<Merge> found;
    const auto score = [&](size_t id) { return gguf_.scores[id]; };
    for (size_t id = 0; id < gguf_.tokens.size(); ++id) {
      const std::string_view text = gguf_.tokens[id];
      if (const auto first = ids_.find(std::string(text)); first->second != id) continue;
      constexpr size_t kLongestToken = 1024;
      if (text.size() > kLongestToken) continue;
      const size_t begin = found.size();
      for (size_t cut = 1; cut < text.size(); ++cut) {
        if ((static_cast<unsigned char>(text[cut]) & 0xc0) == 0x80) continue;  // within a character
        const auto left = ids_.find(std::string(text.substr(0, cut))), right = ids_.find(std::string(text.substr(cut)));
        if (left != ids_.end() && right != ids_.end()) found.push_back({id, left->second, right->second});
      }
      std::stable_sort(found.begin() + static_cast<std::ptrdiff_t>(begin), found.end(),
                       [&](const Merge& a, const Merge& b) {
                         return std::pair(score(a.left), score(a.right)) > std::pair(score(b.left), score(b.right));
                       });
    }
    std::stable_sort(found.begin(), found.end(),
                     [&](const Merge& a, const Merge& b) { return score(a.token) > score(b.token); });
    Json merges = Json::array();
    for (const auto& merge : found)
      merges.push_back(Json::array({gguf_.tokens[merge.left], gguf_.tokens[merge.right]}));
    return merges;
  }

  // The converter marks beginnings of words with "▁" in place of the others with "##".
  void wordpiece(Json& tokenizer) {
    constexpr std::string_view kBegin = "▁";
    Json vocab = vocabulary([&](size_t id) {
      const std::string& text = gguf_.tokens[id];
      if (text.starts_with(kBegin)) return text.substr(kBegin.size());
      return type(id) == TokenType::normal ? "##" + text : text;
    });
    const std::string unknown = gguf_.unknown ? token(*gguf_.unknown) : "[UNK]";
    tokenizer["normalizer"] = {{"type", "BertNormalizer"},
                               {"clean_text", true},
                               {"handle_chinese_chars", true},
                               {"strip_accents", nullptr},
                               {"lowercase", true}};
    tokenizer["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
    tokenizer["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
    tokenizer["model"] = {{"type", "WordPiece"},
                          {"unk_token", unknown},
                          {"continuing_subword_prefix", "##"},
                          {"max_input_chars_per_word", 100},
                          {"vocab", std::move(vocab)}};
    if (!gguf_.bos || !gguf_.separator) return;
    // [CLS] text [SEP] text [SEP]
    const auto special = [&](int64_t id, int type_id) {
      return Json{{"SpecialToken", {{"id", token(id)}, {"type_id", type_id}}}};
    };
    const auto text = [](const char* name, int type_id) {
      return Json{{"Sequence", {{"id", name}, {"type_id", type_id}}}};
    };
    tokenizer["post_processor"] = {
        {"type", "TemplateProcessing"},
        {"single", Json::array({special(*gguf_.bos, 0), text("A", 0), special(*gguf_.separator, 0)})},
        {"pair", Json::array({special(*gguf_.bos, 0), text("A", 0), special(*gguf_.separator, 0), text("B", 1),
                              special(*gguf_.separator, 1)})},
        {"special_tokens", special_tokens({*gguf_.bos, *gguf_.separator})}};
  }

  Json special_tokens(const std::vector<int64_t>& ids) const {
    Json tokens = Json::object();
    for (int64_t id : ids)
      tokens[token(id)] = {{"id", token(id)}, {"ids", Json::array({id})}, {"tokens", Json::array({token(id)})}};
    return tokens;
  }

  // Begin and end tokens around each text.
  Json around(bool bos, bool eos) const {
    bos = bos && gguf_.bos;
    eos = eos && gguf_.eos;
    if (!bos && !eos) return nullptr;
    std::vector<int64_t> used;
    if (bos) used.push_back(*gguf_.bos);
    if (eos) used.push_back(*gguf_.eos);
    const auto part = [&](const char* name, int type_id) {
      Json parts = Json::array();
      if (bos) parts.push_back({{"SpecialToken", {{"id", token(*gguf_.bos)}, {"type_id", type_id}}}});
      parts.push_back({{"Sequence", {{"id", name}, {"type_id", type_id}}}});
      if (eos) parts.push_back({{"SpecialToken", {{"id", token(*gguf_.eos)}, {"type_id", type_id}}}});
      return parts;
    };
    Json pair = part("A", 0);
    for (auto& item : part("B", 1)) pair.push_back(item);
    return {{"type", "TemplateProcessing"},
            {"single", part("A", 0)},
            {"pair", std::move(pair)},
            {"special_tokens", special_tokens(used)}};
  }

  Json config() const {
    Json config = {{"clean_up_tokenization_spaces", gguf_.model == "bert"}};
    const auto name = [&](const char* key, const std::optional<int64_t>& id) {
      if (id) config[key] = token(*id);
    };
    const bool is_bert = gguf_.model == "bert";
    if (!is_bert) config["model_input_names"] = {"input_ids", "attention_mask"};
    name(is_bert ? "cls_token" : "bos_token", gguf_.bos);
    name(is_bert ? "sep_token" : "eos_token", is_bert ? gguf_.separator : gguf_.eos);
    name("unk_token", gguf_.unknown);
    name("pad_token", gguf_.padding);
    name("mask_token", gguf_.mask);
    if (!gguf_.chat_template.empty()) config["chat_template"] = gguf_.chat_template;
    return config;
  }

  const GgufTokenizer& gguf_;
  const std::string& file_;
  std::unordered_map<std::string, size_t> ids_;
};

}  // namespace

GgufTokenizerFiles gguf_tokenizer_files(const GgufTokenizer& gguf, const std::string& file) {
  for (size_t id = 0; id < gguf.tokens.size(); ++id) {
    if (gguf.tokens[id].find('\0') != std::string::npos)
      throw Error(ErrorCode::bad_tokenizer, concat("'", file, "': token ", id, " has a NUL"));
  }
  try {
    return Converter(gguf, file).convert();
  } catch (const Json::type_error&) {  // a token that is not UTF-8 cannot be written as JSON
    throw Error(ErrorCode::bad_tokenizer, concat("'", file, "' has a token that is not UTF-8"));
  }
}

}  // namespace backplane
