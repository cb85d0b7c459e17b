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
// "#5" is the id 5; "eos?" is left out where it is there already.
struct SpecialLayout {
  // What create_token_type_ids_from_sequences counts: one for each of cls and sep that is set; the layout's tokens; or
  // Roberta's cls and sep, whatever the layout is.
  enum class Types { by_count, zero, as_written, roberta };
  // What get_special_tokens_mask says: nothing, the layout's tokens, Bert's or Roberta's, or those of the texts that are special.
  enum class Masks { none, as_written, bert, roberta, by_id };
  std::string single = "A", pair = "A B";
  Types types = Types::by_count;
  Masks masks = Masks::none;
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
  bool words_need_prefix_space = false;  // a fast class that refuses words without add_prefix_space
  bool filters_timestamps = false;       // Whisper: "<|1.50|>" is no text
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
