// TimeSformer: Bertasius et al. 2021, https://arxiv.org/abs/2102.05095
// ViT over the frames of a video, whose layers attend over time, then over space. Reference: transformers,
// models/timesformer/modeling_timesformer.py

#include "../vit/modeling_vit.h"
#include "configuration_timesformer.h"

namespace backplane::timesformer {

struct TimesformerEmbeddingsImpl : nn::Module {
  int64_t frames, channels;
  bool in_time;
  Tensor cls_token, position_embeddings, time_embeddings;
  nn::PatchEmbeddings patch_embeddings;
  nn::Dropout dropout;

  explicit TimesformerEmbeddingsImpl(const TimesformerConfig& c)
      : frames(c.num_frames),
        channels(c.num_channels),
        in_time(c.attention_type != "space_only"),
        cls_token(register_parameter("cls_token", nn::parameter({1, 1, c.hidden_size}))),
        patch_embeddings(register_module("patch_embeddings",
                                         nn::PatchEmbeddings(c.image_size, c.patch_size, channels, c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {
    position_embeddings =
        register_parameter("position_embeddings", nn::parameter({1, patch_embeddings->patches() + 1, c.hidden_size}));
    if (in_time) time_embeddings = register_parameter("time_embeddings", nn::parameter({1, frames, c.hidden_size}));
  }

  // [batch, frames, channels, height, width] -> [batch, 1 + patches * frames, hidden], a patch's frames side by side;
  // with attention over space alone [batch * frames, 1 + patches, hidden]
  Tensor forward(const Tensor& videos) {
    if (videos.dim() != 5 || videos.size(2) != channels) {
      throw Error(ErrorCode::invalid_value, concat("pixel_values have the shape ", videos.sizes(),
                                                   "; expected [batch, frames, ", channels, ", height, width]"));
    }
    const int64_t batch = videos.size(0), count = videos.size(1);
    Tensor x = patch_embeddings(videos.flatten(0, 1), true);
    x = at::cat({cls_token.expand({x.size(0), -1, -1}), x}, 1);
    x = dropout(x +
                positions({videos.size(3) / patch_embeddings->patch[0], videos.size(4) / patch_embeddings->patch[1]}));
    if (!in_time) return x;
    const int64_t patches = x.size(1) - 1, hidden = x.size(2);
    // The first rows of the batch of frames give the class tokens, as the reference has it.
    const Tensor first = x.slice(0, 0, batch).slice(1, 0, 1);
    Tensor tokens = x.slice(1, 1).reshape({batch, count, patches, hidden}).transpose(1, 2);
    Tensor times = time_embeddings;
    if (count != frames) times = at::upsample_nearest1d(times.transpose(1, 2), {count}).transpose(1, 2);
    tokens = dropout(tokens + times.unsqueeze(1));
    return at::cat({first, tokens.reshape({batch, patches * count, hidden})}, 1);
  }

  Tensor positions(Size2 grid) const {
    if (grid == patch_embeddings->grid) return position_embeddings;
    const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(patch_embeddings->patches())));
    const Tensor map = tokens_to_map(position_embeddings.slice(1, 1), {side, side});
    return at::cat({position_embeddings.slice(1, 0, 1), map_to_tokens(resize(map, grid, Resampling::nearest))}, 1);
  }
};
TORCH_MODULE(TimesformerEmbeddings);

struct TimesformerSelfAttentionImpl : nn::Module {
  int64_t heads;
  double dropout;
  AttnImplementation implementation;
  nn::Linear qkv;

  explicit TimesformerSelfAttentionImpl(const TimesformerConfig& c)
      : heads(c.num_attention_heads),
        dropout(c.attention_probs_dropout_prob),
        implementation(c.attn_implementation),
        qkv(register_module("qkv", nn::Linear(c.hidden_size, 3 * c.hidden_size, c.qkv_bias))) {}

  Tensor forward(const Tensor& x, Tensor* probs) {
    const auto parts = qkv(x).chunk(3, -1);
    return merge_heads(
        attention(split_heads(parts[0], heads), split_heads(parts[1], heads), split_heads(parts[2], heads),
                  {.dropout = is_training() ? dropout : 0, .implementation = implementation, .probs = probs}));
  }
};
TORCH_MODULE(TimesformerSelfAttention);

struct TimeSformerAttentionImpl : nn::Module {
  TimesformerSelfAttention attention;
  vit::ViTOutput output;

  explicit TimeSformerAttentionImpl(const TimesformerConfig& c)
      : attention(register_module("attention", TimesformerSelfAttention(c))),
        output(register_module("output", vit::ViTOutput(c, c.hidden_size))) {}

  Tensor forward(const Tensor& x, Tensor* probs) { return output(attention(x, probs)); }
};
TORCH_MODULE(TimeSformerAttention);

struct TimesformerLayerImpl : nn::Module {
  int64_t frames;
  nn::DropPath drop_path;
  TimeSformerAttention attention;
  vit::ViTIntermediate intermediate;
  vit::ViTOutput output;
  nn::LayerNorm layernorm_before, layernorm_after;
  nn::LayerNorm temporal_layernorm{nullptr};
  TimeSformerAttention temporal_attention{nullptr};
  nn::Linear temporal_dense{nullptr};

  TimesformerLayerImpl(const TimesformerConfig& c, double drop)
      : frames(c.num_frames),
        drop_path(register_module("drop_path", nn::DropPath(drop))),
        attention(register_module("attention", TimeSformerAttention(c))),
        intermediate(register_module("intermediate", vit::ViTIntermediate(c))),
        output(register_module("output", vit::ViTOutput(c, c.intermediate_size))),
        layernorm_before(register_module("layernorm_before", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        layernorm_after(register_module("layernorm_after", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {
    if (c.attention_type == "divided_space_time") {
      temporal_layernorm = register_module("temporal_layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps));
      temporal_attention = register_module("temporal_attention", TimeSformerAttention(c));
      temporal_dense = register_module("temporal_dense", nn::Linear(c.hidden_size, c.hidden_size));
    }
  }

  Tensor forward(Tensor x, Trace& trace) {
    x = temporal_attention ? divided(x, trace) : x + drop_path(attention(layernorm_before(x), trace.next_attention()));
    return x + drop_path(output(intermediate(layernorm_after(x))));
  }

  // Each patch over its frames, then each frame over its patches and a copy of the class token, whose mean returns.
  Tensor divided(const Tensor& x, Trace& trace) {
    const int64_t batch = x.size(0), patches = (x.size(1) - 1) / frames, hidden = x.size(2);
    const Tensor first = x.slice(1, 0, 1);
    Tensor tokens = x.slice(1, 1);
    if (tokens.size(1) != patches * frames) {
      throw Error(ErrorCode::invalid_value,
                  concat("the video has another number of frames than the model (", frames, ")"));
    }
    const Tensor of_patches = tokens.reshape({batch * patches, frames, hidden});
    const Tensor in_time = drop_path(temporal_attention(temporal_layernorm(of_patches), nullptr));
    tokens = tokens + temporal_dense(in_time.reshape(tokens.sizes()));

    const Tensor of_frames =
        tokens.view({batch, patches, frames, hidden}).transpose(1, 2).reshape({batch * frames, patches, hidden});
    const Tensor h = at::cat({first.repeat_interleave(frames, 0), of_frames}, 1);
    const Tensor in_space = drop_path(attention(layernorm_before(h), trace.next_attention()));
    const Tensor mean = in_space.select(1, 0).view({batch, frames, hidden}).mean(1, true);
    const Tensor back =
        in_space.slice(1, 1).reshape({batch, frames, patches, hidden}).transpose(1, 2).reshape(tokens.sizes());
    return at::cat({first + mean, tokens + back}, 1);
  }
};
TORCH_MODULE(TimesformerLayer);

struct TimesformerEncoderImpl : nn::Module {
  nn::Layers<TimesformerLayer> layer{nullptr};

  explicit TimesformerEncoderImpl(const TimesformerConfig& c) {
    const auto rates = linear_rates(c.drop_path_rate, c.num_hidden_layers);
    layer = register_module("layer", nn::Layers<TimesformerLayer>(c.num_hidden_layers, [&](int64_t i) {
                              return TimesformerLayer(c, rates[static_cast<size_t>(i)]);
                            }));
  }

  Tensor forward(Tensor x, Trace& trace) {
    for (auto& one : *layer) {
      trace.hidden_state(x);
      x = one(x, trace);
    }
    trace.hidden_state(x);
    return x;
  }
};
TORCH_MODULE(TimesformerEncoder);

struct TimesformerPreTrainedModel : PreTrainedModel {
  using Config = TimesformerConfig;
  static constexpr bool supports_sdpa = false;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "timesformer"}; }
};

constexpr std::array<std::string_view, 3> kVideoArguments = {"pixel_values", "output_hidden_states",
                                                             "output_attentions"};

struct TimesformerModel : TimesformerPreTrainedModel {
  TimesformerEmbeddings embeddings;
  TimesformerEncoder encoder;
  nn::LayerNorm layernorm;

  explicit TimesformerModel(const TimesformerConfig& c)
      : TimesformerPreTrainedModel(c),
        embeddings(register_module("embeddings", TimesformerEmbeddings(c))),
        encoder(register_module("encoder", TimesformerEncoder(c))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  std::span<const std::string_view> arguments() const override { return kVideoArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, config());
    ModelOutput output;
    output.set("last_hidden_state", layernorm(encoder(embeddings(inputs["pixel_values"]), trace)));
    trace.write(output);
    return output;
  }
};

struct TimesformerForVideoClassification : TimesformerPreTrainedModel {
  std::shared_ptr<TimesformerModel> timesformer;
  nn::Linear classifier{nullptr};

  explicit TimesformerForVideoClassification(const TimesformerConfig& c)
      : TimesformerPreTrainedModel(c),
        timesformer(register_module("timesformer", std::make_shared<TimesformerModel>(c))) {
    if (c.num_labels() > 0) classifier = register_module("classifier", nn::Linear(c.hidden_size, c.num_labels()));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kVideoArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = timesformer->forward(inputs.select(kVideoArguments));
    const Tensor x = base["last_hidden_state"].select(1, 0);
    return classifier_output(classifier ? classifier(x) : x, inputs, config(), base);
  }
};

BACKPLANE_PLUGIN(timesformer, plugin) {
  plugin.config<TimesformerConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "VideoMAEFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "VideoMAEImageProcessor");
  plugin.model<TimesformerModel>(Auto::Model);
  plugin.model<TimesformerForVideoClassification>(Auto::ForVideoClassification);
}

}  // namespace backplane::timesformer
