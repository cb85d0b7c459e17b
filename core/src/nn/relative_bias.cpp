#include "backplane/nn/relative_bias.h"

#include <cmath>

namespace backplane::nn {

Tensor relative_position_bucket(const Tensor& relative, bool bidirectional, int64_t buckets, int64_t max_distance) {
  Tensor offset = at::zeros_like(relative), distance;
  if (bidirectional) {
    buckets /= 2;
    offset = (relative > 0).to(at::kLong) * buckets;
    distance = relative.abs();
  } else {
    distance = (-relative).clamp_min(0);
  }
  const int64_t exact = buckets / 2;
  const double growth = std::log(static_cast<double>(max_distance) / static_cast<double>(exact));
  const Tensor scaled = at::log(distance.clamp_min(1).to(at::kFloat) / exact) / growth * (buckets - exact);
  const Tensor far = (exact + scaled.to(at::kLong)).clamp_max(buckets - 1);
  return offset + at::where(distance < exact, distance, far);
}

Tensor relative_bias(Embedding& table, int64_t q, int64_t kv, int64_t past, bool bidirectional, int64_t max_distance) {
  const Tensor relative = at::arange(kv).unsqueeze(0) - at::arange(past, past + q).unsqueeze(1);
  const Tensor buckets = relative_position_bucket(relative, bidirectional, table->weight.size(0), max_distance);
  return table(buckets).permute({2, 0, 1}).unsqueeze(0);
}

}  // namespace backplane::nn
