#include "backplane/model/transformer.h"

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

// [heads] or [layers, heads] -> [layers, 1, heads, 1, 1]; five dimensions stay.
Tensor mask_of_heads(Tensor mask, int64_t layers, int64_t heads) {
  if (!mask.defined()) return {};
  if (mask.dim() == 1 && mask.size(0) == heads) mask = mask.expand({layers, heads});
  if (mask.dim() == 2 && mask.size(0) == layers && mask.size(1) == heads) mask = mask.view({layers, 1, heads, 1, 1});
  if (mask.dim() == 5 && mask.size(0) == layers && mask.size(2) == heads && mask.size(3) == 1 && mask.size(4) == 1)
    return mask;
  throw Error(ErrorCode::invalid_value, concat("head_mask has shape ", mask.sizes(), "; give [", heads, "] or [",
                                               layers, ", ", heads, "], 1 where a head counts"));
}

}  // namespace

void check_head_size(int64_t hidden_size, int64_t num_attention_heads) {
  if (num_attention_heads > 0 && hidden_size % num_attention_heads == 0) return;
  throw Error(ErrorCode::bad_config, concat("config.json: hidden_size (", hidden_size,
                                            ") is not divisible by num_attention_heads (", num_attention_heads, ")"));
}

TransformerCall::TransformerCall(const ModelInputs& inputs, const PretrainedConfig& config, const Options& options)
    : encoder(inputs.tensor("encoder_hidden_states")),
      head_mask(mask_of_heads(inputs.tensor("head_mask"), options.layers, options.heads)),
      causal_(options.causal),
      wants_attentions_(inputs.flag("output_attentions", config.output_attentions)),
      wants_hidden_states_(inputs.flag("output_hidden_states", config.output_hidden_states)),
      attention_mask_(inputs.tensor("attention_mask")),
      encoder_attention_mask_(inputs.tensor("encoder_attention_mask")),
      implementation_(config.attn_implementation) {
  const Tensor ids = inputs.tensor("input_ids"), embeds = inputs.tensor("inputs_embeds");
  if (ids.defined() == embeds.defined())
    throw Error(ErrorCode::invalid_value, "give either input_ids or inputs_embeds");
  batch = (ids.defined() ? ids : embeds).size(0);
  seq = (ids.defined() ? ids : embeds).size(1);
  if (causal_) {
    cache = inputs.cache("past_key_values");
    if (!cache && inputs.flag("use_cache", options.use_cache)) cache = std::make_shared<KvCache>();
    if (cache) past = cache->length();
  }
  if (!causal_) encoder.reset();
  if (encoder.defined() && !config.add_cross_attention) {
    throw Error(ErrorCode::invalid_value,
                "encoder_hidden_states need cross-attention layers: set add_cross_attention in the config");
  }
}

void TransformerCall::start(const Tensor& x) {
  const auto dtype = dtype_ = x.scalar_type();
  if (causal_) {
    auto made = decoder_mask(attention_mask_, seq, past, dtype);
    mask_ = made.mask;
    kernel_is_causal_ = made.causal;
  } else {
    mask_ = padding_mask(attention_mask_, dtype);
  }
  if (encoder.defined()) encoder_mask = padding_mask(encoder_attention_mask_, dtype);
  if (head_mask.defined()) head_mask = head_mask.to(dtype);
}

Tensor TransformerCall::additive_mask() const { return kernel_is_causal_ ? causal_mask({}, seq, past, dtype_) : mask_; }

std::pair<Tensor, Tensor> TransformerCall::append(size_t layer, const Tensor& k, const Tensor& v) {
  return cache ? cache->update(layer, k, v) : std::pair(k, v);
}

Tensor TransformerCall::masked_heads(size_t layer, const Tensor& q, const Tensor& k, const Tensor& v,
                                     AttentionOptions& options, std::vector<Tensor>& seen) {
  Tensor probs;
  options.implementation = implementation_;
  if (options.mask.defined()) options.mask = options.mask.to(q.scalar_type());
  if (wants_attentions_) options.probs = &probs;
  Tensor y = attention(q, k, v, options);
  if (head_mask.defined()) {
    const Tensor kept = head_mask[static_cast<int64_t>(layer)];
    y = y * kept;
    if (wants_attentions_) probs = probs * kept;
  }
  if (wants_attentions_) seen.push_back(probs);
  return y;
}

Tensor TransformerCall::attend(size_t layer, const Tensor& q, const Tensor& k, const Tensor& v,
                               AttentionOptions options) {
  options.mask = combine_masks(options.mask, mask_);
  options.causal = kernel_is_causal_;
  return masked_heads(layer, q, k, v, options, attentions);
}

Tensor TransformerCall::attend_encoder(size_t layer, const Tensor& q, const Tensor& k, const Tensor& v,
                                       AttentionOptions options) {
  options.mask = combine_masks(options.mask, encoder_mask);
  return masked_heads(layer, q, k, v, options, cross_attentions);
}

void TransformerCall::see(const Tensor& x) {
  if (wants_hidden_states_) hidden_states_.push_back(x);
}

ModelOutput TransformerCall::finish(const Tensor& last_hidden_state, const Tensor& pooled) {
  if (cache) cache->advance(seq);
  ModelOutput output;
  output.set("last_hidden_state", last_hidden_state);
  output.set("pooler_output", pooled);
  output.set("past_key_values", cache);
  output.set("hidden_states", hidden_states_);
  output.set("attentions", attentions);
  output.set("cross_attentions", cross_attentions);
  return output;
}

}  // namespace backplane
