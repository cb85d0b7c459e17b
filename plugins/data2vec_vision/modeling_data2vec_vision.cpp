// Data2VecVision: Baevski et al. 2022, https://arxiv.org/abs/2202.03555
// The network is BEiT's. Reference: transformers, models/data2vec/modeling_data2vec_vision.py

#include "../beit/modeling_beit.h"
#include "configuration_data2vec_vision.h"

namespace backplane::data2vec_vision {

struct Data2VecVisionNames {
  static constexpr const char* kPrefix = "data2vec_vision";
};
struct Data2VecVisionModel : beit::BeitModelOf<Data2VecVisionConfig, Data2VecVisionNames> {
  explicit Data2VecVisionModel(const Data2VecVisionConfig& c, bool add_pooling_layer = false)
      : BeitModelOf(c, add_pooling_layer) {}
};
struct Data2VecVisionForImageClassification : beit::BeitClassifierOf<Data2VecVisionModel, Data2VecVisionNames> {
  using BeitClassifierOf::BeitClassifierOf;
};
struct Data2VecVisionForSemanticSegmentation : beit::BeitSegmenterOf<Data2VecVisionModel, Data2VecVisionNames> {
  using BeitSegmenterOf::BeitSegmenterOf;
};

BACKPLANE_PLUGIN(data2vec_vision, plugin) {
  plugin.config<Data2VecVisionConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "BeitFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "BeitImageProcessor", "BeitImageProcessorFast");
  plugin.model<Data2VecVisionModel>(Auto::Model);
  plugin.model<Data2VecVisionForImageClassification>(Auto::ForImageClassification);
  plugin.model<Data2VecVisionForSemanticSegmentation>(Auto::ForSemanticSegmentation);
}

}  // namespace backplane::data2vec_vision
