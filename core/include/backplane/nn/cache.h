#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "backplane/nn/module.h"

namespace backplane {

/// Keys and values of past positions, one pair a layer, preallocated and written in place. An argument of forward,
/// never a member of a model. Not thread-safe: one sequence batch, one cache.
class KvCache {
 public:
  /// Room for `capacity` positions is made at the first update; more is made when it runs out.
  explicit KvCache(int64_t capacity = 0) : capacity_(capacity) {}

  /// Positions that all layers have seen.
  int64_t length() const { return length_; }

  /// Appends k and v [batch, kv_heads, new, d] of one layer and returns all of that layer, [batch, kv_heads, length +
  /// new, d], as views. Every layer is updated once a step, the layers in order; `advance` closes the step.
  std::pair<Tensor, Tensor> update(size_t layer, const Tensor& k, const Tensor& v);
  void advance(int64_t count) { length_ += count; }

  /// Keeps the rows of the batch that `rows` [n] names, in its order (beam search).
  void select(const Tensor& rows);

  /// Keys and values of another sequence (cross-attention), computed once and kept: empty where not set yet.
  std::pair<Tensor, Tensor>& cross(size_t layer);

 private:
  struct Layer {
    Tensor k, v;  // [batch, kv_heads, capacity, d]
  };
  int64_t capacity_;
  int64_t length_ = 0;
  std::vector<Layer> layers_;
  std::vector<std::pair<Tensor, Tensor>> cross_;
};

using KvCachePtr = std::shared_ptr<KvCache>;

}  // namespace backplane
