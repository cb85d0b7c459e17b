// MPT: MosaicML 2023, https://www.mosaicml.com/blog/mpt-7b
// Pre-norm decoder without any bias; positions are linear biases of the scores. Of the configuration's many switches
// the reference knows the scale and clipping of attention; the feed-forward part is four times as wide as the states.
// Reference: transformers, models/mpt/modeling_mpt.py

#include <backplane/model/encoder_heads.h>
#include <backplane/model/transformer.h>

#include <bit>

#include "configuration_mpt.h"

namespace backplane::mpt {

// slope * distance of each of `kv` keys to the last, [1, heads, 1, kv]. Slopes are those of the power of two at or
// above `heads`; where that is more, every second of them from the second on, then the rest.
static Tensor alibi(int64_t heads, int64_t kv, double bias_max) {
  const auto whole = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(heads)));
  const Tensor exponents = at::arange(1, whole + 1, at::kLong).to(at::kFloat) * (bias_max / static_cast<double>(whole));
  Tensor slopes = 1.0 / at::exp2(exponents);
  if (whole != heads) slopes = at::cat({slopes.slice(0, 1, std::nullopt, 2), slopes.slice(0, 0, std::nullopt, 2)});
  return slopes.slice(0, 0, heads).view({1, heads, 1, 1}) * at::arange(1 - kv, 1, at::kInt);
}

struct MptAttentionImpl : nn::Module {
  const MptConfig& c;
  size_t layer;
  nn::Linear Wqkv, out_proj;

  MptAttentionImpl(const MptConfig& config, size_t layer)
      : c(config),
        layer(layer),
        Wqkv(register_module("Wqkv", nn::Linear(c.d_model, 3 * c.d_model, false))),
        out_proj(register_module("out_proj", nn::Linear(c.d_model, c.d_model, false))) {}

  // x [batch, seq, hidden], bias [1, heads, 1, kv] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, const Tensor& bias, TransformerCall& call) {
    Tensor mixed = Wqkv(x);
    if (const double clip = c.attn_config.clip_qkv.value_or(0); clip != 0) mixed = mixed.clamp(-clip, clip);
    const auto qkv = mixed.chunk(3, -1);
    const auto [k, v] = call.append(layer, split_heads(qkv[1], c.n_heads), split_heads(qkv[2], c.n_heads));
    return out_proj(merge_heads(call.attend(layer, split_heads(qkv[0], c.n_heads), k, v,
                                            {.mask = bias,
                                             .scale = c.attn_config.softmax_scale.value_or(0),
                                             .dropout = is_training() ? c.attn_config.attn_pdrop : 0})));
  }
};
TORCH_MODULE(MptAttention);

struct MptMLPImpl : nn::Module {
  nn::Linear up_proj, down_proj;
  nn::Dropout dropout;

  explicit MptMLPImpl(const MptConfig& c)
      : up_proj(register_module("up_proj", nn::Linear(c.d_model, 4 * c.d_model, false))),
        down_proj(register_module("down_proj", nn::Linear(4 * c.d_model, c.d_model, false))),
        dropout(register_module("dropout", nn::Dropout(c.attn_config.attn_pdrop))) {}

  Tensor forward(const Tensor& x) { return dropout(down_proj(at::gelu(up_proj(x)))); }
};
TORCH_MODULE(MptMLP);

struct MptBlockImpl : nn::Module {
  nn::LayerNorm norm_1, norm_2;
  MptAttention attn;
  MptMLP ffn;
  nn::Dropout resid_attn_dropout;

  MptBlockImpl(const MptConfig& c, size_t layer)
      : norm_1(register_module("norm_1", nn::LayerNorm(c.d_model, c.layer_norm_epsilon, false))),
        norm_2(register_module("norm_2", nn::LayerNorm(c.d_model, c.layer_norm_epsilon, false))),
        attn(register_module("attn", MptAttention(c, layer))),
        ffn(register_module("ffn", MptMLP(c))),
        resid_attn_dropout(register_module("resid_attn_dropout", nn::Dropout(c.attn_config.attn_pdrop))) {}

  Tensor forward(Tensor x, const Tensor& bias, TransformerCall& call) {
    x = resid_attn_dropout(attn(norm_1(x), bias, call)) + x;
    return ffn(norm_2(x)) + x;
  }
};
TORCH_MODULE(MptBlock);

struct MptPreTrainedModel : PreTrainedModel {
  using Config = MptConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "transformer"}; }
};

struct MptModel : MptPreTrainedModel {
  const MptConfig& c;
  nn::Embedding wte;
  nn::Layers<MptBlock> blocks;
  nn::LayerNorm norm_f;

  explicit MptModel(const MptConfig& config)
      : MptPreTrainedModel(config),
        c(config),
        wte(register_module("wte", nn::Embedding(c.vocab_size, c.d_model))),
        blocks(register_module(
            "blocks",
            nn::Layers<MptBlock>(c.n_layers, [&](int64_t i) { return MptBlock(c, static_cast<size_t>(i)); }))),
        norm_f(register_module("norm_f", nn::LayerNorm(c.d_model, c.layer_norm_epsilon, false))) {}

  nn::Embedding get_input_embeddings() override { return wte; }
  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 7> kArguments = {
        "input_ids", "past_key_values",   "attention_mask",      "inputs_embeds",
        "use_cache", "output_attentions", "output_hidden_states"};
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    TransformerCall call(inputs, c,
                         {.layers = c.n_layers, .heads = c.n_heads, .causal = true, .use_cache = c.use_cache});
    const int64_t kv = call.past + call.seq;
    if (kv > c.max_seq_len) {
      throw Error(ErrorCode::invalid_value, concat("a sequence of ", kv, " tokens is longer than max_seq_len (",
                                                   c.max_seq_len, "); truncate it"));
    }
    const Tensor ids = inputs.tensor("input_ids");
    Tensor x = ids.defined() ? wte(ids) : inputs["inputs_embeds"];
    call.start(x);
    const Tensor bias = alibi(c.n_heads, kv, c.attn_config.alibi_bias_max);
    for (auto& block : *blocks) {
      call.see(x);
      x = block(x, bias, call);
    }
    x = norm_f(x);
    call.see(x);
    return call.finish(x);
  }
};

struct MptForCausalLM : CausalLMHead<MptPreTrainedModel, MptModel> {
  explicit MptForCausalLM(const MptConfig& c) : CausalLMHead(c) {}
};
struct MptForSequenceClassification : SequenceClassificationHead<MptPreTrainedModel, MptModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct MptForTokenClassification : TokenLabelHead<MptPreTrainedModel, MptModel> {
  explicit MptForTokenClassification(const MptConfig& c) : TokenLabelHead(c, dropout_of(c)) {}

  // Keys that the configuration does not know, but looks for.
  static double dropout_of(const MptConfig& c) {
    for (const char* key : {"classifier_dropout", "hidden_dropout"}) {
      if (const Value* p = c.find_extra(key); p && !p->is_null()) return p->as_double();
    }
    return 0.1;
  }
};
struct MptForQuestionAnswering : QuestionAnsweringHead<MptPreTrainedModel, MptModel> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(mpt, plugin) {
  plugin.config<MptConfig>();
  plugin.tokenizer("", "GPTNeoXTokenizerFast");
  plugin.model<MptModel>(Auto::Model);
  plugin.model<MptForCausalLM>(Auto::ForPreTraining);
  plugin.model<MptForCausalLM>(Auto::WithLMHead);
  plugin.model<MptForCausalLM>(Auto::ForCausalLM);
  plugin.model<MptForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<MptForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<MptForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::mpt
