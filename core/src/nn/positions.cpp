#include "backplane/nn/positions.h"

#include <cmath>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "backplane/nn/budget.h"

namespace backplane::nn {
namespace {

int64_t elements(int64_t positions, int64_t dim) {
  if (positions < 0 || dim < 0 || (dim > 0 && positions > std::numeric_limits<int64_t>::max() / dim))
    throw Error(ErrorCode::bad_config, concat("a table of ", positions, " positions of ", dim, " numbers"));
  return positions * dim;
}

// The rows at `positions` [n], in float32.
Tensor fairseq_rows(const Tensor& positions, int64_t dim) {
  const int64_t half = dim / 2;
  const double step = std::log(10000.0) / static_cast<double>(std::max<int64_t>(half - 1, 1));
  const Tensor frequencies = at::exp(at::arange(half, at::kFloat) * -step);
  const Tensor angles = positions.to(at::kFloat).unsqueeze(1) * frequencies.unsqueeze(0);
  Tensor rows = at::cat({angles.sin(), angles.cos()}, 1);
  return dim % 2 == 1 ? at::cat({rows, at::zeros({positions.size(0), 1})}, 1) : rows;
}

}  // namespace

Tensor sinusoidal_table(int64_t positions, int64_t dim) {
  ParameterBudget::take(elements(positions, dim));
  const auto double_precision = at::TensorOptions().dtype(at::kDouble);
  const Tensor at_position = at::arange(positions, double_precision).unsqueeze(1);
  const auto angles = [&](int64_t count) {
    const Tensor exponent = 2 * at::arange(count, double_precision) / static_cast<double>(dim);
    return at_position / at::pow(10000.0, exponent);
  };
  return at::cat({angles((dim + 1) / 2).sin(), angles(dim / 2).cos()}, 1).to(at::kFloat);
}

Tensor fairseq_sinusoidal_table(int64_t positions, int64_t dim, std::optional<int64_t> padding_idx) {
  ParameterBudget::take(elements(positions, dim));
  Tensor table = fairseq_rows(at::arange(positions), dim);
  if (padding_idx && *padding_idx >= 0 && *padding_idx < positions) table[*padding_idx].zero_();
  return table;
}

Tensor positions_past_padding(const Tensor& ids, int64_t padding_idx, int64_t past) {
  const Tensor counts = (ids != padding_idx).to(at::kLong);
  return (counts.cumsum(1) + past) * counts + padding_idx;
}

SinusoidalEmbeddingImpl::SinusoidalEmbeddingImpl(int64_t positions, int64_t dim)
    : weight(register_buffer("weight", sinusoidal_table(positions, dim))) {}

Tensor SinusoidalEmbeddingImpl::forward(const Tensor& positions) const {
  if (positions.numel() > 0 &&
      (positions.min().item<int64_t>() < 0 || positions.max().item<int64_t>() >= weight.size(0))) {
    throw Error(ErrorCode::invalid_value, concat("position ", positions.max().item<int64_t>(), " is outside of the ",
                                                 weight.size(0), " that the model has; truncate the sequence"));
  }
  return at::embedding(weight, positions);
}

Tensor FairseqSinusoids::forward(const Tensor& positions, at::ScalarType dtype) const {
  const Tensor flat = positions.flatten();
  const Tensor rows = fairseq_rows(flat, dim_).masked_fill((flat == padding_idx_).unsqueeze(1), 0);
  return rows.view({positions.size(0), positions.size(1), dim_}).to(dtype);
}

}  // namespace backplane::nn
