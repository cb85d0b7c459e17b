#include "backplane/nn/multimodal.h"

#include <algorithm>

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

Tensor segmented_attention(const Tensor& q, const Tensor& k, const Tensor& v, const std::vector<int64_t>& lengths,
                           const AttentionOptions& options) {
  if (lengths.size() <= 1) return attention(q, k, v, options);
  if (options.probs) {
    const Tensor segment = at::repeat_interleave(at::tensor(lengths, at::kLong));
    AttentionOptions masked = options;
    masked.mask = lowest_where(segment.unsqueeze(0) != segment.unsqueeze(1), q.scalar_type());
    return attention(q, k, v, masked);
  }
  if (std::all_of(lengths.begin(), lengths.end(), [&](int64_t one) { return one == lengths.front(); })) {
    const auto fold = [&](const Tensor& x) {
      return x[0].unflatten(1, {-1, lengths.front()}).transpose(0, 1);  // [segments, heads, length, d]
    };
    return attention(fold(q), fold(k), fold(v), options).transpose(0, 1).flatten(1, 2).unsqueeze(0);
  }
  std::vector<Tensor> parts;
  int64_t from = 0;
  for (const int64_t length : lengths) {
    const auto cut = [&](const Tensor& x) { return x.slice(2, from, from + length); };
    parts.push_back(attention(cut(q), cut(k), cut(v), options));
    from += length;
  }
  return at::cat(parts, 2);
}

}  // namespace backplane
