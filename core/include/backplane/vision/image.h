#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace backplane {

namespace limits {
/// Pixels that a picture file may have: twice what Pillow warns about, where it refuses.
inline constexpr uint64_t kImagePixels = 178'956'970;
inline constexpr uint64_t kImageFileBytes = 256ull << 20;
}  // namespace limits

/// How a pixel is stored; Pillow's names. One byte a channel, but i16: one uint16 in the machine's order.
enum class ImageMode : uint8_t { l, la, p, rgb, rgba, cmyk, i16 };

/// A decoded picture. [height, width, channels] bytes, rows without gaps.
struct Image {
  ImageMode mode = ImageMode::rgb;
  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> pixels;
  std::vector<uint8_t> palette;  // of mode p: 256 times red, green, blue
  int orientation = 1;           // the EXIF tag 0x0112, 1 to 8

  int64_t channels() const;
  size_t row_bytes() const { return pixels.size() / static_cast<size_t>(height); }
};

/// Decodes JPEG, PNG, WebP, BMP or GIF (its first frame), told apart by their first bytes, into the mode that Pillow
/// gives such a file. `name` is for messages. Throws `invalid_value` for what is none of these or is damaged, and
/// `limit_exceeded` where the picture is larger than the limits above, before anything of that size is allocated.
/// Thread-safe.
Image decode_image(std::string_view bytes, const std::string& name);

/// As Pillow's Image.convert("RGB"): alpha is dropped, palettes are looked up.
Image convert_to_rgb(const Image& image);

/// Turned and flipped as its EXIF tag asks, as Pillow's exif_transpose.
Image apply_orientation(const Image& image);

/// A file, upright and in RGB, as the reference's load_image. Throws as decode_image, `file_not_found` and `io`.
Image load_image(const std::string& path);

/// The bytes of a PNG file. Modes l, la, rgb and rgba; others are converted to RGB first.
std::string encode_png(const Image& image);

}  // namespace backplane
