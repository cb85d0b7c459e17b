#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backplane/text/tokenizer.h"

namespace backplane::text {

// Where a class of the reference puts special tokens, as its Python methods do it; the engine's post-processor may do
// otherwise. "cls A sep B:1 sep:1": special tokens by name, "=x" the token x, A and B the texts, types after a colon.
// One that is not set is left out. "eos?" is left out where it is there already.
struct SpecialLayout {
  enum class Types { by_count, zero, as_written };
  std::string single = "A", pair = "A B";
  Types types = Types::by_count;
  bool masks = false;  // the class says which tokens are special; otherwise none are
};

// What transformers knows of a tokenizer beside its vocabulary.
struct TokenizerState {
  std::vector<std::pair<std::string, std::string>> special_tokens;  // "bos" …, in the order of the reference
  std::vector<std::string> additional_special_tokens;
  std::vector<std::pair<std::string, std::string>> extra_special_tokens;  // a class's or a file's own names
  std::optional<int64_t> model_max_length;
  Side padding_side = Side::right, truncation_side = Side::right;
  std::string tokenizer_class;
  std::vector<std::string> model_input_names{"input_ids", "token_type_ids", "attention_mask"};
  bool clean_up_tokenization_spaces = false, split_special_tokens = false;
  int64_t pad_token_type_id = 0;
  SpecialLayout layout;
  std::string src_lang, tgt_lang;

  const std::string* special(std::string_view name) const {
    for (const auto* list : {&special_tokens, &extra_special_tokens})
      for (const auto& [key, token] : *list)
        if (key == name) return &token;
    return nullptr;
  }
  std::vector<std::string> all_special_tokens() const {
    std::vector<std::string> tokens;
    const auto add = [&](const std::string& token) {
      if (!token.empty() && std::find(tokens.begin(), tokens.end(), token) == tokens.end()) tokens.push_back(token);
    };
    for (const auto& entry : special_tokens) add(entry.second);
    for (const std::string& token : additional_special_tokens) add(token);
    for (const auto& entry : extra_special_tokens) add(entry.second);
    return tokens;
  }
};

}  // namespace backplane::text
