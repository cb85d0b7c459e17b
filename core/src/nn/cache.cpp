#include "backplane/nn/cache.h"

#include <algorithm>
#include <tuple>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {

std::pair<Tensor, Tensor> KvCache::update(size_t layer, const Tensor& k, const Tensor& v, int64_t window) {
  if (layer >= layers_.size()) layers_.resize(layer + 1);
  auto& kept = layers_[layer];
  if (kept.k.defined() && kept.k.size(0) != k.size(0)) {
    throw Error(ErrorCode::invalid_value,
                concat("the cache holds ", kept.k.size(0), " sequences; this call has ", k.size(0)));
  }
  const int64_t count = k.size(2), held = kept.k.defined() ? length_ - kept.first : 0,
                seen = window > 0 ? std::min(held, window - 1) : held;
  if (!kept.k.defined() || held + count > kept.k.size(2)) {
    // A window moves on in a buffer of twice its size, so that few steps copy.
    const int64_t wanted = window > 0
                               ? std::min(std::max(capacity_, 2 * (seen + count)), std::max(2 * window, seen + count))
                               : std::max({capacity_, seen + count, 2 * held});
    Layer moved;
    for (const auto& [from, old, to] : {std::tuple(k, kept.k, &moved.k), std::tuple(v, kept.v, &moved.v)}) {
      *to = at::empty({from.size(0), from.size(1), wanted, from.size(3)}, from.options().requires_grad(false));
      if (seen > 0) to->slice(2, 0, seen).copy_(old.slice(2, held - seen, held));
    }
    moved.first = length_ - seen;
    kept = moved;
  }
  const int64_t end = length_ - kept.first;
  kept.k.slice(2, end, end + count).copy_(k);
  kept.v.slice(2, end, end + count).copy_(v);
  return {kept.k.slice(2, end - seen, end + count), kept.v.slice(2, end - seen, end + count)};
}

void KvCache::select(const Tensor& rows) {
  const auto choose = [&](Tensor& x) {
    if (x.defined()) x = x.index_select(0, rows);
  };
  for (auto& layer : layers_) {
    if (!layer.k.defined()) continue;
    const int64_t held = length_ - layer.first;  // the rest of the room is empty
    for (Tensor* x : {&layer.k, &layer.v}) {
      Tensor chosen = at::empty({rows.size(0), x->size(1), x->size(2), x->size(3)}, x->options());
      chosen.slice(2, 0, held).copy_(x->slice(2, 0, held).index_select(0, rows));
      *x = chosen;
    }
  }
  if (position_offset.defined()) position_offset = position_offset.index_select(0, rows);
  for (auto& [k, v] : cross_) {
    choose(k);
    choose(v);
  }
  for (auto& [key, state] : states_) choose(state);
}

std::pair<Tensor, Tensor>& KvCache::cross(size_t layer) {
  if (layer >= cross_.size()) cross_.resize(layer + 1);
  return cross_[layer];
}

Tensor& KvCache::state(size_t layer, size_t which) { return states_[{layer, which}]; }

}  // namespace backplane
