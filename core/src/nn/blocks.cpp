#include "backplane/nn/blocks.h"

namespace backplane::nn {

Tensor in_blocks(const Tensor& x, int64_t length, int64_t dim) {
  const int64_t missing = (length - x.size(dim) % length) % length;
  std::vector<int64_t> padding(static_cast<size_t>(2 * (x.dim() - dim)), 0);
  padding.back() = missing;
  return (missing == 0 ? x : at::constant_pad_nd(x, padding)).unflatten(dim, {-1, length});
}

Tensor with_neighbours(const Tensor& x) {
  std::vector<int64_t> padding(static_cast<size_t>(2 * (x.dim() - 1)), 0);
  padding[padding.size() - 2] = padding.back() = 1;
  const Tensor wide = at::constant_pad_nd(x, padding);
  const int64_t blocks = x.size(1);
  return at::cat({wide.slice(1, 0, blocks), wide.slice(1, 1, blocks + 1), wide.slice(1, 2, blocks + 2)}, 2);
}

}  // namespace backplane::nn
