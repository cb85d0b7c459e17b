#include "backplane/nn/multimodal.h"

#include <cmath>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "backplane/nn/ops.h"

namespace backplane {

Tensor unit_length(const Tensor& x) { return x / x.square().sum(-1, true).sqrt(); }

Tensor contrastive_loss(const Tensor& similarity) {
  const Tensor pairs = at::arange(similarity.size(0), similarity.options().dtype(at::kLong));
  return (cross_entropy(similarity, pairs) + cross_entropy(similarity.t(), pairs)) / 2;
}

Tensor placeholder_mask(const Tensor& input_ids, const Tensor& inputs_embeds, const nn::Embedding& table, int64_t id) {
  if (input_ids.defined()) return input_ids == id;
  return (inputs_embeds == table->forward(at::full({1}, id, at::kLong))).all(-1);
}

Tensor scatter_features(const Tensor& embeds, const Tensor& mask, const Tensor& features, std::string_view kind) {
  const int64_t places = mask.sum().item<int64_t>(), hidden = embeds.size(-1);
  if (features.size(-1) != hidden || places * hidden != features.numel()) {
    throw Error(ErrorCode::invalid_value,
                concat("input_ids hold ", places, " ", kind, " placeholders for ", features.numel() / features.size(-1),
                       " features of size ", features.size(-1), "; expected as many, of size ", hidden));
  }
  return embeds.masked_scatter(mask.unsqueeze(-1), features.to(embeds.scalar_type()));
}

Tensor select_features(const std::vector<Tensor>& hidden_states, const Value& layer, std::string_view strategy) {
  if (strategy != "default" && strategy != "full") {
    throw Error(ErrorCode::invalid_value,
                concat("vision_feature_select_strategy is '", strategy, "'; expected 'default' or 'full'"));
  }
  std::vector<Tensor> chosen;
  const auto count = static_cast<int64_t>(hidden_states.size());
  for (const int64_t i : layer.as_int_list()) {
    if (i < -count || i >= count) {
      throw Error(ErrorCode::invalid_value,
                  concat("vision_feature_layer is ", i, "; the vision model has ", count, " hidden states"));
    }
    const Tensor& x = hidden_states[static_cast<size_t>(i < 0 ? i + count : i)];
    chosen.push_back(strategy == "default" ? x.slice(1, 1) : x);
  }
  if (chosen.empty()) throw Error(ErrorCode::invalid_value, "vision_feature_layer names no layer");
  return chosen.size() == 1 ? chosen.front() : at::cat(chosen, -1);
}

Tensor resize_positions(const Tensor& table, int64_t prefix, int64_t height, int64_t width) {
  const int64_t count = table.size(0) - prefix, hidden = table.size(1);
  const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(count)));
  if (side * side != count || height <= 0 || width <= 0) {
    throw Error(ErrorCode::invalid_value, concat("positions of ", count, " patches cannot become a grid of ", height,
                                                 " x ", width, "; expected a square and a grid of at least one patch"));
  }
  Tensor grid = table.slice(0, prefix).view({1, side, side, hidden}).permute({0, 3, 1, 2});
  grid = at::upsample_bicubic2d(grid, at::IntArrayRef({height, width}), false);
  grid = grid.permute({0, 2, 3, 1}).reshape({height * width, hidden});
  return prefix == 0 ? grid : at::cat({table.slice(0, 0, prefix), grid});
}

}  // namespace backplane
