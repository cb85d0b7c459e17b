#include "backplane/registry/registry.h"

#include <algorithm>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "backplane/config/pretrained_config.h"
#include "backplane/registry/plugin_source.h"

namespace backplane {
namespace {

bool same_provider(const ProviderPtr& a, const ProviderPtr& b) {
  return a && b && a->id == b->id && a->path == b->path;
}

[[noreturn]] void throw_taken(const std::string& what, const ProviderPtr& owner, const ProviderPtr& other) {
  throw Error(ErrorCode::already_registered,
              concat(what, " is already provided by ", owner->id, owner->path.empty() ? "" : " (" + owner->path + ")",
                     "; ", other->id, other->path.empty() ? "" : " (" + other->path + ")", " cannot replace it"));
}

}  // namespace

Registry& Registry::process() {
  static Registry registry;
  // Configurations with parts of any type find the parts' classes here.
  static const bool connected =
      (set_config_maker([](std::string_view model_type) { return loaded_config(model_type).create(); }), true);
  (void)connected;
  return registry;
}

void Registry::add(Registration registration, bool exist_ok) {
  std::unique_lock lock(mutex_);
  if (!exist_ok) {
    for (const auto& entry : registration.configs) {
      const auto found = configs_.find(entry.model_type);
      if (found != configs_.end() && !same_provider(found->second.provider, entry.provider)) {
        throw_taken(concat("model type '", entry.model_type, "'"), found->second.provider, entry.provider);
      }
    }
    for (const auto& entry : registration.models) {
      const auto found = models_.find(std::pair{entry.auto_class, entry.model_type});
      if (found != models_.end() && !same_provider(found->second.front().provider, entry.provider)) {
        throw_taken(concat(entry.auto_class, " for '", entry.model_type, "'"), found->second.front().provider,
                    entry.provider);
      }
    }
    for (const auto& entry : registration.preprocessors) {
      const auto found = preprocessors_.find(std::pair{entry.auto_class, entry.model_type});
      if (found != preprocessors_.end() && !same_provider(found->second.provider, entry.provider)) {
        throw_taken(concat(entry.auto_class, " for '", entry.model_type, "'"), found->second.provider, entry.provider);
      }
    }
  }
  for (auto& entry : registration.configs) {
    const auto old = configs_.find(entry.model_type);
    if (old == configs_.end()) {
      type_order_.push_back(entry.model_type);
    } else {
      std::erase(types_of_class_[old->second.class_name], entry.model_type);
    }
    types_of_class_[entry.class_name].push_back(entry.model_type);
    auto key = entry.model_type;
    configs_.insert_or_assign(std::move(key), std::move(entry));
  }
  for (auto& entry : registration.models) {
    auto& entries = models_[{entry.auto_class, entry.model_type}];
    if (!entries.empty() && !same_provider(entries.front().provider, entry.provider)) entries.clear();
    const auto same = std::find_if(entries.begin(), entries.end(),
                                   [&](const auto& other) { return other.class_name == entry.class_name; });
    if (same != entries.end()) {
      *same = std::move(entry);
    } else {
      entries.push_back(std::move(entry));
    }
  }
  for (auto& entry : registration.preprocessors) {
    auto& slot = preprocessors_[{entry.auto_class, entry.model_type}];
    if (same_provider(slot.provider, entry.provider)) {  // one of slow and fast may come later (AC-32)
      if (entry.slow.empty()) entry.slow = slot.slow;
      if (entry.fast.empty()) entry.fast = slot.fast;
    }
    slot = std::move(entry);
  }
  for (auto& entry : registration.ggufs) {
    Key key(entry.mapping.architecture, entry.mapping.model_type);
    ggufs_.insert_or_assign(std::move(key), std::move(entry));
  }
}

void Registry::remove(std::string_view provider_id) {
  remove_if([&](const Provider& provider) { return provider.id == provider_id; });
}

void Registry::remove(const Provider& provider) {
  remove_if([&](const Provider& other) { return other.id == provider.id && other.path == provider.path; });
}

void Registry::remove_if(const std::function<bool(const Provider&)>& unwanted) {
  std::unique_lock lock(mutex_);
  const auto of_provider = [&](const auto& entry) { return entry.provider && unwanted(*entry.provider); };
  std::erase_if(configs_, [&](const auto& item) {
    if (!of_provider(item.second)) return false;
    std::erase(types_of_class_[item.second.class_name], item.first);
    return true;
  });
  std::erase_if(models_, [&](const auto& item) { return of_provider(item.second.front()); });
  std::erase_if(preprocessors_, [&](const auto& item) { return of_provider(item.second); });
  std::erase_if(ggufs_, [&](const auto& item) { return of_provider(item.second); });
  std::erase_if(type_order_, [&](const auto& type) { return !configs_.contains(type); });
}

std::optional<ConfigEntry> Registry::config(std::string_view model_type) const {
  std::shared_lock lock(mutex_);
  const auto found = configs_.find(model_type);
  return found == configs_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<ConfigEntry> Registry::config_of_class(std::string_view class_name) const {
  std::shared_lock lock(mutex_);
  const auto types = types_of_class_.find(class_name);
  if (types == types_of_class_.end() || types->second.empty()) return std::nullopt;
  return configs_.find(types->second.back())->second;
}

std::vector<ModelEntry> Registry::models(std::string_view auto_class, std::string_view model_type) const {
  std::shared_lock lock(mutex_);
  const auto found = models_.find(std::pair(auto_class, model_type));
  return found == models_.end() ? std::vector<ModelEntry>{} : found->second;
}

std::optional<PreprocessorEntry> Registry::preprocessor(std::string_view auto_class,
                                                        std::string_view model_type) const {
  std::shared_lock lock(mutex_);
  const auto found = preprocessors_.find(std::pair(auto_class, model_type));
  return found == preprocessors_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<GgufEntry> Registry::ggufs(std::string_view architecture) const {
  std::shared_lock lock(mutex_);
  std::vector<GgufEntry> entries;
  for (auto at = ggufs_.lower_bound(std::pair(architecture, std::string_view())); at != ggufs_.end(); ++at) {
    if (at->first.first != architecture) break;
    entries.push_back(at->second);
  }
  return entries;
}

bool Registry::has_preprocessor_class(std::string_view auto_class, std::string_view class_name) const {
  std::shared_lock lock(mutex_);
  for (const auto& [key, entry] : preprocessors_) {
    if (key.first == auto_class && (entry.slow == class_name || entry.fast == class_name)) return true;
  }
  return false;
}

std::vector<std::string> Registry::types_of_config_class(std::string_view class_name) const {
  std::shared_lock lock(mutex_);
  const auto found = types_of_class_.find(class_name);
  std::vector<std::string> types;
  if (found != types_of_class_.end()) types.assign(found->second.rbegin(), found->second.rend());
  return types;
}

std::vector<std::string> Registry::model_types() const {
  std::shared_lock lock(mutex_);
  return type_order_;
}

std::vector<std::string> Registry::auto_classes() const {
  std::shared_lock lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [key, entries] : models_) {
    if (names.empty() || names.back() != key.first) names.push_back(key.first);
  }
  return names;
}

}  // namespace backplane
