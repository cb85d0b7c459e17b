// Zamba: Glorioso et al. 2024, https://arxiv.org/abs/2405.16712
// Layers of Mamba with several heads; before some of them one shared block of attention and MLP, without positions,
// looks at the layer's input beside the embeddings. Reference: transformers, models/zamba/modeling_zamba.py

#include "../llama/modeling_llama.h"
#include "../mamba/modeling_mamba.h"
#include "configuration_zamba.h"

namespace backplane::zamba {

struct ZambaPreTrainedModel : PreTrainedModel {
  static constexpr bool supports_sdpa = false;
  using Config = ZambaConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

// Mamba whose heads have selective projections of their own.
struct ZambaMambaMixerImpl : nn::Module {
  int64_t heads, rank, n;
  size_t layer;
  nn::Conv1d conv1d;
  nn::Linear in_proj, out_proj;
  Tensor x_proj_weight;   // [heads, rank + 2 n, head_dim]
  Tensor dt_proj_weight;  // [heads, head_dim, rank]
  Tensor dt_proj_bias;    // [heads, head_dim]
  Tensor A_log;           // [heads, head_dim, n]
  Tensor D;               // [heads, head_dim]
  Activation act;

  ZambaMambaMixerImpl(const ZambaConfig& c, size_t layer)
      : heads(c.n_mamba_heads),
        rank(c.mamba_dt_rank.as_int()),
        n(c.mamba_d_state),
        layer(layer),
        conv1d(register_module(
            "conv1d",
            nn::Conv1d(c.mamba_expand * c.hidden_size, c.mamba_expand * c.hidden_size, c.mamba_d_conv,
                       nn::ConvOptions<1>{.groups = c.mamba_expand * c.hidden_size, .with_bias = c.mamba_conv_bias}))),
        in_proj(register_module("in_proj",
                                nn::Linear(c.hidden_size, 2 * c.mamba_expand * c.hidden_size, c.mamba_proj_bias))),
        out_proj(
            register_module("out_proj", nn::Linear(c.mamba_expand * c.hidden_size, c.hidden_size, c.mamba_proj_bias))),
        act(activation(c.hidden_mamba_act)) {
    const int64_t head_dim = c.mamba_expand * c.hidden_size / heads;
    x_proj_weight = register_parameter("x_proj_weight", nn::uninitialised({heads, rank + 2 * n, head_dim}));
    dt_proj_weight = register_parameter("dt_proj_weight", nn::uninitialised({heads, head_dim, rank}));
    dt_proj_bias = register_parameter("dt_proj_bias", nn::uninitialised({heads, head_dim}));
    A_log = register_parameter("A_log", nn::uninitialised({heads, head_dim, n}));
    D = register_parameter("D", nn::uninitialised({heads, head_dim}));
  }

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, const mamba::Pass& pass) {
    const Tensor projected = in_proj(x).unflatten(-1, {-1, 2});  // input and gate by turns
    Tensor* const conv_state = pass.cache ? &pass.cache->state(layer, 0) : nullptr;
    Tensor u = projected.select(-1, 0);
    if (pass.mask.defined()) u = u * pass.mask;
    u = act(causal_conv1d(u.transpose(1, 2), conv1d->weight, conv1d->bias, conv_state)).transpose(1, 2);
    if (pass.mask.defined()) u = u * pass.mask;
    u = u.unflatten(-1, {heads, -1});  // [batch, seq, heads, head_dim]
    std::vector<Tensor> results;
    for (int64_t h = 0; h < heads; ++h) {
      const Tensor uh = u.select(2, h);
      const auto parts = at::linear(uh, x_proj_weight[h]).split_with_sizes({rank, n, n}, -1);
      const Tensor dt = at::softplus(at::linear(parts[0], dt_proj_weight[h], dt_proj_bias[h]));
      Tensor* const state = pass.cache ? &pass.cache->state(layer, static_cast<size_t>(1 + h)) : nullptr;
      const Tensor A = -at::exp(A_log[h].to(at::kFloat));
      results.push_back(selective_scan(uh, dt, A, parts[1], parts[2], state) + uh * D[h]);
    }
    return out_proj(at::cat(results, -1) * act(projected.select(-1, 1)));
  }
};
TORCH_MODULE(ZambaMambaMixer);

struct ZambaAttentionImpl : llama::LlamaAttentionImpl {
  ZambaAttentionImpl(const ZambaConfig& c) : LlamaAttentionImpl(shape_of(c), 0) {
    o_proj = replace_module("o_proj", nn::Linear(shape.heads * shape.head_dim, c.hidden_size, false));
  }

  static llama::AttentionShape shape_of(const ZambaConfig& c) {
    return {.hidden_size = *c.attention_hidden_size,
            .heads = c.num_attention_heads,
            .kv_heads = c.num_key_value_heads,
            .head_dim = *c.attention_head_dim,
            .dropout = c.attention_dropout,
            .scale = 1 / std::sqrt(static_cast<double>(*c.attention_head_dim) / 2)};
  }

  // x [batch, seq, attention_hidden] -> [batch, seq, hidden]. One module serves several layers of the cache.
  Tensor forward(const Tensor& x, size_t layer, DecoderCall& call) {
    return o_proj(merge_heads(call.attend(
        layer, split_heads(q_proj(x), shape.heads), split_heads(k_proj(x), shape.kv_heads),
        split_heads(v_proj(x), shape.kv_heads), {.scale = shape.scale, .dropout = is_training() ? shape.dropout : 0})));
  }
};
TORCH_MODULE(ZambaAttention);

// The block that hybrid layers share.
struct ZambaAttentionDecoderLayerImpl : nn::Module {
  ZambaAttention self_attn;
  nn::GatedMlp feed_forward;
  nn::RMSNorm input_layernorm, pre_ff_layernorm;

  explicit ZambaAttentionDecoderLayerImpl(const ZambaConfig& c)
      : self_attn(register_module("self_attn", ZambaAttention(c))),
        feed_forward(register_module("feed_forward", nn::GatedMlp(c))),
        input_layernorm(register_module("input_layernorm", nn::RMSNorm(*c.attention_hidden_size, c.rms_norm_eps))),
        pre_ff_layernorm(register_module("pre_ff_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  Tensor forward(const Tensor& x, const Tensor& embeddings, size_t layer, DecoderCall& call) {
    const Tensor h = self_attn(input_layernorm(at::cat({x, embeddings}, -1)), layer, call);
    return feed_forward(pre_ff_layernorm(h));
  }
};
TORCH_MODULE(ZambaAttentionDecoderLayer);

// Residual around Mamba; `added` goes into Mamba's input alone.
struct ZambaMambaDecoderLayerImpl : nn::Module {
  ZambaMambaMixer mamba;
  nn::RMSNorm input_layernorm;

  ZambaMambaDecoderLayerImpl(const ZambaConfig& c, size_t layer)
      : mamba(register_module("mamba", ZambaMambaMixer(c, layer))),
        input_layernorm(register_module("input_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  Tensor forward(const Tensor& x, const Tensor& added, DecoderCall& call) {
    const Tensor padding = call.padding();
    return x + mamba->forward(input_layernorm(added.defined() ? x + added : x),
                              {padding.defined() ? padding.unsqueeze(2) : padding, call.cache});
  }
};
TORCH_MODULE(ZambaMambaDecoderLayer);

struct ZambaHybridLayerImpl : nn::Module {
  ZambaAttentionDecoderLayer shared_transf;
  nn::Linear linear;
  ZambaMambaDecoderLayer mamba_decoder;

  ZambaHybridLayerImpl(const ZambaConfig& c, ZambaAttentionDecoderLayer shared, size_t layer)
      : shared_transf(register_module("shared_transf", shared)),
        linear(register_module("linear", nn::Linear(c.hidden_size, c.hidden_size, false))),
        mamba_decoder(register_module("mamba_decoder", ZambaMambaDecoderLayer(c, layer))) {}
};
TORCH_MODULE(ZambaHybridLayer);

struct ZambaLayersImpl : nn::Module {
  std::vector<ZambaHybridLayer> hybrids;  // null where the layer is plain
  std::vector<ZambaMambaDecoderLayer> mambas;

  explicit ZambaLayersImpl(const ZambaConfig& c) {
    const ZambaAttentionDecoderLayer shared(c);
    for (size_t i = 0; i < static_cast<size_t>(c.num_hidden_layers); ++i) {
      ZambaHybridLayer hybrid{nullptr};
      if (c.is_hybrid(i)) {
        hybrid = register_module(std::to_string(i), ZambaHybridLayer(c, shared, i));
        mambas.push_back(hybrid->mamba_decoder);
      } else {
        mambas.push_back(register_module(std::to_string(i), ZambaMambaDecoderLayer(c, i)));
      }
      hybrids.push_back(hybrid);
    }
  }
};
TORCH_MODULE(ZambaLayers);

struct ZambaModel : ZambaPreTrainedModel {
  const ZambaConfig& c;
  nn::Embedding embed_tokens;
  ZambaLayers layers;
  nn::RMSNorm final_layernorm;

  explicit ZambaModel(const ZambaConfig& config)
      : ZambaPreTrainedModel(config),
        c(config),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        layers(register_module("layers", ZambaLayers(c))),
        final_layernorm(register_module("final_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  nn::Embedding get_input_embeddings() override { return embed_tokens; }
  std::span<const std::string_view> arguments() const override { return kDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    DecoderCall call(inputs, c, c.use_cache, embed_tokens);
    Tensor x = call.x;
    for (size_t i = 0; i < layers->mambas.size(); ++i) {
      call.see(x);
      Tensor added;
      if (auto& hybrid = layers->hybrids[i]) added = hybrid->linear(hybrid->shared_transf(x, call.x, i, call));
      x = layers->mambas[i](x, added, call);
    }
    return call.finish(final_layernorm(x));
  }
};

struct ZambaForCausalLM : CausalLMHead<ZambaPreTrainedModel, ZambaModel> {
  using CausalLMHead::CausalLMHead;
};
struct ZambaForSequenceClassification : SequenceClassificationHead<ZambaPreTrainedModel, ZambaModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};

BACKPLANE_PLUGIN(zamba, plugin) {
  plugin.config<ZambaConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.model<ZambaModel>(Auto::Model);
  plugin.model<ZambaForCausalLM>(Auto::ForCausalLM);
  plugin.model<ZambaForSequenceClassification>(Auto::ForSequenceClassification);
}

}  // namespace backplane::zamba
