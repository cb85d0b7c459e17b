#pragma once

#include <string_view>
#include <vector>

#include "backplane/config/value.h"
#include "backplane/nn/layers.h"
#include "backplane/nn/ops.h"

// What models of two kinds of input share. Thread-safe.
namespace backplane {

/// x / |x|, by the Euclidean norm of the last dimension.
Tensor unit_length(const Tensor& x);

/// Symmetric cross entropy of similarity [n, n], whose diagonal are the pairs. Radford et al. 2021,
/// https://arxiv.org/abs/2103.00020.
Tensor contrastive_loss(const Tensor& similarity);

/// Where the placeholder `id` stands: [batch, seq], bool; by the row of `table` where only embeddings are given.
Tensor placeholder_mask(const Tensor& input_ids, const Tensor& inputs_embeds, const nn::Embedding& table, int64_t id);

/// Puts the rows of features [..., hidden], in order, where `mask` [batch, seq] is set in embeds [batch, seq, hidden].
/// Throws `invalid_value` naming `kind` ("image") where their numbers differ.
Tensor scatter_features(const Tensor& embeds, const Tensor& mask, const Tensor& features, std::string_view kind);

/// The hidden states that a vision_feature_layer names, one (a number) or several side by side (a list), negative from
/// the end; without their first token where `strategy` is "default", whole where it is "full". Throws `invalid_value`.
Tensor select_features(const std::vector<Tensor>& hidden_states, const Value& layer, std::string_view strategy);

/// Attention within each segment of a packed row, whose `lengths` add up to the row's: q, k and v [1, heads, seq, d] ->
/// the same shape. `options` has no mask; with `probs` they are those of the whole row.
Tensor segmented_attention(const Tensor& q, const Tensor& k, const Tensor& v, const std::vector<int64_t>& lengths,
                           const AttentionOptions& options);

}  // namespace backplane
