#pragma once

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/config/pretrained_config.h"
#include "backplane/model/named_values.h"
#include "backplane/nn/layers.h"
#include "backplane/nn/ops.h"
#include "backplane/nn/rotary.h"

namespace backplane {

/// What forward of a decoder-only base model takes.
inline constexpr std::array<std::string_view, 9> kDecoderArguments = {
    "input_ids", "attention_mask", "position_ids",      "past_key_values",     "inputs_embeds",
    "use_cache", "cache_position", "output_attentions", "output_hidden_states"};

/// One call of a decoder-only base model: its inputs made ready, what its layers share, and what they leave behind.
/// Lives in `compute`; the layers get it by reference. Not thread-safe, and needs not be.
class DecoderCall {
 public:
  /// Embeds the ids (or takes inputs_embeds), counts positions, makes a cache where one is wanted and none is given.
  /// Throws `invalid_value` unless there are either input_ids or inputs_embeds.
  DecoderCall(const ModelInputs& inputs, const PretrainedConfig& config, bool use_cache,
              const nn::Embedding& embeddings);

  Tensor x;          // the embeddings, [batch, seq, hidden]
  Tensor positions;  // [batch or 1, seq]
  Tensor cos, sin;   // of rotary positions, where the model has them
  KvCachePtr cache;
  int64_t batch, seq, past;  // past: positions that the cache holds
  Tensor attention_mask;     // as given

  /// Appends k and v [batch, kv_heads, seq, d] to the cache and attends causally from q [batch, heads, seq, d]. A
  /// `window` above 0: each query sees that many positions, its own included, and the cache keeps no more. Sets the
  /// options' mask and implementation. Returns [batch, heads, seq, d of v].
  Tensor attend(size_t layer, const Tensor& q, const Tensor& k, const Tensor& v, AttentionOptions options = {},
                int64_t window = 0);

  /// attention_mask [batch, seq] where it marks padding among the new positions, as 0/1 of x's dtype; else undefined.
  Tensor padding() const;

  /// Notes a layer's input, where hidden states are wanted.
  void see(const Tensor& hidden);
  bool wants_attentions() const { return wants_attentions_; }
  bool wants_router_logits;  // from the arguments; a model sets it by its configuration's default

  /// Closes the step of the cache; the result with `last_hidden_state` and all that was noted.
  ModelOutput finish(const Tensor& last_hidden_state, const char* cache_name = "past_key_values");

  std::vector<Tensor> attentions;
  std::vector<Tensor> router_logits;  // of mixture-of-experts layers, [batch * seq, experts] each

 private:
  const CausalMask& mask(int64_t window, at::ScalarType dtype);

  AttnImplementation implementation_;
  bool wants_attentions_, wants_hidden_states_;
  std::vector<Tensor> hidden_states_;
  std::map<int64_t, CausalMask> masks_;  // by window
};

/// Throws `bad_config` unless num_attention_heads is above 0.
void check_heads(int64_t num_attention_heads);
/// Throws `bad_config` unless both are above 0 and the first is a multiple of the second.
void check_heads(int64_t num_attention_heads, int64_t num_key_value_heads);
/// The same; num_key_value_heads becomes num_attention_heads where it is null.
void settle_heads(int64_t num_attention_heads, std::optional<int64_t>& num_key_value_heads);

inline constexpr const char* kSlidingAttention = "sliding_attention";
inline constexpr const char* kFullAttention = "full_attention";

/// Throws `bad_config` unless there are 0 to 100,000 layers; before anything is made for each of them.
void check_layer_count(int64_t num_hidden_layers);

/// Makes `layer_types` from `slides` where it is null. Throws `bad_config` where there are not as many as layers, or
/// one is neither kSlidingAttention nor kFullAttention.
void settle_layer_types(std::optional<std::vector<std::string>>& layer_types, int64_t num_hidden_layers,
                        const std::function<bool(int64_t)>& slides);

/// Size of a head: `head_dim` where the configuration has one (a key of its own or one that is merely kept) and it is
/// not null, else hidden_size / num_attention_heads. Only after `check_heads`.
template <class Config>
int64_t head_dim_of(const Config& c) {
  std::optional<int64_t> head_dim;
  if constexpr (requires { c.head_dim; }) {
    head_dim = c.head_dim;
  } else if (const Value* kept = c.find_extra("head_dim"); kept && kept->is_int()) {
    head_dim = kept->as_int();
  }
  return head_dim.value_or(c.hidden_size / c.num_attention_heads);
}

/// The rotary embeddings that a configuration describes by rope_theta, max_position_embeddings, rope_scaling (a key of
/// its own or one that is merely kept), partial_rotary_factor and original_max_position_embeddings.
template <class Config>
nn::RotaryOptions rotary_options(const Config& c, int64_t head_dim) {
  nn::RotaryOptions options = {.dim = head_dim,
                               .theta = static_cast<double>(c.rope_theta),
                               .max_position_embeddings = c.max_position_embeddings};
  if constexpr (requires { c.partial_rotary_factor; })
    options.dim = static_cast<int64_t>(static_cast<double>(head_dim) * c.partial_rotary_factor);
  if constexpr (requires { c.original_max_position_embeddings; })
    options.original_max_position_embeddings = c.original_max_position_embeddings;
  if constexpr (requires { c.rope_scaling; }) {
    options.scaling = c.rope_scaling;
  } else if (const Value* scaling = c.find_extra("rope_scaling")) {
    options.scaling = *scaling;
  }
  return options;
}

}  // namespace backplane
