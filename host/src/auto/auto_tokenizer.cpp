#include "backplane/host/auto_tokenizer.h"

#include "backplane/config/config_json.h"
#include "backplane/host/gguf.h"
#include "backplane/host/resolve_preprocessor.h"
#include "backplane/text/gguf_tokenizer.h"

namespace backplane {
namespace {

// Every file that some tokenizer class reads (AC-129); each may be absent.
constexpr const char* kFiles[] = {"tokenizer.json",      "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
                                  "vocab.json",          "merges.txt",            "vocab.txt",               "spiece.model",      "tokenizer.model",
                                  "sentencepiece.bpe.model", "sentencepiece.model", "spm.model",             "tokenizer.tiktoken", "normalizer.json",
                                  "bpe.codes",           "source.spm",            "target.spm",              "dict.txt",          "vocab-src.json",
                                  "vocab-tgt.json",      "prophetnet.tokenizer",  "spm_char.model",          "emoji.json",        "entity_vocab.json",
                                  "byte_maps.json",      "word_shape.json",       "word_pronunciation.json"};
constexpr const char* kTemplateFolder = "additional_chat_templates/";

}  // namespace

std::shared_ptr<Tokenizer> make_tokenizer(const std::string& class_name, ModelFiles files, const PretrainedOptions& options) {
  if (!files.is_local()) {
    bool whole = false;
    for (const char* file : kFiles) {
      // The vocabulary of a slow class is not needed beside a tokenizer.json.
      const bool slow = std::string_view(file).find("token") == std::string_view::npos && std::string_view(file).find("chat") == std::string_view::npos;
      if (whole && slow && class_name.ends_with("Fast")) continue;
      const bool found = files.find_optional(file).has_value();
      if (std::string_view(file) == "tokenizer.json") whole = found;
    }
    for (const auto& file : files.list()) {
      if (file.starts_with(kTemplateFolder)) files.find_optional(file);
    }
  }
  TokenizerOptions own;
  own.tokenizer_class = class_name;
  for (const auto& [key, value] : options.overrides) own.config[key] = python_dumps(to_json(value));
  const std::string folder = options.subfolder.empty() ? files.folder() : files.folder() + "/" + options.subfolder;
  return Tokenizer::from_folder(folder, own);
}

std::shared_ptr<Tokenizer> AutoTokenizer::from_pretrained(const std::string& name, const PretrainedOptions& given) {
  const auto [name_or_path, options] = split_gguf_path(name, given);
  // A GGUF file says itself how its texts are split; the class that the model type would have plays no part (AC-136).
  if (options.gguf_file) {
    const std::string path = ModelFiles(name_or_path, options.hub()).get(*options.gguf_file);
    const auto files = gguf_tokenizer_files(read_gguf_tokenizer(read_gguf_file(path), path), path);
    return Tokenizer::from_texts(files.tokenizer_json, files.tokenizer_config_json, path);
  }
  const auto resolved = resolve_preprocessor(Auto::Tokenizer.name, name_or_path, options);
  return make_tokenizer(resolved.class_name, resolved.files, options);
}

}  // namespace backplane
