// LongT5: Guo et al. 2021, https://arxiv.org/abs/2112.07916
// LongT5 is T5 except: the encoder's attention is local, within a radius, or local with global tokens that are made in
// each layer out of fixed blocks of the input (transient-global). Reference: transformers,
// models/longt5/modeling_longt5.py

#include <backplane/nn/blocks.h>

#include "../t5/modeling_t5.h"

namespace backplane::longt5 {

using namespace t5;

struct LongT5Config : T5Config {
  static constexpr const char* model_type = "longt5";

  int64_t local_radius = 127;
  int64_t global_block_size = 16;
  std::string encoder_attention_type = "local";  // or transient-global

  void fields(FieldVisitor& field) override {
    T5Config::fields(field);
    field(BACKPLANE_FIELD(local_radius));
    field(BACKPLANE_FIELD(global_block_size));
    field(BACKPLANE_FIELD(encoder_attention_type));
  }

  void validate() override {
    T5Config::validate();
    if (local_radius < 0 || local_radius >= (int64_t{1} << 24) || global_block_size <= 0) {
      throw Error(ErrorCode::bad_config,
                  concat("local_radius is ", local_radius, " and global_block_size is ", global_block_size));
    }
    if (encoder_attention_type != "local" && encoder_attention_type != "transient-global") {
      throw Error(ErrorCode::bad_config, concat("encoder_attention_type is '", encoder_attention_type,
                                                "'; expected 'local' or 'transient-global'"));
    }
  }
};

constexpr double kMasked = -1e10;

// The block of the global tokens that each token belongs to, -1 for none [batch, seq], and which of the global tokens
// exist [batch, seq / size].
std::pair<Tensor, Tensor> global_blocks(const Tensor& mask, int64_t size) {
  const int64_t batch = mask.size(0), seq = mask.size(1), globals = seq / size;
  const Tensor share = at::ones({batch, seq}) / size;
  const Tensor seen = mask.to(at::kFloat);
  Tensor blocks = at::floor(at::where(seen != 0, 1.0, -1000.0).to(at::kFloat) + (share.cumsum(1) - share) - 1.0);
  blocks = blocks.clamp_min(-1) * seen + (seen - 1);
  // Tokens behind the last full block go with it.
  const Tensor ends = (at::arange(seq) % size == size - 1).logical_and(blocks >= 0);
  blocks = at::minimum(blocks, (ends.sum(1, true) - 1).to(at::kFloat));
  const Tensor last = blocks.amax(1, true);
  return {blocks.to(at::kLong), at::arange(globals).unsqueeze(0) <= last};
}

struct LongT5LocalAttentionImpl : T5AttentionImpl {
  int64_t length;  // of a block

  LongT5LocalAttentionImpl(const LongT5Config& c, size_t layer, bool has_bias)
      : T5AttentionImpl(c, layer, Role::encoder, has_bias), length(c.local_radius + 1) {}

  Tensor forward(const Tensor& x, Pass& pass) {
    if (relative_attention_bias) pass.bias = local_bias() + local_mask(pass, x);
    return attend(x, nn::with_neighbours(nn::in_blocks(heads_of(k(x)), length, 1)),
                  nn::with_neighbours(nn::in_blocks(heads_of(v(x)), length, 1)), pass);
  }

  // x [batch, seq, heads * d] -> [batch, seq, heads, d]
  Tensor heads_of(const Tensor& x) const { return x.unflatten(2, {heads, -1}); }

  static Tensor given_mask(const Pass& pass, const Tensor& x) {
    return pass.attention_mask.defined() ? pass.attention_mask : at::ones({x.size(0), x.size(1)}, at::kLong);
  }

  // [1, 1, heads, length, 3 * length]
  Tensor local_bias() {
    return nn::relative_bias(relative_attention_bias, length, 3 * length, length, true, max_distance).unsqueeze(0);
  }

  // Keys nearer than the block's length that are no padding: additive [batch, blocks, 1, length, 3 * length].
  Tensor local_mask(const Pass& pass, const Tensor& x) const {
    const Tensor seen = nn::in_blocks(given_mask(pass, x) != 0, length, 1);  // [batch, blocks, length]
    const Tensor distance = at::arange(3 * length).unsqueeze(0) - at::arange(length, 2 * length).unsqueeze(1);
    const Tensor sees =
        seen.unsqueeze(3).logical_and(nn::with_neighbours(seen).unsqueeze(2)).logical_and(distance.abs() < length);
    return at::where(sees.unsqueeze(2), 0.0, kMasked).to(x.scalar_type());
  }

  // keys and values [batch, blocks, keys, heads, d], pass.bias [batch, blocks, heads, length, keys]
  Tensor attend(const Tensor& x, const Tensor& keys, const Tensor& values, Pass& pass) {
    const Tensor queries = nn::in_blocks(heads_of(q(x)), length, 1);
    const auto rows = [](const Tensor& t) { return t.flatten(0, 1).transpose(1, 2); };
    Tensor probs;
    Tensor y = attention(rows(queries), rows(keys), rows(values),
                         {.mask = pass.bias.expand({queries.size(0), queries.size(1), heads, -1, -1}).flatten(0, 1),
                          .scale = 1,
                          .dropout = is_training() ? dropout : 0,
                          .implementation = implementation,
                          .probs = pass.attentions || pass.head_mask.defined() ? &probs : nullptr});
    if (pass.head_mask.defined()) {
      probs = probs * pass.head_mask[static_cast<int64_t>(layer)];
      y = at::matmul(probs, rows(values));
    }
    if (pass.attentions) pass.attentions->push_back(probs.unflatten(0, {x.size(0), -1}));
    // [batch * blocks, heads, length, d] -> [batch, seq, heads * d]
    return o(merge_heads(y).view({x.size(0), -1, o->weight.size(1)}).slice(1, 0, x.size(1)));
  }
};
TORCH_MODULE(LongT5LocalAttention);

struct LongT5TransientGlobalAttentionImpl : LongT5LocalAttentionImpl {
  int64_t block_size;
  nn::Embedding global_relative_attention_bias{nullptr};
  nn::RMSNorm global_input_layer_norm;

  LongT5TransientGlobalAttentionImpl(const LongT5Config& c, size_t layer, bool has_bias)
      : LongT5LocalAttentionImpl(c, layer, has_bias),
        block_size(c.global_block_size),
        global_input_layer_norm(
            register_module("global_input_layer_norm", nn::RMSNorm(c.d_model, c.layer_norm_epsilon))) {
    if (has_bias) {
      global_relative_attention_bias = register_module("global_relative_attention_bias",
                                                       nn::Embedding(c.relative_attention_num_buckets, c.num_heads));
    }
  }

  Tensor forward(const Tensor& x, Pass& pass) {
    const Tensor mask = given_mask(pass, x);
    const auto [blocks, exists] = global_blocks(mask, block_size);
    const int64_t globals = exists.size(1);
    const Tensor member = (blocks.unsqueeze(1) == at::arange(globals).view({1, -1, 1})).to(x.scalar_type());
    const Tensor side = global_input_layer_norm(at::matmul(member, x));  // [batch, globals, d_model]

    if (relative_attention_bias) {
      const Tensor local = (local_bias() + local_mask(pass, x));
      const Tensor wide = local.expand({x.size(0), -1, -1, -1, -1});
      pass.bias = at::cat({wide, side_bias(mask, blocks, exists, x.scalar_type())}, 4);
    }
    const Tensor keys = nn::with_neighbours(nn::in_blocks(heads_of(k(x)), length, 1));
    const Tensor values = nn::with_neighbours(nn::in_blocks(heads_of(v(x)), length, 1));
    const auto beside = [&](const Tensor& t) {
      return heads_of(t).unsqueeze(1).expand({-1, keys.size(1), -1, -1, -1});
    };
    return attend(x, at::cat({keys, beside(k(side))}, 2), at::cat({values, beside(v(side))}, 2), pass);
  }

  // [batch, blocks, heads, length, globals]
  Tensor side_bias(const Tensor& mask, const Tensor& blocks, const Tensor& exists, at::ScalarType dtype) {
    const Tensor sees = mask.to(at::kLong).unsqueeze(2) == exists.to(at::kLong).unsqueeze(1);
    const Tensor relative = at::arange(exists.size(1)) - blocks.unsqueeze(2);
    const Tensor bucket =
        nn::relative_position_bucket(relative, true, global_relative_attention_bias->weight.size(0), max_distance);
    const Tensor bias = global_relative_attention_bias(bucket).permute({0, 3, 1, 2}) +
                        at::where(sees.unsqueeze(1), 0.0, kMasked).to(dtype);
    return nn::in_blocks(bias, length, 2).transpose(1, 2);
  }
};
TORCH_MODULE(LongT5TransientGlobalAttention);

struct LongT5EncoderAttentionImpl : nn::Module {
  LongT5LocalAttention LocalSelfAttention{nullptr};
  LongT5TransientGlobalAttention TransientGlobalSelfAttention{nullptr};
  nn::RMSNorm layer_norm;
  nn::Dropout dropout;

  LongT5EncoderAttentionImpl(const LongT5Config& c, size_t layer, bool has_bias)
      : layer_norm(register_module("layer_norm", nn::RMSNorm(c.d_model, c.layer_norm_epsilon))),
        dropout(register_module("dropout", nn::Dropout(c.dropout_rate))) {
    if (c.encoder_attention_type == "local") {
      LocalSelfAttention = register_module("LocalSelfAttention", LongT5LocalAttention(c, layer, has_bias));
    } else {
      TransientGlobalSelfAttention =
          register_module("TransientGlobalSelfAttention", LongT5TransientGlobalAttention(c, layer, has_bias));
    }
  }

  Tensor forward(const Tensor& x, Pass& pass) {
    const Tensor normed = layer_norm(x);
    return x +
           dropout(LocalSelfAttention ? LocalSelfAttention(normed, pass) : TransientGlobalSelfAttention(normed, pass));
  }
};
TORCH_MODULE(LongT5EncoderAttention);

struct LongT5EncoderBlockImpl : nn::Module {
  using Call = Pass;
  std::shared_ptr<nn::Module> layer = register_module("layer", std::make_shared<nn::Module>());
  LongT5EncoderAttention self;
  T5LayerFF ff;

  LongT5EncoderBlockImpl(const LongT5Config& c, size_t i, Role, bool has_bias)
      : self(layer->register_module("0", LongT5EncoderAttention(c, i, has_bias))),
        ff(layer->register_module("1", T5LayerFF(c))) {}

  Tensor forward(const Tensor& x, Pass& pass) { return clamp_half(ff(clamp_half(self(x, pass)))); }
};
TORCH_MODULE(LongT5EncoderBlock);

using LongT5Encoder = Stack<LongT5EncoderBlock, LongT5Config>;
using LongT5Decoder = Stack<T5Block, LongT5Config>;

struct LongT5Model : Seq2Seq<LongT5Config, LongT5Encoder, LongT5Decoder> {
  using Seq2Seq::Seq2Seq;
};
struct LongT5ForConditionalGeneration : ConditionalGeneration<LongT5Config, LongT5Encoder, LongT5Decoder> {
  using ConditionalGeneration::ConditionalGeneration;
};

BACKPLANE_PLUGIN(longt5, plugin) {
  plugin.config<LongT5Config>();
  plugin.tokenizer("T5Tokenizer", "T5TokenizerFast");
  plugin.model<LongT5Model>(Auto::Model);
  plugin.model<LongT5ForConditionalGeneration>(Auto::WithLMHead);
  plugin.model<LongT5ForConditionalGeneration>(Auto::ForSeq2SeqLM);
}

}  // namespace backplane::longt5
