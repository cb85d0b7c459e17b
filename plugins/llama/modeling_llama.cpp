// LLaMA: Touvron et al. 2023, https://arxiv.org/abs/2302.13971
// Pre-norm decoder with RMSNorm, rotary positions, grouped queries and a gated MLP; no biases unless the config asks.
// Reference: transformers, models/llama/modeling_llama.py

#include "configuration_llama.h"

namespace backplane::llama {

// What every layer of one call shares.
struct Pass {
  Tensor mask;      // additive [batch or 1, 1, q, kv], or undefined
  bool causal;      // queries see no later keys, and the mask does not say so
  Tensor cos, sin;  // [batch, seq, head_dim / 2]
  KvCachePtr cache;
  std::vector<Tensor>* attentions = nullptr;
};

struct LlamaAttentionImpl : nn::Module {
  int64_t heads, kv_heads;
  size_t layer;
  double dropout;
  AttnImplementation implementation;
  nn::Linear q_proj, k_proj, v_proj, o_proj;

  LlamaAttentionImpl(const LlamaConfig& c, size_t layer)
      : heads(c.num_attention_heads),
        kv_heads(c.kv_heads()),
        layer(layer),
        dropout(c.attention_dropout),
        implementation(c.attn_implementation),
        q_proj(register_module("q_proj", nn::Linear(c.hidden_size, heads * c.head_size(), c.attention_bias))),
        k_proj(register_module("k_proj", nn::Linear(c.hidden_size, kv_heads * c.head_size(), c.attention_bias))),
        v_proj(register_module("v_proj", nn::Linear(c.hidden_size, kv_heads * c.head_size(), c.attention_bias))),
        o_proj(register_module("o_proj", nn::Linear(heads * c.head_size(), c.hidden_size, c.attention_bias))) {}

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, const Pass& pass) {
    const Tensor q =
        nn::apply_rotary(split_heads(q_proj(x), heads), pass.cos, pass.sin);  // [batch, heads, seq, head_dim]
    Tensor k = nn::apply_rotary(split_heads(k_proj(x), kv_heads), pass.cos, pass.sin);
    Tensor v = split_heads(v_proj(x), kv_heads);
    if (pass.cache) std::tie(k, v) = pass.cache->update(layer, k, v);
    Tensor probs;
    const Tensor y = attention(q, k, v,
                               {.mask = pass.mask,
                                .causal = pass.causal,
                                .dropout = is_training() ? dropout : 0,
                                .implementation = implementation,
                                .probs = pass.attentions ? &probs : nullptr});
    if (pass.attentions) pass.attentions->push_back(probs);
    return o_proj(merge_heads(y));
  }
};
TORCH_MODULE(LlamaAttention);

struct LlamaMLPImpl : nn::Module {
  nn::Linear gate_proj, up_proj, down_proj;
  Activation act;

  explicit LlamaMLPImpl(const LlamaConfig& c)
      : gate_proj(register_module("gate_proj", nn::Linear(c.hidden_size, c.intermediate_size, c.mlp_bias))),
        up_proj(register_module("up_proj", nn::Linear(c.hidden_size, c.intermediate_size, c.mlp_bias))),
        down_proj(register_module("down_proj", nn::Linear(c.intermediate_size, c.hidden_size, c.mlp_bias))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return down_proj(act(gate_proj(x)) * up_proj(x)); }
};
TORCH_MODULE(LlamaMLP);

struct LlamaDecoderLayerImpl : nn::Module {
  LlamaAttention self_attn;
  LlamaMLP mlp;
  nn::RMSNorm input_layernorm, post_attention_layernorm;

  LlamaDecoderLayerImpl(const LlamaConfig& c, size_t layer)
      : self_attn(register_module("self_attn", LlamaAttention(c, layer))),
        mlp(register_module("mlp", LlamaMLP(c))),
        input_layernorm(register_module("input_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  Tensor forward(Tensor x, const Pass& pass) {
    x = x + self_attn(input_layernorm(x), pass);
    return x + mlp(post_attention_layernorm(x));
  }
};
TORCH_MODULE(LlamaDecoderLayer);

struct LlamaPreTrainedModel : PreTrainedModel {
  using Config = LlamaConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "model", .ignore_unexpected = {R"(rotary_emb\.inv_freq)"}};
  }
};

struct LlamaModel : LlamaPreTrainedModel {
  explicit LlamaModel(const LlamaConfig& config);
  std::span<const std::string_view> arguments() const override;
  ModelOutput compute(const ModelInputs& inputs) override;

  const LlamaConfig& c;
  nn::RotaryEmbedding rotary;
  nn::Embedding embed_tokens;
  nn::Layers<LlamaDecoderLayer> layers{nullptr};
  nn::RMSNorm norm;
};

LlamaModel::LlamaModel(const LlamaConfig& config)
    : LlamaPreTrainedModel(config),
      c(config),
      rotary({.dim = c.head_size(),
              .theta = c.rope_theta,
              .max_position_embeddings = c.max_position_embeddings,
              .scaling = c.rope_scaling}),
      embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
      norm(register_module("norm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {
  layers = register_module(
      "layers", nn::Layers<LlamaDecoderLayer>(c.num_hidden_layers, [&](int64_t i) { return LlamaDecoderLayer(c, i); }));
}

constexpr std::array<std::string_view, 9> kArguments = {"input_ids",       "attention_mask",    "position_ids",
                                                        "past_key_values", "inputs_embeds",     "use_cache",
                                                        "cache_position",  "output_attentions", "output_hidden_states"};

std::span<const std::string_view> LlamaModel::arguments() const { return kArguments; }

ModelOutput LlamaModel::compute(const ModelInputs& inputs) {
  const Tensor ids = inputs.tensor("input_ids");
  Tensor x = inputs.tensor("inputs_embeds");
  if (ids.defined() == x.defined()) throw Error(ErrorCode::invalid_value, "give either input_ids or inputs_embeds");
  if (ids.defined()) x = embed_tokens(ids);
  const int64_t seq = x.size(1);

  Pass pass;
  pass.cache = inputs.cache("past_key_values");
  if (!pass.cache && inputs.flag("use_cache", c.use_cache)) pass.cache = std::make_shared<KvCache>();
  const int64_t past = pass.cache ? pass.cache->length() : 0;
  Tensor positions = inputs.tensor("position_ids");
  if (!positions.defined()) positions = at::arange(past, past + seq, at::kLong).unsqueeze(0);
  std::tie(pass.cos, pass.sin) = rotary.forward(positions);

  // Without padding the kernels know the causal mask themselves.
  const Tensor attention_mask = inputs.tensor("attention_mask");
  pass.causal = past == 0 &&
                (!attention_mask.defined() || (attention_mask.dim() == 2 && attention_mask.min().item<double>() >= 1));
  if (!pass.causal) pass.mask = causal_mask(attention_mask, seq, past, x.scalar_type());

  std::vector<Tensor> hidden_states, attentions;
  const bool keep = inputs.flag("output_hidden_states", c.output_hidden_states);
  if (inputs.flag("output_attentions", c.output_attentions)) pass.attentions = &attentions;
  for (auto& layer : *layers) {
    if (keep) hidden_states.push_back(x);
    x = layer(x, pass);
  }
  x = norm(x);
  if (keep) hidden_states.push_back(x);
  if (pass.cache) pass.cache->advance(seq);

  ModelOutput output;
  output.set("last_hidden_state", x);
  output.set("past_key_values", pass.cache);
  output.set("hidden_states", hidden_states);
  output.set("attentions", attentions);
  return output;
}

struct LlamaForCausalLM : LlamaPreTrainedModel {
  std::shared_ptr<LlamaModel> model;
  nn::Linear lm_head;

  explicit LlamaForCausalLM(const LlamaConfig& c)
      : LlamaPreTrainedModel(c),
        model(register_module("model", std::make_shared<LlamaModel>(c))),
        lm_head(register_module("lm_head", nn::Linear(c.hidden_size, c.vocab_size, false))) {}

  void tie_weights() override {
    if (config().tie_word_embeddings) lm_head->tie_weight(model->embed_tokens->weight);
  }
  bool can_generate() const override { return true; }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kArguments, "labels", "logits_to_keep");
    return kNames;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = model->forward(inputs.select(model->arguments()));
    Tensor x = base["last_hidden_state"];
    if (const int64_t keep = inputs.number("logits_to_keep", 0); keep > 0) x = x.slice(1, -keep);
    const Tensor logits = lm_head(x), labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) output.set("loss", causal_lm_loss(logits, labels));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

struct LlamaForSequenceClassification : LlamaPreTrainedModel {
  std::shared_ptr<LlamaModel> model;
  nn::Linear score;

  explicit LlamaForSequenceClassification(const LlamaConfig& c)
      : LlamaPreTrainedModel(c),
        model(register_module("model", std::make_shared<LlamaModel>(c))),
        score(register_module("score", nn::Linear(c.hidden_size, c.num_labels(), false))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kArguments, "labels");
    return kNames;
  }

  // The scores of the last token that is no padding.
  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = model->forward(inputs.select(model->arguments()));
    const Tensor scores = score(base["last_hidden_state"]), ids = inputs.tensor("input_ids"),
                 labels = inputs.tensor("labels");
    const auto pad = config().pad_token_id;
    if (!pad && scores.size(0) != 1) {
      throw Error(ErrorCode::invalid_value, "a batch of more than one sequence needs pad_token_id in the config");
    }
    Tensor last = at::full({scores.size(0)}, scores.size(1) - 1, at::kLong);
    if (pad && ids.defined()) last = (at::arange(ids.size(1)) * (ids != *pad)).argmax(-1);
    const Tensor logits = scores.index({at::arange(scores.size(0)), last});
    ModelOutput output;
    if (labels.defined()) output.set("loss", classification_loss(logits, labels, config()));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

// The base model is called `transformer` here, in checkpoints too.
struct LlamaForQuestionAnswering : LlamaPreTrainedModel {
  std::shared_ptr<LlamaModel> transformer;
  nn::Linear qa_outputs;

  explicit LlamaForQuestionAnswering(const LlamaConfig& c)
      : LlamaPreTrainedModel(c),
        transformer(register_module("transformer", std::make_shared<LlamaModel>(c))),
        qa_outputs(register_module("qa_outputs", nn::Linear(c.hidden_size, 2))) {}

  CheckpointRules checkpoint_rules() const override {
    auto rules = LlamaPreTrainedModel::checkpoint_rules();
    rules.base_model_prefix = "transformer";
    return rules;
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kArguments, "start_positions", "end_positions");
    return kNames;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = transformer->forward(inputs.select(transformer->arguments()));
    const Tensor logits = qa_outputs(base["last_hidden_state"]);
    const Tensor start = logits.select(-1, 0).contiguous(), end = logits.select(-1, 1).contiguous();
    const Tensor from = inputs.tensor("start_positions"), to = inputs.tensor("end_positions");
    ModelOutput output;
    if (from.defined() && to.defined()) output.set("loss", span_loss(start, end, from, to));
    output.set("start_logits", start);
    output.set("end_logits", end);
    output.pass_on(base);
    return output;
  }
};

struct LlamaForTokenClassification : LlamaPreTrainedModel {
  std::shared_ptr<LlamaModel> model;
  nn::Dropout dropout;
  nn::Linear score;

  explicit LlamaForTokenClassification(const LlamaConfig& c)
      : LlamaPreTrainedModel(c),
        model(register_module("model", std::make_shared<LlamaModel>(c))),
        dropout(register_module("dropout", nn::Dropout(0.1))),
        score(register_module("score", nn::Linear(c.hidden_size, c.num_labels()))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kArguments, "labels");
    return kNames;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = model->forward(inputs.select(model->arguments()));
    const Tensor logits = score(dropout(base["last_hidden_state"])), labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) output.set("loss", cross_entropy(logits, labels));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

// llama.cpp stores the rows of q and k in the order of interleaved rotary positions.
static GgufMapping gguf_mapping() {
  return {.architecture = "llama",
          .model_type = "llama",
          .keys = {{"context_length", "max_position_embeddings"},
                   {"block_count", "num_hidden_layers"},
                   {"feed_forward_length", "intermediate_size"},
                   {"embedding_length", "hidden_size"},
                   {"rope.dimension_count", "head_dim"},
                   {"rope.freq_base", "rope_theta"},
                   {"attention.head_count", "num_attention_heads"},
                   {"attention.head_count_kv", "num_key_value_heads"},
                   {"attention.layer_norm_rms_epsilon", "rms_norm_eps"},
                   {"vocab_size", "vocab_size"}},
          .tensors = {{"token_embd", "model.embed_tokens"},
                      {"blk.{n}.attn_norm", "model.layers.{n}.input_layernorm"},
                      {"blk.{n}.attn_q", "model.layers.{n}.self_attn.q_proj", GgufTransform::unpermute_heads},
                      {"blk.{n}.attn_k", "model.layers.{n}.self_attn.k_proj", GgufTransform::unpermute_kv_heads},
                      {"blk.{n}.attn_v", "model.layers.{n}.self_attn.v_proj"},
                      {"blk.{n}.attn_output", "model.layers.{n}.self_attn.o_proj"},
                      {"blk.{n}.ffn_norm", "model.layers.{n}.post_attention_layernorm"},
                      {"blk.{n}.ffn_gate", "model.layers.{n}.mlp.gate_proj"},
                      {"blk.{n}.ffn_up", "model.layers.{n}.mlp.up_proj"},
                      {"blk.{n}.ffn_down", "model.layers.{n}.mlp.down_proj"},
                      {"output_norm", "model.norm"},
                      {"output", "lm_head"}}};
}

BACKPLANE_PLUGIN(llama, plugin) {
  plugin.config<LlamaConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.gguf(gguf_mapping());
  plugin.model<LlamaModel>(Auto::Model);
  plugin.model<LlamaForCausalLM>(Auto::ForCausalLM);
  plugin.model<LlamaForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<LlamaForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<LlamaForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::llama
