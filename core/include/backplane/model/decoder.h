#pragma once

#include <array>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "backplane/config/pretrained_config.h"
#include "backplane/model/named_values.h"
#include "backplane/nn/layers.h"
#include "backplane/nn/ops.h"

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

/// Checks num_attention_heads and num_key_value_heads (null: as many) of a config and fills in the latter. Throws
/// `bad_config` unless both are above 0 and the first is a multiple of the second.
void settle_heads(int64_t num_attention_heads, std::optional<int64_t>& num_key_value_heads);
/// Throws `bad_config` unless num_attention_heads is above 0.
void check_heads(int64_t num_attention_heads);

}  // namespace backplane
