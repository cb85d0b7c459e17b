// Jamba: Lieber et al. 2024, https://arxiv.org/abs/2403.19887
// Layers of Mamba, with normalised time step, B and C, and now and then one of attention without positions; in some the
// MLP is a mixture of experts. Reference: transformers, models/jamba/modeling_jamba.py

#include <backplane/nn/sparse_moe.h>

#include "../llama/modeling_llama.h"
#include "../mamba/modeling_mamba.h"
#include "configuration_jamba.h"

namespace backplane::jamba {

struct JambaPreTrainedModel : PreTrainedModel {
  using Config = JambaConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct JambaMambaMixerImpl : mamba::MambaMixerImpl {
  nn::RMSNorm dt_layernorm, b_layernorm, c_layernorm;

  JambaMambaMixerImpl(const JambaConfig& c, size_t layer)
      : MambaMixerImpl(mamba::MambaShape{.hidden_size = c.hidden_size,
                                         .inner = c.mamba_expand * c.hidden_size,
                                         .n = c.mamba_d_state,
                                         .rank = c.mamba_dt_rank.as_int(),
                                         .kernel = c.mamba_d_conv,
                                         .proj_bias = c.mamba_proj_bias,
                                         .conv_bias = c.mamba_conv_bias,
                                         .act = c.hidden_act},
                       layer),
        dt_layernorm(register_module("dt_layernorm", nn::RMSNorm(rank, c.rms_norm_eps))),
        b_layernorm(register_module("b_layernorm", nn::RMSNorm(n, c.rms_norm_eps))),
        c_layernorm(register_module("c_layernorm", nn::RMSNorm(n, c.rms_norm_eps))) {}

  std::vector<Tensor> selection(std::vector<Tensor> parts) override {
    return {dt_layernorm(parts[0]), b_layernorm(parts[1]), c_layernorm(parts[2])};
  }
};
TORCH_MODULE(JambaMambaMixer);

struct JambaAttentionImpl : llama::LlamaAttentionImpl {
  using LlamaAttentionImpl::LlamaAttentionImpl;

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    return o_proj(merge_heads(attend(split_heads(q_proj(x), shape.heads), split_heads(k_proj(x), shape.kv_heads),
                                     split_heads(v_proj(x), shape.kv_heads), call)));
  }
};
TORCH_MODULE(JambaAttention);

struct JambaSparseMoeBlockImpl : nn::Module {
  int64_t per_token;
  nn::Linear router;
  nn::Layers<nn::GatedMlp> experts;

  explicit JambaSparseMoeBlockImpl(const JambaConfig& c)
      : per_token(c.num_experts_per_tok),
        router(register_module("router", nn::Linear(c.hidden_size, c.num_experts, false))),
        experts(register_module("experts",
                                nn::Layers<nn::GatedMlp>(c.num_experts, [&](int64_t) { return nn::GatedMlp(c); }))) {}

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    const Tensor tokens = x.reshape({-1, x.size(-1)}), scores = router(tokens);
    call.router_logits.push_back(scores);
    return mix_experts(tokens, route(at::softmax(scores, -1, at::kFloat), per_token, false), scores.size(1),
                       [&](int64_t i, const Tensor& rows) { return (*experts)[static_cast<size_t>(i)](rows); })
        .view_as(x);
  }
};
TORCH_MODULE(JambaSparseMoeBlock);

struct JambaDecoderLayerImpl : nn::Module {
  JambaAttention self_attn{nullptr};
  JambaMambaMixer mamba{nullptr};
  nn::GatedMlp mlp{nullptr};
  JambaSparseMoeBlock moe{nullptr};  // one of the two, as "feed_forward"
  nn::RMSNorm input_layernorm, pre_ff_layernorm;

  JambaDecoderLayerImpl(const JambaConfig& c, size_t layer)
      : input_layernorm(register_module("input_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        pre_ff_layernorm(register_module("pre_ff_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {
    if (c.is_attention(layer)) {
      self_attn = register_module("self_attn", JambaAttention(c, layer));
    } else {
      mamba = register_module("mamba", JambaMambaMixer(c, layer));
    }
    if (c.is_sparse(layer)) {
      moe = register_module("feed_forward", JambaSparseMoeBlock(c));
    } else {
      mlp = register_module("feed_forward", nn::GatedMlp(c));
    }
  }

  Tensor forward(Tensor x, DecoderCall& call) {
    const Tensor h = input_layernorm(x), padding = call.padding();
    x = x + (self_attn ? self_attn(h, call)
                       : mamba->forward(h, {padding.defined() ? padding.unsqueeze(2) : padding, call.cache}));
    const Tensor g = pre_ff_layernorm(x);
    return x + (moe ? moe(g, call) : mlp(g));
  }
};
TORCH_MODULE(JambaDecoderLayer);

struct JambaModel : JambaPreTrainedModel {
  const JambaConfig& c;
  nn::Embedding embed_tokens;
  nn::Layers<JambaDecoderLayer> layers;
  nn::RMSNorm final_layernorm;

  explicit JambaModel(const JambaConfig& config)
      : JambaPreTrainedModel(config),
        c(config),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        layers(register_module("layers", nn::Layers<JambaDecoderLayer>(
                                             c.num_hidden_layers,
                                             [&](int64_t i) { return JambaDecoderLayer(c, static_cast<size_t>(i)); }))),
        final_layernorm(register_module("final_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  nn::Embedding get_input_embeddings() override { return embed_tokens; }
  std::span<const std::string_view> arguments() const override { return kMoeDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    DecoderCall call(inputs, c, c.use_cache, embed_tokens);
    call.wants_router_logits = inputs.flag("output_router_logits", c.output_router_logits);
    Tensor x = call.x;
    for (auto& layer : *layers) {
      call.see(x);
      x = layer(x, call);
    }
    return call.finish(final_layernorm(x));
  }
};

struct JambaForCausalLM : MoeCausalLMHead<JambaPreTrainedModel, JambaModel> {
  using MoeCausalLMHead::MoeCausalLMHead;
};
struct JambaForSequenceClassification : SequenceClassificationHead<JambaPreTrainedModel, JambaModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};

BACKPLANE_PLUGIN(jamba, plugin) {
  plugin.config<JambaConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.model<JambaModel>(Auto::Model);
  plugin.model<JambaForCausalLM>(Auto::ForCausalLM);
  plugin.model<JambaForSequenceClassification>(Auto::ForSequenceClassification);
}

}  // namespace backplane::jamba
