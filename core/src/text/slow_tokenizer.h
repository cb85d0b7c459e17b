#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "backplane/text/tokenizer.h"
#include "text/tokenizer_state.h"

namespace backplane::text {

// No id: Python's None.
inline constexpr int64_t kNone = -1;

// What makes one of the reference's Python tokenizer classes: cutting plain text and naming ids. Immutable, any thread.
class SlowModel {
 public:
  virtual ~SlowModel() = default;

  // The tokens of a stretch without added tokens; `kept` are the special tokens, which some models do not cut.
  virtual std::vector<std::string> tokenize(std::string_view text, const std::vector<std::string>& kept) const = 0;
  // The id, the unknown token's id, or kNone.
  virtual int64_t id(const std::string& token) const = 0;
  virtual std::optional<std::string> token(int64_t id) const = 0;
  virtual int64_t size() const = 0;
  // How many tokens get_vocab() lists, and the id of one of them, or kNone.
  virtual int64_t listed() const { return size(); }
  virtual int64_t listed_id(const std::string& token) const {
    const int64_t known = id(token);
    return known >= 0 && this->token(known) == token ? known : kNone;
  }
  // get_vocab() asks for the token of each id below size(), so that an added token hides the one whose id it has.
  virtual bool by_id() const { return false; }
  // The text of tokens; `special` are all special tokens.
  virtual std::string join(std::vector<std::string> tokens, const std::vector<std::string>& special) const;
  // Of a whole text before added tokens are looked for, and of the tokens afterwards.
  virtual std::string prepare(std::string_view text, bool is_word) const;
  virtual void finish(std::vector<std::string>& tokens, const std::vector<std::string>& special) const;
  // The whole text goes through lower case before added tokens are looked for.
  virtual bool lower_case() const { return false; }
  // How decode() puts added tokens and the runs between them together: blanks around those that are not special; or
  // nothing between them; or every added token by itself, without or with blanks.
  enum class Decoding { spaced, joined, apart, apart_spaced };
  virtual Decoding decoding() const { return Decoding::spaced; }
  virtual std::string finish_decoding(std::string text) const { return text; }
  // decode() minds clean_up_tokenization_spaces.
  virtual bool cleans_up() const { return true; }
  // Tokens that are looked for like added ones, but cut as plain text.
  virtual std::vector<std::string> landmarks() const { return {}; }
  // With by_id(), how many ids get_vocab() asks for.
  virtual int64_t listed_ids() const { return size(); }
  // A decode() of its own, or nothing.
  virtual std::optional<std::string> decode(const std::vector<std::string>& tokens, const std::vector<std::string>& special, bool skip_special) const;
};

// The reference's PreTrainedTokenizer: added tokens around a model. Const members may be called from any thread.
class SlowTokenizer {
 public:
  SlowTokenizer(std::shared_ptr<const SlowModel> model, TokenizerState& state) : model_(std::move(model)), state_(state) {}

  // At once, before any other call: the added tokens of the files, then the special ones that are not there yet.
  void start(const std::map<int64_t, AddedToken>& added, const std::vector<AddedToken>& special);

  std::vector<std::string> tokenize(std::string_view text, bool is_word = false) const;
  // No added token is taken from the spans; each stretch is cut by itself.
  std::vector<std::string> tokenize_marked(std::string_view text, const std::vector<std::pair<size_t, size_t>>& plain) const;
  int64_t id(const std::string& token) const;
  std::optional<std::string> token(int64_t id) const;
  std::string decode(const std::vector<int64_t>& ids, bool skip_special) const;
  std::string join(const std::vector<std::string>& tokens) const { return model_->join(tokens, state_.all_special_tokens()); }

  int64_t add_tokens(const std::vector<AddedToken>& tokens, bool special);

  const SlowModel& model() const { return *model_; }
  void set_model(std::shared_ptr<const SlowModel> model) { model_ = std::move(model); }
  // Tokens with the added ones, each once.
  int64_t size() const { return total_; }
  const std::map<int64_t, AddedToken>& added() const { return added_; }
  const std::unordered_map<std::string, int64_t>& added_ids() const { return added_ids_; }

 private:
  std::vector<std::string> cut(std::string_view text) const;
  void count();
  void look_for(const std::string& token);

  struct TrieNode {
    std::map<std::string, size_t, std::less<>> next;
    bool end = false;
  };

  std::shared_ptr<const SlowModel> model_;
  TokenizerState& state_;
  std::map<int64_t, AddedToken> added_;
  std::unordered_map<std::string, int64_t> added_ids_;
  std::vector<TrieNode> trie_{1};
  int64_t total_ = 0;
};

}  // namespace backplane::text
