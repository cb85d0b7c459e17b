// PEGASUS-X: Phang et al. 2022, https://arxiv.org/abs/2208.04347
// PEGASUS-X is PEGASUS except: the encoder attends within blocks and to global tokens, which attend to everything;
// every other layer staggers the blocks by half; attention has no biases. Reference: transformers,
// models/pegasus_x/modeling_pegasus_x.py

#include "../m2m_100/modeling_m2m_100.h"

namespace backplane::pegasus_x {

using namespace m2m_100;

struct PegasusXConfig : BartBaseConfig {
  static constexpr const char* model_type = "pegasus_x";

  int64_t num_global_tokens = 32;
  int64_t block_size = 512;
  bool stagger_local_blocks = true;

  PegasusXConfig() {
    vocab_size = 96103;
    max_position_embeddings = 16384;
    encoder_layers = 16;
    decoder_layers = 16;
    scale_embedding = true;
    pad_token_id = 0;
    eos_token_id = 1;
    decoder_start_token_id = 0;
    forced_eos_token_id = 1;
  }

  void fields(FieldVisitor& field) override {
    BartBaseConfig::fields(field);
    field(BACKPLANE_FIELD(num_global_tokens));
    field(BACKPLANE_FIELD(block_size));
    field(BACKPLANE_FIELD(stagger_local_blocks));
  }

  void validate() override {
    BartBaseConfig::validate();
    if (block_size <= 0 || block_size > (int64_t{1} << 30))
      throw Error(ErrorCode::bad_config, concat("block_size is ", block_size));
  }
};

constexpr std::array<std::string_view, 5> kEncoderArguments = {"input_ids", "attention_mask", "inputs_embeds",
                                                               "output_attentions", "output_hidden_states"};

struct PegasusXAttentionImpl : BartAttentionImpl {
  PegasusXAttentionImpl(const BartBaseConfig& c, int64_t heads, size_t layer, bool is_cross = false)
      : BartAttentionImpl(c, heads, layer, is_cross, {.bias = false}) {}
};
TORCH_MODULE(PegasusXAttention);

// Tokens of a block see each other and the global tokens; the global tokens see all.
struct PegasusXGlobalLocalAttentionImpl : nn::Module {
  int64_t heads, block;
  double dropout;
  AttnImplementation implementation;
  nn::Linear k_proj, v_proj, q_proj, out_proj;

  explicit PegasusXGlobalLocalAttentionImpl(const PegasusXConfig& c)
      : heads(c.encoder_attention_heads),
        block(c.block_size),
        dropout(c.attention_dropout),
        implementation(c.attn_implementation),
        k_proj(register_module("k_proj", nn::Linear(c.d_model, c.d_model, false))),
        v_proj(register_module("v_proj", nn::Linear(c.d_model, c.d_model, false))),
        q_proj(register_module("q_proj", nn::Linear(c.d_model, c.d_model, false))),
        out_proj(register_module("out_proj", nn::Linear(c.d_model, c.d_model, false))) {}

  // x [batch, blocks * block, d_model], global [batch, globals, d_model], hidden [batch, blocks * block]: no key
  std::pair<Tensor, Tensor> forward(const Tensor& x, const Tensor& global, const Tensor& hidden) {
    const int64_t batch = x.size(0), blocks = x.size(1) / block;
    const Tensor k = split_heads(k_proj(x), heads), v = split_heads(v_proj(x), heads);
    const Tensor global_k = split_heads(k_proj(global), heads), global_v = split_heads(v_proj(global), heads);
    // hidden [rows, keys] -> additive [rows, 1, 1, globals + keys]
    const auto options = [&](const Tensor& rows) {
      const Tensor all = at::constant_pad_nd(rows, {global.size(1), 0}).unsqueeze(1).unsqueeze(1);
      return AttentionOptions{.mask = lowest_where(all, x.scalar_type()),
                              .dropout = is_training() ? dropout : 0,
                              .implementation = implementation};
    };
    const Tensor seen = attention(split_heads(q_proj(global), heads), at::cat({global_k, k}, 2),
                                  at::cat({global_v, v}, 2), options(hidden));

    // [batch, heads, blocks * block, d] -> [batch * blocks, heads, block, d]
    const auto in_blocks = [&](const Tensor& t) {
      return t.reshape({batch, heads, blocks, block, -1}).transpose(1, 2).flatten(0, 1);
    };
    const auto beside = [&](const Tensor& shared, const Tensor& own) {
      return at::cat({shared.repeat_interleave(blocks, 0), in_blocks(own)}, 2);
    };
    const Tensor local = attention(in_blocks(split_heads(q_proj(x), heads)), beside(global_k, k), beside(global_v, v),
                                   options(hidden.reshape({batch * blocks, block})));
    return {out_proj(merge_heads(local).view_as(x)), out_proj(merge_heads(seen))};
  }
};
TORCH_MODULE(PegasusXGlobalLocalAttention);

struct PegasusXEncoderLayerImpl : nn::Module {
  int64_t stagger;  // tokens in front of the first block and behind the last
  PegasusXGlobalLocalAttention self_attn;
  nn::LayerNorm self_attn_layer_norm, global_self_attn_layer_norm, final_layer_norm;
  nn::Linear fc1, fc2;
  nn::Dropout dropout, activation_dropout;
  Activation act;

  PegasusXEncoderLayerImpl(const PegasusXConfig& c, int64_t i)
      : stagger(i % 2 == 1 && c.stagger_local_blocks ? c.block_size / 2 : 0),
        self_attn(register_module("self_attn", PegasusXGlobalLocalAttention(c))),
        self_attn_layer_norm(register_module("self_attn_layer_norm", nn::LayerNorm(c.d_model))),
        global_self_attn_layer_norm(register_module("global_self_attn_layer_norm", nn::LayerNorm(c.d_model))),
        final_layer_norm(register_module("final_layer_norm", nn::LayerNorm(c.d_model))),
        fc1(register_module("fc1", nn::Linear(c.d_model, c.encoder_ffn_dim))),
        fc2(register_module("fc2", nn::Linear(c.encoder_ffn_dim, c.d_model))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))),
        activation_dropout(register_module("activation_dropout", nn::Dropout(c.activation_dropout))),
        act(activation(c.activation_function)) {}

  std::pair<Tensor, Tensor> forward(const Tensor& x, const Tensor& global, Tensor hidden) {
    Tensor normed = self_attn_layer_norm(x);
    if (stagger > 0) {
      normed = at::constant_pad_nd(normed, {0, 0, stagger, stagger});
      hidden = at::constant_pad_nd(hidden, {stagger, stagger}, true);
    }
    auto [local, shared] = self_attn(normed, global_self_attn_layer_norm(global), hidden);
    if (stagger > 0) local = local.slice(1, stagger, -stagger);
    const auto feed_forward = [&](const Tensor& t) {
      return t + dropout(fc2(activation_dropout(act(fc1(final_layer_norm(t))))));
    };
    return {feed_forward(x + dropout(local)), feed_forward(global + dropout(shared))};
  }
};
TORCH_MODULE(PegasusXEncoderLayer);

struct PegasusXDecoderLayerImpl : DecoderLayerImpl<PegasusXAttention> {
  using DecoderLayerImpl::DecoderLayerImpl;

  Tensor forward(Tensor x, const Pass& pass) {
    x = x + dropout(self_attn(self_attn_layer_norm(x), pass));
    if (pass.encoder.defined()) x = x + dropout(encoder_attn(encoder_attn_layer_norm(x), pass));
    return x + dropout(fc2(activation_dropout(act(fc1(final_layer_norm(x))))));
  }
};
TORCH_MODULE(PegasusXDecoderLayer);

struct PegasusXEncoder : BartPreTrainedModel {
  const PegasusXConfig& c;
  nn::FairseqSinusoids positions;
  nn::Embedding embed_tokens, embed_global;
  nn::Layers<PegasusXEncoderLayer> layers;
  nn::LayerNorm layer_norm;
  nn::Dropout dropout;

  explicit PegasusXEncoder(const PegasusXConfig& config)
      : BartPreTrainedModel(config),
        c(config),
        positions(c.d_model, -1),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.d_model, c.pad_token_id))),
        embed_global(register_module("embed_global", nn::Embedding(c.num_global_tokens, c.d_model))),
        layers(register_module(
            "layers", nn::Layers<PegasusXEncoderLayer>(c.encoder_layers,
                                                       [&](int64_t i) { return PegasusXEncoderLayer(config, i); }))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.d_model))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  std::span<const std::string_view> arguments() const override { return kEncoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Tensor x = embedded(inputs, embed_tokens, embed_scale(c));
    const int64_t batch = x.size(0), seq = x.size(1);
    x = dropout(x + positions.forward(at::arange(seq, at::kLong).unsqueeze(0), x.scalar_type()));
    const Tensor mask = inputs.tensor("attention_mask");
    Tensor hidden = mask.defined() ? mask == 0 : at::zeros({batch, seq}, at::kBool);
    if (const int64_t missing = (c.block_size - seq % c.block_size) % c.block_size; missing > 0) {
      x = at::constant_pad_nd(x, {0, 0, 0, missing});
      hidden = at::constant_pad_nd(hidden, {0, missing}, true);
    }
    Tensor global = embed_global->weight.unsqueeze(0).expand({batch, -1, -1});
    std::vector<Tensor> hidden_states;
    const bool keep = inputs.flag("output_hidden_states", c.output_hidden_states);
    for (auto& layer : *layers) {
      if (keep) hidden_states.push_back(x);
      if (!drops(*this, c.encoder_layerdrop)) std::tie(x, global) = layer(x, global, hidden);
    }
    x = layer_norm(x.slice(1, 0, seq));
    if (keep) hidden_states.push_back(x);
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("hidden_states", hidden_states);
    return output;
  }
};

struct PegasusXDecoder : BartPreTrainedModel {
  const PegasusXConfig& c;
  nn::FairseqSinusoids positions;
  nn::Embedding embed_tokens;
  nn::Layers<PegasusXDecoderLayer> layers;
  nn::LayerNorm layer_norm;
  nn::Dropout dropout;

  explicit PegasusXDecoder(const PegasusXConfig& config)
      : BartPreTrainedModel(config),
        c(config),
        positions(c.d_model, -1),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.d_model, c.pad_token_id))),
        layers(register_module(
            "layers", nn::Layers<PegasusXDecoderLayer>(c.decoder_layers,
                                                       [&](int64_t i) { return PegasusXDecoderLayer(config, i); }))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.d_model))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  std::span<const std::string_view> arguments() const override { return kTextDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, embed_scale(c));
    const KvCachePtr cache = cache_of(inputs, c);
    const Tensor where = positions_of(inputs, cache, x.size(1)).unsqueeze(0);
    return decode(c, inputs, cache, dropout(x + positions.forward(where, x.scalar_type())), layers, layer_norm);
  }
};

struct PegasusXModel : Seq2SeqModel<PegasusXConfig, PegasusXEncoder, PegasusXDecoder> {
  static constexpr bool supports_sdpa = false;
  using Seq2SeqModel::Seq2SeqModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};
struct PegasusXForConditionalGeneration : PlainLM<PegasusXModel> {
  static constexpr bool supports_sdpa = false;
  using PlainLM::PlainLM;
};

BACKPLANE_PLUGIN(pegasus_x, plugin) {
  plugin.config<PegasusXConfig>();
  plugin.tokenizer("PegasusTokenizer", "PegasusTokenizerFast");
  plugin.model<PegasusXModel>(Auto::Model);
  plugin.model<PegasusXForConditionalGeneration>(Auto::WithLMHead);
  plugin.model<PegasusXForConditionalGeneration>(Auto::ForSeq2SeqLM);
}

}  // namespace backplane::pegasus_x
