#pragma once

#include <string_view>

namespace backplane {

/// The name of an auto class. A plugin may use names of its own: an auto class exists once something is registered for
/// it.
struct AutoClass {
  std::string_view name;
};

/// The auto classes of the reference (AC section 1).
namespace Auto {
inline constexpr AutoClass Config{"AutoConfig"};
inline constexpr AutoClass Tokenizer{"AutoTokenizer"};
inline constexpr AutoClass FeatureExtractor{"AutoFeatureExtractor"};
inline constexpr AutoClass ImageProcessor{"AutoImageProcessor"};
inline constexpr AutoClass VideoProcessor{"AutoVideoProcessor"};
inline constexpr AutoClass Processor{"AutoProcessor"};
inline constexpr AutoClass ForMaskGeneration{"AutoModelForMaskGeneration"};
inline constexpr AutoClass ForKeypointDetection{"AutoModelForKeypointDetection"};
inline constexpr AutoClass ForTextEncoding{"AutoModelForTextEncoding"};
inline constexpr AutoClass ForImageToImage{"AutoModelForImageToImage"};
inline constexpr AutoClass Model{"AutoModel"};
inline constexpr AutoClass ForPreTraining{"AutoModelForPreTraining"};
inline constexpr AutoClass WithLMHead{"AutoModelWithLMHead"};
inline constexpr AutoClass ForCausalLM{"AutoModelForCausalLM"};
inline constexpr AutoClass ForMaskedLM{"AutoModelForMaskedLM"};
inline constexpr AutoClass ForSeq2SeqLM{"AutoModelForSeq2SeqLM"};
inline constexpr AutoClass ForSequenceClassification{"AutoModelForSequenceClassification"};
inline constexpr AutoClass ForQuestionAnswering{"AutoModelForQuestionAnswering"};
inline constexpr AutoClass ForTableQuestionAnswering{"AutoModelForTableQuestionAnswering"};
inline constexpr AutoClass ForVisualQuestionAnswering{"AutoModelForVisualQuestionAnswering"};
inline constexpr AutoClass ForDocumentQuestionAnswering{"AutoModelForDocumentQuestionAnswering"};
inline constexpr AutoClass ForTokenClassification{"AutoModelForTokenClassification"};
inline constexpr AutoClass ForMultipleChoice{"AutoModelForMultipleChoice"};
inline constexpr AutoClass ForNextSentencePrediction{"AutoModelForNextSentencePrediction"};
inline constexpr AutoClass ForImageClassification{"AutoModelForImageClassification"};
inline constexpr AutoClass ForZeroShotImageClassification{"AutoModelForZeroShotImageClassification"};
inline constexpr AutoClass ForImageSegmentation{"AutoModelForImageSegmentation"};
inline constexpr AutoClass ForSemanticSegmentation{"AutoModelForSemanticSegmentation"};
inline constexpr AutoClass ForTimeSeriesPrediction{"AutoModelForTimeSeriesPrediction"};
inline constexpr AutoClass ForUniversalSegmentation{"AutoModelForUniversalSegmentation"};
inline constexpr AutoClass ForInstanceSegmentation{"AutoModelForInstanceSegmentation"};
inline constexpr AutoClass ForObjectDetection{"AutoModelForObjectDetection"};
inline constexpr AutoClass ForZeroShotObjectDetection{"AutoModelForZeroShotObjectDetection"};
inline constexpr AutoClass ForDepthEstimation{"AutoModelForDepthEstimation"};
inline constexpr AutoClass ForVideoClassification{"AutoModelForVideoClassification"};
inline constexpr AutoClass ForVision2Seq{"AutoModelForVision2Seq"};
inline constexpr AutoClass ForImageTextToText{"AutoModelForImageTextToText"};
inline constexpr AutoClass ForAudioClassification{"AutoModelForAudioClassification"};
inline constexpr AutoClass ForCTC{"AutoModelForCTC"};
inline constexpr AutoClass ForSpeechSeq2Seq{"AutoModelForSpeechSeq2Seq"};
inline constexpr AutoClass ForAudioFrameClassification{"AutoModelForAudioFrameClassification"};
inline constexpr AutoClass ForAudioXVector{"AutoModelForAudioXVector"};
inline constexpr AutoClass ForTextToSpectrogram{"AutoModelForTextToSpectrogram"};
inline constexpr AutoClass ForTextToWaveform{"AutoModelForTextToWaveform"};
inline constexpr AutoClass Backbone{"AutoBackbone"};
inline constexpr AutoClass ForMaskedImageModeling{"AutoModelForMaskedImageModeling"};
inline constexpr AutoClass ForAudioTokenization{"AutoModelForAudioTokenization"};
}  // namespace Auto

}  // namespace backplane
