// DETR: Carion et al. 2020, https://arxiv.org/abs/2005.12872
// A convolutional backbone, a post-norm encoder over its last map, and a decoder that turns learned queries into a set
// of boxes at once. Reference: transformers, models/detr/modeling_detr.py

#include "modeling_detr.h"

namespace backplane::detr {

struct DetrEncoderLayerImpl : DetrEncoderLayerParts {
  explicit DetrEncoderLayerImpl(const DetrFamilyConfig& c)
      : DetrEncoderLayerParts(c, c.encoder_attention_heads, c.encoder_ffn_dim) {}

  Tensor forward(Tensor x, const Pass& pass) {
    const Tensor placed = x + pass.memory_positions;
    x = self_attn_layer_norm(x + drop(self_attn(placed, placed, x, pass.mask, pass.trace->next_attention()), dropout));
    return final_layer_norm(x + feed_forward(x));
  }
};
TORCH_MODULE(DetrEncoderLayer);

struct DetrDecoderLayerImpl : DetrDecoderLayerParts {
  using DetrDecoderLayerParts::DetrDecoderLayerParts;

  Tensor forward(Tensor x, const Pass& pass) {
    x = self_attn_layer_norm(x + attend_self(x, pass));
    x = encoder_attn_layer_norm(x + attend_memory(x, pass));
    return final_layer_norm(x + feed_forward(x));
  }
};
TORCH_MODULE(DetrDecoderLayer);

struct DetrModel : DetrModelOf<DetrConfig, DetrEncoderLayer, DetrDecoderLayer, false> {
  using DetrModelOf::DetrModelOf;
};
struct DetrForObjectDetection : DetrDetectorOf<DetrModel> {
  using DetrDetectorOf::DetrDetectorOf;
};

// Where each query looks in the map.
struct DetrMHAttentionMapImpl : nn::Module {
  int64_t heads;
  nn::Linear q_linear, k_linear;

  DetrMHAttentionMapImpl(int64_t dim, int64_t heads)
      : heads(heads),
        q_linear(register_module("q_linear", nn::Linear(dim, dim))),
        k_linear(register_module("k_linear", nn::Linear(dim, dim))) {}

  // queries [batch, n, dim], map [batch, dim, height, width], mask [batch, height, width] ->
  // [batch, n, heads, height, width]
  Tensor forward(const Tensor& queries, const Tensor& map, const Tensor& mask) {
    const Tensor q = split_heads(q_linear(queries), heads), k = split_heads(k_linear(map_to_tokens(map)), heads);
    Tensor scores = at::matmul(q / std::sqrt(static_cast<double>(q.size(3))), k.transpose(2, 3)).transpose(1, 2);
    const Tensor padding = padding_mask(mask.flatten(1), scores.scalar_type());  // [batch, 1, 1, pixels]
    if (padding.defined()) scores = scores + padding;
    return at::softmax(scores.flatten(2), -1).view({q.size(0), q.size(2), heads, map.size(2), map.size(3)});
  }
};
TORCH_MODULE(DetrMHAttentionMap);

// Up through the backbone's maps to a mask for each query. Lin et al. 2016, https://arxiv.org/abs/1612.03144
struct DetrMaskHeadSmallConvImpl : nn::Module {
  std::vector<nn::Conv2d> lay, adapter;
  std::vector<nn::GroupNorm> gn;
  nn::Conv2d out_lay;

  static nn::Conv2d conv3(int64_t in, int64_t out) { return nn::Conv2d(in, out, 3, nn::Square{.padding = 1}); }

  // fpn: channels of the three finer maps, the coarsest first.
  DetrMaskHeadSmallConvImpl(int64_t dim, const std::vector<int64_t>& fpn, int64_t context)
      : out_lay(register_module("out_lay", conv3(context / 16, 1))) {
    if (dim % 8 != 0) {
      throw Error(ErrorCode::bad_config,
                  concat("d_model + encoder_attention_heads is ", dim, "; masks need a multiple of 8"));
    }
    const std::array<int64_t, 6> dims = {dim, dim, context / 2, context / 4, context / 8, context / 16};
    for (size_t i = 0; i < 5; ++i) {
      const std::string place = std::to_string(i + 1);
      lay.push_back(register_module("lay" + place, conv3(dims[i], dims[i + 1])));
      gn.push_back(register_module("gn" + place, nn::GroupNorm(std::min<int64_t>(8, dims[i + 1]), dims[i + 1])));
    }
    for (size_t i = 0; i < 3; ++i)
      adapter.push_back(register_module("adapter" + std::to_string(i + 1), nn::Conv2d(fpn.at(i), dims[i + 2], 1)));
  }

  // x [batch, dim, h, w], boxes [batch, n, heads, h, w], maps: the finer ones -> [batch * n, 1, height, width]
  Tensor forward(Tensor x, const Tensor& boxes, const std::vector<Tensor>& maps) {
    const int64_t n = boxes.size(1);
    x = at::cat({x.repeat_interleave(n, 0), boxes.flatten(0, 1)}, 1);
    for (size_t i = 0; i < 5; ++i) {
      if (i >= 2) {
        const Tensor finer = adapter[i - 2](maps[i - 2]).repeat_interleave(n, 0);
        x = finer + resize(x, {finer.size(2), finer.size(3)}, Resampling::nearest);
      }
      x = at::relu(gn[i](lay[i](x)));
    }
    return out_lay(x);
  }
};
TORCH_MODULE(DetrMaskHeadSmallConv);

struct DetrForSegmentation : DetrPreTrained<DetrConfig> {
  std::shared_ptr<DetrForObjectDetection> detr;
  DetrMaskHeadSmallConv mask_head;
  DetrMHAttentionMap bbox_attention;

  explicit DetrForSegmentation(const DetrConfig& c)
      : DetrPreTrained(c),
        detr(register_module("detr", std::make_shared<DetrForObjectDetection>(c))),
        mask_head(register_module(
            "mask_head", DetrMaskHeadSmallConv(c.d_model + c.encoder_attention_heads, finer_channels(), c.d_model))),
        bbox_attention(register_module("bbox_attention", DetrMHAttentionMap(c.d_model, c.encoder_attention_heads))) {}

  // The last three of the maps, from the coarsest on.
  std::vector<int64_t> finer_channels() const {
    auto channels = detr->model->backbone->conv_encoder->channels;
    if (channels.size() < 4)
      throw Error(ErrorCode::bad_config, concat("masks need 4 feature maps; the backbone gives ", channels.size()));
    channels.resize(3);
    return {channels.rbegin(), channels.rend()};
  }

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Encoded e = detr->model->encode(inputs);
    const ModelOutput detected = detr->detect(e.output);
    const Feature& last = e.features.back();
    const Tensor memory = tokens_to_map(e.memory, {last.map.size(2), last.map.size(3)});
    const Tensor boxes = bbox_attention(e.output["last_hidden_state"], memory, last.mask);
    const Tensor masks =
        mask_head(e.projected, boxes, std::vector<Tensor>{e.features[2].map, e.features[1].map, e.features[0].map});
    ModelOutput output;
    output.set("logits", detected["logits"]);
    output.set("pred_boxes", detected["pred_boxes"]);
    output.set("pred_masks", masks.view({boxes.size(0), boxes.size(1), masks.size(2), masks.size(3)}));
    pass_on_states(output, e.output);
    return output;
  }
};

BACKPLANE_PLUGIN(detr, plugin) {
  plugin.config<DetrConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "DetrFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "DetrImageProcessor", "DetrImageProcessorFast");
  plugin.model<DetrModel>(Auto::Model);
  plugin.model<DetrForObjectDetection>(Auto::ForObjectDetection);
  plugin.model<DetrForSegmentation>(Auto::ForImageSegmentation);
  plugin.model<DetrForSegmentation>(Auto::ForUniversalSegmentation);
}

}  // namespace backplane::detr
