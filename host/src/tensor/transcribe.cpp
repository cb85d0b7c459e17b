#include <cstdio>
#include <iostream>

#include "backplane/audio/transcription.h"
#include "backplane/audio/wave.h"
#include "backplane/base/json.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"
#include "backplane/host/auto_feature_extractor.h"
#include "backplane/host/resolve.h"
#include "backplane/text/ctc_vocabulary.h"
#include "tensor/session.h"
#include "tensor/verbs.h"

namespace backplane::cli {
namespace {

struct Arguments {
  ModelArguments model;
  std::vector<std::string> files;
  TranscribeOptions options;
  std::string language, task, format = "text";
};

struct Segment {
  double start, end;  // seconds
  std::string text;
};

struct Transcript {
  std::string text;
  std::vector<int64_t> ids;
  std::vector<Segment> segments;
};

// The text of a model that writes tokens, in the form of its tokenizer.
class TokenTranscriber {
 public:
  TokenTranscriber(SpeechTranscriber& model, const Arguments& arguments)
      : model_(model), tokenizer_(AutoTokenizer::from_pretrained(arguments.model.model, arguments.model.options())) {}

  Transcript operator()(const FeatureExtractor& extractor, const Tensor& wave, const TranscribeOptions& options) const {
    FeatureOptions features{.sampling_rate = extractor.sampling_rate()};
    for (const auto& [key, value] : extractor.settings()) {
      // A sound longer than the window is not cut: the model goes through it window by window.
      if (key == "n_samples" && wave.size(0) > value.as_int()) {
        features.padding = "longest";
        features.truncation = false;
      }
    }
    const auto written = model_.transcribe(extractor({wave}, features)["input_features"], options);
    Transcript transcript;
    transcript.ids = written.ids;
    transcript.text = text_of(written.ids, written.first_time);
    for (const auto& segment : written.segments)
      transcript.segments.push_back({segment.start, segment.end, text_of(segment.ids, written.first_time)});
    return transcript;
  }

 private:
  std::string text_of(std::vector<int64_t> ids, std::optional<int64_t> first_time) const {
    if (first_time) std::erase_if(ids, [&](int64_t id) { return id >= *first_time; });
    return tokenizer_->decode(ids, {.skip_special_tokens = true});
  }

  SpeechTranscriber& model_;
  std::shared_ptr<Tokenizer> tokenizer_;
};

// The best class of each frame; a segment a word.
class CtcTranscriber {
 public:
  CtcTranscriber(PreTrainedModel& model, const Arguments& arguments)
      : model_(model), vocabulary_(CtcVocabulary::from_folder(resolved_folder(arguments))) {
    const Json config = Json::parse(config_to_json_string(model.config(), false));
    if (config.contains("conv_stride") && config["conv_stride"].is_array()) {
      samples_ = 1;
      for (const auto& stride : config["conv_stride"]) samples_ *= stride.get<int64_t>();
    }
  }

  Transcript operator()(const FeatureExtractor& extractor, const Tensor& wave) const {
    const ModelInputs inputs = extractor({wave}, {.sampling_rate = extractor.sampling_rate()});
    const Tensor best = model_.forward(inputs.select(model_.arguments()))["logits"][0].argmax(-1).contiguous();
    Transcript transcript;
    transcript.ids.assign(best.const_data_ptr<int64_t>(), best.const_data_ptr<int64_t>() + best.numel());
    const CtcText written = vocabulary_.decode(transcript.ids);
    transcript.text = written.text;
    const double per_frame = samples_ > 0 ? static_cast<double>(samples_)
                                          : static_cast<double>(wave.size(0)) / static_cast<double>(best.numel());
    const double seconds = per_frame / static_cast<double>(extractor.sampling_rate());
    for (const auto& word : written.words)
      transcript.segments.push_back(
          {static_cast<double>(word.first) * seconds, static_cast<double>(word.last) * seconds, word.text});
    return transcript;
  }

 private:
  static std::string resolved_folder(const Arguments& arguments) {
    ModelFiles files(arguments.model.model, arguments.model.options().hub());
    for (const char* file : {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"})
      files.find_optional(file);
    const std::string vocabulary = files.get("vocab.json");
    return vocabulary.substr(0, vocabulary.rfind('/'));
  }

  PreTrainedModel& model_;
  CtcVocabulary vocabulary_;
  int64_t samples_ = 0;  // of one frame; 0: unknown
};

// 01:02:03.450
std::string clock(double seconds, char point) {
  const auto all = static_cast<int64_t>(seconds * 1000 + 0.5);
  char text[40];
  std::snprintf(text, sizeof text, "%02lld:%02lld:%02lld%c%03lld", static_cast<long long>(all / 3600000),
                static_cast<long long>(all / 60000 % 60), static_cast<long long>(all / 1000 % 60), point,
                static_cast<long long>(all % 1000));
  return text;
}

void print(const Transcript& transcript, const Arguments& arguments) {
  if (arguments.format == "json") {
    Json segments = Json::array();
    for (const auto& [start, end, text] : transcript.segments)
      segments.push_back({{"start", start}, {"end", end}, {"text", text}});
    std::cout << python_dumps({{"text", transcript.text}, {"ids", transcript.ids}, {"segments", segments}})
              << std::endl;
  } else if (arguments.format == "srt") {
    for (size_t i = 0; i < transcript.segments.size(); ++i) {
      const auto& [start, end, text] = transcript.segments[i];
      std::cout << i + 1 << "\n" << clock(start, ',') << " --> " << clock(end, ',') << "\n" << trim(text) << "\n\n";
    }
  } else if (arguments.options.timestamps) {
    for (const auto& [start, end, text] : transcript.segments)
      std::cout << "[" << clock(start, '.') << " --> " << clock(end, '.') << "] " << trim(text) << "\n";
  } else {
    std::cout << trim(transcript.text) << "\n";
  }
}

AutoClass head_of(const Arguments& arguments) {
  const auto config = resolve_config(arguments.model.model, arguments.model.options()).config;
  for (const AutoClass head : {Auto::ForSpeechSeq2Seq, Auto::ForCTC}) {
    try {
      resolve_model_class(head.name, *config);
      return head;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unrecognized_configuration_class) throw;
    }
  }
  throw Error(ErrorCode::invalid_value,
              concat(arguments.model.model, " (", config->model_type_name, ") is no model that transcribes"));
}

void run(Arguments arguments) {
  if (arguments.model.json) arguments.format = "json";
  if (arguments.format == "srt") arguments.options.timestamps = true;
  if (!arguments.language.empty()) arguments.options.language = arguments.language;
  if (!arguments.task.empty()) arguments.options.task = arguments.task;
  const auto extractor = AutoFeatureExtractor::from_pretrained(arguments.model.model, arguments.model.options());
  const ModelPtr model = open_model(head_of(arguments), arguments.model);
  c10::InferenceMode guard;
  for (const auto& file : arguments.files) {
    const Wave sound = read_wave(file);
    const Tensor wave = resample(mono(sound), sound.rate, extractor->sampling_rate());
    if (auto* transcriber = dynamic_cast<SpeechTranscriber*>(model.get())) {
      print(TokenTranscriber(*transcriber, arguments)(*extractor, wave, arguments.options), arguments);
    } else if (model->can_generate()) {
      throw Error(ErrorCode::invalid_value,
                  concat(model->name(), " has no rules for transcribing; generate from its features instead"));
    } else {
      print(CtcTranscriber(*model, arguments)(*extractor, wave), arguments);
    }
  }
}

}  // namespace

void add_transcribe(CLI::App& app) {
  auto* verb = app.add_subcommand("transcribe", "Write down what is said in a sound file");
  auto arguments = std::make_shared<Arguments>();
  arguments->model.add_to(*verb);
  verb->add_option("FILE", arguments->files, "wav, flac, ogg or mp3")->required();
  verb->add_flag("--timestamps", arguments->options.timestamps, "say when each segment was spoken");
  verb->add_option("--language", arguments->language, "what is spoken, as \"en\"; unset: the model listens");
  verb->add_option("--task", arguments->task, "transcribe, or translate into English")
      ->check(CLI::IsMember({"transcribe", "translate"}));
  verb->add_option("--format", arguments->format, "how it is written")->check(CLI::IsMember({"text", "srt", "json"}));
  verb->callback([arguments] { run(*arguments); });
}

}  // namespace backplane::cli
