#pragma once

#include <string_view>
#include <unordered_map>
#include <vector>

namespace backplane {

/// One model type of the reference, whether a plugin provides it or not. Views into the table, valid for ever.
struct KnownModel {
  std::string_view model_type;
  std::string_view written_as;    // what its configuration class writes as model_type (AC-24, AC-25)
  std::string_view config_class;  // empty: a type of tokenizers only (AC-49)
  std::string_view plugin;        // id of the plugin that is meant to provide it
  std::string_view tokenizer, tokenizer_fast;
  std::string_view feature_extractor;
  std::string_view image_processor, image_processor_fast;
  std::string_view video_processor;
  std::string_view processor;
  std::string_view default_tokenizer_class;  // of its configuration
  std::vector<std::string_view> parts;       // keys that its config.json must have (AC-156)

  /// Classes of an auto class for models, in order; more than one: `architectures` picks (AC-38).
  std::vector<std::string_view> models(std::string_view auto_class) const;

  std::string_view model_table;  // "auto class=class,class;…"
};

/// The kinds of classes that files name.
enum class ClassKind { tokenizer, feature_extractor, image_processor, video_processor, processor };

/// Everything that transformers 4.53.3 knows by name, in the order of its tables. Thread-safe.
class KnownModels {
 public:
  /// Indexed at the first call, in a fraction of a millisecond; nothing is read from disk.
  static const KnownModels& get();

  /// In table order, the types without a configuration too.
  const std::vector<KnownModel>& all() const { return models_; }
  /// nullptr: none. The spellings that files of that type carry are found, too (AC-25).
  const KnownModel* find(std::string_view model_type) const;
  /// The types of a configuration class, the one that look-ups prefer first: the last of the table (AC-24).
  std::vector<const KnownModel*> of_config_class(std::string_view config_class) const;
  /// Whether a class of that name exists, also when no table lists it (AC-124).
  bool has_class(ClassKind kind, std::string_view name) const;
  /// The 47 auto classes, in the reference's order.
  static const std::vector<std::string_view>& auto_classes();

 private:
  KnownModels();

  std::vector<KnownModel> models_;
  std::unordered_map<std::string_view, size_t> by_type_;
  std::unordered_multimap<std::string_view, size_t> by_config_class_;
  std::unordered_multimap<std::string_view, ClassKind> classes_;
};

}  // namespace backplane
