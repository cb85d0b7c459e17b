// Zamba2: Glorioso et al. 2024, https://arxiv.org/abs/2411.15242
// Layers of Mamba-2; before some of them one of num_mem_blocks shared blocks of attention and MLP, taken in turn, looks
// at the layer's input beside the embeddings. Each use of a block adds a small map of its own to the MLP, and may to q,
// k and v. Reference: transformers, models/zamba2/modeling_zamba2.py

#include "../llama/modeling_llama.h"
#include "../mamba2/modeling_mamba2.h"
#include "configuration_zamba2.h"

namespace backplane::zamba2 {

struct Zamba2PreTrainedModel : PreTrainedModel {
  using Config = Zamba2Config;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

// Two linear maps through a small middle, under the names "0" and "1".
struct AdapterImpl : nn::Module {
  nn::Linear down, up;

  AdapterImpl(int64_t in_features, int64_t rank, int64_t out_features)
      : down(register_module("0", nn::Linear(in_features, rank, false))),
        up(register_module("1", nn::Linear(rank, out_features, false))) {}

  Tensor forward(const Tensor& x) { return up(down(x)); }
};
TORCH_MODULE(Adapter);

// The adapters of one block, by the place of the layer among the hybrid ones; other blocks' places stay empty.
struct AdaptersImpl : nn::Module {
  std::vector<Adapter> adapters;

  AdaptersImpl(const Zamba2Config& c, int64_t block, int64_t in_features, int64_t out_features) {
    for (size_t i = 0; i < c.hybrid_layer_ids.size(); ++i) {
      Adapter adapter{nullptr};
      if (static_cast<int64_t>(i) % c.num_mem_blocks == block)
        adapter = register_module(std::to_string(i), Adapter(in_features, c.adapter_rank, out_features));
      adapters.push_back(adapter);
    }
  }

  Tensor forward(const Tensor& x, int64_t index) { return adapters[static_cast<size_t>(index)](x); }
};
TORCH_MODULE(Adapters);

struct Zamba2AttentionImpl : nn::Module {
  int64_t heads, kv_heads;
  double scale, dropout;
  nn::Linear q_proj, k_proj, v_proj, o_proj;
  Adapters linear_q_adapter_list{nullptr}, linear_k_adapter_list{nullptr}, linear_v_adapter_list{nullptr};

  Zamba2AttentionImpl(const Zamba2Config& c, int64_t block)
      : heads(c.num_attention_heads),
        kv_heads(*c.num_key_value_heads),
        scale(1 / std::sqrt(static_cast<double>(c.attention_head_dim) / 2)),
        dropout(c.attention_dropout),
        q_proj(register_module("q_proj", nn::Linear(c.attention_hidden_size, heads * c.attention_head_dim, false))),
        k_proj(register_module("k_proj", nn::Linear(c.attention_hidden_size, kv_heads * c.attention_head_dim, false))),
        v_proj(register_module("v_proj", nn::Linear(c.attention_hidden_size, kv_heads * c.attention_head_dim, false))),
        o_proj(register_module("o_proj", nn::Linear(heads * c.attention_head_dim, c.hidden_size, false))) {
    if (!c.use_shared_attention_adapter) return;
    const int64_t size = c.attention_hidden_size;
    linear_q_adapter_list = register_module("linear_q_adapter_list", Adapters(c, block, size, size));
    linear_k_adapter_list = register_module("linear_k_adapter_list", Adapters(c, block, size, size));
    linear_v_adapter_list = register_module("linear_v_adapter_list", Adapters(c, block, size, size));
  }

  // x [batch, seq, attention_hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, size_t layer, int64_t index, DecoderCall& call) {
    Tensor q = q_proj(x), k = k_proj(x), v = v_proj(x);
    if (linear_q_adapter_list) {
      q = q + linear_q_adapter_list(x, index);
      k = k + linear_k_adapter_list(x, index);
      v = v + linear_v_adapter_list(x, index);
    }
    q = split_heads(q, heads);
    k = split_heads(k, kv_heads);
    if (call.cos.defined()) {
      q = nn::apply_rotary(q, call.cos, call.sin);
      k = nn::apply_rotary(k, call.cos, call.sin);
    }
    return o_proj(merge_heads(
        call.attend(layer, q, k, split_heads(v, kv_heads), {.scale = scale, .dropout = is_training() ? dropout : 0})));
  }
};
TORCH_MODULE(Zamba2Attention);

struct Zamba2MLPImpl : nn::Module {
  nn::Linear gate_up_proj, down_proj;
  Adapters gate_up_proj_adapter_list;
  Activation act;

  Zamba2MLPImpl(const Zamba2Config& c, int64_t block)
      : gate_up_proj(
            register_module("gate_up_proj", nn::Linear(c.hidden_size, 2 * *c.intermediate_size, c.add_bias_linear))),
        down_proj(register_module("down_proj", nn::Linear(*c.intermediate_size, c.hidden_size, c.add_bias_linear))),
        gate_up_proj_adapter_list(
            register_module("gate_up_proj_adapter_list", Adapters(c, block, c.hidden_size, 2 * *c.intermediate_size))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x, int64_t index) {
    const auto parts = (gate_up_proj(x) + gate_up_proj_adapter_list(x, index)).chunk(2, -1);
    return down_proj(act(parts[0]) * parts[1]);
  }
};
TORCH_MODULE(Zamba2MLP);

// One of the blocks that hybrid layers share.
struct Zamba2AttentionDecoderLayerImpl : nn::Module {
  Zamba2Attention self_attn;
  Zamba2MLP feed_forward;
  nn::RMSNorm input_layernorm, pre_ff_layernorm;

  Zamba2AttentionDecoderLayerImpl(const Zamba2Config& c, int64_t block)
      : self_attn(register_module("self_attn", Zamba2Attention(c, block))),
        feed_forward(register_module("feed_forward", Zamba2MLP(c, block))),
        input_layernorm(register_module("input_layernorm", nn::RMSNorm(c.attention_hidden_size, c.rms_norm_eps))),
        pre_ff_layernorm(register_module("pre_ff_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  Tensor forward(const Tensor& x, const Tensor& embeddings, size_t layer, int64_t index, DecoderCall& call) {
    const Tensor h = self_attn(input_layernorm(at::cat({x, embeddings}, -1)), layer, index, call);
    return feed_forward(pre_ff_layernorm(h), index);
  }
};
TORCH_MODULE(Zamba2AttentionDecoderLayer);

struct Zamba2MambaMixerImpl : mamba2::NormedMixerImpl {
  Zamba2MambaMixerImpl(const Zamba2Config& c, size_t layer)
      : NormedMixerImpl({.hidden_size = c.hidden_size,
                         .inner = c.mamba_expand * c.hidden_size,
                         .heads = c.n_mamba_heads,
                         .head_dim = c.mamba_headdim,
                         .groups = c.mamba_ngroups,
                         .n = c.mamba_d_state,
                         .kernel = c.mamba_d_conv,
                         .in_bias = c.add_bias_linear,
                         .out_bias = c.add_bias_linear,
                         .dt_min = c.time_step_min},
                        1e-5, layer, c.mamba_expand * c.hidden_size / c.mamba_ngroups) {}
};
TORCH_MODULE(Zamba2MambaMixer);

// Residual around Mamba; `added` goes into Mamba's input alone.
struct Zamba2MambaDecoderLayerImpl : nn::Module {
  Zamba2MambaMixer mamba;
  nn::RMSNorm input_layernorm;

  Zamba2MambaDecoderLayerImpl(const Zamba2Config& c, size_t layer)
      : mamba(register_module("mamba", Zamba2MambaMixer(c, layer))),
        input_layernorm(register_module("input_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  Tensor forward(const Tensor& x, const Tensor& added, DecoderCall& call) {
    const Tensor padding = call.padding();
    return x + mamba->forward(input_layernorm(added.defined() ? x + added : x),
                              {padding.defined() ? padding.unsqueeze(2) : padding, call.cache});
  }
};
TORCH_MODULE(Zamba2MambaDecoderLayer);

struct Zamba2HybridLayerImpl : nn::Module {
  nn::Linear linear;
  Zamba2MambaDecoderLayer mamba_decoder;
  Zamba2AttentionDecoderLayer shared_transformer;

  Zamba2HybridLayerImpl(const Zamba2Config& c, Zamba2AttentionDecoderLayer shared, size_t layer)
      : linear(register_module("linear", nn::Linear(c.hidden_size, c.hidden_size, false))),
        mamba_decoder(register_module("mamba_decoder", Zamba2MambaDecoderLayer(c, layer))),
        shared_transformer(register_module("shared_transformer", shared)) {}
};
TORCH_MODULE(Zamba2HybridLayer);

struct Zamba2LayersImpl : nn::Module {
  std::vector<Zamba2HybridLayer> hybrids;  // null where the layer is plain
  std::vector<Zamba2MambaDecoderLayer> mambas;

  explicit Zamba2LayersImpl(const Zamba2Config& c) {
    std::vector<Zamba2AttentionDecoderLayer> blocks;
    for (int64_t k = 0; k < c.num_mem_blocks; ++k) blocks.emplace_back(c, k);
    for (size_t i = 0; i < static_cast<size_t>(c.num_hidden_layers); ++i) {
      Zamba2HybridLayer hybrid{nullptr};
      if (const int64_t index = c.hybrid_index(i); index >= 0) {
        const auto& shared = blocks[static_cast<size_t>(index % c.num_mem_blocks)];
        hybrid = register_module(std::to_string(i), Zamba2HybridLayer(c, shared, i));
        mambas.push_back(hybrid->mamba_decoder);
      } else {
        mambas.push_back(register_module(std::to_string(i), Zamba2MambaDecoderLayer(c, i)));
      }
      hybrids.push_back(hybrid);
    }
  }
};
TORCH_MODULE(Zamba2Layers);

struct Zamba2Model : Zamba2PreTrainedModel {
  const Zamba2Config& c;
  std::optional<nn::RotaryEmbedding> rotary;
  nn::Embedding embed_tokens;
  Zamba2Layers layers;
  nn::RMSNorm final_layernorm;

  explicit Zamba2Model(const Zamba2Config& config)
      : Zamba2PreTrainedModel(config),
        c(config),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        layers(register_module("layers", Zamba2Layers(c))),
        final_layernorm(register_module("final_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {
    if (c.use_mem_rope) {
      rotary.emplace(nn::RotaryOptions{
          .dim = c.attention_head_dim, .theta = c.theta(), .max_position_embeddings = c.max_position_embeddings});
    }
  }

  nn::Embedding get_input_embeddings() override { return embed_tokens; }
  std::span<const std::string_view> arguments() const override { return kDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    DecoderCall call(inputs, c, c.use_cache, embed_tokens);
    if (rotary) std::tie(call.cos, call.sin) = rotary->forward(call.positions);
    Tensor x = call.x;
    for (size_t i = 0; i < layers->mambas.size(); ++i) {
      call.see(x);
      Tensor added;
      if (auto& hybrid = layers->hybrids[i])
        added = hybrid->linear(hybrid->shared_transformer(x, call.x, i, c.hybrid_index(i), call));
      x = layers->mambas[i](x, added, call);
    }
    return call.finish(final_layernorm(x));
  }
};

struct Zamba2ForCausalLM : CausalLMHead<Zamba2PreTrainedModel, Zamba2Model> {
  using CausalLMHead::CausalLMHead;
};
struct Zamba2ForSequenceClassification : SequenceClassificationHead<Zamba2PreTrainedModel, Zamba2Model> {
  using SequenceClassificationHead::SequenceClassificationHead;
};

BACKPLANE_PLUGIN(zamba2, plugin) {
  plugin.config<Zamba2Config>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.model<Zamba2Model>(Auto::Model);
  plugin.model<Zamba2ForCausalLM>(Auto::ForCausalLM);
  plugin.model<Zamba2ForSequenceClassification>(Auto::ForSequenceClassification);
}

}  // namespace backplane::zamba2
