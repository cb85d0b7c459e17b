// Speech2Text: Wang et al. 2020, https://arxiv.org/abs/2010.05171
// Speech2Text is M2M100 except: the encoder reads log-mel features through strided convolutions with gated linear
// units, and the mask over frames becomes as short as they do. Reference: transformers,
// models/speech_to_text/modeling_speech_to_text.py

#include "../m2m_100/modeling_m2m_100.h"

namespace backplane::speech_to_text {

using namespace m2m_100;

struct Speech2TextConfig : BartBaseConfig {
  static constexpr const char* model_type = "speech_to_text";

  int64_t max_source_positions = 6000;
  int64_t max_target_positions = 1024;
  int64_t num_conv_layers = 2;
  std::vector<int64_t> conv_kernel_sizes = {5, 5};
  int64_t conv_channels = 1024;
  int64_t input_feat_per_channel = 80;
  int64_t input_channels = 1;

  Speech2TextConfig() {
    vocab_size = 10000;
    encoder_ffn_dim = 2048;
    encoder_attention_heads = 4;
    decoder_layers = 6;
    decoder_ffn_dim = 2048;
    decoder_attention_heads = 4;
    activation_function = "relu";
    d_model = 256;
    scale_embedding = true;
    pad_token_id = 1;
    bos_token_id = 0;
    eos_token_id = 2;
    decoder_start_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(d_model));
    field(BACKPLANE_FIELD(encoder_ffn_dim));
    field(BACKPLANE_FIELD(encoder_layers));
    field(BACKPLANE_FIELD(encoder_attention_heads));
    field(BACKPLANE_FIELD(decoder_ffn_dim));
    field(BACKPLANE_FIELD(decoder_layers));
    field(BACKPLANE_FIELD(decoder_attention_heads));
    field(BACKPLANE_FIELD(dropout));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(activation_dropout));
    field(BACKPLANE_FIELD(activation_function));
    field(BACKPLANE_FIELD(init_std));
    field(BACKPLANE_FIELD(encoder_layerdrop));
    field(BACKPLANE_FIELD(decoder_layerdrop));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(scale_embedding));
    field(BACKPLANE_FIELD(max_source_positions));
    field(BACKPLANE_FIELD(max_target_positions));
    field(BACKPLANE_FIELD(num_conv_layers));
    field(BACKPLANE_FIELD(conv_kernel_sizes));
    field(BACKPLANE_FIELD(conv_channels));
    field(BACKPLANE_FIELD(input_feat_per_channel));
    field(BACKPLANE_FIELD(input_channels));
    field.alias("num_attention_heads", "encoder_attention_heads");
    field.alias("hidden_size", "d_model");
  }

  void validate() override {
    BartBaseConfig::validate();
    if (static_cast<int64_t>(conv_kernel_sizes.size()) != num_conv_layers) {
      throw Error(ErrorCode::bad_config, concat("conv_kernel_sizes has ", conv_kernel_sizes.size(),
                                                " numbers, num_conv_layers is ", num_conv_layers));
    }
    if (!pad_token_id) throw Error(ErrorCode::bad_config, "pad_token_id is null; positions are counted behind it");
  }
};

constexpr std::array<std::string_view, 5> kEncoderArguments = {"input_features", "attention_mask", "head_mask",
                                                               "output_attentions", "output_hidden_states"};

// Each convolution halves the frames.
struct Conv1dSubsamplerImpl : nn::Module {
  nn::Layers<nn::Conv1d> conv_layers;

  explicit Conv1dSubsamplerImpl(const Speech2TextConfig& c)
      : conv_layers(register_module(
            "conv_layers", nn::Layers<nn::Conv1d>(c.num_conv_layers, [&](int64_t i) {
              const int64_t kernel = c.conv_kernel_sizes[static_cast<size_t>(i)];
              const int64_t in = i == 0 ? c.input_feat_per_channel * c.input_channels : c.conv_channels / 2;
              const int64_t out = i < c.num_conv_layers - 1 ? c.conv_channels : 2 * c.d_model;
              return nn::Conv1d(in, out, kernel, nn::ConvOptions<1>{.stride = {2}, .padding = {kernel / 2}});
            }))) {}

  // x [batch, frames, features] -> [batch, frames / 2^layers, d_model]
  Tensor forward(const Tensor& features) {
    Tensor x = features.transpose(1, 2);
    for (auto& conv : *conv_layers) x = at::glu(conv(x), 1);
    return x.transpose(1, 2).contiguous();
  }
};
TORCH_MODULE(Conv1dSubsampler);

// attention_mask [batch, frames] or [batch, frames, features] -> [batch, length]
Tensor subsampled_mask(const Tensor& attention_mask, int64_t length, int64_t layers) {
  const Tensor flat = attention_mask.dim() > 2 ? attention_mask.select(2, -1) : attention_mask;
  Tensor lengths = flat.to(at::kLong).sum(1, true);
  for (int64_t i = 0; i < layers; ++i) lengths = at::floor_divide(lengths - 1, 2) + 1;
  return (at::arange(length).unsqueeze(0) < lengths).to(at::kLong);
}

struct Speech2TextEncoder : BartPreTrainedModel {
  const Speech2TextConfig& c;
  nn::FairseqSinusoids positions;
  Conv1dSubsampler conv;
  nn::Layers<MBartEncoderLayer> layers;
  nn::LayerNorm layer_norm;
  nn::Dropout dropout;

  explicit Speech2TextEncoder(const Speech2TextConfig& config)
      : BartPreTrainedModel(config),
        c(config),
        positions(c.d_model, *c.pad_token_id),
        conv(register_module("conv", Conv1dSubsampler(c))),
        layers(register_module(
            "layers",
            nn::Layers<MBartEncoderLayer>(c.encoder_layers, [&](int64_t i) { return MBartEncoderLayer(config, i); }))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.d_model))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  std::span<const std::string_view> arguments() const override { return kEncoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = conv(inputs["input_features"]) * embed_scale(c);
    ModelInputs call = inputs;
    Tensor padding = at::zeros({x.size(0), x.size(1)}, at::kLong);
    if (const Tensor mask = inputs.tensor("attention_mask"); mask.defined()) {
      const Tensor shorter = subsampled_mask(mask, x.size(1), c.num_conv_layers);
      padding = 1 - shorter;
      call.set("attention_mask", shorter);
    }
    // The reference counts positions over the padding mask as if it were ids.
    const Tensor where = nn::positions_past_padding(padding, *c.pad_token_id);
    return encode(c, call, dropout(x + positions.forward(where, x.scalar_type())), layers, layer_norm);
  }
};

constexpr std::array<std::string_view, 14> kArguments = {
    "input_features",         "attention_mask",  "decoder_input_ids",
    "decoder_attention_mask", "head_mask",       "decoder_head_mask",
    "cross_attn_head_mask",   "encoder_outputs", "past_key_values",
    "decoder_inputs_embeds",  "use_cache",       "output_attentions",
    "output_hidden_states",   "cache_position"};

CheckpointRules speech_rules() {
  return {.base_model_prefix = "model", .ignore_unexpected = {R"(embed_positions\.weights)"}};
}

struct Speech2TextModel : BartPreTrainedModel {
  static constexpr bool supports_sdpa = false;
  using Config = Speech2TextConfig;

  const Config& c;
  std::shared_ptr<Speech2TextEncoder> encoder;
  std::shared_ptr<M2M100Decoder<Config>> decoder;

  explicit Speech2TextModel(const Config& config)
      : BartPreTrainedModel(config),
        c(config),
        encoder(register_module("encoder", std::make_shared<Speech2TextEncoder>(c))),
        decoder(register_module("decoder", std::make_shared<M2M100Decoder<Config>>(c))) {}

  CheckpointRules checkpoint_rules() const override { return speech_rules(); }
  std::span<const std::string_view> arguments() const override { return kArguments; }
  Tensor start(const Tensor& labels) const { return shift_right(labels, c.pad_token_id, c.decoder_start_token_id); }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto encoded = run_encoder(*encoder, inputs);
    const Tensor states = encoded["last_hidden_state"];
    Tensor mask = inputs.tensor("attention_mask");
    if (mask.defined()) mask = subsampled_mask(mask, states.size(1), c.num_conv_layers);
    return encoder_decoder_output(encoded, decoder->forward(decoder_inputs(inputs, states, mask)));
  }
};

struct Speech2TextForConditionalGeneration : PlainLM<Speech2TextModel> {
  static constexpr bool supports_sdpa = false;
  using PlainLM::PlainLM;
  CheckpointRules checkpoint_rules() const override { return speech_rules(); }
  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kArguments, "labels");
    return kNames;
  }
};

BACKPLANE_PLUGIN(speech_to_text, plugin) {
  plugin.config<Speech2TextConfig>();
  plugin.tokenizer("Speech2TextTokenizer", "");
  plugin.preprocessor(Auto::FeatureExtractor, "Speech2TextFeatureExtractor");
  plugin.preprocessor(Auto::Processor, "Speech2TextProcessor");
  plugin.model<Speech2TextModel>(Auto::Model);
  plugin.model<Speech2TextForConditionalGeneration>(Auto::WithLMHead);
  plugin.model<Speech2TextForConditionalGeneration>(Auto::ForSpeechSeq2Seq);
}

}  // namespace backplane::speech_to_text
