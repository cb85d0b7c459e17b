// Block formats of ggml: https://github.com/ggml-org/ggml, src/ggml-common.h. d and m are a block's scale and offset.
// Compiled without contraction of products and sums, so that each is rounded as the reference rounds it.
#include "checkpoint/dequantize.h"

#include <c10/util/Half.h>

#include <bit>
#include <cstring>

#include "formats/checked.h"

namespace backplane {
namespace {

using Byte = uint8_t;

float half(const Byte* bytes) {
  return c10::detail::fp16_ieee_to_fp32_value(load_little<uint16_t>(reinterpret_cast<const std::byte*>(bytes)));
}
uint32_t word(const Byte* bytes) { return load_little<uint32_t>(reinterpret_cast<const std::byte*>(bytes)); }

constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr int8_t kMxfp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

void q4_0(const Byte* b, float* out) {
  const float d = half(b);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((b[2 + i] & 15) - 8);
    out[i + 16] = d * static_cast<float>((b[2 + i] >> 4) - 8);
  }
}

void q4_1(const Byte* b, float* out) {
  const float d = half(b), m = half(b + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(b[4 + i] & 15) + m;
    out[i + 16] = d * static_cast<float>(b[4 + i] >> 4) + m;
  }
}

void q5_0(const Byte* b, float* out) {
  const float d = half(b);
  const uint32_t high = word(b + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(static_cast<int>((b[6 + i] & 15) | (high >> i & 1) << 4) - 16);
    out[i + 16] = d * static_cast<float>(static_cast<int>((b[6 + i] >> 4) | (high >> (i + 16) & 1) << 4) - 16);
  }
}

void q5_1(const Byte* b, float* out) {
  const float d = half(b), m = half(b + 2);
  const uint32_t high = word(b + 4);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((b[8 + i] & 15) | (high >> i & 1) << 4) + m;
    out[i + 16] = d * static_cast<float>((b[8 + i] >> 4) | (high >> (i + 16) & 1) << 4) + m;
  }
}

void q8_0(const Byte* b, float* out) {
  const float d = half(b);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(b[2 + i])) * d;
}

// Two bits an element: [half of 128][shift][32]
int two_bits(const Byte* bytes, int i) { return bytes[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3; }

void q2_k(const Byte* b, float* out) {
  const Byte *scales = b, *q = b + 16;
  const float d = half(b + 80), m = half(b + 82);
  for (int i = 0; i < 256; ++i) {
    const Byte scale = scales[i / 16];
    out[i] =
        d * static_cast<float>(scale & 15) * static_cast<float>(two_bits(q, i)) - m * static_cast<float>(scale >> 4);
  }
}

void q3_k(const Byte* b, float* out) {
  const Byte *high = b, *q = b + 32, *scales = b + 96;
  const float d = half(b + 108);
  float scale[16];
  for (int i = 0; i < 16; ++i) {
    const int low = (i < 8 ? scales[i] : scales[i - 8] >> 4) & 15;
    scale[i] = d * static_cast<float>((low | (scales[8 + i % 4] >> (i / 4 * 2) & 3) << 4) - 32);
  }
  for (int i = 0; i < 256; ++i) {
    const int offset = high[i % 32] >> (i / 32) & 1 ? 0 : 4;
    out[i] = scale[i / 16] * static_cast<float>(two_bits(q, i) - offset);
  }
}

// Eight scales and eight offsets of six bits in twelve bytes.
void k_scales(const Byte* b, int (&scale)[8], int (&offset)[8]) {
  for (int i = 0; i < 4; ++i) {
    scale[i] = b[i] & 63;
    offset[i] = b[4 + i] & 63;
    scale[4 + i] = (b[8 + i] & 15) | (b[i] >> 2 & 0x30);
    offset[4 + i] = b[8 + i] >> 4 | (b[4 + i] >> 2 & 0x30);
  }
}

void q4_k(const Byte* b, float* out) {
  const float d = half(b), m = half(b + 2);
  int scale[8], offset[8];
  k_scales(b + 4, scale, offset);
  const Byte* q = b + 16;
  for (int g = 0; g < 8; ++g) {
    const float group_d = d * static_cast<float>(scale[g]), group_m = m * static_cast<float>(offset[g]);
    for (int i = 0; i < 32; ++i)
      out[g * 32 + i] = group_d * static_cast<float>(q[g / 2 * 32 + i] >> (g % 2 * 4) & 15) - group_m;
  }
}

void q5_k(const Byte* b, float* out) {
  const float d = half(b), m = half(b + 2);
  int scale[8], offset[8];
  k_scales(b + 4, scale, offset);
  const Byte *high = b + 16, *q = b + 48;
  for (int g = 0; g < 8; ++g) {
    const float group_d = d * static_cast<float>(scale[g]), group_m = m * static_cast<float>(offset[g]);
    for (int i = 0; i < 32; ++i) {
      const int value = (q[g / 2 * 32 + i] >> (g % 2 * 4) & 15) | (high[i] >> g & 1) << 4;
      out[g * 32 + i] = group_d * static_cast<float>(value) - group_m;
    }
  }
}

void q6_k(const Byte* b, float* out) {
  const Byte *low = b, *high = b + 128, *scales = b + 192;
  const float d = half(b + 208);
  for (int i = 0; i < 256; ++i) {
    const int value = (low[i / 128 * 64 + i % 64] >> (i % 128 / 64 * 4) & 15) | two_bits(high, i) << 4;
    out[i] = d * static_cast<float>(static_cast<int8_t>(scales[i / 16])) * static_cast<float>(value - 32);
  }
}

void iq4_nl(const Byte* b, float* out) {
  const float d = half(b);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(kIq4Values[b[2 + i] & 15]);
    out[i + 16] = d * static_cast<float>(kIq4Values[b[2 + i] >> 4]);
  }
}

void iq4_xs(const Byte* b, float* out) {
  const float d = half(b);
  const unsigned high = b[2] | b[3] << 8;
  const Byte *low = b + 4, *q = b + 8;
  for (int g = 0; g < 8; ++g) {
    const int scale = static_cast<int>((low[g / 2] >> (g % 2 * 4) & 15) | (high >> (2 * g) & 3) << 4) - 32;
    const float group_d = d * static_cast<float>(scale);
    for (int i = 0; i < 32; ++i)
      out[g * 32 + i] = group_d * static_cast<float>(kIq4Values[q[g * 16 + i % 16] >> (i / 16 * 4) & 15]);
  }
}

// Five ternary digits a byte, as a fraction of 256: the k-th is the integer part of 3 times (byte * 3^k mod 256).
int ternary(Byte byte, int k) {
  constexpr Byte kPowers[5] = {1, 3, 9, 27, 81};
  return (static_cast<Byte>(byte * kPowers[k]) * 3 >> 8) - 1;
}

void tq1_0(const Byte* b, float* out) {
  const float d = half(b + 52);
  for (int i = 0; i < 160; ++i) out[i] = d * static_cast<float>(ternary(b[i % 32], i / 32));
  for (int i = 0; i < 80; ++i) out[160 + i] = d * static_cast<float>(ternary(b[32 + i % 16], i / 16));
  for (int i = 0; i < 16; ++i) out[240 + i] = d * static_cast<float>(ternary(b[48 + i % 4], i / 4));
}

void tq2_0(const Byte* b, float* out) {
  const float d = half(b + 64);
  for (int i = 0; i < 256; ++i) out[i] = d * static_cast<float>(two_bits(b, i) - 1);
}

void mxfp4(const Byte* b, float* out) {
  // Half of 2^(e - 127), which makes up for the doubled values of the table.
  const uint32_t e = b[0];
  const float d = std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1) << 23);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(kMxfp4Values[b[1 + i] & 15]);
    out[i + 16] = d * static_cast<float>(kMxfp4Values[b[1 + i] >> 4]);
  }
}

using BlockFunction = void (*)(const Byte*, float*);

BlockFunction function_of(GgmlType type) {
  switch (type) {
    case GgmlType::Q4_0:
      return q4_0;
    case GgmlType::Q4_1:
      return q4_1;
    case GgmlType::Q5_0:
      return q5_0;
    case GgmlType::Q5_1:
      return q5_1;
    case GgmlType::Q8_0:
      return q8_0;
    case GgmlType::Q2_K:
      return q2_k;
    case GgmlType::Q3_K:
      return q3_k;
    case GgmlType::Q4_K:
      return q4_k;
    case GgmlType::Q5_K:
      return q5_k;
    case GgmlType::Q6_K:
      return q6_k;
    case GgmlType::IQ4_NL:
      return iq4_nl;
    case GgmlType::IQ4_XS:
      return iq4_xs;
    case GgmlType::TQ1_0:
      return tq1_0;
    case GgmlType::TQ2_0:
      return tq2_0;
    case GgmlType::MXFP4:
      return mxfp4;
    default:
      return nullptr;
  }
}

}  // namespace

bool can_dequantize(GgmlType type) { return function_of(type) != nullptr; }

void dequantize(GgmlType type, std::span<const std::byte> blocks, std::span<float> out) {
  const BlockFunction function = function_of(type);
  const auto [elements, bytes] = block_of(type);
  const auto* in = reinterpret_cast<const Byte*>(blocks.data());
  for (size_t i = 0; i < out.size() / elements; ++i) function(in + i * bytes, out.data() + i * elements);
}

}  // namespace backplane
