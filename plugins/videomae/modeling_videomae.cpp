// VideoMAE: Tong et al. 2022, https://arxiv.org/abs/2203.12602
// VideoMAE is ViT over tubelets of a video except: fixed sine positions, biases of queries and values only, no class
// token; masked tubelets are left out before the encoder and restored by a small decoder. Reference: transformers,
// models/videomae/modeling_videomae.py

#include "../vit/modeling_vit.h"
#include "configuration_videomae.h"

namespace backplane::videomae {

// Vaswani et al. 2017: [1, positions, size]
static Tensor sine_table(int64_t positions, int64_t size) {
  constexpr int64_t kLargest = int64_t{1} << 28;
  if (size <= 0 || positions > kLargest / size) {
    throw Error(ErrorCode::bad_config,
                concat("config.json: ", positions, " positions of hidden_size ", size, " are not possible"));
  }
  const Tensor place = at::arange(size, at::kLong);
  const Tensor wave = at::pow(10000.0, (2 * at::floor_divide(place, 2)).to(at::kDouble) / static_cast<double>(size));
  const Tensor angle = at::arange(positions, at::kDouble).unsqueeze(1) / wave;
  return at::where((place % 2).eq(0), angle.sin(), angle.cos()).to(at::kFloat).unsqueeze(0);
}

// The rows of x [batch, seq, dim] where `keep` [batch, seq] is true, as many in each row of the batch.
static Tensor kept_rows(const Tensor& x, const Tensor& keep) {
  return x.masked_select(keep.unsqueeze(-1)).view({x.size(0), -1, x.size(2)});
}

struct VideoMAESelfAttentionImpl : nn::Module {
  int64_t heads;
  double dropout;
  AttnImplementation implementation;
  Tensor q_bias, v_bias;
  nn::Linear query, key, value;

  explicit VideoMAESelfAttentionImpl(const VideoMAEConfig& c)
      : heads(c.num_attention_heads),
        dropout(c.attention_probs_dropout_prob),
        implementation(c.attn_implementation),
        query(register_module("query", nn::Linear(c.hidden_size, c.hidden_size, false))),
        key(register_module("key", nn::Linear(c.hidden_size, c.hidden_size, false))),
        value(register_module("value", nn::Linear(c.hidden_size, c.hidden_size, false))) {
    if (c.qkv_bias) {
      q_bias = register_parameter("q_bias", nn::parameter({c.hidden_size}));
      v_bias = register_parameter("v_bias", nn::parameter({c.hidden_size}));
    }
  }

  Tensor forward(const Tensor& x, const Tensor& head_mask, Trace& trace) {
    const auto biased = [](const Tensor& y, const Tensor& bias) { return bias.defined() ? y + bias : y; };
    const Tensor y = attention(
        split_heads(biased(query(x), q_bias), heads), split_heads(key(x), heads),
        split_heads(biased(value(x), v_bias), heads),
        {.dropout = is_training() ? dropout : 0, .implementation = implementation, .probs = trace.next_attention()});
    return merge_heads(head_mask.defined() ? y * head_mask : y);
  }
};
TORCH_MODULE(VideoMAESelfAttention);

using VideoMAEAttentionImpl = vit::ViTAttentionOfImpl<VideoMAESelfAttention>;
TORCH_MODULE(VideoMAEAttention);
using VideoMAELayerImpl = vit::ViTLayerOfImpl<VideoMAEAttention>;
TORCH_MODULE(VideoMAELayer);
using VideoMAEEncoderImpl = vit::ViTEncoderOfImpl<VideoMAELayer>;
TORCH_MODULE(VideoMAEEncoder);

struct VideoMAEPatchEmbeddingsImpl : nn::Module {
  Size2 image, patch;
  int64_t channels, patches;
  nn::Conv3d projection{nullptr};

  explicit VideoMAEPatchEmbeddingsImpl(const VideoMAEConfig& c)
      : image(size_of(c.image_size, "image_size")),
        patch(size_of(c.patch_size, "patch_size")),
        channels(c.num_channels) {
    const Size2 grid = patch_grid(c.image_size, c.patch_size);
    patches = grid[0] * grid[1] * (c.num_frames / c.tubelet_size);
    const nn::Extent<3> tubelet = {c.tubelet_size, patch[0], patch[1]};
    projection = register_module("projection",
                                 nn::Conv3d(channels, c.hidden_size, tubelet, nn::ConvOptions<3>{.stride = tubelet}));
  }

  // [batch, frames, channels, height, width] -> [batch, tubelets, hidden]
  Tensor forward(const Tensor& videos) {
    if (videos.dim() != 5 || videos.size(2) != channels || videos.size(3) != image[0] || videos.size(4) != image[1]) {
      throw Error(ErrorCode::invalid_value,
                  concat("pixel_values have the shape ", videos.sizes(), "; expected [batch, frames, ", channels, ", ",
                         image[0], ", ", image[1], "]"));
    }
    return map_to_tokens(projection(videos.transpose(1, 2)));
  }
};
TORCH_MODULE(VideoMAEPatchEmbeddings);

struct VideoMAEEmbeddingsImpl : nn::Module {
  VideoMAEPatchEmbeddings patch_embeddings;
  Tensor positions;

  explicit VideoMAEEmbeddingsImpl(const VideoMAEConfig& c)
      : patch_embeddings(register_module("patch_embeddings", VideoMAEPatchEmbeddings(c))),
        positions(sine_table(patch_embeddings->patches, c.hidden_size)) {}

  Tensor forward(const Tensor& videos, const Tensor& bool_masked_pos) {
    const Tensor tubelets = patch_embeddings(videos);
    if (tubelets.size(1) != positions.size(1)) {
      throw Error(ErrorCode::invalid_value, concat("the video is ", tubelets.size(1), " tubelets; the model has ",
                                                   positions.size(1), " positions"));
    }
    const Tensor x = tubelets + positions.to(tubelets.scalar_type());
    return bool_masked_pos.defined() ? kept_rows(x, bool_masked_pos.to(at::kBool).logical_not()) : x;
  }
};
TORCH_MODULE(VideoMAEEmbeddings);

struct VideoMAEPreTrainedModel : PreTrainedModel {
  using Config = VideoMAEConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "videomae"}; }
};

constexpr std::array<std::string_view, 4> kVideoArguments = {"pixel_values", "head_mask", "output_hidden_states",
                                                             "output_attentions"};

struct VideoMAEModel : VideoMAEPreTrainedModel {
  VideoMAEEmbeddings embeddings;
  VideoMAEEncoder encoder;
  nn::LayerNorm layernorm{nullptr};

  explicit VideoMAEModel(const VideoMAEConfig& c)
      : VideoMAEPreTrainedModel(c),
        embeddings(register_module("embeddings", VideoMAEEmbeddings(c))),
        encoder(register_module("encoder", VideoMAEEncoder(c))) {
    if (!c.use_mean_pooling) layernorm = register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kVideoArguments, "bool_masked_pos");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, config());
    Tensor x = embeddings(inputs["pixel_values"], inputs.tensor("bool_masked_pos"));
    x = encoder(x, inputs.tensor("head_mask"), trace);
    ModelOutput output;
    output.set("last_hidden_state", layernorm ? layernorm(x) : x);
    trace.write(output);
    return output;
  }
};

static VideoMAEConfig decoder_config(VideoMAEConfig c) {
  c.hidden_size = c.decoder_hidden_size;
  c.num_hidden_layers = c.decoder_num_hidden_layers;
  c.num_attention_heads = c.decoder_num_attention_heads;
  c.intermediate_size = c.decoder_intermediate_size;
  return c;
}

struct VideoMAEDecoderImpl : nn::Module {
  nn::Layers<VideoMAELayer> decoder_layers;
  nn::LayerNorm norm;
  nn::Linear head{nullptr};

  VideoMAEDecoderImpl(const VideoMAEConfig& c, int64_t pixels)
      : decoder_layers(register_module(
            "decoder_layers", nn::Layers<VideoMAELayer>(c.decoder_num_hidden_layers,
                                                        [&](int64_t) { return VideoMAELayer(decoder_config(c)); }))),
        norm(register_module("norm", nn::LayerNorm(c.decoder_hidden_size))) {
    if (pixels > 0) head = register_module("head", nn::Linear(c.decoder_hidden_size, pixels));
  }

  // x [batch, tubelets, hidden] -> the pixels of the last `count` of them
  Tensor forward(Tensor x, int64_t count) {
    const ModelInputs none;
    Trace trace(none, PretrainedConfig());
    for (auto& layer : *decoder_layers) x = layer(x, Tensor(), trace);
    x = norm(count > 0 ? x.slice(1, -count) : x);
    return head ? head(x) : x;
  }
};
TORCH_MODULE(VideoMAEDecoder);

struct VideoMAEForPreTraining : VideoMAEPreTrainedModel {
  const VideoMAEConfig& c;
  Size2 patch;
  std::shared_ptr<VideoMAEModel> videomae;
  nn::Linear encoder_to_decoder;
  Tensor mask_token, positions;
  VideoMAEDecoder decoder;

  explicit VideoMAEForPreTraining(const VideoMAEConfig& config)
      : VideoMAEPreTrainedModel(config),
        c(config),
        patch(size_of(c.patch_size, "patch_size")),
        videomae(register_module("videomae", std::make_shared<VideoMAEModel>(c))),
        encoder_to_decoder(
            register_module("encoder_to_decoder", nn::Linear(c.hidden_size, c.decoder_hidden_size, false))),
        mask_token(register_parameter("mask_token", nn::parameter({1, 1, c.decoder_hidden_size}))),
        positions(sine_table(videomae->embeddings->patch_embeddings->patches, c.decoder_hidden_size)),
        decoder(register_module("decoder", VideoMAEDecoder(c, c.num_channels * c.tubelet_size * patch[0] * patch[1]))) {
  }

  std::span<const std::string_view> arguments() const override { return videomae->arguments(); }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = videomae->forward(inputs);
    const Tensor seen = encoder_to_decoder(base["last_hidden_state"]);
    const Tensor masked = inputs["bool_masked_pos"].to(at::kBool);
    const Tensor all = positions.to(seen.scalar_type()).expand({seen.size(0), -1, -1});
    const Tensor hidden = kept_rows(all, masked);
    const Tensor x = at::cat({seen + kept_rows(all, masked.logical_not()), mask_token + hidden}, 1);
    const Tensor logits = decoder(x, hidden.size(1));
    ModelOutput output;
    output.set("loss", at::mse_loss(logits, kept_rows(tubelets(inputs["pixel_values"]), masked)));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }

  // videos [batch, frames, channels, height, width], normalised by ImageNet's mean and deviation -> the pixels of each
  // tubelet, [batch, tubelets, pixels * channels]; with norm_pix_loss each tubelet's channels have mean 0, deviation 1.
  Tensor tubelets(Tensor frames) const {
    if (c.num_channels == 3) {
      const auto of_channels = [&](at::ArrayRef<double> values) {
        return at::tensor(values, frames.options()).view({1, 1, 3, 1, 1});
      };
      frames = frames * of_channels({0.229, 0.224, 0.225}) + of_channels({0.485, 0.456, 0.406});
    } else if (!c.norm_pix_loss) {
      throw Error(ErrorCode::invalid_value, "the loss of images that are not RGB needs norm_pix_loss in the config");
    }
    const int64_t batch = frames.size(0), channels = frames.size(2), time = frames.size(1) / c.tubelet_size,
                  rows = frames.size(3) / patch[0], columns = frames.size(4) / patch[1];
    Tensor pixels = frames.reshape({batch, time, c.tubelet_size, channels, rows, patch[0], columns, patch[1]})
                        .permute({0, 1, 4, 6, 2, 5, 7, 3})
                        .reshape({batch, time * rows * columns, -1, channels});
    if (c.norm_pix_loss) pixels = (pixels - pixels.mean(-2, true)) / (pixels.var(-2, true, true).sqrt() + 1e-6);
    return pixels.flatten(2);
  }
};

struct VideoMAEForVideoClassification : VideoMAEPreTrainedModel {
  std::shared_ptr<VideoMAEModel> videomae;
  nn::LayerNorm fc_norm{nullptr};
  nn::Linear classifier{nullptr};

  explicit VideoMAEForVideoClassification(const VideoMAEConfig& c)
      : VideoMAEPreTrainedModel(c), videomae(register_module("videomae", std::make_shared<VideoMAEModel>(c))) {
    if (c.use_mean_pooling) fc_norm = register_module("fc_norm", nn::LayerNorm(c.hidden_size));
    if (c.num_labels() > 0) classifier = register_module("classifier", nn::Linear(c.hidden_size, c.num_labels()));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kVideoArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = videomae->forward(inputs.select(kVideoArguments));
    const Tensor all = base["last_hidden_state"], x = fc_norm ? fc_norm(all.mean(1)) : all.select(1, 0);
    return classifier_output(classifier ? classifier(x) : x, inputs, config(), base);
  }
};

BACKPLANE_PLUGIN(videomae, plugin) {
  plugin.config<VideoMAEConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "VideoMAEFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "VideoMAEImageProcessor");
  plugin.model<VideoMAEModel>(Auto::Model);
  plugin.model<VideoMAEForPreTraining>(Auto::ForPreTraining);
  plugin.model<VideoMAEForVideoClassification>(Auto::ForVideoClassification);
}

}  // namespace backplane::videomae
