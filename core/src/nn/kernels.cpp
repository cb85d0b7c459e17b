#include "nn/kernels.h"

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <cstring>
#include <vector>

// Vector extensions of the compiler, lowered for each instruction set that the loader may find.
#if defined(__x86_64__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define BACKPLANE_CLONES __attribute__((target_clones("avx512f", "avx2,fma", "default")))
#else
#define BACKPLANE_CLONES
#endif
#define BACKPLANE_INLINE inline __attribute__((always_inline))

namespace backplane::kernels {
namespace {

constexpr int64_t kLanes = 16;
typedef float Lanes __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));

// at::BFloat16 is the upper half of a float.
BACKPLANE_INLINE void load(const float* from, Lanes& to) { std::memcpy(&to, from, sizeof to); }
BACKPLANE_INLINE void load(const at::BFloat16* from, Lanes& to) {
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  const Words words = __builtin_convertvector(halves, Words) << 16;
  std::memcpy(&to, &words, sizeof to);
}
BACKPLANE_INLINE float widen(float x) { return x; }
BACKPLANE_INLINE float widen(at::BFloat16 x) {
  const uint32_t word = static_cast<uint32_t>(x.x) << 16;
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}
BACKPLANE_INLINE float sum(const Lanes& x) {
  float total = 0;
  for (int64_t i = 0; i < kLanes; ++i) total += x[i];
  return total;
}

// Four rows at a time, so that each load of x serves four.
template <class T>
BACKPLANE_INLINE void gemv_rows(const T* weight, const float* x, const T* bias, T* y, int64_t in, int64_t begin, int64_t end) {
  const int64_t whole = in - in % kLanes;
  int64_t row = begin;
  for (; row + 4 <= end; row += 4) {
    const T* w = weight + row * in;
    Lanes a0 = {}, a1 = {}, a2 = {}, a3 = {};
    for (int64_t i = 0; i < whole; i += kLanes) {
      Lanes v, w0, w1, w2, w3;
      load(x + i, v);
      load(w + i, w0);
      load(w + in + i, w1);
      load(w + 2 * in + i, w2);
      load(w + 3 * in + i, w3);
      a0 += v * w0;
      a1 += v * w1;
      a2 += v * w2;
      a3 += v * w3;
    }
    float s[4] = {sum(a0), sum(a1), sum(a2), sum(a3)};
    for (int64_t k = 0; k < 4; ++k) {
      for (int64_t i = whole; i < in; ++i) s[k] += x[i] * widen(w[k * in + i]);
      y[row + k] = static_cast<T>(bias ? s[k] + widen(bias[row + k]) : s[k]);
    }
  }
  for (; row < end; ++row) {
    const T* w = weight + row * in;
    Lanes a = {};
    for (int64_t i = 0; i < whole; i += kLanes) {
      Lanes v, w0;
      load(x + i, v);
      load(w + i, w0);
      a += v * w0;
    }
    float s = sum(a);
    for (int64_t i = whole; i < in; ++i) s += x[i] * widen(w[i]);
    y[row] = static_cast<T>(bias ? s + widen(bias[row]) : s);
  }
}

BACKPLANE_CLONES void gemv_rows_f32(const float* weight, const float* x, const float* bias, float* y, int64_t in, int64_t begin, int64_t end) {
  gemv_rows(weight, x, bias, y, in, begin, end);
}
BACKPLANE_CLONES void gemv_rows_bf16(const at::BFloat16* weight, const float* x, const at::BFloat16* bias, at::BFloat16* y, int64_t in, int64_t begin, int64_t end) {
  gemv_rows(weight, x, bias, y, in, begin, end);
}

template <class T>
BACKPLANE_INLINE void rms_norm_row(const T* x, const T* weight, T* y, int64_t size, double eps) {
  const int64_t whole = size - size % kLanes;
  Lanes squares = {};
  for (int64_t i = 0; i < whole; i += kLanes) {
    Lanes v;
    load(x + i, v);
    squares += v * v;
  }
  float total = sum(squares);
  for (int64_t i = whole; i < size; ++i) total += widen(x[i]) * widen(x[i]);
  const float scale = 1.0f / std::sqrt(total / static_cast<float>(size) + static_cast<float>(eps));
  // The normalised value is rounded to the dtype before the weight is applied, as the reference does.
  for (int64_t i = 0; i < size; ++i) y[i] = static_cast<T>(widen(weight[i]) * widen(static_cast<T>(widen(x[i]) * scale)));
}

BACKPLANE_CLONES void rms_norm_row_f32(const float* x, const float* weight, float* y, int64_t size, double eps) {
  rms_norm_row(x, weight, y, size, eps);
}
BACKPLANE_CLONES void rms_norm_row_bf16(const at::BFloat16* x, const at::BFloat16* weight, at::BFloat16* y, int64_t size, double eps) {
  rms_norm_row(x, weight, y, size, eps);
}

// One query against `length` keys and values of d lanes-aligned numbers. scores has room for `length`.
template <class T>
BACKPLANE_INLINE void decode_head(const T* q, const T* k, const T* v, const T* mask, T* out, float* scores, float* sums, int64_t length, int64_t d,
                                  float scale) {
  float highest = -INFINITY;
  for (int64_t t = 0; t < length; ++t) {
    Lanes a = {};
    for (int64_t i = 0; i < d; i += kLanes) {
      Lanes x, y;
      load(q + i, x);
      load(k + t * d + i, y);
      a += x * y;
    }
    scores[t] = sum(a) * scale + (mask ? widen(mask[t]) : 0.0f);
    highest = std::max(highest, scores[t]);
  }
  float total = 0;
  for (int64_t t = 0; t < length; ++t) {
    scores[t] = std::exp(scores[t] - highest);
    total += scores[t];
  }
  std::memset(sums, 0, static_cast<size_t>(d) * sizeof(float));
  for (int64_t t = 0; t < length; ++t) {
    const Lanes weight = Lanes{} + scores[t];
    for (int64_t i = 0; i < d; i += kLanes) {
      Lanes a, x;
      load(sums + i, a);
      load(v + t * d + i, x);
      a += weight * x;
      std::memcpy(sums + i, &a, sizeof a);
    }
  }
  for (int64_t i = 0; i < d; ++i) out[i] = static_cast<T>(sums[i] / total);
}

BACKPLANE_CLONES void decode_head_f32(const float* q, const float* k, const float* v, const float* mask, float* out, float* scores, float* sums,
                                      int64_t length, int64_t d, float scale) {
  decode_head(q, k, v, mask, out, scores, sums, length, d, scale);
}
BACKPLANE_CLONES void decode_head_bf16(const at::BFloat16* q, const at::BFloat16* k, const at::BFloat16* v, const at::BFloat16* mask,
                                       at::BFloat16* out, float* scores, float* sums, int64_t length, int64_t d, float scale) {
  decode_head(q, k, v, mask, out, scores, sums, length, d, scale);
}

bool wants_grad(const Tensor& x) { return c10::GradMode::is_enabled() && x.requires_grad(); }

bool is_plain(const Tensor& x) {
  return x.is_cpu() && x.layout() == at::kStrided && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

}  // namespace

bool can_gemv(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return x.numel() == weight.size(1) && is_plain(x) && is_plain(weight) && x.scalar_type() == weight.scalar_type() && x.is_contiguous() &&
         weight.is_contiguous() && (!bias.defined() || (bias.scalar_type() == x.scalar_type() && bias.is_contiguous())) && !wants_grad(x) &&
         !wants_grad(weight);
}

Tensor gemv(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const int64_t out = weight.size(0), in = weight.size(1);
  auto shape = x.sizes().vec();
  shape.back() = out;
  Tensor y = at::empty(shape, x.options());
  // A thread is worth waking for a quarter megabyte of weights.
  const int64_t grain = std::max<int64_t>(4, (256 << 10) / std::max<int64_t>(1, in * static_cast<int64_t>(weight.element_size())));
  if (x.scalar_type() == at::kFloat) {
    const auto *w = weight.const_data_ptr<float>(), *v = x.const_data_ptr<float>(), *b = bias.defined() ? bias.const_data_ptr<float>() : nullptr;
    auto* result = y.mutable_data_ptr<float>();
    at::parallel_for(0, out, grain, [&](int64_t begin, int64_t end) { gemv_rows_f32(w, v, b, result, in, begin, end); });
  } else {
    const auto *w = weight.const_data_ptr<at::BFloat16>(), *b = bias.defined() ? bias.const_data_ptr<at::BFloat16>() : nullptr;
    const auto* narrow = x.const_data_ptr<at::BFloat16>();
    std::vector<float> v(static_cast<size_t>(in));
    for (int64_t i = 0; i < in; ++i) v[static_cast<size_t>(i)] = widen(narrow[i]);
    auto* result = y.mutable_data_ptr<at::BFloat16>();
    at::parallel_for(0, out, grain, [&](int64_t begin, int64_t end) { gemv_rows_bf16(w, v.data(), b, result, in, begin, end); });
  }
  return y;
}

bool can_rms_norm(const Tensor& x, const Tensor& weight) {
  return is_plain(x) && x.scalar_type() == weight.scalar_type() && x.is_contiguous() && weight.is_contiguous() && x.size(-1) == weight.size(0) &&
         !wants_grad(x) && !wants_grad(weight);
}

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  const int64_t size = x.size(-1), rows = size ? x.numel() / size : 0;
  Tensor y = at::empty_like(x);
  const auto run = [&](auto* result, const auto* from, const auto* w, auto kernel) {
    at::parallel_for(0, rows, std::max<int64_t>(1, 32768 / std::max<int64_t>(1, size)), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) kernel(from + row * size, w, result + row * size, size, eps);
    });
  };
  if (x.scalar_type() == at::kFloat) {
    run(y.mutable_data_ptr<float>(), x.const_data_ptr<float>(), weight.const_data_ptr<float>(), rms_norm_row_f32);
  } else {
    run(y.mutable_data_ptr<at::BFloat16>(), x.const_data_ptr<at::BFloat16>(), weight.const_data_ptr<at::BFloat16>(), rms_norm_row_bf16);
  }
  return y;
}

bool can_decode_attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  const int64_t d = q.size(3);
  const auto rows = [&](const Tensor& x) { return is_plain(x) && x.scalar_type() == q.scalar_type() && x.size(3) == d && x.stride(3) == 1 && x.stride(2) == d; };
  const auto& mask = options.mask;
  return is_plain(q) && q.stride(3) == 1 && d % kLanes == 0 && d <= 256 && rows(k) && rows(v) && options.dropout == 0 && !wants_grad(q) &&
         !wants_grad(k) &&
         (!mask.defined() || (mask.scalar_type() == q.scalar_type() && mask.dim() == 4 && mask.size(1) == 1 && mask.size(2) == 1 &&
                              mask.size(3) == k.size(2) && mask.stride(3) == 1));
}

Tensor decode_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, double scale) {
  const int64_t batch = q.size(0), heads = q.size(1), d = q.size(3), kv_heads = k.size(1), length = k.size(2), groups = heads / kv_heads;
  Tensor out = at::empty({batch, heads, 1, d}, q.options());
  const auto run = [&]<class T>(T*, auto kernel) {
    at::parallel_for(0, batch * heads, std::max<int64_t>(1, 65536 / std::max<int64_t>(1, length * d)), [&](int64_t begin, int64_t end) {
      std::vector<float> scores(static_cast<size_t>(length));
      float sums[256];
      for (int64_t i = begin; i < end; ++i) {
        const int64_t b = i / heads, h = i % heads, kv = h / groups;
        const T* m = mask.defined() ? mask.const_data_ptr<T>() + (mask.size(0) == 1 ? 0 : b * mask.stride(0)) : nullptr;
        kernel(q.const_data_ptr<T>() + b * q.stride(0) + h * q.stride(1), k.const_data_ptr<T>() + b * k.stride(0) + kv * k.stride(1),
               v.const_data_ptr<T>() + b * v.stride(0) + kv * v.stride(1), m, out.mutable_data_ptr<T>() + i * d, scores.data(), sums, length, d,
               static_cast<float>(scale));
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
