// LED: Beltagy et al. 2020, https://arxiv.org/abs/2004.05150
// LED is BART except: the encoder's attention is Longformer's, within a window and to global tokens, which attend to
// everything by projections of their own; tables of positions of their own, from the first row on.
// Reference: transformers, models/led/modeling_led.py

#include <backplane/nn/blocks.h>

#include "../bart/modeling_bart.h"

namespace backplane::led {

using namespace bart;

struct LEDConfig : BartBaseConfig {
  static constexpr const char* model_type = "led";

  int64_t max_encoder_position_embeddings = 16384;
  int64_t max_decoder_position_embeddings = 1024;
  double classifier_dropout = 0;
  Value attention_window = 512;  // a number, or a list with one a layer

  LEDConfig() {
    pad_token_id = 1;
    bos_token_id = 0;
    eos_token_id = 2;
    decoder_start_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(max_encoder_position_embeddings));
    field(BACKPLANE_FIELD(max_decoder_position_embeddings));
    field(BACKPLANE_FIELD(d_model));
    field(BACKPLANE_FIELD(encoder_ffn_dim));
    field(BACKPLANE_FIELD(encoder_layers));
    field(BACKPLANE_FIELD(encoder_attention_heads));
    field(BACKPLANE_FIELD(decoder_ffn_dim));
    field(BACKPLANE_FIELD(decoder_layers));
    field(BACKPLANE_FIELD(decoder_attention_heads));
    field(BACKPLANE_FIELD(dropout));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(activation_dropout));
    field(BACKPLANE_FIELD(activation_function));
    field(BACKPLANE_FIELD(init_std));
    field(BACKPLANE_FIELD(encoder_layerdrop));
    field(BACKPLANE_FIELD(decoder_layerdrop));
    field(BACKPLANE_FIELD(classifier_dropout));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(attention_window));
    field.alias("num_attention_heads", "encoder_attention_heads");
    field.alias("hidden_size", "d_model");
    field.alias("attention_probs_dropout_prob", "attention_dropout");
    field.alias("initializer_range", "init_std");
  }

  void validate() override {
    BartBaseConfig::validate();
    const auto windows = attention_window.as_int_list();
    if (windows.empty() || (attention_window.is_list() && static_cast<int64_t>(windows.size()) != encoder_layers)) {
      throw Error(ErrorCode::bad_config, concat("attention_window has ", windows.size(), " numbers; expected ",
                                                encoder_layers, ", one a layer"));
    }
    for (const int64_t window : windows) {
      if (window <= 0 || window % 2 != 0 || window > (1 << 24))
        throw Error(ErrorCode::bad_config, concat("attention_window is ", window, "; expected an even number above 0"));
    }
  }

  int64_t window(size_t layer) const {
    const auto windows = attention_window.as_int_list();
    return windows.size() == 1 ? windows[0] : windows[layer];
  }
  int64_t longest_window() const {
    const auto windows = attention_window.as_int_list();
    return *std::max_element(windows.begin(), windows.end());
  }
};

constexpr auto kEncoderArguments = extend(kTextEncoderArguments, "global_attention_mask");
constexpr auto kArguments = extend(kEncoderDecoderArguments, "global_attention_mask");

// Which tokens of a padded batch are hidden and which are global, bool [batch, seq].
struct EncoderPass {
  Tensor hidden, global;
  Tensor rows;     // [batch, most globals of a row]: the positions of the global tokens
  Tensor missing;  // bool, like rows: a row has fewer
  Tensor head_mask;
  std::vector<Tensor>* attentions = nullptr;
};

struct LEDEncoderSelfAttentionImpl : nn::Module {
  int64_t heads, reach;  // tokens to either side
  size_t layer;
  double dropout;
  AttnImplementation implementation;
  nn::Linear query, key, value, query_global, key_global, value_global;

  LEDEncoderSelfAttentionImpl(const LEDConfig& c, size_t layer)
      : heads(c.encoder_attention_heads),
        reach(c.window(layer) / 2),
        layer(layer),
        dropout(c.attention_dropout),
        implementation(c.attn_implementation),
        query(register_module("query", nn::Linear(c.d_model, c.d_model))),
        key(register_module("key", nn::Linear(c.d_model, c.d_model))),
        value(register_module("value", nn::Linear(c.d_model, c.d_model))),
        query_global(register_module("query_global", nn::Linear(c.d_model, c.d_model))),
        key_global(register_module("key_global", nn::Linear(c.d_model, c.d_model))),
        value_global(register_module("value_global", nn::Linear(c.d_model, c.d_model))) {}

  // x [batch, seq, d_model], seq a multiple of the window
  Tensor forward(const Tensor& x, const EncoderPass& pass) {
    const int64_t batch = x.size(0), seq = x.size(1), blocks = seq / reach, globals = pass.rows.size(1);
    const Tensor k = key(x), v = value(x);
    const Tensor index = pass.rows.unsqueeze(2).expand({-1, -1, x.size(2)});

    // A block sees the blocks beside it as far as it reaches, but hidden and global tokens; then the global tokens.
    const Tensor distance = at::arange(3 * reach).unsqueeze(0) - at::arange(reach, 2 * reach).unsqueeze(1);
    const Tensor shown = nn::with_neighbours(
        nn::in_blocks(pass.hidden.logical_or(pass.global).logical_not(), reach, 1));  // [batch, blocks, 3 reach]
    Tensor unseen = (distance.abs() > reach).logical_or(shown.logical_not().unsqueeze(2));
    unseen = at::cat({pass.missing.view({batch, 1, 1, globals}).expand({-1, blocks, reach, -1}), unseen}, 3);
    const auto beside = [&](const Tensor& t) {
      const Tensor shared = t.gather(1, index).unsqueeze(1).expand({-1, blocks, -1, -1});
      return split_heads(at::cat({shared, nn::with_neighbours(nn::in_blocks(t, reach, 1))}, 2).flatten(0, 1), heads);
    };
    const Tensor q = split_heads(nn::in_blocks(query(x), reach, 1).flatten(0, 1), heads);
    Tensor y = attend(q, beside(k), beside(v), lowest_where(unseen, x.scalar_type()).flatten(0, 1).unsqueeze(1), pass)
                   .view({batch, seq, -1})
                   .masked_fill(pass.hidden.unsqueeze(2), 0);
    if (globals == 0) return y;

    const Tensor global_q = split_heads(query_global(x.gather(1, index)), heads);
    const Tensor seen = attend(global_q, split_heads(key_global(x), heads), split_heads(value_global(x), heads),
                               lowest_where(pass.hidden, x.scalar_type()).unsqueeze(1).unsqueeze(1), pass);
    const Tensor where = pass.missing.logical_not().nonzero();  // [globals, (row, place)]
    const Tensor row = where.select(1, 0), place = where.select(1, 1);
    return y.index_put({row, pass.rows.index({row, place})}, seen.index({row, place}));
  }

  Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, const EncoderPass& pass) {
    Tensor probs;
    Tensor y = attention(q, k, v,
                         {.mask = mask,
                          .dropout = is_training() ? dropout : 0,
                          .implementation = implementation,
                          .probs = pass.head_mask.defined() ? &probs : nullptr});
    if (pass.head_mask.defined())
      y = at::matmul(probs * pass.head_mask[static_cast<int64_t>(layer)].view({1, -1, 1, 1}), v);
    return merge_heads(y);
  }
};
TORCH_MODULE(LEDEncoderSelfAttention);

struct LEDEncoderAttentionImpl : nn::Module {
  LEDEncoderSelfAttention longformer_self_attn;
  nn::Linear output;

  LEDEncoderAttentionImpl(const LEDConfig& c, int64_t, size_t layer)
      : longformer_self_attn(register_module("longformer_self_attn", LEDEncoderSelfAttention(c, layer))),
        output(register_module("output", nn::Linear(c.d_model, c.d_model))) {}

  Tensor forward(const Tensor& x, const EncoderPass& pass) { return output(longformer_self_attn(x, pass)); }
};
TORCH_MODULE(LEDEncoderAttention);

struct LEDEncoderLayerImpl : EncoderLayerImpl<LEDEncoderAttention> {
  using EncoderLayerImpl::EncoderLayerImpl;

  Tensor forward(Tensor x, const EncoderPass& pass) {
    x = self_attn_layer_norm(x + dropout(self_attn(x, pass)));
    return clamp_half(final_layer_norm(x + dropout(fc2(activation_dropout(act(fc1(x)))))));
  }
};
TORCH_MODULE(LEDEncoderLayer);

struct LEDEncoder : BartPreTrainedModel {
  const LEDConfig& c;
  nn::Embedding embed_tokens, embed_positions;
  nn::Layers<LEDEncoderLayer> layers;
  nn::LayerNorm layernorm_embedding;
  nn::Dropout dropout;

  explicit LEDEncoder(const LEDConfig& config)
      : BartPreTrainedModel(config),
        c(config),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.d_model, c.pad_token_id))),
        embed_positions(
            register_module("embed_positions", nn::Embedding(c.max_encoder_position_embeddings, c.d_model))),
        layers(register_module("layers", nn::Layers<LEDEncoderLayer>(
                                             c.encoder_layers, [&](int64_t i) { return LEDEncoderLayer(config, i); }))),
        layernorm_embedding(register_module("layernorm_embedding", nn::LayerNorm(c.d_model))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  std::span<const std::string_view> arguments() const override { return kEncoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Tensor x = embedded(inputs, embed_tokens, 1);
    const int64_t batch = x.size(0), seq = x.size(1), window = c.longest_window();
    const int64_t missing = (window - seq % window) % window;
    if (missing > 0) {
      const Tensor padding = embed_tokens(at::full({batch, missing}, c.pad_token_id.value_or(0), at::kLong));
      x = at::cat({x, padding}, 1);
    }
    const EncoderPass pass = pass_of(inputs, batch, seq, missing);
    x = dropout(layernorm_embedding(x + embed_positions(at::arange(seq + missing, at::kLong))));
    std::vector<Tensor> hidden_states;
    const bool keep = inputs.flag("output_hidden_states", c.output_hidden_states);
    for (auto& layer : *layers) {
      if (keep) hidden_states.push_back(x.slice(1, 0, seq));
      if (!drops(*this, c.encoder_layerdrop)) x = layer(x, pass);
    }
    x = x.slice(1, 0, seq);
    if (keep) hidden_states.push_back(x);
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("hidden_states", hidden_states);
    return output;
  }

  EncoderPass pass_of(const ModelInputs& inputs, int64_t batch, int64_t seq, int64_t missing) const {
    const Tensor mask = inputs.tensor("attention_mask"), global = inputs.tensor("global_attention_mask");
    const Tensor shown = mask.defined() ? mask != 0 : at::ones({batch, seq}, at::kBool);
    const Tensor is_global = global.defined() ? shown.logical_and(global != 0) : at::zeros({batch, seq}, at::kBool);
    EncoderPass pass;
    pass.hidden = at::constant_pad_nd(shown.logical_not(), {0, missing}, true);
    pass.global = at::constant_pad_nd(is_global, {0, missing}, false);
    const Tensor counts = pass.global.sum(1, true);
    const int64_t most = counts.max().item<int64_t>();
    // Global tokens first, in their order.
    const Tensor order = std::get<1>(pass.global.to(at::kInt).sort(true, 1, true));
    pass.rows = order.slice(1, 0, most);
    pass.missing = at::arange(most).unsqueeze(0) >= counts;
    pass.head_mask = checked_head_mask(inputs, "head_mask", layers->size());
    return pass;
  }
};

struct LEDDecoder : BartPreTrainedModel {
  const LEDConfig& c;
  nn::Embedding embed_tokens, embed_positions;
  nn::Layers<BartDecoderLayer> layers;
  nn::LayerNorm layernorm_embedding;
  nn::Dropout dropout;

  explicit LEDDecoder(const LEDConfig& config)
      : BartPreTrainedModel(config),
        c(config),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.d_model, c.pad_token_id))),
        embed_positions(
            register_module("embed_positions", nn::Embedding(c.max_decoder_position_embeddings, c.d_model))),
        layers(register_module(
            "layers",
            nn::Layers<BartDecoderLayer>(c.decoder_layers, [&](int64_t i) { return BartDecoderLayer(config, i); }))),
        layernorm_embedding(register_module("layernorm_embedding", nn::LayerNorm(c.d_model))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  std::span<const std::string_view> arguments() const override { return kTextDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, 1);
    const KvCachePtr cache = cache_of(inputs, c);
    const Tensor positions = embed_positions(positions_of(inputs, cache, x.size(1)));
    return decode(c, inputs, cache, dropout(layernorm_embedding(x + positions)), layers, as_is);
  }
};

CheckpointRules led_rules() { return {.base_model_prefix = "led", .ignore_missing = {"final_logits_bias"}}; }

struct LEDModel : DenoisingModel<LEDConfig, LEDEncoder, LEDDecoder> {
  static constexpr bool supports_sdpa = false;
  using DenoisingModel::DenoisingModel;
  static constexpr const char* base_name = "led";
  CheckpointRules checkpoint_rules() const override { return led_rules(); }
  std::span<const std::string_view> arguments() const override { return kArguments; }
};
struct LEDForConditionalGeneration : Seq2SeqLM<LEDModel> {
  static constexpr bool supports_sdpa = false;
  using Seq2SeqLM::Seq2SeqLM;
  CheckpointRules checkpoint_rules() const override { return led_rules(); }
  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kArguments, "labels");
    return kNames;
  }
};
struct LEDForSequenceClassification : Seq2SeqClassifier<LEDModel> {
  static constexpr bool supports_sdpa = false;
  using Seq2SeqClassifier::Seq2SeqClassifier;
  CheckpointRules checkpoint_rules() const override { return led_rules(); }
  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kArguments, "labels");
    return kNames;
  }
};
struct LEDForQuestionAnswering : Seq2SeqQuestionAnswering<LEDModel> {
  static constexpr bool supports_sdpa = false;
  using Seq2SeqQuestionAnswering::Seq2SeqQuestionAnswering;
  CheckpointRules checkpoint_rules() const override { return led_rules(); }
  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kArguments, "start_positions", "end_positions");
    return kNames;
  }
};

BACKPLANE_PLUGIN(led, plugin) {
  plugin.config<LEDConfig>();
  plugin.tokenizer("LEDTokenizer", "LEDTokenizerFast");
  plugin.model<LEDModel>(Auto::Model);
  plugin.model<LEDForConditionalGeneration>(Auto::WithLMHead);
  plugin.model<LEDForConditionalGeneration>(Auto::ForSeq2SeqLM);
  plugin.model<LEDForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<LEDForQuestionAnswering>(Auto::ForQuestionAnswering);
}

}  // namespace backplane::led
