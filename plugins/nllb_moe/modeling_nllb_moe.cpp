// NLLB-MoE: Costa-jussà et al. 2022, https://arxiv.org/abs/2207.04672
// NLLB-MoE is M2M100 except: in every few layers the feed-forward part is a set of experts, of which a router picks two
// a token, up to a capacity. Reference: transformers, models/nllb_moe/modeling_nllb_moe.py

#include "../m2m_100/modeling_m2m_100.h"

namespace backplane::nllb_moe {

using namespace m2m_100;

struct NllbMoeConfig : BartBaseConfig {
  static constexpr const char* model_type = "nllb-moe";

  bool router_bias = false;
  std::string router_dtype = "float32";
  bool router_ignore_padding_tokens = false;
  int64_t num_experts = 128;
  std::optional<int64_t> expert_capacity = 64;
  int64_t encoder_sparse_step = 4;
  int64_t decoder_sparse_step = 4;
  double router_z_loss_coef = 0.001;
  double router_aux_loss_coef = 0.001;
  std::string second_expert_policy = "all";  // or sampling, random
  bool normalize_router_prob_before_dropping = false;
  bool batch_prioritized_routing = false;
  double moe_eval_capacity_token_fraction = 1;
  double moe_token_dropout = 0.2;
  bool output_router_logits = false;

  NllbMoeConfig() {
    vocab_size = 128112;
    encoder_layerdrop = 0.05;
    decoder_layerdrop = 0.05;
    activation_function = "relu";
    attention_dropout = 0.1;
    scale_embedding = true;
    pad_token_id = 1;
    bos_token_id = 0;
    eos_token_id = 2;
    decoder_start_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    BartBaseConfig::fields(field);
    field(BACKPLANE_FIELD(router_z_loss_coef));
    field(BACKPLANE_FIELD(router_aux_loss_coef));
    field(BACKPLANE_FIELD(decoder_sparse_step));
    field(BACKPLANE_FIELD(encoder_sparse_step));
    field(BACKPLANE_FIELD(num_experts));
    field(BACKPLANE_FIELD(expert_capacity));
    field(BACKPLANE_FIELD(router_bias));
    field(BACKPLANE_FIELD(router_dtype));
    field(BACKPLANE_FIELD(router_ignore_padding_tokens));
    field(BACKPLANE_FIELD(batch_prioritized_routing));
    field(BACKPLANE_FIELD(second_expert_policy));
    field(BACKPLANE_FIELD(normalize_router_prob_before_dropping));
    field(BACKPLANE_FIELD(moe_eval_capacity_token_fraction));
    field(BACKPLANE_FIELD(moe_token_dropout));
    field(BACKPLANE_FIELD(output_router_logits));
  }

  void validate() override {
    BartBaseConfig::validate();
    if (!pad_token_id) throw Error(ErrorCode::bad_config, "pad_token_id is null; positions are counted behind it");
    if (num_experts <= 1) throw Error(ErrorCode::bad_config, concat("num_experts is ", num_experts));
    if (router_dtype != "float32" && router_dtype != "float16" && router_dtype != "bfloat16") {
      throw Error(ErrorCode::bad_config,
                  concat("router_dtype is '", router_dtype, "'; expected 'float32', 'float16' or 'bfloat16'"));
    }
  }

  at::ScalarType router_type() const {
    return router_dtype == "float32" ? at::kFloat : router_dtype == "float16" ? at::kHalf : at::kBFloat16;
  }
};

// Lepikhin et al. 2020, https://arxiv.org/abs/2006.16668: the two best experts of each token.
struct NllbMoeTop2RouterImpl : nn::Module {
  const NllbMoeConfig& c;
  nn::Linear classifier;

  explicit NllbMoeTop2RouterImpl(const NllbMoeConfig& config)
      : c(config), classifier(register_module("classifier", nn::Linear(c.d_model, c.num_experts, c.router_bias))) {}

  // x [tokens, d_model], attention_mask [...] of as many tokens at its end or undefined -> the weight of each expert
  // [tokens, experts], 0 where it is not asked.
  Tensor forward(const Tensor& x, const Tensor& attention_mask) {
    const auto dtype = c.router_type();
    const Tensor bias = classifier->bias.defined() ? classifier->bias.to(dtype) : Tensor();
    Tensor logits = at::linear(x.to(dtype), classifier->weight.to(dtype), bias);
    const Tensor probs = at::softmax(logits, -1).to(x.scalar_type());
    Tensor first = at::one_hot(probs.argmax(-1), c.num_experts);
    if (c.second_expert_policy == "sampling") logits = logits - at::log(at::empty_like(logits).exponential_());
    Tensor second = at::one_hot(
        logits.masked_fill(first.to(at::kBool), -std::numeric_limits<double>::infinity()).argmax(-1), c.num_experts);

    Tensor first_prob, second_prob;
    const auto normalise = [&] {
      const Tensor a = (probs * first).sum(1), b = (probs * second).sum(1);
      const Tensor sum = (a + b).clamp_min(std::numeric_limits<float>::epsilon());
      first_prob = a / sum;
      second_prob = b / sum;
    };
    if (c.normalize_router_prob_before_dropping) normalise();
    if (c.second_expert_policy == "random") {
      second_prob = (probs * second).sum(1);
      second = second * (2 * second_prob > at::rand_like(second_prob)).unsqueeze(1);
    }
    if (attention_mask.defined() && attention_mask.dim() == 2 && !c.router_ignore_padding_tokens) {
      const Tensor counts = attention_mask.reshape({-1, 1}).slice(0, -x.size(0)) != 0;
      first = first * counts;
      second = second * counts;
    }
    const int64_t capacity = capacity_of(x.size(0));
    const auto places = [&](const Tensor& mask) {
      if (!c.batch_prioritized_routing) return mask.cumsum(0) - 1;
      const Tensor order = at::argsort(-probs.amax(1), int64_t{0}, false);
      const Tensor sorted = mask.index_select(0, order);
      return ((sorted.cumsum(0) - 1) * sorted).index_select(0, at::argsort(order, int64_t{0}, false));
    };
    const Tensor first_fits = places(first) < capacity, second_fits = places(second) + first.sum(0, true) < capacity;
    first = first * first_fits;
    second = second * second_fits;
    if (!c.normalize_router_prob_before_dropping) normalise();
    return first_prob.unsqueeze(1) * first + second_prob.unsqueeze(1) * second;
  }

  int64_t capacity_of(int64_t tokens) const {
    if (!is_training() && c.moe_eval_capacity_token_fraction > 0)
      return static_cast<int64_t>(std::ceil(c.moe_eval_capacity_token_fraction * static_cast<double>(tokens)));
    return c.expert_capacity.value_or(2 * ((tokens + c.num_experts - 1) / c.num_experts));
  }
};
TORCH_MODULE(NllbMoeTop2Router);

struct NllbMoeDenseImpl : nn::Module {
  nn::Linear fc1, fc2;
  nn::Dropout dropout;
  Activation act;

  NllbMoeDenseImpl(const NllbMoeConfig& c, int64_t size)
      : fc1(register_module("fc1", nn::Linear(c.d_model, size))),
        fc2(register_module("fc2", nn::Linear(size, c.d_model))),
        dropout(register_module("dropout", nn::Dropout(c.activation_dropout))),
        act(activation(c.activation_function)) {}

  Tensor forward(const Tensor& x) { return fc2(dropout(act(fc1(x)))); }
};
TORCH_MODULE(NllbMoeDense);

struct NllbMoeSparseMLPImpl : nn::Module {
  double token_dropout;
  NllbMoeTop2Router router;
  std::shared_ptr<nn::Module> experts = register_module("experts", std::make_shared<nn::Module>());
  std::vector<NllbMoeDense> expert;

  NllbMoeSparseMLPImpl(const NllbMoeConfig& c, int64_t size)
      : token_dropout(c.moe_token_dropout), router(register_module("router", NllbMoeTop2Router(c))) {
    for (int64_t i = 0; i < c.num_experts; ++i)
      expert.push_back(experts->register_module(concat("expert_", i), NllbMoeDense(c, size)));
  }

  // x [batch, seq, d_model]
  Tensor forward(const Tensor& x, const Tensor& attention_mask) {
    const Tensor tokens = x.flatten(0, 1), weights = router(tokens, attention_mask);
    Tensor y = at::zeros_like(tokens);
    for (size_t i = 0; i < expert.size(); ++i) {
      const Tensor weight = weights.select(1, static_cast<int64_t>(i));
      const Tensor rows = weight.nonzero().squeeze(1);
      if (rows.size(0) == 0) continue;
      Tensor made = expert[i](tokens.index_select(0, rows));
      if (token_dropout > 0) made = is_training() ? at::dropout(made, token_dropout, true) : made * (1 - token_dropout);
      y = y.index_add(0, rows, made * weight.index_select(0, rows).unsqueeze(1));
    }
    return y.view_as(x);
  }
};
TORCH_MODULE(NllbMoeSparseMLP);

// A feed-forward part of one kind or the other, under the name ffn.
struct FeedForward {
  NllbMoeDense dense{nullptr};
  NllbMoeSparseMLP sparse{nullptr};

  FeedForward(nn::Module& layer, const NllbMoeConfig& c, int64_t size, bool is_sparse) {
    if (is_sparse) {
      sparse = layer.register_module("ffn", NllbMoeSparseMLP(c, size));
    } else {
      dense = layer.register_module("ffn", NllbMoeDense(c, size));
    }
  }
  Tensor operator()(const Tensor& x, const Pass& pass) { return sparse ? sparse(x, pass.attention_mask) : dense(x); }
};

bool is_sparse(int64_t layer, int64_t step) { return step > 0 && (layer + 1) % step == 0; }

struct NllbMoeEncoderLayerImpl : nn::Module {
  BartAttention self_attn;
  nn::LayerNorm self_attn_layer_norm, ff_layer_norm;
  nn::Dropout attn_dropout, ff_dropout;
  FeedForward ffn;

  NllbMoeEncoderLayerImpl(const NllbMoeConfig& c, int64_t i)
      : self_attn(register_module("self_attn", BartAttention(c, c.encoder_attention_heads, i))),
        self_attn_layer_norm(register_module("self_attn_layer_norm", nn::LayerNorm(c.d_model))),
        ff_layer_norm(register_module("ff_layer_norm", nn::LayerNorm(c.d_model))),
        attn_dropout(register_module("attn_dropout", nn::Dropout(c.dropout))),
        ff_dropout(register_module("ff_dropout", nn::Dropout(c.activation_dropout))),
        ffn(*this, c, c.encoder_ffn_dim, is_sparse(i, c.encoder_sparse_step)) {}

  Tensor forward(Tensor x, const Pass& pass) {
    x = x + attn_dropout(self_attn(self_attn_layer_norm(x), pass));
    return clamp_half(x + ff_dropout(ffn(ff_layer_norm(x), pass)));
  }
};
TORCH_MODULE(NllbMoeEncoderLayer);

struct NllbMoeDecoderLayerImpl : nn::Module {
  BartAttention self_attn, cross_attention;
  nn::LayerNorm self_attn_layer_norm, cross_attention_layer_norm, ff_layer_norm;
  nn::Dropout attn_dropout, ff_dropout;
  FeedForward ffn;

  NllbMoeDecoderLayerImpl(const NllbMoeConfig& c, int64_t i)
      : self_attn(register_module("self_attn", BartAttention(c, c.decoder_attention_heads, i))),
        cross_attention(register_module("cross_attention", BartAttention(c, c.decoder_attention_heads, i, true))),
        self_attn_layer_norm(register_module("self_attn_layer_norm", nn::LayerNorm(c.d_model))),
        cross_attention_layer_norm(register_module("cross_attention_layer_norm", nn::LayerNorm(c.d_model))),
        ff_layer_norm(register_module("ff_layer_norm", nn::LayerNorm(c.d_model))),
        attn_dropout(register_module("attn_dropout", nn::Dropout(c.dropout))),
        ff_dropout(register_module("ff_dropout", nn::Dropout(c.activation_dropout))),
        ffn(*this, c, c.decoder_ffn_dim, is_sparse(i, c.decoder_sparse_step)) {}

  Tensor forward(Tensor x, const Pass& pass) {
    x = x + attn_dropout(self_attn(self_attn_layer_norm(x), pass));
    if (pass.encoder.defined()) x = x + attn_dropout(cross_attention(cross_attention_layer_norm(x), pass));
    return clamp_half(x + ff_dropout(ffn(ff_layer_norm(x), pass)));
  }
};
TORCH_MODULE(NllbMoeDecoderLayer);

struct NllbMoeModel : Seq2SeqModel<NllbMoeConfig, M2M100Encoder<NllbMoeConfig, NllbMoeEncoderLayer>,
                                   M2M100Decoder<NllbMoeConfig, NllbMoeDecoderLayer>> {
  static constexpr bool supports_sdpa = false;
  using Seq2SeqModel::Seq2SeqModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};
struct NllbMoeForConditionalGeneration : PlainLM<NllbMoeModel> {
  static constexpr bool supports_sdpa = false;
  using PlainLM::PlainLM;
};

BACKPLANE_PLUGIN(nllb_moe, plugin) {
  plugin.config<NllbMoeConfig>();
  plugin.tokenizer("NllbTokenizer", "NllbTokenizerFast");
  plugin.model<NllbMoeModel>(Auto::Model);
  plugin.model<NllbMoeForConditionalGeneration>(Auto::ForPreTraining);
  plugin.model<NllbMoeForConditionalGeneration>(Auto::WithLMHead);
  plugin.model<NllbMoeForConditionalGeneration>(Auto::ForSeq2SeqLM);
}

}  // namespace backplane::nllb_moe
