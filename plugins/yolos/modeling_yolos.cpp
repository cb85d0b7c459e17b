// YOLOS: Fang et al. 2021, https://arxiv.org/abs/2106.00666
// YOLOS is ViT except: learned detection tokens stand behind the patches and become boxes, and positions may be added
// again after each layer. Reference: transformers, models/yolos/modeling_yolos.py

#include <backplane/nn/detection.h>

#include "../vit/modeling_vit.h"
#include "configuration_yolos.h"

namespace backplane::yolos {

// positions [depth, 1 + patches + detections, hidden], whose patches form `from` -> for patches that form `to`
static Tensor resize_patches(const Tensor& positions, int64_t detections, Size2 from, Size2 to) {
  if (from == to) return positions;
  const Tensor map = tokens_to_map(positions.slice(1, 1, -detections), from);
  return at::cat(
      {positions.slice(1, 0, 1), map_to_tokens(resize(map, to, Resampling::bicubic)), positions.slice(1, -detections)},
      1);
}

struct YolosEmbeddingsImpl : nn::Module {
  int64_t detections;
  Tensor cls_token, detection_tokens, position_embeddings;
  nn::PatchEmbeddings patch_embeddings;
  nn::Dropout dropout;

  explicit YolosEmbeddingsImpl(const YolosConfig& c)
      : detections(c.num_detection_tokens),
        patch_embeddings(register_module(
            "patch_embeddings", nn::PatchEmbeddings(c.image_size, c.patch_size, c.num_channels, c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {
    cls_token = register_parameter("cls_token", nn::parameter({1, 1, c.hidden_size}));
    detection_tokens = register_parameter("detection_tokens", nn::parameter({1, detections, c.hidden_size}));
    position_embeddings = register_parameter(
        "position_embeddings", nn::parameter({1, patch_embeddings->patches() + detections + 1, c.hidden_size}));
  }

  Size2 grid(const Tensor& pixel_values) const {
    return {pixel_values.size(2) / patch_embeddings->patch[0], pixel_values.size(3) / patch_embeddings->patch[1]};
  }

  // pixel_values [batch, channels, height, width] -> [batch, 1 + patches + detections, hidden]
  Tensor forward(const Tensor& pixel_values) {
    const Tensor x = patch_embeddings(pixel_values, true);
    const int64_t batch = x.size(0);
    return dropout(at::cat({cls_token.expand({batch, -1, -1}), x, detection_tokens.expand({batch, -1, -1})}, 1) +
                   resize_patches(position_embeddings, detections, patch_embeddings->grid, grid(pixel_values)));
  }
};
TORCH_MODULE(YolosEmbeddings);

struct YolosEncoderImpl : nn::Module {
  int64_t heads, detections;
  Size2 grid;
  Tensor mid_position_embeddings;  // [layers - 1, 1, 1 + patches + detections, hidden]
  nn::Layers<vit::ViTLayer> layer;

  explicit YolosEncoderImpl(const YolosConfig& c)
      : heads(c.num_attention_heads),
        detections(c.num_detection_tokens),
        grid(patch_grid(c.image_size, c.patch_size)),
        layer(register_module(
            "layer", nn::Layers<vit::ViTLayer>(c.num_hidden_layers, [&](int64_t) { return vit::ViTLayer(c); }))) {
    if (c.use_mid_position_embeddings) {
      const Size2 image = size_of(c.image_size, "image_size"), patch = size_of(c.patch_size, "patch_size");
      const int64_t seq = 1 + image[0] * image[1] / (patch[0] * patch[1]) + detections;
      mid_position_embeddings = register_parameter("mid_position_embeddings",
                                                   nn::parameter({c.num_hidden_layers - 1, 1, seq, c.hidden_size}));
    }
  }

  Tensor forward(Tensor x, Size2 size, const Tensor& head_mask, Trace& trace) {
    const auto count = static_cast<int64_t>(layer->size());
    const Tensor masks = head_mask_of_layers(head_mask, count, heads, x.scalar_type());
    Tensor positions;
    if (mid_position_embeddings.defined())
      positions = resize_patches(mid_position_embeddings.squeeze(1), detections, grid, size);
    for (int64_t i = 0; i < count; ++i) {
      trace.hidden_state(x);
      x = (*layer)[static_cast<size_t>(i)](x, masks.defined() ? masks[i] : Tensor(), trace);
      if (positions.defined() && i + 1 < count) x = x + positions[i];
    }
    trace.hidden_state(x);
    return x;
  }
};
TORCH_MODULE(YolosEncoder);

struct YolosPreTrainedModel : PreTrainedModel {
  using Config = YolosConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "vit"}; }
};

constexpr std::array<std::string_view, 3> kImageArguments = {"pixel_values", "output_hidden_states",
                                                             "output_attentions"};

struct YolosModel : YolosPreTrainedModel {
  YolosEmbeddings embeddings;
  YolosEncoder encoder;
  nn::LayerNorm layernorm;
  vit::ViTPooler pooler{nullptr};

  explicit YolosModel(const YolosConfig& c, bool add_pooling_layer = true)
      : YolosPreTrainedModel(c),
        embeddings(register_module("embeddings", YolosEmbeddings(c))),
        encoder(register_module("encoder", YolosEncoder(c))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {
    if (add_pooling_layer) pooler = register_module("pooler", vit::ViTPooler(c.hidden_size, c.hidden_size, "tanh"));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "head_mask");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, config());
    const Tensor pixels = inputs.tensor("pixel_values");
    Tensor x = embeddings(pixels);
    x = layernorm(encoder(x, embeddings->grid(pixels), inputs.tensor("head_mask"), trace));
    ModelOutput output;
    output.set("last_hidden_state", x);
    if (pooler) output.set("pooler_output", pooler(x));
    trace.write(output);
    return output;
  }
};

struct YolosForObjectDetection : YolosPreTrainedModel {
  const YolosConfig& c;
  std::shared_ptr<YolosModel> vit;
  nn::MlpHead class_labels_classifier, bbox_predictor;

  explicit YolosForObjectDetection(const YolosConfig& config)
      : YolosPreTrainedModel(config),
        c(config),
        vit(register_module("vit", std::make_shared<YolosModel>(c, false))),
        class_labels_classifier(register_module("class_labels_classifier",
                                                nn::MlpHead(c.hidden_size, c.hidden_size, c.num_labels() + 1, 3))),
        bbox_predictor(register_module("bbox_predictor", nn::MlpHead(c.hidden_size, c.hidden_size, 4, 3))) {}

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = vit->forward(inputs);
    const Tensor x = base["last_hidden_state"].slice(1, -c.num_detection_tokens);
    ModelOutput output;
    output.set("logits", class_labels_classifier(x));
    output.set("pred_boxes", at::sigmoid(bbox_predictor(x)));
    output.set("last_hidden_state", base["last_hidden_state"]);
    output.pass_on(base);
    return output;
  }
};

BACKPLANE_PLUGIN(yolos, plugin) {
  plugin.config<YolosConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "YolosFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "YolosImageProcessor", "YolosImageProcessorFast");
  plugin.model<YolosModel>(Auto::Model);
  plugin.model<YolosForObjectDetection>(Auto::ForObjectDetection);
}

}  // namespace backplane::yolos
