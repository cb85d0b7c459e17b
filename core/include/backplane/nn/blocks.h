#pragma once

#include "backplane/nn/module.h"

// Sequences cut into blocks, as local attention needs them.
namespace backplane::nn {

/// x cut along `dim` into blocks of `length`, the last one filled up with zeros: [..., blocks, length, ...].
Tensor in_blocks(const Tensor& x, int64_t length, int64_t dim);

/// Each block with the one before and the one behind it, zeros where there is none: x [batch, blocks, length, ...] ->
/// [batch, blocks, 3 * length, ...].
Tensor with_neighbours(const Tensor& x);

}  // namespace backplane::nn
