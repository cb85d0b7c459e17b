#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace backplane::text {

/// A SentencePiece model as the C++ library runs it: its own normalization, unigram, BPE or character model, byte
/// fallback, user-defined pieces. Differs from what tokenizers makes of the same file. Immutable.
class SentencePiece {
 public:
  enum class PieceType : uint8_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
  enum class Algorithm : uint8_t { unigram = 1, bpe = 2, word = 3, character = 4 };
  struct Piece {
    std::string text;
    float score = 0;
    PieceType type = PieceType::normal;
  };
  struct Normalization {
    std::string charsmap;
    bool dummy_prefix = true, remove_extra_spaces = true, escape_spaces = true;
  };

  /// Throws `bad_tokenizer` for bytes that are no model; `name` is the file.
  static SentencePiece parse(std::string_view bytes, const std::string& name);
  static SentencePiece from_file(const std::string& path);

  /// The pieces of a text. Neighbouring unknown characters are one piece, as they stand in the text.
  std::vector<std::string> encode(std::string_view text) const;
  std::string normalize(std::string_view text) const;
  std::string decode(const std::vector<std::string>& pieces) const;

  size_t size() const { return pieces_.size(); }
  const std::vector<Piece>& pieces() const { return pieces_; }
  const Piece& piece(size_t id) const { return pieces_[id]; }
  /// The unknown id for what is no piece.
  int64_t id(std::string_view piece) const;
  int64_t unknown_id() const { return unknown_; }
  /// As the training settings have them.
  int64_t trained_unknown_id() const { return trained_unknown_id_; }
  const std::string& trained_unknown_piece() const { return trained_unknown_piece_; }
  Algorithm algorithm() const { return algorithm_; }
  bool byte_fallback() const { return byte_fallback_; }
  const Normalization& normalization() const { return normalization_; }
  void set_dummy_prefix(bool on) { normalization_.dummy_prefix = on; }

 private:
  struct Span {
    size_t begin, end;
    int64_t id;
  };
  void finish(const std::string& name);
  std::pair<std::string_view, size_t> normalize_prefix(std::string_view text) const;
  size_t longest_user_defined(std::string_view text) const;
  std::vector<Span> encode_unigram(std::string_view text) const;
  std::vector<Span> encode_bpe(std::string_view text) const;
  std::vector<Span> encode_characters(std::string_view text) const;

  struct Node {
    std::vector<std::pair<uint8_t, uint32_t>> next;
    int64_t id = -1;
  };
  uint32_t child(uint32_t node, uint8_t byte) const;

  std::vector<Piece> pieces_;
  std::unordered_map<std::string, int64_t> ids_, reserved_;
  std::vector<Node> trie_;          // of ids_
  std::vector<uint32_t> units_;     // the charsmap's double array
  std::string replacements_;
  Normalization normalization_;
  Algorithm algorithm_ = Algorithm::unigram;
  bool byte_fallback_ = false, space_suffix_ = false, has_user_defined_ = false;
  std::string unknown_surface_ = " \xE2\x81\x87 ";
  int64_t unknown_ = 0, trained_unknown_id_ = 0;
  std::string trained_unknown_piece_ = "<unk>";
  float min_score_ = 0, max_score_ = 0;
};

inline constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";  // ▁

}  // namespace backplane::text
