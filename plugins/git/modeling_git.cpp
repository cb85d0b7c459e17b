// GIT: Wang et al. 2022, https://arxiv.org/abs/2205.14100
// BERT's layers over the patches of an image, which see each other, and then the words, which see the patches and the
// words before them. The cache holds the words only. Reference: transformers, models/git/modeling_git.py

#include <backplane/model/decoder.h>
#include <cmath>
#include <limits>

#include "../clip/modeling_clip.h"
#include "configuration_git.h"

namespace backplane::git {

constexpr auto kArguments = extend(clip::kTextArguments, "pixel_values", "head_mask", "inputs_embeds",
                                   "past_key_values", "use_cache", "interpolate_pos_encoding");

struct GitPreTrainedModel : PreTrainedModel {
  using Config = GitConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "git"}; }
};

// Places that the images of a row take.
int64_t image_tokens(const GitConfig& c) {
  const auto& v = c.vision_config;
  const double side = static_cast<double>(v.image_size) / static_cast<double>(v.patch_size);
  return static_cast<int64_t>(side * side + 1) * c.num_image_with_embedding.value_or(1);
}

// What every layer of one call shares.
struct Pass {
  DecoderCall& call;
  Tensor mask;       // additive [batch, 1, q, kv]
  Tensor head_mask;  // [layers, 1, heads, 1, 1], or undefined
  int64_t uncached;  // leading places that the cache does not take
};

struct GitSelfAttentionImpl : nn::Module {
  int64_t heads, max_positions;
  size_t layer;
  bool by_key, by_query;
  double dropout;
  nn::Linear query, key, value;
  nn::Embedding distance_embedding{nullptr};

  GitSelfAttentionImpl(const GitConfig& c, size_t layer)
      : heads(clip::CLIPAttentionImpl::checked_heads(c.hidden_size, c.num_attention_heads)),
        max_positions(c.max_position_embeddings),
        layer(layer),
        by_key(c.position_embedding_type == "relative_key" || c.position_embedding_type == "relative_key_query"),
        by_query(c.position_embedding_type == "relative_key_query"),
        dropout(c.attention_probs_dropout_prob),
        query(register_module("query", nn::Linear(c.hidden_size, c.hidden_size))),
        key(register_module("key", nn::Linear(c.hidden_size, c.hidden_size))),
        value(register_module("value", nn::Linear(c.hidden_size, c.hidden_size))) {
    if (by_key) {
      distance_embedding =
          register_module("distance_embedding", nn::Embedding(2 * max_positions - 1, c.hidden_size / heads));
    }
  }

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, Pass& pass) {
    const Tensor q = split_heads(query(x), heads);
    Tensor k = split_heads(key(x), heads), v = split_heads(value(x), heads);
    if (auto& cache = pass.call.cache) {
      const auto [keys, values] = cache->update(layer, k.slice(2, pass.uncached), v.slice(2, pass.uncached));
      k = at::cat({k.slice(2, 0, pass.uncached), keys}, 2);
      v = at::cat({v.slice(2, 0, pass.uncached), values}, 2);
    }
    Tensor scores = at::matmul(q, k.transpose(2, 3));
    if (by_key) scores = scores + relative(q, k, pass.call.cache != nullptr);
    scores = scores / std::sqrt(static_cast<double>(q.size(3))) + pass.mask;
    Tensor probs = at::softmax(scores, -1);
    if (is_training() && dropout > 0) probs = at::dropout(probs, dropout, true);
    if (pass.head_mask.defined()) probs = probs * pass.head_mask[static_cast<int64_t>(layer)];
    if (pass.call.wants_attentions()) pass.call.attentions.push_back(probs);
    return merge_heads(at::matmul(probs, v));
  }

  // With a cache the reference counts every query as the last; so does this.
  Tensor relative(const Tensor& q, const Tensor& k, bool cached) {
    const int64_t kv = k.size(2);
    Tensor from = at::arange(q.size(2)).unsqueeze(1);
    if (cached) from = at::full_like(from, kv - 1);
    const Tensor positions = distance_embedding(from - at::arange(kv).unsqueeze(0) + (max_positions - 1));
    Tensor scores = at::einsum("bhld,lrd->bhlr", {q, positions});
    if (by_query) scores = scores + at::einsum("bhrd,lrd->bhlr", {k, positions});
    return scores;
  }
};
TORCH_MODULE(GitSelfAttention);

// Linear, dropout, residual, norm: after attention and after the feed-forward part.
struct GitOutputImpl : nn::Module {
  nn::Linear dense;
  nn::LayerNorm LayerNorm;
  nn::Dropout dropout;

  GitOutputImpl(const GitConfig& c, int64_t in_features)
      : dense(register_module("dense", nn::Linear(in_features, c.hidden_size))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  Tensor forward(const Tensor& x, const Tensor& residual) { return LayerNorm(dropout(dense(x)) + residual); }
};
TORCH_MODULE(GitOutput);

struct GitAttentionImpl : nn::Module {
  GitSelfAttention self;
  GitOutput output;

  GitAttentionImpl(const GitConfig& c, size_t layer)
      : self(register_module("self", GitSelfAttention(c, layer))),
        output(register_module("output", GitOutput(c, c.hidden_size))) {}

  Tensor forward(const Tensor& x, Pass& pass) { return output(self(x, pass), x); }
};
TORCH_MODULE(GitAttention);

struct GitIntermediateImpl : nn::Module {
  nn::Linear dense;
  Activation act;

  explicit GitIntermediateImpl(const GitConfig& c)
      : dense(register_module("dense", nn::Linear(c.hidden_size, c.intermediate_size))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return act(dense(x)); }
};
TORCH_MODULE(GitIntermediate);

struct GitLayerImpl : nn::Module {
  GitAttention attention;
  GitIntermediate intermediate;
  GitOutput output;

  GitLayerImpl(const GitConfig& c, size_t layer)
      : attention(register_module("attention", GitAttention(c, layer))),
        intermediate(register_module("intermediate", GitIntermediate(c))),
        output(register_module("output", GitOutput(c, c.intermediate_size))) {}

  Tensor forward(const Tensor& x, Pass& pass) {
    const Tensor y = attention(x, pass);
    return output(intermediate(y), y);
  }
};
TORCH_MODULE(GitLayer);

struct GitEncoderImpl : nn::Module {
  nn::Layers<GitLayer> layer;

  explicit GitEncoderImpl(const GitConfig& c)
      : layer(register_module(
            "layer", nn::Layers<GitLayer>(c.num_hidden_layers, [&](int64_t i) { return GitLayer(c, i); }))) {}

  Tensor forward(Tensor x, Pass& pass) {
    for (auto& one : *layer) {
      pass.call.see(x);
      x = one(x, pass);
    }
    return x;
  }
};
TORCH_MODULE(GitEncoder);

struct GitEmbeddingsImpl : nn::Module {
  bool absolute;
  nn::Embedding word_embeddings, position_embeddings;
  nn::LayerNorm LayerNorm;
  nn::Dropout dropout;

  explicit GitEmbeddingsImpl(const GitConfig& c)
      : absolute(c.position_embedding_type == "absolute"),
        word_embeddings(register_module("word_embeddings", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        position_embeddings(
            register_module("position_embeddings", nn::Embedding(c.max_position_embeddings, c.hidden_size))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  // x [batch, seq, hidden], positions [batch or 1, seq] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, const Tensor& positions) {
    return dropout(LayerNorm(absolute ? x + position_embeddings(positions) : x));
  }
};
TORCH_MODULE(GitEmbeddings);

// CLIP's tower, every state of which is normalised.
struct GitVisionModelImpl : nn::Module {
  clip::CLIPVisionTransformer vision_model;

  explicit GitVisionModelImpl(const GitVisionConfig& c)
      : vision_model(register_module("vision_model", clip::CLIPVisionTransformer(c))) {}

  // [batch, channels, height, width] -> [batch, 1 + patches, hidden]
  Tensor forward(const Tensor& pixel_values, bool interpolate) {
    clip::Pass pass;
    const Tensor x = vision_model->embeddings(pixel_values, interpolate);
    return vision_model->post_layernorm(vision_model->encoder(vision_model->pre_layrnorm(x), pass));
  }
};
TORCH_MODULE(GitVisionModel);

struct GitSequentialImpl : nn::Module {
  nn::Linear linear;
  nn::LayerNorm norm;

  explicit GitSequentialImpl(const GitConfig& c)
      : linear(register_module("0", nn::Linear(c.vision_config.hidden_size, c.hidden_size))),
        norm(register_module("1", nn::LayerNorm(c.hidden_size, c.vision_config.layer_norm_eps))) {}

  Tensor forward(const Tensor& x) { return norm(linear(x)); }
};
TORCH_MODULE(GitSequential);

struct GitProjectionImpl : nn::Module {
  GitSequential visual_projection;

  explicit GitProjectionImpl(const GitConfig& c)
      : visual_projection(register_module("visual_projection", GitSequential(c))) {}

  Tensor forward(const Tensor& x) { return visual_projection(x); }
};
TORCH_MODULE(GitProjection);

// A vector [1, 1, hidden] for each frame.
struct GitFramesImpl : nn::Module {
  std::vector<Tensor> frames;

  GitFramesImpl(int64_t count, int64_t hidden_size) {
    for (int64_t i = 0; i < count; ++i)
      frames.push_back(register_parameter(std::to_string(i), nn::uninitialised({1, 1, hidden_size})));
  }
};
TORCH_MODULE(GitFrames);

constexpr int64_t kMostFrames = 1 << 15;

struct GitModel : GitPreTrainedModel {
  GitEmbeddings embeddings;
  GitVisionModel image_encoder;
  GitEncoder encoder;
  GitProjection visual_projection;
  GitFrames img_temperal_embedding{nullptr};

  explicit GitModel(const GitConfig& c)
      : GitPreTrainedModel(c),
        embeddings(register_module("embeddings", GitEmbeddings(c))),
        image_encoder(register_module("image_encoder", GitVisionModel(c.vision_config))),
        encoder(register_module("encoder", GitEncoder(c))),
        visual_projection(register_module("visual_projection", GitProjection(c))) {
    if (const auto count = c.num_image_with_embedding) {
      if (*count < 0 || *count > kMostFrames)
        throw Error(ErrorCode::bad_config, concat("config.json: num_image_with_embedding is ", *count));
      img_temperal_embedding =
          register_module("img_temperal_embedding", GitFrames(*count, c.vision_config.hidden_size));
    }
  }

  nn::Embedding get_input_embeddings() override { return embeddings->word_embeddings; }
  std::span<const std::string_view> arguments() const override { return kArguments; }

  // pixel_values [batch, channels, height, width] or [batch, frames, ...] -> [batch, places, hidden]
  Tensor see(const Tensor& pixel_values, bool interpolate) {
    if (pixel_values.dim() == 4) return visual_projection(image_encoder(pixel_values, interpolate));
    const int64_t most = img_temperal_embedding ? static_cast<int64_t>(img_temperal_embedding->frames.size()) : 0;
    if (pixel_values.dim() != 5 || pixel_values.size(1) > most || pixel_values.size(1) == 0) {
      throw Error(ErrorCode::invalid_value,
                  concat("pixel_values are [batch, channels, height, width], or [batch, frames, channels, height, "
                         "width] with 1 to ",
                         most, " frames (num_image_with_embedding)"));
    }
    std::vector<Tensor> frames;
    for (int64_t i = 0; i < pixel_values.size(1); ++i) {
      frames.push_back(image_encoder(pixel_values.select(1, i), interpolate) +
                       img_temperal_embedding->frames[static_cast<size_t>(i)]);
    }
    return visual_projection(at::cat(frames, 1));
  }

  // Additive [batch, 1, places + seq, places + past + seq]: the image sees itself, words see it and what came before.
  static Tensor mask(const DecoderCall& call, int64_t places) {
    const auto options = call.x.options();
    const int64_t q = places + call.seq, kv = places + call.past + call.seq;
    Tensor mask = at::zeros({call.batch, 1, q, kv}, options);
    mask.slice(2, 0, places).slice(3, places).fill_(-std::numeric_limits<double>::infinity());
    if (call.past > 0) return mask;  // as in the reference, padding among cached words is seen
    Tensor words = mask.slice(2, places).slice(3, places);
    words += at::full({call.seq, call.seq}, -std::numeric_limits<double>::infinity(), options).triu(1);
    const Tensor padding = padding_mask(call.attention_mask, call.x.scalar_type());
    if (padding.defined()) words += padding;
    return mask;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto& c = static_cast<const GitConfig&>(config());
    DecoderCall call(inputs, c, c.use_cache, embeddings->word_embeddings);
    Tensor x = embeddings(call.x, call.positions);
    int64_t places = 0;
    const Tensor pixel_values = inputs.tensor("pixel_values");
    if (pixel_values.defined()) {
      const Tensor seen = see(pixel_values, inputs.flag("interpolate_pos_encoding", false));
      places = seen.size(1);
      x = at::cat({seen.repeat({x.size(0) / seen.size(0), 1, 1}), x}, 1);
    }
    Pass pass{call, mask(call, places),
              head_mask_of_layers(inputs.tensor("head_mask"), c.num_hidden_layers, c.num_attention_heads,
                                  x.scalar_type()),
              pixel_values.defined() ? image_tokens(c) : 0};
    return call.finish(encoder(x, pass));
  }
};

struct GitForCausalLM : GitPreTrainedModel {
  std::shared_ptr<GitModel> git;
  nn::Linear output;

  explicit GitForCausalLM(const GitConfig& c)
      : GitPreTrainedModel(c),
        git(register_module("git", std::make_shared<GitModel>(c))),
        output(register_module("output", nn::Linear(c.hidden_size, c.vocab_size))) {}

  void tie_weights() override {
    if (config().tie_word_embeddings) output->tie_weight(git->embeddings->word_embeddings->weight);
  }
  bool can_generate() const override { return true; }
  nn::Embedding get_input_embeddings() override { return git->get_input_embeddings(); }
  nn::Linear get_output_embeddings() override { return output; }
  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kArguments, "labels");
    return kNames;
  }
  // The image is seen anew at each step; words count from 0, padding too.
  void prepare_inputs_for_generation(ModelInputs& inputs, int64_t) const override { inputs.set("position_ids", {}); }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor labels = inputs.tensor("labels");
    ModelInputs inner = inputs.select(git->arguments());
    if (labels.defined()) inner.set("use_cache", false);
    const auto base = git->forward(inner);
    const Tensor logits = output(base["last_hidden_state"]);
    ModelOutput result;
    if (labels.defined()) {
      // The reference shifts twice: here, and over the flattened batch in its loss.
      const Tensor next = logits.slice(1, image_tokens(static_cast<const GitConfig&>(config())), -1);
      result.set("loss", causal_lm_loss(next.reshape({1, -1, next.size(2)}), labels.slice(1, 1).reshape({1, -1})));
    }
    result.set("logits", logits);
    result.pass_on(base);
    return result;
  }
};

BACKPLANE_PLUGIN(git, plugin) {
  plugin.config<GitConfig>();
  plugin.tokenizer("BertTokenizer", "BertTokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "CLIPImageProcessor", "CLIPImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "GitProcessor");
  plugin.model<GitModel>(Auto::Model);
  plugin.model<GitForCausalLM>(Auto::WithLMHead);
  plugin.model<GitForCausalLM>(Auto::ForCausalLM);
  plugin.model<GitForCausalLM>(Auto::ForVision2Seq);
  plugin.model<GitForCausalLM>(Auto::ForImageTextToText);
}

}  // namespace backplane::git
