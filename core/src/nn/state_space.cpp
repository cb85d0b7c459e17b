#include "backplane/nn/state_space.h"

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

// Steps taken at once: long enough for vector loops, short enough for the cache.
constexpr int64_t kChunk = 64;

bool wants_grad(std::initializer_list<Tensor> tensors) {
  return c10::GradMode::is_enabled() &&
         std::any_of(tensors.begin(), tensors.end(), [](const Tensor& x) { return x.requires_grad(); });
}

Tensor first_state(const Tensor* state, at::IntArrayRef shape, const Tensor& like) {
  return state && state->defined() ? state->to(at::kFloat) : at::zeros(shape, like.options().dtype(at::kFloat));
}

// decay and input [batch, steps, rows, n], C [batch, steps, rows or 1, n], h [batch, rows, n] (updated) -> [batch,
// steps, rows]: what each row's n states give.
void scan_rows(const Tensor& decay, const Tensor& input, const Tensor& C, Tensor& h, Tensor y) {
  const int64_t batch = decay.size(0), steps = decay.size(1), rows = decay.size(2), n = decay.size(3);
  const auto *a = decay.const_data_ptr<float>(), *u = input.const_data_ptr<float>(), *c = C.const_data_ptr<float>();
  auto *state = h.mutable_data_ptr<float>(), *out = y.mutable_data_ptr<float>();
  const int64_t y_batch = y.stride(0), y_step = y.stride(1);
  at::parallel_for(0, batch * rows, std::max<int64_t>(1, 32768 / std::max<int64_t>(1, steps * n)),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) {
                       const int64_t b = i / rows, row = i % rows;
                       float* s = state + i * n;
                       for (int64_t t = 0; t < steps; ++t) {
                         const int64_t at = ((b * steps + t) * rows + row) * n;
                         const float* w = c + (b * steps + t) * n;
                         float sum = 0;
                         for (int64_t j = 0; j < n; ++j) {
                           s[j] = a[at + j] * s[j] + u[at + j];
                           sum += s[j] * w[j];
                         }
                         out[b * y_batch + t * y_step + row] = sum;
                       }
                     }
                   });
}

}  // namespace

Tensor causal_conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor* state) {
  const int64_t k = weight.size(2), channels = x.size(1);
  const Tensor before = state && state->defined() ? state->slice(2, 1).to(x.scalar_type())
                                                  : at::zeros({x.size(0), channels, k - 1}, x.options());
  const Tensor padded = at::cat({before, x}, 2);
  if (state) {
    const Tensor tail = padded.slice(2, std::max<int64_t>(padded.size(2) - k, 0));
    *state = at::constant_pad_nd(tail, {k - tail.size(2), 0}).contiguous();
  }
  return at::convolution(padded, weight, bias.defined() ? std::optional<Tensor>(bias) : std::nullopt, {1}, {0}, {1},
                         false, {0}, channels);
}

Tensor selective_scan(const Tensor& x, const Tensor& dt, const Tensor& A, const Tensor& B, const Tensor& C,
                      Tensor* state) {
  const int64_t batch = x.size(0), seq = x.size(1), d = x.size(2), n = A.size(1);
  const Tensor wide_dt = dt.to(at::kFloat), drive = wide_dt * x.to(at::kFloat), wide_A = A.to(at::kFloat);
  const Tensor wide_B = B.to(at::kFloat), wide_C = C.to(at::kFloat).contiguous();
  Tensor h = first_state(state, {batch, d, n}, x).contiguous();
  Tensor y;
  if (wants_grad({x, dt, A, B, C, h})) {
    std::vector<Tensor> steps;
    for (int64_t t = 0; t < seq; ++t) {
      const Tensor decay = at::exp(wide_dt.select(1, t).unsqueeze(2) * wide_A);
      h = decay * h + drive.select(1, t).unsqueeze(2) * wide_B.select(1, t).unsqueeze(1);
      steps.push_back(at::matmul(h, wide_C.select(1, t).unsqueeze(2)).squeeze(2));
    }
    y = at::stack(steps, 1);
  } else {
    if (state && h.is_same(*state)) h = h.clone();
    y = at::empty({batch, seq, d}, h.options());
    for (int64_t t = 0; t < seq; t += kChunk) {
      const int64_t end = std::min(seq, t + kChunk);
      const Tensor decay = at::exp(wide_dt.slice(1, t, end).unsqueeze(3) * wide_A);
      const Tensor input = drive.slice(1, t, end).unsqueeze(3) * wide_B.slice(1, t, end).unsqueeze(2);
      scan_rows(decay, input, wide_C.slice(1, t, end).contiguous(), h, y.slice(1, t, end));
    }
  }
  if (state) *state = h;
  return y.to(x.scalar_type());
}

Tensor state_space_scan(const Tensor& x, const Tensor& dt, const Tensor& A, const Tensor& B, const Tensor& C,
                        Tensor* state) {
  const int64_t batch = x.size(0), seq = x.size(1), heads = x.size(2), p = x.size(3), groups = B.size(2), n = B.size(3),
                per_group = heads / groups;
  const Tensor wide_dt = dt.to(at::kFloat), decay = at::exp(wide_dt * A.to(at::kFloat)).contiguous();
  const Tensor drive = (x.to(at::kFloat) * wide_dt.unsqueeze(3)).contiguous();  // [batch, seq, heads, p]
  const Tensor wide_B = B.to(at::kFloat).contiguous(), wide_C = C.to(at::kFloat).contiguous();
  Tensor h = first_state(state, {batch, heads, p, n}, x).contiguous();
  if (wants_grad({x, dt, A, B, C, h})) {
    std::vector<Tensor> steps;
    for (int64_t t = 0; t < seq; ++t) {
      const Tensor b = wide_B.select(1, t).repeat_interleave(per_group, 1),
                   c = wide_C.select(1, t).repeat_interleave(per_group, 1);  // [batch, heads, n]
      h = decay.select(1, t).unsqueeze(2).unsqueeze(3) * h + drive.select(1, t).unsqueeze(3) * b.unsqueeze(2);
      steps.push_back(at::matmul(h, c.unsqueeze(3)).squeeze(3));
    }
    if (state) *state = h;
    return at::stack(steps, 1);
  }
  if (state && h.is_same(*state)) h = h.clone();
  Tensor y = at::empty({batch, seq, heads, p}, h.options());
  const auto *a = decay.const_data_ptr<float>(), *u = drive.const_data_ptr<float>(),
             *b = wide_B.const_data_ptr<float>(), *c = wide_C.const_data_ptr<float>();
  auto *s = h.mutable_data_ptr<float>(), *out = y.mutable_data_ptr<float>();
  at::parallel_for(0, batch * heads, std::max<int64_t>(1, 32768 / std::max<int64_t>(1, seq * p * n)),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) {
                       const int64_t row = i / heads, head = i % heads, group = head / per_group;
                       for (int64_t t = 0; t < seq; ++t) {
                         const int64_t step = row * seq + t;
                         const float keep = a[step * heads + head];
                         const float *bt = b + (step * groups + group) * n, *ct = c + (step * groups + group) * n;
                         for (int64_t r = 0; r < p; ++r) {
                           float* hr = s + (i * p + r) * n;
                           const float in = u[(step * heads + head) * p + r];
                           float sum = 0;
                           for (int64_t j = 0; j < n; ++j) {
                             hr[j] = keep * hr[j] + in * bt[j];
                             sum += hr[j] * ct[j];
                           }
                           out[(step * heads + head) * p + r] = sum;
                         }
                       }
                     }
                   });
  if (state) *state = h;
  return y;
}

void check_state_space_heads(int64_t heads, int64_t head_dim, int64_t groups, int64_t inner) {
  if (heads <= 0 || head_dim <= 0 || groups <= 0 || inner % heads != 0 || inner / heads != head_dim ||
      heads % groups != 0) {
    throw Error(ErrorCode::bad_config, concat("config.json: ", heads, " state-space heads of ", head_dim,
                                              " numbers in ", groups, " groups do not fit ", inner,
                                              " inner numbers; heads times their size must be that many, and heads ",
                                              "a multiple of the groups"));
  }
}

namespace nn {

Tensor GatedRMSNormImpl::forward(const Tensor& x, const Tensor& gate) const {
  const Tensor gated = (x.to(at::kFloat) * at::silu(gate.to(at::kFloat))).unflatten(-1, {-1, group_size});
  const Tensor normed = gated * at::rsqrt(gated.square().mean(-1, true) + eps);
  return weight * normed.flatten(-2).to(x.scalar_type());
}

}  // namespace nn
}  // namespace backplane
