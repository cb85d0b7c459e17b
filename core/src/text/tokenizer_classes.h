#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/base/json.h"
#include "text/slow_models.h"
#include "text/slow_tokenizer.h"
#include "text/tokenizer_impl.h"

// The tokenizer classes of the reference, as data over a few algorithms.
namespace backplane::text {

class ClassBuilder;

// What a fast class changes in tokenizer.json by its arguments.
enum class FastUpdates { none, bert_normalizer, trim_offsets, template_of_layout };

struct TokenizerClass {
  std::string_view stem;  // "Bert" for BertTokenizer and BertTokenizerFast
  enum class Kinds { slow, fast, both } kinds = Kinds::both;
  // Makes the Python class's model from the files of its own format; null for classes that have none.
  void (*build)(ClassBuilder&) = nullptr;
  std::string_view file;         // its vocabulary
  std::string_view special;      // "unk=[UNK] mask=<mask>,l": l takes the blanks before the token, r those after it
  std::string_view single = "A", pair = "A B";
  SpecialLayout::Types types = SpecialLayout::Types::by_count;
  SpecialLayout::Masks masks = SpecialLayout::Masks::as_written;
  std::string_view inputs = "ids types mask";
  std::string_view pads_left = "";  // "slow", "fast", "both"
  bool fast_masks = false;          // the fast class has a get_special_tokens_mask
  std::string_view fast_single = "", fast_pair = "";  // where the fast class differs
  FastUpdates updates = FastUpdates::none;
  std::string_view target = "", target_pair = "";     // the layout of a translation's target, where it differs
  std::string_view language = "";                     // the source's, where nothing says which
  void (*fast)(ClassBuilder&) = nullptr;              // settings of the fast class
  bool fast_counts_types = false;                     // the fast class has no create_token_type_ids of its own
  bool words_need_prefix_space = false;
};

// By class name; null for one that is not known.
const TokenizerClass* find_tokenizer_class(std::string_view class_name);
std::string_view tokenizer_stem(std::string_view class_name);

// What from_pretrained gathers from a folder before it calls the class.
struct TokenizerArguments {
  std::string folder;
  Json config = Json::object();          // tokenizer_config.json with special_tokens_map.json where that counts
  std::map<int64_t, AddedToken> added;   // added_tokens_decoder
};
TokenizerArguments read_tokenizer_arguments(const std::string& folder, Json config, const Json& special_map, const Json& added_tokens);

// Arguments of a class being made, and what it becomes.
class ClassBuilder {
 public:
  ClassBuilder(const TokenizerClass& row, const TokenizerArguments& arguments, TokenizerState& state) : row(row), arguments(arguments), state(state), added(arguments.added) {}

  const TokenizerClass& row;
  const TokenizerArguments& arguments;
  TokenizerState& state;
  std::shared_ptr<const SlowModel> model, target_model;
  std::map<int64_t, AddedToken> added;
  std::vector<AddedToken> special;  // with their flags, in the order of the reference
  std::vector<AddedToken> later;    // added when all is done

  bool flag(const char* key, bool absent) const;
  std::string text(const char* key, const std::string& absent = "") const;
  int64_t number(const char* key, int64_t absent) const;
  bool has(const char* key) const;
  const Json& config() const { return arguments.config; }
  // Throws `file_not_found`.
  std::string path(std::string_view name) const;
  bool exists(std::string_view name) const;
  std::string unknown() const { return token("unk"); }
  std::string token(std::string_view name) const;
  AddedToken special_or_plain(const std::string& content) const;
  void add_additional(AddedToken token, bool in_front = false);
  void add_additional(const std::string& content) { add_additional(AddedToken{.content = content, .normalized = false, .special = true}); }
  void default_max_length(int64_t length);
};

// tokenizer.json of a fast class, made from the files of the Python class; nothing where these are not there, or where
// tokenizer.json is (`whole`) and the class does not insist on converting.
std::optional<std::string> convert_to_fast(const TokenizerClass& row, const std::string& class_name, const TokenizerArguments& arguments, bool whole);

// A Python class from its files.
std::unique_ptr<Tokenizer::Impl> make_slow(const std::string& class_name, const TokenizerArguments& arguments);

// TemplateProcessing that does what a layout says.
Json template_of(const SpecialLayout& layout, const Tokenizer::Impl& impl);

// Sets what a class says where the files are silent: special tokens, names of inputs, sides, layout.
void apply_class(const TokenizerClass& row, bool fast, ClassBuilder& builder);

// "lang" in a layout becomes a token of its own.
SpecialLayout with_language(SpecialLayout layout, const std::string& token);
// The token of a language code, or of a code that is a token already.
std::string language_token(std::string_view stem, const std::string& code);

}  // namespace backplane::text
