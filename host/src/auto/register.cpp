#include "backplane/host/register.h"

#include "auto/config_view.h"
#include "auto/model_dispatch.h"
#include "auto/preprocessor_dispatch.h"
#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

const ProviderPtr& process_provider() {
  static const ProviderPtr provider = std::make_shared<Provider>(Provider{"process", "", "", false});
  return provider;
}

[[noreturn]] void throw_taken(const std::string& what) {
  throw Error(ErrorCode::already_registered, concat(what, " belongs to the built-in models; choose another name, or pass exist_ok"));
}

[[noreturn]] void throw_value(const std::string& message) { throw Error(ErrorCode::invalid_value, message); }

}  // namespace

void register_config(ConfigEntry entry, const std::string& written_as, bool exist_ok) {
  if (written_as != entry.model_type) {
    throw_value(concat("the configuration class ", entry.class_name, " has model_type '", written_as, "' and is registered as '", entry.model_type,
                       "'; expected the same"));
  }
  const KnownModel* known = KnownModels::get().find(entry.model_type);
  if (!exist_ok && known && !known->config_class.empty()) throw_taken(concat("model type '", entry.model_type, "'"));
  entry.provider = process_provider();
  Registration registration;
  registration.configs.push_back(std::move(entry));
  Registry::process().add(std::move(registration), exist_ok);
}

void register_model(ModelEntry entry, const std::string& config_class, bool exist_ok) {
  if (entry.config_class != config_class) {
    throw_value(concat("the model class ", entry.class_name, " is for the configuration class ", entry.config_class, " and is registered for ",
                       config_class, "; expected the same"));
  }
  for (const auto* known : KnownModels::get().of_config_class(config_class)) {
    if (!exist_ok && !known->models(entry.auto_class).empty()) throw_taken(concat(entry.auto_class, " for ", config_class));
  }
  entry.provider = process_provider();
  Registration registration;
  registration.models.push_back(std::move(entry));
  Registry::process().add(std::move(registration), exist_ok);
}

void register_preprocessor(PreprocessorEntry entry, bool exist_ok) {
  const bool pair = entry.auto_class == Auto::Tokenizer.name || entry.auto_class == Auto::ImageProcessor.name;
  if (entry.slow.empty() && entry.fast.empty()) throw_value(concat(entry.auto_class, " for '", entry.model_type, "': expected a slow or a fast class"));
  if (!pair && !entry.fast.empty()) throw_value(concat(entry.auto_class, " has no fast classes"));
  if (pair && entry.slow.ends_with("Fast")) throw_value(concat("the fast class ", entry.slow, " was given as the slow one"));
  if (pair && !entry.fast.empty() && !entry.fast.ends_with("Fast")) throw_value(concat("the slow class ", entry.fast, " was given as the fast one"));
  const KnownModel* known = KnownModels::get().find(entry.model_type);
  if (!exist_ok && known && !preprocessor_classes(entry.auto_class, std::string(known->model_type)).empty() &&
      !Registry::process().preprocessor(entry.auto_class, entry.model_type)) {
    throw_taken(concat(entry.auto_class, " for '", entry.model_type, "'"));
  }
  entry.provider = process_provider();
  Registration registration;
  registration.preprocessors.push_back(std::move(entry));
  Registry::process().add(std::move(registration), exist_ok);
}

}  // namespace backplane
