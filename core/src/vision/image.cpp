#include "backplane/vision/image.h"

#include <algorithm>
#include <cstring>

#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/strings.h"
#include "vision/decoders.h"

namespace backplane {
namespace {

// x * y / 255, rounded as Pillow's MULDIV255.
uint8_t multiply_255(int x, int y) {
  const int product = x * y + 128;
  return static_cast<uint8_t>(((product >> 8) + product) >> 8);
}

}  // namespace

int64_t Image::channels() const {
  switch (mode) {
    case ImageMode::l:
    case ImageMode::p:
    case ImageMode::i16:
      return 1;
    case ImageMode::la:
      return 2;
    case ImageMode::rgb:
      return 3;
    case ImageMode::rgba:
    case ImageMode::cmyk:
      return 4;
  }
  return 0;
}

void throw_damaged(const std::string& name, std::string_view format, std::string_view why) {
  throw Error(ErrorCode::invalid_value, concat(name, ": not a readable ", format, " picture: ", why));
}

Image new_image(ImageMode mode, int64_t width, int64_t height, const std::string& name) {
  if (width < 1 || height < 1)
    throw Error(ErrorCode::invalid_value, concat(name, ": a picture of ", width, " x ", height, " pixels"));
  if (static_cast<uint64_t>(width) > limits::kImagePixels / static_cast<uint64_t>(height))
    throw Error(ErrorCode::limit_exceeded, concat(name, ": ", width, " x ", height, " pixels are more than the ",
                                                  limits::kImagePixels, " that a picture may have"));
  Image image;
  image.mode = mode;
  image.width = width;
  image.height = height;
  const int64_t bytes = mode == ImageMode::i16 ? 2 : image.channels();
  image.pixels.resize(static_cast<size_t>(width * height * bytes));
  return image;
}

Image decode_image(std::string_view bytes, const std::string& name) {
  using std::string_view_literals::operator""sv;
  if (bytes.size() > limits::kImageFileBytes)
    throw Error(ErrorCode::limit_exceeded, concat(name, ": ", bytes.size(), " bytes are more than the ",
                                                  limits::kImageFileBytes, " that a picture file may have"));
  if (bytes.starts_with("\xff\xd8\xff"sv)) return decode_jpeg(bytes, name);
  if (bytes.starts_with("\x89PNG\r\n\x1a\n"sv)) return decode_png(bytes, name);
  if (bytes.size() >= 12 && bytes.starts_with("RIFF"sv) && bytes.substr(8, 4) == "WEBP"sv)
    return decode_webp(bytes, name);
  if (bytes.starts_with("GIF87a"sv) || bytes.starts_with("GIF89a"sv)) return decode_gif(bytes, name);
  if (bytes.starts_with("BM"sv)) return decode_bmp(bytes, name);
  throw Error(ErrorCode::invalid_value,
              concat(name, ": not a picture that can be read; JPEG, PNG, WebP, BMP and GIF can"));
}

Image convert_to_rgb(const Image& image) {
  if (image.mode == ImageMode::rgb) return image;
  Image out = new_image(ImageMode::rgb, image.width, image.height, "picture");
  out.orientation = image.orientation;
  const size_t count = static_cast<size_t>(image.width * image.height);
  const uint8_t* in = image.pixels.data();
  uint8_t* to = out.pixels.data();
  switch (image.mode) {
    case ImageMode::l:
    case ImageMode::la: {
      const size_t step = image.mode == ImageMode::l ? 1 : 2;
      for (size_t i = 0; i < count; ++i) std::memset(to + 3 * i, in[step * i], 3);
      break;
    }
    case ImageMode::p:
      for (size_t i = 0; i < count; ++i) std::memcpy(to + 3 * i, image.palette.data() + 3 * size_t{in[i]}, 3);
      break;
    case ImageMode::rgba:
      for (size_t i = 0; i < count; ++i) std::memcpy(to + 3 * i, in + 4 * i, 3);
      break;
    case ImageMode::cmyk:
      for (size_t i = 0; i < count; ++i) {
        const int light = 255 - in[4 * i + 3];
        for (size_t c = 0; c < 3; ++c)
          to[3 * i + c] = static_cast<uint8_t>(std::clamp(light - multiply_255(in[4 * i + c], light), 0, 255));
      }
      break;
    case ImageMode::i16:
      // Pillow cuts 16-bit grey at 255.
      for (size_t i = 0; i < count; ++i) {
        uint16_t value;
        std::memcpy(&value, in + 2 * i, 2);
        std::memset(to + 3 * i, std::min<int>(value, 255), 3);
      }
      break;
    case ImageMode::rgb:
      break;
  }
  return out;
}

Image apply_orientation(const Image& image) {
  if (image.orientation <= 1 || image.orientation > 8) return image;
  const bool swapped = image.orientation >= 5;
  Image out = image;
  out.orientation = 1;
  out.width = swapped ? image.height : image.width;
  out.height = swapped ? image.width : image.height;
  const size_t size = image.mode == ImageMode::i16 ? 2 : static_cast<size_t>(image.channels());
  const int64_t right = image.width - 1, bottom = image.height - 1;
  for (int64_t y = 0; y < out.height; ++y) {
    for (int64_t x = 0; x < out.width; ++x) {
      int64_t from_x = x, from_y = y;
      switch (image.orientation) {
        case 2:
          from_x = right - x;
          break;
        case 3:
          from_x = right - x, from_y = bottom - y;
          break;
        case 4:
          from_y = bottom - y;
          break;
        case 5:
          from_x = y, from_y = x;
          break;
        case 6:
          from_x = y, from_y = bottom - x;
          break;
        case 7:
          from_x = right - y, from_y = bottom - x;
          break;
        case 8:
          from_x = right - y, from_y = x;
          break;
      }
      std::memcpy(out.pixels.data() + static_cast<size_t>(y * out.width + x) * size,
                  image.pixels.data() + static_cast<size_t>(from_y * image.width + from_x) * size, size);
    }
  }
  return out;
}

Image load_image(const std::string& path) {
  return convert_to_rgb(apply_orientation(decode_image(read_file(path, limits::kImageFileBytes), path)));
}

int exif_orientation(std::string_view tiff) {
  using std::string_view_literals::operator""sv;
  if (tiff.size() < 8) return 1;
  const bool little = tiff.starts_with("II*\0"sv);
  if (!little && !tiff.starts_with("MM\0*"sv)) return 1;
  const auto number = [&](size_t at, size_t bytes) {
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; ++i) {
      const auto byte = static_cast<uint8_t>(tiff[at + (little ? bytes - 1 - i : i)]);
      value = value << 8 | byte;
    }
    return value;
  };
  const uint64_t directory = number(4, 4);
  if (directory + 2 > tiff.size()) return 1;
  const uint64_t entries = number(directory, 2);
  for (uint64_t i = 0; i < entries; ++i) {
    const uint64_t entry = directory + 2 + 12 * i;
    if (entry + 12 > tiff.size()) return 1;
    if (number(entry, 2) != 0x0112) continue;
    const uint32_t value = number(entry + 8, number(entry + 2, 2) == 4 ? 4 : 2);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace backplane
