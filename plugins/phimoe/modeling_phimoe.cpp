// Phi-3.5-MoE: Abdin et al. 2024, https://arxiv.org/abs/2404.14219
// Phi-MoE is Mixtral except: LayerNorm, optional biases in attention and head, SparseMixer routing
// (https://arxiv.org/abs/2409.12136), and rotary positions scaled by numbers of the configuration.
// Reference: transformers, models/phimoe/modeling_phimoe.py

#include "../mixtral/modeling_mixtral.h"
#include "configuration_phimoe.h"

namespace backplane::phimoe {

struct PhimoePreTrainedModel : PreTrainedModel {
  using Config = PhimoeConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

// The best expert by a softmax over those within 2 * jitter of it, then the best of the others likewise. In training
// the reference samples them; here the best are taken, as in evaluation.
static Routing sparse_mixer(const Tensor& scores, double jitter) {
  const double kMinusInfinity = -std::numeric_limits<double>::infinity();
  std::vector<Tensor> weights, experts;
  Tensor left = scores;
  for (int choice = 0; choice < 2; ++choice) {
    const auto [highest, best] = left.max(-1, true);
    const Tensor factor = at::max(scores.abs(), highest);
    const Tensor far = (highest - scores) / factor > 2 * jitter;
    weights.push_back(at::softmax(left.masked_fill(far, kMinusInfinity), -1).gather(-1, best));
    experts.push_back(best);
    left = left.scatter(-1, best, kMinusInfinity);
  }
  return {at::cat(weights, -1), at::cat(experts, -1)};
}

struct PhimoeSparseMoeBlockImpl : nn::Module {
  double router_jitter, input_jitter;
  nn::Linear gate;
  nn::Layers<mixtral::MixtralBlockSparseTop2MLP> experts;

  explicit PhimoeSparseMoeBlockImpl(const PhimoeConfig& c)
      : router_jitter(c.router_jitter_noise),
        input_jitter(c.input_jitter_noise),
        gate(register_module("gate", nn::Linear(c.hidden_size, c.num_local_experts, false))),
        experts(register_module(
            "experts", nn::Layers<mixtral::MixtralBlockSparseTop2MLP>(
                           c.num_local_experts, [&](int64_t) { return mixtral::MixtralBlockSparseTop2MLP(c); }))) {}

  // x [batch, seq, hidden] -> its shape
  Tensor forward(Tensor x, DecoderCall& call) {
    if (is_training() && input_jitter > 0) x = x * at::empty_like(x).uniform_(1 - input_jitter, 1 + input_jitter);
    const Tensor tokens = x.reshape({-1, x.size(-1)}), router_logits = gate(tokens);
    call.router_logits.push_back(router_logits);
    return mix_experts(tokens, sparse_mixer(router_logits, router_jitter), router_logits.size(1),
                       [&](int64_t i, const Tensor& rows) { return (*experts)[static_cast<size_t>(i)](rows); })
        .view_as(x);
  }
};
TORCH_MODULE(PhimoeSparseMoeBlock);

struct PhimoeDecoderLayerImpl : nn::Module {
  mistral::MistralAttention self_attn;
  PhimoeSparseMoeBlock block_sparse_moe;
  nn::LayerNorm input_layernorm, post_attention_layernorm;

  PhimoeDecoderLayerImpl(const PhimoeConfig& c, size_t layer)
      : self_attn(register_module("self_attn", mistral::MistralAttention(c, layer))),
        block_sparse_moe(register_module("block_sparse_moe", PhimoeSparseMoeBlock(c))),
        input_layernorm(register_module("input_layernorm", nn::LayerNorm(c.hidden_size, c.rms_norm_eps))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", nn::LayerNorm(c.hidden_size, c.rms_norm_eps))) {}

  Tensor forward(Tensor x, DecoderCall& call) {
    x = x + self_attn(input_layernorm(x), call);
    return x + block_sparse_moe(post_attention_layernorm(x), call);
  }
};
TORCH_MODULE(PhimoeDecoderLayer);

struct PhimoeModel : PhimoePreTrainedModel {
  const PhimoeConfig& c;
  nn::RotaryEmbedding rotary;
  nn::Embedding embed_tokens;
  nn::Layers<PhimoeDecoderLayer> layers;
  nn::LayerNorm norm;

  explicit PhimoeModel(const PhimoeConfig& config)
      : PhimoePreTrainedModel(config),
        c(config),
        rotary(rotary_of(c)),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        layers(register_module(
            "layers",
            nn::Layers<PhimoeDecoderLayer>(c.num_hidden_layers,
                                           [&](int64_t i) { return PhimoeDecoderLayer(c, static_cast<size_t>(i)); }))),
        norm(register_module("norm", nn::LayerNorm(c.hidden_size, c.rms_norm_eps))) {}

  nn::Embedding get_input_embeddings() override { return embed_tokens; }
  std::span<const std::string_view> arguments() const override { return kMoeDecoderArguments; }

  // With rope_scaling, short_mscale and long_mscale stand for what the type itself would scale by.
  static nn::RotaryOptions rotary_of(const PhimoeConfig& c) {
    nn::RotaryOptions options = rotary_options(c, head_dim_of(c));
    if (!c.rope_scaling.is_object()) return options;
    options.original_max_position_embeddings = c.original_length();
    Value::Object scaling = c.rope_scaling.as_object();
    set(scaling, "attention_factor", 1.0);
    options.scaling = scaling;
    return options;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    DecoderCall call(inputs, c, c.use_cache, embed_tokens);
    call.wants_router_logits = inputs.flag("output_router_logits", c.output_router_logits);
    std::tie(call.cos, call.sin) = rotary.forward(call.positions);
    if (c.rope_scaling.is_object()) {
      const bool is_long = call.past + call.seq > c.original_length().value_or(c.max_position_embeddings);
      const double scale = c.rope_scaling.number_or(is_long ? "long_mscale" : "short_mscale", 1);
      call.cos = call.cos * scale;
      call.sin = call.sin * scale;
    }
    Tensor x = call.x;
    for (auto& layer : *layers) {
      call.see(x);
      x = layer(x, call);
    }
    return call.finish(norm(x));
  }
};

struct PhimoeForCausalLM : MoeCausalLMHead<PhimoePreTrainedModel, PhimoeModel> {
  explicit PhimoeForCausalLM(const PhimoeConfig& c) : MoeCausalLMHead(c, {.with_bias = c.lm_head_bias}) {}
};
struct PhimoeForSequenceClassification : SequenceClassificationHead<PhimoePreTrainedModel, PhimoeModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};

BACKPLANE_PLUGIN(phimoe, plugin) {
  plugin.config<PhimoeConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.model<PhimoeModel>(Auto::Model);
  plugin.model<PhimoeForCausalLM>(Auto::ForCausalLM);
  plugin.model<PhimoeForSequenceClassification>(Auto::ForSequenceClassification);
}

}  // namespace backplane::phimoe
