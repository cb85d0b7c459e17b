// Table Transformer: Smock et al. 2021, https://arxiv.org/abs/2110.00061
// It is DETR except: norms stand before attention and feed-forward part, and the encoder ends with one. Reference:
// transformers, models/table_transformer/modeling_table_transformer.py

#include "../detr/modeling_detr.h"
#include "configuration_table_transformer.h"

namespace backplane::table_transformer {

struct TableTransformerEncoderLayerImpl : detr::DetrEncoderLayerParts {
  explicit TableTransformerEncoderLayerImpl(const detr::DetrFamilyConfig& c)
      : DetrEncoderLayerParts(c, c.encoder_attention_heads, c.encoder_ffn_dim) {}

  Tensor forward(Tensor x, const detr::Pass& pass) {
    const Tensor h = self_attn_layer_norm(x), placed = h + pass.memory_positions;
    x = x + drop(self_attn(placed, placed, h, pass.mask, pass.trace->next_attention()), dropout);
    return x + feed_forward(final_layer_norm(x));
  }
};
TORCH_MODULE(TableTransformerEncoderLayer);

struct TableTransformerDecoderLayerImpl : detr::DetrDecoderLayerParts {
  using DetrDecoderLayerParts::DetrDecoderLayerParts;

  Tensor forward(Tensor x, const detr::Pass& pass) {
    x = x + attend_self(self_attn_layer_norm(x), pass);
    x = x + attend_memory(encoder_attn_layer_norm(x), pass);
    return x + feed_forward(final_layer_norm(x));
  }
};
TORCH_MODULE(TableTransformerDecoderLayer);

struct TableTransformerModel
    : detr::DetrModelOf<TableTransformerConfig, TableTransformerEncoderLayer, TableTransformerDecoderLayer, true> {
  using DetrModelOf::DetrModelOf;
};
struct TableTransformerForObjectDetection : detr::DetrDetectorOf<TableTransformerModel> {
  using DetrDetectorOf::DetrDetectorOf;
};

BACKPLANE_PLUGIN(table_transformer, plugin) {
  plugin.config<TableTransformerConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "DetrFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "DetrImageProcessor");
  plugin.model<TableTransformerModel>(Auto::Model);
  plugin.model<TableTransformerForObjectDetection>(Auto::ForObjectDetection);
}

}  // namespace backplane::table_transformer
