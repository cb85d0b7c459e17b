#pragma once

#include <optional>

#include "backplane/model/pretrained_model.h"

// What all models of an encoder and a decoder share: the names of their arguments and how the parts get them.
namespace backplane {

inline constexpr std::array<std::string_view, 6> kTextEncoderArguments = {
    "input_ids", "attention_mask", "head_mask", "inputs_embeds", "output_attentions", "output_hidden_states"};

inline constexpr std::array<std::string_view, 12> kTextDecoderArguments = {
    "input_ids", "attention_mask",       "encoder_hidden_states", "encoder_attention_mask",
    "head_mask", "cross_attn_head_mask", "past_key_values",       "inputs_embeds",
    "use_cache", "output_attentions",    "output_hidden_states",  "cache_position"};

inline constexpr std::array<std::string_view, 15> kEncoderDecoderArguments = {
    "input_ids",         "attention_mask",       "decoder_input_ids",     "decoder_attention_mask",
    "head_mask",         "decoder_head_mask",    "cross_attn_head_mask",  "encoder_outputs",
    "past_key_values",   "inputs_embeds",        "decoder_inputs_embeds", "use_cache",
    "output_attentions", "output_hidden_states", "cache_position"};

/// The encoder's result: `encoder_outputs` where the call has them (last hidden state, then hidden states and
/// attentions, which may be absent), or the encoder run on those of the arguments that it knows.
ModelOutput run_encoder(PreTrainedModel& encoder, const ModelInputs& inputs);

/// The decoder's own arguments out of a call of the whole model: "decoder_input_ids" becomes "input_ids" and so on;
/// the encoder's states and the mask over them are `states` [batch, seq, hidden] and `mask` [batch, seq] (may be
/// undefined).
ModelInputs decoder_inputs(const ModelInputs& inputs, const Tensor& states, const Tensor& mask);

/// The fields of the reference's Seq2SeqModelOutput out of the two parts' results.
ModelOutput encoder_decoder_output(const ModelOutput& encoder, const ModelOutput& decoder);

/// Ids [batch, seq] one to the right behind `start`; -100 becomes `pad`. Throws `bad_config` where either is not set.
Tensor shift_right(const Tensor& ids, std::optional<int64_t> pad, std::optional<int64_t> start);

/// Each row's state out of x [batch, seq, d] at its last end token (config's eos_token_id) in ids [batch, seq]: [batch,
/// d]. Throws `invalid_value` where the rows do not have equally many of them, or none.
Tensor last_eos_state(const Tensor& x, const Tensor& ids, const PretrainedConfig& config);

}  // namespace backplane
