#include "text/model.h"

namespace backplane::text {

void Model::append_ids(std::string_view text, const std::vector<Span>& pieces, Scratch& scratch, std::vector<int64_t>& ids) const {
  const bool cached = deterministic();
  for (const Span& piece : pieces) {
    const std::string_view word = text.substr(piece.begin, piece.end - piece.begin);
    WordCache::Entry* entry = nullptr;
    if (cached && word.size() <= WordCache::kWordBytes) {
      entry = &scratch.cache.at(word);
      if (entry->size == word.size() && std::memcmp(entry->word, word.data(), word.size()) == 0) {
        ids.insert(ids.end(), entry->ids, entry->ids + entry->count);
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
  reader.expect('{');
  for (bool first = true; reader.more('}', first); first = false) {
    const std::string token(reader.string());
    reader.expect(':');
    vocabulary.add(token, reader.unsigned_integer(), where);
  }
  vocabulary.finish(where);
  return vocabulary;
}

bool is_bpe(std::string_view model, const std::string& name) {
  JsonReader reader(model, name);
  bool has_merges = false;
  reader.expect('{');
  for (bool first = true; reader.more('}', first); first = false) {
    const std::string key(reader.string());
    reader.expect(':');
    if (key == "type") return reader.string() == "BPE";
    has_merges |= key == "merges";
    reader.skip();
  }
  return has_merges;
}

std::unique_ptr<Model> read_model(JsonReader& reader, bool byte_level) {
  const std::string where = concat(reader.name(), ": model");
  Json settings = Json::object();
  std::string_view vocab_text, merges_text;
  reader.expect('{');
  for (bool first = true; reader.more('}', first); first = false) {
    const std::string key(reader.string());
    reader.expect(':');
    const std::string_view value = reader.skip();
    if (key == "vocab") vocab_text = value;
    else if (key == "merges") merges_text = value;
    else settings[key] = parse_json(value, concat(where, ".", key), ErrorCode::bad_tokenizer);
  }
  if (vocab_text.empty()) bad(where, "key 'vocab' is missing");
  JsonReader vocab(vocab_text, concat(where, ".vocab")), merges(merges_text, concat(where, ".merges"));
  std::string type = Fields(settings, where).text("type", "");
  // Old files do not name the type.
  if (type.empty()) {
    if (!merges_text.empty()) type = "BPE";
    else if (vocab_text[0] == '[') type = "Unigram";
    else type = settings.contains("continuing_subword_prefix") ? "WordPiece" : "WordLevel";
  }
  if (type == "BPE") return read_bpe(settings, &vocab, merges_text.empty() ? nullptr : &merges, byte_level, where);
  if (type == "WordPiece") return read_word_piece(settings, &vocab, where);
  if (type == "WordLevel") return read_word_level(settings, &vocab, where);
  if (type == "Unigram") return read_unigram(settings, &vocab, where);
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
