// JPEG by libjpeg-turbo, with its default transforms, as Pillow uses it.

#include <csetjmp>
#include <cstdio>
#include <cstring>

// After <cstdio>, whose FILE it needs.
#include <jpeglib.h>

#include "vision/decoders.h"

namespace backplane {
namespace {

struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

void fail(j_common_ptr info) {
  auto* manager = reinterpret_cast<ErrorManager*>(info->err);
  manager->base.format_message(info, manager->message);
  std::longjmp(manager->jump, 1);
}

void stay_silent(j_common_ptr) {}
void count_warning(j_common_ptr info, int level) {
  // A stream that ends early is filled with grey by the library; Pillow refuses it.
  if (level < 0 && info->err->msg_code != 0) ++info->err->num_warnings;
}

// What longjmp may pass over: no object with a destructor lives in the two functions below.
struct Decoder {
  jpeg_decompress_struct info;
  ErrorManager errors;
};

bool open(Decoder* decoder, const char* data, size_t size) {
  if (setjmp(decoder->errors.jump)) return false;
  jpeg_create_decompress(&decoder->info);
  jpeg_mem_src(&decoder->info, reinterpret_cast<const unsigned char*>(data), static_cast<unsigned long>(size));
  jpeg_save_markers(&decoder->info, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(&decoder->info, TRUE);
  return true;
}

bool read(Decoder* decoder, uint8_t* pixels, size_t row_bytes) {
  if (setjmp(decoder->errors.jump)) return false;
  jpeg_start_decompress(&decoder->info);
  while (decoder->info.output_scanline < decoder->info.output_height) {
    JSAMPROW row = pixels + decoder->info.output_scanline * row_bytes;
    jpeg_read_scanlines(&decoder->info, &row, 1);
  }
  jpeg_finish_decompress(&decoder->info);
  return true;
}

}  // namespace

Image decode_jpeg(std::string_view bytes, const std::string& name) {
  Decoder decoder{};
  decoder.info.err = jpeg_std_error(&decoder.errors.base);
  decoder.errors.base.error_exit = fail;
  decoder.errors.base.output_message = stay_silent;
  decoder.errors.base.emit_message = count_warning;
  struct Closer {
    Decoder& decoder;
    ~Closer() { jpeg_destroy_decompress(&decoder.info); }
  } closer{decoder};

  if (!open(&decoder, bytes.data(), bytes.size())) throw_damaged(name, "JPEG", decoder.errors.message);
  auto& info = decoder.info;
  ImageMode mode = ImageMode::rgb;
  if (info.num_components == 1)
    mode = ImageMode::l;
  else if (info.num_components == 4)
    mode = ImageMode::cmyk;
  else if (info.num_components != 3)
    throw_damaged(name, "JPEG", "it has neither 1, 3 nor 4 components");
  info.out_color_space = mode == ImageMode::l ? JCS_GRAYSCALE : mode == ImageMode::cmyk ? JCS_CMYK : JCS_RGB;
  Image image = new_image(mode, info.image_width, info.image_height, name);
  // A progressive file can ask for work out of proportion to its size.
  if (info.progressive_mode && image.pixels.size() / 4096 > bytes.size() * 16)
    throw_damaged(name, "JPEG", "a progressive picture of so many pixels in so few bytes");
  for (auto* marker = info.marker_list; marker != nullptr; marker = marker->next) {
    const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (data.size() > 6 && std::memcmp(data.data(), "Exif\0\0", 6) == 0)
      image.orientation = exif_orientation(data.substr(6));
  }
  const bool inverted = info.saw_Adobe_marker;
  if (!read(&decoder, image.pixels.data(), image.row_bytes())) throw_damaged(name, "JPEG", decoder.errors.message);
  if (mode == ImageMode::cmyk && inverted) {
    for (auto& byte : image.pixels) byte = static_cast<uint8_t>(255 - byte);
  }
  if (decoder.errors.base.num_warnings > 0) {
    const int code = decoder.errors.base.msg_code;
    if (code != 0 && info.output_scanline < info.output_height) throw_damaged(name, "JPEG", "it ends early");
  }
  return image;
}

}  // namespace backplane
