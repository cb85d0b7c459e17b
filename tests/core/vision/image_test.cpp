#include "backplane/vision/image.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "../../../fuzz/image_fuzz.cpp"
#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "core/vision/pictures.h"

using namespace backplane;
using namespace backplane::testing;

TEST_CASE("pictures are read as Pillow reads them") {
  const auto all = pictures();
  for (const auto& [file, expected] : all.items()) {
    INFO(file);
    const Image image = load_image(vision_data(file));
    CHECK(image.mode == ImageMode::rgb);
    REQUIRE(image.width == expected["width"]);
    REQUIRE(image.height == expected["height"]);
    const auto rgb = from_base64(expected["rgb"]);
    REQUIRE(image.pixels.size() == rgb.size());
    // Releases of libjpeg differ in the last bits.
    const int allowed = file.ends_with(".jpg") ? 2 : 0;
    int largest = 0;
    for (size_t i = 0; i < rgb.size(); ++i) largest = std::max(largest, std::abs(image.pixels[i] - rgb[i]));
    CHECK(largest <= allowed);
  }
}

TEST_CASE("a picture keeps the mode of its file") {
  const auto mode = [](const std::string& file) {
    return decode_image(read_file(vision_data(file), 1 << 20), file).mode;
  };
  CHECK(mode("grey.png") == ImageMode::l);
  CHECK(mode("grey16.png") == ImageMode::i16);
  CHECK(mode("grey_alpha.png") == ImageMode::la);
  CHECK(mode("palette.png") == ImageMode::p);
  CHECK(mode("rgba.png") == ImageMode::rgba);
  CHECK(mode("cmyk.jpg") == ImageMode::cmyk);
  CHECK(mode("palette.gif") == ImageMode::p);
}

TEST_CASE("the orientation of EXIF turns a picture") {
  Image image;
  image.mode = ImageMode::l;
  image.width = 2;
  image.height = 1;
  image.pixels = {1, 2};
  const auto turned = [&](int orientation) {
    image.orientation = orientation;
    return apply_orientation(image);
  };
  CHECK(turned(2).pixels == std::vector<uint8_t>{2, 1});
  CHECK(turned(3).pixels == std::vector<uint8_t>{2, 1});
  CHECK(turned(6).height == 2);
  CHECK(turned(6).pixels == std::vector<uint8_t>{1, 2});
  CHECK(turned(8).pixels == std::vector<uint8_t>{2, 1});
}

TEST_CASE("a picture survives its way through PNG") {
  for (const char* file : {"grey.png", "grey_alpha.png", "rgb.png", "rgba.png"}) {
    const Image image = decode_image(read_file(vision_data(file), 1 << 20), file);
    const Image again = decode_image(encode_png(image), "again");
    CHECK(again.mode == image.mode);
    CHECK(again.pixels == image.pixels);
  }
}

TEST_CASE("files that are no pictures are refused") {
  CHECK_THROWS_WITH(decode_image("hello", "x.png"),
                    "x.png: not a picture that can be read; JPEG, PNG, WebP, BMP and GIF can");
  std::string png = read_file(vision_data("rgb.png"), 1 << 20);
  CHECK_THROWS_AS(decode_image(png.substr(0, 60), "cut.png"), Error);
  // 2^24 x 2^24 pixels in a file of 26 bytes.
  const std::string bomb("BM\x1a\0\0\0\0\0\0\0\x1a\0\0\0\x28\0\0\0\0\0\0\1\0\0\0\1\1\0\x18\0", 30);
  CHECK_THROWS_AS(decode_image(bomb, "bomb.bmp"), Error);
}

TEST_CASE("mutated pictures are read or refused") {
  const auto all = pictures();
  for (const auto& [file, expected] : all.items()) {
    const std::string bytes = read_file(vision_data(file), 1 << 20);
    uint32_t state = 1;
    const auto random = [&] { return state = 1664525u * state + 1013904223u; };
    for (int round = 0; round < 400; ++round) {
      std::string copy = bytes;
      for (uint32_t i = 0; i <= random() % 4; ++i)
        copy[(random() >> 8) % copy.size()] = static_cast<char>(random() >> 16);
      if (random() % 8 == 0) copy.resize(random() % copy.size());
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(copy.data()), copy.size());
    }
  }
}
