#pragma once

#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace backplane::text {

// The compiled replacement table of a sentencepiece model: a double array that maps prefixes to strings.
// Format: uint32 size of the array in bytes, the array, then strings that end with NUL.
class Charsmap {
 public:
  // Throws `bad_tokenizer` for bytes that are no such table.
  Charsmap(std::string_view bytes, const std::string& where);

  // What replaces `chunk`: the entry of its shortest prefix that has one, as the Rust library does. False: nothing.
  bool find(std::string_view chunk, std::string_view& replacement) const;

  // True for a character of the basic plane that stands alone and that no entry changes.
  bool is_plain(uint32_t code) const { return code < 0x10000 && plain_[code]; }

 private:
  std::vector<uint32_t> units_;
  std::string strings_;
  std::bitset<0x10000> plain_;
};

std::string decode_base64(std::string_view text, const std::string& where);

}  // namespace backplane::text
