// DPT: Ranftl et al. 2021, https://arxiv.org/abs/2103.13413
// Layers of a ViT, or of another backbone, become maps of four sizes, which convolutions fuse, coarse to fine, into
// depths or classes. Reference: transformers, models/dpt/modeling_dpt.py

#include <algorithm>

#include "../vit/modeling_vit.h"
#include "configuration_dpt.h"

namespace backplane::dpt {

static nn::Conv2d conv3(int64_t in, int64_t out, bool with_bias = true) {
  return nn::Conv2d(in, out, 3, nn::Square{.padding = 1, .with_bias = with_bias});
}
static Tensor twice(const Tensor& x) { return resize(x, {2 * x.size(2), 2 * x.size(3)}, Resampling::bilinear, true); }

// Tokens of an image, or of the last map of a convolutional backbone (is_hybrid), with positions of any size.
struct DPTViTEmbeddingsImpl : nn::Module {
  Size2 patch;
  Tensor cls_token, position_embeddings;
  nn::PatchEmbeddings patch_embeddings{nullptr};
  std::shared_ptr<PreTrainedModel> backbone;
  nn::Conv2d projection{nullptr};
  nn::Dropout dropout;

  explicit DPTViTEmbeddingsImpl(const DPTConfig& c)
      : patch(size_of(c.patch_size, "patch_size")),
        dropout(register_module("dropout", nn::Dropout(c.is_hybrid ? 0 : c.hidden_dropout_prob))) {
    const Size2 grid = patch_grid(c.image_size, c.patch_size);
    if (c.is_hybrid) {
      const auto channels = dynamic_cast<const BackboneConfig&>(*c.backbone_config).out_channels();
      if (channels.size() != 3)
        throw Error(ErrorCode::bad_config,
                    concat("is_hybrid needs 3 feature maps; the backbone gives ", channels.size()));
      backbone = register_module("backbone", make_model(Auto::Backbone, *c.backbone_config));
      projection = register_module("projection", nn::Conv2d((*c.backbone_featmap_shape)[1], c.hidden_size, 1));
    } else {
      patch_embeddings = register_module(
          "patch_embeddings", nn::PatchEmbeddings(c.image_size, c.patch_size, c.num_channels, c.hidden_size));
    }
    cls_token = register_parameter("cls_token", nn::parameter({1, 1, c.hidden_size}));
    position_embeddings =
        register_parameter("position_embeddings", nn::parameter({1, grid[0] * grid[1] + 1, c.hidden_size}));
  }

  Size2 grid(const Tensor& pixels) const { return {pixels.size(2) / patch[0], pixels.size(3) / patch[1]}; }

  // The finer maps of the backbone go to `maps`.
  Tensor forward(const Tensor& pixels, std::vector<Tensor>& maps) {
    Tensor x;
    if (backbone) {
      maps = backbone->forward({{"pixel_values", pixels}}).tuple("feature_maps");
      x = map_to_tokens(projection(maps.back()));
      maps.pop_back();
    } else {
      x = patch_embeddings(pixels, true);
    }
    return dropout(at::cat({cls_token.expand({x.size(0), -1, -1}), x}, 1) + positions(grid(pixels)));
  }

  Tensor positions(Size2 grid) const {
    const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(position_embeddings.size(1) - 1)));
    if (side * side != position_embeddings.size(1) - 1) return position_embeddings;
    const Tensor map = tokens_to_map(position_embeddings.slice(1, 1), {side, side});
    return at::cat({position_embeddings.slice(1, 0, 1), map_to_tokens(resize(map, grid, Resampling::bilinear))}, 1);
  }
};
TORCH_MODULE(DPTViTEmbeddings);

struct DPTPreTrainedModel : PreTrainedModel {
  using Config = DPTConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "dpt"}; }
};

constexpr std::array<std::string_view, 4> kImageArguments = {"pixel_values", "head_mask", "output_hidden_states",
                                                             "output_attentions"};

struct DPTModel : DPTPreTrainedModel {
  const DPTConfig& c;
  DPTViTEmbeddings embeddings;
  vit::ViTEncoder encoder;
  nn::LayerNorm layernorm;
  vit::ViTPooler pooler{nullptr};

  explicit DPTModel(const DPTConfig& config, bool add_pooling_layer = true)
      : DPTPreTrainedModel(config),
        c(config),
        embeddings(register_module("embeddings", DPTViTEmbeddings(c))),
        encoder(register_module("encoder", vit::ViTEncoder(c))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {
    if (add_pooling_layer)
      pooler = register_module("pooler", vit::ViTPooler(c.hidden_size, *c.pooler_output_size, c.pooler_act));
  }

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, c);
    std::vector<Tensor> maps;
    const Tensor pixels = inputs.tensor("pixel_values");
    check_images(pixels, c.num_channels);
    const Tensor x = layernorm(encoder(embeddings->forward(pixels, maps), inputs.tensor("head_mask"), trace));
    ModelOutput output;
    output.set("last_hidden_state", x);
    if (pooler) output.set("pooler_output", pooler(x));
    trace.write(output);
    output.set("intermediate_activations", maps);
    return output;
  }

  // The states that the neck takes: tokens [batch, 1 + patches, hidden], before them the maps of a hybrid's backbone.
  std::vector<Tensor> features(const ModelInputs& inputs, Trace& trace) {
    std::vector<Tensor> taken;
    const Tensor pixels = inputs.tensor("pixel_values");
    check_images(pixels, c.num_channels);
    const bool keeps = std::exchange(trace.keeps_hidden_states, true);
    encoder(embeddings->forward(pixels, taken), inputs.tensor("head_mask"), trace);
    trace.keeps_hidden_states = keeps;
    for (size_t i = taken.size(); i < c.backbone_out_indices->size(); ++i)
      taken.push_back(trace.hidden_states[static_cast<size_t>((*c.backbone_out_indices)[i]) + 1]);
    return taken;
  }
};

struct DPTReassembleLayerImpl : nn::Module {
  nn::Conv2d projection, shrink{nullptr};
  nn::ConvTranspose2d grow{nullptr};

  DPTReassembleLayerImpl(int64_t in, int64_t out, double factor)
      : projection(register_module("projection", nn::Conv2d(in, out, 1))) {
    if (factor > 1) {
      const auto times = static_cast<int64_t>(factor);
      grow =
          register_module("resize", nn::ConvTranspose2d(out, out, times, nn::ConvOptions<2>{.stride = {times, times}}));
    } else if (factor < 1) {
      shrink = register_module(
          "resize", nn::Conv2d(out, out, 3, nn::Square{.stride = static_cast<int64_t>(1 / factor), .padding = 1}));
    }
  }

  Tensor forward(const Tensor& x) {
    const Tensor h = projection(x);
    return grow ? grow(h) : shrink ? shrink(h) : h;
  }
};
TORCH_MODULE(DPTReassembleLayer);

static int64_t token_size(const DPTConfig& c) {
  if (!c.use_autobackbone) return c.hidden_size;
  const auto channels = dynamic_cast<const BackboneConfig&>(*c.backbone_config).stage_channels();
  return channels.back();
}

struct DPTReassembleStageImpl : nn::Module {
  std::string readout;
  std::vector<DPTReassembleLayer> layers;  // empty where a stage is ignored
  std::vector<nn::Sequence> readout_projects;
  std::vector<int64_t> ignored;

  explicit DPTReassembleStageImpl(const DPTConfig& c) : readout(c.readout_type), ignored(c.neck_ignore_stages) {
    auto all_layers = register_module("layers", std::make_shared<nn::Module>());
    auto all_readouts = register_module("readout_projects", std::make_shared<nn::Module>());
    const int64_t size = token_size(c);
    for (size_t i = 0; i < c.neck_hidden_sizes.size(); ++i) {
      layers.emplace_back(nullptr);
      readout_projects.emplace_back(nullptr);
      if (c.is_hybrid && i <= 1) continue;
      const std::string place = std::to_string(i);
      layers[i] =
          all_layers->register_module(place, DPTReassembleLayer(size, c.neck_hidden_sizes[i], c.reassemble_factors[i]));
      if (readout == "project") {
        readout_projects[i] =
            all_readouts->register_module(place, nn::Sequence(nn::Linear(2 * size, size), activation(c.hidden_act)));
      }
    }
  }

  // grid: of the patches; where it has no numbers, the patches are a square
  Tensor forward(const Tensor& x, size_t stage, std::optional<Size2> grid) {
    if (std::find(ignored.begin(), ignored.end(), static_cast<int64_t>(stage)) != ignored.end()) return x;
    const Tensor first = x.slice(1, 0, 1);
    Tensor tokens = x.slice(1, 1);
    const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(tokens.size(1))));
    if (readout == "project") tokens = readout_projects[stage](at::cat({tokens, first.expand_as(tokens)}, -1));
    if (readout == "add") tokens = tokens + first;
    const Tensor map = tokens_to_map(tokens, grid.value_or(Size2{side, side}));
    return layers[stage] ? layers[stage](map) : map;
  }
};
TORCH_MODULE(DPTReassembleStage);

struct DPTPreActResidualLayerImpl : nn::Module {
  nn::Conv2d convolution1, convolution2;
  nn::BatchNorm batch_norm1{nullptr}, batch_norm2{nullptr};

  DPTPreActResidualLayerImpl(const DPTConfig& c, bool with_bias)
      : convolution1(register_module("convolution1", conv3(c.fusion_hidden_size, c.fusion_hidden_size, with_bias))),
        convolution2(register_module("convolution2", conv3(c.fusion_hidden_size, c.fusion_hidden_size, with_bias))) {
    if (c.use_batch_norm_in_fusion_residual) {
      batch_norm1 = register_module("batch_norm1", nn::BatchNorm(c.fusion_hidden_size));
      batch_norm2 = register_module("batch_norm2", nn::BatchNorm(c.fusion_hidden_size));
    }
  }

  Tensor forward(const Tensor& x) {
    Tensor h = convolution1(at::relu(x));
    if (batch_norm1) h = batch_norm1(h);
    h = convolution2(at::relu(h));
    if (batch_norm2) h = batch_norm2(h);
    return h + x;
  }
};
TORCH_MODULE(DPTPreActResidualLayer);

struct DPTFeatureFusionLayerImpl : nn::Module {
  nn::Conv2d projection;
  DPTPreActResidualLayer residual_layer1{nullptr}, residual_layer2{nullptr};

  explicit DPTFeatureFusionLayerImpl(const DPTConfig& c)
      : projection(register_module("projection", nn::Conv2d(c.fusion_hidden_size, c.fusion_hidden_size, 1))) {
    const bool with_bias = c.use_bias_in_fusion_residual.value_or(!c.use_batch_norm_in_fusion_residual);
    residual_layer1 = register_module("residual_layer1", DPTPreActResidualLayer(c, with_bias));
    residual_layer2 = register_module("residual_layer2", DPTPreActResidualLayer(c, with_bias));
  }

  // x [batch, fusion, h, w], finer: the next map or undefined -> [batch, fusion, 2 h, 2 w]
  Tensor forward(Tensor x, const Tensor& finer) {
    if (finer.defined()) x = x + residual_layer1(resize(finer, {x.size(2), x.size(3)}, Resampling::bilinear));
    return projection(twice(residual_layer2(x)));
  }
};
TORCH_MODULE(DPTFeatureFusionLayer);

struct DPTFeatureFusionStageImpl : nn::Module {
  nn::Layers<DPTFeatureFusionLayer> layers;

  explicit DPTFeatureFusionStageImpl(const DPTConfig& c)
      : layers(register_module("layers",
                               nn::Layers<DPTFeatureFusionLayer>(static_cast<int64_t>(c.neck_hidden_sizes.size()),
                                                                 [&](int64_t) { return DPTFeatureFusionLayer(c); }))) {}
};
TORCH_MODULE(DPTFeatureFusionStage);

struct DPTNeckImpl : nn::Module {
  DPTReassembleStage reassemble_stage{nullptr};
  nn::Layers<nn::Conv2d> convs;
  DPTFeatureFusionStage fusion_stage;

  explicit DPTNeckImpl(const DPTConfig& c)
      : convs(register_module("convs", nn::Layers<nn::Conv2d>(static_cast<int64_t>(c.neck_hidden_sizes.size()),
                                                              [&](int64_t i) {
                                                                return conv3(
                                                                    c.neck_hidden_sizes[static_cast<size_t>(i)],
                                                                    c.fusion_hidden_size, false);
                                                              }))),
        fusion_stage(register_module("fusion_stage", DPTFeatureFusionStage(c))) {
    // Maps of a hierarchical backbone have their sizes already.
    if (!c.backbone_config || c.backbone_config->model_type_name != "swinv2")
      reassemble_stage = register_module("reassemble_stage", DPTReassembleStage(c));
  }

  // One state a stage, the finest first -> the fused maps, the coarsest first
  std::vector<Tensor> forward(const std::vector<Tensor>& states, std::optional<Size2> grid) {
    if (states.size() != convs->size()) {
      throw Error(ErrorCode::bad_config,
                  concat("the backbone gives ", states.size(), " states; neck_hidden_sizes has ", convs->size()));
    }
    std::vector<Tensor> fused;
    for (size_t i = states.size(); i-- > 0;) {
      const Tensor map = (*convs)[i](reassemble_stage ? reassemble_stage->forward(states[i], i, grid) : states[i]);
      auto& layer = (*fusion_stage->layers)[fused.size()];
      fused.push_back(fused.empty() ? layer(map, Tensor()) : layer(fused.back(), map));
    }
    return fused;
  }
};
TORCH_MODULE(DPTNeck);

static const Tensor& head_input(const std::vector<Tensor>& fused, const DPTConfig& c) {
  const auto count = static_cast<int64_t>(fused.size());
  return fused.at(static_cast<size_t>(c.head_in_index < 0 ? c.head_in_index + count : c.head_in_index));
}

struct DPTDepthEstimationHeadImpl : nn::Module {
  nn::Conv2d projection{nullptr};
  nn::Sequence head;

  explicit DPTDepthEstimationHeadImpl(const DPTConfig& c)
      : head(register_module("head", nn::Sequence(conv3(c.fusion_hidden_size, c.fusion_hidden_size / 2), twice,
                                                  conv3(c.fusion_hidden_size / 2, 32), activation("relu"),
                                                  nn::Conv2d(32, 1, 1), activation("relu")))) {
    if (c.add_projection) projection = register_module("projection", conv3(256, 256));
  }

  Tensor forward(const Tensor& x) { return head(projection ? at::relu(projection(x)) : x).squeeze(1); }
};
TORCH_MODULE(DPTDepthEstimationHead);

struct DPTForDepthEstimation : DPTPreTrainedModel {
  const DPTConfig& c;
  std::shared_ptr<PreTrainedModel> backbone;
  std::shared_ptr<DPTModel> dpt;
  DPTNeck neck{nullptr};
  DPTDepthEstimationHead head{nullptr};

  explicit DPTForDepthEstimation(const DPTConfig& config) : DPTPreTrainedModel(config), c(config) {
    if (c.use_autobackbone) {
      if (!c.backbone_config)
        throw Error(ErrorCode::bad_config,
                    concat("the backbone '", *c.backbone, "' is only named; give a backbone_config"));
      backbone = register_module("backbone", make_model(Auto::Backbone, *c.backbone_config));
    } else {
      dpt = register_module("dpt", std::make_shared<DPTModel>(c, false));
    }
    neck = register_module("neck", DPTNeck(c));
    head = register_module("head", DPTDepthEstimationHead(c));
  }

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    ModelOutput output;
    if (backbone) {
      const auto base = backbone->forward(inputs.select(backbone->arguments()));
      const auto states = base.tuple("feature_maps");
      output.set("predicted_depth",
                 head(head_input(neck->forward(states, grid_of(states, inputs["pixel_values"])), c)));
      output.pass_on(base);
      return output;
    }
    Trace trace(inputs, c);
    const auto states = dpt->features(inputs, trace);
    output.set("predicted_depth", head(head_input(neck->forward(states, std::nullopt), c)));
    trace.write(output);
    return output;
  }

  // The grid of square patches that makes as many tokens of the image, next to the one in front.
  static std::optional<Size2> grid_of(const std::vector<Tensor>& states, const Tensor& pixels) {
    if (states.empty() || states[0].dim() != 3) return std::nullopt;
    const int64_t count = states[0].size(1) - 1;
    for (int64_t patch = std::min(pixels.size(2), pixels.size(3)); patch > 0; --patch) {
      const Size2 grid = {pixels.size(2) / patch, pixels.size(3) / patch};
      if (grid[0] * grid[1] == count) return grid;
    }
    return std::nullopt;
  }
};

struct DPTSemanticSegmentationHeadImpl : nn::Module {
  nn::Sequence head;

  explicit DPTSemanticSegmentationHeadImpl(const DPTConfig& c)
      : head(register_module("head", nn::Sequence(conv3(c.fusion_hidden_size, c.fusion_hidden_size, false),
                                                  nn::BatchNorm(c.fusion_hidden_size), activation("relu"),
                                                  nn::Dropout(c.semantic_classifier_dropout),
                                                  nn::Conv2d(c.fusion_hidden_size, c.num_labels(), 1), twice))) {}

  Tensor forward(const Tensor& x) { return head(x); }
};
TORCH_MODULE(DPTSemanticSegmentationHead);

struct DPTAuxiliaryHeadImpl : nn::Module {
  nn::Sequence head;

  explicit DPTAuxiliaryHeadImpl(const DPTConfig& c)
      : head(register_module(
            "head",
            nn::Sequence(conv3(c.fusion_hidden_size, c.fusion_hidden_size, false), nn::BatchNorm(c.fusion_hidden_size),
                         activation("relu"), nn::Dropout(0.1), nn::Conv2d(c.fusion_hidden_size, c.num_labels(), 1)))) {}

  Tensor forward(const Tensor& x) { return head(x); }
};
TORCH_MODULE(DPTAuxiliaryHead);

struct DPTForSemanticSegmentation : DPTPreTrainedModel {
  const DPTConfig& c;
  std::shared_ptr<DPTModel> dpt;
  DPTNeck neck;
  DPTSemanticSegmentationHead head;
  DPTAuxiliaryHead auxiliary_head{nullptr};

  explicit DPTForSemanticSegmentation(const DPTConfig& config)
      : DPTPreTrainedModel(config),
        c(config),
        dpt(register_module("dpt", std::make_shared<DPTModel>(c, false))),
        neck(register_module("neck", DPTNeck(c))),
        head(register_module("head", DPTSemanticSegmentationHead(c))) {
    if (!c.backbone_out_indices)
      throw Error(ErrorCode::bad_config, "segmentation is not possible over a backbone_config");
    if (c.use_auxiliary_head) auxiliary_head = register_module("auxiliary_head", DPTAuxiliaryHead(c));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, c);
    const auto fused = neck->forward(dpt->features(inputs, trace), std::nullopt);
    const Tensor logits = head(head_input(fused, c)), labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) {
      if (c.num_labels() == 1)
        throw Error(ErrorCode::invalid_value, "the loss needs more than one label; the config has one");
      Tensor loss = segmentation_loss(logits, labels, c.semantic_loss_ignore_index);
      if (auxiliary_head) {
        loss = loss + c.auxiliary_loss_weight *
                          segmentation_loss(auxiliary_head(fused.back()), labels, c.semantic_loss_ignore_index);
      }
      output.set("loss", loss);
    }
    output.set("logits", logits);
    trace.write(output);
    return output;
  }
};

BACKPLANE_PLUGIN(dpt, plugin) {
  plugin.config<DPTConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "DPTFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "DPTImageProcessor", "DPTImageProcessorFast");
  plugin.model<DPTModel>(Auto::Model);
  plugin.model<DPTForDepthEstimation>(Auto::ForDepthEstimation);
  plugin.model<DPTForSemanticSegmentation>(Auto::ForSemanticSegmentation);
}

}  // namespace backplane::dpt
