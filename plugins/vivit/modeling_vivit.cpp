// ViViT: Arnab et al. 2021, https://arxiv.org/abs/2103.15691
// ViViT is ViT over tubelets of a video. Reference: transformers, models/vivit/modeling_vivit.py

#include "../vit/modeling_vit.h"
#include "configuration_vivit.h"

namespace backplane::vivit {

struct VivitTubeletEmbeddingsImpl : nn::Module {
  int64_t image, channels;
  nn::Conv3d projection;

  explicit VivitTubeletEmbeddingsImpl(const VivitConfig& c)
      : image(c.image_size),
        channels(c.num_channels),
        projection(register_module(
            "projection", nn::Conv3d(channels, c.hidden_size, tubelet(c), nn::ConvOptions<3>{.stride = tubelet(c)}))) {}

  static nn::Extent<3> tubelet(const VivitConfig& c) {
    return {c.tubelet_size[0], c.tubelet_size[1], c.tubelet_size[2]};
  }

  // [batch, frames, channels, height, width] -> [batch, tubelets, hidden]
  Tensor forward(const Tensor& videos, bool any_size) {
    const bool fits = videos.dim() == 5 && videos.size(2) == channels &&
                      (any_size || (videos.size(3) == image && videos.size(4) == image));
    if (!fits) {
      throw Error(ErrorCode::invalid_value,
                  concat("pixel_values have the shape ", videos.sizes(), "; expected [batch, frames, ", channels, ", ",
                         image, ", ", image, "]"));
    }
    return map_to_tokens(projection(videos.transpose(1, 2)));
  }
};
TORCH_MODULE(VivitTubeletEmbeddings);

struct VivitEmbeddingsImpl : nn::Module {
  Size2 patch;
  Tensor cls_token, position_embeddings;
  VivitTubeletEmbeddings patch_embeddings;
  nn::Dropout dropout;

  explicit VivitEmbeddingsImpl(const VivitConfig& c)
      : patch{c.tubelet_size[1], c.tubelet_size[2]},
        cls_token(register_parameter("cls_token", nn::parameter({1, 1, c.hidden_size}))),
        position_embeddings(
            register_parameter("position_embeddings", nn::parameter({1, c.tubelets() + 1, c.hidden_size}))),
        patch_embeddings(register_module("patch_embeddings", VivitTubeletEmbeddings(c))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  Tensor forward(const Tensor& videos, bool interpolate) {
    Tensor x = patch_embeddings(videos, interpolate);
    x = at::cat({cls_token.expand({x.size(0), -1, -1}), x}, 1);
    const bool same = x.size(1) == position_embeddings.size(1);
    if (!same && !interpolate) {
      throw Error(ErrorCode::invalid_value, concat("the video is ", x.size(1) - 1, " tubelets; the model has ",
                                                   position_embeddings.size(1) - 1, " positions"));
    }
    // Space alone is interpolated, as the reference has it.
    return dropout(
        x + (same ? position_embeddings
                  : resize_positions(position_embeddings, 1, {videos.size(3) / patch[0], videos.size(4) / patch[1]})));
  }
};
TORCH_MODULE(VivitEmbeddings);

struct VivitPreTrainedModel : PreTrainedModel {
  using Config = VivitConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "vivit"}; }
};

struct VivitModel : VivitPreTrainedModel {
  VivitEmbeddings embeddings;
  vit::ViTEncoder encoder;
  nn::LayerNorm layernorm;
  vit::ViTPooler pooler{nullptr};

  explicit VivitModel(const VivitConfig& c, bool add_pooling_layer = true)
      : VivitPreTrainedModel(c),
        embeddings(register_module("embeddings", VivitEmbeddings(c))),
        encoder(register_module("encoder", vit::ViTEncoder(c))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {
    if (add_pooling_layer) pooler = register_module("pooler", vit::ViTPooler(c.hidden_size, c.hidden_size, "tanh"));
  }

  std::span<const std::string_view> arguments() const override { return vit::kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, config());
    Tensor x = embeddings(inputs["pixel_values"], inputs.flag("interpolate_pos_encoding", false));
    x = layernorm(encoder(x, inputs.tensor("head_mask"), trace));
    ModelOutput output;
    output.set("last_hidden_state", x);
    if (pooler) output.set("pooler_output", pooler(x));
    trace.write(output);
    return output;
  }
};

struct VivitForVideoClassification : VivitPreTrainedModel {
  std::shared_ptr<VivitModel> vivit;
  nn::Linear classifier{nullptr};

  explicit VivitForVideoClassification(const VivitConfig& c)
      : VivitPreTrainedModel(c), vivit(register_module("vivit", std::make_shared<VivitModel>(c, false))) {
    if (c.num_labels() > 0) classifier = register_module("classifier", nn::Linear(c.hidden_size, c.num_labels()));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(vit::kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = vivit->forward(inputs.select(vivit->arguments()));
    const Tensor x = base["last_hidden_state"].select(1, 0), logits = classifier ? classifier(x) : x,
                 labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) {
      output.set("loss", config().num_labels() == 1 ? at::mse_loss(logits.view({-1}), labels.view({-1}))
                                                    : cross_entropy(logits, labels));
    }
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

BACKPLANE_PLUGIN(vivit, plugin) {
  plugin.config<VivitConfig>();
  plugin.model<VivitModel>(Auto::Model);
  plugin.model<VivitForVideoClassification>(Auto::ForVideoClassification);
}

}  // namespace backplane::vivit
