// The encoder of DINOv2 and what its classes compute, over embeddings that may hold registers between the class token
// and the patches. Oquab et al. 2023, https://arxiv.org/abs/2304.07193
#pragma once

#include "../vit/modeling_vit.h"
#include "configuration_dinov2.h"

namespace backplane::dinov2 {

struct Dinov2LayerScaleImpl : nn::Module {
  Tensor lambda1;

  explicit Dinov2LayerScaleImpl(int64_t size) : lambda1(register_parameter("lambda1", nn::parameter({size}))) {}

  Tensor forward(const Tensor& x) { return x * lambda1; }
};
TORCH_MODULE(Dinov2LayerScale);

// Two linear maps, or a gated one (Shazeer 2020, https://arxiv.org/abs/2002.05202).
struct Dinov2MLPImpl : nn::Module {
  nn::Linear fc1{nullptr}, fc2{nullptr}, weights_in{nullptr}, weights_out{nullptr};
  Activation act;

  explicit Dinov2MLPImpl(const Dinov2EncoderConfig& c) : act(activation(c.hidden_act)) {
    const auto wide = static_cast<int64_t>(static_cast<double>(c.hidden_size) * c.mlp_ratio);
    if (c.use_swiglu_ffn) {
      const int64_t gated = (static_cast<int64_t>(static_cast<double>(wide) * 2 / 3) + 7) / 8 * 8;
      weights_in = register_module("weights_in", nn::Linear(c.hidden_size, 2 * gated));
      weights_out = register_module("weights_out", nn::Linear(gated, c.hidden_size));
    } else {
      fc1 = register_module("fc1", nn::Linear(c.hidden_size, wide));
      fc2 = register_module("fc2", nn::Linear(wide, c.hidden_size));
    }
  }

  Tensor forward(const Tensor& x) {
    if (fc1) return fc2(act(fc1(x)));
    const auto halves = weights_in(x).chunk(2, -1);
    return weights_out(at::silu(halves[0]) * halves[1]);
  }
};
TORCH_MODULE(Dinov2MLP);

struct Dinov2LayerImpl : nn::Module {
  nn::LayerNorm norm1, norm2;
  vit::ViTAttention attention;
  Dinov2LayerScale layer_scale1, layer_scale2;
  nn::DropPath drop_path;
  Dinov2MLP mlp;

  explicit Dinov2LayerImpl(const Dinov2EncoderConfig& c)
      : norm1(register_module("norm1", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        norm2(register_module("norm2", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        attention(register_module("attention", vit::ViTAttention(c))),
        layer_scale1(register_module("layer_scale1", Dinov2LayerScale(c.hidden_size))),
        layer_scale2(register_module("layer_scale2", Dinov2LayerScale(c.hidden_size))),
        drop_path(register_module("drop_path", nn::DropPath(c.drop_path_rate))),
        mlp(register_module("mlp", Dinov2MLP(c))) {}

  Tensor forward(Tensor x, const Tensor& head_mask, Trace& trace) {
    x = x + drop_path(layer_scale1(attention(norm1(x), head_mask, trace)));
    return x + drop_path(layer_scale2(mlp(norm2(x))));
  }
};
TORCH_MODULE(Dinov2Layer);

using Dinov2EncoderImpl = vit::ViTEncoderOfImpl<Dinov2Layer>;
TORCH_MODULE(Dinov2Encoder);

constexpr std::array<std::string_view, 4> kImageArguments = {"pixel_values", "head_mask", "output_hidden_states",
                                                             "output_attentions"};

inline ModelOutput dinov2_model(const Tensor& embedded, const ModelInputs& inputs, const Dinov2EncoderConfig& c,
                                Dinov2Encoder& encoder, nn::LayerNorm& layernorm) {
  Trace trace(inputs, c);
  const Tensor x = layernorm(encoder(embedded, inputs.tensor("head_mask"), trace));
  ModelOutput output;
  output.set("last_hidden_state", x);
  output.set("pooler_output", x.select(1, 0));
  trace.write(output);
  return output;
}

// The class token beside the mean of the patches; `prefix` tokens are none.
inline Tensor dinov2_summary(const Tensor& x, int64_t prefix) {
  return at::cat({x.select(1, 0), x.slice(1, prefix).mean(1)}, 1);
}

inline ModelOutput dinov2_backbone(const Tensor& embedded, const ModelInputs& inputs, const Dinov2EncoderConfig& c,
                                   int64_t prefix, Dinov2Encoder& encoder, nn::LayerNorm& layernorm) {
  Trace trace(inputs, c), all(inputs, c);
  all.keeps_hidden_states = true;
  encoder(embedded, Tensor(), all);
  trace.attentions = all.attentions;
  const Size2 patch = size_of(c.patch_size, "patch_size");
  const Tensor pixels = inputs["pixel_values"];
  return backbone_output(c, all.hidden_states, trace, [&](size_t, Tensor x) {
    if (c.apply_layernorm) x = layernorm(x);
    if (!c.reshape_hidden_states) return x;
    return tokens_to_map(x.slice(1, prefix), {pixels.size(2) / patch[0], pixels.size(3) / patch[1]});
  });
}

}  // namespace backplane::dinov2
