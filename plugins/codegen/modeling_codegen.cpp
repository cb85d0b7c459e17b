// CodeGen: Nijkamp et al. 2022, https://arxiv.org/abs/2203.13474
// CodeGen is GPT-J except: one map makes queries, values and keys, in four parts as they were trained on four cores.
// Reference: transformers, models/codegen/modeling_codegen.py

#include "../gptj/modeling_gptj.h"
#include "configuration_codegen.h"

namespace backplane::codegen {

using gptj::rotated, gptj::Rotation;

struct CodeGenAttentionImpl : nn::Module {
  int64_t heads;
  size_t layer;
  double dropout;
  nn::Linear qkv_proj, out_proj;
  nn::Dropout resid_dropout;

  CodeGenAttentionImpl(const CodeGenConfig& c, size_t layer)
      : heads(c.n_head),
        layer(layer),
        dropout(c.attn_pdrop),
        qkv_proj(register_module("qkv_proj", nn::Linear(c.n_embd, 3 * c.n_embd, false))),
        out_proj(register_module("out_proj", nn::Linear(c.n_embd, c.n_embd, false))),
        resid_dropout(register_module("resid_dropout", nn::Dropout(c.resid_pdrop))) {}

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, const Rotation& rotation, TransformerCall& call) {
    const auto qvk = qkv_proj(x).unflatten(-1, {4, -1}).chunk(3, -1);  // [batch, seq, 4, hidden / 4] each
    const auto part = [&](size_t i) { return split_heads(qvk[i].flatten(2), heads); };
    const auto [k, v] = call.append(layer, rotated(part(2), rotation), part(1));
    return resid_dropout(out_proj(
        merge_heads(call.attend(layer, rotated(part(0), rotation), k, v, {.dropout = is_training() ? dropout : 0}))));
  }
};
TORCH_MODULE(CodeGenAttention);

struct CodeGenPreTrainedModel : PreTrainedModel {
  using Config = CodeGenConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override {
    // Old checkpoints hold the causal masks.
    return {.base_model_prefix = "transformer", .ignore_unexpected = {R"(attn\.causal_mask$)"}};
  }
};

struct CodeGenModel : gptj::GPTJModelOf<CodeGenPreTrainedModel, CodeGenAttention> {
  using GPTJModelOf::GPTJModelOf;
};
struct CodeGenForCausalLM : CausalLMHead<CodeGenPreTrainedModel, CodeGenModel> {
  explicit CodeGenForCausalLM(const CodeGenConfig& c) : CausalLMHead(c, {.with_bias = true}) {}
};

BACKPLANE_PLUGIN(codegen, plugin) {
  plugin.config<CodeGenConfig>();
  plugin.tokenizer("CodeGenTokenizer", "CodeGenTokenizerFast");
  plugin.model<CodeGenModel>(Auto::Model);
  plugin.model<CodeGenForCausalLM>(Auto::WithLMHead);
  plugin.model<CodeGenForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::codegen
