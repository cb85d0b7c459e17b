// WebP by libwebp; BMP and GIF by readers of our own, of which models need little.

#include <webp/decode.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "backplane/base/error.h"
#include "vision/decoders.h"

namespace backplane {
namespace {

// Little-endian numbers of a file whose length is checked at each step.
class Reader {
 public:
  Reader(std::string_view bytes, const std::string& name, std::string_view format)
      : bytes_(bytes), name_(name), format_(format) {}

  uint32_t number(size_t count) {
    need(count);
    uint32_t value = 0;
    for (size_t i = 0; i < count; ++i) value |= uint32_t{static_cast<uint8_t>(bytes_[at_ + i])} << (8 * i);
    at_ += count;
    return value;
  }
  uint8_t byte() { return static_cast<uint8_t>(number(1)); }
  std::string_view take(size_t count) {
    need(count);
    at_ += count;
    return bytes_.substr(at_ - count, count);
  }
  void go_to(size_t at) {
    if (at > bytes_.size()) throw_damaged(name_, format_, "it ends early");
    at_ = at;
  }
  size_t at() const { return at_; }
  [[noreturn]] void fail(std::string_view why) const { throw_damaged(name_, format_, why); }

 private:
  void need(size_t count) const {
    if (count > bytes_.size() - at_) throw_damaged(name_, format_, "it ends early");
  }
  std::string_view bytes_;
  const std::string& name_;
  std::string_view format_;
  size_t at_ = 0;
};

// A colour channel of a BMP pixel: where its bits are.
struct Channel {
  uint32_t mask = 0;
  int shift = 0;
  uint32_t largest = 0;
  explicit Channel(uint32_t bits = 0) : mask(bits) {
    if (mask == 0) return;
    while (!(mask >> shift & 1)) ++shift;
    largest = mask >> shift;
  }
  uint8_t of(uint32_t pixel) const {
    return largest == 0 ? 0 : static_cast<uint8_t>(uint64_t{(pixel & mask) >> shift} * 255 / largest);
  }
};

constexpr uint32_t kRgb = 0, kRle8 = 1, kBitfields = 3;

void read_rle8(Reader& in, Image& image) {
  int64_t x = 0, y = 0;
  const auto put = [&](uint8_t value) {
    if (x < image.width && y < image.height)
      image.pixels[static_cast<size_t>((image.height - 1 - y) * image.width + x)] = value;
    ++x;
  };
  while (y < image.height) {
    const int count = in.byte(), value = in.byte();
    if (count > 0) {
      for (int i = 0; i < count; ++i) put(static_cast<uint8_t>(value));
    } else if (value == 0) {
      x = 0;
      ++y;
    } else if (value == 1) {
      return;
    } else if (value == 2) {
      x += in.byte();
      y += in.byte();
    } else {
      for (const char byte : in.take(static_cast<size_t>(value))) put(static_cast<uint8_t>(byte));
      if (value % 2) in.byte();
    }
  }
}

// The LZW codes of GIF, least significant bit first.
class LzwReader {
 public:
  LzwReader(const std::vector<uint8_t>& data, int minimum) : data_(data), minimum_(minimum) { reset(); }

  // Fills `out`; returns how many pixels there were.
  size_t read(std::vector<uint8_t>& out) {
    const int clear = 1 << minimum_, end = clear + 1;
    size_t written = 0;
    int previous = -1;
    uint8_t first = 0;
    std::array<uint8_t, 4096> stack;
    while (written < out.size()) {
      const int code = next();
      if (code < 0 || code == end) break;
      if (code == clear) {
        reset();
        previous = -1;
        continue;
      }
      if (previous < 0) {
        if (code >= clear) break;
        first = static_cast<uint8_t>(code);
        out[written++] = first;
        previous = code;
        continue;
      }
      size_t depth = 0;
      int walk = code;
      if (code >= size_) {
        if (code > size_) break;
        stack[depth++] = first;
        walk = previous;
      }
      while (walk >= clear && depth < stack.size()) {
        stack[depth++] = suffix_[static_cast<size_t>(walk)];
        walk = prefix_[static_cast<size_t>(walk)];
      }
      if (depth >= stack.size()) break;
      first = static_cast<uint8_t>(walk);
      stack[depth++] = first;
      while (depth > 0 && written < out.size()) out[written++] = stack[--depth];
      if (size_ < 4096) {
        prefix_[static_cast<size_t>(size_)] = static_cast<int16_t>(previous);
        suffix_[static_cast<size_t>(size_)] = first;
        ++size_;
        if (size_ == 1 << width_ && width_ < 12) ++width_;
      }
      previous = code;
    }
    return written;
  }

 private:
  void reset() {
    width_ = minimum_ + 1;
    size_ = (1 << minimum_) + 2;
  }
  int next() {
    while (bits_ < width_) {
      if (at_ >= data_.size()) return -1;
      buffer_ |= uint32_t{data_[at_++]} << bits_;
      bits_ += 8;
    }
    const int code = static_cast<int>(buffer_ & ((1u << width_) - 1));
    buffer_ >>= width_;
    bits_ -= width_;
    return code;
  }

  const std::vector<uint8_t>& data_;
  int minimum_;
  int width_ = 0, size_ = 0, bits_ = 0;
  uint32_t buffer_ = 0;
  size_t at_ = 0;
  std::array<int16_t, 4096> prefix_{};
  std::array<uint8_t, 4096> suffix_{};
};

}  // namespace

Image decode_webp(std::string_view bytes, const std::string& name) {
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(data, bytes.size(), &features) != VP8_STATUS_OK)
    throw_damaged(name, "WebP", "its header is damaged");
  if (features.has_animation) throw_damaged(name, "WebP", "animations are not read; expected a still picture");
  Image image = new_image(features.has_alpha ? ImageMode::rgba : ImageMode::rgb, features.width, features.height, name);
  const int stride = static_cast<int>(image.row_bytes());
  const auto* done = features.has_alpha
                         ? WebPDecodeRGBAInto(data, bytes.size(), image.pixels.data(), image.pixels.size(), stride)
                         : WebPDecodeRGBInto(data, bytes.size(), image.pixels.data(), image.pixels.size(), stride);
  if (done == nullptr) throw_damaged(name, "WebP", "its data are damaged");
  // The EXIF chunk of an extended file.
  for (size_t at = 12; at + 8 <= bytes.size();) {
    uint32_t size = 0;
    for (size_t i = 0; i < 4; ++i) size |= uint32_t{data[at + 4 + i]} << (8 * i);
    if (size > bytes.size() - at - 8) break;
    if (bytes.substr(at, 4) == "EXIF") {
      std::string_view exif = bytes.substr(at + 8, size);
      if (exif.starts_with(std::string_view("Exif\0\0", 6))) exif.remove_prefix(6);
      image.orientation = exif_orientation(exif);
    }
    at += 8 + size + size % 2;
  }
  return image;
}

Image decode_bmp(std::string_view bytes, const std::string& name) {
  Reader in(bytes, name, "BMP");
  in.take(10);
  const uint32_t offset = in.number(4), header = in.number(4);
  if (header < 12 || header > 1024) in.fail("its header has an unknown size");
  int64_t width, height;
  uint32_t compression = kRgb, colors = 0, bits;
  bool top_down = false;
  size_t entry = 4;
  if (header == 12) {
    width = in.number(2);
    height = in.number(2);
    in.number(2);
    bits = in.number(2);
    entry = 3;
  } else {
    if (header < 40) in.fail("its header has an unknown size");
    width = static_cast<int32_t>(in.number(4));
    height = static_cast<int32_t>(in.number(4));
    top_down = height < 0;
    if (top_down) height = -height;
    in.number(2);
    bits = in.number(2);
    compression = in.number(4);
    in.take(12);
    colors = in.number(4);
    in.number(4);
  }
  Channel red(bits == 16 ? 0x7C00 : 0xFF0000), green(bits == 16 ? 0x3E0 : 0xFF00), blue(bits == 16 ? 0x1F : 0xFF),
      alpha;
  if (compression == kBitfields) {
    red = Channel(in.number(4)), green = Channel(in.number(4)), blue = Channel(in.number(4));
    if (header >= 56) alpha = Channel(in.number(4));
  } else if (compression != kRgb && !(compression == kRle8 && bits == 8)) {
    in.fail("its compression is not read; uncompressed and 8-bit run-length are");
  }
  if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32)
    in.fail("an unknown number of bits a pixel");

  ImageMode mode = ImageMode::rgb;
  if (bits <= 8)
    mode = ImageMode::p;
  else if (alpha.mask != 0)
    mode = ImageMode::rgba;
  const int64_t row_bits = width * int64_t{bits};
  const size_t stride = static_cast<size_t>((row_bits + 31) / 32 * 4);
  if (compression != kRle8 && width > 0 && height > 0 && width <= 1 << 24 &&
      stride > bytes.size() / static_cast<size_t>(height))
    in.fail("it ends early");
  Image image = new_image(mode, width, height, name);
  if (mode == ImageMode::p) {
    in.go_to(14 + size_t{header} + (compression == kBitfields && header == 40 ? 12 : 0));
    const uint32_t count = colors == 0 || colors > 1u << bits ? 1u << bits : colors;
    image.palette.resize(256 * 3);
    bool grey = count == 256 || count == 2;
    for (uint32_t i = 0; i < count; ++i) {
      const auto bgr = in.take(entry);
      for (size_t c = 0; c < 3; ++c) image.palette[3 * i + c] = static_cast<uint8_t>(bgr[2 - c]);
      const auto shade = static_cast<uint8_t>(count == 2 ? 255 * i : i);
      for (size_t c = 0; c < 3; ++c) grey = grey && image.palette[3 * i + c] == shade;
    }
    if (grey) image.mode = ImageMode::l;
  }
  in.go_to(offset);
  if (compression == kRle8) {
    read_rle8(in, image);
    return image;
  }
  for (int64_t y = 0; y < height; ++y) {
    const auto row = in.take(stride);
    const auto* from = reinterpret_cast<const uint8_t*>(row.data());
    uint8_t* to = image.pixels.data() + static_cast<size_t>(top_down ? y : height - 1 - y) * image.row_bytes();
    for (int64_t x = 0; x < width; ++x) {
      if (bits <= 8) {
        const int64_t bit = x * bits;
        const int value = from[bit / 8] >> (8 - bits - bit % 8) & ((1 << bits) - 1);
        to[x] = static_cast<uint8_t>(image.mode == ImageMode::l && bits == 1 ? 255 * value : value);
      } else if (bits == 24) {
        for (int c = 0; c < 3; ++c) to[3 * x + c] = from[3 * x + 2 - c];
      } else {
        uint32_t pixel = 0;
        for (uint32_t i = 0; i < bits / 8; ++i) pixel |= uint32_t{from[x * (bits / 8) + i]} << (8 * i);
        const int64_t step = image.channels();
        to[step * x] = red.of(pixel);
        to[step * x + 1] = green.of(pixel);
        to[step * x + 2] = blue.of(pixel);
        if (step == 4) to[step * x + 3] = alpha.of(pixel);
      }
    }
  }
  return image;
}

Image decode_gif(std::string_view bytes, const std::string& name) {
  Reader in(bytes, name, "GIF");
  in.take(6);
  const int64_t screen_width = in.number(2), screen_height = in.number(2);
  const uint8_t flags = in.byte(), background = in.byte();
  in.byte();
  std::string_view global;
  if (flags & 0x80) global = in.take(size_t{3} << ((flags & 7) + 1));
  while (true) {
    const uint8_t block = in.byte();
    if (block == 0x21) {
      in.byte();
      while (const uint8_t size = in.byte()) in.take(size);
      continue;
    }
    if (block != 0x2C) in.fail("it has no picture");
    const int64_t left = in.number(2), top = in.number(2), width = in.number(2), height = in.number(2);
    const uint8_t local = in.byte();
    std::string_view colors = global;
    if (local & 0x80) colors = in.take(size_t{3} << ((local & 7) + 1));
    const int minimum = in.byte();
    if (minimum < 1 || minimum > 11) in.fail("its codes have an impossible length");
    if (width < 1 || height < 1) in.fail("it has no pixels");
    Image image =
        new_image(ImageMode::p, std::max(screen_width, left + width), std::max(screen_height, top + height), name);
    image.palette.resize(256 * 3);
    if (colors.empty()) {
      for (size_t i = 0; i < image.palette.size(); ++i) image.palette[i] = static_cast<uint8_t>(i / 3);
    } else {
      std::memcpy(image.palette.data(), colors.data(), std::min(colors.size(), image.palette.size()));
    }
    if (width < image.width || height < image.height) std::fill(image.pixels.begin(), image.pixels.end(), background);

    std::vector<uint8_t> codes;
    while (const uint8_t size = in.byte()) {
      const auto part = in.take(size);
      codes.insert(codes.end(), part.begin(), part.end());
    }
    std::vector<uint8_t> pixels(static_cast<size_t>(width * height));
    if (LzwReader(codes, minimum).read(pixels) < pixels.size()) in.fail("its data are damaged");
    static constexpr int64_t kStart[] = {0, 4, 2, 1}, kStep[] = {8, 8, 4, 2};
    int64_t row = 0;
    const auto copy = [&](int64_t y) {
      std::memcpy(image.pixels.data() + static_cast<size_t>((top + y) * image.width + left),
                  pixels.data() + static_cast<size_t>(row++ * width), static_cast<size_t>(width));
    };
    if (local & 0x40) {
      for (int pass = 0; pass < 4; ++pass) {
        for (int64_t y = kStart[pass]; y < height; y += kStep[pass]) copy(y);
      }
    } else {
      for (int64_t y = 0; y < height; ++y) copy(y);
    }
    bool grey = true;
    for (size_t i = 0; i < image.palette.size(); ++i) grey = grey && image.palette[i] == i / 3;
    if (grey) image.mode = ImageMode::l;
    return image;
  }
}

}  // namespace backplane
