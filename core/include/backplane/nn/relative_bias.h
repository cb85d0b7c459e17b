#pragma once

#include "backplane/nn/layers.h"

namespace backplane::nn {

/// T5's buckets of distances, Raffel et al. 2019, https://arxiv.org/abs/1910.10683: exact up to half of the buckets,
/// then logarithmic up to `max_distance`. `relative` is key position - query position, int64 of any shape;
/// bidirectional: half of the buckets are for keys behind the query; otherwise those share bucket 0.
Tensor relative_position_bucket(const Tensor& relative, bool bidirectional, int64_t buckets, int64_t max_distance);

/// A learned bias a head for `q` queries from position `past` on and `kv` keys from 0 on: [1, heads, q, kv]. `table`
/// has the shape [buckets, heads].
Tensor relative_bias(Embedding& table, int64_t q, int64_t kv, int64_t past, bool bidirectional, int64_t max_distance);

}  // namespace backplane::nn
