#pragma once

// mBART's pre-norm layers, which its siblings share.

#include "../bart/modeling_bart.h"

namespace backplane::mbart {

using namespace bart;

struct MBartEncoderLayerImpl : BartEncoderLayerImpl {
  using BartEncoderLayerImpl::BartEncoderLayerImpl;

  Tensor forward(Tensor x, const Pass& pass) {
    x = x + dropout(self_attn(self_attn_layer_norm(x), pass));
    x = x + dropout(fc2(activation_dropout(act(fc1(final_layer_norm(x))))));
    return clamp_half(x);
  }
};
TORCH_MODULE(MBartEncoderLayer);

struct MBartDecoderLayerImpl : BartDecoderLayerImpl {
  using BartDecoderLayerImpl::BartDecoderLayerImpl;

  Tensor forward(Tensor x, const Pass& pass) {
    x = x + dropout(self_attn(self_attn_layer_norm(x), pass));
    if (pass.encoder.defined()) x = x + dropout(encoder_attn(encoder_attn_layer_norm(x), pass));
    return x + dropout(fc2(activation_dropout(act(fc1(final_layer_norm(x))))));
  }
};
TORCH_MODULE(MBartDecoderLayer);

// Ids [batch, seq] one to the right, the last that is no padding (the language) in front.
inline Tensor wrap_right(const Tensor& ids, std::optional<int64_t> pad) {
  if (!pad) throw Error(ErrorCode::bad_config, "config.json: pad_token_id is not set; ids can't be shifted without");
  const Tensor clean = ids.masked_fill(ids == -100, *pad);
  const Tensor last = ((clean != *pad).sum(1, true) - 1).clamp_min(0);
  return at::cat({clean.gather(1, last), clean.slice(1, 0, -1)}, 1);
}

}  // namespace backplane::mbart
