#include "text/tokenizer_classes.h"

#include <algorithm>
#include <charconv>

#include "backplane/base/files.h"
#include "backplane/base/limits.h"
#include "text/json_fields.h"
#include "text/language_codes.h"
#include "text/python_text.h"
#include "text/tokenizer_impl.h"
#include "text/unicode.h"

namespace backplane::text {
namespace {

using Join = SentencePieceSettings::Join;
using Kinds = TokenizerClass::Kinds;
using Types = SpecialLayout::Types;
using Masks = SpecialLayout::Masks;
using Decoding = SlowModel::Decoding;

constexpr const char* kNames[] = {"bos", "eos", "unk", "sep", "pad", "cls", "mask"};

// Splits at blanks.
std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> list = split(text, ' ');
  std::erase(list, "");
  return list;
}

// --- WordPiece ---

void build_word_piece(ClassBuilder& b) {
  WordPieceSettings settings;
  settings.basic = b.flag("do_basic_tokenize", true);
  settings.lower_case = b.flag("do_lower_case", true);
  settings.chinese_characters = b.flag("tokenize_chinese_chars", true);
  if (b.has("strip_accents")) settings.strip_accents = b.flag("strip_accents", false);
  if (b.has("never_split") && b.config().at("never_split").is_array())
    for (const Json& word : b.config().at("never_split"))
      if (word.is_string()) settings.never_split.push_back(word.get<std::string>());
  settings.unknown = b.unknown();
  b.model = make_slow_word_piece(read_vocab_txt(b.path(b.row.file)), settings);
}
void build_bert(ClassBuilder& b) { build_word_piece(b); }
void build_bert_japanese(ClassBuilder& b) {
  const std::string words = b.text("word_tokenizer_type", "basic"), pieces = b.text("subword_tokenizer_type", "wordpiece");
  const bool cuts_words = b.flag("do_word_tokenize", true);
  if (cuts_words && words != "basic")
    throw Error(ErrorCode::bad_tokenizer, concat("BertJapaneseTokenizer with word_tokenizer_type '", words, "' needs that program's dictionary, which there is none of; expected basic"));
  if (pieces == "sentencepiece") {
    SentencePieceSettings settings{.join = Join::decoded, .albert = true, .keep_accents = true, .unknown = b.unknown()};
    b.model = make_slow_sentence_piece(SentencePiece::from_file(b.path("spiece.model")), settings);
    return;
  }
  WordPieceSettings settings;
  settings.basic = cuts_words;
  settings.lower_case = b.flag("do_lower_case", false);
  settings.chinese_characters = false;
  settings.characters = pieces == "character";
  settings.unknown = b.unknown();
  b.model = make_slow_word_piece(read_vocab_txt(b.path(b.row.file)), settings);
}
void splinter_fast(ClassBuilder& b) { b.add_additional(b.special_or_plain(b.text("question_token", "[QUESTION]"))); }
void splinter_layout(ClassBuilder& b) {
  const std::string question = "=" + b.text("question_token", "[QUESTION]");
  b.state.layout.pair = b.state.padding_side == Side::right ? concat("cls A ", question, " =. sep B:1 sep:1") : concat("cls A sep B:1 ", question, ":1 =.:1 sep:1");
}

void build_splinter(ClassBuilder& b) {
  build_word_piece(b);
  splinter_layout(b);
}

// --- byte-level BPE ---

ByteBpeSettings byte_settings(const ClassBuilder& b) {
  ByteBpeSettings settings;
  settings.unknown = b.unknown();
  settings.prefix_space = b.flag("add_prefix_space", false);
  return settings;
}
void build_byte_bpe(ClassBuilder& b, const ByteBpeSettings& settings, size_t skip_last = 1) {
  b.model = make_slow_byte_bpe(read_vocab_json(b.path(b.row.file)), read_merges_file(b.path("merges.txt"), 1, skip_last), settings);
}
// GPT-2 puts a blank before every word; the others but Roberta's kind do it where they are asked to.
void build_gpt2(ClassBuilder& b) {
  if (b.flag("add_bos_token", false)) {
    b.state.layout.single = "bos A";
    b.state.layout.pair = "bos A bos B:1";
  }
  build_byte_bpe(b, byte_settings(b));
}
void build_roberta(ClassBuilder& b) {
  ByteBpeSettings settings = byte_settings(b);
  settings.prefix_unless_space = true;
  build_byte_bpe(b, settings);
}
void build_qwen2(ClassBuilder& b) {
  ByteBpeSettings settings;
  settings.unknown = b.unknown();
  settings.pattern = ByteBpeSettings::Pattern::qwen2;
  settings.nfc = true;
  settings.words_get_space = false;
  settings.decoding = Decoding::joined;
  build_byte_bpe(b, settings, 0);
}
void build_clip(ClassBuilder& b) {
  ByteBpeSettings settings;
  settings.unknown = b.unknown();
  settings.pattern = ByteBpeSettings::Pattern::clip;
  build_byte_bpe(b, settings, 0);
}

// CLVP's, and Whisper's with what it puts before a text.
void ends(ClassBuilder& b, bool bos_by_default);
void build_whisper(ClassBuilder& b) {
  ByteBpeSettings settings = byte_settings(b);
  settings.decoding = Decoding::apart;
  settings.cleans_up = false;
  settings.missing_is_empty = true;
  build_byte_bpe(b, settings);
}

void build_clvp(ClassBuilder& b) {
  ends(b, false);
  ByteBpeSettings settings = byte_settings(b);
  settings.words_get_space = false;
  settings.prefix_space = false;
  settings.speaks = true;
  build_byte_bpe(b, settings);
}
void build_tapex(ClassBuilder& b) {
  ByteBpeSettings settings = byte_settings(b);
  settings.prefix_unless_space = true;
  settings.lower_case = b.flag("do_lower_case", true);
  build_byte_bpe(b, settings);
}

// --- words and characters ---

void word_pairs(ClassBuilder& b, WordPairSettings::Kind kind, size_t skip_first, const char* merges = "merges.txt") {
  b.model = make_slow_word_pairs(read_vocab_json(b.path(b.row.file)), read_merges_file(b.path(merges), skip_first, 1), {.kind = kind, .lower_case = b.flag("do_lower_case", false), .unknown = b.unknown()});
}
void build_openai(ClassBuilder& b) { word_pairs(b, WordPairSettings::Kind::openai, 1); }
void build_ctrl(ClassBuilder& b) { word_pairs(b, WordPairSettings::Kind::ctrl, 1); }
void build_blenderbot_small(ClassBuilder& b) { word_pairs(b, WordPairSettings::Kind::blenderbot_small, 1); }
void build_speech_to_text_2(ClassBuilder& b) { word_pairs(b, WordPairSettings::Kind::speech, 0); }
void build_herbert(ClassBuilder& b) {
  if (!b.has("additional_special_tokens"))
    for (int i = 0; i < 10; ++i) b.add_additional(concat("<special", i, ">"));
  word_pairs(b, WordPairSettings::Kind::herbert, 0);
}
void build_phobert(ClassBuilder& b) {
  TokenTable table;
  int64_t id = 0;
  for (const char* name : {"bos", "pad", "eos", "unk"}) table.add(b.token(name), id++);
  const std::string path = b.path(b.row.file);
  for (const std::string& line : read_lines(path)) {
    const std::string text = py::strip(line);
    const size_t blank = text.rfind(' ');
    if (blank == std::string::npos) bad(concat("'", path, "'"), concat("the line '", text, "' has no token and count"));
    table.add(text.substr(0, blank), table.size());
  }
  b.model = make_slow_word_pairs(std::move(table), read_merges_file(b.path("bpe.codes"), 0, 1), {.kind = WordPairSettings::Kind::ctrl, .unknown = b.unknown()});
}

void build_byt5(ClassBuilder& b) {
  int64_t id = 0;
  for (const char* name : {"pad", "eos", "unk"}) b.added[id++] = b.special_or_plain(b.token(name));
  const int64_t extra = b.number("extra_ids", 125);
  if (extra < 0 || extra > 100'000) bad("tokenizer_config.json: extra_ids", concat("found ", extra, ", expected 0 to 100000"));
  if (!b.has("additional_special_tokens"))
    for (int64_t i = 0; i < extra; ++i) b.add_additional(concat("<extra_id_", i, ">"));
  b.model = make_slow_bytes({.kind = ByteSettings::Kind::byt5, .offset = 3});
}
void build_perceiver(ClassBuilder& b) {
  int64_t id = 0;
  for (const char* name : {"pad", "bos", "eos", "mask", "cls", "sep"}) b.added[id++] = b.special_or_plain(b.token(name));
  b.default_max_length(2048);
  b.model = make_slow_bytes({.kind = ByteSettings::Kind::perceiver, .offset = 6});
}
void build_dia(ClassBuilder& b) {
  b.added[0] = b.special_or_plain(b.token("pad"));
  b.added[1] = {.content = "[S1]"};
  b.added[2] = {.content = "[S2]"};
  b.model = make_slow_bytes({.kind = ByteSettings::Kind::dia, .offset = b.number("offset", 0)});
}
void build_canine(ClassBuilder& b) {
  b.default_max_length(2048);
  b.model = make_slow_canine();
}
void build_esm(ClassBuilder& b) { b.model = make_slow_esm(read_vocab_txt(b.path(b.row.file), true), b.unknown()); }
void build_mgpstr(ClassBuilder& b) { b.model = make_slow_characters(read_vocab_json(b.path(b.row.file)), b.unknown()); }
void build_vits(ClassBuilder& b) {
  if (b.flag("phonemize", true)) throw Error(ErrorCode::bad_tokenizer, "VitsTokenizer with phonemize needs a phonemizer, which there is none of; set phonemize to false and give it phonemes");
  b.model = make_slow_vits(read_vocab_json(b.path(b.row.file)), {.add_blank = b.flag("add_blank", true), .normalize = b.flag("normalize", true), .language = b.text("language"), .unknown = b.unknown()});
}
void build_ctc(ClassBuilder& b) {
  const std::string path = b.path(b.row.file);
  Json vocab = read_json_file(path, ErrorCode::bad_tokenizer, {.bytes = limits::kTokenizerBytes});
  if (const std::string language = b.text("target_lang"); !language.empty()) {
    if (!vocab.is_object() || !vocab.contains(language)) bad(concat("'", path, "'"), concat("there is no language '", language, "'"));
    Json part = vocab.at(language);
    vocab = std::move(part);
  }
  TokenTable table = table_of(vocab, path);
  CtcSettings settings{.lower_case = b.flag("do_lower_case", false), .unknown = b.unknown(), .pad = b.token("pad")};
  if (b.row.stem == "Wav2Vec2PhonemeCTC") {
    if (b.flag("do_phonemize", true)) throw Error(ErrorCode::bad_tokenizer, "Wav2Vec2PhonemeCTCTokenizer with do_phonemize needs a phonemizer, which there is none of; set do_phonemize to false and give it phonemes");
    settings.phonemes = true;
    settings.delimiter = b.text("word_delimiter_token");
  } else {
    settings.delimiter = b.text("word_delimiter_token", "|");
    settings.blank = b.text("replace_word_delimiter_char", " ");
    for (const auto& [id, token] : table.tokens())
      if (count_code_points(token) > 1) b.later.push_back({.content = token, .lstrip = true, .rstrip = true, .normalized = false});
  }
  b.model = make_slow_ctc(std::move(table), std::move(settings));
}

// --- SentencePiece ---

SentencePieceSettings piece_settings(const ClassBuilder& b, Join join = Join::spaced) {
  SentencePieceSettings settings;
  settings.unknown = b.unknown();
  settings.join = join;
  return settings;
}
SentencePiece read_pieces(const ClassBuilder& b) { return SentencePiece::from_file(b.path(b.row.file)); }

void build_big_bird(ClassBuilder& b) {
  SentencePieceSettings settings = piece_settings(b);
  settings.decoding = Decoding::apart_spaced;
  settings.decoded = {{" [MASK]", "[MASK]"}, {" [SEP]", "[SEP]"}};
  b.model = make_slow_sentence_piece(read_pieces(b), settings);
}
void build_pieces(ClassBuilder& b) { b.model = make_slow_sentence_piece(read_pieces(b), piece_settings(b)); }
void build_pieces_unspaced(ClassBuilder& b) { b.model = make_slow_sentence_piece(read_pieces(b), piece_settings(b, Join::unspaced)); }
void build_pieces_decoded(ClassBuilder& b) { b.model = make_slow_sentence_piece(read_pieces(b), piece_settings(b, Join::decoded)); }

void build_albert(ClassBuilder& b) {
  SentencePieceSettings settings = piece_settings(b, b.row.stem == "XLNet" || b.row.stem == "Cpm" ? Join::replaced : Join::spaced);
  settings.albert = true;
  settings.lower_case = b.flag("do_lower_case", b.row.stem == "Albert");
  settings.remove_space = b.flag("remove_space", true);
  settings.keep_accents = b.flag("keep_accents", b.row.stem == "FNet");
  if (b.row.stem == "FNet") {
    settings.decoding = Decoding::joined;
    settings.decoded = {{"<unk> ", "<unk>"}};
  }
  if (b.row.stem == "XLNet") settings.decoding = Decoding::apart;
  if (b.row.stem == "XLNet" || b.row.stem == "Cpm") {
    b.state.pad_token_type_id = 3;
    if (!b.has("additional_special_tokens")) {
      b.add_additional("<eop>");
      b.add_additional("<eod>");
    }
  }
  b.model = make_slow_sentence_piece(read_pieces(b), settings);
}

void xlnet_fast(ClassBuilder& b) { b.state.pad_token_type_id = 3; }
void build_deberta_v2(ClassBuilder& b) {
  SentencePieceSettings settings = piece_settings(b);
  settings.lower_case = b.flag("do_lower_case", false);
  settings.split_punctuation = b.flag("split_by_punct", false);
  settings.words_get_space = true;
  b.model = make_slow_sentence_piece(read_pieces(b), settings);
}

void build_t5(ClassBuilder& b) {
  SentencePiece model = read_pieces(b);
  SentencePieceSettings settings = piece_settings(b);
  settings.legacy = b.flag("legacy", true);
  settings.prefix_space = b.flag("add_prefix_space", true);
  settings.strips_prefix = true;
  const int64_t extra = b.number("extra_ids", 100);
  if (extra < 0 || extra > 100'000) bad("tokenizer_config.json: extra_ids", concat("found ", extra, ", expected 0 to 100000"));
  const auto& given = b.state.additional_special_tokens;
  const bool has_own = std::any_of(given.begin(), given.end(), [](const std::string& token) { return token.find("<extra_id_") != std::string::npos; });
  for (int64_t i = 0; i < extra; ++i) {
    const AddedToken token{.content = concat("<extra_id_", i, ">"), .lstrip = true, .rstrip = true, .normalized = false, .special = true};
    b.added.try_emplace(static_cast<int64_t>(model.size()) - 1 + extra - i, token);
    if (!has_own) b.add_additional(token);
  }
  b.model = make_slow_sentence_piece(std::move(model), settings);
}

void ends(ClassBuilder& b, bool bos_by_default) {
  const std::string bos = b.flag("add_bos_token", bos_by_default) ? "bos" : "", eos = b.flag("add_eos_token", false) ? "eos" : "";
  const auto one = [](const std::string& token) { return token.empty() ? "" : token + ":1"; };
  b.state.layout.single = concat(bos, " A ", eos);
  b.state.layout.pair = concat(bos, " A ", eos, " ", one(bos), " B:1 ", one(eos));
}
void bos_and_eos(ClassBuilder& b) { ends(b, true); }
void neox_ends(ClassBuilder& b) { ends(b, false); }
void build_llama(ClassBuilder& b) {
  SentencePieceSettings settings = piece_settings(b, Join::llama);
  settings.legacy = b.flag("legacy", true);
  settings.prefix_space = b.flag("add_prefix_space", true);
  settings.strips_prefix = true;
  settings.strips = false;
  bos_and_eos(b);
  b.model = make_slow_sentence_piece(read_pieces(b), settings);
}
void build_gemma(ClassBuilder& b) {
  SentencePieceSettings settings = piece_settings(b, Join::gemma);
  settings.strips = false;
  settings.decoding = Decoding::apart;
  settings.cleans_up = false;
  settings.decoded = {{std::string(kSpaceSymbol), " "}};
  bos_and_eos(b);
  b.model = make_slow_sentence_piece(read_pieces(b), settings);
}

void build_siglip(ClassBuilder& b) {
  SentencePieceSettings settings = piece_settings(b);
  settings.legacy = false;
  settings.canonical = true;
  settings.lower_case = b.flag("do_lower_case", true);
  b.default_max_length(64);
  b.model = make_slow_sentence_piece(read_pieces(b), settings);
}

void build_pegasus(ClassBuilder& b) {
  SentencePieceSettings settings = piece_settings(b, Join::unspaced);
  const int64_t offset = b.number("offset", 103);
  if (offset < 0 || offset > 100'000) bad("tokenizer_config.json: offset", concat("found ", offset, ", expected 0 to 100000"));
  settings.offset = settings.extra = offset;
  const bool sentence = !b.config().contains("mask_token_sent") || b.has("mask_token_sent");
  const std::string mask = b.text("mask_token_sent", "<mask_1>");
  const auto put = [&](int64_t id, const std::string& content) { b.added[id] = {.content = content, .normalized = false, .special = true}; };
  int64_t next = 2;
  put(0, b.token("pad"));
  put(1, b.token("eos"));
  const bool given = !b.state.additional_special_tokens.empty();
  if (sentence) {
    put(2, mask);
    put(3, b.token("mask"));
    next = 4;
    b.add_additional(AddedToken{.content = mask, .normalized = false, .special = true}, true);
  }
  for (int64_t i = 2; i < offset; ++i) put(next++, concat("<unk_", i, ">"));
  const int64_t first = given ? static_cast<int64_t>(b.state.additional_special_tokens.size()) : 2;
  for (int64_t i = first; i < offset - (given ? 1 : 0); ++i) b.add_additional(concat("<unk_", i, ">"));
  b.model = make_slow_sentence_piece(read_pieces(b), settings);
}

// Ids of fairseq's dictionaries: four special tokens first, the model's own shifted by one.
void fairseq_ids(SentencePieceSettings& settings) {
  settings.fixed = {{"<s>", 0}, {"<pad>", 1}, {"</s>", 2}, {"<unk>", 3}};
  settings.offset = 1;
  settings.zero_is_unknown = true;
}
void build_fairseq(ClassBuilder& b) {
  SentencePiece model = read_pieces(b);
  SentencePieceSettings settings = piece_settings(b, Join::replaced);
  fairseq_ids(settings);
  settings.fixed["<mask>"] = static_cast<int64_t>(model.size()) + 1;
  settings.extra = 2;
  b.model = make_slow_sentence_piece(std::move(model), settings);
}

void build_camembert(ClassBuilder& b) {
  SentencePieceSettings settings = piece_settings(b);
  settings.offset = settings.listed_extra = 4;
  settings.zero_is_unknown = true;
  const std::pair<int64_t, std::string> fixed[] = {{0, "<s>NOTUSED"}, {1, b.token("pad")}, {2, "</s>NOTUSED"}, {3, b.unknown()}, {4, "<unk>NOTUSED"}};
  for (const auto& [id, content] : fixed) b.added[id] = {.content = content, .normalized = false, .special = true};
  settings.fixed[b.unknown()] = 3;
  if (!b.has("additional_special_tokens"))
    for (const char* token : {"<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"}) b.add_additional(token);
  b.model = make_slow_sentence_piece(read_pieces(b), settings);
}

void languages(ClassBuilder& b, const char* source) {
  b.state.src_lang = b.text("src_lang", source);
  b.state.tgt_lang = b.text("tgt_lang");
}
void build_mbart(ClassBuilder& b) {
  SentencePiece model = read_pieces(b);
  SentencePieceSettings settings = piece_settings(b, b.row.stem == "MBart" ? Join::replaced : Join::spaced);
  fairseq_ids(settings);
  const auto size = static_cast<int64_t>(model.size());
  int64_t id = size + 1;
  const auto given = b.state.additional_special_tokens;
  b.state.additional_special_tokens.clear();
  for (const std::string& code : words(b.row.stem == "MBart" ? kMbartLanguages : kMbart50Languages)) {
    settings.fixed[code] = id++;
    b.add_additional(code);
  }
  for (const std::string& token : given) b.add_additional(b.special_or_plain(token));
  settings.fixed["<mask>"] = id;
  settings.extra = id + 1 - size;
  languages(b, "en_XX");
  b.model = make_slow_sentence_piece(std::move(model), settings);
}
void build_plbart(ClassBuilder& b) {
  SentencePiece model = read_pieces(b);
  SentencePieceSettings settings = piece_settings(b, Join::replaced);
  fairseq_ids(settings);
  const bool base = b.text("language_codes", "base") == "base";
  const auto size = static_cast<int64_t>(model.size());
  int64_t id = size + 1;
  const auto given = b.state.additional_special_tokens;
  b.state.additional_special_tokens.clear();
  for (const std::string& code : words(base ? "__java__ __python__ __en_XX__" : "__java__ __python__ __en_XX__ __javascript__ __php__ __ruby__ __go__")) {
    settings.fixed[code] = id++;
    b.add_additional(code);
  }
  for (const std::string& token : given) b.add_additional(b.special_or_plain(token));
  if (base) settings.fixed["<mask>"] = id++;
  settings.extra = id - size;
  languages(b, base ? "" : "__en_XX__");
  if (!b.has("clean_up_tokenization_spaces")) b.state.clean_up_tokenization_spaces = true;
  b.model = make_slow_sentence_piece(std::move(model), settings);
}
void build_nllb(ClassBuilder& b) {
  SentencePieceSettings settings = piece_settings(b, Join::replaced);
  settings.offset = settings.extra = 1;
  settings.zero_is_unknown = true;
  settings.fixed[b.unknown()] = 3;
  int64_t id = 0;
  for (const char* name : {"bos", "pad", "eos", "unk"}) b.added.try_emplace(id++, b.special_or_plain(b.token(name)));
  if (!b.has("additional_special_tokens"))
    for (const std::string& code : words(kNllbLanguages)) b.add_additional(code);
  if (b.flag("legacy_behaviour", false)) {
    b.state.layout.single = "A eos lang";
    b.state.layout.pair = "A B eos lang";
  }
  languages(b, "eng_Latn");
  b.model = make_slow_sentence_piece(read_pieces(b), settings);
}
void build_seamless(ClassBuilder& b) {
  SentencePieceSettings settings = piece_settings(b, Join::replaced);
  settings.legacy = false;
  settings.prefix_space = b.flag("add_prefix_space", true);
  settings.strips_prefix = true;
  settings.offset = 1;
  settings.zero_is_unknown = true;
  settings.fixed[b.unknown()] = 1;
  int64_t id = 0;
  for (const char* name : {"pad", "unk", "bos", "eos"}) b.added.try_emplace(id++, b.special_or_plain(b.token(name)));
  b.state.src_lang = b.text("src_lang", "eng");
  b.state.tgt_lang = b.text("tgt_lang", "fra");
  b.model = make_slow_sentence_piece(read_pieces(b), settings);
}
void build_m2m_100(ClassBuilder& b) {
  SentencePieceSettings settings = piece_settings(b, Join::unspaced);
  TokenTable table = read_vocab_json(b.path("vocab.json"));
  int64_t id = table.size();
  for (const std::string& code : words(b.text("language_codes", "m2m100") == "wmt21" ? kWmt21Languages : kM2m100Languages)) {
    const std::string token = concat("__", code, "__");
    settings.fixed[token] = id++;
  }
  settings.table = std::move(table);
  languages(b, "en");
  b.model = make_slow_sentence_piece(read_pieces(b), settings);
}
void build_marian(ClassBuilder& b) {
  const auto settings_of = [&](const char* vocabulary) {
    SentencePieceSettings settings = piece_settings(b, Join::trailing);
    settings.language_code = true;
    settings.joiner = std::make_shared<SentencePiece>(SentencePiece::from_file(b.path("target.spm")));
    settings.table = read_vocab_json(b.path(vocabulary));
    settings.listed_by_table = true;
    return settings;
  };
  b.default_max_length(512);
  const bool separate = b.flag("separate_vocabs", false);
  b.model = make_slow_sentence_piece(SentencePiece::from_file(b.path("source.spm")), settings_of("vocab.json"));
  b.target_model = make_slow_sentence_piece(SentencePiece::from_file(b.path("target.spm")), settings_of(separate ? "target_vocab.json" : "vocab.json"));
}
void build_speech_to_text(ClassBuilder& b) {
  SentencePieceSettings settings = piece_settings(b, Join::trailing);
  settings.lower_case = b.flag("do_lower_case", false);
  settings.upper_case = b.flag("do_upper_case", false);
  settings.table = read_vocab_json(b.path("vocab.json"));
  settings.listed_by_table = true;
  b.model = make_slow_sentence_piece(read_pieces(b), settings);
}
void build_gpt_sw3(ClassBuilder& b) {
  SentencePieceSettings settings = piece_settings(b);
  settings.cleans_controls = true;
  settings.strips = false;
  settings.cleans_up = false;
  settings.lower_case = b.flag("do_lower_case", false);
  b.model = make_slow_sentence_piece(read_pieces(b), settings);
}
void build_xlm_prophetnet(ClassBuilder& b) {
  SentencePieceSettings settings = piece_settings(b, Join::replaced);
  settings.fixed = {{"[PAD]", 0}, {"[CLS]", 1}, {"[SEP]", 2}, {"[UNK]", 3}, {"[MASK]", 4}};
  for (int64_t i = 0; i < 10; ++i) settings.fixed[concat("[unused", i, "]")] = 5 + i;
  settings.offset = settings.extra = 12;
  settings.zero_is_unknown = true;
  b.model = make_slow_sentence_piece(read_pieces(b), settings);
}
void build_bartpho(ClassBuilder& b) {
  SentencePieceSettings settings = piece_settings(b, Join::replaced);
  TokenTable table;
  const auto add = [&](const std::string& token) {
    if (!table.contains(token)) table.add(token, table.size());
  };
  for (const char* name : {"bos", "pad", "eos", "unk", "sep", "cls"}) add(b.token(name));
  for (const std::string& line : read_lines(b.path("dict.txt")))
    if (const auto parts = py::split(line); !parts.empty()) table.add(parts[0], table.size());
  add(b.token("mask"));
  settings.table = std::move(table);
  b.model = make_slow_sentence_piece(read_pieces(b), settings);
}
void build_ernie_m(ClassBuilder& b) {
  SentencePieceSettings settings = piece_settings(b, Join::replaced);
  settings.ernie = true;
  settings.lower_case = b.flag("do_lower_case", false);
  settings.table = read_vocab_txt(b.path("vocab.txt"));
  settings.listed_by_table = true;
  b.model = make_slow_sentence_piece(read_pieces(b), settings);
}
void build_code_llama(ClassBuilder& b) {
  SentencePieceSettings settings = piece_settings(b, Join::unspaced);
  settings.legacy = false;
  settings.strips_prefix = true;
  settings.strips = false;
  for (const auto& [key, token] : {std::pair("prefix_token", "▁<PRE>"), std::pair("middle_token", "▁<MID>"), std::pair("suffix_token", "▁<SUF>"), std::pair("eot_token", "▁<EOT>")})
    b.add_additional(b.text(key, token));
  bos_and_eos(b);
  b.model = make_slow_sentence_piece(read_pieces(b), settings);
}
void build_xglm(ClassBuilder& b) {
  SentencePiece model = read_pieces(b);
  SentencePieceSettings settings = piece_settings(b, Join::replaced);
  fairseq_ids(settings);
  settings.extra = 8;
  const auto given = b.state.additional_special_tokens;
  for (int64_t i = 0; i < 7; ++i) {
    settings.fixed[concat("<madeupword", i, ">")] = static_cast<int64_t>(model.size()) + 1 + i;
    b.add_additional(concat("<madeupword", i, ">"));
  }
  b.model = make_slow_sentence_piece(std::move(model), settings);
}

// --- the table ---

constexpr std::string_view kBertTokens = "unk=[UNK] sep=[SEP] pad=[PAD] cls=[CLS] mask=[MASK]";
constexpr std::string_view kBertSingle = "cls A sep", kBertPair = "cls A sep B:1 sep:1";
constexpr std::string_view kRobertaTokens = "bos=<s> eos=</s> unk=<unk> sep=</s> pad=<pad> cls=<s> mask=<mask>,l";
constexpr std::string_view kRobertaPair = "cls A sep sep B sep";
constexpr std::string_view kNoTypes = "ids mask";
constexpr std::string_view kEndOfText = "bos=<|endoftext|> eos=<|endoftext|> unk=<|endoftext|>";

constexpr TokenizerClass bert(std::string_view stem, std::string_view inputs = "ids types mask", Kinds kinds = Kinds::both) {
  return {stem, kinds, build_bert, "vocab.txt", kBertTokens, kBertSingle, kBertPair, Types::by_count, Masks::as_written, inputs};
}
constexpr TokenizerClass roberta(std::string_view stem, std::string_view single = kBertSingle, std::string_view pair = kRobertaPair) {
  return {stem, Kinds::both, build_roberta, "vocab.json", kRobertaTokens, single, pair, Types::zero, Masks::as_written, kNoTypes, "", false, "", "", FastUpdates::trim_offsets, "", "", "", nullptr, false, true};
}

constexpr TokenizerClass needs_prefix(TokenizerClass row) {
  row.words_need_prefix_space = true;
  return row;
}
constexpr TokenizerClass updates(TokenizerClass row, FastUpdates updates) {
  row.updates = updates;
  return row;
}
constexpr TokenizerClass from_language(TokenizerClass row, std::string_view language) {
  row.language = language;
  return row;
}
// A fast class that takes add_bos_token and add_eos_token and counts types by texts.
constexpr TokenizerClass with_ends(TokenizerClass row, void (*fast)(ClassBuilder&)) {
  row.updates = FastUpdates::template_of_layout;
  row.fast = fast;
  row.fast_counts_types = true;
  return row;
}

constexpr TokenizerClass kClasses[] = {
    bert("Bert"), bert("ConvBert"), bert("DistilBert", kNoTypes), bert("DPRContextEncoder"), bert("DPRQuestionEncoder"), bert("DPRReader", kNoTypes),
    bert("Electra"), bert("LayoutLM"), bert("Lxmert"), bert("MobileBert"), bert("Realm"), bert("RetriBert", kNoTypes), bert("SqueezeBert"),
    updates({"Funnel", Kinds::both, build_bert, "vocab.txt", "bos=<s> eos=</s> unk=<unk> sep=<sep> pad=<pad> cls=<cls> mask=<mask>", "cls:2 A sep", "cls:2 A sep B:1 sep:1", Types::as_written}, FastUpdates::bert_normalizer),
    updates({"MPNet", Kinds::both, build_bert, "vocab.txt", "bos=<s> eos=</s> unk=[UNK] sep=</s> pad=<pad> cls=<s> mask=<mask>,l", kBertSingle, kRobertaPair, Types::zero, Masks::as_written, kNoTypes}, FastUpdates::bert_normalizer),
    {"Splinter", Kinds::both, build_splinter, "vocab.txt", kBertTokens, kBertSingle, "cls A =[QUESTION] =. sep B:1 sep:1", Types::as_written, Masks::bert, "ids types mask", "", false, "", "", FastUpdates::bert_normalizer, "", "", "", splinter_fast},

    needs_prefix({"GPT2", Kinds::both, build_gpt2, "vocab.json", kEndOfText, "A", "A B:1", Types::by_count, Masks::as_written, kNoTypes}),
    needs_prefix({"CodeGen", Kinds::both, build_gpt2, "vocab.json", kEndOfText, "A", "A B:1", Types::by_count, Masks::none, kNoTypes}),
    {"Qwen2", Kinds::both, build_qwen2, "vocab.json", "unk=<|endoftext|> eos=<|endoftext|> pad=<|endoftext|>", "A", "A B", Types::by_count, Masks::none, kNoTypes},
    {"CLIP", Kinds::both, build_clip, "vocab.json", "bos=<|startoftext|> eos=<|endoftext|> unk=<|endoftext|> pad=<|endoftext|>", "bos A eos", "bos A eos eos B eos", Types::zero, Masks::as_written, kNoTypes},
    needs_prefix({"Deberta", Kinds::both, build_roberta, "vocab.json", "bos=[CLS] eos=[SEP] unk=[UNK] sep=[SEP] pad=[PAD] cls=[CLS] mask=[MASK],l", kBertSingle, kBertPair, Types::by_count, Masks::as_written, "ids mask types"}),
    needs_prefix({"Blenderbot", Kinds::both, build_roberta, "vocab.json", kRobertaTokens, "A eos", "A eos", Types::roberta, Masks::roberta, kNoTypes}),
    roberta("Roberta"), roberta("Bart"), roberta("LED"), roberta("Longformer"), roberta("Mvp"),

    {"Albert", Kinds::both, build_albert, "spiece.model", "bos=[CLS] eos=[SEP] unk=<unk> sep=[SEP] pad=<pad> cls=[CLS] mask=[MASK],l", kBertSingle, kBertPair},
    {"FNet", Kinds::both, build_albert, "spiece.model", "unk=<unk> sep=[SEP] pad=<pad> cls=[CLS] mask=[MASK],l", kBertSingle, kBertPair, Types::by_count, Masks::as_written, "ids types"},
    {"XLNet", Kinds::both, build_albert, "spiece.model", "bos=<s> eos=</s> unk=<unk> sep=<sep> pad=<pad> cls=<cls> mask=<mask>,l", "A sep cls:2", "A sep B:1 sep:1 cls:2", Types::as_written, Masks::as_written, "ids types mask", "both", false, "", "", FastUpdates::none, "", "", "", xlnet_fast},
    {"BigBird", Kinds::both, build_big_bird, "spiece.model", "bos=<s> eos=</s> unk=<unk> sep=[SEP] pad=<pad> cls=[CLS] mask=[MASK],l", kBertSingle, kBertPair, Types::by_count, Masks::as_written, kNoTypes, "", true},
    {"RemBert", Kinds::both, build_pieces_decoded, "sentencepiece.model", "bos=[CLS] eos=[SEP] unk=[UNK] sep=[SEP] pad=[PAD] cls=[CLS] mask=[MASK],l", kBertSingle, kBertPair, Types::by_count, Masks::as_written, "ids types mask", "", true},
    {"Reformer", Kinds::both, build_pieces_unspaced, "spiece.model", "eos=</s> unk=<unk>", "A", "A B", Types::by_count, Masks::none, kNoTypes},
    {"BertGeneration", Kinds::slow, build_pieces_unspaced, "spiece.model", "bos=<s> eos=</s> unk=<unk> sep=<::::> pad=<pad>", "A", "A B", Types::by_count, Masks::none, kNoTypes},
    {"Barthez", Kinds::both, build_pieces, "sentencepiece.bpe.model", kRobertaTokens, kBertSingle, kRobertaPair, Types::zero, Masks::as_written, kNoTypes},
    {"DebertaV2", Kinds::both, build_deberta_v2, "spm.model", "bos=[CLS] eos=[SEP] unk=[UNK] sep=[SEP] pad=[PAD] cls=[CLS] mask=[MASK]", kBertSingle, kBertPair, Types::by_count, Masks::as_written, "ids types mask", "", true},
    {"T5", Kinds::both, build_t5, "spiece.model", "eos=</s> unk=<unk> pad=<pad>", "A eos?", "A eos? B eos?", Types::zero, Masks::as_written, kNoTypes},
    {"MT5", Kinds::both, build_t5, "spiece.model", "eos=</s> unk=<unk> pad=<pad>", "A eos?", "A eos? B eos?", Types::zero, Masks::as_written, kNoTypes},
    {"Siglip", Kinds::slow, build_siglip, "spiece.model", "eos=</s>,lr unk=<unk>,lr pad=</s>,lr", "A eos?", "A eos? B eos?", Types::zero, Masks::as_written, kNoTypes},
    with_ends({"Llama", Kinds::both, build_llama, "tokenizer.model", "bos=<s> eos=</s> unk=<unk>", "bos A", "bos A bos:1 B:1", Types::as_written, Masks::as_written, kNoTypes, "fast"}, bos_and_eos),
    with_ends({"Gemma", Kinds::both, build_gemma, "tokenizer.model", "bos=<bos> eos=<eos> unk=<unk> pad=<pad>", "bos A", "bos A bos:1 B:1", Types::as_written, Masks::as_written, kNoTypes, "fast"}, bos_and_eos),
    {"Pegasus", Kinds::both, build_pegasus, "spiece.model", "eos=</s> unk=<unk> pad=<pad> mask=<mask_2>", "A eos", "A B eos", Types::by_count, Masks::by_id, kNoTypes, "", true},
    {"XLMRoberta", Kinds::both, build_fairseq, "sentencepiece.bpe.model", kRobertaTokens, kBertSingle, kRobertaPair, Types::zero, Masks::as_written, kNoTypes},
    {"Camembert", Kinds::both, build_camembert, "sentencepiece.bpe.model", kRobertaTokens, kBertSingle, kRobertaPair, Types::zero, Masks::as_written, kNoTypes},
    from_language({"MBart", Kinds::both, build_mbart, "sentencepiece.bpe.model", kRobertaTokens, "A eos lang", "A B eos lang", Types::roberta, Masks::as_written, kNoTypes}, "en_XX"),
    from_language({"MBart50", Kinds::both, build_mbart, "sentencepiece.bpe.model", "eos=</s> unk=<unk> sep=</s> pad=<pad> cls=<s> mask=<mask>,l", "lang A eos", "lang A B eos", Types::by_count, Masks::as_written, kNoTypes}, "en_XX"),
    {"PLBart", Kinds::slow, build_plbart, "sentencepiece.bpe.model", kRobertaTokens, "A eos lang", "A B eos lang", Types::roberta, Masks::as_written, kNoTypes},
    from_language({"Nllb", Kinds::both, build_nllb, "sentencepiece.bpe.model", kRobertaTokens, "lang A eos", "lang A B eos", Types::roberta, Masks::as_written, kNoTypes}, "eng_Latn"),
    from_language({"SeamlessM4T", Kinds::both, build_seamless, "sentencepiece.bpe.model", "bos=<s> eos=</s> unk=<unk> sep=</s> pad=<pad> cls=<s>", "lang A eos", "lang A B eos", Types::roberta, Masks::as_written, kNoTypes}, "eng"),
    {"M2M100", Kinds::slow, build_m2m_100, "sentencepiece.bpe.model", "bos=<s> eos=</s> unk=<unk> sep=</s> pad=<pad>", "lang A eos", "lang A B eos", Types::by_count, Masks::as_written, kNoTypes},
    {"XGLM", Kinds::both, build_xglm, "sentencepiece.bpe.model", "bos=<s> eos=</s> unk=<unk> sep=</s> pad=<pad> cls=<s>", "sep A", "sep A sep sep B", Types::zero, Masks::as_written, kNoTypes},

    needs_prefix({"Whisper", Kinds::both, build_whisper, "vocab.json", kEndOfText, "=<|startoftranscript|> =<|notimestamps|> A eos", "=<|startoftranscript|> =<|notimestamps|> A B eos", Types::by_count, Masks::as_written, kNoTypes, "", true, "", "", FastUpdates::none}),
    {"OpenAIGPT", Kinds::both, build_openai, "vocab.json", "unk=<unk>", "A", "A B", Types::by_count, Masks::none, kNoTypes},
    {"CTRL", Kinds::slow, build_ctrl, "vocab.json", "unk=<unk>", "A", "A B", Types::by_count, Masks::none},
    {"BlenderbotSmall", Kinds::slow, build_blenderbot_small, "vocab.json", "bos=__start__ eos=__end__ unk=__unk__ pad=__null__", "A", "A B", Types::by_count, Masks::none, kNoTypes},
    {"Speech2Text2", Kinds::slow, build_speech_to_text_2, "vocab.json", "bos=<s> eos=</s> unk=<unk> pad=<pad>", "A", "A B", Types::by_count, Masks::none, kNoTypes},
    {"Herbert", Kinds::both, build_herbert, "vocab.json", "bos=<s> unk=<unk> sep=</s> pad=<pad> cls=<s> mask=<mask>", "bos A sep", "bos A sep B sep", Types::by_count, Masks::as_written, "ids types mask", "", true},
    {"Phobert", Kinds::slow, build_phobert, "vocab.txt", "bos=<s> eos=</s> unk=<unk> sep=</s> pad=<pad> cls=<s> mask=<mask>", kBertSingle, kRobertaPair, Types::zero},
    {"ByT5", Kinds::slow, build_byt5, "", "eos=</s>,lr unk=<unk>,lr pad=<pad>,lr", "A eos?", "A eos? B eos?", Types::zero, Masks::as_written, kNoTypes},
    {"Perceiver", Kinds::slow, build_perceiver, "", "bos=[BOS] eos=[EOS] sep=[SEP] pad=[PAD] cls=[CLS] mask=[MASK]", kBertSingle, kBertPair, Types::by_count, Masks::as_written, kNoTypes},
    {"Dia", Kinds::slow, build_dia, "", "unk=<pad> pad=<pad>", "A", "A B", Types::by_count, Masks::none, kNoTypes},
    {"Canine", Kinds::slow, build_canine, "", "bos=\xEE\x80\x80 eos=\xEE\x80\x81 sep=\xEE\x80\x81 pad=\\0 cls=\xEE\x80\x80 mask=\xEE\x80\x83,l", kBertSingle, kBertPair},
    {"Esm", Kinds::slow, build_esm, "vocab.txt", "eos=<eos> unk=<unk> pad=<pad> cls=<cls> mask=<mask>", "cls A eos", "cls A eos B eos", Types::by_count, Masks::as_written, kNoTypes},
    {"Mgpstr", Kinds::slow, build_mgpstr, "vocab.json", "bos=[GO] eos=[s] unk=[GO] pad=[GO]", "A", "A B", Types::by_count, Masks::none},
    {"Vits", Kinds::slow, build_vits, "vocab.json", "unk=<unk> pad=<pad>", "A", "A B", Types::by_count, Masks::none, kNoTypes},
    {"Wav2Vec2CTC", Kinds::slow, build_ctc, "vocab.json", "bos=<s> eos=</s> unk=<unk> pad=<pad>", "A", "A B", Types::by_count, Masks::none, kNoTypes},
    {"Wav2Vec2PhonemeCTC", Kinds::slow, build_ctc, "vocab.json", "bos=<s> eos=</s> unk=<unk> pad=<pad>", "A", "A B", Types::by_count, Masks::none, kNoTypes},

    {"BertJapanese", Kinds::slow, build_bert_japanese, "vocab.txt", kBertTokens, kBertSingle, kBertPair},
    {"ProphetNet", Kinds::slow, build_bert, "prophetnet.tokenizer", "unk=[UNK] sep=[SEP] pad=[PAD] mask=[MASK]", "A sep", "A sep B:1 sep:1", Types::by_count, Masks::as_written, kNoTypes},
    {"XLMProphetNet", Kinds::slow, build_xlm_prophetnet, "prophetnet.tokenizer", "bos=[SEP] eos=[SEP] unk=[UNK] sep=[SEP] pad=[PAD] cls=[CLS] mask=[MASK]", "A sep", "A sep B sep", Types::zero, Masks::as_written, kNoTypes},
    {"Clvp", Kinds::slow, build_clvp, "vocab.json", "bos=<|endoftext|> eos=[STOP] unk=[UNK] pad=[STOP]", "A", "A B", Types::by_count, Masks::as_written, kNoTypes},
    {"Marian", Kinds::slow, build_marian, "source.spm", "eos=</s> unk=<unk> pad=<pad>", "A eos", "A B eos", Types::by_count, Masks::by_id, kNoTypes},
    {"Speech2Text", Kinds::slow, build_speech_to_text, "sentencepiece.bpe.model", "bos=<s> eos=</s> unk=<unk> pad=<pad>", "A eos", "A B eos", Types::by_count, Masks::as_written, kNoTypes},
    {"GPTSw3", Kinds::slow, build_gpt_sw3, "spiece.model", "bos=<s> eos=<|endoftext|> unk=<unk> pad=<pad>", "A", "A B", Types::by_count, Masks::none, kNoTypes},
    {"Bartpho", Kinds::slow, build_bartpho, "sentencepiece.bpe.model", kRobertaTokens, kBertSingle, kRobertaPair, Types::zero, Masks::as_written, kNoTypes},
    {"ErnieM", Kinds::slow, build_ernie_m, "sentencepiece.bpe.model", kBertTokens, kBertSingle, "cls A sep:1 sep:1 B:1 sep:1", Types::as_written, Masks::as_written, "ids"},
    with_ends({"CodeLlama", Kinds::both, build_code_llama, "tokenizer.model", "bos=<s> eos=</s> unk=<unk>", "bos A", "bos A bos:1 B:1", Types::as_written, Masks::as_written, kNoTypes, "fast"}, bos_and_eos),
    {"Tapex", Kinds::slow, build_tapex, "vocab.json", kRobertaTokens, kBertSingle, kRobertaPair, Types::zero, Masks::as_written, kNoTypes},
    needs_prefix({"Bloom", Kinds::fast, nullptr, "", "bos=<s> eos=</s> unk=<unk> pad=<pad>", "A", "A B", Types::by_count, Masks::none, kNoTypes}),
    {"Nougat", Kinds::fast, nullptr, "", "bos=<s> eos=</s> unk=<unk> pad=<pad>", "A", "A B", Types::by_count, Masks::none, kNoTypes},
    with_ends({"GPTNeoX", Kinds::fast, nullptr, "", kEndOfText, "A", "A B", Types::by_count, Masks::as_written, kNoTypes, "", true}, neox_ends),
    with_ends(needs_prefix({"Cohere", Kinds::fast, nullptr, "", "bos=<BOS_TOKEN> eos=<|END_OF_TURN_TOKEN|> unk=<UNK>", "A", "A B", Types::by_count, Masks::none, kNoTypes, "fast"}), bos_and_eos),
};

}  // namespace

std::string_view tokenizer_stem(std::string_view name) {
  if (name.ends_with("Fast")) name.remove_suffix(4);
  if (name.ends_with("Tokenizer")) name.remove_suffix(9);
  return name;
}

const TokenizerClass* find_tokenizer_class(std::string_view class_name) {
  const std::string_view stem = tokenizer_stem(class_name);
  const auto* found = std::find_if(std::begin(kClasses), std::end(kClasses), [&](const TokenizerClass& row) { return row.stem == stem; });
  return found == std::end(kClasses) ? nullptr : found;
}

namespace {

std::optional<AddedToken> read_special(const Json& value) {
  if (value.is_string()) return AddedToken{.content = value.get<std::string>(), .normalized = false, .special = true};
  if (!value.is_object() || !value.contains("content")) return std::nullopt;
  AddedToken token = read_added_token(value, "tokenizer_config.json");
  token.special = true;
  return token;
}

}  // namespace

TokenizerArguments read_tokenizer_arguments(const std::string& folder, Json config, const Json& special_map, const Json& added_tokens) {
  TokenizerArguments arguments{folder, std::move(config), {}};
  Json& json = arguments.config;
  if (const auto found = json.find("added_tokens_decoder"); found != json.end() && found->is_object()) {
    for (const auto& [key, value] : found->items()) {
      const std::string where = concat("tokenizer_config.json: added_tokens_decoder.", key);
      int64_t id = -1;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
      if (error != std::errc() || end != key.data() + key.size() || id < 0) bad(where, "the key is no id");
      arguments.added[id] = read_added_token(value, where);
    }
    return arguments;
  }
  for (const auto& [key, value] : special_map.items()) json[key] = value;
  std::vector<std::string> special;
  for (const char* name : kNames)
    if (const auto found = json.find(concat(name, "_token")); found != json.end())
      if (const auto token = read_special(*found)) special.push_back(token->content);
  if (const auto list = json.find("additional_special_tokens"); list != json.end() && list->is_array())
    for (const Json& value : *list)
      if (const auto token = read_special(value)) special.push_back(token->content);
  for (const auto& [content, id] : added_tokens.items()) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0) bad("added_tokens.json", concat("the id of '", content, "' is ", id.dump(), ", expected an integer"));
    const bool is_special = py::contains(special, content);
    arguments.added[id.get<int64_t>()] = {.content = content, .normalized = !is_special, .special = is_special};
  }
  return arguments;
}

bool ClassBuilder::has(const char* key) const {
  const auto found = config().find(key);
  return found != config().end() && !found->is_null();
}
bool ClassBuilder::flag(const char* key, bool absent) const {
  const auto found = config().find(key);
  return found == config().end() || !found->is_boolean() ? absent : found->get<bool>();
}
std::string ClassBuilder::text(const char* key, const std::string& absent) const {
  const auto found = config().find(key);
  if (found == config().end()) return absent;
  const auto token = read_special(*found);
  return token ? token->content : absent;
}
int64_t ClassBuilder::number(const char* key, int64_t absent) const {
  const auto found = config().find(key);
  return found == config().end() || !found->is_number_integer() ? absent : found->get<int64_t>();
}
bool ClassBuilder::exists(std::string_view name) const { return file_exists(concat(arguments.folder, "/", name)); }
std::string ClassBuilder::path(std::string_view name) const {
  std::string path = concat(arguments.folder, "/", name);
  if (!file_exists(path)) throw Error(ErrorCode::file_not_found, concat("no ", name, " in '", arguments.folder, "', which ", state.tokenizer_class, " reads"));
  return path;
}
std::string ClassBuilder::token(std::string_view name) const {
  const std::string* token = state.special(name);
  return token ? *token : "";
}
AddedToken ClassBuilder::special_or_plain(const std::string& content) const {
  for (const auto& [id, token] : added)
    if (token.content == content) return token;
  for (const AddedToken& token : special)
    if (token.content == content) return token;
  return {.content = content, .normalized = false, .special = true};
}
void ClassBuilder::add_additional(AddedToken token, bool in_front) {
  auto& list = state.additional_special_tokens;
  if (py::contains(list, token.content)) return;
  list.insert(in_front ? list.begin() : list.end(), token.content);
  token.special = true;
  special.push_back(std::move(token));
}
void ClassBuilder::default_max_length(int64_t length) {
  if (!config().contains("model_max_length")) state.model_max_length = length;
}

void apply_class(const TokenizerClass& row, bool fast, ClassBuilder& b) {
  TokenizerState& state = b.state;
  state.layout = {std::string(row.single), std::string(row.pair), row.types, fast && !row.fast_masks ? Masks::none : row.masks};
  if (fast && row.fast_counts_types) state.layout.types = Types::by_count;
  if (fast) state.words_need_prefix_space = row.words_need_prefix_space && !b.flag("add_prefix_space", false);
  if (fast && !row.fast_single.empty()) state.layout.single = row.fast_single, state.layout.pair = row.fast_pair;
  state.model_input_names.clear();
  for (const std::string& name : words(row.inputs))
    state.model_input_names.push_back(name == "ids" ? "input_ids" : name == "types" ? "token_type_ids" : name == "mask" ? "attention_mask" : name);
  if (row.pads_left == "both" || row.pads_left == (fast ? "fast" : "slow")) state.padding_side = Side::left;

  std::map<std::string, AddedToken> defaults;
  for (const std::string& entry : words(row.special)) {
    const size_t equals = entry.find('='), comma = entry.rfind(',');
    const std::string flags = comma == std::string::npos ? "" : entry.substr(comma + 1);
    const auto has = [&](char flag) { return flags.find(flag) != std::string::npos; };
    std::string content = entry.substr(equals + 1, comma == std::string::npos ? comma : comma - equals - 1);
    if (content == "\\0") content.assign(1, '\0');
    defaults[entry.substr(0, equals)] = {.content = std::move(content),
                                         .lstrip = has('l'), .rstrip = has('r'), .normalized = false, .special = true};
  }
  state.filters_timestamps = row.stem == "Whisper";
  const auto listed = [&](const std::string& content) {
    return std::find_if(b.added.begin(), b.added.end(), [&](const auto& entry) { return entry.second.content == content; });
  };
  for (const char* name : kNames) {
    const auto found = b.config().find(concat(name, "_token"));
    const auto standard = defaults.find(name);
    std::optional<AddedToken> token;
    if (found != b.config().end()) token = read_special(*found);
    else if (standard != defaults.end()) token = standard->second;
    if (!token) continue;
    const auto known = listed(token->content);
    if (known != b.added.end()) {
      token = known->second;
    } else if (found != b.config().end() && found->is_string() && standard != defaults.end()) {
      // A bare text gets the flags that the class gives it.
      const std::string content = token->content;
      token = standard->second;
      token->content = content;
    }
    state.special_tokens.emplace_back(name, token->content);
    b.special.push_back(*token);
  }
  if (const auto list = b.config().find("additional_special_tokens"); list != b.config().end() && list->is_array())
    for (const Json& value : *list) {
      auto token = read_special(value);
      if (!token) continue;
      const auto known = listed(token->content);
      b.add_additional(known != b.added.end() ? known->second : *token);
    }
  if (const auto list = b.config().find("extra_special_tokens"); list != b.config().end() && list->is_object())
    for (const auto& [key, value] : list->items()) {
      const auto token = read_special(value);
      if (!token) continue;
      state.extra_special_tokens.emplace_back(key.ends_with("_token") ? key.substr(0, key.size() - 6) : key, token->content);
      b.special.push_back(b.special_or_plain(token->content));
    }
}

SpecialLayout with_language(SpecialLayout layout, const std::string& token) {
  for (std::string* text : {&layout.single, &layout.pair}) {
    std::vector<std::string> items = split(*text, ' ');
    for (std::string& item : items)
      if (item == "lang") item = token.empty() ? "" : "=" + token;
    *text = join(items, " ");
  }
  return layout;
}

std::string language_token(std::string_view stem, const std::string& code) {
  const bool underscores = stem == "M2M100" || stem == "SeamlessM4T" || stem == "PLBart";
  return code.empty() || !underscores || code.starts_with("__") ? code : concat("__", code, "__");
}

}  // namespace backplane::text
