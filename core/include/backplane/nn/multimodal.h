#pragma once

#include <string_view>
#include <vector>

#include "backplane/config/value.h"
#include "backplane/nn/layers.h"

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

/// Learned positions of a square grid for another grid: table [prefix + side^2, hidden] -> [prefix + height * width,
/// hidden], bicubic; the first `prefix` rows (class tokens) as they are.
Tensor resize_positions(const Tensor& table, int64_t prefix, int64_t height, int64_t width);

}  // namespace backplane
