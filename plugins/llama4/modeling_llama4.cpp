// Llama 4: Meta 2025, https://ai.meta.com/blog/llama-4-multimodal-intelligence
// LLaMA except: rotary positions of neighbours, in most layers, which see their own chunk only; layers without them
// scale queries by how far along they are; queries and keys normalised; experts, one shared, weighted by a sigmoid of
// what goes in. A vision tower with rotary positions of rows and columns. Reference: transformers,
// models/llama4/modeling_llama4.py

#include <backplane/model/composite.h>
#include <backplane/model/heads.h>
#include <backplane/nn/mlp.h>
#include <backplane/nn/multimodal.h>
#include <backplane/nn/uninitialised.h>

#include "configuration_llama4.h"

namespace backplane::llama4 {

struct Llama4TextExpertsImpl : nn::Module {
  Tensor gate_up_proj, down_proj;  // [experts, hidden, 2 * inner], [experts, inner, hidden]
  Activation act;

  explicit Llama4TextExpertsImpl(const Llama4TextConfig& c)
      : gate_up_proj(register_parameter(
            "gate_up_proj", nn::uninitialised({c.num_local_experts, c.hidden_size, 2 * c.intermediate_size}))),
        down_proj(register_parameter("down_proj",
                                     nn::uninitialised({c.num_local_experts, c.intermediate_size, c.hidden_size}))),
        act(activation(c.hidden_act)) {}

  // x [tokens, hidden] of one expert
  Tensor forward(const Tensor& x, int64_t expert) {
    const auto parts = at::matmul(x, gate_up_proj[expert]).chunk(2, -1);
    return at::matmul(parts[1] * act(parts[0]), down_proj[expert]);
  }
};
TORCH_MODULE(Llama4TextExperts);

struct Llama4TextMoeImpl : nn::Module {
  int64_t top_k;
  Llama4TextExperts experts;
  nn::Linear router;
  nn::GatedMlp shared_expert;

  explicit Llama4TextMoeImpl(const Llama4TextConfig& c)
      : top_k(c.num_experts_per_tok),
        experts(register_module("experts", Llama4TextExperts(c))),
        router(register_module("router", nn::Linear(c.hidden_size, c.num_local_experts, false))),
        shared_expert(register_module("shared_expert", nn::GatedMlp(c))) {}

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x) {
    const Tensor rows = x.reshape({-1, x.size(-1)});
    const auto [logits, chosen] = router(rows).topk(top_k, 1);
    const Tensor scores = at::sigmoid(logits.to(at::kFloat)).to(x.scalar_type());
    Tensor routed = at::zeros_like(rows);
    for (int64_t expert = 0; expert < experts->down_proj.size(0); ++expert) {
      const Tensor places = (chosen == expert).nonzero();  // [count, 2]: token, rank
      if (places.size(0) == 0) continue;
      const Tensor token = places.select(1, 0);
      const Tensor in = rows.index_select(0, token) * scores.index({token, places.select(1, 1)}).unsqueeze(-1);
      routed.index_add_(0, token, experts(in, expert));
    }
    return (shared_expert(rows) + routed).view(x.sizes());
  }
};
TORCH_MODULE(Llama4TextMoe);

struct Llama4TextAttentionImpl : nn::Module {
  const Llama4TextConfig& c;
  size_t layer;
  bool has_rope;
  nn::Linear q_proj, k_proj, v_proj, o_proj;

  Llama4TextAttentionImpl(const Llama4TextConfig& config, size_t layer)
      : c(config),
        layer(layer),
        has_rope(c.has_rope(layer)),
        q_proj(register_module("q_proj",
                               nn::Linear(c.hidden_size, c.num_attention_heads * *c.head_dim, c.attention_bias))),
        k_proj(register_module("k_proj",
                               nn::Linear(c.hidden_size, *c.num_key_value_heads * *c.head_dim, c.attention_bias))),
        v_proj(register_module("v_proj",
                               nn::Linear(c.hidden_size, *c.num_key_value_heads * *c.head_dim, c.attention_bias))),
        o_proj(register_module("o_proj",
                               nn::Linear(c.num_attention_heads * *c.head_dim, c.hidden_size, c.attention_bias))) {}

  Tensor normal(const Tensor& x) const {
    const Tensor wide = x.to(at::kFloat);
    return (wide * at::rsqrt(wide.square().mean(-1, true) + c.rms_norm_eps)).to(x.scalar_type());
  }

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, DecoderCall& call) {
    Tensor q = split_heads(q_proj(x), c.num_attention_heads), k = split_heads(k_proj(x), *c.num_key_value_heads);
    if (has_rope) {
      q = nn::apply_rotary_interleaved(q, call.cos, call.sin);
      k = nn::apply_rotary_interleaved(k, call.cos, call.sin);
      if (c.use_qk_norm) {
        q = normal(q);
        k = normal(k);
      }
    } else if (c.attn_temperature_tuning) {
      const Tensor positions = at::arange(call.past + 1, call.past + call.seq + 1, at::kFloat);
      const Tensor scales =
          at::log(at::floor(positions / static_cast<double>(c.floor_scale)) + 1.0) * c.attn_scale + 1.0;
      q = (q * scales.view({1, 1, -1, 1})).to(q.scalar_type());
    }
    const Tensor y = call.attend(layer, q, k, split_heads(v_proj(x), *c.num_key_value_heads),
                                 {.dropout = is_training() ? c.attention_dropout : 0},
                                 c.is_chunked(layer) ? c.attention_chunk_size : 0);
    return o_proj(merge_heads(y));
  }
};
TORCH_MODULE(Llama4TextAttention);

struct Llama4TextDecoderLayerImpl : nn::Module {
  Llama4TextAttention self_attn;
  nn::RMSNorm input_layernorm, post_attention_layernorm;
  nn::GatedMlp mlp{nullptr};
  Llama4TextMoe moe{nullptr};

  Llama4TextDecoderLayerImpl(const Llama4TextConfig& c, size_t layer)
      : self_attn(register_module("self_attn", Llama4TextAttention(c, layer))),
        input_layernorm(register_module("input_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {
    if (c.is_moe(layer)) {
      moe = register_module("feed_forward", Llama4TextMoe(c));
    } else {
      mlp = register_module("feed_forward", nn::GatedMlp(c.hidden_size, c.intermediate_size_mlp, c.hidden_act));
    }
  }

  Tensor forward(Tensor x, DecoderCall& call) {
    x = x + self_attn(input_layernorm(x), call);
    const Tensor y = post_attention_layernorm(x);
    return x + (moe ? moe(y) : mlp(y));
  }
};
TORCH_MODULE(Llama4TextDecoderLayer);

struct Llama4TextPreTrainedModel : PreTrainedModel {
  using Config = Llama4TextConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct Llama4TextModel : Llama4TextPreTrainedModel {
  const Llama4TextConfig& c;
  nn::RotaryEmbedding rotary;
  nn::Embedding embed_tokens;
  nn::Layers<Llama4TextDecoderLayer> layers;
  nn::RMSNorm norm;

  explicit Llama4TextModel(const Llama4TextConfig& config)
      : Llama4TextPreTrainedModel(config),
        c(config),
        rotary({.dim = *c.head_dim,
                .theta = c.rope_theta,
                .max_position_embeddings = c.max_position_embeddings,
                .scaling = scaling(c.rope_scaling)}),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        layers(register_module(
            "layers",
            nn::Layers<Llama4TextDecoderLayer>(
                c.num_hidden_layers, [&](int64_t i) { return Llama4TextDecoderLayer(c, static_cast<size_t>(i)); }))),
        norm(register_module("norm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  // Scaled positions are Llama 3's, whatever the config calls them.
  static Value scaling(const Value& given) {
    if (!given.is_object()) return {};
    auto object = given.as_object();
    set(object, "rope_type", "llama3");
    return object;
  }

  nn::Embedding get_input_embeddings() override { return embed_tokens; }
  std::span<const std::string_view> arguments() const override { return kDecoderArguments; }

  // Masks of full and of chunked layers for `seq` positions after `past`, where there is more than one chunk; those of
  // chunked layers for the keys that a cache of one chunk holds.
  std::vector<Tensor> masks(const Tensor& attention_mask, int64_t seq, int64_t past, at::ScalarType dtype) const {
    const int64_t kv = past + seq, chunk = c.attention_chunk_size;
    const Tensor queries = at::arange(past, kv).unsqueeze(1), keys = at::arange(kv).unsqueeze(0);
    Tensor seen =
        (keys <= queries).logical_and(keys.div(chunk, "floor") == queries.div(chunk, "floor")).view({1, 1, seq, kv});
    if (attention_mask.defined()) {
      if (attention_mask.dim() != 2 || attention_mask.size(1) != kv) {
        throw Error(ErrorCode::invalid_value,
                    concat("attention_mask has the shape ", attention_mask.sizes(), "; expected [batch, ", kv, "]"));
      }
      seen = seen.logical_and((attention_mask != 0).view({attention_mask.size(0), 1, 1, kv}));
    }
    const Tensor chunked = lowest_where(seen.logical_not(), dtype).slice(-1, -(std::min(past, chunk - 1) + seq));
    return {causal_mask(attention_mask, seq, past, dtype), chunked};
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const KvCachePtr cache = inputs.cache("past_key_values");
    const Argument* given = inputs.find("inputs_embeds") ? inputs.find("inputs_embeds") : inputs.find("input_ids");
    const auto* sized = given ? std::get_if<Tensor>(given) : nullptr;
    const int64_t past = cache ? cache->length() : 0, seq = sized ? sized->size(1) : 0;
    const Tensor mask = inputs.tensor("attention_mask");
    ModelInputs chunked = inputs;
    if (past + seq > c.attention_chunk_size && (!mask.defined() || mask.dim() == 2)) {
      chunked.set("attention_mask", masks(mask, seq, past, embed_tokens->weight.scalar_type()));
    }
    DecoderCall call(chunked, c, c.use_cache, embed_tokens);
    std::tie(call.cos, call.sin) = rotary.forward(call.positions);
    Tensor x = call.x;
    for (auto& layer : *layers) {
      call.see(x);
      x = layer(x, call);
    }
    return call.finish(norm(x));
  }
};

struct Llama4ForCausalLM : CausalLMHead<Llama4TextPreTrainedModel, Llama4TextModel> {
  using CausalLMHead::CausalLMHead;
};

struct Llama4VisionAttentionImpl : nn::Module {
  int64_t heads;
  double dropout;
  AttnImplementation implementation;
  nn::Linear q_proj, k_proj, v_proj, o_proj;

  explicit Llama4VisionAttentionImpl(const Llama4VisionConfig& c)
      : heads(c.num_attention_heads),
        dropout(c.attention_dropout),
        implementation(c.attn_implementation),
        q_proj(register_module("q_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        k_proj(register_module("k_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        v_proj(register_module("v_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        o_proj(register_module("o_proj", nn::Linear(c.hidden_size, c.hidden_size))) {}

  // x [tiles, 1 + patches, hidden], cos and sin [1, 1 + patches, head_dim / 2]
  Tensor forward(const Tensor& x, const Tensor& cos, const Tensor& sin, std::vector<Tensor>* attentions) {
    const Tensor q = nn::apply_rotary_interleaved(split_heads(q_proj(x), heads), cos, sin),
                 k = nn::apply_rotary_interleaved(split_heads(k_proj(x), heads), cos, sin);
    Tensor probs;
    const Tensor y = attention(q, k, split_heads(v_proj(x), heads),
                               {.dropout = is_training() ? dropout : 0,
                                .implementation = implementation,
                                .probs = attentions ? &probs : nullptr});
    if (attentions) attentions->push_back(probs);
    return o_proj(merge_heads(y));
  }
};
TORCH_MODULE(Llama4VisionAttention);

struct Llama4VisionMLPImpl : nn::Module {
  nn::Linear fc1, fc2;

  explicit Llama4VisionMLPImpl(const Llama4VisionConfig& c)
      : fc1(register_module("fc1", nn::Linear(c.hidden_size, c.intermediate_size))),
        fc2(register_module("fc2", nn::Linear(c.intermediate_size, c.hidden_size))) {}

  Tensor forward(const Tensor& x) { return fc2(at::gelu(fc1(x))); }
};
TORCH_MODULE(Llama4VisionMLP);

struct Llama4VisionEncoderLayerImpl : nn::Module {
  Llama4VisionAttention self_attn;
  Llama4VisionMLP mlp;
  nn::LayerNorm input_layernorm, post_attention_layernorm;

  explicit Llama4VisionEncoderLayerImpl(const Llama4VisionConfig& c)
      : self_attn(register_module("self_attn", Llama4VisionAttention(c))),
        mlp(register_module("mlp", Llama4VisionMLP(c))),
        input_layernorm(register_module("input_layernorm", nn::LayerNorm(c.hidden_size))),
        post_attention_layernorm(register_module("post_attention_layernorm", nn::LayerNorm(c.hidden_size))) {}

  Tensor forward(Tensor x, const Tensor& cos, const Tensor& sin, std::vector<Tensor>* attentions) {
    x = x + self_attn(input_layernorm(x), cos, sin, attentions);
    return x + mlp(post_attention_layernorm(x));
  }
};
TORCH_MODULE(Llama4VisionEncoderLayer);

struct Llama4VisionEncoderImpl : nn::Module {
  nn::Layers<Llama4VisionEncoderLayer> layers;

  explicit Llama4VisionEncoderImpl(const Llama4VisionConfig& c)
      : layers(register_module("layers", nn::Layers<Llama4VisionEncoderLayer>(c.num_hidden_layers, [&](int64_t) {
                                 return Llama4VisionEncoderLayer(c);
                               }))) {}
};
TORCH_MODULE(Llama4VisionEncoder);

struct Llama4UnfoldConvolutionImpl : nn::Module {
  int64_t patch;
  nn::Linear linear;

  explicit Llama4UnfoldConvolutionImpl(const Llama4VisionConfig& c)
      : patch(c.patch_size),
        linear(register_module("linear", nn::Linear(c.num_channels * patch * patch, c.hidden_size, false))) {}

  // pixels [tiles, channels, height, width] -> [tiles, patches, hidden]
  Tensor forward(const Tensor& pixels) {
    return linear(at::im2col(pixels, {patch, patch}, {1, 1}, {0, 0}, {patch, patch}).transpose(1, 2));
  }
};
TORCH_MODULE(Llama4UnfoldConvolution);

struct Llama4VisionMLP2Impl : nn::Module {
  nn::Linear fc1, fc2;
  nn::Dropout dropout;

  explicit Llama4VisionMLP2Impl(const Llama4VisionConfig& c)
      : fc1(register_module("fc1", nn::Linear(c.intermediate_size, c.projector_input_dim, false))),
        fc2(register_module("fc2", nn::Linear(c.projector_output_dim, c.projector_output_dim, false))),
        dropout(register_module("dropout", nn::Dropout(c.projector_dropout))) {}

  Tensor forward(const Tensor& x) { return at::gelu(fc2(dropout(at::gelu(fc1(x))))); }
};
TORCH_MODULE(Llama4VisionMLP2);

// Blocks of patches become one.
struct Llama4VisionPixelShuffleMLPImpl : nn::Module {
  double ratio;
  Llama4VisionMLP2 mlp;

  explicit Llama4VisionPixelShuffleMLPImpl(const Llama4VisionConfig& c)
      : ratio(c.pixel_shuffle_ratio), mlp(register_module("mlp", Llama4VisionMLP2(c))) {}

  // x [tiles, side^2, dim] -> [tiles, (side * ratio)^2, out]
  Tensor forward(const Tensor& x) {
    const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(x.size(1))));
    const auto small = static_cast<int64_t>(static_cast<double>(side) * ratio);
    if (side * side != x.size(1) || small <= 0 || side % small != 0) {
      throw Error(ErrorCode::invalid_value, concat("a tile has ", x.size(1),
                                                   " patches; expected a square that "
                                                   "pixel_shuffle_ratio (",
                                                   ratio, ") makes smaller evenly"));
    }
    Tensor y = x.reshape({x.size(0), side, small, -1}).permute({0, 2, 1, 3});
    y = y.reshape({x.size(0), small, small, -1}).permute({0, 2, 1, 3});
    return mlp(y.reshape({x.size(0), small * small, -1}));
  }
};
TORCH_MODULE(Llama4VisionPixelShuffleMLP);

struct Llama4VisionModel : PreTrainedModel {
  using Config = Llama4VisionConfig;

  const Llama4VisionConfig& c;
  Llama4UnfoldConvolution patch_embedding;
  Tensor class_embedding, positional_embedding_vlm;
  nn::LayerNorm layernorm_pre, layernorm_post;
  Llama4VisionEncoder model;
  Llama4VisionPixelShuffleMLP vision_adapter;
  Tensor cos, sin;  // [1, patches + 1, head_dim / 2]

  explicit Llama4VisionModel(const Llama4VisionConfig& config)
      : PreTrainedModel(config),
        c(config),
        patch_embedding(register_module("patch_embedding", Llama4UnfoldConvolution(c))),
        class_embedding(register_parameter("class_embedding", nn::uninitialised({c.hidden_size}))),
        positional_embedding_vlm(register_parameter("positional_embedding_vlm",
                                                    nn::uninitialised({c.side() * c.side() + 1, c.hidden_size}))),
        layernorm_pre(register_module("layernorm_pre", nn::LayerNorm(c.hidden_size))),
        layernorm_post(register_module("layernorm_post", nn::LayerNorm(c.hidden_size))),
        model(register_module("model", Llama4VisionEncoder(c))),
        vision_adapter(register_module("vision_adapter", Llama4VisionPixelShuffleMLP(c))) {
    // Half of the frequencies turn with columns, half with rows; the class token, last, does not turn.
    const int64_t dim = c.hidden_size / c.num_attention_heads / 2;
    const Tensor freqs = 1.0 / at::pow(c.rope_theta, at::arange(0, dim, 2, at::kFloat) / static_cast<double>(dim));
    const Tensor patches = at::arange(c.side() * c.side()).unsqueeze(1);
    Tensor angles =
        at::cat({(patches.remainder(c.side()) + 1) * freqs, (patches.div(c.side(), "floor") + 1) * freqs}, 1);
    angles = at::cat({angles, at::zeros({1, angles.size(1)})}).unsqueeze(0);
    cos = angles.cos();
    sin = angles.sin();
  }

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "vision_model"}; }

  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 3> kNames = {"pixel_values", "output_attentions",
                                                               "output_hidden_states"};
    return kNames;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor pixels = inputs["pixel_values"];
    if (pixels.size(2) != c.image_size || pixels.size(3) != c.image_size) {
      throw Error(ErrorCode::invalid_value, concat("the tiles are ", pixels.size(2), " x ", pixels.size(3),
                                                   " pixels; the model takes ", c.image_size, " x ", c.image_size));
    }
    Tensor x = patch_embedding(pixels.to(class_embedding.scalar_type()));
    x = layernorm_pre(at::cat({x, class_embedding.expand({x.size(0), 1, -1})}, 1) + positional_embedding_vlm);
    std::vector<Tensor> hidden_states, attentions;
    const bool keep = inputs.flag("output_hidden_states", c.output_hidden_states);
    const bool see = inputs.flag("output_attentions", c.output_attentions);
    for (auto& layer : *model->layers) {
      if (keep) hidden_states.push_back(x);
      x = layer(x, cos, sin, see ? &attentions : nullptr);
    }
    if (keep) hidden_states.push_back(x);
    ModelOutput output;
    output.set("last_hidden_state", vision_adapter(layernorm_post(x).slice(1, 0, -1)));
    output.set("hidden_states", hidden_states);
    output.set("attentions", attentions);
    return output;
  }
};

struct Llama4MultiModalProjectorImpl : nn::Module {
  nn::Linear linear_1;

  explicit Llama4MultiModalProjectorImpl(const Llama4Config& c)
      : linear_1(register_module("linear_1",
                                 nn::Linear(c.vision_config.vision_output_dim, c.text_config.hidden_size, false))) {}

  Tensor forward(const Tensor& x) { return linear_1(x); }
};
TORCH_MODULE(Llama4MultiModalProjector);

struct Llama4ForConditionalGeneration : PreTrainedModel {
  using Config = Llama4Config;

  const Llama4Config& c;
  std::shared_ptr<Llama4VisionModel> vision_model;
  Llama4MultiModalProjector multi_modal_projector;
  std::shared_ptr<Llama4ForCausalLM> language_model;

  explicit Llama4ForConditionalGeneration(const Llama4Config& config)
      : PreTrainedModel(config),
        c(config),
        vision_model(register_module("vision_model", std::make_shared<Llama4VisionModel>(c.vision_config))),
        multi_modal_projector(register_module("multi_modal_projector", Llama4MultiModalProjector(c))),
        language_model(register_module("language_model", std::make_shared<Llama4ForCausalLM>(c.text_config))) {}

  void tie_weights() override { language_model->tie_weights(); }
  bool can_generate() const override { return true; }
  nn::Embedding get_input_embeddings() override { return language_model->get_input_embeddings(); }
  nn::Linear get_output_embeddings() override { return language_model->get_output_embeddings(); }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kDecoderArguments, "labels", "logits_to_keep", "pixel_values");
    return kNames;
  }

  void prepare_inputs_for_generation(ModelInputs& inputs, int64_t past) const override {
    if (past > 0) inputs.set("pixel_values", {});
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor ids = inputs.tensor("input_ids"), labels = inputs.tensor("labels");
    Tensor x = inputs.tensor("inputs_embeds"), features;
    if (ids.defined() == x.defined()) throw Error(ErrorCode::invalid_value, "give either input_ids or inputs_embeds");
    if (ids.defined()) x = get_input_embeddings()(ids);
    if (const Tensor pixels = inputs.tensor("pixel_values"); pixels.defined()) {
      features = vision_model->forward({{"pixel_values", pixels}})["last_hidden_state"];
      const Tensor where = placeholder_mask(ids, x, get_input_embeddings(), c.image_token_index);
      x = scatter_features(x, where, multi_modal_projector(features), "image");
    }
    ModelInputs call = for_language_model(inputs, *language_model, c, x);
    call.set("labels", {});
    const auto base = language_model->forward(call);
    const Tensor logits = base["logits"], mask = inputs.tensor("attention_mask");
    ModelOutput output;
    if (labels.defined()) {  // padding is not learned
      const bool masked = mask.defined() && mask.dim() == 2;
      output.set("loss", causal_lm_loss(
                             logits, masked ? labels.masked_fill(mask.slice(1, -labels.size(1)) == 0, -100) : labels));
    }
    output.set("logits", logits);
    output.pass_on(base);
    output.set("image_hidden_states", features);
    return output;
  }
};

// The language model of a whole configuration, as the auto classes for text give it.
namespace whole {

template <class Model>
struct Inside : Model {
  using Config = Llama4Config;
  explicit Inside(const Llama4Config& c) : Model(c.text_config) {}
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "language_model"}; }
};
struct Llama4TextModel : Inside<llama4::Llama4TextModel> {
  using Inside::Inside;
};
struct Llama4ForCausalLM : Inside<llama4::Llama4ForCausalLM> {
  using Inside::Inside;
};

}  // namespace whole

BACKPLANE_PLUGIN(llama4, plugin) {
  plugin.config<Llama4TextConfig>();
  plugin.model<Llama4TextModel>(Auto::Model);
  plugin.model<Llama4ForCausalLM>(Auto::ForCausalLM);
  plugin.config<Llama4Config>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "Llama4ImageProcessor", "Llama4ImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "Llama4Processor");
  plugin.model<whole::Llama4TextModel>(Auto::ForTextEncoding);
  plugin.model<Llama4ForConditionalGeneration>(Auto::Model);
  plugin.model<whole::Llama4ForCausalLM>(Auto::ForCausalLM);
  plugin.model<Llama4ForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::llama4
