// Switch Transformers: Fedus et al. 2021, https://arxiv.org/abs/2101.03961
// Switch Transformers is T5 except: in some blocks the feed-forward part is one of several experts, which a router
// picks for each token, up to a capacity. Reference: transformers,
// models/switch_transformers/modeling_switch_transformers.py

#include "../t5/modeling_t5.h"

namespace backplane::switch_transformers {

using namespace t5;

struct SwitchTransformersConfig : T5Config {
  static constexpr const char* model_type = "switch_transformers";

  int64_t expert_capacity = 64;
  int64_t num_sparse_encoder_layers = 3;
  int64_t num_sparse_decoder_layers = 3;
  std::optional<int64_t> encoder_sparse_step;  // null: num_layers / num_sparse_encoder_layers
  std::optional<int64_t> decoder_sparse_step;
  int64_t num_experts = 8;
  bool router_bias = false;
  double router_jitter_noise = 0.01;
  std::string router_dtype = "float32";
  bool router_ignore_padding_tokens = false;
  double router_z_loss_coef = 0.001;
  double router_aux_loss_coef = 0.001;
  bool add_router_probs = false;

  SwitchTransformersConfig() {
    d_model = 768;
    num_layers = 12;
    num_decoder_layers = 12;
    num_heads = 12;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(d_model));
    field(BACKPLANE_FIELD(d_kv));
    field(BACKPLANE_FIELD(d_ff));
    field(BACKPLANE_FIELD(num_sparse_encoder_layers));
    field(BACKPLANE_FIELD(num_layers));
    field(BACKPLANE_FIELD(num_decoder_layers));
    field(BACKPLANE_FIELD(num_sparse_decoder_layers));
    field(BACKPLANE_FIELD(encoder_sparse_step));
    field(BACKPLANE_FIELD(decoder_sparse_step));
    field(BACKPLANE_FIELD(num_heads));
    field(BACKPLANE_FIELD(num_experts));
    field(BACKPLANE_FIELD(expert_capacity));
    field(BACKPLANE_FIELD(router_bias));
    field(BACKPLANE_FIELD(router_jitter_noise));
    field(BACKPLANE_FIELD(router_dtype));
    field(BACKPLANE_FIELD(router_ignore_padding_tokens));
    field(BACKPLANE_FIELD(relative_attention_num_buckets));
    field(BACKPLANE_FIELD(relative_attention_max_distance));
    field(BACKPLANE_FIELD(dropout_rate));
    field(BACKPLANE_FIELD(layer_norm_epsilon));
    field(BACKPLANE_FIELD(initializer_factor));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(add_router_probs));
    field(BACKPLANE_FIELD(router_z_loss_coef));
    field(BACKPLANE_FIELD(router_aux_loss_coef));
    field(BACKPLANE_FIELD(dense_act_fn));
    field.alias("hidden_size", "d_model");
    field.alias("num_attention_heads", "num_heads");
    field.alias("num_hidden_layers", "num_layers");
  }

  void validate() override {
    if (!dense_act_fn) dense_act_fn = "relu";
    T5Config::validate();
    is_gated_act = false;
    const auto step = [](int64_t layers, int64_t sparse) { return sparse > 0 ? layers / sparse : layers; };
    if (!encoder_sparse_step) encoder_sparse_step = step(num_layers, num_sparse_encoder_layers);
    if (!decoder_sparse_step) decoder_sparse_step = step(*num_decoder_layers, num_sparse_decoder_layers);
    if (router_dtype != "float32" && router_dtype != "float16" && router_dtype != "bfloat16") {
      throw Error(ErrorCode::bad_config,
                  concat("router_dtype is '", router_dtype, "'; expected 'float32', 'float16' or 'bfloat16'"));
    }
    if (num_experts <= 0) throw Error(ErrorCode::bad_config, concat("num_experts is ", num_experts));
  }

  at::ScalarType router_type() const {
    return router_dtype == "float32" ? at::kFloat : router_dtype == "float16" ? at::kHalf : at::kBFloat16;
  }
};

// Of each layer: logits [batch, seq, experts] and the experts chosen [batch, seq], or one zero for a dense layer.
struct RoutedPass : Pass {
  std::vector<std::vector<Tensor>> routers;
};

void report(const RoutedPass& pass, ModelOutput& output) {
  for (size_t i = 0; i < pass.routers.size(); ++i) output.set(concat("router_logits.", i), pass.routers[i]);
}

struct SwitchTransformersTop1RouterImpl : nn::Module {
  int64_t experts, capacity;
  double jitter;
  at::ScalarType dtype;
  nn::Linear classifier;

  explicit SwitchTransformersTop1RouterImpl(const SwitchTransformersConfig& c)
      : experts(c.num_experts),
        capacity(c.expert_capacity),
        jitter(c.router_jitter_noise),
        dtype(c.router_type()),
        classifier(register_module("classifier", nn::Linear(c.d_model, c.num_experts, c.router_bias))) {}

  struct Choice {
    Tensor mask;    // bool [batch, seq, experts]: the expert of each token that has room for it
    Tensor prob;    // of the choice, [batch, seq, 1]
    Tensor logits;  // [batch, seq, experts]
  };

  Choice forward(const Tensor& x) {
    Tensor wide = x.to(dtype);
    if (is_training() && jitter > 0) wide = wide * at::empty_like(wide).uniform_(1 - jitter, 1 + jitter);
    const Tensor bias = classifier->bias.defined() ? classifier->bias.to(dtype) : Tensor();
    const Tensor logits = at::linear(wide, classifier->weight.to(dtype), bias);
    const Tensor probs = at::softmax(logits, -1).to(x.scalar_type());
    const Tensor chosen = at::one_hot(probs.argmax(-1), experts);
    const Tensor fits = chosen.cumsum(-2) <= capacity;
    return {chosen.to(at::kBool).logical_and(fits), probs.amax(-1, true), logits};
  }
};
TORCH_MODULE(SwitchTransformersTop1Router);

struct SwitchTransformersMLPImpl : nn::Module {
  SwitchTransformersTop1Router router{nullptr};
  std::shared_ptr<nn::Module> experts;
  std::vector<T5Dense> expert;

  explicit SwitchTransformersMLPImpl(const SwitchTransformersConfig& c)
      : router(register_module("router", SwitchTransformersTop1Router(c))),
        experts(register_module("experts", std::make_shared<nn::Module>())) {
    for (int64_t i = 0; i < c.num_experts; ++i)
      expert.push_back(experts->register_module(concat("expert_", i), T5Dense(c)));
  }

  Tensor forward(const Tensor& x, RoutedPass& pass) {
    const auto choice = router(x);
    Tensor y = at::zeros_like(x);
    for (size_t i = 0; i < expert.size(); ++i) {
      const Tensor mine = choice.mask.select(2, static_cast<int64_t>(i));
      if (mine.any().item<bool>()) y.index_put_({mine}, expert[i](x.index({mine})));
    }
    pass.routers.push_back({choice.logits, choice.mask.to(at::kInt).argmax(-1)});
    return choice.prob * y;
  }
};
TORCH_MODULE(SwitchTransformersMLP);

struct SwitchTransformersLayerFFImpl : nn::Module {
  T5Dense dense{nullptr};
  SwitchTransformersMLP sparse{nullptr};
  nn::RMSNorm layer_norm;
  nn::Dropout dropout;

  SwitchTransformersLayerFFImpl(const SwitchTransformersConfig& c, bool is_sparse)
      : layer_norm(register_module("layer_norm", nn::RMSNorm(c.d_model, c.layer_norm_epsilon))),
        dropout(register_module("dropout", nn::Dropout(c.dropout_rate))) {
    if (is_sparse) {
      sparse = register_module("mlp", SwitchTransformersMLP(c));
    } else {
      dense = register_module("mlp", T5Dense(c));
    }
  }

  Tensor forward(const Tensor& x, RoutedPass& pass) {
    if (sparse) return x + dropout(sparse(layer_norm(x), pass));
    pass.routers.push_back({at::zeros({1}, at::kLong)});
    return x + dropout(dense(layer_norm(x)));
  }
};
TORCH_MODULE(SwitchTransformersLayerFF);

struct SwitchTransformersBlockImpl : nn::Module {
  using Call = RoutedPass;
  std::shared_ptr<nn::Module> layer = register_module("layer", std::make_shared<nn::Module>());
  T5LayerSelfAttention self;
  T5LayerCrossAttention cross{nullptr};
  SwitchTransformersLayerFF ff{nullptr};

  SwitchTransformersBlockImpl(const SwitchTransformersConfig& c, int64_t i, Role role, bool has_bias)
      : self(layer->register_module("0", T5LayerSelfAttention(c, i, role, has_bias))) {
    if (role == Role::decoder) cross = layer->register_module("1", T5LayerCrossAttention(c, i));
    const int64_t step = role == Role::decoder ? *c.decoder_sparse_step : *c.encoder_sparse_step;
    const bool is_sparse = step > 0 && (step == 1 || i % step == 1);
    ff = layer->register_module(cross ? "2" : "1", SwitchTransformersLayerFF(c, is_sparse));
  }

  Tensor forward(Tensor x, RoutedPass& pass) {
    x = clamp_half(self(x, pass));
    if (cross && pass.encoder.defined()) x = clamp_half(cross(x, pass));
    return clamp_half(ff(x, pass));
  }
};
TORCH_MODULE(SwitchTransformersBlock);

using SwitchTransformersStack = Stack<SwitchTransformersBlock, SwitchTransformersConfig>;

// Zoph et al. 2022, https://arxiv.org/abs/2202.08906: large logits cost. logits [batch, tokens, experts]
Tensor router_z_loss(const Tensor& logits) {
  return at::logsumexp(logits, {-1}).square().sum() / (logits.size(0) * logits.size(1));
}

// What an uneven load costs. probs [batch, tokens, experts], chosen [batch, tokens]
Tensor load_balancing_loss(const Tensor& probs, const Tensor& chosen) {
  const int64_t experts = probs.size(-1);
  const Tensor tokens = at::one_hot(chosen, experts).to(at::kFloat).mean(-2);
  return (tokens * probs.mean(-2)).mean() * (experts * experts);
}

// The losses of the sparse layers of a stack, {z, load}; zeros where it has none.
std::pair<Tensor, Tensor> router_losses(const ModelOutput& stack) {
  std::vector<Tensor> logits, chosen;
  for (size_t i = 0; stack.contains(concat("router_logits.", i)); ++i) {
    const auto router = stack.tuple(concat("router_logits.", i));
    if (router.size() < 2) continue;
    logits.push_back(router[0]);
    chosen.push_back(router[1]);
  }
  if (logits.empty()) return {at::zeros({}), at::zeros({})};
  const Tensor all = at::cat(logits, 1);
  return {router_z_loss(all), load_balancing_loss(at::softmax(all, -1), at::cat(chosen, 1))};
}

struct SwitchTransformersModel : Seq2Seq<SwitchTransformersConfig, SwitchTransformersStack> {
  using Seq2Seq::Seq2Seq;
};

struct SwitchTransformersForConditionalGeneration : SwitchTransformersModel {
  nn::Linear lm_head;

  explicit SwitchTransformersForConditionalGeneration(const SwitchTransformersConfig& c)
      : SwitchTransformersModel(c), lm_head(register_module("lm_head", nn::Linear(c.d_model, c.vocab_size, false))) {}

  void tie_weights() override {
    SwitchTransformersModel::tie_weights();
    if (c.tie_word_embeddings) lm_head->tie_weight(shared->weight);
  }
  bool can_generate() const override { return true; }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderDecoderArguments, "labels", "output_router_logits");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor labels = inputs.tensor("labels");
    ModelInputs call = inputs;
    if (labels.defined() && !has_decoder_input(call)) call.set("decoder_input_ids", start(labels));
    const auto encoded = run_encoder(*encoder, call);
    const auto decoded =
        decoder->forward(decoder_inputs(call, encoded["last_hidden_state"], call.tensor("attention_mask")));
    Tensor x = decoded["last_hidden_state"];
    if (c.tie_word_embeddings) x = x * (1 / std::sqrt(static_cast<double>(c.d_model)));
    const Tensor logits = lm_head(x);
    Tensor loss = labels.defined() ? cross_entropy(logits, labels) : Tensor();

    ModelOutput output = encoder_decoder_output(encoded, decoded);
    output.set("last_hidden_state", {});
    output.set("logits", logits);
    if (inputs.flag("output_router_logits", true)) {
      const auto of = [](int64_t step, const ModelOutput& stack) {
        return step > 1 ? router_losses(stack) : std::pair(at::zeros({}), at::zeros({}));
      };
      const auto [encoder_z, encoder_load] = of(*c.encoder_sparse_step, encoded);
      const auto [decoder_z, decoder_load] = of(*c.decoder_sparse_step, decoded);
      if (loss.defined()) {
        loss = loss + c.router_z_loss_coef * (encoder_z + decoder_z) +
               c.router_aux_loss_coef * (encoder_load + decoder_load);
      }
      output.set("encoder_z_loss", encoder_z);
      output.set("decoder_z_loss", decoder_z);
      output.set("encoder_aux_loss", encoder_load);
      output.set("decoder_aux_loss", decoder_load);
      for (const auto& [prefix, part] : {std::pair("encoder_", &encoded), std::pair("decoder_", &decoded)}) {
        for (const auto& [name, value] : *part) {
          if (name.starts_with("router_logits.")) output.set(concat(prefix, name), value);
        }
      }
    }
    output.set("loss", loss);
    return output;
  }
};

BACKPLANE_PLUGIN(switch_transformers, plugin) {
  plugin.config<SwitchTransformersConfig>();
  plugin.tokenizer("T5Tokenizer", "T5TokenizerFast");
  plugin.model<SwitchTransformersModel>(Auto::Model);
  plugin.model<SwitchTransformersForConditionalGeneration>(Auto::ForPreTraining);
  plugin.model<SwitchTransformersForConditionalGeneration>(Auto::WithLMHead);
  plugin.model<SwitchTransformersForConditionalGeneration>(Auto::ForSeq2SeqLM);
}

}  // namespace backplane::switch_transformers
