// RWKV: Peng et al. 2023, https://arxiv.org/abs/2305.13048
// Layers of two recurrent blocks: a weighted mean over past values that decays in time, and a gated MLP; both mix each
// token with the one before it. Reference: transformers, models/rwkv/modeling_rwkv.py

#include <backplane/model/heads.h>
#include <backplane/nn/uninitialised.h>

#include "configuration_rwkv.h"

namespace backplane::rwkv {

struct RwkvPreTrainedModel : PreTrainedModel {
  static constexpr bool supports_sdpa = false;
  using Config = RwkvConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "rwkv"}; }
};

// x one to the right in time; the first token's predecessor is `last` [batch, hidden] (zeros where undefined), which
// becomes x's last token. x [batch, seq, hidden]
static Tensor shifted(const Tensor& x, Tensor* last) {
  const Tensor first = last && last->defined() ? last->unsqueeze(1) : at::zeros({x.size(0), 1, x.size(2)}, x.options());
  if (last) *last = x.select(1, x.size(1) - 1);
  return at::cat({first.to(x.scalar_type()), x.slice(1, 0, x.size(1) - 1)}, 1);
}

static Tensor mixed(const Tensor& x, const Tensor& before, const Tensor& mix) { return x * mix + before * (1 - mix); }

struct RwkvSelfAttentionImpl : nn::Module {
  size_t layer;
  Tensor time_decay, time_first;                             // [attention hidden]
  Tensor time_mix_key, time_mix_value, time_mix_receptance;  // [1, 1, hidden]
  nn::Linear key, value, receptance, output;

  RwkvSelfAttentionImpl(const RwkvConfig& c, size_t layer)
      : layer(layer),
        time_decay(register_parameter("time_decay", nn::uninitialised({*c.attention_hidden_size}))),
        time_first(register_parameter("time_first", nn::uninitialised({*c.attention_hidden_size}))),
        time_mix_key(register_parameter("time_mix_key", nn::uninitialised({1, 1, c.hidden_size}))),
        time_mix_value(register_parameter("time_mix_value", nn::uninitialised({1, 1, c.hidden_size}))),
        time_mix_receptance(register_parameter("time_mix_receptance", nn::uninitialised({1, 1, c.hidden_size}))),
        key(register_module("key", nn::Linear(c.hidden_size, *c.attention_hidden_size, false))),
        value(register_module("value", nn::Linear(c.hidden_size, *c.attention_hidden_size, false))),
        receptance(register_module("receptance", nn::Linear(c.hidden_size, *c.attention_hidden_size, false))),
        output(register_module("output", nn::Linear(*c.attention_hidden_size, c.hidden_size, false))) {}

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, const KvCachePtr& cache) {
    const Tensor before = shifted(x, cache ? &cache->state(layer, 1) : nullptr);
    const Tensor k = key(mixed(x, before, time_mix_key)), v = value(mixed(x, before, time_mix_value));
    const Tensor r = at::sigmoid(receptance(mixed(x, before, time_mix_receptance)));
    return output(r * weighted_mean(k, v, cache));
  }

  // Numerator and denominator are kept divided by exp(highest), so that no exponential overflows.
  Tensor weighted_mean(const Tensor& k, const Tensor& v, const KvCachePtr& cache) {
    const Tensor wide = k.to(at::kFloat), decay = -at::exp(time_decay);
    Tensor numerator, denominator, highest;
    if (cache)
      numerator = cache->state(layer, 2), denominator = cache->state(layer, 3), highest = cache->state(layer, 4);
    if (!numerator.defined()) {
      numerator = at::zeros({k.size(0), k.size(2)}, wide.options());
      denominator = at::zeros_like(numerator);
      highest = at::full_like(numerator, cache ? -1e30 : -1e38);
    }
    std::vector<Tensor> steps;
    for (int64_t t = 0; t < k.size(1); ++t) {
      const Tensor kt = wide.select(1, t), vt = v.select(1, t);
      const Tensor now = at::max(highest, kt + time_first);
      const Tensor old = at::exp(highest - now), fresh = at::exp(kt + time_first - now);
      steps.push_back(((old * numerator + fresh * vt) / (old * denominator + fresh)).to(k.scalar_type()));
      const Tensor next = at::max(highest + decay, kt);
      const Tensor kept = at::exp(highest + decay - next), added = at::exp(kt - next);
      numerator = kept * numerator + added * vt;
      denominator = kept * denominator + added;
      highest = next;
    }
    if (cache)
      cache->state(layer, 2) = numerator, cache->state(layer, 3) = denominator, cache->state(layer, 4) = highest;
    return at::stack(steps, 1);
  }
};
TORCH_MODULE(RwkvSelfAttention);

struct RwkvFeedForwardImpl : nn::Module {
  size_t layer;
  Tensor time_mix_key, time_mix_receptance;  // [1, 1, hidden]
  nn::Linear key, receptance, value;

  RwkvFeedForwardImpl(const RwkvConfig& c, size_t layer)
      : layer(layer),
        time_mix_key(register_parameter("time_mix_key", nn::uninitialised({1, 1, c.hidden_size}))),
        time_mix_receptance(register_parameter("time_mix_receptance", nn::uninitialised({1, 1, c.hidden_size}))),
        key(register_module("key", nn::Linear(c.hidden_size, *c.intermediate_size, false))),
        receptance(register_module("receptance", nn::Linear(c.hidden_size, c.hidden_size, false))),
        value(register_module("value", nn::Linear(*c.intermediate_size, c.hidden_size, false))) {}

  Tensor forward(const Tensor& x, const KvCachePtr& cache) {
    const Tensor before = shifted(x, cache ? &cache->state(layer, 0) : nullptr);
    const Tensor h = value(at::relu(key(mixed(x, before, time_mix_key))).square());
    return at::sigmoid(receptance(mixed(x, before, time_mix_receptance))) * h;
  }
};
TORCH_MODULE(RwkvFeedForward);

struct RwkvBlockImpl : nn::Module {
  nn::LayerNorm pre_ln{nullptr}, ln1, ln2;
  RwkvSelfAttention attention;
  RwkvFeedForward feed_forward;

  RwkvBlockImpl(const RwkvConfig& c, size_t layer)
      : ln1(register_module("ln1", nn::LayerNorm(c.hidden_size, c.layer_norm_epsilon))),
        ln2(register_module("ln2", nn::LayerNorm(c.hidden_size, c.layer_norm_epsilon))),
        attention(register_module("attention", RwkvSelfAttention(c, layer))),
        feed_forward(register_module("feed_forward", RwkvFeedForward(c, layer))) {
    if (layer == 0) pre_ln = register_module("pre_ln", nn::LayerNorm(c.hidden_size, c.layer_norm_epsilon));
  }

  // Both blocks' results are scaled by `scale`; `attended` gets the first's.
  Tensor forward(Tensor x, const KvCachePtr& cache, double scale, Tensor& attended) {
    if (pre_ln) x = pre_ln(x);
    attended = attention(ln1(x), cache) * scale;
    x = x + attended;
    return x + feed_forward(ln2(x), cache) * scale;
  }
};
TORCH_MODULE(RwkvBlock);

constexpr std::array<std::string_view, 7> kArguments = {
    "input_ids", "attention_mask", "inputs_embeds", "state", "use_cache", "output_attentions", "output_hidden_states"};

struct RwkvModel : RwkvPreTrainedModel {
  const RwkvConfig& c;
  nn::Embedding embeddings;
  nn::Layers<RwkvBlock> blocks;
  nn::LayerNorm ln_out;

  explicit RwkvModel(const RwkvConfig& config)
      : RwkvPreTrainedModel(config),
        c(config),
        embeddings(register_module("embeddings", nn::Embedding(c.vocab_size, c.hidden_size))),
        blocks(register_module("blocks",
                               nn::Layers<RwkvBlock>(c.num_hidden_layers,
                                                     [&](int64_t i) { return RwkvBlock(c, static_cast<size_t>(i)); }))),
        ln_out(register_module("ln_out", nn::LayerNorm(c.hidden_size))) {}

  nn::Embedding get_input_embeddings() override { return embeddings; }
  std::span<const std::string_view> arguments() const override { return kArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor ids = inputs.tensor("input_ids");
    Tensor x = inputs.tensor("inputs_embeds");
    if (ids.defined() == x.defined()) throw Error(ErrorCode::invalid_value, "give either input_ids or inputs_embeds");
    if (ids.defined()) x = embeddings(ids);
    const int64_t seq = x.size(1);
    KvCachePtr cache = inputs.cache("state");
    if (!cache && inputs.flag("use_cache", c.use_cache && !is_training())) cache = std::make_shared<KvCache>();

    // Outside of training the stream is halved every rescale_every blocks, against overflow in half precision.
    const bool halves = c.rescale_every > 0 && !is_training();
    std::vector<Tensor> hidden_states, attentions;
    const bool keep = inputs.flag("output_hidden_states", c.output_hidden_states);
    const bool attend = inputs.flag("output_attentions", c.output_attentions);
    double scale = 1;
    for (size_t i = 0; i < blocks->size(); ++i) {
      Tensor attended;
      x = (*blocks)[i](x, cache, scale, attended);
      if (halves && (static_cast<int64_t>(i) + 1) % c.rescale_every == 0) {
        x = x / 2;
        scale /= 2;
      }
      if (keep) hidden_states.push_back(x);
      if (attend) attentions.push_back(attended);
    }
    x = ln_out(x);
    if (keep) hidden_states.push_back(x);
    if (cache) cache->advance(seq);
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("state", cache);
    output.set("hidden_states", hidden_states);
    output.set("attentions", attentions);
    return output;
  }
};

struct RwkvForCausalLM : CausalLMHead<RwkvPreTrainedModel, RwkvModel> {
  explicit RwkvForCausalLM(const RwkvConfig& c) : CausalLMHead(c, {.name = "head"}) {}
};

BACKPLANE_PLUGIN(rwkv, plugin) {
  plugin.config<RwkvConfig>();
  plugin.tokenizer("", "GPTNeoXTokenizerFast");
  plugin.model<RwkvModel>(Auto::Model);
  plugin.model<RwkvForCausalLM>(Auto::ForPreTraining);
  plugin.model<RwkvForCausalLM>(Auto::WithLMHead);
  plugin.model<RwkvForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::rwkv
