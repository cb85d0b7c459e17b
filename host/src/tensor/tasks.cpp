// Verbs that answer one question about a picture or a text.

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iostream>
#include <optional>

#include "backplane/base/files.h"
#include "backplane/base/json.h"
#include "backplane/base/strings.h"
#include "backplane/host/auto_image_processor.h"
#include "backplane/vision/draw.h"
#include "tensor/session.h"
#include "tensor/verbs.h"

namespace backplane::cli {
namespace {

struct Arguments {
  ModelArguments model;
  std::string input;
  std::vector<std::string> labels;
  std::string output;
  std::string prompt = "This is a photo of {}.";
  double threshold = 0.5;
  int64_t top_k = 5;
};

std::string label_of(const PreTrainedModel& model, int64_t id) {
  const auto found = model.config().id2label.find(id);
  if (found == model.config().id2label.end()) return concat("LABEL_", id);
  return found->second.is_string() ? found->second.as_string() : found->second.to_string();
}

struct Scored {
  int64_t id = 0;
  double score = 0;
};

// The best `count` of a row of scores, the best first.
std::vector<Scored> best(const Tensor& scores, int64_t count) {
  const auto [values, index] = scores.to(at::kFloat).topk(std::min(count, scores.size(0)));
  std::vector<Scored> out;
  for (int64_t i = 0; i < values.size(0); ++i) out.push_back({index[i].item<int64_t>(), values[i].item<double>()});
  return out;
}

// logits [classes]: independent of each other where the configuration says so, or there is one.
Tensor class_scores(const PreTrainedModel& model, const Tensor& logits) {
  const auto& problem = model.config().problem_type;
  const bool apart = problem ? *problem == "multi_label_classification" : logits.size(0) == 1;
  return apart ? logits.sigmoid() : logits.softmax(-1);
}

void print_labels(const Arguments& arguments, const std::vector<std::pair<std::string, double>>& rows) {
  if (!arguments.model.json) {
    for (const auto& [label, score] : rows) std::printf("%6.2f %%  %s\n", 100 * score, label.c_str());
    return;
  }
  Json list = Json::array();
  for (const auto& [label, score] : rows) list.push_back({{"label", label}, {"score", score}});
  std::cout << python_dumps(Json{{"input", arguments.input}, {"labels", list}}) << "\n";
}

ModelInputs in_dtype(const PreTrainedModel& model, const BatchFeature& features) {
  ModelInputs inputs;
  const auto known = model.arguments();
  for (const auto& [name, value] : features.tensors()) {
    if (std::find(known.begin(), known.end(), name) == known.end()) continue;
    const auto* tensor = std::get_if<Tensor>(&value);
    inputs.set(name, tensor != nullptr && tensor->is_floating_point() ? Argument(tensor->to(model.dtype())) : value);
  }
  return inputs;
}

struct VisionSession {
  std::shared_ptr<ImageProcessor> processor;
  ModelPtr model;
  Image image;
};

// The first of the classes that the configuration has.
VisionSession open_vision(const Arguments& arguments, std::initializer_list<AutoClass> classes) {
  VisionSession session;
  session.image = load_image(arguments.input);
  const auto options = arguments.model.options();
  session.processor = AutoImageProcessor::from_pretrained(arguments.model.model, options);
  for (const auto* one = classes.begin(); one != classes.end(); ++one) {
    try {
      session.model = model_from_pretrained(*one, arguments.model.model, options);
      return session;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unrecognized_configuration_class || one + 1 == classes.end()) throw;
    }
  }
  return session;
}

ModelOutput run_vision(const VisionSession& session) {
  return session.model->forward(in_dtype(
      *session.model, (*session.processor)(ImageProcessorInputs(Picture(session.image)), {{"return_tensors", "pt"}})));
}

// float32, as post-processing expects.
ModelOutput in_float(const ModelOutput& given) {
  ModelOutput out;
  for (const auto& [name, value] : given) {
    const auto* tensor = std::get_if<Tensor>(&value);
    out.set(name, tensor != nullptr && tensor->is_floating_point() ? Argument(tensor->to(at::kFloat)) : value);
  }
  return out;
}

Value image_size(const Image& image) { return Value::List{Value(Value::List{image.height, image.width})}; }

void write_picture(const Arguments& arguments, const Image& image) {
  write_file(arguments.output, encode_png(image));
  if (!arguments.model.json) std::printf("written to %s\n", arguments.output.c_str());
}

void classify_image(const Arguments& arguments) {
  const VisionSession session = open_vision(arguments, {Auto::ForImageClassification});
  const Tensor scores = class_scores(*session.model, run_vision(session)["logits"][0].to(at::kFloat));
  std::vector<std::pair<std::string, double>> rows;
  for (const auto& one : best(scores, arguments.top_k)) rows.emplace_back(label_of(*session.model, one.id), one.score);
  print_labels(arguments, rows);
}

Session open_text(const Arguments& arguments, AutoClass auto_class) {
  return open_session(auto_class, arguments.model);
}

ModelInputs text_inputs(const Session& session, const std::string& text, std::vector<int64_t>* ids = nullptr) {
  EncodeOptions options;
  if (session.tokenizer->model_max_length()) options.truncation = Truncation::longest_first;
  const Encoding encoding = session.tokenizer->encode(text, options);
  if (ids != nullptr) *ids = encoding.ids;
  const auto row = [](const std::vector<int64_t>& values) { return at::tensor(values, at::kLong).unsqueeze(0); };
  ModelInputs inputs{{"input_ids", row(encoding.ids)}, {"attention_mask", row(encoding.attention_mask)}};
  const auto known = session.model->arguments();
  if (std::find(known.begin(), known.end(), "token_type_ids") != known.end())
    inputs.set("token_type_ids", row(encoding.type_ids));
  return inputs;
}

void classify_text(const Arguments& arguments) {
  const Session session = open_text(arguments, Auto::ForSequenceClassification);
  const Tensor logits = session.model->forward(text_inputs(session, arguments.input))["logits"][0].to(at::kFloat);
  std::vector<std::pair<std::string, double>> rows;
  for (const auto& one : best(class_scores(*session.model, logits), arguments.top_k))
    rows.emplace_back(label_of(*session.model, one.id), one.score);
  print_labels(arguments, rows);
}

void classify(const Arguments& arguments) {
  c10::InferenceMode guard;
  // What names a file is a picture.
  std::filesystem::path path(arguments.input);
  std::error_code error;
  if (std::filesystem::is_regular_file(path, error)) return classify_image(arguments);
  classify_text(arguments);
}

void fill_mask(const Arguments& arguments) {
  c10::InferenceMode guard;
  const Session session = open_text(arguments, Auto::ForMaskedLM);
  const auto mask = session.tokenizer->mask_token_id();
  if (!mask) throw Error(ErrorCode::invalid_value, "the tokenizer of this model has no mask token");
  std::string text = arguments.input;
  // "[MASK]" and "<mask>" both stand for the tokenizer's own.
  for (const std::string_view word : {"[MASK]", "<mask>"}) {
    const size_t at = text.find(word);
    if (at != std::string::npos) text.replace(at, word.size(), *session.tokenizer->mask_token());
  }
  std::vector<int64_t> ids;
  const auto inputs = text_inputs(session, text, &ids);
  const auto place = std::find(ids.begin(), ids.end(), *mask);
  if (place == ids.end())
    throw Error(ErrorCode::usage, concat("no ", *session.tokenizer->mask_token(), " in the text"));
  const Tensor logits = session.model->forward(inputs)["logits"][0][place - ids.begin()].to(at::kFloat);
  Json list = Json::array();
  for (const auto& one : best(logits.softmax(-1), arguments.top_k)) {
    auto filled = ids;
    filled[static_cast<size_t>(place - ids.begin())] = one.id;
    const std::string sequence = session.tokenizer->decode(filled, {.skip_special_tokens = true});
    const std::string word = session.tokenizer->decode(std::vector<int64_t>{one.id});
    if (arguments.model.json)
      list.push_back({{"score", one.score}, {"token", one.id}, {"token_str", word}, {"sequence", sequence}});
    else
      std::printf("%6.2f %%  %-14s %s\n", 100 * one.score, word.c_str(), sequence.c_str());
  }
  if (arguments.model.json) std::cout << python_dumps(Json{{"input", arguments.input}, {"predictions", list}}) << "\n";
}

void detect(const Arguments& arguments) {
  c10::InferenceMode guard;
  const VisionSession session = open_vision(arguments, {Auto::ForObjectDetection});
  const auto found = session.processor->post_process(
      "post_process_object_detection", in_float(run_vision(session)),
      {{"threshold", arguments.threshold}, {"target_sizes", image_size(session.image)}});
  const Feature& one = found.list().front();
  const Tensor &scores = one["scores"].tensor(), &labels = one["labels"].tensor(), &boxes = one["boxes"].tensor();
  Image drawn = session.image;
  Json list = Json::array();
  for (int64_t i = 0; i < scores.size(0); ++i) {
    const auto id = labels[i].item<int64_t>();
    const auto edge = [&](int64_t side) { return boxes[i][side].item<double>(); };
    draw_box(drawn, edge(0), edge(1), edge(2), edge(3), class_color(id), std::max<int64_t>(2, drawn.width / 300));
    const std::string label = label_of(*session.model, id);
    if (arguments.model.json) {
      list.push_back({{"label", label},
                      {"score", scores[i].item<double>()},
                      {"box", {{"xmin", edge(0)}, {"ymin", edge(1)}, {"xmax", edge(2)}, {"ymax", edge(3)}}}});
    } else {
      std::printf("%6.2f %%  %-20s %7.1f %7.1f %7.1f %7.1f\n", 100 * scores[i].item<double>(), label.c_str(), edge(0),
                  edge(1), edge(2), edge(3));
    }
  }
  if (!arguments.output.empty()) write_picture(arguments, drawn);
  if (!arguments.model.json) return;
  Json out{{"input", arguments.input}, {"detections", list}};
  if (!arguments.output.empty()) out["output"] = arguments.output;
  std::cout << python_dumps(out) << "\n";
}

void segment(const Arguments& arguments) {
  c10::InferenceMode guard;
  const VisionSession session = open_vision(
      arguments, {Auto::ForSemanticSegmentation, Auto::ForUniversalSegmentation, Auto::ForImageSegmentation});
  const ModelOutput outputs = in_float(run_vision(session));
  Image drawn = session.image;
  Json list = Json::array();
  const auto add = [&](const std::string& label, int64_t id, const Tensor& map, std::optional<double> score) {
    const auto pixels = map.eq(id).sum().item<int64_t>();
    if (arguments.model.json) {
      Json row{{"label", label}, {"id", id}, {"pixels", pixels}};
      if (score) row["score"] = *score;
      list.push_back(row);
    } else {
      std::printf("%6.2f %%  %s\n", 100.0 * static_cast<double>(pixels) / static_cast<double>(map.numel()),
                  label.c_str());
    }
  };
  if (outputs.tensor("logits").defined() && outputs["logits"].dim() == 4) {
    const auto found = session.processor->post_process("post_process_semantic_segmentation", outputs,
                                                       {{"target_sizes", image_size(session.image)}});
    const Tensor map = found.list().front().tensor();
    const Tensor ids = std::get<0>(at::_unique(map));
    for (int64_t i = 0; i < ids.numel(); ++i)
      add(label_of(*session.model, ids[i].item<int64_t>()), ids[i].item<int64_t>(), map, std::nullopt);
    draw_map(drawn, map);
  } else {
    const auto found = session.processor->post_process(
        "post_process_panoptic_segmentation", outputs,
        {{"threshold", arguments.threshold}, {"target_sizes", image_size(session.image)}});
    const Feature& one = found.list().front();
    const Tensor map = one["segmentation"].tensor();
    for (const auto& part : one["segments_info"].list()) {
      add(label_of(*session.model, std::get<int64_t>(part["label_id"].data())), std::get<int64_t>(part["id"].data()),
          map, std::get<double>(part["score"].data()));
    }
    draw_map(drawn, map, 1);
  }
  if (!arguments.output.empty()) write_picture(arguments, drawn);
  if (!arguments.model.json) return;
  Json out{{"input", arguments.input}, {"segments", list}};
  if (!arguments.output.empty()) out["output"] = arguments.output;
  std::cout << python_dumps(out) << "\n";
}

void zero_shot(const Arguments& arguments) {
  c10::InferenceMode guard;
  const VisionSession session = open_vision(arguments, {Auto::ForZeroShotImageClassification});
  const auto tokenizer = AutoTokenizer::from_pretrained(arguments.model.model, arguments.model.options());
  const int64_t pad = tokenizer->pad_token_id().value_or(0);
  std::vector<std::vector<int64_t>> rows;
  size_t width = 1;
  for (const auto& label : arguments.labels) {
    std::string text = arguments.prompt;
    const size_t at = text.find("{}");
    if (at != std::string::npos) text.replace(at, 2, label);
    rows.push_back(tokenizer->encode_ids(text));
    width = std::max(width, rows.back().size());
  }
  const auto count = static_cast<int64_t>(rows.size()), length = static_cast<int64_t>(width);
  Tensor ids = at::full({count, length}, pad, at::kLong), mask = at::zeros({count, length}, at::kLong);
  for (int64_t i = 0; i < count; ++i) {
    const auto& row = rows[static_cast<size_t>(i)];
    ids[i].narrow(0, 0, static_cast<int64_t>(row.size())).copy_(at::tensor(row, at::kLong));
    mask[i].narrow(0, 0, static_cast<int64_t>(row.size())).fill_(1);
  }
  ModelInputs inputs = in_dtype(
      *session.model, (*session.processor)(ImageProcessorInputs(Picture(session.image)), {{"return_tensors", "pt"}}));
  inputs.set("input_ids", ids);
  inputs.set("attention_mask", mask);
  const Tensor scores = session.model->forward(inputs)["logits_per_image"][0].to(at::kFloat).softmax(-1);
  std::vector<std::pair<std::string, double>> out;
  for (const auto& one : best(scores, count))
    out.emplace_back(arguments.labels[static_cast<size_t>(one.id)], one.score);
  print_labels(arguments, out);
}

CLI::App* add_task(CLI::App& app, const char* name, const char* description, const char* input,
                   const std::shared_ptr<Arguments>& arguments, void (*run)(const Arguments&)) {
  auto* verb = app.add_subcommand(name, description);
  arguments->model.add_to(*verb);
  verb->add_option(input, arguments->input)->required();
  verb->callback([arguments, run] { run(*arguments); });
  return verb;
}

}  // namespace

void add_tasks(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  add_task(app, "classify", "Sort a picture or a text into a model's classes", "INPUT", arguments, classify)
      ->add_option("--top-k", arguments->top_k, "classes to show")
      ->check(CLI::Range(1, 1000));
  arguments = std::make_shared<Arguments>();
  add_task(app, "fill-mask", "Fill the gap that [MASK] or <mask> leaves in a text", "TEXT", arguments, fill_mask)
      ->add_option("--top-k", arguments->top_k, "words to show")
      ->check(CLI::Range(1, 1000));
  arguments = std::make_shared<Arguments>();
  auto* verb = add_task(app, "detect", "Find objects in a picture", "IMAGE", arguments, detect);
  verb->add_option("--threshold", arguments->threshold, "least score of what is shown")->check(CLI::Range(0.0, 1.0));
  verb->add_option("--output", arguments->output, "a PNG file to write, with the boxes drawn");
  arguments = std::make_shared<Arguments>();
  verb = add_task(app, "segment", "Say what each pixel of a picture belongs to", "IMAGE", arguments, segment);
  verb->add_option("--threshold", arguments->threshold, "least score of a segment")->check(CLI::Range(0.0, 1.0));
  verb->add_option("--output", arguments->output, "a PNG file to write, with the segments coloured");
  arguments = std::make_shared<Arguments>();
  verb = add_task(app, "zero-shot", "Say which of some labels fits a picture best", "IMAGE", arguments, zero_shot);
  verb->add_option("LABEL", arguments->labels, "the labels")->required();
  verb->add_option("--prompt", arguments->prompt, "the text around a label, which {} stands for");
}

}  // namespace backplane::cli
