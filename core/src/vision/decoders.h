#pragma once

#include <string>
#include <string_view>

#include "backplane/vision/image.h"

namespace backplane {

Image decode_jpeg(std::string_view bytes, const std::string& name);
Image decode_png(std::string_view bytes, const std::string& name);
Image decode_webp(std::string_view bytes, const std::string& name);
Image decode_bmp(std::string_view bytes, const std::string& name);
Image decode_gif(std::string_view bytes, const std::string& name);

/// The orientation in a TIFF structure, as EXIF has it; 1 where there is none.
int exif_orientation(std::string_view tiff);

/// An image with room for its pixels, zeroed. Throws `limit_exceeded` and, for an empty one, `invalid_value`.
Image new_image(ImageMode mode, int64_t width, int64_t height, const std::string& name);

[[noreturn]] void throw_damaged(const std::string& name, std::string_view format, std::string_view why);

}  // namespace backplane
