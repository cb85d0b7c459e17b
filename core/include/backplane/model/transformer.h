#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "backplane/config/pretrained_config.h"
#include "backplane/model/named_values.h"
#include "backplane/nn/ops.h"

namespace backplane {

/// What forward of an encoder over tokens takes; as a decoder it takes kTransformerArguments.
inline constexpr std::array<std::string_view, 8> kEncoderArguments = {
    "input_ids", "attention_mask", "token_type_ids",       "position_ids",
    "head_mask", "inputs_embeds",  "output_hidden_states", "output_attentions"};
inline constexpr auto kTransformerArguments =
    extend(kEncoderArguments, "encoder_hidden_states", "encoder_attention_mask", "past_key_values", "use_cache");

/// Throws `bad_config` unless `hidden_size` is a multiple of `num_attention_heads`, which is above 0.
void check_head_size(int64_t hidden_size, int64_t num_attention_heads);

/// One call of a stack of layers whose attention may mask heads, look at an encoder's states, or be causal with a
/// cache: encoders, and decoders of their making. Holds what the layers share and takes down what they leave behind.
/// Lives in `compute`; not thread-safe.
class TransformerCall {
 public:
  struct Options {
    int64_t layers, heads;
    bool causal = false;     // positions see no later ones; there may be a cache
    bool use_cache = false;  // make one where the caller has none
  };

  /// Reads batch, seq, cache and the wish for attentions and hidden states; the masks follow with `start`. Throws
  /// `invalid_value` unless there are either input_ids or inputs_embeds, and for a head_mask of another shape.
  TransformerCall(const ModelInputs& inputs, const PretrainedConfig& config, const Options& options);

  int64_t batch, seq, past = 0;  // past: positions that the cache holds
  KvCachePtr cache;
  Tensor encoder, encoder_mask;  // [batch, encoder seq, hidden] and additive [batch, 1, 1, encoder seq], or undefined
  Tensor head_mask;              // [layers, batch or 1, heads, 1, 1], or undefined

  /// Makes the masks, in the dtype of the embeddings x [batch, seq, hidden].
  void start(const Tensor& x);

  /// The mask with the causal part in it, for attention that no kernel knows: additive [batch or 1, 1, 1 or seq, past +
  /// seq], or undefined.
  Tensor additive_mask() const;

  /// Appends k and v [batch, heads, seq, d] to the cache of a layer, if there is one; returns all of them.
  std::pair<Tensor, Tensor> append(size_t layer, const Tensor& k, const Tensor& v);
  /// Keys and values of the encoder's states, made by `project(encoder)`; once a cache.
  template <class Project>
  std::pair<Tensor, Tensor> encoded(size_t layer, Project project) {
    if (!cache) return project(encoder);
    auto& kept = cache->cross(layer);
    if (!kept.first.defined()) kept = project(encoder);
    return kept;
  }

  /// Attention of a layer over the sequence itself, or over the encoder's states. The options' mask is a bias on the
  /// scores, [batch or 1, heads or 1, seq, kv]. q [batch, heads, seq, d] -> [batch, heads, seq, d]
  Tensor attend(size_t layer, const Tensor& q, const Tensor& k, const Tensor& v, AttentionOptions options = {});
  Tensor attend_encoder(size_t layer, const Tensor& q, const Tensor& k, const Tensor& v, AttentionOptions options = {});

  bool wants_attentions() const { return wants_attentions_; }
  /// Takes down the input of a layer, or the last output, where hidden states are wanted.
  void see(const Tensor& x);
  /// Closes the step of the cache; the result, with `pooled` [batch, hidden] where the model has one.
  ModelOutput finish(const Tensor& last_hidden_state, const Tensor& pooled = {});

  std::vector<Tensor> attentions, cross_attentions;

 private:
  Tensor masked_heads(size_t layer, const Tensor& q, const Tensor& k, const Tensor& v, AttentionOptions& options,
                      std::vector<Tensor>& seen);

  bool causal_, kernel_is_causal_ = false, wants_attentions_, wants_hidden_states_;
  Tensor attention_mask_, encoder_attention_mask_, mask_;
  AttnImplementation implementation_;
  at::ScalarType dtype_ = at::kFloat;
  std::vector<Tensor> hidden_states_;
};

}  // namespace backplane
