// PNG by libpng, in the modes that Pillow gives its colour types.

#include <png.h>

#include <csetjmp>
#include <cstring>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "vision/decoders.h"

namespace backplane {
namespace {

struct Source {
  std::string_view bytes;
  size_t at = 0;
  char message[200] = "";
};

void fail(png_structp png, png_const_charp message) {
  auto* source = static_cast<Source*>(png_get_error_ptr(png));
  std::strncpy(source->message, message, sizeof source->message - 1);
  png_longjmp(png, 1);
}
void stay_silent(png_structp, png_const_charp) {}

void read_bytes(png_structp png, png_bytep to, size_t count) {
  auto* source = static_cast<Source*>(png_get_io_ptr(png));
  if (count > source->bytes.size() - source->at) png_error(png, "it ends early");
  std::memcpy(to, source->bytes.data() + source->at, count);
  source->at += count;
}

// The functions with setjmp hold no object that has a destructor.
bool read_header(png_structp png, png_infop info) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_set_user_limits(png, 1u << 20, 1u << 20);
  png_set_chunk_malloc_max(png, 8u << 20);
  png_set_chunk_cache_max(png, 128);
  png_read_info(png, info);
  return true;
}

bool read_rows(png_structp png, png_infop info, uint8_t* pixels, size_t row_bytes, png_uint_32 height) {
  if (setjmp(png_jmpbuf(png))) return false;
  const int passes = png_set_interlace_handling(png);
  png_read_update_info(png, info);
  if (png_get_rowbytes(png, info) != row_bytes) png_error(png, "rows of an unexpected length");
  for (int pass = 0; pass < passes; ++pass) {
    for (png_uint_32 y = 0; y < height; ++y) png_read_row(png, pixels + y * row_bytes, nullptr);
  }
  png_read_end(png, info);
  return true;
}

void append_bytes(png_structp png, png_bytep bytes, size_t count) {
  static_cast<std::string*>(png_get_io_ptr(png))->append(reinterpret_cast<const char*>(bytes), count);
}
void flush_nothing(png_structp) {}

bool write_rows(png_structp png, png_infop info, const Image& image, int color_type) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_set_compression_level(png, 6);
  png_set_IHDR(png, info, static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height), 8, color_type,
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  for (int64_t y = 0; y < image.height; ++y)
    png_write_row(png, image.pixels.data() + static_cast<size_t>(y) * image.row_bytes());
  png_write_end(png, info);
  return true;
}

}  // namespace

Image decode_png(std::string_view bytes, const std::string& name) {
  Source source{bytes, 0, ""};
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, fail, stay_silent);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  struct Closer {
    png_structp& png;
    png_infop& info;
    ~Closer() { png_destroy_read_struct(&png, &info, nullptr); }
  } closer{png, info};
  if (info == nullptr) throw Error(ErrorCode::internal, "libpng cannot be started");
  png_set_read_fn(png, &source, read_bytes);

  if (!read_header(png, info)) throw_damaged(name, "PNG", source.message);
  const int color = png_get_color_type(png, info), depth = png_get_bit_depth(png, info);
  ImageMode mode = ImageMode::l;
  if (color == PNG_COLOR_TYPE_PALETTE)
    mode = ImageMode::p;
  else if (color == PNG_COLOR_TYPE_GRAY_ALPHA)
    mode = ImageMode::la;
  else if (color == PNG_COLOR_TYPE_RGB)
    mode = ImageMode::rgb;
  else if (color == PNG_COLOR_TYPE_RGB_ALPHA)
    mode = ImageMode::rgba;
  else if (depth == 16)
    mode = ImageMode::i16;
  Image image = new_image(mode, png_get_image_width(png, info), png_get_image_height(png, info), name);

  if (mode == ImageMode::i16)
    png_set_swap(png);
  else if (depth == 16)
    png_set_strip_16(png);
  if (color == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
  if (color == PNG_COLOR_TYPE_PALETTE) {
    png_set_packing(png);
    image.palette.resize(256 * 3);
    png_colorp colors = nullptr;
    int count = 0;
    if (png_get_PLTE(png, info, &colors, &count)) {
      for (int i = 0; i < count && i < 256; ++i) {
        const uint8_t rgb[] = {colors[i].red, colors[i].green, colors[i].blue};
        std::memcpy(image.palette.data() + 3 * i, rgb, 3);
      }
    }
  }
  if (!read_rows(png, info, image.pixels.data(), image.row_bytes(), static_cast<png_uint_32>(image.height)))
    throw_damaged(name, "PNG", source.message);
  png_bytep exif = nullptr;
  png_uint_32 exif_size = 0;
  if (png_get_eXIf_1(png, info, &exif_size, &exif))
    image.orientation = exif_orientation({reinterpret_cast<const char*>(exif), exif_size});
  return image;
}

std::string encode_png(const Image& image) {
  int color = PNG_COLOR_TYPE_RGB;
  if (image.mode == ImageMode::l)
    color = PNG_COLOR_TYPE_GRAY;
  else if (image.mode == ImageMode::la)
    color = PNG_COLOR_TYPE_GRAY_ALPHA;
  else if (image.mode == ImageMode::rgba)
    color = PNG_COLOR_TYPE_RGB_ALPHA;
  else if (image.mode != ImageMode::rgb)
    return encode_png(convert_to_rgb(image));
  std::string out;
  Source errors{};
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &errors, fail, stay_silent);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  struct Closer {
    png_structp& png;
    png_infop& info;
    ~Closer() { png_destroy_write_struct(&png, &info); }
  } closer{png, info};
  if (info == nullptr) throw Error(ErrorCode::internal, "libpng cannot be started");
  png_set_write_fn(png, &out, append_bytes, flush_nothing);
  if (!write_rows(png, info, image, color)) throw Error(ErrorCode::internal, concat("libpng: ", errors.message));
  return out;
}

}  // namespace backplane
