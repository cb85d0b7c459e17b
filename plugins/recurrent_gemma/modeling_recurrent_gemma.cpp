// Griffin: De et al. 2024, https://arxiv.org/abs/2402.19427; RecurrentGemma: Botev et al. 2024,
// https://arxiv.org/abs/2404.07839. Layers of a gated linear recurrence behind a short convolution and layers of local
// attention, each with a gated MLP; norms and embeddings as in Gemma.
// Reference: transformers, models/recurrent_gemma/modeling_recurrent_gemma.py

#include <backplane/nn/state_space.h>
#include <backplane/nn/uninitialised.h>

#include "../gemma/modeling_gemma.h"
#include "configuration_recurrent_gemma.h"

namespace backplane::recurrent_gemma {

struct RecurrentGemmaPreTrainedModel : PreTrainedModel {
  static constexpr bool supports_sdpa = false;
  using Config = RecurrentGemmaConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

using gemma::GemmaRMSNorm;

// Attention over attention_window_size positions. A prompt longer than the window meets the reference's way: all its
// queries see the last positions of the prompt, query i the first i + 1 of them.
struct RecurrentGemmaSdpaAttentionImpl : nn::Module {
  int64_t heads, kv_heads, window;
  size_t layer;
  double dropout;
  nn::Linear q_proj, k_proj, v_proj, o_proj;

  RecurrentGemmaSdpaAttentionImpl(const RecurrentGemmaConfig& c, size_t layer)
      : heads(c.num_attention_heads),
        kv_heads(*c.num_key_value_heads),
        window(c.attention_window_size),
        layer(layer),
        dropout(c.attention_dropout),
        q_proj(register_module("q_proj", nn::Linear(c.hidden_size, heads * c.head_dim, c.attention_bias))),
        k_proj(register_module("k_proj", nn::Linear(c.hidden_size, kv_heads * c.head_dim, c.attention_bias))),
        v_proj(register_module("v_proj", nn::Linear(c.hidden_size, kv_heads * c.head_dim, c.attention_bias))),
        o_proj(register_module("o_proj", nn::Linear(heads * c.head_dim, c.hidden_size))) {}

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    const Tensor q = nn::apply_rotary(split_heads(q_proj(x), heads), call.cos, call.sin);
    const Tensor k = nn::apply_rotary(split_heads(k_proj(x), kv_heads), call.cos, call.sin);
    const Tensor v = split_heads(v_proj(x), kv_heads);
    if (!call.cache || call.past > 0 || call.seq <= window) {
      return o_proj(
          merge_heads(call.attend(layer, q, k, v, {.dropout = is_training() ? dropout : 0}, call.cache ? window : 0)));
    }
    call.cache->update(layer, k, v, window);
    const Tensor mask = causal_mask(call.attention_mask, call.seq, 0, q.scalar_type()).slice(3, 0, window);
    return o_proj(merge_heads(attention(q, k.slice(2, call.seq - window), v.slice(2, call.seq - window),
                                        {.mask = mask, .dropout = is_training() ? dropout : 0})));
  }
};
TORCH_MODULE(RecurrentGemmaSdpaAttention);

// Real-gated linear recurrent unit: h_t = a_t h_(t-1) + sqrt(1 - a_t^2) (i_t x_t), a_t = exp(-8 r_t softplus(p)).
struct RecurrentGemmaRglruImpl : nn::Module {
  int64_t heads;
  Tensor recurrent_param;                           // [width]
  Tensor input_gate_weight, recurrent_gate_weight;  // [heads, block, block]
  Tensor input_gate_bias, recurrent_gate_bias;      // [heads, block]

  explicit RecurrentGemmaRglruImpl(const RecurrentGemmaConfig& c) : heads(c.num_attention_heads) {
    const int64_t block = *c.lru_width / heads;
    recurrent_param = register_parameter("recurrent_param", nn::uninitialised({*c.lru_width}));
    input_gate_weight = register_parameter("input_gate_weight", nn::uninitialised({heads, block, block}));
    input_gate_bias = register_parameter("input_gate_bias", nn::uninitialised({heads, block}));
    recurrent_gate_weight = register_parameter("recurrent_gate_weight", nn::uninitialised({heads, block, block}));
    recurrent_gate_bias = register_parameter("recurrent_gate_bias", nn::uninitialised({heads, block}));
  }

  // x [batch, seq, width], reset [batch or 1, seq, 1] true where a sequence begins; `state` null or h [batch, width]
  Tensor forward(const Tensor& x, const Tensor& reset, Tensor* state) {
    const Tensor by_head = x.flatten(0, 1).unflatten(1, {heads, -1}).transpose(0, 1);  // [heads, tokens, block]
    const auto gate = [&](const Tensor& weight, const Tensor& bias) {
      return at::sigmoid(at::baddbmm(bias.unsqueeze(1), by_head, weight).transpose(0, 1).reshape_as(x));
    };
    const Tensor log_a = -8.0 * gate(recurrent_gate_weight, recurrent_gate_bias) * at::softplus(recurrent_param);
    const Tensor scale = at::where(reset, at::ones({}, x.options()), at::sqrt(1 - at::exp(2 * log_a)));
    const Tensor input = (x * gate(input_gate_weight, input_gate_bias) * scale).to(at::kFloat);
    const Tensor a = at::exp(log_a).masked_fill(reset, 0).to(at::kFloat);
    Tensor h = state && state->defined() ? *state : at::zeros({x.size(0), x.size(2)}, input.options());
    std::vector<Tensor> steps;
    for (int64_t t = 0; t < x.size(1); ++t) {
      h = a.select(1, t) * h + input.select(1, t);
      steps.push_back(h);
    }
    if (state) *state = h;
    return at::stack(steps, 1).to(x.scalar_type());
  }
};
TORCH_MODULE(RecurrentGemmaRglru);

struct RecurrentGemmaRecurrentBlockImpl : nn::Module {
  size_t layer;
  nn::Linear linear_y, linear_x, linear_out;
  nn::Conv1d conv_1d;
  RecurrentGemmaRglru rg_lru;
  Activation act;

  RecurrentGemmaRecurrentBlockImpl(const RecurrentGemmaConfig& c, size_t layer)
      : layer(layer),
        linear_y(register_module("linear_y", nn::Linear(c.hidden_size, *c.lru_width))),
        linear_x(register_module("linear_x", nn::Linear(c.hidden_size, *c.lru_width))),
        linear_out(register_module("linear_out", nn::Linear(*c.lru_width, c.hidden_size))),
        conv_1d(register_module("conv_1d", nn::Conv1d(*c.lru_width, *c.lru_width, c.conv1d_width,
                                                      nn::ConvOptions<1>{.groups = *c.lru_width}))),
        rg_lru(register_module("rg_lru", RecurrentGemmaRglru(c))),
        act(activation(c.hidden_activation)) {}

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    Tensor* const conv_state = call.cache ? &call.cache->state(layer, 0) : nullptr;
    Tensor* const state = call.cache ? &call.cache->state(layer, 1) : nullptr;
    const Tensor u = causal_conv1d(linear_x(x).transpose(1, 2), conv_1d->weight, conv_1d->bias, conv_state);
    const Tensor h = rg_lru(u.transpose(1, 2), (call.positions == 0).unsqueeze(2), state);
    return linear_out(h * act(linear_y(x)));
  }
};
TORCH_MODULE(RecurrentGemmaRecurrentBlock);

struct RecurrentGemmaDecoderLayerImpl : nn::Module {
  GemmaRMSNorm temporal_pre_norm, channel_pre_norm;
  RecurrentGemmaSdpaAttention attention{nullptr};
  RecurrentGemmaRecurrentBlock recurrent{nullptr};  // one of the two, as "temporal_block"
  nn::GatedMlp mlp_block;

  RecurrentGemmaDecoderLayerImpl(const RecurrentGemmaConfig& c, size_t layer)
      : temporal_pre_norm(register_module("temporal_pre_norm", GemmaRMSNorm(c.hidden_size, c.rms_norm_eps))),
        channel_pre_norm(register_module("channel_pre_norm", GemmaRMSNorm(c.hidden_size, c.rms_norm_eps))),
        mlp_block(register_module("mlp_block",
                                  nn::GatedMlp(c.hidden_size, c.intermediate_size / 2, c.hidden_activation, true))) {
    if (c.is_attention(layer)) {
      attention = register_module("temporal_block", RecurrentGemmaSdpaAttention(c, layer));
    } else {
      recurrent = register_module("temporal_block", RecurrentGemmaRecurrentBlock(c, layer));
    }
  }

  Tensor forward(Tensor x, DecoderCall& call) {
    const Tensor h = temporal_pre_norm(x);
    x = (attention ? attention(h, call) : recurrent(h, call)) + x;
    return mlp_block(channel_pre_norm(x)) + x;
  }
};
TORCH_MODULE(RecurrentGemmaDecoderLayer);

struct RecurrentGemmaModel : RecurrentGemmaPreTrainedModel {
  const RecurrentGemmaConfig& c;
  nn::RotaryEmbedding rotary;
  nn::Embedding embed_tokens;
  nn::Layers<RecurrentGemmaDecoderLayer> layers;
  GemmaRMSNorm final_norm;

  explicit RecurrentGemmaModel(const RecurrentGemmaConfig& config)
      : RecurrentGemmaPreTrainedModel(config),
        c(config),
        rotary({.dim = static_cast<int64_t>(c.partial_rotary_factor * static_cast<double>(c.head_dim)),
                .theta = c.rope_theta}),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        layers(register_module("layers", nn::Layers<RecurrentGemmaDecoderLayer>(c.num_hidden_layers,
                                                                                [&](int64_t i) {
                                                                                  return RecurrentGemmaDecoderLayer(
                                                                                      c, static_cast<size_t>(i));
                                                                                }))),
        final_norm(register_module("final_norm", GemmaRMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  nn::Embedding get_input_embeddings() override { return embed_tokens; }
  std::span<const std::string_view> arguments() const override { return kDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    DecoderCall call(inputs, c, c.use_cache, embed_tokens);
    std::tie(call.cos, call.sin) = rotary.forward(call.positions);
    // The factor is a bfloat16 number whatever the model's dtype.
    const auto factor = static_cast<at::BFloat16>(std::sqrt(static_cast<float>(c.hidden_size)));
    Tensor x = call.x * static_cast<double>(static_cast<float>(factor));
    for (auto& layer : *layers) {
      call.see(x);
      x = layer(x, call);
    }
    return call.finish(final_norm(x));
  }
};

struct RecurrentGemmaForCausalLM : CausalLMHead<RecurrentGemmaPreTrainedModel, RecurrentGemmaModel> {
  using CausalLMHead::CausalLMHead;
  Tensor scores(const Tensor& x) override {
    const double cap = base->c.logits_soft_cap;
    return at::tanh(lm_head(x) / cap) * cap;
  }
};

BACKPLANE_PLUGIN(recurrent_gemma, plugin) {
  plugin.config<RecurrentGemmaConfig>();
  plugin.tokenizer("GemmaTokenizer", "GemmaTokenizerFast");
  plugin.model<RecurrentGemmaModel>(Auto::Model);
  plugin.model<RecurrentGemmaForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::recurrent_gemma
