#include "text/model.h"

namespace backplane::text {

void Model::append_ids(std::string_view text, const std::vector<Span>& pieces, Scratch& scratch, std::vector<int64_t>& ids) const {
  const bool cached = deterministic();
  const std::vector<Span>& words = refine(text, pieces, scratch);
  for (const Span& piece : words) {
    const std::string_view word = text.substr(piece.begin, piece.end - piece.begin);
    WordCache::Entry* entry = nullptr;
    if (cached && word.size() <= WordCache::kWordBytes) {
      entry = &scratch.cache.at(word);
      if (entry->size == word.size() && std::memcmp(entry->word, word.data(), word.size()) == 0) {
        if (entry->count == 1) ids.push_back(entry->ids[0]);
        else ids.insert(ids.end(), entry->ids, entry->ids + entry->count);
        continue;
      }
    }
    scratch.tokens.clear();
    tokenize(word, scratch, scratch.tokens);
    for (const ModelToken& token : scratch.tokens) ids.push_back(token.id);
    if (entry && scratch.tokens.size() <= WordCache::kIds) {
      entry->size = static_cast<uint8_t>(word.size());
      entry->count = static_cast<uint8_t>(scratch.tokens.size());
      std::memcpy(entry->word, word.data(), word.size());
      for (size_t i = 0; i < scratch.tokens.size(); ++i) entry->ids[i] = scratch.tokens[i].id;
    }
  }
}

Vocabulary read_vocabulary(JsonReader& reader, bool byte_level, const std::string& where) {
  Vocabulary vocabulary(byte_level);
  const JsonReader::Within within(reader, where);
  reader.expect('{');
  for (bool first = true; reader.more('}', first); first = false) {
    const std::string_view token = reader.string();
    reader.expect(':');
    vocabulary.add(token, reader.unsigned_integer(), where);
  }
  vocabulary.finish();
  return vocabulary;
}

std::unique_ptr<Model> read_model(JsonReader& reader, bool byte_level) {
  const std::string where = concat(reader.name(), ": model");
  Json settings = Json::object();
  std::string type;
  std::string_view vocab_text, merges_text;
  std::optional<Vocabulary> vocabulary;
  std::optional<std::vector<Merge>> merges;
  reader.expect('{');
  for (bool first = true; reader.more('}', first); first = false) {
    const std::string key(reader.string());
    reader.expect(':');
    // What is long is read where it stands, if the keys before it say how.
    if (key == "vocab" && !type.empty() && type != "Unigram" && reader.peek() == '{') {
      vocabulary = read_vocabulary(reader, byte_level && type == "BPE", concat(where, ".vocab"));
    } else if (key == "merges" && vocabulary && type == "BPE") {
      merges = read_merges(reader, *vocabulary, settings, where);
    } else if (key == "vocab") {
      vocab_text = reader.skip();
    } else if (key == "merges") {
      merges_text = reader.skip();
    } else {
      settings[key] = parse_json(reader.skip(), concat(where, ".", key), ErrorCode::bad_tokenizer);
      if (key == "type") type = Fields(settings, where).text("type");
    }
  }
  if (!vocabulary && vocab_text.empty()) bad(where, "key 'vocab' is missing");
  // Old files do not name the type.
  if (type.empty()) {
    if (!merges_text.empty()) type = "BPE";
    else if (vocab_text[0] == '[') type = "Unigram";
    else type = settings.contains("continuing_subword_prefix") ? "WordPiece" : "WordLevel";
  }
  JsonReader vocab(vocab_text, concat(where, ".vocab"));
  if (type == "Unigram" && !vocabulary) return read_unigram(settings, vocab, where);
  if (!vocabulary) vocabulary = read_vocabulary(vocab, byte_level && type == "BPE", concat(where, ".vocab"));
  if (type == "BPE") {
    if (!merges && merges_text.empty()) bad(where, "key 'merges' is missing");
    JsonReader late(merges_text, concat(where, ".merges"));
    if (!merges) merges = read_merges(late, *vocabulary, settings, where);
    return make_bpe(std::move(*vocabulary), std::move(*merges), settings, where);
  }
  if (type == "WordPiece") return make_word_piece(std::move(*vocabulary), settings, where);
  if (type == "WordLevel") return make_word_level(std::move(*vocabulary), settings, where);
  bad(where, concat("unknown model type '", type, "'"));
}

void write_line(std::string& out, int indent) {
  if (indent < 0) return;
  out += '\n';
  out.append(static_cast<size_t>(indent) * 2, ' ');
}

void write_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      default:
        if (static_cast<uint8_t>(c) < 0x20) {
          constexpr char kDigits[] = "0123456789abcdef";
          out += "\\u00";
          out += kDigits[c >> 4];
          out += kDigits[c & 15];
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

void write_vocabulary(std::string& out, const Vocabulary& vocabulary, int indent) {
  out += '{';
  bool first = true;
  for (uint32_t id = 0; id < vocabulary.id_limit(); ++id) {
    if (!vocabulary.contains(id)) continue;
    if (!first) out += ',';
    first = false;
    write_line(out, indent < 0 ? indent : indent + 1);
    write_string(out, vocabulary.token(id));
    out += indent < 0 ? ":" : ": ";
    out += std::to_string(id);
  }
  if (!first) write_line(out, indent);
  out += '}';
}

}  // namespace backplane::text
