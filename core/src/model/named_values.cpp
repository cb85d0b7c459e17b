#include "backplane/model/named_values.h"

#include <algorithm>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

bool is_nothing(const Argument& value) {
  if (const auto* tensor = std::get_if<Tensor>(&value)) return !tensor->defined();
  if (const auto* tuple = std::get_if<std::vector<Tensor>>(&value)) return tuple->empty();
  if (const auto* cache = std::get_if<KvCachePtr>(&value)) return !*cache;
  return std::holds_alternative<std::monostate>(value);
}

template <class T>
const T* get(const NamedValues& values, std::string_view name, const char* kind) {
  const Argument* value = values.find(name);
  if (!value) return nullptr;
  const T* typed = std::get_if<T>(value);
  if (!typed) throw Error(ErrorCode::invalid_value, concat("'", name, "' is not ", kind));
  return typed;
}

}  // namespace

void NamedValues::set(std::string name, Argument value) {
  const auto found = std::find_if(items_.begin(), items_.end(), [&](const auto& item) { return item.first == name; });
  if (is_nothing(value)) {
    if (found != items_.end()) items_.erase(found);
  } else if (found != items_.end()) {
    found->second = std::move(value);
  } else {
    items_.emplace_back(std::move(name), std::move(value));
  }
}

const Argument* NamedValues::find(std::string_view name) const {
  for (const auto& [key, value] : items_) {
    if (key == name && !is_nothing(value)) return &value;
  }
  return nullptr;
}

const Tensor& NamedValues::operator[](std::string_view name) const {
  if (const auto* tensor = get<Tensor>(*this, name, "a tensor")) return *tensor;
  std::vector<std::string> names;
  for (const auto& item : items_) names.push_back(item.first);
  throw Error(ErrorCode::unknown_argument, concat("there is no '", name, "'; there are: ", join(names)));
}

Tensor NamedValues::tensor(std::string_view name) const {
  const auto* tensor = get<Tensor>(*this, name, "a tensor");
  return tensor ? *tensor : Tensor();
}

std::vector<Tensor> NamedValues::tuple(std::string_view name) const {
  const auto* tuple = get<std::vector<Tensor>>(*this, name, "a tuple of tensors");
  return tuple ? *tuple : std::vector<Tensor>{};
}

KvCachePtr NamedValues::cache(std::string_view name) const {
  const auto* cache = get<KvCachePtr>(*this, name, "a cache");
  return cache ? *cache : nullptr;
}

bool NamedValues::flag(std::string_view name, bool fallback) const {
  const auto* flag = get<bool>(*this, name, "true or false");
  return flag ? *flag : fallback;
}

int64_t NamedValues::number(std::string_view name, int64_t fallback) const {
  const auto* number = get<int64_t>(*this, name, "a whole number");
  return number ? *number : fallback;
}

ModelInputs ModelInputs::select(std::span<const std::string_view> names) const {
  ModelInputs chosen;
  for (const auto& [name, value] : *this) {
    if (std::find(names.begin(), names.end(), name) != names.end()) chosen.set(name, value);
  }
  return chosen;
}

void ModelOutput::pass_on(const ModelOutput& base) {
  for (const char* name : {"past_key_values", "cache_params", "state", "router_logits", "hidden_states", "attentions",
                           "decoder_hidden_states", "decoder_attentions", "cross_attentions",
                           "encoder_last_hidden_state", "encoder_hidden_states", "encoder_attentions"}) {
    if (const Argument* value = base.find(name)) set(name, *value);
  }
}

}  // namespace backplane
