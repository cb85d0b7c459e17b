// BEiT: Bao et al. 2021, https://arxiv.org/abs/2106.08254
// BEiT is ViT except: relative position biases, keys without a bias, learned scales of the branches, mean pooling; it
// segments through UPerNet. Reference: transformers, models/beit/modeling_beit.py

#include "modeling_beit.h"

namespace backplane::beit {

struct BeitNames {
  static constexpr const char* kPrefix = "beit";
};
struct BeitModel : BeitModelOf<BeitConfig, BeitNames> {
  using BeitModelOf::BeitModelOf;
};
struct BeitForImageClassification : BeitClassifierOf<BeitModel, BeitNames> {
  using BeitClassifierOf::BeitClassifierOf;
};
struct BeitForSemanticSegmentation : BeitSegmenterOf<BeitModel, BeitNames> {
  using BeitSegmenterOf::BeitSegmenterOf;
};

struct BeitBackbone : BeitPreTrained<BeitConfig, BeitNames> {
  const BeitConfig& c;
  BeitEmbeddings embeddings;
  BeitEncoder encoder;
  std::optional<BeitPyramid> pyramid;

  explicit BeitBackbone(const BeitConfig& config)
      : BeitPreTrained(config),
        c(config),
        embeddings(register_module("embeddings", BeitEmbeddings(c))),
        encoder(register_module("encoder", BeitEncoder(c))) {
    if (!c.add_fpn) return;
    if (c.out_indices->size() != 4)
      throw Error(ErrorCode::bad_config, "add_fpn needs out_indices of 4 layers, [3, 5, 7, 11] for a base model");
    pyramid.emplace(*this, c.hidden_size, c.batch_norm_eps);
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 3> kArguments = {"pixel_values", "output_hidden_states",
                                                                   "output_attentions"};
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, c);
    const Tensor pixels = inputs.tensor("pixel_values");
    std::vector<Tensor> states;
    const Tensor embedded = embeddings(pixels, Tensor());
    const Size2 grid = embeddings->grid(pixels);
    encoder(embedded, grid, Tensor(), &states, trace);
    ModelOutput output = backbone_output(c, states, trace, [&](size_t, const Tensor& x) {
      return c.reshape_hidden_states ? tokens_to_map(x.slice(1, 1), grid) : x;
    });
    if (pyramid) output.set("feature_maps", (*pyramid)(output.tuple("feature_maps")));
    return output;
  }
};

BACKPLANE_PLUGIN(beit, plugin) {
  plugin.config<BeitConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "BeitFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "BeitImageProcessor", "BeitImageProcessorFast");
  plugin.model<BeitModel>(Auto::Model);
  plugin.model<BeitForImageClassification>(Auto::ForImageClassification);
  plugin.model<BeitForSemanticSegmentation>(Auto::ForSemanticSegmentation);
  plugin.model<BeitBackbone>(Auto::Backbone);
}

}  // namespace backplane::beit
