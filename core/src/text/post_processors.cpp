#include "text/post_processors.h"

#include <algorithm>
#include <map>

#include "text/encoding_ops.h"
#include "text/json_fields.h"
#include "text/unicode.h"

namespace backplane::text {
namespace {

struct SpecialToken {
  std::string token;
  int64_t id = 0;
};

Encoding special(const std::vector<SpecialToken>& tokens, int64_t type_id, bool details) {
  Encoding out;
  for (const SpecialToken& token : tokens) {
    out.ids.push_back(token.id);
    if (details) out.tokens.push_back(token.token);
  }
  const size_t count = tokens.size();
  out.type_ids.assign(count, type_id);
  out.attention_mask.assign(count, 1);
  out.special_tokens_mask.assign(count, 1);
  if (details) {
    out.offsets.assign(count, {0, 0});
    out.word_ids.assign(count, -1);
  }
  return out;
}

// Blanks at the ends of tokens leave the offsets.
void trim_offsets(Encoding& encoding, bool add_prefix_space) {
  const auto is_blank = [](uint32_t code) { return code == 0x120 || is_white_space(code); };
  for (size_t i = 0; i < encoding.tokens.size(); ++i) {
    const std::string& token = encoding.tokens[i];
    auto& [begin, end] = encoding.offsets[i];
    int64_t leading = 0, trailing = 0;
    uint32_t length;
    for (size_t at = 0; at < token.size() && is_blank(decode(token.data() + at, length)); at += length) ++leading;
    for (size_t at = token.size(); at > 0 && is_blank(decode_before(token.data() + at, length)); at -= length) ++trailing;
    if (leading > 0) {
      // One blank at the start may be the one that was added.
      if ((i == 0 || begin == 0) && add_prefix_space && leading == 1) leading = 0;
      begin = std::min(begin + leading, end);
    }
    if (trailing > 0 && end >= trailing) end = std::max(end - trailing, begin);
  }
  for (Encoding& more : encoding.overflowing) trim_offsets(more, add_prefix_space);
}

class ByteLevelProcessor final : public PostProcessor {
 public:
  ByteLevelProcessor(bool trims, bool add_prefix_space) : trims_(trims), add_prefix_space_(add_prefix_space) {}
  size_t added(bool) const override { return 0; }
  void process(std::vector<Encoding>& encodings, bool, bool) const override {
    if (trims_)
      for (Encoding& encoding : encodings) trim_offsets(encoding, add_prefix_space_);
    for (size_t i = 0; i < encodings.size(); ++i) set_sequence(encodings[i], static_cast<int64_t>(i));
  }

 private:
  bool trims_, add_prefix_space_;
};

// [CLS] A [SEP] B [SEP], or RoBERTa's <s> A </s></s> B </s>.
class PairProcessor final : public PostProcessor {
 public:
  struct Settings {
    bool roberta, trims, add_prefix_space;
  };
  PairProcessor(SpecialToken cls, SpecialToken sep, Settings settings) : cls_{std::move(cls)}, sep_{std::move(sep)}, settings_(settings) {}
  size_t added(bool pair) const override { return !pair ? 2 : settings_.roberta ? 4 : 3; }
  void process(std::vector<Encoding>& encodings, bool add_special_tokens, bool details) const override {
    if (settings_.trims)
      for (Encoding& encoding : encodings) trim_offsets(encoding, settings_.add_prefix_space);
    if (settings_.roberta)
      for (Encoding& encoding : encodings) std::fill(encoding.type_ids.begin(), encoding.type_ids.end(), 0);
    if (!add_special_tokens) return;
    for (size_t i = 0; i < encodings.size(); ++i) {
      wrap(encodings[i], i, details);
      for (Encoding& more : encodings[i].overflowing) wrap(more, i, details);
    }
  }

 private:
  void wrap(Encoding& encoding, size_t index, bool details) const {
    const int64_t last_type = settings_.roberta || index == 0 ? 0 : 1;
    if (settings_.roberta) std::fill(encoding.type_ids.begin(), encoding.type_ids.end(), 0);
    Encoding inner = std::move(encoding);
    std::vector<Encoding> overflowing = std::move(inner.overflowing);
    inner.overflowing.clear();
    encoding = {};
    inner.sequence_ranges.clear();
    set_sequence(inner, static_cast<int64_t>(index));
    if (index == 0) merge_with(encoding, special(cls_, 0, details));
    else if (settings_.roberta) merge_with(encoding, special(sep_, 0, details));
    merge_with(encoding, inner);
    merge_with(encoding, special(sep_, last_type, details));
    encoding.overflowing = std::move(overflowing);
  }
  std::vector<SpecialToken> cls_, sep_;
  Settings settings_;
};

class TemplateProcessor final : public PostProcessor {
 public:
  TemplateProcessor(const Fields& f) {
    const Fields tokens(f.at("special_tokens"), f.path("special_tokens"));
    for (const auto& [key, value] : f.at("special_tokens").items()) {
      const Fields token(value, concat(f.path("special_tokens"), ".", key));
      const Json& ids = token.list("ids");
      const Json& texts = token.list("tokens");
      if (ids.size() != texts.size()) bad(token.where(), concat("found ", ids.size(), " ids and ", texts.size(), " tokens"));
      std::vector<SpecialToken>& made = special_[key];
      for (size_t i = 0; i < ids.size(); ++i) {
        if (!ids[i].is_number_unsigned() || !texts[i].is_string()) bad(token.where(), "expected ids and the texts of tokens");
        made.push_back({texts[i].get<std::string>(), ids[i].get<int64_t>()});
      }
    }
    single_ = read(f, "single");
    pair_ = read(f, "pair");
  }

  size_t added(bool pair) const override {
    size_t count = 0;
    for (const Piece& piece : pair ? pair_ : single_)
      if (piece.sequence < 0) count += special_.at(piece.token).size();
    return count;
  }

  void process(std::vector<Encoding>& encodings, bool add_special_tokens, bool details) const override {
    if (encodings.empty() || encodings.size() > 2)
      throw Error(ErrorCode::bad_tokenizer, concat("a template got ", encodings.size(), " encodings, expected one or two"));
    std::vector<Encoding> out;
    for (const Piece& piece : encodings.size() == 2 ? pair_ : single_) {
      if (piece.sequence >= 0) {
        if (static_cast<size_t>(piece.sequence) >= encodings.size())
          throw Error(ErrorCode::bad_tokenizer, "the template for one text names a second one");
        Encoding& encoding = encodings[static_cast<size_t>(piece.sequence)];
        encoding.type_ids.assign(encoding.size(), piece.type_id);
        set_sequence(encoding, piece.sequence);
        out.push_back(encoding);
      } else if (add_special_tokens) {
        out.push_back(special(special_.at(piece.token), piece.type_id, details));
      }
    }
    encodings = std::move(out);
  }

 private:
  struct Piece {
    int sequence;  // -1: a special token
    std::string token;
    int64_t type_id;
  };

  std::vector<Piece> read(const Fields& f, const char* key) const {
    std::vector<Piece> pieces;
    const Json& list = f.list(key);
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string where = concat(f.path(key), "[", i, "]");
      const Fields piece(list[i], where);
      const bool is_sequence = piece.has("Sequence");
      const char* name = is_sequence ? "Sequence" : "SpecialToken";
      const Fields inner(piece.at(name), concat(where, ".", name));
      const std::string id = inner.text("id");
      const int64_t type_id = inner.number("type_id", 0, UINT32_MAX);
      if (!is_sequence && !special_.count(id)) bad(where, concat("'", id, "' is not among special_tokens"));
      if (is_sequence && id != "A" && id != "B") bad(where, concat("found sequence '", id, "', expected A or B"));
      pieces.push_back({is_sequence ? id == "B" : -1, id, type_id});
    }
    return pieces;
  }

  std::map<std::string, std::vector<SpecialToken>> special_;
  std::vector<Piece> single_, pair_;
};

class ProcessorSequence final : public PostProcessor {
 public:
  explicit ProcessorSequence(std::vector<std::unique_ptr<PostProcessor>> parts) : parts_(std::move(parts)) {}
  size_t added(bool pair) const override {
    size_t count = 0;
    for (const auto& part : parts_) count += part->added(pair);
    return count;
  }
  void process(std::vector<Encoding>& encodings, bool add_special_tokens, bool details) const override {
    for (const auto& part : parts_) part->process(encodings, add_special_tokens, details);
  }

 private:
  std::vector<std::unique_ptr<PostProcessor>> parts_;
};

SpecialToken read_special(const Fields& f, const char* key) {
  const Json& value = f.list(key);
  if (value.size() != 2 || !value[0].is_string() || !value[1].is_number_unsigned()) bad(f.path(key), "expected [token, id]");
  return {value[0].get<std::string>(), value[1].get<int64_t>()};
}

}  // namespace

std::unique_ptr<PostProcessor> make_post_processor(const Json& config, const std::string& where) {
  if (config.is_null()) return nullptr;
  const Fields f(config, where);
  const std::string type = f.text("type");
  if (type == "BertProcessing")
    return std::make_unique<PairProcessor>(read_special(f, "cls"), read_special(f, "sep"), PairProcessor::Settings{false, false, false});
  if (type == "RobertaProcessing")
    return std::make_unique<PairProcessor>(read_special(f, "cls"), read_special(f, "sep"),
                                           PairProcessor::Settings{true, f.flag("trim_offsets"), f.flag("add_prefix_space")});
  if (type == "ByteLevel") return std::make_unique<ByteLevelProcessor>(f.flag("trim_offsets"), f.flag("add_prefix_space"));
  if (type == "TemplateProcessing") return std::make_unique<TemplateProcessor>(f);
  if (type == "Sequence") {
    std::vector<std::unique_ptr<PostProcessor>> parts;
    for (const Json& part : f.list("processors"))
      if (auto made = make_post_processor(part, concat(where, ".processors[", parts.size(), "]"))) parts.push_back(std::move(made));
    return std::make_unique<ProcessorSequence>(std::move(parts));
  }
  bad(where, concat("unknown post-processor '", type, "'"));
}

Encoding post_process(const PostProcessor* processor, std::vector<Encoding> encodings, bool add_special_tokens, bool details) {
  if (!processor) {
    if (encodings.size() > 1)
      for (size_t i = 0; i < encodings.size(); ++i) set_sequence(encodings[i], static_cast<int64_t>(i));
  } else {
    for (size_t i = 0; i < encodings.size(); ++i) {
      set_sequence(encodings[i], static_cast<int64_t>(i));
      for (Encoding& more : encodings[i].overflowing) set_sequence(more, static_cast<int64_t>(i));
      encodings[i].type_ids.assign(encodings[i].size(), static_cast<int64_t>(i));
    }
    processor->process(encodings, add_special_tokens, details);
  }
  if (encodings.size() == 1) return std::move(encodings[0]);
  Encoding out;
  for (const Encoding& encoding : encodings) merge_with(out, encoding);
  return out;
}

}  // namespace backplane::text
