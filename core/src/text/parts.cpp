#include "backplane/text/parts.h"

#include "text/decoders.h"
#include "text/model.h"
#include "text/normalizers.h"
#include "text/pre_tokenizers.h"

namespace backplane {
namespace {

Json read(std::string_view json, const char* name) {
  return parse_json(json, name, ErrorCode::bad_tokenizer, {.bytes = limits::kTokenizerBytes});
}

// Bytes of `text` as code points.
std::vector<int64_t> code_points(std::string_view text) {
  std::vector<int64_t> index;
  int64_t count = -1;
  for (const char byte : text) index.push_back(count += !text::is_continuation(byte));
  index.push_back(count + 1);
  return index;
}

}  // namespace

NormalizedText normalize_text(std::string_view normalizer_json, std::string_view input) {
  const std::string original = text::replace_invalid(input);
  const auto index = code_points(original);
  text::AlignedText text;
  text.reset(original, 0, true);
  if (const auto normalizer = text::make_normalizer(read(normalizer_json, "normalizer"), "normalizer")) normalizer->apply(text);
  NormalizedText out{std::string(text.text()), {}};
  for (size_t i = 0; i < out.text.size(); ++i) {
    if (text::is_continuation(out.text[i])) continue;
    const text::Span span = text.span(i);
    out.offsets.emplace_back(index[span.begin], index[span.end]);
  }
  return out;
}

std::vector<TextPiece> pre_tokenize_text(std::string_view normalizer_json, std::string_view pre_tokenizer_json, std::string_view input) {
  const std::string original = text::replace_invalid(input);
  const auto index = code_points(original);
  text::Scratch scratch;
  scratch.text.reset(original, 0, true);
  if (const auto normalizer = text::make_normalizer(read(normalizer_json, "normalizer"), "normalizer")) normalizer->apply(scratch.text);
  std::vector<TextPiece> pieces;
  if (scratch.text.text().empty()) return pieces;
  scratch.cuts.assign(1, {0, static_cast<uint32_t>(scratch.text.text().size())});
  if (const auto pre_tokenizer = text::make_pre_tokenizer(read(pre_tokenizer_json, "pre_tokenizer"), false, "pre_tokenizer"))
    pre_tokenizer->apply(scratch.text, scratch.cuts, scratch);
  for (const text::Span& cut : scratch.cuts) {
    const text::Span span = scratch.text.span(cut);
    pieces.push_back({std::string(scratch.text.text().substr(cut.begin, cut.end - cut.begin)), index[span.begin], index[span.end]});
  }
  return pieces;
}

std::string decode_tokens(std::string_view decoder_json, const std::vector<std::string>& tokens) {
  std::vector<std::string> parts = tokens;
  if (const auto decoder = text::make_decoder(read(decoder_json, "decoder"), "decoder")) decoder->apply(parts);
  return join(parts, "");
}

struct TokenizerModel::Impl {
  std::unique_ptr<text::Model> model;
};

TokenizerModel::TokenizerModel(std::string_view model_json) : impl_(std::make_unique<Impl>()) {
  text::JsonReader reader(model_json, "model");
  impl_->model = text::read_model(reader, false);
}
TokenizerModel::~TokenizerModel() = default;

std::vector<TokenizerModel::Token> TokenizerModel::tokenize(std::string_view piece) const {
  text::Scratch scratch;
  std::vector<text::ModelToken> tokens;
  const std::string valid = text::replace_invalid(piece);
  impl_->model->tokenize(valid, scratch, tokens);
  std::vector<Token> out;
  for (const auto& token : tokens)
    out.push_back({token.verbatim ? valid.substr(token.begin, token.end - token.begin) : impl_->model->vocabulary().token(token.id),
                   token.id, token.begin, token.end});
  return out;
}

}  // namespace backplane
