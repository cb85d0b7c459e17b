#include "backplane/model/decoder.h"

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

// Positions that do not count on begin another sequence of a packed row: additive [batch, 1, seq, seq] that keeps the
// sequences apart, or undefined where there is one only.
Tensor packing_mask(const Tensor& positions, at::ScalarType dtype) {
  if (positions.size(1) < 2) return {};
  const Tensor starts = positions.diff(1, -1) != 1;
  if (!starts.any().item<bool>()) return {};
  const Tensor sequence = at::constant_pad_nd(starts.to(at::kLong), {1, 0}).cumsum(-1);  // [batch, seq]
  return lowest_where(sequence.unsqueeze(2) != sequence.unsqueeze(1), dtype).unsqueeze(1);
}

// The key, among masks by window, of a mask for every window.
constexpr int64_t kAnyWindow = -1;

}  // namespace

DecoderCall::DecoderCall(const ModelInputs& inputs, const PretrainedConfig& config, bool use_cache,
                         const nn::Embedding& embeddings)
    : x(inputs.tensor("inputs_embeds")),
      positions(inputs.tensor("position_ids")),
      cache(inputs.cache("past_key_values")),
      wants_router_logits(inputs.flag("output_router_logits", false)),
      implementation_(config.attn_implementation),
      wants_attentions_(inputs.flag("output_attentions", config.output_attentions)),
      wants_hidden_states_(inputs.flag("output_hidden_states", config.output_hidden_states)) {
  // Or two ready-made masks: of layers that see all, and of those with a window.
  const Argument* mask = inputs.find("attention_mask");
  if (const auto* masks = mask ? std::get_if<std::vector<Tensor>>(mask) : nullptr; masks && masks->size() == 2) {
    masks_[0].mask = attention_mask = masks->front();
    masks_[kAnyWindow].mask = masks->back();
  } else {
    attention_mask = inputs.tensor("attention_mask");
  }
  const Tensor ids = inputs.tensor("input_ids");
  if (ids.defined() == x.defined()) throw Error(ErrorCode::invalid_value, "give either input_ids or inputs_embeds");
  if (ids.defined()) x = embeddings->forward(ids);
  batch = x.size(0);
  seq = x.size(1);
  if (!cache && inputs.flag("use_cache", use_cache)) cache = std::make_shared<KvCache>();
  past = cache ? cache->length() : 0;
  if (positions.defined()) {
    if (!cache && !attention_mask.defined()) attention_mask = packing_mask(positions, x.scalar_type());
    if (attention_mask.defined() && attention_mask.dim() == 4 && !inputs.contains("attention_mask"))
      attention_mask = combine_masks(causal_mask({}, seq, 0, x.scalar_type()), attention_mask);
  } else {
    positions = at::arange(past, past + seq, at::kLong).unsqueeze(0);
  }
}

const CausalMask& DecoderCall::mask(int64_t window, at::ScalarType dtype) {
  if (const auto given = masks_.find(kAnyWindow); window > 0 && given != masks_.end()) return given->second;
  auto [entry, is_new] = masks_.try_emplace(window);
  if (is_new) entry->second = decoder_mask(attention_mask, seq, past, dtype, window);
  return entry->second;
}

Tensor DecoderCall::attend(size_t layer, const Tensor& q, const Tensor& k, const Tensor& v, AttentionOptions options,
                           int64_t window) {
  const auto& [additive, causal] = mask(window, q.scalar_type());
  const auto [keys, values] = cache ? cache->update(layer, k, v, window) : std::pair(k, v);
  Tensor probs;
  options.mask = additive;
  options.causal = causal;
  options.implementation = implementation_;
  if (wants_attentions_) options.probs = &probs;
  const Tensor y = attention(q, keys, values, options);
  if (wants_attentions_) attentions.push_back(probs);
  return y;
}

Tensor DecoderCall::padding() const {
  if (!attention_mask.defined() || attention_mask.dim() != 2) return {};
  const Tensor now = attention_mask.slice(1, std::max<int64_t>(attention_mask.size(1) - seq, 0));
  if (now.min().item<double>() >= 1) return {};
  return now.to(x.scalar_type());
}

void DecoderCall::see(const Tensor& hidden) {
  if (wants_hidden_states_) hidden_states_.push_back(hidden);
}

ModelOutput DecoderCall::finish(const Tensor& last_hidden_state, const char* cache_name) {
  see(last_hidden_state);
  if (cache) cache->advance(seq);
  ModelOutput output;
  output.set("last_hidden_state", last_hidden_state);
  output.set(cache_name, cache);
  output.set("hidden_states", hidden_states_);
  output.set("attentions", attentions);
  if (wants_router_logits) output.set("router_logits", router_logits);
  return output;
}

void check_heads(int64_t num_attention_heads) {
  if (num_attention_heads <= 0)
    throw Error(ErrorCode::bad_config, concat("config.json: num_attention_heads is ", num_attention_heads));
}

void check_heads(int64_t num_attention_heads, int64_t num_key_value_heads) {
  check_heads(num_attention_heads);
  if (num_key_value_heads <= 0 || num_attention_heads % num_key_value_heads != 0) {
    throw Error(ErrorCode::bad_config, concat("config.json: num_attention_heads (", num_attention_heads,
                                              ") is not divisible by num_key_value_heads (", num_key_value_heads, ")"));
  }
}

void settle_heads(int64_t num_attention_heads, std::optional<int64_t>& num_key_value_heads) {
  num_key_value_heads = num_key_value_heads.value_or(num_attention_heads);
  check_heads(num_attention_heads, *num_key_value_heads);
}

void check_layer_count(int64_t num_hidden_layers) {
  if (num_hidden_layers < 0 || num_hidden_layers > 100'000)
    throw Error(ErrorCode::bad_config, concat("config.json: num_hidden_layers is ", num_hidden_layers));
}

void settle_layer_types(std::optional<std::vector<std::string>>& layer_types, int64_t num_hidden_layers,
                        const std::function<bool(int64_t)>& slides) {
  check_layer_count(num_hidden_layers);
  if (!layer_types) {
    layer_types.emplace();
    for (int64_t i = 0; i < num_hidden_layers; ++i)
      layer_types->push_back(slides(i) ? kSlidingAttention : kFullAttention);
  }
  if (static_cast<int64_t>(layer_types->size()) < num_hidden_layers) {
    throw Error(ErrorCode::bad_config, concat("config.json: layer_types has ", layer_types->size(), " entries for ",
                                              num_hidden_layers, " layers"));
  }
  for (const auto& type : *layer_types) {
    if (type != kSlidingAttention && type != kFullAttention) {
      throw Error(ErrorCode::bad_config, concat("config.json: layer_types holds '", type, "'; expected '",
                                                kSlidingAttention, "' or '", kFullAttention, "'"));
    }
  }
}

}  // namespace backplane
