#pragma once

// DeepSeek-V3: DeepSeek-AI 2024, https://arxiv.org/abs/2412.19437
// Multi-head latent attention (https://arxiv.org/abs/2405.04434): keys and values come from one small latent vector,
// part of each head is rotated. From layer first_k_dense_replace on, a mixture of experts routed by groups beside
// shared ones. Reference: transformers, models/deepseek_v3/modeling_deepseek_v3.py

#include <backplane/nn/uninitialised.h>

#include "../qwen2_moe/modeling_qwen2_moe.h"

namespace backplane::deepseek_v3 {

// Sigmoid scores; a bias that only chooses; the best groups by their two best experts, then the best experts in them.
struct DeepseekV3TopkRouterImpl : nn::Module {
  int64_t per_token, groups, kept_groups;
  bool normalise;
  double factor;
  Tensor weight;                   // [experts, hidden]
  Tensor e_score_correction_bias;  // [experts]

  template <class Config>
  DeepseekV3TopkRouterImpl(const Config& c, int64_t experts, int64_t per_token)
      : per_token(per_token),
        groups(c.n_group),
        kept_groups(c.topk_group),
        normalise(c.norm_topk_prob),
        factor(c.routed_scaling_factor),
        weight(register_parameter("weight", nn::uninitialised({experts, c.hidden_size}))),
        e_score_correction_bias(register_buffer("e_score_correction_bias", nn::uninitialised({experts}))) {}

  // tokens [tokens, hidden]
  Routing forward(const Tensor& tokens) {
    const Tensor scores = at::linear(tokens.to(at::kFloat), weight.to(at::kFloat)).sigmoid();
    const Tensor choice =
        (scores + e_score_correction_bias).unflatten(1, {groups, -1});  // [tokens, groups, in a group]
    const Tensor best = std::get<1>(std::get<0>(choice.topk(2, -1)).sum(-1).topk(kept_groups, -1, true, false));
    const Tensor kept = at::zeros({tokens.size(0), groups}, at::kBool).scatter(1, best, true).unsqueeze(2);
    const Tensor experts =
        std::get<1>(choice.masked_fill(kept.logical_not(), 0).flatten(1).topk(per_token, -1, true, false));
    Tensor weights = scores.gather(1, experts);
    if (normalise) weights = weights / (weights.sum(-1, true) + 1e-20);
    return {weights * factor, experts};
  }
};
TORCH_MODULE(DeepseekV3TopkRouter);

struct DeepseekV3MoEImpl : nn::Module {
  nn::Layers<nn::GatedMlp> experts;
  DeepseekV3TopkRouter gate;
  nn::GatedMlp shared_experts;

  template <class Config>
  explicit DeepseekV3MoEImpl(const Config& c)
      : DeepseekV3MoEImpl(c, c.n_routed_experts, c.num_experts_per_tok, c.n_shared_experts) {}

  template <class Config>
  DeepseekV3MoEImpl(const Config& c, int64_t routed, int64_t per_token, int64_t shared)
      : experts(register_module(
            "experts",
            nn::Layers<nn::GatedMlp>(
                routed, [&](int64_t) { return nn::GatedMlp(c.hidden_size, c.moe_intermediate_size, c.hidden_act); }))),
        gate(register_module("gate", DeepseekV3TopkRouter(c, routed, per_token))),
        shared_experts(register_module("shared_experts",
                                       nn::GatedMlp(c.hidden_size, c.moe_intermediate_size * shared, c.hidden_act))) {}

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, std::vector<Tensor>&) {
    const Tensor tokens = x.reshape({-1, x.size(-1)});
    const Tensor mixed =
        mix_experts(tokens, gate(tokens), static_cast<int64_t>(experts->size()),
                    [&](int64_t i, const Tensor& rows) { return (*experts)[static_cast<size_t>(i)](rows); });
    return mixed.view_as(x) + shared_experts(x);
  }
};
TORCH_MODULE(DeepseekV3MoE);

}  // namespace backplane::deepseek_v3
