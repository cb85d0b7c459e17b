// SigLIP 2: Tschannen et al. 2025, https://arxiv.org/abs/2502.14786
// SigLIP except: the vision tower takes rows of patches of any grid with a mask, and resizes its positions to each
// image's grid. Reference: transformers, models/siglip2/modeling_siglip2.py

#include "../siglip/modeling_siglip.h"
#include "configuration_siglip2.h"

namespace backplane::siglip2 {

using clip::Pass;

constexpr std::array<std::string_view, 5> kVisionArguments = {"pixel_values", "pixel_attention_mask", "spatial_shapes",
                                                              "output_attentions", "output_hidden_states"};

struct Siglip2VisionEmbeddingsImpl : nn::Module {
  int64_t side;
  nn::Linear patch_embedding;
  nn::Embedding position_embedding;

  explicit Siglip2VisionEmbeddingsImpl(const Siglip2VisionConfig& c)
      : side(checked_side(c.num_patches)),
        patch_embedding(register_module("patch_embedding",
                                        nn::Linear(c.num_channels * c.patch_size * c.patch_size, c.hidden_size))),
        position_embedding(register_module("position_embedding", nn::Embedding(c.num_patches, c.hidden_size))) {}

  static int64_t checked_side(int64_t patches) {
    const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(std::max<int64_t>(patches, 0))));
    if (side <= 0 || side * side != patches)
      throw Error(ErrorCode::bad_config, concat("config.json: num_patches is ", patches, "; expected a square"));
    return side;
  }

  // pixel_values [batch, patches, channels * size^2], spatial_shapes [batch, 2] -> [batch, patches, hidden]
  Tensor forward(const Tensor& pixel_values, const Tensor& spatial_shapes) {
    const Tensor x = patch_embedding(pixel_values.to(patch_embedding->weight.scalar_type()));
    const int64_t most = x.size(1);
    const Tensor grid =
        position_embedding->weight.view({side, side, -1}).permute({2, 0, 1}).unsqueeze(0).to(at::kFloat);
    std::vector<Tensor> rows;
    for (int64_t i = 0; i < x.size(0); ++i) {
      const int64_t height = spatial_shapes[i][0].item<int64_t>(), width = spatial_shapes[i][1].item<int64_t>();
      if (height <= 0 || width <= 0 || height > most || width > most || height * width > most) {
        throw Error(ErrorCode::invalid_value,
                    concat("spatial_shapes has ", height, " x ", width, " patches; pixel_values has room for ", most));
      }
      const Tensor resized = at::_upsample_bilinear2d_aa(grid, {height, width}, false).flatten(2)[0].t();
      // What is no patch gets the first one's position, and the mask.
      rows.push_back(at::cat({resized, resized.slice(0, 0, 1).expand({most - height * width, -1})}));
    }
    return x + at::stack(rows).to(x.scalar_type());
  }
};
TORCH_MODULE(Siglip2VisionEmbeddings);

struct Siglip2VisionTransformerImpl : nn::Module {
  const PretrainedConfig& flags;
  Siglip2VisionEmbeddings embeddings;
  clip::CLIPEncoder encoder;
  nn::LayerNorm post_layernorm;
  siglip::SiglipMultiheadAttentionPoolingHead head{nullptr};

  explicit Siglip2VisionTransformerImpl(const Siglip2VisionConfig& c)
      : flags(c),
        embeddings(register_module("embeddings", Siglip2VisionEmbeddings(c))),
        encoder(register_module("encoder", clip::CLIPEncoder(c))),
        post_layernorm(register_module("post_layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {
    if (c.use_head()) head = register_module("head", siglip::SiglipMultiheadAttentionPoolingHead(c));
  }

  ModelOutput forward(const ModelInputs& inputs) {
    Pass pass(inputs, flags);
    Tensor x = embeddings(clip::required(inputs, "pixel_values"), clip::required(inputs, "spatial_shapes"));
    pass.mask = padding_mask(inputs.tensor("pixel_attention_mask"), x.scalar_type());
    x = post_layernorm(encoder(x, pass));
    ModelOutput output;
    output.set("last_hidden_state", x);
    if (head) output.set("pooler_output", head(x, pass.mask));
    pass.give(output);
    return output;
  }
};
TORCH_MODULE(Siglip2VisionTransformer);

struct Siglip2PreTrainedModel : PreTrainedModel {
  using Config = Siglip2Config;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "siglip2"}; }
};

struct Siglip2Model : Siglip2PreTrainedModel {
  siglip::SiglipTextTransformer text_model;
  Siglip2VisionTransformer vision_model;
  Tensor logit_scale, logit_bias;

  explicit Siglip2Model(const Siglip2Config& c)
      : Siglip2PreTrainedModel(c),
        text_model(register_module("text_model", siglip::SiglipTextTransformer(c.text_config))),
        vision_model(register_module("vision_model", Siglip2VisionTransformer(c.vision_config))),
        logit_scale(register_parameter("logit_scale", nn::uninitialised({1}))),
        logit_bias(register_parameter("logit_bias", nn::uninitialised({1}))) {}

  nn::Embedding get_input_embeddings() override { return text_model->embeddings->token_embedding; }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames =
        extend(clip::kTextArguments, "pixel_values", "pixel_attention_mask", "spatial_shapes", "return_loss");
    return kNames;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto vision = vision_model(for_part(inputs, kVisionArguments, config()));
    const auto text = text_model(for_part(inputs, clip::kTextArguments, config()));
    ModelOutput output =
        siglip::compare(inputs, text["pooler_output"], vision["pooler_output"], logit_scale, logit_bias);
    set_part(output, "text_model_output", text);
    set_part(output, "vision_model_output", vision);
    return output;
  }
};

// A linear map of the mean of an image's patches.
struct Siglip2ForImageClassification : Siglip2PreTrainedModel {
  Siglip2VisionTransformer vision_model;
  nn::Linear classifier{nullptr};

  explicit Siglip2ForImageClassification(const Siglip2Config& c)
      : Siglip2PreTrainedModel(c),
        vision_model(register_module("vision_model", Siglip2VisionTransformer(c.vision_config))) {
    if (c.num_labels() > 0) {
      classifier = register_module("classifier", nn::Linear(c.vision_config.hidden_size, c.num_labels()));
    }
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kVisionArguments, "labels");
    return kNames;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto vision = vision_model(for_part(inputs, kVisionArguments, config()));
    Tensor logits = vision["last_hidden_state"];
    if (const Tensor mask = inputs.tensor("pixel_attention_mask"); mask.defined()) {
      const Tensor weights = mask.unsqueeze(-1);
      logits = (logits * weights).sum(1) / weights.sum(1);
    } else {
      logits = logits.mean(1);
    }
    if (classifier) logits = classifier(logits);
    ModelOutput output;
    if (const Tensor labels = inputs.tensor("labels"); labels.defined()) {
      output.set("loss", classification_loss(logits, labels, config()));
    }
    output.set("logits", logits);
    output.pass_on(vision);
    return output;
  }
};

BACKPLANE_PLUGIN(siglip2, plugin) {
  plugin.config<Siglip2Config>();
  plugin.tokenizer("GemmaTokenizer", "GemmaTokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "Siglip2ImageProcessor", "Siglip2ImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "Siglip2Processor");
  plugin.model<Siglip2Model>(Auto::Model);
  plugin.model<Siglip2ForImageClassification>(Auto::ForImageClassification);
  plugin.model<Siglip2Model>(Auto::ForZeroShotImageClassification);
}

}  // namespace backplane::siglip2
