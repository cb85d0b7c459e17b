#include "backplane/registry/known_models.h"

#include <algorithm>

#include "backplane/registry/auto_class.h"

namespace backplane {

extern const std::string_view kKnownModelsTable;  // made by CMake from data/known_models.tsv

namespace {

// The next part of `text` up to `separator`, which is taken off with it.
std::string_view next(std::string_view& text, char separator) {
  const size_t end = text.find(separator);
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return part;
}

std::vector<std::string_view> parts_of(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) parts.push_back(next(text, separator));
  return parts;
}

constexpr std::pair<std::string_view, ClassKind> kKinds[] = {{"tokenizer", ClassKind::tokenizer},
                                                             {"feature_extractor", ClassKind::feature_extractor},
                                                             {"image_processor", ClassKind::image_processor},
                                                             {"video_processor", ClassKind::video_processor},
                                                             {"processor", ClassKind::processor}};

}  // namespace

std::vector<std::string_view> KnownModel::models(std::string_view auto_class) const {
  for (std::string_view table = model_table; !table.empty();) {
    std::string_view entry = next(table, ';');
    if (next(entry, '=') == auto_class) return parts_of(entry, ',');
  }
  return {};
}

const KnownModels& KnownModels::get() {
  static const KnownModels models;
  return models;
}

KnownModels::KnownModels() {
  models_.reserve(400);
  for (std::string_view text = kKnownModelsTable; !text.empty();) {
    std::string_view line = next(text, '\n');
    if (line.empty() || line.starts_with('#')) continue;
    if (line.starts_with("+\t")) {
      next(line, '\t');
      const std::string_view kind = next(line, '\t');
      const auto found = std::find_if(std::begin(kKinds), std::end(kKinds), [&](const auto& item) { return item.first == kind; });
      for (auto name : parts_of(line, ',')) classes_.emplace(name, found->second);
      continue;
    }
    KnownModel model;
    for (auto* column : {&model.model_type, &model.written_as, &model.config_class, &model.plugin, &model.tokenizer, &model.tokenizer_fast,
                         &model.feature_extractor, &model.image_processor, &model.image_processor_fast, &model.video_processor,
                         &model.processor, &model.default_tokenizer_class}) {
      *column = next(line, '\t');
    }
    model.parts = parts_of(next(line, '\t'), ',');
    model.model_table = line;
    models_.push_back(std::move(model));
  }
  const auto add = [this](ClassKind kind, std::string_view name) {
    if (!name.empty()) classes_.emplace(name, kind);
  };
  for (size_t i = 0; i < models_.size(); ++i) {
    const auto& model = models_[i];
    by_type_.emplace(model.model_type, i);
    if (!model.config_class.empty()) by_config_class_.emplace(model.config_class, i);
    add(ClassKind::tokenizer, model.tokenizer);
    add(ClassKind::tokenizer, model.tokenizer_fast);
    add(ClassKind::feature_extractor, model.feature_extractor);
    add(ClassKind::image_processor, model.image_processor);
    add(ClassKind::image_processor, model.image_processor_fast);
    add(ClassKind::video_processor, model.video_processor);
    add(ClassKind::processor, model.processor);
  }
  for (size_t i = 0; i < models_.size(); ++i) by_type_.emplace(models_[i].written_as, i);  // a type's own name comes first
}

const KnownModel* KnownModels::find(std::string_view model_type) const {
  const auto found = by_type_.find(model_type);
  return found == by_type_.end() ? nullptr : &models_[found->second];
}

std::vector<const KnownModel*> KnownModels::of_config_class(std::string_view config_class) const {
  std::vector<const KnownModel*> found;
  const auto [first, last] = by_config_class_.equal_range(config_class);
  for (auto it = first; it != last; ++it) found.push_back(&models_[it->second]);
  std::sort(found.begin(), found.end());
  if (!found.empty()) std::rotate(found.begin(), found.end() - 1, found.end());
  return found;
}

bool KnownModels::has_class(ClassKind kind, std::string_view name) const {
  const auto [first, last] = classes_.equal_range(name);
  return std::any_of(first, last, [&](const auto& item) { return item.second == kind; });
}

const std::vector<std::string_view>& KnownModels::auto_classes() {
  static const std::vector<std::string_view> names = {
      Auto::Config.name, Auto::Tokenizer.name, Auto::FeatureExtractor.name, Auto::ImageProcessor.name, Auto::VideoProcessor.name,
      Auto::Processor.name, Auto::ForMaskGeneration.name, Auto::ForKeypointDetection.name, Auto::ForTextEncoding.name,
      Auto::ForImageToImage.name, Auto::Model.name, Auto::ForPreTraining.name, Auto::WithLMHead.name, Auto::ForCausalLM.name,
      Auto::ForMaskedLM.name, Auto::ForSeq2SeqLM.name, Auto::ForSequenceClassification.name, Auto::ForQuestionAnswering.name,
      Auto::ForTableQuestionAnswering.name, Auto::ForVisualQuestionAnswering.name, Auto::ForDocumentQuestionAnswering.name,
      Auto::ForTokenClassification.name, Auto::ForMultipleChoice.name, Auto::ForNextSentencePrediction.name,
      Auto::ForImageClassification.name, Auto::ForZeroShotImageClassification.name, Auto::ForImageSegmentation.name,
      Auto::ForSemanticSegmentation.name, Auto::ForTimeSeriesPrediction.name, Auto::ForUniversalSegmentation.name,
      Auto::ForInstanceSegmentation.name, Auto::ForObjectDetection.name, Auto::ForZeroShotObjectDetection.name,
      Auto::ForDepthEstimation.name, Auto::ForVideoClassification.name, Auto::ForVision2Seq.name, Auto::ForImageTextToText.name,
      Auto::ForAudioClassification.name, Auto::ForCTC.name, Auto::ForSpeechSeq2Seq.name, Auto::ForAudioFrameClassification.name,
      Auto::ForAudioXVector.name, Auto::ForTextToSpectrogram.name, Auto::ForTextToWaveform.name, Auto::Backbone.name,
      Auto::ForMaskedImageModeling.name, Auto::ForAudioTokenization.name};
  return names;
}

}  // namespace backplane
