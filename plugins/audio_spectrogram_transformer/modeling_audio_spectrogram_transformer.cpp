// AST: Gong et al. 2021, https://arxiv.org/abs/2104.01778
// AST is DeiT over overlapping patches of a spectrogram. Reference: transformers,
// models/audio_spectrogram_transformer/modeling_audio_spectrogram_transformer.py

#include "../vit/modeling_vit.h"
#include "configuration_audio_spectrogram_transformer.h"

namespace backplane::audio_spectrogram_transformer {

struct ASTPatchEmbeddingsImpl : nn::Module {
  nn::Conv2d projection;

  explicit ASTPatchEmbeddingsImpl(const ASTConfig& c)
      : projection(register_module("projection",
                                   nn::Conv2d(1, c.hidden_size, c.patch_size,
                                              nn::ConvOptions<2>{.stride = {c.frequency_stride, c.time_stride}}))) {}

  // [batch, frames, mel bins] -> [batch, patches, hidden]
  Tensor forward(const Tensor& input_values) {
    return map_to_tokens(projection(input_values.transpose(1, 2).unsqueeze(1)));
  }
};
TORCH_MODULE(ASTPatchEmbeddings);

struct ASTEmbeddingsImpl : nn::Module {
  Tensor cls_token, distillation_token, position_embeddings;
  ASTPatchEmbeddings patch_embeddings;
  nn::Dropout dropout;

  explicit ASTEmbeddingsImpl(const ASTConfig& c)
      : patch_embeddings(register_module("patch_embeddings", ASTPatchEmbeddings(c))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {
    cls_token = register_parameter("cls_token", nn::parameter({1, 1, c.hidden_size}));
    distillation_token = register_parameter("distillation_token", nn::parameter({1, 1, c.hidden_size}));
    position_embeddings = register_parameter("position_embeddings", nn::parameter({1, c.patches() + 2, c.hidden_size}));
  }

  Tensor forward(const Tensor& input_values) {
    const Tensor x = patch_embeddings(input_values);
    const int64_t batch = x.size(0);
    if (x.size(1) + 2 != position_embeddings.size(1)) {
      throw Error(ErrorCode::invalid_value,
                  concat("input_values have the shape ", input_values.sizes(), ", which is ", x.size(1),
                         " patches; the model has positions for ", position_embeddings.size(1) - 2));
    }
    return dropout(at::cat({cls_token.expand({batch, -1, -1}), distillation_token.expand({batch, -1, -1}), x}, 1) +
                   position_embeddings);
  }
};
TORCH_MODULE(ASTEmbeddings);

struct ASTPreTrainedModel : PreTrainedModel {
  using Config = ASTConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "audio_spectrogram_transformer"}; }
};

constexpr std::array<std::string_view, 4> kArguments = {"input_values", "head_mask", "output_hidden_states",
                                                        "output_attentions"};

struct ASTModel : ASTPreTrainedModel {
  ASTEmbeddings embeddings;
  vit::ViTEncoder encoder;
  nn::LayerNorm layernorm;

  explicit ASTModel(const ASTConfig& c)
      : ASTPreTrainedModel(c),
        embeddings(register_module("embeddings", ASTEmbeddings(c))),
        encoder(register_module("encoder", vit::ViTEncoder(c))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  std::span<const std::string_view> arguments() const override { return kArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, config());
    const Tensor values = inputs["input_values"];
    if (values.dim() != 3) {
      throw Error(ErrorCode::invalid_value,
                  concat("input_values have the shape ", values.sizes(), "; expected [batch, frames, mel bins]"));
    }
    const Tensor x = layernorm(encoder(embeddings(values), inputs.tensor("head_mask"), trace));
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("pooler_output", (x.select(1, 0) + x.select(1, 1)) / 2);
    trace.write(output);
    return output;
  }
};

struct ASTMLPHeadImpl : nn::Module {
  nn::LayerNorm layernorm;
  nn::Linear dense{nullptr};

  explicit ASTMLPHeadImpl(const ASTConfig& c)
      : layernorm(register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {
    if (c.num_labels() > 0) dense = register_module("dense", nn::Linear(c.hidden_size, c.num_labels()));
  }

  Tensor forward(const Tensor& x) { return dense ? dense(layernorm(x)) : layernorm(x); }
};
TORCH_MODULE(ASTMLPHead);

struct ASTForAudioClassification : ASTPreTrainedModel {
  std::shared_ptr<ASTModel> audio_spectrogram_transformer;
  ASTMLPHead classifier;

  explicit ASTForAudioClassification(const ASTConfig& c)
      : ASTPreTrainedModel(c),
        audio_spectrogram_transformer(register_module("audio_spectrogram_transformer", std::make_shared<ASTModel>(c))),
        classifier(register_module("classifier", ASTMLPHead(c))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kArguments, "labels");
    return kNames;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = audio_spectrogram_transformer->forward(inputs.select(kArguments));
    return classifier_output(classifier(base["pooler_output"]), inputs, config(), base);
  }
};

BACKPLANE_PLUGIN(audio_spectrogram_transformer, plugin) {
  plugin.config<ASTConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "ASTFeatureExtractor");
  plugin.model<ASTModel>(Auto::Model);
  plugin.model<ASTForAudioClassification>(Auto::ForAudioClassification);
}

}  // namespace backplane::audio_spectrogram_transformer
