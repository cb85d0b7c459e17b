// JetMoE: Shen et al. 2024, https://arxiv.org/abs/2404.07413
// Pre-norm decoder in which attention too is a mixture of experts: keys and values are shared, and each token's experts
// have query and output projections of their own. Reference: transformers, models/jetmoe/modeling_jetmoe.py

#include <backplane/model/moe_heads.h>
#include <backplane/nn/sparse_moe.h>
#include <backplane/nn/uninitialised.h>

#include "configuration_jetmoe.h"

namespace backplane::jetmoe {

struct JetMoePreTrainedModel : PreTrainedModel {
  using Config = JetMoeConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct JetMoeMoEImpl : nn::ParallelMoeImpl {
  Tensor bias;  // [hidden]

  explicit JetMoeMoEImpl(const JetMoeConfig& c)
      : ParallelMoeImpl(c.hidden_size, c.intermediate_size, c.activation_function, c.num_local_experts,
                        c.num_experts_per_tok),
        bias(register_parameter("bias", nn::uninitialised({c.hidden_size}))) {}

  Tensor forward(const Tensor& x, std::vector<Tensor>& router_logits) {
    return ParallelMoeImpl::forward(x, router_logits) + bias;
  }
};
TORCH_MODULE(JetMoeMoE);

// The projections of attention's experts: `input_linear` makes queries, `output_linear` takes the heads back.
struct JetMoeMoAImpl : nn::Module {
  Tensor bias;  // [hidden]
  nn::ParallelExperts input_linear, output_linear;
  nn::TopKGating router;

  explicit JetMoeMoAImpl(const JetMoeConfig& c)
      : bias(register_parameter("bias", nn::uninitialised({c.hidden_size}))),
        input_linear(register_module("input_linear", nn::ParallelExperts(c.num_local_experts, c.hidden_size,
                                                                         c.kv_channels * c.num_key_value_heads))),
        output_linear(register_module(
            "output_linear",
            nn::ParallelExperts(c.num_local_experts, c.kv_channels * c.num_key_value_heads, c.hidden_size))),
        router(register_module("router", nn::TopKGating(c.hidden_size, c.num_local_experts, c.num_experts_per_tok))) {}

  // Each row of x [rows, in] through its own expert of `experts` [rows] -> [rows, out]
  static Tensor through(const nn::ParallelExperts& linear, const Tensor& x, const Tensor& experts) {
    const Routing one = {at::ones({x.size(0), 1}, x.options()), experts.unsqueeze(1)};
    return mix_experts(x, one, linear->weight.size(0),
                       [&](int64_t i, const Tensor& rows) { return linear->forward(i, rows); });
  }
};
TORCH_MODULE(JetMoeMoA);

struct JetMoeAttentionImpl : nn::Module {
  int64_t kv_heads, per_token, head_dim;
  size_t layer;
  double dropout;
  JetMoeMoA experts;
  nn::Linear kv_proj;

  JetMoeAttentionImpl(const JetMoeConfig& c, size_t layer)
      : kv_heads(c.num_key_value_heads),
        per_token(c.num_experts_per_tok),
        head_dim(c.kv_channels),
        layer(layer),
        dropout(c.attention_dropout),
        experts(register_module("experts", JetMoeMoA(c))),
        kv_proj(register_module("kv_proj", nn::Linear(c.hidden_size, 2 * kv_heads * head_dim, false))) {}

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    const Tensor tokens = x.reshape({-1, x.size(-1)});
    const Routing routing = experts->router(tokens, call.router_logits);  // [tokens, per_token]
    const Tensor chosen = routing.experts.reshape({-1});
    const Tensor queries =
        JetMoeMoAImpl::through(experts->input_linear, tokens.repeat_interleave(per_token, 0), chosen);
    const auto kv = kv_proj(x).chunk(2, -1);
    const Tensor k = nn::apply_rotary(split_heads(kv[0], kv_heads), call.cos, call.sin),
                 v = split_heads(kv[1], kv_heads);
    // A token's experts in turn, each with as many heads as there are keys.
    const Tensor q = nn::apply_rotary(split_heads(queries.view({call.batch, call.seq, -1}), kv_heads * per_token),
                                      call.cos, call.sin);
    const Tensor y = call.attend(layer, grouped(q), k, v, {.dropout = is_training() ? dropout : 0});
    const Tensor outputs = JetMoeMoAImpl::through(experts->output_linear,
                                                  merge_heads(ungrouped(y)).reshape({-1, kv_heads * head_dim}), chosen);
    const Tensor mixed = (outputs.view({tokens.size(0), per_token, -1}) * routing.weights.unsqueeze(2)).sum(1);
    return mixed.view_as(x) + experts->bias;
  }

  // [batch, per_token * kv_heads, seq, d], experts first <-> heads of one key beside each other, as attention wants
  // them
  Tensor grouped(const Tensor& x) const { return x.unflatten(1, {per_token, kv_heads}).transpose(1, 2).flatten(1, 2); }
  Tensor ungrouped(const Tensor& x) const {
    return x.unflatten(1, {kv_heads, per_token}).transpose(1, 2).flatten(1, 2);
  }
};
TORCH_MODULE(JetMoeAttention);

struct JetMoeBlockImpl : nn::Module {
  nn::RMSNorm input_layernorm, post_attention_layernorm;
  JetMoeAttention self_attention;
  JetMoeMoE mlp;

  JetMoeBlockImpl(const JetMoeConfig& c, size_t layer)
      : input_layernorm(register_module("input_layernorm", nn::RMSNorm(c.hidden_size, 1e-6))),
        post_attention_layernorm(register_module("post_attention_layernorm", nn::RMSNorm(c.hidden_size, 1e-6))),
        self_attention(register_module("self_attention", JetMoeAttention(c, layer))),
        mlp(register_module("mlp", JetMoeMoE(c))) {}

  Tensor forward(Tensor x, DecoderCall& call) {
    x = x + self_attention(input_layernorm(x), call);
    return x + mlp(post_attention_layernorm(x), call.router_logits);
  }
};
TORCH_MODULE(JetMoeBlock);

struct JetMoeModel : JetMoePreTrainedModel {
  const JetMoeConfig& c;
  nn::RotaryEmbedding rotary;
  nn::Embedding embed_tokens;
  nn::Layers<JetMoeBlock> layers;
  nn::RMSNorm norm;

  explicit JetMoeModel(const JetMoeConfig& config)
      : JetMoePreTrainedModel(config),
        c(config),
        rotary({.dim = c.kv_channels, .theta = c.rope_theta, .max_position_embeddings = c.max_position_embeddings}),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        layers(register_module(
            "layers", nn::Layers<JetMoeBlock>(c.num_hidden_layers,
                                              [&](int64_t i) { return JetMoeBlock(c, static_cast<size_t>(i)); }))),
        norm(register_module("norm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  nn::Embedding get_input_embeddings() override { return embed_tokens; }
  std::span<const std::string_view> arguments() const override { return kMoeDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    DecoderCall call(inputs, c, c.use_cache, embed_tokens);
    call.wants_router_logits = inputs.flag("output_router_logits", c.output_router_logits);
    std::tie(call.cos, call.sin) = rotary.forward(call.positions);
    Tensor x = call.x;
    for (auto& layer : *layers) {
      call.see(x);
      x = layer(x, call);
    }
    return call.finish(norm(x));
  }
};

// Adds the auxiliary loss of MLPs and attention together, by aux_loss_coef. The reference's loss shifts labels twice,
// the second time over the rows laid end to end: a score is held against the label after the next.
struct JetMoeForCausalLM : CausalLMHead<JetMoePreTrainedModel, JetMoeModel> {
  using CausalLMHead::CausalLMHead;

  ModelOutput compute(const ModelInputs& inputs) override {
    ModelOutput output = CausalLMHead::compute(inputs);
    if (const Tensor labels = inputs.tensor("labels"); labels.defined()) {
      const Tensor scores = output["logits"].slice(1, 0, labels.size(1) - 1).flatten(0, 1);
      output.set("loss",
                 cross_entropy(scores.slice(0, 0, scores.size(0) - 1), labels.slice(1, 1).flatten().slice(0, 1)));
    }
    const auto router_logits = output.tuple("router_logits");
    if (router_logits.empty()) return output;
    const Tensor aux = load_balancing_loss(router_logits, base->c.num_experts_per_tok, inputs.tensor("attention_mask"));
    output.set("aux_loss", aux);
    if (const Tensor loss = output.tensor("loss"); loss.defined())
      output.set("loss", loss + base->c.aux_loss_coef * aux);
    return output;
  }
};
struct JetMoeForSequenceClassification : SequenceClassificationHead<JetMoePreTrainedModel, JetMoeModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};

BACKPLANE_PLUGIN(jetmoe, plugin) {
  plugin.config<JetMoeConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.model<JetMoeModel>(Auto::Model);
  plugin.model<JetMoeForCausalLM>(Auto::ForCausalLM);
  plugin.model<JetMoeForSequenceClassification>(Auto::ForSequenceClassification);
}

}  // namespace backplane::jetmoe
