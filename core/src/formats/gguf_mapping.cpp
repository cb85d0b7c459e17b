#include "backplane/formats/gguf_mapping.h"

#include <algorithm>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

constexpr std::string_view kNumber = "{n}";

// What stands for "{n}" in `pattern` where `text` fits it; nothing where it does not.
std::optional<std::string_view> match(std::string_view text, std::string_view pattern) {
  const size_t hole = pattern.find(kNumber);
  if (hole == std::string_view::npos) return text == pattern ? std::optional(std::string_view()) : std::nullopt;
  const std::string_view before = pattern.substr(0, hole);
  const std::string_view after = pattern.substr(hole + kNumber.size());
  if (text.size() <= before.size() + after.size() || !text.starts_with(before) || !text.ends_with(after))
    return std::nullopt;
  const std::string_view number = text.substr(before.size(), text.size() - before.size() - after.size());
  if (number.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  return number;
}

}  // namespace

std::string gguf_architecture(const GgufFile& gguf, const std::string& file) {
  std::string architecture = gguf.text("general.architecture");
  if (architecture.empty()) throw Error(ErrorCode::bad_checkpoint, concat("'", file, "' has no general.architecture"));
  return architecture;
}

const GgufMapping* choose_gguf_mapping(const GgufFile& gguf, const std::vector<const GgufMapping*>& mappings) {
  const std::string architecture = gguf.text("general.architecture");
  const std::string name = gguf.text("general.name");
  const GgufMapping* chosen = nullptr;
  for (const auto* mapping : mappings) {
    if (mapping->architecture != architecture || name.find(mapping->name_contains) == std::string::npos) continue;
    if (!chosen || chosen->name_contains.empty()) chosen = mapping;
  }
  return chosen;
}

Value::Object gguf_config(const GgufFile& gguf, const GgufMapping& mapping) {
  Value::Object config = {{"model_type", std::string(mapping.model_type)}};
  const auto set = [&](std::string_view key, Value value) {
    const auto entry =
        std::find_if(config.begin(), config.end(), [&](const auto& candidate) { return candidate.first == key; });
    if (entry == config.end()) {
      config.emplace_back(key, std::move(value));
    } else {
      entry->second = std::move(value);
    }
  };
  const auto copy = [&](const std::string& from, std::string_view to) {
    if (const Value* value = gguf.find(from)) {
      set(to, *value);
    } else if (const GgufArray* array = gguf.find_array(from)) {
      Value::List list;
      for (size_t i = 0; i < array->size(); ++i) list.push_back(array->at(i));
      // The reference takes a list of one for its element.
      set(to, list.size() == 1 ? list[0] : Value(std::move(list)));
    }
  };
  copy("general.name", "_model_name_or_path");
  for (const auto& key : mapping.keys)
    copy(std::string(mapping.architecture) + "." + std::string(key.gguf), key.config);
  copy("tokenizer.ggml.bos_token_id", "bos_token_id");
  copy("tokenizer.ggml.eos_token_id", "eos_token_id");
  copy("tokenizer.ggml.unknown_token_id", "unk_token_id");
  copy("tokenizer.ggml.padding_token_id", "pad_token_id");
  const auto has_key = [&](std::string_view key) {
    return std::any_of(config.begin(), config.end(), [&](const auto& entry) { return entry.first == key; });
  };
  if (const auto* tokens = gguf.find_array("tokenizer.ggml.tokens"); tokens && !has_key("vocab_size")) {
    set("vocab_size", static_cast<int64_t>(tokens->size()));
  }
  set("tie_word_embeddings", std::none_of(gguf.tensors.begin(), gguf.tensors.end(),
                                          [](const auto& tensor) { return tensor.name == "output.weight"; }));
  for (const auto& [key, value] : mapping.constants) set(key, value);
  return config;
}

GgufName gguf_name(std::string_view tensor, const GgufMapping& mapping) {
  std::string_view suffix;
  for (std::string_view candidate : {".weight", ".bias"}) {
    if (tensor.ends_with(candidate)) suffix = candidate;
  }
  const std::string_view stem = tensor.substr(0, tensor.size() - suffix.size());
  for (const auto& rule : mapping.tensors) {
    const auto number = match(stem, rule.gguf);
    if (!number) continue;
    std::string name(rule.name);
    if (const size_t hole = name.find(kNumber); hole != std::string::npos) name.replace(hole, kNumber.size(), *number);
    return {name.append(suffix), rule.transform};
  }
  return {};
}

}  // namespace backplane
