// Swin V2: Liu et al. 2021, https://arxiv.org/abs/2111.09883
// Swin V2 is Swin except: scaled cosine attention, positions made by a network, norms behind attention and feed-forward
// part. Reference: transformers, models/swinv2/modeling_swinv2.py

#include "modeling_swinv2.h"

#include "configuration_swinv2.h"

namespace backplane::swinv2 {

struct Swinv2PatchMergingImpl : nn::Module {
  nn::Linear reduction;
  nn::LayerNorm norm;

  explicit Swinv2PatchMergingImpl(int64_t dim)
      : reduction(register_module("reduction", nn::Linear(4 * dim, 2 * dim, false))),
        norm(register_module("norm", nn::LayerNorm(2 * dim))) {}

  // x [batch, height * width, dim] -> [batch, height / 2 * width / 2, 2 * dim]
  Tensor forward(const Tensor& x, Size2 size) { return norm(reduction(swin::four_neighbours(x, size))); }
};
TORCH_MODULE(Swinv2PatchMerging);

struct Swinv2EncoderImpl : swin::SwinEncoderOfImpl<Swinv2Layer, Swinv2PatchMerging> {
  explicit Swinv2EncoderImpl(const Swinv2Config& c)
      : SwinEncoderOfImpl(c, [&](size_t stage, double drop, bool shifted) {
          const Size2 grid = patch_grid(c.image_size, c.patch_size);
          const Size2 resolution = {grid[0] >> stage, grid[1] >> stage};
          if (resolution[0] == 0 || resolution[1] == 0)
            throw Error(ErrorCode::bad_config,
                        concat("config.json: image_size is too small for ", stage + 1, " stages"));
          return Swinv2Layer(c, c.channels(stage), c.num_heads[stage], resolution, drop, shifted,
                             c.pretrained_window_sizes[stage]);
        }) {}
};
TORCH_MODULE(Swinv2Encoder);

struct Swinv2PreTrainedModel : PreTrainedModel {
  using Config = Swinv2Config;
  static constexpr bool supports_sdpa = false;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "swinv2", .ignore_unexpected = {"relative_position_index$", "relative_coords_table$"}};
  }
};

struct Swinv2Model : Swinv2PreTrainedModel {
  bool pools;
  swin::SwinEmbeddings embeddings;
  Swinv2Encoder encoder;
  nn::LayerNorm layernorm;

  explicit Swinv2Model(const Swinv2Config& c, bool add_pooling_layer = true, bool use_mask_token = false)
      : Swinv2PreTrainedModel(c),
        pools(add_pooling_layer),
        embeddings(register_module("embeddings", swin::SwinEmbeddings(c, use_mask_token))),
        encoder(register_module("encoder", Swinv2Encoder(c))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(swin::kImageArguments, "bool_masked_pos");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    return swin::swin_model(inputs, config(), embeddings, encoder, layernorm, pools);
  }
};

struct Swinv2ForMaskedImageModeling : Swinv2PreTrainedModel {
  const Swinv2Config& c;
  std::shared_ptr<Swinv2Model> swinv2;
  nn::Sequence decoder;

  explicit Swinv2ForMaskedImageModeling(const Swinv2Config& config)
      : Swinv2PreTrainedModel(config),
        c(config),
        swinv2(register_module("swinv2", std::make_shared<Swinv2Model>(c, false, true))),
        decoder(register_module(
            "decoder", nn::Sequence(nn::Conv2d(c.hidden_size, c.encoder_stride * c.encoder_stride * c.num_channels, 1),
                                    pixel_shuffle(c.encoder_stride)))) {}

  std::span<const std::string_view> arguments() const override { return swinv2->arguments(); }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = swinv2->forward(inputs);
    const Tensor x = base["last_hidden_state"], mask = inputs.tensor("bool_masked_pos");
    const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(x.size(1))));
    const Tensor images = decoder(tokens_to_map(x, {side, side}));
    ModelOutput output;
    if (mask.defined()) {
      output.set("loss",
                 masked_image_loss(inputs["pixel_values"], images, mask, size_of(c.patch_size, "patch_size")[0]));
    }
    output.set("reconstruction", images);
    output.pass_on(base);
    output.set("reshaped_hidden_states", base.tuple("reshaped_hidden_states"));
    return output;
  }
};

struct Swinv2ForImageClassification : Swinv2PreTrainedModel {
  std::shared_ptr<Swinv2Model> swinv2;
  nn::Linear classifier{nullptr};

  explicit Swinv2ForImageClassification(const Swinv2Config& c)
      : Swinv2PreTrainedModel(c), swinv2(register_module("swinv2", std::make_shared<Swinv2Model>(c))) {
    if (c.num_labels() > 0) classifier = register_module("classifier", nn::Linear(c.hidden_size, c.num_labels()));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(swin::kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = swinv2->forward(inputs.select(swinv2->arguments()));
    const Tensor x = base["pooler_output"];
    auto output = classifier_output(classifier ? classifier(x) : x, inputs, config(), base);
    output.set("reshaped_hidden_states", base.tuple("reshaped_hidden_states"));
    return output;
  }
};

struct Swinv2Backbone : Swinv2PreTrainedModel {
  const Swinv2Config& c;
  swin::SwinEmbeddings embeddings;
  Swinv2Encoder encoder;

  explicit Swinv2Backbone(const Swinv2Config& config)
      : Swinv2PreTrainedModel(config),
        c(config),
        embeddings(register_module("embeddings", swin::SwinEmbeddings(c, false))),
        encoder(register_module("encoder", Swinv2Encoder(c))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 3> kArguments = {"pixel_values", "output_hidden_states",
                                                                   "output_attentions"};
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, c);
    std::vector<Tensor> maps;
    const auto [tokens, size] = embeddings->forward(inputs.tensor("pixel_values"), {}, false);
    encoder->forward(tokens, size, {.before_downsampling = true}, &maps, trace);
    return backbone_output(c, maps, trace, [](size_t, const Tensor& x) { return x; });
  }
};

BACKPLANE_PLUGIN(swinv2, plugin) {
  plugin.config<Swinv2Config>();
  plugin.preprocessor(Auto::FeatureExtractor, "ViTFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "ViTImageProcessor", "ViTImageProcessorFast");
  plugin.model<Swinv2Model>(Auto::Model);
  plugin.model<Swinv2ForImageClassification>(Auto::ForImageClassification);
  plugin.model<Swinv2ForMaskedImageModeling>(Auto::ForMaskedImageModeling);
  plugin.model<Swinv2Backbone>(Auto::Backbone);
}

}  // namespace backplane::swinv2
