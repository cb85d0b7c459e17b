// GPT-Neo: Black et al. 2021, https://doi.org/10.5281/zenodo.5297715
// GPT-2's blocks with separate maps for queries, keys and values, unscaled scores, and a window in the layers that are
// local. Reference: transformers, models/gpt_neo/modeling_gpt_neo.py

#include <backplane/model/encoder_heads.h>
#include <backplane/model/transformer.h>

#include "configuration_gpt_neo.h"

namespace backplane::gpt_neo {

struct GPTNeoSelfAttentionImpl : nn::Module {
  int64_t heads, window;
  size_t layer;
  double dropout;
  nn::Linear k_proj, v_proj, q_proj, out_proj;
  nn::Dropout resid_dropout;

  GPTNeoSelfAttentionImpl(const GPTNeoConfig& c, size_t layer)
      : heads(c.num_heads),
        window(c.attention_layers[layer] == "local" ? c.window_size : 0),
        layer(layer),
        dropout(c.attention_dropout),
        k_proj(register_module("k_proj", nn::Linear(c.hidden_size, c.hidden_size, false))),
        v_proj(register_module("v_proj", nn::Linear(c.hidden_size, c.hidden_size, false))),
        q_proj(register_module("q_proj", nn::Linear(c.hidden_size, c.hidden_size, false))),
        out_proj(register_module("out_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        resid_dropout(register_module("resid_dropout", nn::Dropout(c.resid_dropout))) {}

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, TransformerCall& call) {
    const auto [k, v] = call.append(layer, split_heads(k_proj(x), heads), split_heads(v_proj(x), heads));
    // Scores are made in float32 whatever the dtype.
    const Tensor y =
        call.attend(layer, split_heads(q_proj(x), heads).to(at::kFloat), k.to(at::kFloat), v.to(at::kFloat),
                    {.mask = window_mask(k.size(2), call), .scale = 1, .dropout = is_training() ? dropout : 0});
    return resid_dropout(out_proj(merge_heads(y).to(x.scalar_type())));
  }

  // Keys out of the window of a local layer, [1, 1, seq, kv]; undefined where there are none.
  Tensor window_mask(int64_t kv, const TransformerCall& call) const {
    if (window <= 0 || kv <= window) return {};
    const Tensor distance = at::arange(call.past, kv, at::kLong).unsqueeze(1) - at::arange(kv, at::kLong).unsqueeze(0);
    return lowest_where(distance >= window, at::kFloat).unsqueeze(0).unsqueeze(0);
  }
};
TORCH_MODULE(GPTNeoSelfAttention);

struct GPTNeoAttentionImpl : nn::Module {
  GPTNeoSelfAttention attention;

  GPTNeoAttentionImpl(const GPTNeoConfig& c, size_t layer)
      : attention(register_module("attention", GPTNeoSelfAttention(c, layer))) {}

  Tensor forward(const Tensor& x, TransformerCall& call) { return attention(x, call); }
};
TORCH_MODULE(GPTNeoAttention);

struct GPTNeoMLPImpl : nn::Module {
  nn::Linear c_fc, c_proj;
  Activation act;
  nn::Dropout dropout;

  explicit GPTNeoMLPImpl(const GPTNeoConfig& c)
      : c_fc(register_module("c_fc", nn::Linear(c.hidden_size, c.inner_size()))),
        c_proj(register_module("c_proj", nn::Linear(c.inner_size(), c.hidden_size))),
        act(activation(c.activation_function)),
        dropout(register_module("dropout", nn::Dropout(c.resid_dropout))) {}

  Tensor forward(const Tensor& x) { return dropout(c_proj(act(c_fc(x)))); }
};
TORCH_MODULE(GPTNeoMLP);

struct GPTNeoBlockImpl : nn::Module {
  nn::LayerNorm ln_1, ln_2;
  GPTNeoAttention attn;
  GPTNeoMLP mlp;

  GPTNeoBlockImpl(const GPTNeoConfig& c, size_t layer)
      : ln_1(register_module("ln_1", nn::LayerNorm(c.hidden_size, c.layer_norm_epsilon))),
        ln_2(register_module("ln_2", nn::LayerNorm(c.hidden_size, c.layer_norm_epsilon))),
        attn(register_module("attn", GPTNeoAttention(c, layer))),
        mlp(register_module("mlp", GPTNeoMLP(c))) {}

  Tensor forward(Tensor x, TransformerCall& call) {
    x = x + attn(ln_1(x), call);
    return x + mlp(ln_2(x));
  }
};
TORCH_MODULE(GPTNeoBlock);

struct GPTNeoPreTrainedModel : PreTrainedModel {
  using Config = GPTNeoConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override {
    // Old checkpoints hold the causal masks.
    return {.base_model_prefix = "transformer", .ignore_unexpected = {R"(attn\.attention\.(masked_)?bias$)"}};
  }
};

struct GPTNeoModel : GPTNeoPreTrainedModel {
  const GPTNeoConfig& c;
  nn::Embedding wte, wpe;
  nn::Dropout drop;
  nn::Layers<GPTNeoBlock> h;
  nn::LayerNorm ln_f;

  explicit GPTNeoModel(const GPTNeoConfig& config)
      : GPTNeoPreTrainedModel(config),
        c(config),
        wte(register_module("wte", nn::Embedding(c.vocab_size, c.hidden_size))),
        wpe(register_module("wpe", nn::Embedding(c.max_position_embeddings, c.hidden_size))),
        drop(register_module("drop", nn::Dropout(c.embed_dropout))),
        h(register_module("h", nn::Layers<GPTNeoBlock>(
                                   c.num_layers, [&](int64_t i) { return GPTNeoBlock(c, static_cast<size_t>(i)); }))),
        ln_f(register_module("ln_f", nn::LayerNorm(c.hidden_size, c.layer_norm_epsilon))) {}

  nn::Embedding get_input_embeddings() override { return wte; }
  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderArguments, "past_key_values", "use_cache", "cache_position");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    TransformerCall call(inputs, c,
                         {.layers = c.num_layers, .heads = c.num_heads, .causal = true, .use_cache = c.use_cache});
    const Tensor ids = inputs.tensor("input_ids"), types = inputs.tensor("token_type_ids");
    Tensor positions = inputs.tensor("position_ids");
    if (!positions.defined()) positions = at::arange(call.past, call.past + call.seq, at::kLong).unsqueeze(0);
    Tensor x = (ids.defined() ? wte(ids) : inputs["inputs_embeds"]) + wpe(positions);
    if (types.defined()) x = x + wte(types);
    x = drop(x);
    call.start(x);
    for (auto& block : *h) {
      call.see(x);
      x = block(x, call);
    }
    x = ln_f(x);
    call.see(x);
    return call.finish(x);
  }
};

struct GPTNeoForCausalLM : CausalLMHead<GPTNeoPreTrainedModel, GPTNeoModel> {
  explicit GPTNeoForCausalLM(const GPTNeoConfig& c) : CausalLMHead(c) {}
};
struct GPTNeoForSequenceClassification : SequenceClassificationHead<GPTNeoPreTrainedModel, GPTNeoModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct GPTNeoForTokenClassification : TokenLabelHead<GPTNeoPreTrainedModel, GPTNeoModel> {
  explicit GPTNeoForTokenClassification(const GPTNeoConfig& c) : TokenLabelHead(c, c.classifier_dropout) {}
};
struct GPTNeoForQuestionAnswering : QuestionAnsweringHead<GPTNeoPreTrainedModel, GPTNeoModel> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(gpt_neo, plugin) {
  plugin.config<GPTNeoConfig>();
  plugin.tokenizer("GPT2Tokenizer", "GPT2TokenizerFast");
  plugin.model<GPTNeoModel>(Auto::Model);
  plugin.model<GPTNeoForCausalLM>(Auto::WithLMHead);
  plugin.model<GPTNeoForCausalLM>(Auto::ForCausalLM);
  plugin.model<GPTNeoForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<GPTNeoForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<GPTNeoForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::gpt_neo
