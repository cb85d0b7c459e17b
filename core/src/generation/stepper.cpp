#include "generation/stepper.h"

#include <algorithm>

#include "backplane/base/error.h"

namespace backplane {
namespace {

// Positions count from the first token that is no padding.
Tensor positions_of(const Tensor& attention_mask) {
  return (attention_mask.to(at::kLong).cumsum(-1) - 1).masked_fill(attention_mask == 0, 1);
}

Tensor with_column(const Tensor& table, const Tensor& column) { return at::cat({table, column}, 1); }

// What an encoder has read.
bool is_read(std::string_view name) {
  return name.starts_with("pixel_") || name.starts_with("image_") || name.starts_with("video_") ||
         name.starts_with("input_features") || name == "input_values" || name == "input_ids" || name == "inputs_embeds";
}

}  // namespace

bool takes(const PreTrainedModel& model, std::string_view name) {
  const auto names = model.arguments();
  return std::find(names.begin(), names.end(), name) != names.end();
}

Stepper::Stepper(PreTrainedModel& model, ModelInputs inputs, bool use_cache, int64_t room)
    : model_(model),
      inputs_(std::move(inputs)),
      use_cache_(use_cache),
      has_encoder_(takes(model, "decoder_input_ids")) {
  ids_ = has_encoder_ ? "decoder_input_ids" : "input_ids";
  mask_ = has_encoder_ ? "decoder_attention_mask" : "attention_mask";
  positions_ = has_encoder_ ? "decoder_position_ids" : "position_ids";
  const Tensor mask = inputs_.tensor(mask_);
  if (mask.defined() && mask.dim() == 2 && mask.min().item<double>() == 0) attention_mask_ = mask;
  token_types_ = inputs_.tensor("token_type_ids");
  if (!has_encoder_ && inputs_.contains("inputs_embeds")) embedded_ = inputs_["inputs_embeds"].size(1);
  for (const char* name : {"past_key_values", "cache_params", "state"}) {
    if (cache_name_.empty() && takes(model, name)) cache_name_ = name;
  }
  if (use_cache && !cache_name_.empty()) cache_ = std::make_shared<KvCache>(room);
}

Tensor Stepper::next(const Tensor& sequences) {
  // A model that fills no cache gets the whole sequence again.
  const int64_t past = cache_ ? cache_->length() : 0;
  const int64_t seen = std::max<int64_t>(past - embedded_, 0);
  ModelInputs call = inputs_;
  call.set(ids_, seen < sequences.size(1) ? sequences.slice(1, seen) : Tensor());
  call.set(mask_, attention_mask_);
  if (attention_mask_.defined() && takes(model_, positions_))
    call.set(positions_, positions_of(attention_mask_).slice(1, past));
  if (token_types_.defined()) call.set("token_type_ids", token_types_.slice(1, past));
  if (takes(model_, "logits_to_keep")) call.set("logits_to_keep", int64_t{1});
  if (cache_) call.set(cache_name_, cache_);
  if (!use_cache_ && takes(model_, "use_cache")) call.set("use_cache", false);
  if (started_ && embedded_ > 0 && past == 0) {
    throw Error(ErrorCode::invalid_value, "generating behind inputs_embeds needs a cache; leave use_cache on");
  }

  model_.prepare_inputs_for_generation(call, past);

  const ModelOutput output = model_.forward(call);
  if (has_encoder_ && !inputs_.contains("encoder_outputs") && takes(model_, "encoder_outputs")) {
    if (const Tensor encoded = output.tensor("encoder_last_hidden_state"); encoded.defined())
      inputs_.set("encoder_outputs", std::vector<Tensor>{encoded});
  }
  started_ = true;
  rows_ = sequences.size(0);
  drop_what_is_cached();

  const Tensor& logits = output["logits"];
  const Tensor last = logits.select(1, logits.size(1) - 1).to(at::kFloat);
  // What the next step adds is no padding.
  if (attention_mask_.defined()) {
    attention_mask_ = with_column(attention_mask_, at::ones({attention_mask_.size(0), 1}, attention_mask_.options()));
  }
  if (token_types_.defined()) token_types_ = with_column(token_types_, token_types_.slice(1, -1));
  return last;
}

void Stepper::drop_what_is_cached() {
  const bool encoded = inputs_.contains("encoder_outputs");
  const bool cached = cache_ && cache_->length() > 0;
  ModelInputs kept;
  for (const auto& [name, value] : inputs_) {
    const bool done = (encoded && is_read(name)) || (cached && name.ends_with("inputs_embeds"));
    if (!done) kept.set(name, value);
  }
  inputs_ = kept;
}

void Stepper::expand(int64_t copies) {
  const auto repeated = [&](const Tensor& x) { return x.dim() > 0 ? x.repeat_interleave(copies, 0) : x; };
  ModelInputs wide;
  for (const auto& [name, value] : inputs_) {
    if (const auto* tensor = std::get_if<Tensor>(&value)) {
      wide.set(name, repeated(*tensor));
    } else if (const auto* tuple = std::get_if<std::vector<Tensor>>(&value); tuple && name == "encoder_outputs") {
      std::vector<Tensor> tensors;
      for (const auto& item : *tuple) tensors.push_back(repeated(item));
      wide.set(name, tensors);
    } else {
      wide.set(name, value);
    }
  }
  inputs_ = wide;
  if (attention_mask_.defined()) attention_mask_ = repeated(attention_mask_);
  if (token_types_.defined()) token_types_ = repeated(token_types_);
  if (cache_ && cache_->length() > 0) cache_->select(at::arange(rows_).repeat_interleave(copies));
}

void Stepper::reorder(const Tensor& rows) {
  if (!cache_ || cache_->length() == 0) return;
  if (!at::equal(rows, at::arange(rows.size(0)))) cache_->select(rows);
}

}  // namespace backplane
