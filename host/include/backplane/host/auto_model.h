#pragma once

#include <memory>
#include <string>

#include "backplane/host/pretrained_options.h"
#include "backplane/host/register.h"
#include "backplane/model/create.h"
#include "backplane/model/loading.h"
#include "backplane/model/pretrained_model.h"
#include "backplane/registry/registry.h"

namespace backplane {

using ModelPtr = std::shared_ptr<PreTrainedModel>;

/// The mechanism behind every AutoModel class: configuration, dispatch, plugin, construction, weights. `info` receives
/// what loading found (AC-104). The model is in evaluation mode. Thread-safe. Throws every code of docs/errors.md that
/// is about models.
ModelPtr model_from_pretrained(AutoClass auto_class, const std::string& name_or_path,
                               const PretrainedOptions& options = {}, LoadingInfo* info = nullptr);

/// A model with random weights.
ModelPtr model_from_config(AutoClass auto_class, const PretrainedConfig& config, const PretrainedOptions& options = {});

/// An auto class: `AutoModelForCausalLM::from_pretrained("org/name", {.torch_dtype = "bfloat16"})`. A plugin's own one
/// is `inline constexpr AutoClass kMine{"AutoModelForMine"}; using AutoModelForMine = AutoModelOf<kMine>;`.
template <const AutoClass& kClass>
struct AutoModelOf {
  AutoModelOf() = delete;  // AC-01

  static ModelPtr from_pretrained(const std::string& name_or_path, const PretrainedOptions& options = {},
                                  LoadingInfo* info = nullptr) {
    return model_from_pretrained(kClass, name_or_path, options, info);
  }
  static ModelPtr from_config(const PretrainedConfig& config, const PretrainedOptions& options = {}) {
    return model_from_config(kClass, config, options);
  }
  /// Registers a model class for a configuration class of this program, as register_model says (AC-30, AC-31).
  template <class Config, class Model>
  static void register_(bool exist_ok = false) {
    register_model({std::string(kClass.name), Config::model_type, type_name<Model>(),
                    type_name<typename Model::Config>(), &create_model<Model>, nullptr, has_sdpa<Model>()},
                   type_name<Config>(), exist_ok);
  }
};

using AutoBackbone = AutoModelOf<Auto::Backbone>;
using AutoModel = AutoModelOf<Auto::Model>;
using AutoModelForAudioClassification = AutoModelOf<Auto::ForAudioClassification>;
using AutoModelForAudioFrameClassification = AutoModelOf<Auto::ForAudioFrameClassification>;
using AutoModelForAudioTokenization = AutoModelOf<Auto::ForAudioTokenization>;
using AutoModelForAudioXVector = AutoModelOf<Auto::ForAudioXVector>;
using AutoModelForCTC = AutoModelOf<Auto::ForCTC>;
using AutoModelForCausalLM = AutoModelOf<Auto::ForCausalLM>;
using AutoModelForDepthEstimation = AutoModelOf<Auto::ForDepthEstimation>;
using AutoModelForDocumentQuestionAnswering = AutoModelOf<Auto::ForDocumentQuestionAnswering>;
using AutoModelForImageClassification = AutoModelOf<Auto::ForImageClassification>;
using AutoModelForImageSegmentation = AutoModelOf<Auto::ForImageSegmentation>;
using AutoModelForImageTextToText = AutoModelOf<Auto::ForImageTextToText>;
using AutoModelForImageToImage = AutoModelOf<Auto::ForImageToImage>;
using AutoModelForInstanceSegmentation = AutoModelOf<Auto::ForInstanceSegmentation>;
using AutoModelForKeypointDetection = AutoModelOf<Auto::ForKeypointDetection>;
using AutoModelForMaskGeneration = AutoModelOf<Auto::ForMaskGeneration>;
using AutoModelForMaskedImageModeling = AutoModelOf<Auto::ForMaskedImageModeling>;
using AutoModelForMaskedLM = AutoModelOf<Auto::ForMaskedLM>;
using AutoModelForMultipleChoice = AutoModelOf<Auto::ForMultipleChoice>;
using AutoModelForNextSentencePrediction = AutoModelOf<Auto::ForNextSentencePrediction>;
using AutoModelForObjectDetection = AutoModelOf<Auto::ForObjectDetection>;
using AutoModelForPreTraining = AutoModelOf<Auto::ForPreTraining>;
using AutoModelForQuestionAnswering = AutoModelOf<Auto::ForQuestionAnswering>;
using AutoModelForSemanticSegmentation = AutoModelOf<Auto::ForSemanticSegmentation>;
using AutoModelForSeq2SeqLM = AutoModelOf<Auto::ForSeq2SeqLM>;
using AutoModelForSequenceClassification = AutoModelOf<Auto::ForSequenceClassification>;
using AutoModelForSpeechSeq2Seq = AutoModelOf<Auto::ForSpeechSeq2Seq>;
using AutoModelForTableQuestionAnswering = AutoModelOf<Auto::ForTableQuestionAnswering>;
using AutoModelForTextEncoding = AutoModelOf<Auto::ForTextEncoding>;
using AutoModelForTextToSpectrogram = AutoModelOf<Auto::ForTextToSpectrogram>;
using AutoModelForTextToWaveform = AutoModelOf<Auto::ForTextToWaveform>;
using AutoModelForTimeSeriesPrediction = AutoModelOf<Auto::ForTimeSeriesPrediction>;
using AutoModelForTokenClassification = AutoModelOf<Auto::ForTokenClassification>;
using AutoModelForUniversalSegmentation = AutoModelOf<Auto::ForUniversalSegmentation>;
using AutoModelForVideoClassification = AutoModelOf<Auto::ForVideoClassification>;
using AutoModelForVision2Seq = AutoModelOf<Auto::ForVision2Seq>;
using AutoModelForVisualQuestionAnswering = AutoModelOf<Auto::ForVisualQuestionAnswering>;
using AutoModelForZeroShotImageClassification = AutoModelOf<Auto::ForZeroShotImageClassification>;
using AutoModelForZeroShotObjectDetection = AutoModelOf<Auto::ForZeroShotObjectDetection>;
using AutoModelWithLMHead = AutoModelOf<Auto::WithLMHead>;

}  // namespace backplane
