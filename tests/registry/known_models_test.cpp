#include "backplane/registry/known_models.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <set>

#include "backplane/base/json.h"

using namespace backplane;

TEST_CASE("known models: 376 types, 361 with a configuration, in the order of the tables") {
  const auto& known = KnownModels::get();
  REQUIRE(known.all().size() == 376);
  CHECK(known.all().front().model_type == "albert");
  size_t configs = 0;
  for (const auto& model : known.all()) configs += !model.config_class.empty();
  CHECK(configs == 361);
  CHECK(KnownModels::auto_classes().size() == 47);
}

TEST_CASE("AC-24: one configuration class may serve several types; the last of the table comes first") {
  const auto types = KnownModels::get().of_config_class("LlamaConfig");
  REQUIRE(types.size() == 2);
  CHECK(types[0]->model_type == "llama");
  CHECK(types[1]->model_type == "code_llama");
  CHECK(types[1]->written_as == "llama");
  CHECK(types[1]->plugin == "llama");
  CHECK(KnownModels::get().of_config_class("VisionEncoderDecoderConfig")[0]->model_type == "vision-encoder-decoder");
}

TEST_CASE("AC-25: the spelling that a type's own files carry is found") {
  REQUIRE(KnownModels::get().find("mlcd_vision_model"));
  CHECK(KnownModels::get().find("mlcd_vision_model")->model_type == "mlcd");
  CHECK(KnownModels::get().find("vit-hybrid")->model_type == "vit_hybrid");
  CHECK(KnownModels::get().find("llama")->model_type == "llama");
  CHECK_FALSE(KnownModels::get().find("BERT"));
}

TEST_CASE("AC-38: entries with several classes keep their order") {
  using Names = std::vector<std::string_view>;
  CHECK(KnownModels::get().find("funnel")->models("AutoModel") == Names{"FunnelModel", "FunnelBaseModel"});
  CHECK(KnownModels::get().find("levit")->models("AutoModelForImageClassification") ==
        Names{"LevitForImageClassification", "LevitForImageClassificationWithTeacher"});
  CHECK(KnownModels::get().find("bert")->models("AutoModelForCTC").empty());
}

TEST_CASE("AC-124: classes are known by name, those beside the tables too") {
  const auto& known = KnownModels::get();
  CHECK(known.has_class(ClassKind::tokenizer, "BertTokenizerFast"));
  CHECK(known.has_class(ClassKind::tokenizer, "DPRReaderTokenizer"));
  CHECK_FALSE(known.has_class(ClassKind::tokenizer, "BertModel"));
  CHECK_FALSE(known.has_class(ClassKind::tokenizer, ""));
  CHECK(known.has_class(ClassKind::image_processor, "AriaImageProcessor"));
  CHECK_FALSE(known.has_class(ClassKind::image_processor, "Llama4ImageProcessor"));  // AC-141
  CHECK(known.has_class(ClassKind::processor, "CLIPProcessor"));
}
