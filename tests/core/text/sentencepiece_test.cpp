#include "text/sentencepiece.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <random>

#define LLVMFuzzerTestOneInput fuzz_sentencepiece
#include "../../../fuzz/sentencepiece_fuzz.cpp"
#undef LLVMFuzzerTestOneInput

using backplane::text::SentencePiece;

namespace {

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}
std::string bytes_field(int field, const std::string& bytes) {
  return varint(static_cast<uint64_t>(field) << 3 | 2) + varint(bytes.size()) + bytes;
}
std::string number_field(int field, uint64_t value) {
  return varint(static_cast<uint64_t>(field) << 3) + varint(value);
}
std::string piece(const std::string& text, float score, int type = 1) {
  std::string number(4, '\0');
  std::memcpy(number.data(), &score, 4);
  return bytes_field(1,
                     bytes_field(1, text) + varint(2 << 3 | 5) + number + number_field(3, static_cast<uint64_t>(type)));
}

std::string model(int algorithm, bool byte_fallback) {
  std::string bytes = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3);
  if (byte_fallback) {
    for (const char* byte : {"<0xC3>", "<0xB6>"}) bytes += piece(byte, 0, 6);
  }
  const std::pair<const char*, float> pieces[] = {{"\u2581", -3},    {"a", -4},          {"b", -4},  {"ab", -2},
                                                  {"\u2581a", -3.5}, {"\u2581ab", -2.5}, {"abb", -7}};
  for (const auto& [text, score] : pieces) bytes += piece(text, score);
  bytes += piece("[X]", 0, 4);
  return bytes + bytes_field(2, number_field(3, static_cast<uint64_t>(algorithm)) + number_field(35, byte_fallback));
}

using Pieces = std::vector<std::string>;

}  // namespace

TEST_CASE("a unigram model takes the best path, unknown runs as one piece, user-defined pieces always") {
  const auto sp = SentencePiece::parse(model(1, false), "model");
  CHECK(sp.normalize("  ab   b ") == "\u2581ab\u2581b");
  CHECK(sp.encode("  ab  abb ") == Pieces{"\u2581ab", "\u2581ab", "b"});
  CHECK(sp.encode("a\u00F6\u00F6b") == Pieces{"\u2581a", "\u00F6\u00F6", "b"});
  CHECK(sp.encode("a[X]b") == Pieces{"\u2581a", "[X]", "b"});
  CHECK(sp.encode("") == Pieces{});
  CHECK(sp.id("\u2581ab") == 8);
  CHECK(sp.id("zz") == 0);
  CHECK(sp.decode({"\u2581ab", "<s>", "\u2581a", "<unk>"}) == "ab a \u2047 ");
}

TEST_CASE("a BPE model joins by score, and falls back to bytes") {
  const auto sp = SentencePiece::parse(model(2, true), "model");
  CHECK(sp.encode("abab") == Pieces{"\u2581ab", "ab"});
  CHECK(sp.encode("a\u00F6") == Pieces{"\u2581a", "<0xC3>", "<0xB6>"});
  CHECK(sp.decode({"\u2581a", "<0xC3>", "<0xB6>"}) == "a\u00F6");
  CHECK(sp.decode({"<0xC3>", "b"}) == "\uFFFDb");
}

TEST_CASE("what is no SentencePiece model is refused, and mutations do no harm") {
  CHECK_THROWS_WITH(SentencePiece::parse("", "x.model"), Catch::Contains("x.model is no SentencePiece model"));
  CHECK_THROWS_WITH(SentencePiece::parse("\x0A\xFF\xFF\xFF\xFF\x0F", "x"), Catch::Contains("4294967295 bytes"));
  std::minstd_rand random(3);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = model(1 + static_cast<int>(random() % 4), random() % 2 == 0) +
                        bytes_field(3, bytes_field(2, std::string("\x08\0\0\0\1\2\3\4\5\6\7\x08x\0", 14)));
    for (size_t edits = 1 + random() % 4; edits > 0; --edits)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    fuzz_sentencepiece(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  }
}
