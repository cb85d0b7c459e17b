#include "backplane/host/inspect.h"

#include <algorithm>

#include "auto/model_dispatch.h"
#include "auto/preprocessor_dispatch.h"
#include "auto/remote_code.h"
#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"
#include "backplane/host/auto_tokenizer.h"
#include "backplane/registry/plugin_source.h"
#include "backplane/text/tokenizer.h"

namespace backplane {
namespace {

Value text_or_null(const std::string& text) { return text.empty() ? Value() : Value(text); }

Value::List texts(const std::vector<std::string>& names) { return {names.begin(), names.end()}; }

// Each of the auto classes -> class name or null, by the table and `architectures` alone.
Value::Object all_classes(const TypeInfo& type, const std::vector<std::string>& architectures) {
  Value::Object classes;
  for (const auto name : KnownModels::auto_classes()) {
    std::string found;
    if (name == Auto::Config.name) {
      found = type.config_class;
    } else if (is_preprocessing(name)) {
      const auto pair = preprocessor_classes(name, type.model_type);
      const bool fast_first = name == Auto::Tokenizer.name;
      found = fast_first ? (pair.fast.empty() ? pair.slow : pair.fast) : (pair.slow.empty() ? pair.fast : pair.slow);
    } else {
      found = choose_class(model_classes(name, type.model_type), architectures);
    }
    classes.emplace_back(name, text_or_null(found));
  }
  return classes;
}

class Inspection {
 public:
  Inspection(const InspectRequest& request, const InspectModelLoader& load_model) : request_(request), load_model_(load_model) {}

  Value::Object run() {
    result_ = {{"model", request_.model}, {"model_type", nullptr}, {"architectures", nullptr}, {"config_class", nullptr},
               {"provider", nullptr},     {"name_or_path", request_.model}, {"commit_hash", nullptr}};
    if (request_.auto_name) {
      set(result_, "auto", *request_.auto_name);
      set(result_, "class", nullptr);
    }
    std::vector<std::string> warnings;
    {
      WarningCollector collector;
      try {
        answer();
      } catch (const PluginNotInstalled& error) {
        if (known_) set(result_, "classes", all_classes(known_->type, known_->architectures()));
        fail(error, error.plugin());
      } catch (const Error& error) {
        fail(error, "");
      }
      warnings = collector.messages();
    }
    for (const auto& warning : warnings) warn(warning);
    set(result_, "warnings", texts(warnings));
    if (!error_.empty()) set(result_, "error", std::move(error_));
    return std::move(result_);
  }

 private:
  void fail(const Error& error, const std::string& plugin) {
    error_ = {{"code", std::string(to_string(error.code()))}, {"message", error.what()}};
    if (!plugin.empty()) error_.emplace_back("plugin", plugin);
  }

  void answer() {
    if (request_.auto_name) check_auto_class(*request_.auto_name);
    ModelFolder folder(request_.model, request_.options);
    const std::string name = request_.auto_name.value_or("");
    try {
      if (!request_.auto_name) {
        overview(folder);
      } else if (name == Auto::Config.name) {
        config(folder);
      } else if (is_preprocessing(name)) {
        preprocessor(name, folder);
      } else {
        model(name, folder);
      }
    } catch (const Error&) {
      if (!known_) look_around(folder);
      note_commit(folder);
      throw;
    }
    note_commit(folder);
  }

  void note_commit(const ModelFolder& folder) {
    if (const auto commit = folder.commit_hash()) set(result_, "commit_hash", *commit);
  }

  void note(const ConfigView& view) {
    known_ = view;
    set(result_, "model_type", view.given_type ? *view.given_type : view.type.model_type);
    if (const auto found = view.json.find("architectures"); found != view.json.end()) set(result_, "architectures", to_value(*found));
    set(result_, "config_class", text_or_null(view.type.config_class));
    set(result_, "provider", text_or_null(view.type.provider));
  }

  // What a failure leaves to be said about the configuration, and what a preprocessing class did not need to know.
  void look_around(ModelFolder& folder) {
    try {
      WarningCollector silent;
      PretrainedOptions options = request_.options;
      ConfigView view;
      view.json = folder.config();
      if (const auto type = view.json.find("model_type"); type != view.json.end()) {
        view.given_type = type->is_string() ? type->get<std::string>() : to_value(*type).to_string();
        set(result_, "model_type", to_value(*type));
        if (const auto found = view.json.find("architectures"); found != view.json.end()) set(result_, "architectures", to_value(*found));
      }
      note(read_config_view(folder, options));
    } catch (const Error&) {
    }
  }

  void overview(ModelFolder& folder) {
    // A type of tokenizers alone has classes, too, though no configuration (AC-49).
    const Json json = folder.config();
    const auto type = json.find("model_type");
    if (type != json.end() && type->is_string()) {
      if (const auto info = find_type(type->get<std::string>(), true); info && info->config_class.empty()) {
        ConfigView view;
        view.json = json;
        view.type = *info;
        view.given_type = info->model_type;
        note(view);
        set(result_, "classes", all_classes(view.type, view.architectures()));
        return;
      }
    }
    const auto view = read_config_view(folder, request_.options);
    note(view);
    set(result_, "classes", all_classes(view.type, view.architectures()));
  }

  void config(ModelFolder& folder) {
    const auto view = read_config_view(folder, request_.options);
    note(view);
    set(result_, "class", view.type.config_class);
    Json unused;
    const auto config = build_config(view, folder, request_.options, unused);
    put_config(*config);
    set(result_, "unused", to_value(unused));
  }

  void put_config(const PretrainedConfig& config) {
    Json json = write_config(config);
    json.erase("_name_or_path");
    set(result_, "config", to_value(json));
  }

  void model(const std::string& name, ModelFolder& folder) {
    const auto view = resolve_model_view(name, folder, request_.options);
    note(view.config);
    set(result_, "class", view.choice.class_name);
    Json unused;
    const auto config = build_config(view.config, folder, request_.options, unused);
    put_config(*config);
    if (!request_.load) return;
    if (!load_model_) throw Error(ErrorCode::missing_dependency, "loading a model needs the tensor library, which this process did not open");
    load_model_(request_, result_);
  }

  void preprocessor(const std::string& name, ModelFolder& folder) {
    auto view = resolve_preprocessor_view(name, folder, request_.options);
    set(result_, "class", view.class_name);
    if (view.config) {
      note(*view.config);
    } else {
      look_around(folder);
    }
    Value::Object settings = to_value(view.file).as_object();
    Value::Object unused;
    const bool tokenizer = view.auto_class == Auto::Tokenizer.name;
    for (const auto& [key, value] : request_.options.overrides) {
      // A tokenizer takes every keyword (AC-133); the others those that they have.
      if (tokenizer || view.file.contains(key)) {
        set(settings, key, value);
      } else {
        set(unused, key, value);
      }
    }
    if (request_.load && tokenizer) load_tokenizer(view, folder, settings);
    set(result_, "settings", std::move(settings));
    if (!tokenizer) set(result_, "unused", std::move(unused));
  }

  void load_tokenizer(const PreprocessorView& view, ModelFolder& folder, Value::Object& settings) {
    const auto tokenizer = make_tokenizer(view.class_name, folder.files(), request_.options);
    Value templates;
    if (const auto found = tokenizer->chat_templates(); found.size() == 1 && found.begin()->first == "default") {
      templates = found.begin()->second;
    } else if (!found.empty()) {
      Value::Object by_name;
      for (const auto& [key, source] : found) by_name.emplace_back(key, source);
      templates = std::move(by_name);
    }
    set(settings, "chat_template", std::move(templates));
    const auto longest = tokenizer->model_max_length();
    set(settings, "model_max_length", longest ? Value(*longest) : Value(1e30));
  }

  const InspectRequest& request_;
  const InspectModelLoader& load_model_;
  Value::Object result_;
  Value::Object error_;
  std::optional<ConfigView> known_;
};

}  // namespace

Value::Object inspect(const InspectRequest& request, const InspectModelLoader& load_model) { return Inspection(request, load_model).run(); }

}  // namespace backplane
