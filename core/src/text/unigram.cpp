// Unigram language model (Kudo 2018, https://arxiv.org/abs/1804.10959): the most probable split of a piece, by Viterbi.
#include <cmath>
#include <limits>

#include "text/byte_trie.h"
#include "text/model.h"

namespace backplane::text {
namespace {

constexpr double kUnknownPenalty = 10;

class Unigram final : public Model {
 public:
  Unigram(Vocabulary vocabulary, std::vector<double> scores, const Json& settings, const std::string& where)
      : Model(std::move(vocabulary)), scores_(std::move(scores)), tree_(vocabulary_) {
    const Fields f(settings, where);
    if (f.has("unk_id")) {
      unk_ = static_cast<uint32_t>(f.number("unk_id", 0, INT64_MAX));
      if (f.number("unk_id", 0, INT64_MAX) >= static_cast<int64_t>(scores_.size()))
        bad(f.path("unk_id"), concat("found ", unk_, ", the vocabulary has ", scores_.size(), " tokens"));
    }
    byte_fallback_ = f.flag("byte_fallback", false);
    for (const double score : scores_) lowest_ = std::min(lowest_, score);
    for (int byte = 0; byte < 256; ++byte) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
      fallback_[byte] = vocabulary_.find(name);
    }
  }

  void tokenize(std::string_view piece, Scratch& scratch, std::vector<ModelToken>& tokens) const override {
    const auto size = static_cast<uint32_t>(piece.size());
    auto& best = scratch.scores;       // of the best split that ends here
    auto& from = scratch.links;        // where its last token begins
    auto& ids = scratch.ranks;
    best.assign(size + 1, 0);
    from.assign(size + 1, UINT32_MAX);
    ids.assign(size + 1, 0);
    const double unknown = lowest_ - kUnknownPenalty;
    const auto offer = [&](uint32_t begin, uint32_t end, double score, uint32_t id) {
      if (from[end] != UINT32_MAX && !(score > best[end])) return;
      best[end] = score;
      from[end] = begin;
      ids[end] = id;
    };
    for (uint32_t begin = 0; begin < size;) {
      const uint32_t first = sequence_length(piece[begin]);
      bool has_single = false;
      tree_.each(piece.substr(begin), [&](uint32_t length, uint32_t id) {
        offer(begin, begin + length, scores_[id] + best[begin], id);
        has_single |= length == first;
      });
      if (!has_single) {
        if (unk_ == kNoId) throw Error(ErrorCode::bad_tokenizer, "the text has an unknown character and the tokenizer has no unk_id");
        offer(begin, begin + first, unknown + best[begin], unk_);
      }
      begin += first;
    }
    const size_t start = tokens.size();
    for (uint32_t end = size; end > 0;) {
      uint32_t begin = from[end];
      if (unk_ != kNoId && ids[end] == unk_) {
        while (begin > 0 && ids[begin] == unk_) begin = from[begin];
        add_unknown(piece, begin, end, tokens);
      } else {
        tokens.push_back({ids[end], begin, end});
      }
      end = begin;
    }
    std::reverse(tokens.begin() + static_cast<ptrdiff_t>(start), tokens.end());
  }

  void write_json(std::string& out, int indent) const override {
    const int inner = indent < 0 ? indent : indent + 1;
    const int pair = inner < 0 ? inner : inner + 1;
    const char* colon = indent < 0 ? ":" : ": ";
    out += '{';
    write_line(out, inner);
    out += concat("\"type\"", colon, "\"Unigram\",");
    write_line(out, inner);
    out += concat("\"unk_id\"", colon, unk_ == kNoId ? "null" : std::to_string(unk_), ",");
    write_line(out, inner);
    out += concat("\"vocab\"", colon, "[");
    for (uint32_t id = 0; id < scores_.size(); ++id) {
      if (id) out += ',';
      write_line(out, pair);
      out += '[';
      write_line(out, pair < 0 ? pair : pair + 1);
      write_string(out, vocabulary_.token(id));
      out += ',';
      write_line(out, pair < 0 ? pair : pair + 1);
      out += python_float(scores_[id]);
      write_line(out, pair);
      out += ']';
    }
    if (!scores_.empty()) write_line(out, inner);
    out += "],";
    write_line(out, inner);
    out += concat("\"byte_fallback\"", colon, byte_fallback_ ? "true" : "false");
    write_line(out, indent);
    out += '}';
  }

 private:
  // From the back: the caller turns the order round.
  void add_unknown(std::string_view piece, uint32_t begin, uint32_t end, std::vector<ModelToken>& tokens) const {
    const std::string_view text = piece.substr(begin, end - begin);
    const uint32_t id = vocabulary_.find(text);
    if (id != kNoId) return tokens.push_back({id, begin, end});
    if (byte_fallback_) {
      bool all = true;
      for (const char c : text) all &= fallback_[static_cast<uint8_t>(c)] != kNoId;
      if (all) {
        for (size_t i = text.size(); i-- > 0;) tokens.push_back({fallback_[static_cast<uint8_t>(text[i])], begin, end});
        return;
      }
    }
    tokens.push_back({unk_, begin, end, true});
  }

  std::vector<double> scores_;
  ByteTrie tree_;
  double lowest_ = std::numeric_limits<double>::infinity();
  uint32_t unk_ = kNoId, fallback_[256];
  bool byte_fallback_ = false;
};

}  // namespace

std::unique_ptr<Model> read_unigram(const Json& settings, JsonReader& vocab, const std::string& where) {
  Vocabulary vocabulary;
  std::vector<double> scores;
  const std::string key = concat(where, ".vocab");
  vocab.expect('[');
  for (bool first = true; vocab.more(']', first); first = false) {
    vocab.expect('[');
    const std::string_view token = vocab.string();
    vocabulary.add(token, scores.size(), key);
    vocab.expect(',');
    scores.push_back(vocab.number());
    vocab.expect(']');
  }
  vocabulary.finish();
  return std::make_unique<Unigram>(std::move(vocabulary), std::move(scores), settings, where);
}

}  // namespace backplane::text
