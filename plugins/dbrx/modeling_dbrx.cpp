// DBRX: Databricks 2024, https://www.databricks.com/blog/introducing-dbrx-new-state-art-open-llm
// Pre-norm decoder with LayerNorm without bias, clipped q, k and v from one matrix, rotary positions, and a mixture of
// experts whose matrices lie in one. Reference: transformers, models/dbrx/modeling_dbrx.py

#include <backplane/nn/uninitialised.h>

#include "configuration_dbrx.h"

namespace backplane::dbrx {

struct DbrxPreTrainedModel : PreTrainedModel {
  using Config = DbrxConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "transformer"}; }
};

struct DbrxAttentionImpl : nn::Module {
  int64_t heads, kv_heads, head_dim;
  size_t layer;
  std::optional<double> clip;
  double dropout;
  nn::Linear Wqkv, out_proj;

  DbrxAttentionImpl(const DbrxConfig& c, size_t layer)
      : heads(c.n_heads),
        kv_heads(c.num_key_value_heads),
        head_dim(c.d_model / heads),
        layer(layer),
        clip(c.attn_config.clip_qkv),
        dropout(c.attn_config.attn_pdrop),
        Wqkv(register_module("Wqkv", nn::Linear(c.d_model, c.d_model + 2 * kv_heads * head_dim, false))),
        out_proj(register_module("out_proj", nn::Linear(c.d_model, c.d_model, false))) {}

  // x [batch, seq, d_model] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    Tensor qkv = Wqkv(x);
    if (clip) qkv = qkv.clamp(-*clip, *clip);
    const auto parts = qkv.split_with_sizes({heads * head_dim, kv_heads * head_dim, kv_heads * head_dim}, -1);
    const Tensor q = nn::apply_rotary(split_heads(parts[0], heads), call.cos, call.sin);
    const Tensor k = nn::apply_rotary(split_heads(parts[1], kv_heads), call.cos, call.sin);
    return out_proj(merge_heads(
        call.attend(layer, q, k, split_heads(parts[2], kv_heads), {.dropout = is_training() ? dropout : 0})));
  }
};
TORCH_MODULE(DbrxAttention);

struct DbrxNormAttentionNormImpl : nn::Module {
  double dropout;
  nn::LayerNorm norm_1, norm_2;
  DbrxAttention attn;

  DbrxNormAttentionNormImpl(const DbrxConfig& c, size_t layer)
      : dropout(c.resid_pdrop),
        norm_1(register_module("norm_1", nn::LayerNorm(c.d_model, 1e-5, false))),
        norm_2(register_module("norm_2", nn::LayerNorm(c.d_model, 1e-5, false))),
        attn(register_module("attn", DbrxAttention(c, layer))) {}
};
TORCH_MODULE(DbrxNormAttentionNorm);

struct DbrxRouterImpl : nn::Module {
  int64_t per_token;
  std::optional<double> jitter, norm;
  nn::Linear layer;

  explicit DbrxRouterImpl(const DbrxConfig& c)
      : per_token(c.ffn_config.moe_top_k),
        jitter(c.ffn_config.moe_jitter_eps),
        norm(c.ffn_config.moe_normalize_expert_weights),
        layer(register_module("layer", nn::Linear(c.d_model, c.ffn_config.moe_num_experts, false))) {}
};
TORCH_MODULE(DbrxRouter);

// All experts' matrices above each other, [experts * ffn_hidden_size, d_model].
struct DbrxExpertGLUImpl : nn::Module {
  int64_t experts;
  Tensor w1, v1, w2;
  Activation act;

  explicit DbrxExpertGLUImpl(const DbrxConfig& c)
      : experts(c.ffn_config.moe_num_experts),
        w1(register_parameter("w1", nn::uninitialised({experts * c.ffn_config.ffn_hidden_size, c.d_model}))),
        v1(register_parameter("v1", nn::uninitialised({experts * c.ffn_config.ffn_hidden_size, c.d_model}))),
        w2(register_parameter("w2", nn::uninitialised({experts * c.ffn_config.ffn_hidden_size, c.d_model}))),
        act(activation(c.ffn_config.act())) {}

  // x [rows, d_model] through one expert
  Tensor forward(int64_t expert, const Tensor& x) {
    const int64_t size = w1.size(0) / experts, from = expert * size, to = from + size;
    const Tensor h = act(at::linear(x, w1.slice(0, from, to))) * at::linear(x, v1.slice(0, from, to));
    return at::matmul(h, w2.slice(0, from, to));
  }
};
TORCH_MODULE(DbrxExpertGLU);

struct DbrxExpertsImpl : nn::Module {
  DbrxExpertGLU mlp;
  explicit DbrxExpertsImpl(const DbrxConfig& c) : mlp(register_module("mlp", DbrxExpertGLU(c))) {}
};
TORCH_MODULE(DbrxExperts);

struct DbrxFFNImpl : nn::Module {
  DbrxRouter router;
  DbrxExperts experts;

  explicit DbrxFFNImpl(const DbrxConfig& c)
      : router(register_module("router", DbrxRouter(c))), experts(register_module("experts", DbrxExperts(c))) {}

  // x [batch, seq, d_model] -> its shape. What the reference calls router logits are the probabilities.
  Tensor forward(const Tensor& x, DecoderCall& call) {
    Tensor tokens = x.reshape({-1, x.size(-1)});
    if (is_training() && router->jitter)
      tokens = tokens * at::empty_like(tokens).uniform_(1 - *router->jitter, 1 + *router->jitter);
    const Tensor probs = at::softmax(router->layer(tokens), -1, at::kFloat);
    call.router_logits.push_back(probs.to(x.scalar_type()));
    Routing routing = route(probs, router->per_token, false);
    if (router->norm) routing.weights = routing.weights / routing.weights.norm(*router->norm, -1, true);
    return mix_experts(tokens, routing, experts->mlp->experts,
                       [&](int64_t i, const Tensor& rows) { return experts->mlp(i, rows); })
        .view_as(x);
  }
};
TORCH_MODULE(DbrxFFN);

struct DbrxBlockImpl : nn::Module {
  DbrxNormAttentionNorm norm_attn_norm;
  DbrxFFN ffn;

  DbrxBlockImpl(const DbrxConfig& c, size_t layer)
      : norm_attn_norm(register_module("norm_attn_norm", DbrxNormAttentionNorm(c, layer))),
        ffn(register_module("ffn", DbrxFFN(c))) {}

  Tensor forward(Tensor x, DecoderCall& call) {
    const auto& n = *norm_attn_norm;
    x = x + at::dropout(norm_attn_norm->attn(norm_attn_norm->norm_1(x), call), n.dropout, is_training());
    return x + at::dropout(ffn(norm_attn_norm->norm_2(x), call), n.dropout, is_training());
  }
};
TORCH_MODULE(DbrxBlock);

struct DbrxModel : DbrxPreTrainedModel {
  const DbrxConfig& c;
  nn::RotaryEmbedding rotary;
  nn::Embedding wte;
  nn::Layers<DbrxBlock> blocks;
  nn::LayerNorm norm_f;

  explicit DbrxModel(const DbrxConfig& config)
      : DbrxPreTrainedModel(config),
        c(config),
        rotary({.dim = c.d_model / c.n_heads,
                .theta = c.attn_config.rope_theta,
                .max_position_embeddings = c.max_seq_len}),
        wte(register_module("wte", nn::Embedding(c.vocab_size, c.d_model, c.pad_token_id))),
        blocks(register_module(
            "blocks",
            nn::Layers<DbrxBlock>(c.n_layers, [&](int64_t i) { return DbrxBlock(c, static_cast<size_t>(i)); }))),
        norm_f(register_module("norm_f", nn::LayerNorm(c.d_model, 1e-5, false))) {}

  nn::Embedding get_input_embeddings() override { return wte; }
  std::span<const std::string_view> arguments() const override { return kMoeDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    DecoderCall call(inputs, c, c.use_cache, wte);
    call.wants_router_logits = inputs.flag("output_router_logits", c.output_router_logits);
    std::tie(call.cos, call.sin) = rotary.forward(call.positions);
    Tensor x = at::dropout(call.x, c.emb_pdrop, is_training());
    for (auto& block : *blocks) {
      call.see(x);
      x = block(x, call);
    }
    return call.finish(norm_f(x));
  }
};

struct DbrxForCausalLM : ModelWithBase<DbrxPreTrainedModel, DbrxModel> {
  nn::Linear lm_head;

  explicit DbrxForCausalLM(const DbrxConfig& c)
      : ModelWithBase(c, {"labels", "logits_to_keep"}),
        lm_head(register_module("lm_head", nn::Linear(c.d_model, c.vocab_size, false))) {}

  bool can_generate() const override { return true; }
  nn::Linear get_output_embeddings() override { return lm_head; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto result = run_base(inputs);
    const Tensor kept =
        CausalLMHead<DbrxPreTrainedModel, DbrxModel>::kept_positions(result["last_hidden_state"], inputs);
    const Tensor logits = lm_head(kept), labels = inputs.tensor("labels");
    const auto& ffn = base->c.ffn_config;
    const auto router_logits = result.tuple("router_logits");
    Tensor loss, aux;
    if (labels.defined()) loss = causal_lm_loss(logits, labels);
    if (!router_logits.empty())
      aux = load_balancing_loss(router_logits, ffn.moe_top_k, inputs.tensor("attention_mask"));
    if (loss.defined() && aux.defined()) loss = loss + ffn.moe_loss_weight * aux;
    ModelOutput output;
    output.set("loss", loss);
    output.set("aux_loss", aux);
    output.set("logits", logits);
    output.pass_on(result);
    return output;
  }
};

BACKPLANE_PLUGIN(dbrx, plugin) {
  plugin.config<DbrxConfig>();
  plugin.tokenizer("GPT2Tokenizer", "GPT2TokenizerFast");
  plugin.model<DbrxModel>(Auto::Model);
  plugin.model<DbrxForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::dbrx
