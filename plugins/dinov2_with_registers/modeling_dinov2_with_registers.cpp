// DINOv2 with registers: Darcet et al. 2023, https://arxiv.org/abs/2309.16588
// It is DINOv2 except: learned register tokens stand between the class token and the patches, and positions are resized
// with antialiasing. Reference: transformers, models/dinov2_with_registers/modeling_dinov2_with_registers.py

#include "../dinov2/modeling_dinov2.h"
#include "configuration_dinov2_with_registers.h"

namespace backplane::dinov2_with_registers {

struct Dinov2WithRegistersEmbeddingsImpl : nn::Module {
  Tensor cls_token, mask_token, register_tokens, position_embeddings;
  nn::PatchEmbeddings patch_embeddings;
  nn::Dropout dropout;

  explicit Dinov2WithRegistersEmbeddingsImpl(const Dinov2WithRegistersConfig& c)
      : patch_embeddings(register_module(
            "patch_embeddings", nn::PatchEmbeddings(c.image_size, c.patch_size, c.num_channels, c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {
    cls_token = register_parameter("cls_token", nn::parameter({1, 1, c.hidden_size}));
    mask_token = register_parameter("mask_token", nn::parameter({1, c.hidden_size}));
    register_tokens = register_parameter("register_tokens", nn::parameter({1, c.num_register_tokens, c.hidden_size}));
    position_embeddings =
        register_parameter("position_embeddings", nn::parameter({1, patch_embeddings->patches() + 1, c.hidden_size}));
  }

  // pixel_values [batch, channels, height, width], of any size -> [batch, 1 + registers + patches, hidden]
  Tensor forward(const Tensor& pixel_values, const Tensor& bool_masked_pos) {
    Tensor x = patch_embeddings(pixel_values, true);
    if (mask_token.defined()) x = vit::put_mask_tokens(x, mask_token, bool_masked_pos);
    x = at::cat({cls_token.expand({x.size(0), -1, -1}), x}, 1);
    x = x + positions(pixel_values);
    return dropout(at::cat({x.slice(1, 0, 1), register_tokens.expand({x.size(0), -1, -1}), x.slice(1, 1)}, 1));
  }

  Tensor positions(const Tensor& pixel_values) const {
    const Size2 grid = {pixel_values.size(2) / patch_embeddings->patch[0],
                        pixel_values.size(3) / patch_embeddings->patch[1]};
    if (grid == patch_embeddings->grid) return position_embeddings;
    const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(patch_embeddings->patches())));
    const Tensor map = tokens_to_map(position_embeddings.slice(1, 1), {side, side}).to(at::kFloat);
    const Tensor resized = at::_upsample_bicubic2d_aa(map, grid, false).to(position_embeddings.scalar_type());
    return at::cat({position_embeddings.slice(1, 0, 1), map_to_tokens(resized)}, 1);
  }
};
TORCH_MODULE(Dinov2WithRegistersEmbeddings);

struct Dinov2WithRegistersPreTrainedModel : PreTrainedModel {
  using Config = Dinov2WithRegistersConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "dinov2_with_registers"}; }
};

struct Dinov2WithRegistersModel : Dinov2WithRegistersPreTrainedModel {
  const Dinov2WithRegistersConfig& c;
  Dinov2WithRegistersEmbeddings embeddings;
  dinov2::Dinov2Encoder encoder;
  nn::LayerNorm layernorm;

  explicit Dinov2WithRegistersModel(const Dinov2WithRegistersConfig& config)
      : Dinov2WithRegistersPreTrainedModel(config),
        c(config),
        embeddings(register_module("embeddings", Dinov2WithRegistersEmbeddings(c))),
        encoder(register_module("encoder", dinov2::Dinov2Encoder(c))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(dinov2::kImageArguments, "bool_masked_pos");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    return dinov2::dinov2_model(embeddings(inputs.tensor("pixel_values"), inputs.tensor("bool_masked_pos")), inputs, c,
                                encoder, layernorm);
  }
};

struct Dinov2WithRegistersForImageClassification : Dinov2WithRegistersPreTrainedModel {
  const Dinov2WithRegistersConfig& c;
  std::shared_ptr<Dinov2WithRegistersModel> dinov2_with_registers;
  nn::Linear classifier{nullptr};

  explicit Dinov2WithRegistersForImageClassification(const Dinov2WithRegistersConfig& config)
      : Dinov2WithRegistersPreTrainedModel(config),
        c(config),
        dinov2_with_registers(register_module("dinov2_with_registers", std::make_shared<Dinov2WithRegistersModel>(c))) {
    if (c.num_labels() > 0) classifier = register_module("classifier", nn::Linear(2 * c.hidden_size, c.num_labels()));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(dinov2::kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = dinov2_with_registers->forward(inputs.select(dinov2_with_registers->arguments()));
    const Tensor x = dinov2::dinov2_summary(base["last_hidden_state"], 1 + c.num_register_tokens);
    return classifier_output(classifier ? classifier(x) : x, inputs, c, base);
  }
};

struct Dinov2WithRegistersBackbone : Dinov2WithRegistersPreTrainedModel {
  const Dinov2WithRegistersConfig& c;
  Dinov2WithRegistersEmbeddings embeddings;
  dinov2::Dinov2Encoder encoder;
  nn::LayerNorm layernorm;

  explicit Dinov2WithRegistersBackbone(const Dinov2WithRegistersConfig& config)
      : Dinov2WithRegistersPreTrainedModel(config),
        c(config),
        embeddings(register_module("embeddings", Dinov2WithRegistersEmbeddings(c))),
        encoder(register_module("encoder", dinov2::Dinov2Encoder(c))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 3> kArguments = {"pixel_values", "output_hidden_states",
                                                                   "output_attentions"};
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    return dinov2::dinov2_backbone(embeddings(inputs.tensor("pixel_values"), Tensor()), inputs, c,
                                   1 + c.num_register_tokens, encoder, layernorm);
  }
};

BACKPLANE_PLUGIN(dinov2_with_registers, plugin) {
  plugin.config<Dinov2WithRegistersConfig>();
  plugin.model<Dinov2WithRegistersModel>(Auto::Model);
  plugin.model<Dinov2WithRegistersForImageClassification>(Auto::ForImageClassification);
  plugin.model<Dinov2WithRegistersBackbone>(Auto::Backbone);
}

}  // namespace backplane::dinov2_with_registers
