// BigBird-Pegasus: Zaheer et al. 2020, https://arxiv.org/abs/2007.14062
// BigBird-Pegasus is mBART except: the encoder's attention has BERT's names and may be sparse over blocks, biases on
// demand, no norm after the embeddings, positions from the table's first row on. Sequences of up to (5 + 2 *
// num_random_blocks) * block_size tokens are attended to in full, as in the reference; longer ones need
// attention_type "original_full". Reference: transformers, models/bigbird_pegasus/modeling_bigbird_pegasus.py

#include "../mbart/modeling_mbart.h"

namespace backplane::bigbird_pegasus {

using namespace mbart;

struct BigBirdPegasusConfig : BartBaseConfig {
  static constexpr const char* model_type = "bigbird_pegasus";

  double classifier_dropout = 0;
  std::string attention_type = "block_sparse";  // or original_full
  int64_t block_size = 64;
  int64_t num_random_blocks = 3;
  bool use_bias = false;

  BigBirdPegasusConfig() {
    vocab_size = 96103;
    max_position_embeddings = 4096;
    encoder_layers = 16;
    decoder_layers = 16;
    activation_function = "gelu_new";
    scale_embedding = true;
    pad_token_id = 0;
    bos_token_id = 2;
    eos_token_id = 1;
    decoder_start_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    BartBaseConfig::fields(field);
    field(BACKPLANE_FIELD(classifier_dropout));
    field(BACKPLANE_FIELD(attention_type));
    field(BACKPLANE_FIELD(block_size));
    field(BACKPLANE_FIELD(num_random_blocks));
    field(BACKPLANE_FIELD(use_bias));
    field.alias("attention_probs_dropout_prob", "attention_dropout");
  }

  void validate() override {
    BartBaseConfig::validate();
    if (attention_type != "block_sparse" && attention_type != "original_full") {
      throw Error(ErrorCode::bad_config,
                  concat("attention_type is '", attention_type, "'; expected 'original_full' or 'block_sparse'"));
    }
    if (block_size <= 0 || block_size > (1 << 20) || num_random_blocks < 0 || num_random_blocks > (1 << 20)) {
      throw Error(ErrorCode::bad_config,
                  concat("block_size is ", block_size, " and num_random_blocks is ", num_random_blocks));
    }
  }
};

struct BigBirdPegasusSelfAttentionImpl : nn::Module {
  int64_t heads;
  size_t layer;
  double dropout;
  AttnImplementation implementation;
  nn::Linear query, key, value;

  BigBirdPegasusSelfAttentionImpl(const BigBirdPegasusConfig& c, size_t layer)
      : heads(c.encoder_attention_heads),
        layer(layer),
        dropout(c.attention_dropout),
        implementation(c.attn_implementation),
        query(register_module("query", nn::Linear(c.d_model, c.d_model, c.use_bias))),
        key(register_module("key", nn::Linear(c.d_model, c.d_model, c.use_bias))),
        value(register_module("value", nn::Linear(c.d_model, c.d_model, c.use_bias))) {}

  // x [batch, seq, d_model] -> [batch, seq, d_model]
  Tensor forward(const Tensor& x, const Pass& pass) {
    const Tensor v = split_heads(value(x), heads);
    Tensor probs;
    Tensor y = attention(split_heads(query(x), heads), split_heads(key(x), heads), v,
                         {.mask = pass.mask,
                          .dropout = is_training() ? dropout : 0,
                          .implementation = implementation,
                          .probs = pass.attentions || pass.head_mask.defined() ? &probs : nullptr});
    if (pass.head_mask.defined()) {
      probs = probs * pass.head_mask[static_cast<int64_t>(layer)].view({1, -1, 1, 1});
      y = at::matmul(probs, v);
    }
    if (pass.attentions) pass.attentions->push_back(probs);
    return merge_heads(y);
  }
};
TORCH_MODULE(BigBirdPegasusSelfAttention);

struct BigBirdPegasusEncoderAttentionImpl : nn::Module {
  BigBirdPegasusSelfAttention self;
  nn::Linear output;

  BigBirdPegasusEncoderAttentionImpl(const BigBirdPegasusConfig& c, int64_t, size_t layer)
      : self(register_module("self", BigBirdPegasusSelfAttention(c, layer))),
        output(register_module("output", nn::Linear(c.d_model, c.d_model, c.use_bias))) {}

  Tensor forward(const Tensor& x, const Pass& pass) { return output(self(x, pass)); }
};
TORCH_MODULE(BigBirdPegasusEncoderAttention);

struct BigBirdPegasusDecoderAttentionImpl : BartAttentionImpl {
  BigBirdPegasusDecoderAttentionImpl(const BigBirdPegasusConfig& c, int64_t heads, size_t layer, bool is_cross = false)
      : BartAttentionImpl(c, heads, layer, is_cross, {.bias = c.use_bias}) {}
};
TORCH_MODULE(BigBirdPegasusDecoderAttention);

struct BigBirdPegasusEncoderLayerImpl : EncoderLayerImpl<BigBirdPegasusEncoderAttention> {
  using EncoderLayerImpl::EncoderLayerImpl;

  Tensor forward(Tensor x, const Pass& pass) {
    x = x + dropout(self_attn(self_attn_layer_norm(x), pass));
    return clamp_half(x + dropout(fc2(act(fc1(final_layer_norm(x))))));
  }
};
TORCH_MODULE(BigBirdPegasusEncoderLayer);

struct BigBirdPegasusDecoderLayerImpl : DecoderLayerImpl<BigBirdPegasusDecoderAttention> {
  using DecoderLayerImpl::DecoderLayerImpl;

  Tensor forward(Tensor x, const Pass& pass) {
    x = x + dropout(self_attn(self_attn_layer_norm(x), pass));
    if (pass.encoder.defined()) x = x + dropout(encoder_attn(encoder_attn_layer_norm(x), pass));
    return x + dropout(fc2(activation_dropout(act(fc1(final_layer_norm(x))))));
  }
};
TORCH_MODULE(BigBirdPegasusDecoderLayer);

struct BigBirdPegasusEncoder : EncoderParts<BigBirdPegasusConfig, BigBirdPegasusEncoderLayer, nn::Embedding> {
  nn::LayerNorm layernorm_embedding;

  explicit BigBirdPegasusEncoder(const BigBirdPegasusConfig& c)
      : EncoderParts(c), layernorm_embedding(register_module("layernorm_embedding", nn::LayerNorm(c.d_model))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, embed_scale(c));
    const int64_t full = (5 + 2 * c.num_random_blocks) * c.block_size;
    if (c.attention_type == "block_sparse" && x.size(1) > full) {
      throw Error(ErrorCode::invalid_value,
                  concat("a sequence of ", x.size(1), " tokens is longer than ", full,
                         " and would be attended to in random blocks, which is not supported; set attention_type to "
                         "'original_full' in the config"));
    }
    const Tensor positions = embed_positions(at::arange(x.size(1), at::kLong));
    return encode(c, inputs, dropout(x + positions), layers, layernorm_embedding);
  }
};

struct BigBirdPegasusDecoder : DecoderParts<BigBirdPegasusConfig, BigBirdPegasusDecoderLayer, nn::Embedding> {
  nn::LayerNorm layernorm_embedding;

  explicit BigBirdPegasusDecoder(const BigBirdPegasusConfig& c)
      : DecoderParts(c), layernorm_embedding(register_module("layernorm_embedding", nn::LayerNorm(c.d_model))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor x = embedded(inputs, embed_tokens, embed_scale(c));
    const KvCachePtr cache = cache_of(inputs, c);
    const Tensor positions = embed_positions(positions_of(inputs, cache, x.size(1)));
    return decode(c, inputs, cache, dropout(x + positions), layers, layernorm_embedding);
  }
};

struct BigBirdPegasusModel : DenoisingModel<BigBirdPegasusConfig, BigBirdPegasusEncoder, BigBirdPegasusDecoder> {
  static constexpr bool supports_sdpa = false;
  using DenoisingModel::DenoisingModel;
};
struct BigBirdPegasusForConditionalGeneration : Seq2SeqLM<BigBirdPegasusModel> {
  static constexpr bool supports_sdpa = false;
  using Seq2SeqLM::Seq2SeqLM;
};
struct BigBirdPegasusForSequenceClassification : Seq2SeqClassifier<BigBirdPegasusModel> {
  static constexpr bool supports_sdpa = false;
  using Seq2SeqClassifier::Seq2SeqClassifier;
};
struct BigBirdPegasusForQuestionAnswering : Seq2SeqQuestionAnswering<BigBirdPegasusModel> {
  static constexpr bool supports_sdpa = false;
  using Seq2SeqQuestionAnswering::Seq2SeqQuestionAnswering;
};
struct BigBirdPegasusForCausalLM : DecoderLM<BigBirdPegasusConfig, BigBirdPegasusDecoder> {
  static constexpr bool supports_sdpa = false;
  using DecoderLM::DecoderLM;
};

BACKPLANE_PLUGIN(bigbird_pegasus, plugin) {
  plugin.config<BigBirdPegasusConfig>();
  plugin.tokenizer("PegasusTokenizer", "PegasusTokenizerFast");
  plugin.model<BigBirdPegasusModel>(Auto::Model);
  plugin.model<BigBirdPegasusForConditionalGeneration>(Auto::WithLMHead);
  plugin.model<BigBirdPegasusForCausalLM>(Auto::ForCausalLM);
  plugin.model<BigBirdPegasusForConditionalGeneration>(Auto::ForSeq2SeqLM);
  plugin.model<BigBirdPegasusForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<BigBirdPegasusForQuestionAnswering>(Auto::ForQuestionAnswering);
}

}  // namespace backplane::bigbird_pegasus
