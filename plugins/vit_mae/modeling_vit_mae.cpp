// ViTMAE: He et al. 2021, https://arxiv.org/abs/2111.06377
// ViTMAE is ViT except: most patches are dropped at random before the encoder, and a small decoder restores their
// pixels. Reference: transformers, models/vit_mae/modeling_vit_mae.py

#include "../vit/modeling_vit.h"
#include "configuration_vit_mae.h"

namespace backplane::vit_mae {

// Rows of x [batch, seq, dim] by index [batch, n] -> [batch, n, dim]
static Tensor rows(const Tensor& x, const Tensor& index) {
  return x.gather(1, index.unsqueeze(-1).expand({-1, -1, x.size(2)}));
}

struct Masked {
  Tensor x;            // [batch, 1 + kept, hidden]
  Tensor mask;         // [batch, patches], 1 where a patch was dropped
  Tensor ids_restore;  // [batch, patches]
};

struct ViTMAEEmbeddingsImpl : nn::Module {
  double mask_ratio;
  Tensor cls_token, position_embeddings;
  nn::PatchEmbeddings patch_embeddings;

  explicit ViTMAEEmbeddingsImpl(const ViTMAEConfig& c)
      : mask_ratio(c.mask_ratio),
        patch_embeddings(register_module(
            "patch_embeddings", nn::PatchEmbeddings(c.image_size, c.patch_size, c.num_channels, c.hidden_size))) {
    cls_token = register_parameter("cls_token", nn::parameter({1, 1, c.hidden_size}));
    position_embeddings = register_parameter("position_embeddings",
                                             nn::parameter({1, patch_embeddings->patches() + 1, c.hidden_size}), false);
  }

  // noise [batch, patches] or undefined: the patches with the least of it stay.
  Masked forward(const Tensor& pixel_values, Tensor noise, bool interpolate) {
    const Tensor patches = patch_embeddings(pixel_values, interpolate);
    const Tensor positions = vit::positions_for(position_embeddings, 1, patch_embeddings, pixel_values);
    const Tensor x = patches + positions.slice(1, 1);
    const int64_t seq = x.size(1), kept = static_cast<int64_t>(static_cast<double>(seq) * (1 - mask_ratio));
    if (!noise.defined()) noise = at::rand({x.size(0), seq});
    const Tensor shuffled = at::argsort(noise, int64_t{1}), restore = at::argsort(shuffled, int64_t{1});
    Tensor mask = at::ones({x.size(0), seq}, x.options());
    mask.slice(1, 0, kept).zero_();
    const Tensor first = (cls_token + positions.slice(1, 0, 1)).expand({x.size(0), -1, -1});
    return {at::cat({first, rows(x, shuffled.slice(1, 0, kept))}, 1), mask.gather(1, restore), restore};
  }
};
TORCH_MODULE(ViTMAEEmbeddings);

struct ViTMAEPreTrainedModel : PreTrainedModel {
  using Config = ViTMAEConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "vit"}; }
};

struct ViTMAEModel : ViTMAEPreTrainedModel {
  ViTMAEEmbeddings embeddings;
  vit::ViTEncoder encoder;
  nn::LayerNorm layernorm;

  explicit ViTMAEModel(const ViTMAEConfig& c)
      : ViTMAEPreTrainedModel(c),
        embeddings(register_module("embeddings", ViTMAEEmbeddings(c))),
        encoder(register_module("encoder", vit::ViTEncoder(c))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(vit::kImageArguments, "noise");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, config());
    const Masked masked = embeddings->forward(inputs.tensor("pixel_values"), inputs.tensor("noise"),
                                              inputs.flag("interpolate_pos_encoding", false));
    ModelOutput output;
    output.set("last_hidden_state", layernorm(encoder(masked.x, inputs.tensor("head_mask"), trace)));
    output.set("mask", masked.mask);
    output.set("ids_restore", masked.ids_restore);
    trace.write(output);
    return output;
  }
};

static ViTMAEConfig decoder_config(ViTMAEConfig c) {
  c.hidden_size = c.decoder_hidden_size;
  c.num_hidden_layers = c.decoder_num_hidden_layers;
  c.num_attention_heads = c.decoder_num_attention_heads;
  c.intermediate_size = c.decoder_intermediate_size;
  return c;
}

struct ViTMAEDecoderImpl : nn::Module {
  Tensor mask_token, decoder_pos_embed;
  nn::Linear decoder_embed;
  nn::Layers<vit::ViTLayer> decoder_layers;
  nn::LayerNorm decoder_norm;
  nn::Linear decoder_pred;

  ViTMAEDecoderImpl(const ViTMAEConfig& c, const nn::PatchEmbeddings& patches)
      : decoder_embed(register_module("decoder_embed", nn::Linear(c.hidden_size, c.decoder_hidden_size))),
        decoder_layers(register_module(
            "decoder_layers", nn::Layers<vit::ViTLayer>(c.decoder_num_hidden_layers,
                                                        [&](int64_t) { return vit::ViTLayer(decoder_config(c)); }))),
        decoder_norm(register_module("decoder_norm", nn::LayerNorm(c.decoder_hidden_size, c.layer_norm_eps))),
        decoder_pred(register_module(
            "decoder_pred",
            nn::Linear(c.decoder_hidden_size, patches->patch[0] * patches->patch[1] * c.num_channels))) {
    mask_token = register_parameter("mask_token", nn::parameter({1, 1, c.decoder_hidden_size}));
    decoder_pos_embed = register_parameter("decoder_pos_embed",
                                           nn::parameter({1, patches->patches() + 1, c.decoder_hidden_size}), false);
  }

  // x [batch, 1 + kept, hidden] -> [batch, patches, pixels of a patch]
  Tensor forward(Tensor x, const Tensor& ids_restore, bool interpolate) {
    x = decoder_embed(x);
    const int64_t dropped = ids_restore.size(1) + 1 - x.size(1);
    const Tensor all = at::cat({x.slice(1, 1), mask_token.expand({x.size(0), dropped, -1})}, 1);
    x = at::cat({x.slice(1, 0, 1), rows(all, ids_restore)}, 1);
    x = x + (interpolate ? stretched_positions(x.size(1) - 1) : decoder_pos_embed);
    ModelInputs none;
    Trace trace(none, PretrainedConfig());
    for (auto& layer : *decoder_layers) x = layer(x, Tensor(), trace);
    return decoder_pred(decoder_norm(x)).slice(1, 1);
  }

  // The positions as one row of another length.
  Tensor stretched_positions(int64_t count) {
    const Tensor row = tokens_to_map(decoder_pos_embed.slice(1, 1), {1, decoder_pos_embed.size(1) - 1});
    return at::cat({decoder_pos_embed.slice(1, 0, 1), map_to_tokens(resize(row, {1, count}, Resampling::bicubic))}, 1);
  }
};
TORCH_MODULE(ViTMAEDecoder);

struct ViTMAEForPreTraining : ViTMAEPreTrainedModel {
  const ViTMAEConfig& c;
  std::shared_ptr<ViTMAEModel> vit;
  ViTMAEDecoder decoder;

  explicit ViTMAEForPreTraining(const ViTMAEConfig& config)
      : ViTMAEPreTrainedModel(config),
        c(config),
        vit(register_module("vit", std::make_shared<ViTMAEModel>(c))),
        decoder(register_module("decoder", ViTMAEDecoder(c, vit->embeddings->patch_embeddings))) {}

  std::span<const std::string_view> arguments() const override { return vit->arguments(); }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = vit->forward(inputs);
    const Tensor logits = decoder(base["last_hidden_state"], base["ids_restore"],
                                  inputs.flag("interpolate_pos_encoding", false)),
                 mask = base["mask"];
    Tensor target = patchify(inputs["pixel_values"]);
    if (c.norm_pix_loss) {
      target = (target - target.mean(-1, true)) / at::sqrt(target.var(-1, true, true) + 1e-6);
    }
    ModelOutput output;
    output.set("loss", ((logits - target).square().mean(-1) * mask).sum() / mask.sum());
    output.set("logits", logits);
    output.set("mask", mask);
    output.set("ids_restore", base["ids_restore"]);
    output.pass_on(base);
    return output;
  }

  // images [batch, channels, height, width] -> [batch, patches, pixels of a patch * channels]
  Tensor patchify(const Tensor& images) const {
    const Size2 patch = vit->embeddings->patch_embeddings->patch;
    if (images.size(2) % patch[0] || images.size(3) % patch[1]) {
      throw Error(ErrorCode::invalid_value, concat("images of ", images.size(2), " x ", images.size(3),
                                                   " pixels are no whole patches of ", patch[0], " x ", patch[1]));
    }
    const int64_t rows = images.size(2) / patch[0], columns = images.size(3) / patch[1];
    return images.reshape({images.size(0), images.size(1), rows, patch[0], columns, patch[1]})
        .permute({0, 2, 4, 3, 5, 1})
        .reshape({images.size(0), rows * columns, -1});
  }
};

BACKPLANE_PLUGIN(vit_mae, plugin) {
  plugin.config<ViTMAEConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "ViTFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "ViTImageProcessor", "ViTImageProcessorFast");
  plugin.model<ViTMAEModel>(Auto::Model);
  plugin.model<ViTMAEForPreTraining>(Auto::ForPreTraining);
}

}  // namespace backplane::vit_mae
