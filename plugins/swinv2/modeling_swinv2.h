// The layer of Swin V2, which Swin2SR shares: Liu et al. 2021, https://arxiv.org/abs/2111.09883
#pragma once

#include "../swin/modeling_swin.h"

namespace backplane::swinv2 {

// Scaled cosine attention with positions that a small network makes from log-spaced offsets.
struct Swinv2SelfAttentionImpl : nn::Module {
  int64_t heads;
  Size2 window;
  double dropout;
  AttnImplementation implementation;
  Tensor logit_scale, offsets, index;
  nn::Sequence continuous_position_bias_mlp;
  nn::Linear query, key, value;

  template <class Config>
  Swinv2SelfAttentionImpl(const Config& c, int64_t dim, int64_t heads, Size2 window, int64_t pretrained_window)
      : heads(heads),
        window(window),
        dropout(c.attention_probs_dropout_prob),
        implementation(c.attn_implementation),
        logit_scale(register_parameter("logit_scale", nn::parameter({heads, 1, 1}))),
        offsets(log_offsets(window, pretrained_window)),
        index(relative_position_index(window).view({-1})),
        continuous_position_bias_mlp(
            register_module("continuous_position_bias_mlp",
                            nn::Sequence(nn::Linear(2, 512), activation("relu"), nn::Linear(512, heads, false)))),
        query(register_module("query", nn::Linear(dim, dim, c.qkv_bias))),
        key(register_module("key", nn::Linear(dim, dim, false))),
        value(register_module("value", nn::Linear(dim, dim, c.qkv_bias))) {}

  // [(2 h - 1) * (2 w - 1), 2]
  static Tensor log_offsets(Size2 window, int64_t pretrained_window) {
    const auto spread = [&](int64_t size) {
      Tensor offset = at::arange(1 - size, size, at::kFloat);
      if (pretrained_window > 0) {
        offset = offset / static_cast<double>(pretrained_window - 1);
      } else if (size > 1) {
        offset = offset / static_cast<double>(size - 1);
      }
      offset = offset * 8;
      return at::sign(offset) * at::log2(at::abs(offset) + 1) / 3;
    };
    const Tensor y = spread(window[0]), x = spread(window[1]);
    return at::stack({y.unsqueeze(1).expand({-1, x.size(0)}), x.unsqueeze(0).expand({y.size(0), -1})}, -1)
        .view({-1, 2});
  }

  // x [batch * windows, places, dim], mask [windows, places, places] or undefined -> x's shape
  Tensor forward(const Tensor& x, const Tensor& mask, Trace& trace) {
    const int64_t places = x.size(1);
    const auto unit = [](const Tensor& v) { return v / v.norm(2, {-1}, true).clamp_min(1e-12); };
    const Tensor table = continuous_position_bias_mlp(offsets.to(x.scalar_type()));
    Tensor bias = 16 * at::sigmoid(table.index_select(0, index).view({places, places, heads}).permute({2, 0, 1}));
    bias = bias.unsqueeze(0);
    if (mask.defined()) {
      // The reference adds the mask twice.
      bias = bias + 2 * mask.unsqueeze(1);
      bias = bias.repeat({x.size(0) / mask.size(0), 1, 1, 1});
    }
    const Tensor scale = logit_scale.clamp_max(std::log(100.0)).exp();
    return merge_heads(attention(unit(split_heads(query(x), heads)) * scale, unit(split_heads(key(x), heads)),
                                 split_heads(value(x), heads),
                                 {.mask = bias,
                                  .scale = 1,
                                  .dropout = is_training() ? dropout : 0,
                                  .implementation = implementation,
                                  .probs = trace.next_attention()}));
  }
};
TORCH_MODULE(Swinv2SelfAttention);

struct Swinv2AttentionImpl : nn::Module {
  Swinv2SelfAttention self;
  swin::SwinOutput output;

  template <class Config>
  Swinv2AttentionImpl(const Config& c, int64_t dim, int64_t heads, Size2 window, int64_t pretrained_window)
      : self(register_module("self", Swinv2SelfAttention(c, dim, heads, window, pretrained_window))),
        output(register_module("output", swin::SwinOutput(dim, dim, c.attention_probs_dropout_prob))) {}

  Tensor forward(const Tensor& x, const Tensor& mask, Trace& trace) { return output(self(x, mask, trace)); }
};
TORCH_MODULE(Swinv2Attention);

// Norms stand behind attention and feed-forward part. Window and shift follow from the config's resolution.
struct Swinv2LayerImpl : nn::Module {
  int64_t window, shift;
  nn::LayerNorm layernorm_before, layernorm_after;
  Swinv2Attention attention;
  nn::DropPath drop_path;
  swin::SwinIntermediate intermediate;
  swin::SwinOutput output;

  template <class Config>
  Swinv2LayerImpl(const Config& c, int64_t dim, int64_t heads, Size2 resolution, double drop, bool shifted,
                  int64_t pretrained_window)
      : window(std::min(c.window_size, resolution[0])),
        shift(shifted && resolution[0] > window ? c.window_size / 2 : 0),
        layernorm_before(register_module("layernorm_before", nn::LayerNorm(dim, c.layer_norm_eps))),
        layernorm_after(register_module("layernorm_after", nn::LayerNorm(dim, c.layer_norm_eps))),
        attention(
            register_module("attention", Swinv2Attention(c, dim, heads, Size2{window, window}, pretrained_window))),
        drop_path(register_module("drop_path", nn::DropPath(drop))),
        intermediate(
            register_module("intermediate", swin::SwinIntermediate(dim, scaled(dim, c.mlp_ratio), c.hidden_act))),
        output(register_module("output", swin::SwinOutput(scaled(dim, c.mlp_ratio), dim, c.hidden_dropout_prob))) {}

  static int64_t scaled(int64_t dim, double ratio) { return static_cast<int64_t>(static_cast<double>(dim) * ratio); }

  // x [batch, height * width, dim] -> the same
  Tensor forward(const Tensor& x, Size2 size, bool, Trace& trace) {
    const Size2 padded = {(size[0] + window - 1) / window * window, (size[1] + window - 1) / window * window};
    Tensor h = x.view({x.size(0), size[0], size[1], x.size(2)});
    if (padded != size) h = at::constant_pad_nd(h, {0, 0, 0, padded[1] - size[1], 0, padded[0] - size[0]});
    Tensor mask;
    if (shift > 0) {
      h = at::roll(h, {-shift, -shift}, {1, 2});
      mask = shifted_window_mask(padded, {window, window}, {shift, shift}, x.scalar_type());
    }
    h = window_reverse(attention(window_partition(h, {window, window}), mask, trace), {window, window}, padded);
    if (shift > 0) h = at::roll(h, {shift, shift}, {1, 2});
    h = h.slice(1, 0, size[0]).slice(2, 0, size[1]).reshape(x.sizes());
    h = x + drop_path(layernorm_before(h));
    return h + drop_path(layernorm_after(output(intermediate(h))));
  }
};
TORCH_MODULE(Swinv2Layer);

}  // namespace backplane::swinv2
