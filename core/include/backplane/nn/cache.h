#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "backplane/nn/module.h"

namespace backplane {

/// What a model keeps of past positions: keys and values, one pair a layer, preallocated and written in place, and the
/// states of recurrent layers. An argument of forward, never a member of a model. Not thread-safe: one sequence batch,
/// one cache.
class KvCache {
 public:
  /// Room for `capacity` positions is made at the first update; more is made when it runs out.
  explicit KvCache(int64_t capacity = 0) : capacity_(capacity) {}

  /// Positions that all layers have seen.
  int64_t length() const { return length_; }

  /// Appends k and v [batch, kv_heads, new, d] of one layer and returns all of that layer, [batch, kv_heads, length +
  /// new, d], as views. Every layer is updated once a step, the layers in order; `advance` closes the step. Of a layer
  /// with a `window` above 0 only the last window - 1 positions are kept, which is all that the next query sees beside
  /// its own.
  std::pair<Tensor, Tensor> update(size_t layer, const Tensor& k, const Tensor& v, int64_t window = 0);
  void advance(int64_t count) { length_ += count; }

  /// Keeps the rows of the batch that `rows` [n] names, in its order (beam search).
  void select(const Tensor& rows);

  /// What to add to the number of seen tokens for the next position, [batch, 1], where the two differ (an image's tokens
  /// share positions); undefined where they do not.
  Tensor position_offset;

  /// Keys and values of another sequence (cross-attention), computed once and kept: empty where not set yet.
  std::pair<Tensor, Tensor>& cross(size_t layer);

  /// The states of a recurrent layer, batch first, as the layer defines them: undefined where not set yet. The
  /// reference stays valid.
  Tensor& state(size_t layer, size_t which = 0);

 private:
  struct Layer {
    Tensor k, v;        // [batch, kv_heads, capacity, d]
    int64_t first = 0;  // the position in the first place; above 0 where a window moved on
  };
  int64_t capacity_;
  int64_t length_ = 0;
  std::vector<Layer> layers_;
  std::vector<std::pair<Tensor, Tensor>> cross_;
  std::map<std::pair<size_t, size_t>, Tensor> states_;
};

using KvCachePtr = std::shared_ptr<KvCache>;

}  // namespace backplane
