#include "backplane/vision/resample.h"

#include <zlib.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "backplane/base/error.h"
#include "core/vision/pictures.h"

using namespace backplane;
using namespace backplane::testing;

namespace {

Tensor picture(const std::string& base64, int64_t height, int64_t width, int64_t channels) {
  const auto bytes = from_base64(base64);
  Tensor out = at::empty({height, width, channels}, at::kByte);
  REQUIRE(static_cast<int64_t>(bytes.size()) == out.numel());
  std::memcpy(out.mutable_data_ptr(), bytes.data(), bytes.size());
  return out;
}

uint32_t checksum(const Tensor& image) {
  return static_cast<uint32_t>(
      ::crc32(0, image.contiguous().const_data_ptr<uint8_t>(), static_cast<uInt>(image.numel())));
}

}  // namespace

TEST_CASE("resizing has Pillow's bytes") {
  const auto data = vision_json("resized.json");
  const Tensor rgb = picture(data["picture"], data["height"], data["width"], 3),
               rgba = picture(data["alpha"], 40, 31, 4);
  for (const auto& one : data["cases"]) {
    INFO(one.dump());
    const auto filter = static_cast<Resample>(one["filter"].get<int64_t>());
    const int64_t height = one["height"], width = one["width"];
    Tensor out;
    if (one.contains("gap"))
      out = resize_pillow_with_gap(rgb, height, width, filter, one["gap"]);
    else
      out = resize_pillow(one.contains("alpha") ? rgba : rgb, height, width, filter);
    CHECK(checksum(out) == one["crc"].get<uint32_t>());
  }
}

TEST_CASE("a mean of equal pixels is that pixel") {
  const Tensor grey = at::full({9, 9, 3}, 77, at::kByte);
  CHECK(resize_pillow(grey, 4, 5, Resample::lanczos).eq(77).all().item<bool>());
  CHECK(reduce_pillow(grey, 2, 4).eq(77).all().item<bool>());
  CHECK(resize_torch(grey, 4, 5, Resample::bicubic).eq(77).all().item<bool>());
}

TEST_CASE("nearest takes the pixel in the middle") {
  const Tensor row = at::arange(4, at::kByte).view({1, 4, 1});
  CHECK(resize_pillow(row, 1, 2, Resample::nearest).flatten().equal(at::tensor({1, 3}, at::kByte)));
  CHECK(resize_pillow(row, 1, 8, Resample::nearest).flatten().equal(at::tensor({0, 0, 1, 1, 2, 2, 3, 3}, at::kByte)));
}

TEST_CASE("impossible sizes are refused") {
  const Tensor image = at::zeros({2, 2, 3}, at::kByte);
  CHECK_THROWS_AS(resize_pillow(image, 0, 2, Resample::bilinear), Error);
  CHECK_THROWS_AS(resize_pillow(image, 1 << 20, 1 << 20, Resample::bilinear), Error);
  CHECK_THROWS_AS(resize_torch(image, 4, 4, Resample::box), Error);
}
