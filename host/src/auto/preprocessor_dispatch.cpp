#include "auto/preprocessor_dispatch.h"

#include <algorithm>

#include "auto/model_dispatch.h"
#include "auto/remote_code.h"
#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"
#include "backplane/host/resolve_preprocessor.h"
#include "backplane/registry/plugin_source.h"

namespace backplane {
namespace {

constexpr const char* kPreprocessorFile = "preprocessor_config.json";
constexpr const char* kVideoFile = "video_preprocessor_config.json";
constexpr const char* kTokenizerFile = "tokenizer_config.json";

ClassKind kind_of(std::string_view auto_name) {
  if (auto_name == Auto::Tokenizer.name) return ClassKind::tokenizer;
  if (auto_name == Auto::FeatureExtractor.name) return ClassKind::feature_extractor;
  if (auto_name == Auto::ImageProcessor.name) return ClassKind::image_processor;
  if (auto_name == Auto::VideoProcessor.name) return ClassKind::video_processor;
  return ClassKind::processor;
}

// AC-124
bool class_exists(std::string_view auto_name, const std::string& name) {
  if (name.empty()) return false;
  return KnownModels::get().has_class(kind_of(auto_name), name) || Registry::process().has_preprocessor_class(auto_name, name);
}

/// By the preferred type of the configuration class alone, as the reference's containment test looks.
SlowFast listed_for(std::string_view auto_name, const ConfigView& config) {
  const auto types = types_of_class(config.type.config_class);
  return types.empty() ? SlowFast{} : preprocessor_classes(auto_name, types.front());
}

// By any type of the configuration class, the preferred one first.
SlowFast found_for(std::string_view auto_name, const std::string& config_class) {
  for (const auto& type : types_of_class(config_class)) {
    if (auto found = preprocessor_classes(auto_name, type); !found.empty()) return found;
  }
  return {};
}

std::vector<std::string> types_of_auto(std::string_view auto_name) {
  std::vector<std::string> types;
  for (const auto& known : KnownModels::get().all()) {
    if (!preprocessor_classes(auto_name, std::string(known.model_type)).empty()) types.emplace_back(known.model_type);
  }
  return types;
}

std::string without_fast(const std::string& name) { return name.ends_with("Fast") ? name.substr(0, name.size() - 4) : name; }

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) text.replace(at, from.size(), to);
  return text;
}

class Resolver {
 public:
  Resolver(ModelFolder& folder, const PretrainedOptions& options) : folder_(folder), options_(options) {}

  PreprocessorView tokenizer() {
    const bool use_fast = options_.use_fast.value_or(true);
    if (options_.tokenizer_type) return tokenizer_of_type(*options_.tokenizer_type, use_fast);

    PreprocessorView view{"AutoTokenizer", "", folder_.json(kTokenizerFile, true).value_or(Json::object()), std::nullopt};
    auto name = text_member(view.file, "tokenizer_class", kTokenizerFile);
    auto reference = tokenizer_reference(view.file, kTokenizerFile, use_fast);
    if (!name) {
      view.config = config();
      name = view.config->text("tokenizer_class");
      if (auto of_config = tokenizer_reference(view.config->json, "config.json", use_fast)) reference = of_config;
    }
    const bool exists = name && (class_exists("AutoTokenizer", *name) || class_exists("AutoTokenizer", *name + "Fast"));
    const bool listed = view.config && !listed_for("AutoTokenizer", *view.config).empty();
    // A class of the repository's own that the file names: the table's cannot stand in for it.
    const bool consent_for_own = name && !exists && options_.trust_remote_code.value_or(false);
    settle("AutoTokenizer", reference, (exists || listed) && !consent_for_own);
    view.class_name = name ? named_tokenizer(*name, use_fast) : tokenizer_of_config(*view.config, use_fast);
    check_tokenizer_parts(view);
    return view;
  }

  PreprocessorView image_processor() {
    const std::string file = options_.image_processor_filename.value_or(is_local_timm() ? "config.json" : kPreprocessorFile);
    PreprocessorView view{"AutoImageProcessor", "", {}, std::nullopt};
    auto found = folder_.json(file);
    if (!found && file != "config.json") {  // a repository of timm has everything in config.json
      found = folder_.json("config.json", true);
      if (found && !is_timm_config(*found)) found.reset();
    }
    if (!found) throw_no_file(file);
    view.file = std::move(*found);

    auto name = text_member(view.file, "image_processor_type", file);
    auto reference = code_reference(view.file, "AutoImageProcessor", file);
    if (!name && !reference) {
      if (const auto old = text_member(view.file, "feature_extractor_type", file)) name = replaced(*old, "FeatureExtractor", "ImageProcessor");
      if (const auto old = code_reference(view.file, "AutoFeatureExtractor", file)) reference = replaced(*old, "FeatureExtractor", "ImageProcessor");
    }
    from_config(view, "AutoImageProcessor", "image_processor_type", name, reference);
    std::optional<bool> use_fast = options_.use_fast;
    const std::string named = name ? named_image_processor(*name, use_fast) : "";
    const auto listed = view.config ? listed_for("AutoImageProcessor", *view.config) : SlowFast{};
    settle("AutoImageProcessor", reference, !named.empty() || !listed.empty());
    if (!named.empty()) {
      view.class_name = named;
    } else if (!listed.empty()) {
      const bool fast = use_fast.value_or(false);
      if (!fast && !listed.fast.empty() && !listed.slow.empty()) warn_slow(listed.fast);
      view.class_name = !listed.fast.empty() && (fast || listed.slow.empty()) ? listed.fast : listed.slow;
    } else {
      throw_unrecognized("image processor", "AutoImageProcessor", "image_processor_type", name);
    }
    return view;
  }

  PreprocessorView feature_extractor() {
    return single("AutoFeatureExtractor", "feature extractor", "feature_extractor_type", {kPreprocessorFile});
  }

  PreprocessorView video_processor() {
    return single("AutoVideoProcessor", "video processor", "video_processor_type", {kVideoFile, kPreprocessorFile});
  }

  PreprocessorView processor() {
    PreprocessorView view{"AutoProcessor", "", Json::object(), std::nullopt};
    std::optional<std::string> name, reference;
    const auto look_into = [&](const char* file) {
      auto json = folder_.json(file, true);
      if (!json) return false;
      name = text_member(*json, "processor_class", file);
      if (auto found = code_reference(*json, "AutoProcessor", file)) reference = std::move(found);
      view.file = std::move(*json);
      return true;
    };
    look_into("processor_config.json");
    if (!name && !look_into(kPreprocessorFile)) look_into(kVideoFile);
    if (!name) look_into(kTokenizerFile);
    if (!name) {
      view.config = config();
      name = view.config->text("processor_class");
      if (auto found = code_reference(view.config->json, "AutoProcessor", "config.json")) reference = std::move(found);
    }
    const bool exists = name && class_exists("AutoProcessor", *name);
    const auto listed = view.config ? listed_for("AutoProcessor", *view.config) : SlowFast{};
    settle("AutoProcessor", reference, exists || !listed.empty());
    if (exists) {
      view.class_name = *name;
    } else if (!listed.empty()) {
      view.class_name = listed.slow;
    } else {
      return processor_fallback();
    }
    view.file = folder_.json("processor_config.json", true).value_or(Json::object());
    return view;
  }

 private:
  ConfigView config() {
    if (!options_.config) {
      ConfigView view = read_config_view(folder_, options_);
      check_parts(view, folder_);
      return view;
    }
    ConfigView view;
    view.json = write_config(*options_.config);
    view.type = {options_.config->model_type_name, options_.config->class_name, "", KnownModels::get().find(options_.config->model_type_name)};
    return view;
  }

  void settle(const char* auto_class, const std::optional<std::string>& reference, bool has_local) {
    if (reference) settle_remote_code(folder_, options_, auto_class, *reference, has_local);
  }

  // What config.json says, where the processor's own file said nothing. A configuration that the caller gave is looked at
  // in any case (AC-138).
  void from_config(PreprocessorView& view, const char* auto_class, const char* key, std::optional<std::string>& name, std::optional<std::string>& reference) {
    if (name || reference) {
      if (options_.config) view.config = config();
      return;
    }
    view.config = config();
    name = view.config->text(key);
    reference = code_reference(view.config->json, auto_class, "config.json");
  }

  // --- tokenizers

  // A pair [slow, fast], also in place of the whole auto_map; a plain text is taken for the slow class (AC-126).
  std::optional<std::string> tokenizer_reference(const Json& json, const char* file, bool use_fast) {
    const auto map = json.find("auto_map");
    if (map == json.end() || map->is_null()) return std::nullopt;
    const Json* entry = &*map;
    if (map->is_object()) {
      const auto found = map->find("AutoTokenizer");
      if (found == map->end() || found->is_null()) return std::nullopt;
      entry = &*found;
    } else if (std::string_view(file) == "config.json") {
      return std::nullopt;  // AC-58
    }
    if (entry->is_string()) return entry->get<std::string>();
    if (entry->is_array()) {
      if (use_fast && entry->size() > 1 && (*entry)[1].is_string()) return (*entry)[1].get<std::string>();
      if (!entry->empty() && (*entry)[0].is_string()) return (*entry)[0].get<std::string>();
    }
    throw Error(ErrorCode::bad_code_reference, concat(file, ": auto_map for AutoTokenizer is ", to_value(*entry).to_string(),
                                                      "; expected a pair of '[repository--]module.Class' or null"));
  }

  PreprocessorView tokenizer_of_type(const std::string& type, bool use_fast) {
    const auto classes = preprocessor_classes("AutoTokenizer", type);
    if (classes.empty()) {
      const auto types = types_of_auto("AutoTokenizer");
      throw Error(ErrorCode::invalid_value, concat("tokenizer_type '", type, "' does not exist", suggestion(type, types), " It is one of ", join(types)));
    }
    if (use_fast && classes.fast.empty()) warn("use_fast is true but the tokenizer class has no fast version; the slow one is used");
    const bool fast = !classes.fast.empty() && (use_fast || classes.slow.empty());
    return {"AutoTokenizer", fast ? classes.fast : classes.slow, folder_.json(kTokenizerFile, true).value_or(Json::object()), std::nullopt};
  }

  // AC-121
  std::string named_tokenizer(const std::string& name, bool use_fast) {
    if (use_fast && !name.ends_with("Fast") && class_exists("AutoTokenizer", name + "Fast")) return name + "Fast";
    if (class_exists("AutoTokenizer", name)) return name;
    throw Error(ErrorCode::unknown_class, concat("'", folder_.shown(), "' names the tokenizer class '", name, "', which does not exist"));
  }

  // AC-122, AC-123, AC-125
  std::string tokenizer_of_config(const ConfigView& config, bool use_fast) {
    std::string config_class = config.type.config_class;
    if (config_class == "EncoderDecoderConfig") config_class = encoder_config_class(config);
    const auto classes = found_for("AutoTokenizer", config_class);
    if (classes.empty()) {
      std::vector<std::string> possible;
      for (const auto& type : types_of_auto("AutoTokenizer")) {
        if (const auto info = find_type(type)) possible.push_back(info->config_class);
      }
      throw Error(ErrorCode::unrecognized_configuration_class,
                  concat("AutoTokenizer has no tokenizer for the configuration class ", config_class, "; expected one of ", join(possible)));
    }
    return !classes.fast.empty() && (use_fast || classes.slow.empty()) ? classes.fast : classes.slow;
  }

  std::string encoder_config_class(const ConfigView& config) {
    const auto class_of = [&](const char* part) {
      const auto type = text_member(config.json[part], "model_type", "config.json");
      const auto info = type ? find_type(*type) : std::nullopt;
      if (!info) throw Error(ErrorCode::bad_config, concat("config.json of '", folder_.shown(), "': the part '", part, "' has no model_type"));
      return info->config_class;
    };
    const std::string encoder = class_of("encoder"), decoder = class_of("decoder");
    if (encoder != decoder) {
      warn(concat("the encoder's configuration class ", encoder, " differs from the decoder's ", decoder,
                  "; load the tokenizers of encoder and decoder by their own classes"));
    }
    return encoder;
  }

  // A tokenizer that only composites have, as RAG's, reads the configuration that names its parts.
  void check_tokenizer_parts(const PreprocessorView& view) {
    const KnownModel* composite = nullptr;
    for (const auto& known : KnownModels::get().all()) {
      if (known.tokenizer != view.class_name && known.tokenizer_fast != view.class_name) continue;
      if (known.parts.empty()) return;
      composite = &known;
    }
    if (!composite) return;
    ConfigView config;
    config.json = folder_.config();
    config.type = {std::string(composite->model_type), std::string(composite->config_class), "", composite};
    check_parts(config, folder_);
  }

  // --- image processors

  bool is_local_timm() {
    if (!folder_.is_local()) return false;
    const auto json = folder_.json("config.json", true);
    return json && is_timm_config(*json);
  }

  static void warn_slow(const std::string& fast) {
    warn(concat("a slow image processor is used; ", fast, " is faster: set use_fast=true (the results differ a little)"));
  }

  // AC-139. Empty: the class does not exist. `use_fast` becomes what the name decides.
  std::string named_image_processor(const std::string& name, std::optional<bool>& use_fast) {
    if (!use_fast) {
      use_fast = name.ends_with("Fast");
      if (!*use_fast && class_exists("AutoImageProcessor", name + "Fast")) warn_slow(name + "Fast");
    }
    const std::string slow = without_fast(name);
    if (*use_fast) {
      if (class_exists("AutoImageProcessor", slow + "Fast")) return slow + "Fast";
      warn(concat("use_fast is true but the image processor class ", slow, " has no fast version; the slow one is used"));
      use_fast = false;
    } else if (name.ends_with("Fast") && !class_exists("AutoImageProcessor", slow)) {
      throw Error(ErrorCode::invalid_value, concat("use_fast is false but '", name, "' has no slow version; leave use_fast out"));
    }
    return class_exists("AutoImageProcessor", slow) ? slow : "";
  }

  // --- feature extractors and video processors

  PreprocessorView single(const char* auto_class, const char* what, const char* key, const std::vector<std::string>& files) {
    PreprocessorView view{auto_class, "", {}, std::nullopt};
    std::optional<Json> found;
    std::string file;
    for (const auto& candidate : files) {
      file = candidate;
      if ((found = folder_.json(file))) break;
    }
    if (!found) throw_no_file(files.front());
    if (file != files.front()) warn(concat("reading the ", what, " from ", file, " is deprecated; save it as ", files.front()));
    view.file = std::move(*found);

    auto name = text_member(view.file, key, file);
    auto reference = code_reference(view.file, auto_class, file);
    if (!name && !reference && kind_of(auto_class) == ClassKind::video_processor) {  // AC-146
      if (const auto old = text_member(view.file, "image_processor_type", file)) {
        const auto inferred = replaced(*old, "ImageProcessor", "VideoProcessor");
        if (class_exists(auto_class, inferred)) name = inferred;
      }
      if (const auto old = code_reference(view.file, "AutoImageProcessor", file)) reference = replaced(*old, "ImageProcessor", "VideoProcessor");
    }
    from_config(view, auto_class, key, name, reference);
    const bool exists = name && class_exists(auto_class, *name);
    const auto listed = view.config ? listed_for(auto_class, *view.config) : SlowFast{};
    settle(auto_class, reference, exists || !listed.empty());
    if (exists) {
      view.class_name = *name;
    } else if (!listed.empty()) {
      view.class_name = listed.slow;
    } else {
      throw_unrecognized(what, auto_class, key, name);
    }
    return view;
  }

  // --- processors

  // AC-147 to AC-149: whatever the model has, in this order.
  PreprocessorView processor_fallback() {
    using Step = PreprocessorView (Resolver::*)();
    for (const Step step : {Step(&Resolver::tokenizer), Step(&Resolver::image_processor), Step(&Resolver::feature_extractor)}) {
      std::optional<PreprocessorView> view;
      std::vector<std::string> warnings;
      try {
        WarningCollector collector;  // a step that fails says nothing
        view = (this->*step)();
        warnings = collector.messages();
      } catch (const Error&) {
        continue;
      }
      for (const auto& warning : warnings) warn(warning);
      return std::move(*view);
    }
    throw Error(ErrorCode::unrecognized_processor,
                concat("'", folder_.shown(), "' has the files of neither a processor, a tokenizer, an image processor nor a feature extractor"));
  }

  [[noreturn]] void throw_no_file(const std::string& file) {
    throw Error(ErrorCode::file_not_found, concat("'", folder_.shown(), "' has no file named ", file));
  }

  [[noreturn]] void throw_unrecognized(const char* what, const char* auto_class, const char* key, const std::optional<std::string>& name) {
    if (name) throw Error(ErrorCode::unknown_class, concat("'", folder_.shown(), "' names the ", what, " class '", *name, "', which does not exist"));
    throw Error(ErrorCode::unrecognized_processor, concat("nothing in '", folder_.shown(), "' says which ", what, " to take: expected the key ", key,
                                                          ", or a config.json with one of the model types ", join(types_of_auto(auto_class))));
  }

  ModelFolder& folder_;
  const PretrainedOptions& options_;
};

}  // namespace

SlowFast preprocessor_classes(std::string_view auto_name, const std::string& model_type) {
  if (const auto entry = Registry::process().preprocessor(auto_name, model_type)) return {entry->slow, entry->fast};
  const KnownModel* known = KnownModels::get().find(model_type);
  if (!known || known->model_type != model_type) return {};
  switch (kind_of(auto_name)) {
    case ClassKind::tokenizer: return {std::string(known->tokenizer), std::string(known->tokenizer_fast)};
    case ClassKind::image_processor: return {std::string(known->image_processor), std::string(known->image_processor_fast)};
    case ClassKind::feature_extractor: return {std::string(known->feature_extractor), ""};
    case ClassKind::video_processor: return {std::string(known->video_processor), ""};
    case ClassKind::processor: return {std::string(known->processor), ""};
  }
  return {};
}

PreprocessorView resolve_preprocessor_view(std::string_view auto_name, ModelFolder& folder, const PretrainedOptions& options) {
  plugin_source();
  Resolver resolver(folder, options);
  switch (kind_of(auto_name)) {
    case ClassKind::tokenizer: return resolver.tokenizer();
    case ClassKind::image_processor: return resolver.image_processor();
    case ClassKind::feature_extractor: return resolver.feature_extractor();
    case ClassKind::video_processor: return resolver.video_processor();
    case ClassKind::processor: return resolver.processor();
  }
  throw Error(ErrorCode::unknown_auto_class, std::string(auto_name));
}

ResolvedPreprocessor resolve_preprocessor(std::string_view auto_name, const std::string& name_or_path, const PretrainedOptions& options) {
  check_auto_class(auto_name);
  if (!is_preprocessing(auto_name)) throw Error(ErrorCode::unknown_auto_class, concat("'", auto_name, "' is no auto class for preprocessing"));
  ModelFolder folder(name_or_path, options);
  auto view = resolve_preprocessor_view(auto_name, folder, options);
  return {view.auto_class, view.class_name, to_value(view.file).as_object(), folder.files()};
}

}  // namespace backplane
