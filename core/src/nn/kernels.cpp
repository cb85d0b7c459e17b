#include "nn/kernels.h"

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

// Vector extensions of the compiler, lowered for each instruction set that the loader may find.
#if defined(__x86_64__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define BACKPLANE_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define BACKPLANE_CLONES
#endif
#define BACKPLANE_INLINE inline __attribute__((always_inline))

namespace backplane::kernels {
namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kPair = 2 * kLanes;
typedef float Lanes __attribute__((vector_size(64)));
typedef double Wide __attribute__((vector_size(128)));
typedef uint32_t Words __attribute__((vector_size(64)));

BACKPLANE_INLINE float widen(float x) { return x; }
BACKPLANE_INLINE float widen(at::BFloat16 x) {  // the upper half of a float
  const uint32_t word = static_cast<uint32_t>(x.x) << 16;
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

// 32 numbers as two vectors: the halves of a float32 block, the even and the odd ones of a bfloat16 block (which costs
// one shift and one mask). What is multiplied with them is laid out the same way by `arrange`.
struct Pair {
  Lanes a, b;
};
BACKPLANE_INLINE Pair load(const float* from) {
  Pair pair;
  std::memcpy(&pair, from, sizeof pair);
  return pair;
}
BACKPLANE_INLINE Pair load(const at::BFloat16* from) {
  Words words;
  std::memcpy(&words, from, sizeof words);
  const Words even = words << 16, odd = words & 0xffff0000u;
  Pair pair;
  std::memcpy(&pair.a, &even, sizeof even);
  std::memcpy(&pair.b, &odd, sizeof odd);
  return pair;
}
// The place of element i of a block of T in a Pair.
template <class T>
BACKPLANE_INLINE int64_t place(int64_t i) {
  return std::is_same_v<T, float> ? i : i / kPair * kPair + i % kPair / 2 + (i % 2) * kLanes;
}
template <class T>
void arrange(const T* from, float* to, int64_t count) {
  const int64_t whole = count - count % kPair;
  for (int64_t i = 0; i < whole; ++i) to[place<T>(i)] = widen(from[i]);
  for (int64_t i = whole; i < count; ++i) to[i] = widen(from[i]);
}
BACKPLANE_INLINE float sum(const Lanes& x) {
  typedef float Half __attribute__((vector_size(32)));
  typedef float Quarter __attribute__((vector_size(16)));
  Half half[2];
  std::memcpy(half, &x, sizeof half);
  half[0] += half[1];
  Quarter quarter[2];
  std::memcpy(quarter, half, sizeof quarter);
  quarter[0] += quarter[1];
  return (quarter[0][0] + quarter[0][1]) + (quarter[0][2] + quarter[0][3]);
}

// x is arranged. A row after the other: memory likes one stream better than four, and is what this waits for.
template <class T>
BACKPLANE_INLINE void gemv_rows(const T* weight, const float* x, const T* bias, T* y, int64_t in, int64_t begin,
                                int64_t end) {
  constexpr int64_t kAhead = 2048 / sizeof(T);
  const int64_t whole = in - in % kPair;
  for (int64_t row = begin; row < end; ++row) {
    const T* w = weight + row * in;
    Pair pair = {};
    for (int64_t i = 0; i < whole; i += kPair) {
      const Pair v = load(x + i), p = load(w + i);
      __builtin_prefetch(w + i + kAhead);
      pair.a += v.a * p.a;
      pair.b += v.b * p.b;
    }
    float s = sum(pair.a + pair.b);
    for (int64_t i = whole; i < in; ++i) s += x[i] * widen(w[i]);
    y[row] = static_cast<T>(bias ? s + widen(bias[row]) : s);
  }
}

BACKPLANE_CLONES void gemv_rows_f32(const float* weight, const float* x, const float* bias, float* y, int64_t in,
                                    int64_t begin, int64_t end) {
  gemv_rows(weight, x, bias, y, in, begin, end);
}
BACKPLANE_CLONES void gemv_rows_bf16(const at::BFloat16* weight, const float* x, const at::BFloat16* bias,
                                     at::BFloat16* y, int64_t in, int64_t begin, int64_t end) {
  gemv_rows(weight, x, bias, y, in, begin, end);
}

template <class T>
BACKPLANE_INLINE void rms_norm_row(const T* x, const T* weight, T* y, int64_t size, double eps) {
  // In double: the mean then has no rounding of its own, and is as near to any other way of summing as can be.
  const int64_t whole = size - size % kPair;
  Wide squares = {};
  for (int64_t i = 0; i < whole; i += kPair) {
    const Pair v = load(x + i);
    const Wide a = __builtin_convertvector(v.a, Wide), b = __builtin_convertvector(v.b, Wide);
    squares += a * a + b * b;
  }
  double total = 0;
  for (int64_t i = 0; i < kLanes; ++i) total += squares[i];
  for (int64_t i = whole; i < size; ++i) total += static_cast<double>(widen(x[i])) * widen(x[i]);
  const float mean = static_cast<float>(total / static_cast<double>(size));
  const float scale = 1.0f / std::sqrt(mean + static_cast<float>(eps));
  // The normalised value is rounded to the dtype before the weight is applied, as the reference does.
  for (int64_t i = 0; i < size; ++i)
    y[i] = static_cast<T>(widen(weight[i]) * widen(static_cast<T>(widen(x[i]) * scale)));
}

BACKPLANE_CLONES void rms_norm_row_f32(const float* x, const float* weight, float* y, int64_t size, double eps) {
  rms_norm_row(x, weight, y, size, eps);
}
BACKPLANE_CLONES void rms_norm_row_bf16(const at::BFloat16* x, const at::BFloat16* weight, at::BFloat16* y,
                                        int64_t size, double eps) {
  rms_norm_row(x, weight, y, size, eps);
}

// One query (arranged) against `length` keys and values of d numbers, d a multiple of a Pair. `scores` has room for
// `length`, `sums` for d.
template <class T>
BACKPLANE_INLINE void decode_head(const float* q, const T* k, const T* v, const T* mask, T* out, float* scores,
                                  float* sums, int64_t length, int64_t d, float scale) {
  float highest = -INFINITY;
  for (int64_t t = 0; t < length; ++t) {
    Pair s = {};
    for (int64_t i = 0; i < d; i += kPair) {
      const Pair x = load(q + i), y = load(k + t * d + i);
      s.a += x.a * y.a;
      s.b += x.b * y.b;
    }
    scores[t] = sum(s.a + s.b) * scale + (mask ? widen(mask[t]) : 0.0f);
    highest = std::max(highest, scores[t]);
  }
  float total = 0;
  for (int64_t t = 0; t < length; ++t) {
    scores[t] = std::exp(scores[t] - highest);
    total += scores[t];
  }
  for (int64_t i = 0; i < d; i += kPair) {
    Pair s = {};
    for (int64_t t = 0; t < length; ++t) {
      const Pair x = load(v + t * d + i);
      s.a += scores[t] * x.a;
      s.b += scores[t] * x.b;
    }
    std::memcpy(sums + i, &s, sizeof s);
  }
  for (int64_t i = 0; i < d; ++i) out[i] = static_cast<T>(sums[place<T>(i)] / total);
}

BACKPLANE_CLONES void decode_head_f32(const float* q, const float* k, const float* v, const float* mask, float* out,
                                      float* scores, float* sums, int64_t length, int64_t d, float scale) {
  decode_head(q, k, v, mask, out, scores, sums, length, d, scale);
}
BACKPLANE_CLONES void decode_head_bf16(const float* q, const at::BFloat16* k, const at::BFloat16* v,
                                       const at::BFloat16* mask, at::BFloat16* out, float* scores, float* sums,
                                       int64_t length, int64_t d, float scale) {
  decode_head(q, k, v, mask, out, scores, sums, length, d, scale);
}

constexpr int64_t kMaxHead = 256;

bool wants_grad(const Tensor& x) { return c10::GradMode::is_enabled() && x.requires_grad(); }

bool is_plain(const Tensor& x) {
  return x.is_cpu() && x.layout() == at::kStrided &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

}  // namespace

bool can_gemv(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return x.numel() == weight.size(1) && is_plain(x) && is_plain(weight) && x.scalar_type() == weight.scalar_type() &&
         x.is_contiguous() && weight.is_contiguous() &&
         (!bias.defined() || (bias.scalar_type() == x.scalar_type() && bias.is_contiguous())) && !wants_grad(x) &&
         !wants_grad(weight);
}

Tensor gemv(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const int64_t out = weight.size(0), in = weight.size(1);
  auto shape = x.sizes().vec();
  shape.back() = out;
  Tensor y = at::empty(shape, x.options());
  // A thread is worth waking for a quarter megabyte of weights.
  const int64_t grain =
      std::max<int64_t>(4, (256 << 10) / std::max<int64_t>(1, in * static_cast<int64_t>(weight.element_size())));
  if (x.scalar_type() == at::kFloat) {
    const auto *w = weight.const_data_ptr<float>(), *v = x.const_data_ptr<float>(),
               *b = bias.defined() ? bias.const_data_ptr<float>() : nullptr;
    auto* result = y.mutable_data_ptr<float>();
    at::parallel_for(0, out, grain,
                     [&](int64_t begin, int64_t end) { gemv_rows_f32(w, v, b, result, in, begin, end); });
  } else {
    const auto *w = weight.const_data_ptr<at::BFloat16>(),
               *b = bias.defined() ? bias.const_data_ptr<at::BFloat16>() : nullptr;
    std::vector<float> v(static_cast<size_t>(in));
    arrange(x.const_data_ptr<at::BFloat16>(), v.data(), in);
    auto* result = y.mutable_data_ptr<at::BFloat16>();
    at::parallel_for(0, out, grain,
                     [&](int64_t begin, int64_t end) { gemv_rows_bf16(w, v.data(), b, result, in, begin, end); });
  }
  return y;
}

bool can_rms_norm(const Tensor& x, const Tensor& weight) {
  return is_plain(x) && x.scalar_type() == weight.scalar_type() && x.is_contiguous() && weight.is_contiguous() &&
         x.size(-1) == weight.size(0) && !wants_grad(x) && !wants_grad(weight);
}

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  const int64_t size = x.size(-1), rows = size ? x.numel() / size : 0;
  Tensor y = at::empty_like(x);
  const auto run = [&](auto* result, const auto* from, const auto* w, auto kernel) {
    at::parallel_for(0, rows, std::max<int64_t>(1, 32768 / std::max<int64_t>(1, size)),
                     [&](int64_t begin, int64_t end) {
                       for (int64_t row = begin; row < end; ++row)
                         kernel(from + row * size, w, result + row * size, size, eps);
                     });
  };
  if (x.scalar_type() == at::kFloat) {
    run(y.mutable_data_ptr<float>(), x.const_data_ptr<float>(), weight.const_data_ptr<float>(), rms_norm_row_f32);
  } else {
    run(y.mutable_data_ptr<at::BFloat16>(), x.const_data_ptr<at::BFloat16>(), weight.const_data_ptr<at::BFloat16>(),
        rms_norm_row_bf16);
  }
  return y;
}

bool can_decode_attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  const int64_t d = q.size(3);
  const auto rows = [&](const Tensor& x) {
    return is_plain(x) && x.scalar_type() == q.scalar_type() && x.size(3) == d && x.stride(3) == 1 && x.stride(2) == d;
  };
  const auto& mask = options.mask;
  return is_plain(q) && q.stride(3) == 1 && d % kPair == 0 && d <= kMaxHead && rows(k) && rows(v) &&
         options.dropout == 0 && !wants_grad(q) && !wants_grad(k) &&
         (!mask.defined() || (mask.scalar_type() == q.scalar_type() && mask.dim() == 4 && mask.size(1) == 1 &&
                              mask.size(2) == 1 && mask.size(3) == k.size(2) && mask.stride(3) == 1));
}

Tensor decode_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, double scale) {
  const int64_t batch = q.size(0), heads = q.size(1), d = q.size(3), kv_heads = k.size(1), length = k.size(2),
                groups = heads / kv_heads;
  Tensor out = at::empty({batch, heads, 1, d}, q.options());
  const auto run = [&]<class T>(T*, auto kernel) {
    at::parallel_for(
        0, batch * heads, std::max<int64_t>(1, 65536 / std::max<int64_t>(1, length * d)),
        [&](int64_t begin, int64_t end) {
          std::vector<float> scores(static_cast<size_t>(length));
          float query[kMaxHead], sums[kMaxHead];
          for (int64_t i = begin; i < end; ++i) {
            const int64_t b = i / heads, h = i % heads, kv = h / groups;
            const T* m =
                mask.defined() ? mask.const_data_ptr<T>() + (mask.size(0) == 1 ? 0 : b * mask.stride(0)) : nullptr;
            arrange(q.const_data_ptr<T>() + b * q.stride(0) + h * q.stride(1), query, d);
            kernel(query, k.const_data_ptr<T>() + b * k.stride(0) + kv * k.stride(1),
                   v.const_data_ptr<T>() + b * v.stride(0) + kv * v.stride(1), m, out.mutable_data_ptr<T>() + i * d,
                   scores.data(), sums, length, d, static_cast<float>(scale));
          }
        });
  };
  if (q.scalar_type() == at::kFloat) {
    run(static_cast<float*>(nullptr), decode_head_f32);
  } else {
    run(static_cast<at::BFloat16*>(nullptr), decode_head_bf16);
  }
  return out;
}

}  // namespace backplane::kernels
