#pragma once

// The language model of Qwen2-VL: LLaMA's layers with biases on queries, keys and values, sliding windows where the
// config has them, and rotary positions in three directions.

#include "../llama/modeling_llama.h"
#include "modeling_qwen2_vl.h"

namespace backplane::qwen2_vl {

struct Qwen2VLAttentionImpl : llama::LlamaAttentionImpl {
  template <class Config>
  Qwen2VLAttentionImpl(const Config& c, size_t layer)
      : LlamaAttentionImpl(llama::AttentionShape{.hidden_size = c.hidden_size,
                                                 .heads = c.num_attention_heads,
                                                 .kv_heads = *c.num_key_value_heads,
                                                 .head_dim = c.head_size(),
                                                 .qkv_bias = true,
                                                 .dropout = c.attention_dropout,
                                                 .window = c.window(layer)},
                           layer) {}
};
TORCH_MODULE(Qwen2VLAttention);

template <class C>
struct TextModel : PreTrainedModel {
  using Config = C;
  using Layer = llama::LlamaDecoderLayer<Qwen2VLAttention, nn::GatedMlp>;

  const C& c;
  nn::RotaryEmbedding rotary;
  nn::Embedding embed_tokens;
  nn::Layers<Layer> layers;
  nn::RMSNorm norm;

  explicit TextModel(const C& config)
      : PreTrainedModel(config),
        c(config),
        rotary({.dim = c.head_size(),
                .theta = c.rope_theta,
                .max_position_embeddings = c.max_position_embeddings,
                .scaling = c.rope_scaling}),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        layers(register_module(
            "layers",
            nn::Layers<Layer>(c.num_hidden_layers, [&](int64_t i) { return Layer(c, static_cast<size_t>(i)); }))),
        norm(register_module("norm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
  nn::Embedding get_input_embeddings() override { return embed_tokens; }
  std::span<const std::string_view> arguments() const override { return kDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    ModelInputs rest = inputs;
    rest.set("position_ids", {});
    DecoderCall call(rest, c, c.use_cache, embed_tokens);
    const auto [cos, sin] = rotary_of(rotary, three_directions(inputs, call));
    call.cos = sections(cos, c.rope_scaling);
    call.sin = sections(sin, c.rope_scaling);
    Tensor x = call.x;
    for (auto& layer : *layers) {
      call.see(x);
      x = layer(x, call);
    }
    return call.finish(norm(x));
  }
};

}  // namespace backplane::qwen2_vl
