#include "backplane/nn/alibi.h"

#include <bit>
#include <cmath>

namespace backplane::nn {

Tensor alibi_slopes(int64_t heads) {
  const auto whole = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(heads)));
  const auto powers = [](int64_t n, int64_t count, int64_t step) {
    const auto base = static_cast<float>(std::exp2(-std::exp2(-(std::log2(static_cast<double>(n)) - 3))));
    return at::pow(at::scalar_tensor(base, at::kFloat), at::arange(1, 1 + step * count, step, at::kInt));
  };
  const Tensor slopes = powers(whole, whole, 1);
  return whole == heads ? slopes : at::cat({slopes, powers(2 * whole, heads - whole, 2)});
}

Tensor alibi_positions(const Tensor& attention_mask, int64_t kv) {
  Tensor positions = at::arange(kv, at::kLong).unsqueeze(0);
  if (attention_mask.defined() && attention_mask.dim() == 2) {
    const Tensor mask = attention_mask.to(at::kLong);
    positions = (mask.cumsum(-1) - 1) * mask;
  }
  return positions.view({positions.size(0), 1, 1, -1});
}

Tensor alibi_bias(const Tensor& attention_mask, int64_t heads, int64_t kv) {
  return alibi_slopes(heads).view({1, heads, 1, 1}) * alibi_positions(attention_mask, kv);
}

}  // namespace backplane::nn
