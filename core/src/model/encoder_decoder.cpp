#include "backplane/model/encoder_decoder.h"

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {

ModelOutput run_encoder(PreTrainedModel& encoder, const ModelInputs& inputs) {
  if (const Argument* given = inputs.find("encoder_outputs")) {
    if (const auto* states = std::get_if<Tensor>(given)) return {{"last_hidden_state", *states}};
    return {{"last_hidden_state", inputs.tuple("encoder_outputs").front()}};
  }
  return encoder.forward(inputs.select(encoder.arguments()));
}

ModelInputs decoder_inputs(const ModelInputs& inputs, const Tensor& states, const Tensor& mask) {
  ModelInputs mine;
  for (const auto& [name, value] : inputs) {
    if (name.starts_with("decoder_")) mine.set(name.substr(std::string_view("decoder_").size()), value);
  }
  for (const char* name : {"cross_attn_head_mask", "past_key_values", "use_cache", "output_attentions",
                           "output_hidden_states", "cache_position"}) {
    if (const Argument* value = inputs.find(name)) mine.set(name, *value);
  }
  mine.set("encoder_hidden_states", states);
  mine.set("encoder_attention_mask", mask);
  return mine;
}

ModelOutput encoder_decoder_output(const ModelOutput& encoder, const ModelOutput& decoder) {
  ModelOutput output;
  const auto take = [&](const ModelOutput& from, const char* name, const char* as) {
    if (const Argument* value = from.find(name)) output.set(as, *value);
  };
  take(decoder, "last_hidden_state", "last_hidden_state");
  take(decoder, "past_key_values", "past_key_values");
  take(decoder, "hidden_states", "decoder_hidden_states");
  take(decoder, "attentions", "decoder_attentions");
  take(decoder, "cross_attentions", "cross_attentions");
  take(encoder, "last_hidden_state", "encoder_last_hidden_state");
  take(encoder, "hidden_states", "encoder_hidden_states");
  take(encoder, "attentions", "encoder_attentions");
  return output;
}

Tensor shift_right(const Tensor& ids, std::optional<int64_t> pad, std::optional<int64_t> start) {
  if (!pad) throw Error(ErrorCode::bad_config, "config.json: pad_token_id is not set; labels can't be shifted without");
  if (!start)
    throw Error(ErrorCode::bad_config, "config.json: decoder_start_token_id is not set; give decoder_input_ids");
  const Tensor first = at::full({ids.size(0), 1}, *start, ids.options());
  const Tensor shifted = at::cat({first, ids.slice(1, 0, -1)}, 1);
  return shifted.masked_fill(shifted == -100, *pad);
}

Tensor last_eos_state(const Tensor& x, const Tensor& ids, const PretrainedConfig& config) {
  if (!config.eos_token_id.is_int()) throw Error(ErrorCode::bad_config, "config.json: eos_token_id is not a number");
  const int64_t eos = config.eos_token_id.as_int();
  const Tensor is_eos = ids == eos;
  const Tensor counts = is_eos.sum(1);
  if (counts.min().item<int64_t>() != counts.max().item<int64_t>() || counts.min().item<int64_t>() == 0) {
    throw Error(ErrorCode::invalid_value,
                concat("every sequence needs the same number of end tokens (", eos, "), at least one"));
  }
  const Tensor last = ids.size(1) - 1 - is_eos.flip(1).to(at::kInt).argmax(1);
  return x.index({at::arange(x.size(0)), last});
}

}  // namespace backplane
