#include "modeling_whisper.h"

#include <backplane/nn/speech.h>
#include <backplane/nn/uninitialised.h>

namespace backplane::whisper {

constexpr std::array<std::string_view, 4> kEncoderArguments = {"input_features", "head_mask", "output_attentions",
                                                               "output_hidden_states"};
constexpr auto kDecoderArguments = extend(kTextDecoderArguments, "position_ids");
constexpr std::array<std::string_view, 15> kModelArguments = {
    "input_features",    "attention_mask",        "decoder_input_ids",    "decoder_attention_mask",
    "head_mask",         "decoder_head_mask",     "cross_attn_head_mask", "encoder_outputs",
    "past_key_values",   "decoder_inputs_embeds", "decoder_position_ids", "use_cache",
    "output_attentions", "output_hidden_states",  "cache_position"};

// What every layer of one call shares.
struct Pass {
  Tensor mask;             // additive [batch, 1, q, kv], or undefined
  bool causal = false;     // queries see no later keys, and the mask does not say so
  Tensor head_mask;        // [layers, heads], or undefined
  Tensor cross_head_mask;  // as head_mask, of cross-attention
  Tensor encoder;          // [batch, frames, d_model], or undefined
  KvCachePtr cache;
  std::vector<Tensor>* attentions = nullptr;
  std::vector<Tensor>* cross_attentions = nullptr;
};

struct WhisperAttentionImpl : nn::Module {
  int64_t heads;
  size_t layer;
  bool is_cross;
  double dropout;
  AttnImplementation implementation;
  nn::Linear k_proj, v_proj, q_proj, out_proj;

  WhisperAttentionImpl(const WhisperConfig& c, int64_t heads, size_t layer, bool is_cross = false)
      : heads(heads),
        layer(layer),
        is_cross(is_cross),
        dropout(c.attention_dropout),
        implementation(c.attn_implementation),
        k_proj(register_module("k_proj", nn::Linear(c.d_model, c.d_model, false))),
        v_proj(register_module("v_proj", nn::Linear(c.d_model, c.d_model))),
        q_proj(register_module("q_proj", nn::Linear(c.d_model, c.d_model))),
        out_proj(register_module("out_proj", nn::Linear(c.d_model, c.d_model))) {}

  // x [batch, seq, d_model] -> [batch, seq, d_model]
  Tensor forward(const Tensor& x, const Pass& pass) {
    const Tensor q = split_heads(q_proj(x), heads);  // [batch, heads, seq, d]
    const auto [k, v] = keys_and_values(x, pass);
    const Tensor& head_mask = is_cross ? pass.cross_head_mask : pass.head_mask;
    auto* const seen = is_cross ? pass.cross_attentions : pass.attentions;
    Tensor probs;
    Tensor y = attention(q, k, v,
                         {.mask = is_cross ? Tensor() : pass.mask,
                          .causal = !is_cross && pass.causal,
                          .dropout = is_training() ? dropout : 0,
                          .implementation = implementation,
                          .probs = seen || head_mask.defined() ? &probs : nullptr});
    if (head_mask.defined()) {
      probs = probs * head_mask[static_cast<int64_t>(layer)].view({1, -1, 1, 1});
      y = at::matmul(probs, v);
    }
    if (seen) seen->push_back(probs);
    return out_proj(merge_heads(y));
  }

  std::pair<Tensor, Tensor> keys_and_values(const Tensor& x, const Pass& pass) {
    const auto made_of = [&](const Tensor& from) {
      return std::pair(split_heads(k_proj(from), heads), split_heads(v_proj(from), heads));
    };
    if (!is_cross) {
      const auto [k, v] = made_of(x);
      return pass.cache ? pass.cache->update(layer, k, v) : std::pair(k, v);
    }
    if (!pass.cache) return made_of(pass.encoder);
    auto& kept = pass.cache->cross(layer);
    if (!kept.first.defined()) {
      const auto [k, v] = made_of(pass.encoder);
      kept = {k.contiguous(), v.contiguous()};
    }
    return kept;
  }
};
TORCH_MODULE(WhisperAttention);

struct WhisperEncoderLayerImpl : nn::Module {
  WhisperAttention self_attn;
  nn::LayerNorm self_attn_layer_norm;
  nn::Linear fc1, fc2;
  nn::LayerNorm final_layer_norm;
  nn::Dropout dropout, activation_dropout;
  Activation act;

  WhisperEncoderLayerImpl(const WhisperConfig& c, size_t layer)
      : self_attn(register_module("self_attn", WhisperAttention(c, c.encoder_attention_heads, layer))),
        self_attn_layer_norm(register_module("self_attn_layer_norm", nn::LayerNorm(c.d_model))),
        fc1(register_module("fc1", nn::Linear(c.d_model, c.encoder_ffn_dim))),
        fc2(register_module("fc2", nn::Linear(c.encoder_ffn_dim, c.d_model))),
        final_layer_norm(register_module("final_layer_norm", nn::LayerNorm(c.d_model))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))),
        activation_dropout(register_module("activation_dropout", nn::Dropout(c.activation_dropout))),
        act(activation(c.activation_function)) {}

  Tensor forward(Tensor x, const Pass& pass) {
    x = x + dropout(self_attn(self_attn_layer_norm(x), pass));
    x = x + dropout(fc2(activation_dropout(act(fc1(final_layer_norm(x))))));
    return x.scalar_type() == at::kHalf ? x.clamp(-64504.0, 64504.0) : x;  // half precision overflows
  }
};
TORCH_MODULE(WhisperEncoderLayer);

struct WhisperDecoderLayerImpl : nn::Module {
  WhisperAttention self_attn;
  nn::LayerNorm self_attn_layer_norm;
  WhisperAttention encoder_attn;
  nn::LayerNorm encoder_attn_layer_norm;
  nn::Linear fc1, fc2;
  nn::LayerNorm final_layer_norm;
  nn::Dropout dropout, activation_dropout;
  Activation act;

  WhisperDecoderLayerImpl(const WhisperConfig& c, size_t layer)
      : self_attn(register_module("self_attn", WhisperAttention(c, c.decoder_attention_heads, layer))),
        self_attn_layer_norm(register_module("self_attn_layer_norm", nn::LayerNorm(c.d_model))),
        encoder_attn(register_module("encoder_attn", WhisperAttention(c, c.decoder_attention_heads, layer, true))),
        encoder_attn_layer_norm(register_module("encoder_attn_layer_norm", nn::LayerNorm(c.d_model))),
        fc1(register_module("fc1", nn::Linear(c.d_model, c.decoder_ffn_dim))),
        fc2(register_module("fc2", nn::Linear(c.decoder_ffn_dim, c.d_model))),
        final_layer_norm(register_module("final_layer_norm", nn::LayerNorm(c.d_model))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))),
        activation_dropout(register_module("activation_dropout", nn::Dropout(c.activation_dropout))),
        act(activation(c.activation_function)) {}

  Tensor forward(Tensor x, const Pass& pass) {
    x = x + dropout(self_attn(self_attn_layer_norm(x), pass));
    if (pass.encoder.defined()) x = x + dropout(encoder_attn(encoder_attn_layer_norm(x), pass));
    return x + dropout(fc2(activation_dropout(act(fc1(final_layer_norm(x))))));
  }
};
TORCH_MODULE(WhisperDecoderLayer);

// Runs a stack of layers; in training some are left out: Fan et al. 2019, https://arxiv.org/abs/1909.11556
template <class Layer>
Tensor run(nn::Layers<Layer>& layers, Tensor x, const Pass& pass, double layerdrop,
           std::vector<Tensor>* hidden_states) {
  for (auto& layer : *layers) {
    if (hidden_states) hidden_states->push_back(x);
    if (layers->is_training() && at::rand({}).template item<double>() < layerdrop) continue;
    x = layer(x, pass);
  }
  return x;
}

static Tensor checked_head_mask(const ModelInputs& inputs, const char* name, size_t layers) {
  const Tensor mask = inputs.tensor(name);
  if (mask.defined() && mask.size(0) != static_cast<int64_t>(layers)) {
    throw Error(ErrorCode::invalid_value, concat(name, " is for ", mask.size(0), " layers; the model has ", layers));
  }
  return mask;
}

struct WhisperEncoder : WhisperPreTrainedModel {
  const WhisperConfig& c;
  nn::Conv1d conv1, conv2;
  nn::Embedding embed_positions;
  nn::Dropout dropout;
  nn::Layers<WhisperEncoderLayer> layers;
  nn::LayerNorm layer_norm;

  explicit WhisperEncoder(const WhisperConfig& config)
      : WhisperPreTrainedModel(config),
        c(config),
        conv1(register_module("conv1", nn::Conv1d(c.num_mel_bins, c.d_model, 3, nn::ConvOptions<1>{.padding = {1}}))),
        conv2(register_module("conv2",
                              nn::Conv1d(c.d_model, c.d_model, 3, nn::ConvOptions<1>{.stride = {2}, .padding = {1}}))),
        embed_positions(register_module("embed_positions", nn::Embedding(c.max_source_positions, c.d_model))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))),
        layers(register_module("layers", nn::Layers<WhisperEncoderLayer>(
                                             c.encoder_layers, [&](int64_t i) { return WhisperEncoderLayer(c, i); }))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.d_model))) {}

  std::span<const std::string_view> arguments() const override { return kEncoderArguments; }

  // input_features [batch, bins, 2 * max_source_positions]
  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor features = inputs["input_features"];
    if (features.dim() != 3 || features.size(2) != 2 * c.max_source_positions) {
      throw Error(ErrorCode::invalid_value,
                  concat("input_features have the shape ", features.sizes(), "; expected [batch, ", c.num_mel_bins,
                         ", ", 2 * c.max_source_positions, "]; pad the sound to the whole window"));
    }
    std::vector<Tensor> hidden_states, attentions;
    auto* const keep = inputs.flag("output_hidden_states", c.output_hidden_states) ? &hidden_states : nullptr;
    Pass pass;
    pass.head_mask = checked_head_mask(inputs, "head_mask", layers->size());
    if (inputs.flag("output_attentions", c.output_attentions)) pass.attentions = &attentions;
    Tensor x = at::gelu(conv2(at::gelu(conv1(features.to(conv1->weight.scalar_type()))))).transpose(1, 2);
    x = layer_norm(run(layers, dropout(x + embed_positions->weight), pass, c.encoder_layerdrop, keep));
    if (keep) keep->push_back(x);
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("hidden_states", hidden_states);
    output.set("attentions", attentions);
    return output;
  }
};

struct WhisperDecoder : WhisperPreTrainedModel {
  const WhisperConfig& c;
  nn::Embedding embed_tokens, embed_positions;
  nn::Dropout dropout;
  nn::Layers<WhisperDecoderLayer> layers;
  nn::LayerNorm layer_norm;

  explicit WhisperDecoder(const WhisperConfig& config)
      : WhisperPreTrainedModel(config),
        c(config),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.d_model, c.pad_token_id))),
        embed_positions(register_module("embed_positions", nn::Embedding(c.max_target_positions, c.d_model))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))),
        layers(register_module("layers", nn::Layers<WhisperDecoderLayer>(
                                             c.decoder_layers, [&](int64_t i) { return WhisperDecoderLayer(c, i); }))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.d_model))) {}

  std::span<const std::string_view> arguments() const override { return kDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor ids = inputs.tensor("input_ids");
    Tensor x = inputs.tensor("inputs_embeds");
    if (ids.defined() == x.defined())
      throw Error(ErrorCode::invalid_value, "give either decoder_input_ids or decoder_inputs_embeds");
    if (ids.defined()) x = embed_tokens(ids.view({-1, ids.size(-1)}));

    KvCachePtr cache = inputs.cache("past_key_values");
    if (!cache && inputs.flag("use_cache", c.use_cache)) cache = std::make_shared<KvCache>();
    const int64_t seq = x.size(1), past = cache ? cache->length() : 0;
    Tensor positions = inputs.tensor("position_ids");
    if (!positions.defined()) positions = inputs.tensor("cache_position");
    if (positions.defined()) {
      x = x + embed_positions(positions);
    } else if (past + seq <= c.max_target_positions) {
      x = x + embed_positions->weight.slice(0, past, past + seq);
    } else {
      throw Error(ErrorCode::invalid_value,
                  concat("a sequence of ", past + seq, " tokens is longer than max_target_positions (",
                         c.max_target_positions, "); generate fewer"));
    }
    x = dropout(x);

    std::vector<Tensor> hidden_states, attentions, cross_attentions;
    auto* const keep = inputs.flag("output_hidden_states", c.output_hidden_states) ? &hidden_states : nullptr;
    Pass pass;
    pass.cache = cache;
    const Tensor attention_mask = inputs.tensor("attention_mask");
    pass.causal = past == 0 && (!attention_mask.defined() ||
                                (attention_mask.dim() == 2 && attention_mask.to(at::kLong).min().item<int64_t>() >= 1));
    if (!pass.causal) pass.mask = causal_mask(attention_mask, seq, past, x.scalar_type());
    pass.head_mask = checked_head_mask(inputs, "head_mask", layers->size());
    pass.cross_head_mask = checked_head_mask(inputs, "cross_attn_head_mask", layers->size());
    pass.encoder = inputs.tensor("encoder_hidden_states");
    if (inputs.flag("output_attentions", c.output_attentions)) {
      pass.attentions = &attentions;
      pass.cross_attentions = &cross_attentions;
    }
    x = layer_norm(run(layers, x, pass, c.decoder_layerdrop, keep));
    if (keep) keep->push_back(x);
    if (cache) cache->advance(seq);

    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("past_key_values", cache);
    output.set("hidden_states", hidden_states);
    output.set("attentions", attentions);
    output.set("cross_attentions", cross_attentions);
    return output;
  }
};

WhisperModel::WhisperModel(const WhisperConfig& config)
    : WhisperPreTrainedModel(config),
      c(config),
      encoder(register_module("encoder", std::make_shared<WhisperEncoder>(c))),
      decoder(register_module("decoder", std::make_shared<WhisperDecoder>(c))) {}

nn::Embedding WhisperModel::get_input_embeddings() { return decoder->embed_tokens; }

std::span<const std::string_view> WhisperModel::arguments() const { return kModelArguments; }

ModelOutput WhisperModel::encode(const ModelInputs& inputs) {
  Tensor features = inputs.tensor("input_features");
  if (!features.defined() || !is_training() || !c.apply_spec_augment) return run_encoder(*encoder, inputs);
  if (c.mask_time_prob > 0) {
    const Tensor frames =
        span_mask(features.size(0), features.size(2), {c.mask_time_prob, c.mask_time_length, c.mask_time_min_masks},
                  inputs.tensor("attention_mask"));
    features = features.masked_fill(frames.unsqueeze(1), 0);
  }
  if (c.mask_feature_prob > 0) {
    const Tensor bins = span_mask(features.size(0), features.size(1),
                                  {c.mask_feature_prob, c.mask_feature_length, c.mask_feature_min_masks});
    features = features.masked_fill(bins.unsqueeze(2), 0);
  }
  ModelInputs masked = inputs;
  masked.set("input_features", features);
  return run_encoder(*encoder, masked);
}

ModelOutput WhisperModel::compute(const ModelInputs& inputs) {
  const auto encoded = encode(inputs);
  return encoder_decoder_output(encoded, decoder->forward(decoder_inputs(inputs, encoded["last_hidden_state"], {})));
}

WhisperForConditionalGeneration::WhisperForConditionalGeneration(const WhisperConfig& config)
    : WhisperPreTrainedModel(config),
      c(config),
      model(register_module("model", std::make_shared<WhisperModel>(c))),
      proj_out(register_module("proj_out", nn::Linear(c.d_model, c.vocab_size, false))) {}

void WhisperForConditionalGeneration::tie_weights() {
  if (c.tie_word_embeddings) proj_out->tie_weight(model->decoder->embed_tokens->weight);
}

std::span<const std::string_view> WhisperForConditionalGeneration::arguments() const {
  static constexpr auto kArguments = extend(kModelArguments, "labels");
  return kArguments;
}

ModelOutput WhisperForConditionalGeneration::compute(const ModelInputs& inputs) {
  const Tensor labels = inputs.tensor("labels");
  ModelInputs call = inputs.select(model->arguments());
  if (labels.defined()) {
    if (labels.size(1) > c.max_target_positions) {
      throw Error(ErrorCode::invalid_value,
                  concat("labels have ", labels.size(1), " tokens, more than max_target_positions (",
                         c.max_target_positions, ")"));
    }
    if (!call.contains("decoder_input_ids") && !call.contains("decoder_inputs_embeds"))
      call.set("decoder_input_ids", shift_right(labels, c.pad_token_id, c.decoder_start_token_id));
  }
  const auto base = model->forward(call);
  const Tensor logits = proj_out(base["last_hidden_state"]);
  ModelOutput output;
  if (labels.defined()) output.set("loss", cross_entropy(logits, labels));
  output.set("logits", logits);
  output.pass_on(base);
  return output;
}

// The decoder alone, as checkpoints of the whole name it.
struct WhisperDecoderWrapperImpl : nn::Module {
  std::shared_ptr<WhisperDecoder> decoder;
  explicit WhisperDecoderWrapperImpl(const WhisperConfig& c)
      : decoder(register_module("decoder", std::make_shared<WhisperDecoder>(c))) {}
};
TORCH_MODULE(WhisperDecoderWrapper);

struct WhisperForCausalLM : WhisperPreTrainedModel {
  WhisperDecoderWrapper model;
  nn::Linear proj_out;

  explicit WhisperForCausalLM(const WhisperConfig& c)
      : WhisperPreTrainedModel(c),
        model(register_module("model", WhisperDecoderWrapper(c))),
        proj_out(register_module("proj_out", nn::Linear(c.d_model, c.vocab_size, false))) {}

  void tie_weights() override {
    if (config().tie_word_embeddings) proj_out->tie_weight(model->decoder->embed_tokens->weight);
  }
  bool can_generate() const override { return true; }
  nn::Embedding get_input_embeddings() override { return model->decoder->embed_tokens; }
  nn::Linear get_output_embeddings() override { return proj_out; }

  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 12> kArguments = {"input_ids",
                                                                    "attention_mask",
                                                                    "encoder_outputs",
                                                                    "head_mask",
                                                                    "cross_attn_head_mask",
                                                                    "past_key_values",
                                                                    "inputs_embeds",
                                                                    "labels",
                                                                    "use_cache",
                                                                    "output_attentions",
                                                                    "output_hidden_states",
                                                                    "cache_position"};
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    ModelInputs call = inputs.select(model->decoder->arguments());
    if (const Argument* states = inputs.find("encoder_outputs")) {
      const auto* tuple = std::get_if<std::vector<Tensor>>(states);
      call.set("encoder_hidden_states", tuple ? tuple->front() : inputs["encoder_outputs"]);
    }
    const auto base = model->decoder->forward(call);
    const Tensor logits = proj_out(base["last_hidden_state"]), labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) output.set("loss", cross_entropy(logits, labels));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

struct WhisperForAudioClassification : WhisperPreTrainedModel {
  const WhisperConfig& c;
  std::shared_ptr<WhisperEncoder> encoder;
  Tensor layer_weights;
  nn::Linear projector, classifier;

  explicit WhisperForAudioClassification(const WhisperConfig& config)
      : WhisperPreTrainedModel(config),
        c(config),
        encoder(register_module("encoder", std::make_shared<WhisperEncoder>(c))),
        projector(register_module("projector", nn::Linear(c.d_model, c.classifier_proj_size))),
        classifier(register_module("classifier", nn::Linear(c.classifier_proj_size, c.num_labels()))) {
    if (c.use_weighted_layer_sum)
      layer_weights = register_parameter("layer_weights", nn::uninitialised({c.num_hidden_layers + 1}));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderArguments, "encoder_outputs", "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    ModelInputs call = inputs;
    if (c.use_weighted_layer_sum) call.set("output_hidden_states", true);
    const auto encoded = run_encoder(*encoder, call);
    const Tensor x = c.use_weighted_layer_sum ? weighted_layer_sum(encoded.tuple("hidden_states"), layer_weights)
                                              : encoded["last_hidden_state"];
    const Tensor logits = classifier(projector(x).mean(1)), labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) output.set("loss", cross_entropy(logits, labels));
    output.set("logits", logits);
    output.pass_on(encoded);
    return output;
  }
};

BACKPLANE_PLUGIN(whisper, plugin) {
  plugin.config<WhisperConfig>();
  plugin.tokenizer("WhisperTokenizer", "WhisperTokenizerFast");
  plugin.preprocessor(Auto::FeatureExtractor, "WhisperFeatureExtractor");
  plugin.preprocessor(Auto::Processor, "WhisperProcessor");
  plugin.model<WhisperModel>(Auto::Model);
  plugin.model<WhisperForConditionalGeneration>(Auto::WithLMHead);
  plugin.model<WhisperForCausalLM>(Auto::ForCausalLM);
  plugin.model<WhisperForAudioClassification>(Auto::ForAudioClassification);
  plugin.model<WhisperForConditionalGeneration>(Auto::ForSpeechSeq2Seq);
}

}  // namespace backplane::whisper
