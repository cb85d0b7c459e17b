#pragma once

// A model of any encoder and any decoder, which the registry makes from the two configurations.

#include <backplane/config/lookup.h>
#include <backplane/model/encoder_decoder.h>

namespace backplane::encoder_decoder {

struct CompositeConfig : PretrainedConfig {
  std::shared_ptr<PretrainedConfig> encoder, decoder;

  CompositeConfig() { is_encoder_decoder = true; }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(encoder));
    field(BACKPLANE_FIELD(decoder));
  }

  void validate() override {
    is_encoder_decoder = true;
    if (!encoder || !decoder) {
      throw Error(ErrorCode::bad_config,
                  concat("a configuration of type '", model_type_name, "' needs the two objects encoder and decoder"));
    }
    if (tie_encoder_decoder)
      throw Error(ErrorCode::bad_config, "tie_encoder_decoder is true; weights shared by both parts are not supported");
  }
};

inline int64_t size_of(const PretrainedConfig& config, std::string_view key, const char* part) {
  const auto size = find_number(config, key);
  if (!size) throw Error(ErrorCode::bad_config, concat("config.json: ", part, " has no ", key));
  return *size;
}

struct CompositeModel : PreTrainedModel {
  const CompositeConfig& c;
  std::shared_ptr<PreTrainedModel> encoder, decoder;
  nn::Linear enc_to_dec_proj{nullptr};

  CompositeModel(const CompositeConfig& config, int64_t encoder_size)
      : PreTrainedModel(config),
        c(config),
        encoder(register_module("encoder", make_model(Auto::Model, *c.encoder))),
        decoder(register_module("decoder", make_model(Auto::ForCausalLM, *c.decoder))) {
    const int64_t decoder_size = size_of(*c.decoder, "hidden_size", "decoder");
    const auto cross_size = c.decoder->cross_attention_hidden_size;
    if (cross_size && *cross_size != encoder_size) {
      throw Error(ErrorCode::bad_config, concat("config.json: the decoder's cross_attention_hidden_size is ",
                                                *cross_size, ", the encoder's hidden size ", encoder_size));
    }
    if (encoder_size != decoder_size && !cross_size)
      enc_to_dec_proj = register_module("enc_to_dec_proj", nn::Linear(encoder_size, decoder_size));
    const auto knows = decoder->arguments();
    if (std::find(knows.begin(), knows.end(), "encoder_hidden_states") == knows.end()) {
      throw Error(ErrorCode::bad_config,
                  concat("config.json: the decoder ", decoder->name(), " cannot attend to an encoder's states"));
    }
    for (const auto& name : encoder->arguments()) names_.emplace_back(name);
    for (const auto& name : decoder->arguments()) names_.push_back(concat("decoder_", name));
    for (const char* name : {"encoder_outputs", "past_key_values", "labels", "use_cache", "attention_mask",
                             "output_attentions", "output_hidden_states"})
      names_.emplace_back(name);
    arguments_.assign(names_.begin(), names_.end());
  }

  bool can_generate() const override { return true; }
  std::span<const std::string_view> arguments() const override { return arguments_; }

  // The mask over the encoder's states [batch, seq], or an undefined one.
  virtual Tensor encoder_mask(const ModelInputs& inputs, const Tensor& states) = 0;

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor labels = inputs.tensor("labels");
    ModelInputs call = inputs;
    if (labels.defined() && !call.contains("decoder_input_ids") && !call.contains("decoder_inputs_embeds"))
      call.set("decoder_input_ids", start(labels, call));
    ModelInputs to_encoder = call;
    to_encoder.set("past_key_values", {});
    to_encoder.set("use_cache", {});
    const auto encoded = run_encoder(*encoder, to_encoder);
    Tensor states = encoded["last_hidden_state"];
    const Tensor mask = encoder_mask(call, states);
    if (enc_to_dec_proj) states = enc_to_dec_proj(states);
    const auto decoded = decoder->forward(decoder_inputs(call, states, mask).select(decoder->arguments()));
    const Tensor logits = decoded["logits"];
    ModelOutput output = encoder_decoder_output(encoded, decoded);
    if (labels.defined()) output.set("loss", loss(logits, labels));
    output.set("logits", logits);
    return output;
  }

  virtual Tensor loss(const Tensor& logits, const Tensor& labels) { return cross_entropy(logits, labels); }

  // The decoder's ids for labels.
  virtual Tensor start(const Tensor& labels, ModelInputs&) {
    return shift_right(labels, c.pad_token_id, c.decoder_start_token_id);
  }

 private:
  std::vector<std::string> names_;
  std::vector<std::string_view> arguments_;
};

}  // namespace backplane::encoder_decoder
