#include "backplane/vision/image_processor.h"

#include <catch2/catch.hpp>

#include "backplane/base/error.h"
#include "backplane/vision/draw.h"

using namespace backplane;

namespace {

Picture grey_picture(int64_t height, int64_t width, uint8_t value) {
  Image image;
  image.width = width;
  image.height = height;
  image.pixels.assign(static_cast<size_t>(3 * width * height), value);
  return image;
}

}  // namespace

TEST_CASE("a picture becomes pixel values") {
  const auto processor =
      ImageProcessor::create("ViTImageProcessor", {{"size", Value::Object{{"height", 4}, {"width", 6}}}});
  const auto out = (*processor)(ImageProcessorInputs(grey_picture(9, 8, 255)));
  const Tensor& pixels = out["pixel_values"].tensor();
  CHECK(pixels.sizes() == at::IntArrayRef({1, 3, 4, 6}));
  CHECK(pixels.eq(1).all().item<bool>());  // (255 / 255 - 0.5) / 0.5
}

TEST_CASE("arguments of a call stand over the settings") {
  const auto processor = ImageProcessor::create("CLIPImageProcessor", {{"size", 8}, {"crop_size", 8}});
  const auto out = (*processor)(ImageProcessorInputs(grey_picture(16, 12, 10)),
                                {{"do_rescale", false}, {"do_normalize", false}, {"data_format", "channels_last"}});
  const Tensor& pixels = out["pixel_values"].tensor();
  CHECK(pixels.scalar_type() == at::kByte);
  CHECK(pixels.sizes() == at::IntArrayRef({1, 8, 8, 3}));
  CHECK(pixels.eq(10).all().item<bool>());
}

TEST_CASE("settings are written as the reference writes them") {
  const auto processor = ImageProcessor::create("ConvNextImageProcessor",
                                                {{"size", 96}, {"processor_class", "SomeProcessor"}, {"own_key", 1}});
  const std::string json = processor->to_json_string();
  CHECK(json.find("\"size\": {\n    \"shortest_edge\": 96\n  }") != std::string::npos);
  CHECK(json.find("\"processor_class\": \"SomeProcessor\"") != std::string::npos);
  CHECK(json.find("\"own_key\": 1") != std::string::npos);
  CHECK(json.find("\"image_processor_type\": \"ConvNextImageProcessor\"") != std::string::npos);
  CHECK(json.ends_with("}\n"));
}

TEST_CASE("what cannot be done is refused") {
  CHECK_THROWS_AS(ImageProcessor::create("NoImageProcessor"), Error);
  CHECK_THROWS_AS(ImageProcessor::create("ViTImageProcessor", {{"size", -1}}), Error);
  CHECK_THROWS_AS(
      ImageProcessor::create("ViTImageProcessor", {{"size", Value::Object{{"height", 1 << 30}, {"width", 1}}}}), Error);
  const auto processor = ImageProcessor::create("ViTImageProcessor", {{"do_resize", false}});
  CHECK_THROWS_WITH(
      (*processor)(ImageProcessorInputs(std::vector<Picture>{grey_picture(2, 2, 0), grey_picture(2, 3, 0)})),
      Catch::Contains("different sizes after processing"));
  CHECK_THROWS_AS((*processor)(ImageProcessorInputs(Picture(at::zeros({5, 5})))), Error);
  CHECK_THROWS_AS((*processor)(ImageProcessorInputs(grey_picture(2, 2, 0)), {{"image_mean", Value::List{1.0, 2.0}}}),
                  Error);
  CHECK_THROWS_AS((*processor)(ImageProcessorInputs(grey_picture(2, 2, 0)), {{"resample", 9}, {"do_resize", true}}),
                  Error);
}

TEST_CASE("every class can be built and takes a picture or refuses it") {
  for (const auto& name : ImageProcessor::class_names()) {
    INFO(name);
    const auto processor = ImageProcessor::create(name, {{"apply_ocr", false}});
    CHECK(processor->class_name() == name);
    try {
      (*processor)(ImageProcessorInputs(grey_picture(40, 50, 100)));
    } catch (const Error&) {
    }
  }
}

TEST_CASE("boxes of detections are in pixels") {
  const auto processor = ImageProcessor::create("DetrImageProcessor");
  ModelOutput outputs{{"logits", at::tensor({9.0f, 0.0f, 0.0f, 0.0f, 0.0f, 9.0f}).view({1, 2, 3})},
                      {"pred_boxes", at::tensor({0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 1.0f, 1.0f}).view({1, 2, 4})}};
  const auto found =
      processor->post_process("post_process_object_detection", outputs,
                              {{"threshold", 0.9}, {"target_sizes", Value::List{Value(Value::List{100, 200})}}});
  const Feature& one = found.list().front();
  REQUIRE(one["labels"].tensor().equal(at::tensor({int64_t{0}})));
  CHECK(one["boxes"].tensor().equal(at::tensor({50.0f, 25.0f, 150.0f, 75.0f}).view({1, 4})));
  CHECK_THROWS_AS(processor->post_process("post_process_masks", outputs), Error);
}

TEST_CASE("boxes and maps are drawn") {
  Image image = std::get<Image>(grey_picture(6, 6, 0));
  draw_box(image, 1, 1, 4, 4, {9, 8, 7}, 1);
  CHECK(image.pixels[3 * (1 * 6 + 1)] == 9);
  CHECK(image.pixels[3 * (2 * 6 + 2)] == 0);
  draw_box(image, -50, -50, 500, 500, {1, 1, 1}, 1);
  CHECK(image.pixels[0] == 1);
  Image map = std::get<Image>(grey_picture(2, 2, 100));
  draw_map(map, at::tensor({int64_t{-1}, int64_t{0}, int64_t{1}, int64_t{2}}).view({2, 2}));
  CHECK(map.pixels[0] == 100);
  CHECK(map.pixels[3] == (100 + class_color(0)[0]) / 2);
  CHECK_THROWS_AS(draw_map(map, at::zeros({3, 2})), Error);
}
