// SegFormer: Xie et al. 2021, https://arxiv.org/abs/2105.15203
// A hierarchical transformer without position embeddings, and a decoder of linear maps over all its stages.
// Reference: transformers, models/segformer/modeling_segformer.py

#include "modeling_segformer.h"

namespace backplane::segformer {

struct SegformerPreTrainedModel : PreTrainedModel {
  using Config = SegformerConfig;
  static constexpr bool supports_sdpa = false;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "segformer"}; }
};

constexpr std::array<std::string_view, 3> kImageArguments = {"pixel_values", "output_hidden_states",
                                                             "output_attentions"};

struct SegformerModel : SegformerPreTrainedModel {
  const SegformerConfig& c;
  SegformerEncoder encoder;

  explicit SegformerModel(const SegformerConfig& config)
      : SegformerPreTrainedModel(config), c(config), encoder(register_module("encoder", SegformerEncoder(c))) {}

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, c);
    ModelOutput output;
    output.set("last_hidden_state",
               encoder(inputs.tensor("pixel_values"), c.reshape_last_stage, trace.states(), trace));
    trace.write(output);
    return output;
  }
};

struct SegformerForImageClassification : SegformerPreTrainedModel {
  const SegformerConfig& c;
  std::shared_ptr<SegformerModel> segformer;
  nn::Linear classifier;

  explicit SegformerForImageClassification(const SegformerConfig& config)
      : SegformerPreTrainedModel(config),
        c(config),
        segformer(register_module("segformer", std::make_shared<SegformerModel>(c))),
        classifier(register_module("classifier", nn::Linear(c.hidden_sizes.back(), c.num_labels()))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = segformer->forward(inputs.select(segformer->arguments()));
    const Tensor x = base["last_hidden_state"];
    return classifier_output(classifier(c.reshape_last_stage ? x.mean({2, 3}) : x.mean(1)), inputs, c, base);
  }
};

struct SegformerMLPImpl : nn::Module {
  nn::Linear proj;

  SegformerMLPImpl(int64_t in_features, int64_t out_features)
      : proj(register_module("proj", nn::Linear(in_features, out_features))) {}

  // [batch, dim, height, width] -> [batch, out, height, width]
  Tensor forward(const Tensor& x) { return tokens_to_map(proj(map_to_tokens(x)), {x.size(2), x.size(3)}); }
};
TORCH_MODULE(SegformerMLP);

struct SegformerDecodeHeadImpl : nn::Module {
  nn::Layers<SegformerMLP> linear_c;
  nn::Conv2d linear_fuse;
  nn::BatchNorm batch_norm;
  nn::Dropout dropout;
  nn::Conv2d classifier;

  explicit SegformerDecodeHeadImpl(const SegformerConfig& c)
      : linear_c(register_module("linear_c", nn::Layers<SegformerMLP>(c.num_encoder_blocks,
                                                                      [&](int64_t i) {
                                                                        return SegformerMLP(
                                                                            c.hidden_sizes[static_cast<size_t>(i)],
                                                                            c.decoder_hidden_size);
                                                                      }))),
        linear_fuse(
            register_module("linear_fuse", nn::Conv2d(c.decoder_hidden_size * c.num_encoder_blocks,
                                                      c.decoder_hidden_size, 1, nn::Square{.with_bias = false}))),
        batch_norm(register_module("batch_norm", nn::BatchNorm(c.decoder_hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.classifier_dropout_prob))),
        classifier(register_module("classifier", nn::Conv2d(c.decoder_hidden_size, c.num_labels(), 1))) {}

  // One map a stage -> [batch, labels, height, width] of the first.
  Tensor forward(const std::vector<Tensor>& states) {
    std::vector<Tensor> maps;
    for (size_t i = states.size(); i-- > 0;) {
      Tensor x = states[i];
      if (x.dim() == 3) {
        const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(x.size(1))));
        x = tokens_to_map(x, {side, side});
      }
      maps.push_back(resize((*linear_c)[i](x), {states[0].size(2), states[0].size(3)}, Resampling::bilinear));
    }
    return classifier(dropout(at::relu(batch_norm(linear_fuse(at::cat(maps, 1))))));
  }
};
TORCH_MODULE(SegformerDecodeHead);

struct SegformerForSemanticSegmentation : SegformerPreTrainedModel {
  const SegformerConfig& c;
  std::shared_ptr<SegformerModel> segformer;
  SegformerDecodeHead decode_head;

  explicit SegformerForSemanticSegmentation(const SegformerConfig& config)
      : SegformerPreTrainedModel(config),
        c(config),
        segformer(register_module("segformer", std::make_shared<SegformerModel>(c))),
        decode_head(register_module("decode_head", SegformerDecodeHead(c))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, c);
    std::vector<Tensor> states;
    segformer->encoder(inputs.tensor("pixel_values"), c.reshape_last_stage, &states, trace);
    const Tensor logits = decode_head(states), labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) output.set("loss", loss(logits, labels));
    output.set("logits", logits);
    if (trace.keeps_hidden_states) trace.hidden_states = states;
    trace.write(output);
    return output;
  }

  // One label: present or absent.
  Tensor loss(const Tensor& logits, const Tensor& labels) const {
    if (c.num_labels() > 1) return segmentation_loss(logits, labels, c.semantic_loss_ignore_index);
    const Tensor wide = resize(logits, {labels.size(-2), labels.size(-1)}, Resampling::bilinear).squeeze(1);
    const Tensor valid = ((labels >= 0) & (labels != c.semantic_loss_ignore_index)).to(wide.scalar_type());
    return (at::binary_cross_entropy_with_logits(wide, labels.to(wide.scalar_type()), {}, {}, at::Reduction::None) *
            valid)
        .mean();
  }
};

BACKPLANE_PLUGIN(segformer, plugin) {
  plugin.config<SegformerConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "SegformerFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "SegformerImageProcessor");
  plugin.model<SegformerModel>(Auto::Model);
  plugin.model<SegformerForImageClassification>(Auto::ForImageClassification);
  plugin.model<SegformerForSemanticSegmentation>(Auto::ForSemanticSegmentation);
}

}  // namespace backplane::segformer
