// DeiT: Touvron et al. 2020, https://arxiv.org/abs/2012.12877
// DeiT is ViT except: a distillation token stands behind the class token. Reference: transformers,
// models/deit/modeling_deit.py

#include "../vit/modeling_vit.h"
#include "configuration_deit.h"

namespace backplane::deit {

using vit::kImageArguments;

struct DeiTEmbeddingsImpl : nn::Module {
  Tensor cls_token, distillation_token, mask_token, position_embeddings;
  nn::PatchEmbeddings patch_embeddings;
  nn::Dropout dropout;

  DeiTEmbeddingsImpl(const DeiTConfig& c, bool use_mask_token)
      : patch_embeddings(register_module(
            "patch_embeddings", nn::PatchEmbeddings(c.image_size, c.patch_size, c.num_channels, c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {
    cls_token = register_parameter("cls_token", nn::parameter({1, 1, c.hidden_size}));
    distillation_token = register_parameter("distillation_token", nn::parameter({1, 1, c.hidden_size}));
    if (use_mask_token) mask_token = register_parameter("mask_token", nn::parameter({1, 1, c.hidden_size}));
    position_embeddings =
        register_parameter("position_embeddings", nn::parameter({1, patch_embeddings->patches() + 2, c.hidden_size}));
  }

  // pixel_values [batch, channels, height, width] -> [batch, 2 + patches, hidden]
  Tensor forward(const Tensor& pixel_values, const Tensor& bool_masked_pos, bool interpolate) {
    Tensor x = vit::put_mask_tokens(patch_embeddings(pixel_values, interpolate), mask_token, bool_masked_pos);
    x = at::cat({cls_token.expand({x.size(0), -1, -1}), distillation_token.expand({x.size(0), -1, -1}), x}, 1);
    return dropout(x + vit::positions_for(position_embeddings, 2, patch_embeddings, pixel_values));
  }
};
TORCH_MODULE(DeiTEmbeddings);

struct DeiTPreTrainedModel : PreTrainedModel {
  using Config = DeiTConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "deit"}; }
};

struct DeiTModel : DeiTPreTrainedModel {
  DeiTEmbeddings embeddings;
  vit::ViTEncoder encoder;
  nn::LayerNorm layernorm;
  vit::ViTPooler pooler{nullptr};

  explicit DeiTModel(const DeiTConfig& c, bool add_pooling_layer = true, bool use_mask_token = false)
      : DeiTPreTrainedModel(c),
        embeddings(register_module("embeddings", DeiTEmbeddings(c, use_mask_token))),
        encoder(register_module("encoder", vit::ViTEncoder(c))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {
    if (add_pooling_layer)
      pooler = register_module("pooler", vit::ViTPooler(c.hidden_size, *c.pooler_output_size, c.pooler_act));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "bool_masked_pos");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, config());
    Tensor x = embeddings(inputs.tensor("pixel_values"), inputs.tensor("bool_masked_pos"),
                          inputs.flag("interpolate_pos_encoding", false));
    x = layernorm(encoder(x, inputs.tensor("head_mask"), trace));
    ModelOutput output;
    output.set("last_hidden_state", x);
    if (pooler) output.set("pooler_output", pooler(x));
    trace.write(output);
    return output;
  }
};

struct DeiTForMaskedImageModeling : DeiTPreTrainedModel {
  const DeiTConfig& c;
  std::shared_ptr<DeiTModel> deit;
  nn::Sequence decoder;

  explicit DeiTForMaskedImageModeling(const DeiTConfig& config)
      : DeiTPreTrainedModel(config),
        c(config),
        deit(register_module("deit", std::make_shared<DeiTModel>(c, false, true))),
        decoder(register_module(
            "decoder", nn::Sequence(nn::Conv2d(c.hidden_size, c.encoder_stride * c.encoder_stride * c.num_channels, 1),
                                    pixel_shuffle(c.encoder_stride)))) {}

  std::span<const std::string_view> arguments() const override { return deit->arguments(); }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = deit->forward(inputs);
    // Without the first and the last token, as the reference has it.
    const Tensor x = base["last_hidden_state"].slice(1, 1, -1), mask = inputs.tensor("bool_masked_pos");
    const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(x.size(1))));
    const Tensor images = decoder(tokens_to_map(x, {side, side}));
    ModelOutput output;
    if (mask.defined()) {
      output.set("loss",
                 masked_image_loss(inputs["pixel_values"], images, mask, size_of(c.patch_size, "patch_size")[0]));
    }
    output.set("reconstruction", images);
    output.pass_on(base);
    return output;
  }
};

struct DeiTForImageClassification : DeiTPreTrainedModel {
  std::shared_ptr<DeiTModel> deit;
  nn::Linear classifier{nullptr};

  explicit DeiTForImageClassification(const DeiTConfig& c)
      : DeiTPreTrainedModel(c), deit(register_module("deit", std::make_shared<DeiTModel>(c, false))) {
    if (c.num_labels() > 0) classifier = register_module("classifier", nn::Linear(c.hidden_size, c.num_labels()));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = deit->forward(inputs.select(deit->arguments()));
    const Tensor x = base["last_hidden_state"].select(1, 0);
    return classifier_output(classifier ? classifier(x) : x, inputs, config(), base);
  }
};

// The mean of what the class token and the distillation token say.
struct DeiTForImageClassificationWithTeacher : DeiTPreTrainedModel {
  std::shared_ptr<DeiTModel> deit;
  nn::Linear cls_classifier{nullptr}, distillation_classifier{nullptr};

  explicit DeiTForImageClassificationWithTeacher(const DeiTConfig& c)
      : DeiTPreTrainedModel(c), deit(register_module("deit", std::make_shared<DeiTModel>(c, false))) {
    if (c.num_labels() > 0) {
      cls_classifier = register_module("cls_classifier", nn::Linear(c.hidden_size, c.num_labels()));
      distillation_classifier = register_module("distillation_classifier", nn::Linear(c.hidden_size, c.num_labels()));
    }
  }

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = deit->forward(inputs);
    Tensor of_class = base["last_hidden_state"].select(1, 0), of_teacher = base["last_hidden_state"].select(1, 1);
    if (cls_classifier) {
      of_class = cls_classifier(of_class);
      of_teacher = distillation_classifier(of_teacher);
    }
    ModelOutput output;
    output.set("logits", (of_class + of_teacher) / 2);
    output.set("cls_logits", of_class);
    output.set("distillation_logits", of_teacher);
    output.pass_on(base);
    return output;
  }
};

BACKPLANE_PLUGIN(deit, plugin) {
  plugin.config<DeiTConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "DeiTFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "DeiTImageProcessor", "DeiTImageProcessorFast");
  plugin.model<DeiTModel>(Auto::Model);
  plugin.model<DeiTForImageClassification>(Auto::ForImageClassification);
  plugin.model<DeiTForImageClassificationWithTeacher>(Auto::ForImageClassification);
  plugin.model<DeiTForMaskedImageModeling>(Auto::ForMaskedImageModeling);
}

}  // namespace backplane::deit
