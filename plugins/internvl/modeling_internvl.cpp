// InternVL: Zhu et al. 2025, https://arxiv.org/abs/2504.10479
// A ViT whose branches are scaled, blocks of its patches as one token, any language model.
// Reference: transformers, models/internvl/modeling_internvl.py

#include "../clip/modeling_clip.h"
#include "../llava/modeling_llava.h"
#include "configuration_internvl.h"

namespace backplane::internvl {

using clip::Pass;

struct InternVLVisionAttentionImpl : nn::Module {
  int64_t heads;
  double dropout;
  AttnImplementation implementation;
  nn::Linear q_proj, k_proj, v_proj, projection_layer;
  nn::Dropout projection_dropout;
  nn::RMSNorm q_norm{nullptr}, k_norm{nullptr};

  explicit InternVLVisionAttentionImpl(const InternVLVisionConfig& c)
      : heads(c.num_attention_heads),
        dropout(c.attention_dropout),
        implementation(c.attn_implementation),
        q_proj(register_module("q_proj", nn::Linear(c.hidden_size, c.hidden_size, c.attention_bias))),
        k_proj(register_module("k_proj", nn::Linear(c.hidden_size, c.hidden_size, c.attention_bias))),
        v_proj(register_module("v_proj", nn::Linear(c.hidden_size, c.hidden_size, c.attention_bias))),
        projection_layer(register_module("projection_layer", nn::Linear(c.hidden_size, c.hidden_size))),
        projection_dropout(register_module("projection_dropout", nn::Dropout(c.projection_dropout))) {
    if (c.use_qk_norm) {
      q_norm = register_module("q_norm", nn::RMSNorm(c.hidden_size));
      k_norm = register_module("k_norm", nn::RMSNorm(c.hidden_size));
    }
  }

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, Pass& pass) {
    Tensor q = q_proj(x), k = k_proj(x), probs;
    if (q_norm) {
      q = q_norm(q);
      k = k_norm(k);
    }
    const Tensor y = attention(split_heads(q, heads), split_heads(k, heads), split_heads(v_proj(x), heads),
                               {.dropout = is_training() ? dropout : 0,
                                .implementation = implementation,
                                .probs = pass.keep_attentions ? &probs : nullptr});
    if (pass.keep_attentions) pass.attentions.push_back(probs);
    return projection_dropout(projection_layer(merge_heads(y)));
  }
};
TORCH_MODULE(InternVLVisionAttention);

// x + lambda_1 * attention(norm(x)), then x + lambda_2 * mlp(norm(x)); `Norm` by norm_type.
template <class Norm>
struct InternVLVisionLayerImpl : nn::Module {
  InternVLVisionAttention attention;
  clip::CLIPMLP mlp;
  Norm layernorm_before, layernorm_after;
  Tensor lambda_1, lambda_2;
  nn::Dropout dropout;

  explicit InternVLVisionLayerImpl(const InternVLVisionConfig& c)
      : attention(register_module("attention", InternVLVisionAttention(c))),
        mlp(register_module("mlp", clip::CLIPMLP(c))),
        layernorm_before(register_module("layernorm_before", Norm(c.hidden_size, c.layer_norm_eps))),
        layernorm_after(register_module("layernorm_after", Norm(c.hidden_size, c.layer_norm_eps))),
        lambda_1(register_parameter("lambda_1", nn::uninitialised({c.hidden_size}))),
        lambda_2(register_parameter("lambda_2", nn::uninitialised({c.hidden_size}))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  Tensor forward(Tensor x, Pass& pass) {
    x = x + lambda_1 * attention(layernorm_before(x), pass);
    return x + lambda_2 * dropout(mlp(layernorm_after(x)));
  }
};
template <class Norm>
struct InternVLVisionLayer : nn::ModuleHolder<InternVLVisionLayerImpl<Norm>> {
  using nn::ModuleHolder<InternVLVisionLayerImpl<Norm>>::ModuleHolder;
};

template <class Norm>
struct InternVLVisionEncoderImpl : nn::Module {
  nn::Layers<InternVLVisionLayer<Norm>> layer;

  explicit InternVLVisionEncoderImpl(const InternVLVisionConfig& c)
      : layer(register_module("layer", nn::Layers<InternVLVisionLayer<Norm>>(c.num_hidden_layers, [&](int64_t) {
                                return InternVLVisionLayer<Norm>(c);
                              }))) {}

  Tensor forward(Tensor x, Pass& pass) {
    for (auto& one : *layer) {
      if (pass.keep_hidden_states) pass.hidden_states.push_back(x);
      x = one(x, pass);
    }
    if (pass.keep_hidden_states) pass.hidden_states.push_back(x);
    return x;
  }
};
template <class Norm>
struct InternVLVisionEncoder : nn::ModuleHolder<InternVLVisionEncoderImpl<Norm>> {
  using nn::ModuleHolder<InternVLVisionEncoderImpl<Norm>>::ModuleHolder;
};

struct InternVLVisionEmbeddingsImpl : nn::Module {
  struct PatchEmbeddingsImpl : nn::Module {
    nn::Conv2d projection;

    explicit PatchEmbeddingsImpl(const InternVLVisionConfig& c) : PatchEmbeddingsImpl(c, c.patch_size.as_int_list()) {}
    PatchEmbeddingsImpl(const InternVLVisionConfig& c, const std::vector<int64_t>& size)
        : projection(
              register_module("projection", nn::Conv2d(c.num_channels, c.hidden_size, nn::Extent<2>{size[0], size[1]},
                                                       nn::ConvOptions<2>{.stride = {size[0], size[1]}}))) {}
  };
  TORCH_MODULE(PatchEmbeddings);

  Tensor cls_token, mask_token, position_embeddings;
  PatchEmbeddings patch_embeddings;
  nn::Dropout dropout;

  explicit InternVLVisionEmbeddingsImpl(const InternVLVisionConfig& c)
      : cls_token(register_parameter("cls_token", nn::uninitialised({1, 1, c.hidden_size}))),
        patch_embeddings(register_module("patch_embeddings", PatchEmbeddings(c))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {
    if (c.use_mask_token) mask_token = register_parameter("mask_token", nn::uninitialised({1, 1, c.hidden_size}));
    if (c.use_absolute_position_embeddings) {
      position_embeddings = register_parameter("position_embeddings",
                                               nn::uninitialised({1, c.patches(0) * c.patches(1) + 1, c.hidden_size}));
    }
  }

  // pixel_values [batch, channels, height, width], masked [batch, patches] or undefined -> [batch, 1 + patches, hidden]
  Tensor forward(const Tensor& pixel_values, const Tensor& masked) {
    const Tensor grid = patch_embeddings->projection(pixel_values.to(cls_token.scalar_type()));
    Tensor x = grid.flatten(2).transpose(1, 2);
    if (masked.defined()) {
      if (!mask_token.defined())
        throw Error(ErrorCode::invalid_value, "bool_masked_pos needs a mask token: set use_mask_token in the config");
      const Tensor w = masked.unsqueeze(-1).to(x.scalar_type());
      x = x * (1 - w) + mask_token * w;
    }
    x = at::cat({cls_token.expand({x.size(0), 1, -1}), x}, 1);
    if (position_embeddings.defined()) {
      const bool fits = x.size(1) == position_embeddings.size(1) && pixel_values.size(2) == pixel_values.size(3);
      x = x + (fits ? position_embeddings : resize_positions(position_embeddings, 1, {grid.size(2), grid.size(3)}));
    }
    return dropout(x);
  }
};
TORCH_MODULE(InternVLVisionEmbeddings);

struct InternVLVisionModel : PreTrainedModel {
  using Config = InternVLVisionConfig;

  InternVLVisionEmbeddings embeddings;
  InternVLVisionEncoder<nn::LayerNorm> encoder{nullptr};
  InternVLVisionEncoder<nn::RMSNorm> rms_encoder{nullptr};
  nn::LayerNorm layernorm{nullptr};

  explicit InternVLVisionModel(const InternVLVisionConfig& c)
      : PreTrainedModel(c), embeddings(register_module("embeddings", InternVLVisionEmbeddings(c))) {
    if (c.norm_type == "rms_norm") {
      rms_encoder = register_module("encoder", InternVLVisionEncoder<nn::RMSNorm>(c));
    } else {
      encoder = register_module("encoder", InternVLVisionEncoder<nn::LayerNorm>(c));
    }
    if (!c.use_mean_pooling) layernorm = register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps));
  }

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "internvl_vision"}; }

  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 4> kNames = {"pixel_values", "bool_masked_pos", "output_attentions",
                                                               "output_hidden_states"};
    return kNames;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Pass pass(inputs, config());
    Tensor x = embeddings(clip::required(inputs, "pixel_values"), inputs.tensor("bool_masked_pos"));
    x = encoder ? encoder(x, pass) : rms_encoder(x, pass);
    ModelOutput output;
    output.set("last_hidden_state", layernorm ? layernorm(x) : x);
    pass.give(output);
    return output;
  }
};

struct InternVLMultiModalProjectorImpl : nn::Module {
  nn::LayerNorm layer_norm;
  nn::Linear linear_1, linear_2;
  Activation act;

  explicit InternVLMultiModalProjectorImpl(const InternVLConfig& c)
      : InternVLMultiModalProjectorImpl(c.vision_config.hidden_size * c.block() * c.block(),
                                        int_field(*c.text_config, "hidden_size"), c.projector_hidden_act) {}

  InternVLMultiModalProjectorImpl(int64_t in, int64_t out, const std::string& act)
      : layer_norm(register_module("layer_norm", nn::LayerNorm(in))),
        linear_1(register_module("linear_1", nn::Linear(in, out))),
        linear_2(register_module("linear_2", nn::Linear(out, out))),
        act(activation(act)) {}

  Tensor forward(const Tensor& x) { return linear_2(act(linear_1(layer_norm(x)))); }
};
TORCH_MODULE(InternVLMultiModalProjector);

struct InternVLModel : PreTrainedModel {
  using Config = InternVLConfig;
  static constexpr std::array<std::string_view, 1> kPromptOnly = {"pixel_values"};

  const InternVLConfig& c;
  std::shared_ptr<InternVLVisionModel> vision_tower;
  InternVLMultiModalProjector multi_modal_projector;
  std::shared_ptr<PreTrainedModel> language_model;

  explicit InternVLModel(const InternVLConfig& config)
      : PreTrainedModel(config),
        c(config),
        vision_tower(register_module("vision_tower", std::make_shared<InternVLVisionModel>(c.vision_config))),
        multi_modal_projector(register_module("multi_modal_projector", InternVLMultiModalProjector(c))),
        language_model(register_module("language_model", make_model(Auto::Model, *c.text_config))) {}

  CheckpointRules checkpoint_rules() const override {
    return {.renames = {{R"(language_model\.model)", "language_model"}}};
  }
  nn::Embedding get_input_embeddings() override { return language_model->get_input_embeddings(); }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames =
        extend(kDecoderArguments, "pixel_values", "vision_feature_layer", "vision_feature_select_strategy");
    return kNames;
  }

  // pixel_values [images, channels, height, width] -> [images, tokens, hidden]
  Tensor image_features(const Tensor& pixel_values, const ModelInputs& inputs) {
    const Argument* given = inputs.find("vision_feature_select_strategy");
    const auto* asked = given ? std::get_if<std::string>(given) : nullptr;
    const Value layer = inputs.contains("vision_feature_layer") ? Value(inputs.number("vision_feature_layer", -1))
                                                                : c.vision_feature_layer;
    // The last layer's states are taken normalised.
    const bool is_last = layer == Value(-1);
    const auto vision = vision_tower->forward({{"pixel_values", pixel_values}, {"output_hidden_states", !is_last}});
    const Tensor x =
        select_features(is_last ? std::vector<Tensor>{vision["last_hidden_state"]} : vision.tuple("hidden_states"),
                        layer, asked ? *asked : c.vision_feature_select_strategy);
    const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(x.size(1))));
    const int64_t block = c.block(), images = x.size(0), small = side / block;
    if (side * side != x.size(1) || side % block != 0) {
      throw Error(ErrorCode::invalid_value,
                  concat("an image has ", x.size(1), " patches; expected a square of blocks of ", block, " x ", block));
    }
    Tensor y = x.reshape({images, side, small, -1}).permute({0, 2, 1, 3});
    y = y.reshape({images, small, small, -1}).permute({0, 2, 1, 3});
    return multi_modal_projector(y.reshape({images, small * small, -1}));
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Tensor x = llava::embedded(inputs, get_input_embeddings()), features;
    if (const Tensor pixels = inputs.tensor("pixel_values"); pixels.defined()) {
      features = image_features(pixels, inputs);
      const Tensor where = placeholder_mask(inputs.tensor("input_ids"), x, get_input_embeddings(), c.image_token_id);
      x = scatter_features(x, where, features, "image");
    }
    ModelOutput output = language_model->forward(for_language_model(inputs, *language_model, c, x));
    output.set("image_hidden_states", features);
    return output;
  }
};

struct InternVLForConditionalGeneration : llava::LlavaHead<InternVLModel> {
  using LlavaHead::LlavaHead;
};

BACKPLANE_PLUGIN(internvl, plugin) {
  plugin.config<InternVLVisionConfig>();
  plugin.model<InternVLVisionModel>(Auto::Model);
  plugin.config<InternVLConfig>();
  plugin.tokenizer("Qwen2Tokenizer", "Qwen2TokenizerFast");
  plugin.preprocessor(Auto::VideoProcessor, "InternVLVideoProcessor");
  plugin.preprocessor(Auto::Processor, "InternVLProcessor");
  plugin.model<InternVLModel>(Auto::Model);
  plugin.model<InternVLForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::internvl
