// The backbone of MaskFormer: Cheng et al. 2021, https://arxiv.org/abs/2107.06278
// It is Swin except: windows shift on the smallest maps too, and the backbone norms every stage. Reference:
// transformers, models/maskformer/modeling_maskformer_swin.py

#include "../swin/modeling_swin.h"
#include "configuration_maskformer_swin.h"

namespace backplane::maskformer_swin {

struct MaskFormerSwinPreTrainedModel : PreTrainedModel {
  using Config = MaskFormerSwinConfig;
  static constexpr bool supports_sdpa = false;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct MaskFormerSwinModel : MaskFormerSwinPreTrainedModel {
  swin::SwinEmbeddings embeddings;
  swin::SwinEncoder encoder;
  nn::LayerNorm layernorm;

  explicit MaskFormerSwinModel(const MaskFormerSwinConfig& c)
      : MaskFormerSwinPreTrainedModel(c),
        embeddings(register_module("embeddings", swin::SwinEmbeddings(c, false))),
        encoder(register_module("encoder", swin::SwinEncoder(c))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  std::span<const std::string_view> arguments() const override { return swin::kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, config());
    const auto [tokens, size] =
        embeddings->forward(inputs.tensor("pixel_values"), {}, inputs.flag("interpolate_pos_encoding", false));
    const Tensor x = layernorm(encoder->forward(tokens, size, {.always_shift = true}, nullptr, trace));
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("pooler_output", x.mean(1));
    trace.write(output);
    return output;
  }
};

struct MaskFormerSwinBackbone : MaskFormerSwinPreTrainedModel {
  const MaskFormerSwinConfig& c;
  std::shared_ptr<MaskFormerSwinModel> model;
  nn::Layers<nn::LayerNorm> hidden_states_norms;  // of each stage but the stem

  explicit MaskFormerSwinBackbone(const MaskFormerSwinConfig& config)
      : MaskFormerSwinPreTrainedModel(config),
        c(config),
        model(register_module("model", std::make_shared<MaskFormerSwinModel>(c))),
        hidden_states_norms(
            register_module("hidden_states_norms", nn::Layers<nn::LayerNorm>(c.num_layers, [&](int64_t i) {
                              return nn::LayerNorm(c.channels(static_cast<size_t>(i)));
                            }))) {
    if (c.returns_stage(0))
      throw Error(ErrorCode::bad_config, "out_features has 'stem', which this backbone does not support");
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 3> kArguments = {"pixel_values", "output_hidden_states",
                                                                   "output_attentions"};
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, c);
    std::vector<Tensor> maps;
    const auto [tokens, size] = model->embeddings->forward(inputs.tensor("pixel_values"), {}, false);
    model->encoder->forward(tokens, size, {.always_shift = true, .before_downsampling = true}, &maps, trace);
    return backbone_output(c, maps, trace, [&](size_t stage, const Tensor& x) {
      return (*hidden_states_norms)[stage - 1](x.permute({0, 2, 3, 1})).permute({0, 3, 1, 2});
    });
  }
};

BACKPLANE_PLUGIN(maskformer_swin, plugin) {
  plugin.config<MaskFormerSwinConfig>();
  plugin.model<MaskFormerSwinModel>(Auto::Model);
  plugin.model<MaskFormerSwinBackbone>(Auto::Backbone);
}

}  // namespace backplane::maskformer_swin
