#include "backplane/nn/cache.h"

#include <algorithm>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {

std::pair<Tensor, Tensor> KvCache::update(size_t layer, const Tensor& k, const Tensor& v) {
  if (layer >= layers_.size()) layers_.resize(layer + 1);
  auto& kept = layers_[layer];
  const int64_t total = length_ + k.size(2);
  if (!kept.k.defined() || kept.k.size(2) < total) {
    const int64_t capacity = std::max({capacity_, total, kept.k.defined() ? 2 * kept.k.size(2) : int64_t{0}});
    Layer larger;
    for (const auto& [from, to] : {std::pair(k, &larger.k), std::pair(v, &larger.v)}) {
      *to = at::empty({from.size(0), from.size(1), capacity, from.size(3)}, from.options().requires_grad(false));
    }
    if (length_ > 0) {
      larger.k.slice(2, 0, length_).copy_(kept.k.slice(2, 0, length_));
      larger.v.slice(2, 0, length_).copy_(kept.v.slice(2, 0, length_));
    }
    kept = larger;
  }
  if (kept.k.size(0) != k.size(0)) {
    throw Error(ErrorCode::invalid_value,
                concat("the cache holds ", kept.k.size(0), " sequences; this call has ", k.size(0)));
  }
  kept.k.slice(2, length_, total).copy_(k);
  kept.v.slice(2, length_, total).copy_(v);
  return {kept.k.slice(2, 0, total), kept.v.slice(2, 0, total)};
}

void KvCache::select(const Tensor& rows) {
  for (auto& layer : layers_) {
    layer.k = layer.k.index_select(0, rows);
    layer.v = layer.v.index_select(0, rows);
  }
  for (auto& [k, v] : cross_) {
    if (!k.defined()) continue;
    k = k.index_select(0, rows);
    v = v.index_select(0, rows);
  }
}

std::pair<Tensor, Tensor>& KvCache::cross(size_t layer) {
  if (layer >= cross_.size()) cross_.resize(layer + 1);
  return cross_[layer];
}

}  // namespace backplane
