// WordPiece (the longest token first, Wu et al. 2016, https://arxiv.org/abs/1609.08144) and WordLevel (a word, a token).
#include "text/model.h"
#include "text/prefix_tree.h"

namespace backplane::text {
namespace {

class WordPiece final : public Model {
 public:
  WordPiece(Vocabulary vocabulary, const Json& settings, const std::string& where) : Model(std::move(vocabulary)) {
    const Fields f(settings, where);
    unk_token_ = f.text("unk_token", "[UNK]");
    prefix_ = f.text("continuing_subword_prefix", "##");
    most_ = static_cast<uint64_t>(f.number("max_input_chars_per_word", 0, INT64_MAX, 100));
    unk_ = vocabulary_.find(unk_token_);
    tree_.build(vocabulary_);
    inner_root_ = PrefixTree::kRoot;
    for (size_t i = 0; i < prefix_.size() && inner_root_ != PrefixTree::kNone;) {
      uint32_t length;
      inner_root_ = tree_.child(inner_root_, decode(prefix_.data() + i, length));
      i += length;
    }
  }

  void tokenize(std::string_view piece, Scratch&, std::vector<ModelToken>& tokens) const override {
    const size_t before = tokens.size();
    const auto size = static_cast<uint32_t>(piece.size());
    bool known = piece.size() <= most_ || count_code_points(piece) <= most_;
    for (uint32_t at = 0; known && at < size;) {
      uint32_t node = at ? inner_root_ : PrefixTree::kRoot, best = kNoId, end = at;
      for (uint32_t i = at; i < size && node != PrefixTree::kNone;) {
        uint32_t length;
        node = tree_.child(node, decode(piece.data() + i, length));
        if (node == PrefixTree::kNone) break;
        i += length;
        if (tree_.id(node) != kNoId) best = tree_.id(node), end = i;
      }
      known = best != kNoId;
      tokens.push_back({best, at, end});
      at = end;
    }
    if (known) return;
    if (unk_ == kNoId) throw Error(ErrorCode::bad_tokenizer, concat("the unknown token '", unk_token_, "' is not in the vocabulary"));
    tokens.resize(before);
    tokens.push_back({unk_, 0, size});
  }

  void write_json(std::string& out, int indent) const override {
    const int inner = indent < 0 ? indent : indent + 1;
    const char* colon = indent < 0 ? ":" : ": ";
    const auto key = [&](const char* name) {
      write_line(out, inner);
      out += concat("\"", name, "\"", colon);
    };
    out += '{';
    key("type");
    out += "\"WordPiece\",";
    key("unk_token");
    write_string(out, unk_token_);
    out += ',';
    key("continuing_subword_prefix");
    write_string(out, prefix_);
    out += ',';
    key("max_input_chars_per_word");
    out += concat(std::to_string(most_), ",");
    key("vocab");
    write_vocabulary(out, vocabulary_, inner);
    write_line(out, indent);
    out += '}';
  }

 private:
  PrefixTree tree_;
  uint32_t inner_root_, unk_;
  uint64_t most_;
  std::string unk_token_, prefix_;
};

class WordLevel final : public Model {
 public:
  WordLevel(Vocabulary vocabulary, const Json& settings, const std::string& where) : Model(std::move(vocabulary)) {
    unk_token_ = Fields(settings, where).text("unk_token", "<unk>");
    unk_ = vocabulary_.find(unk_token_);
  }

  void tokenize(std::string_view piece, Scratch&, std::vector<ModelToken>& tokens) const override {
    uint32_t id = vocabulary_.find(piece);
    if (id == kNoId) id = unk_;
    if (id == kNoId) throw Error(ErrorCode::bad_tokenizer, concat("the unknown token '", unk_token_, "' is not in the vocabulary"));
    tokens.push_back({id, 0, static_cast<uint32_t>(piece.size())});
  }

  void write_json(std::string& out, int indent) const override {
    const int inner = indent < 0 ? indent : indent + 1;
    const char* colon = indent < 0 ? ":" : ": ";
    out += '{';
    write_line(out, inner);
    out += concat("\"type\"", colon, "\"WordLevel\",");
    write_line(out, inner);
    out += concat("\"vocab\"", colon);
    write_vocabulary(out, vocabulary_, inner);
    out += ',';
    write_line(out, inner);
    out += concat("\"unk_token\"", colon);
    write_string(out, unk_token_);
    write_line(out, indent);
    out += '}';
  }

 private:
  std::string unk_token_;
  uint32_t unk_;
};

}  // namespace

std::unique_ptr<Model> make_word_piece(Vocabulary vocabulary, const Json& settings, const std::string& where) {
  return std::make_unique<WordPiece>(std::move(vocabulary), settings, where);
}

std::unique_ptr<Model> make_word_level(Vocabulary vocabulary, const Json& settings, const std::string& where) {
  return std::make_unique<WordLevel>(std::move(vocabulary), settings, where);
}

}  // namespace backplane::text
