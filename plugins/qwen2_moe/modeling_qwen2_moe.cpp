#include "modeling_qwen2_moe.h"

#include "configuration_qwen2_moe.h"

namespace backplane::qwen2_moe {

struct Qwen2MoePreTrainedModel : PreTrainedModel {
  using Config = Qwen2MoeConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct Qwen2MoeSparseMoeBlockImpl : nn::SparseMoeImpl {
  nn::GatedMlp shared_expert;
  nn::Linear shared_expert_gate;

  explicit Qwen2MoeSparseMoeBlockImpl(const Qwen2MoeConfig& c)
      : SparseMoeImpl(c.hidden_size, c.moe_intermediate_size, c.hidden_act, c.num_experts, c.num_experts_per_tok,
                      c.norm_topk_prob),
        shared_expert(register_module("shared_expert",
                                      nn::GatedMlp(c.hidden_size, c.shared_expert_intermediate_size, c.hidden_act))),
        shared_expert_gate(register_module("shared_expert_gate", nn::Linear(c.hidden_size, 1, false))) {}

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, std::vector<Tensor>& router_logits) {
    return SparseMoeImpl::forward(x, router_logits) + at::sigmoid(shared_expert_gate(x)) * shared_expert(x);
  }
};
TORCH_MODULE(Qwen2MoeSparseMoeBlock);

struct Qwen2MoeAttentionImpl : llama::LlamaAttentionImpl {
  Qwen2MoeAttentionImpl(const Qwen2MoeConfig& c, size_t layer) : LlamaAttentionImpl(shape_of(c, layer), layer) {}

  static llama::AttentionShape shape_of(const Qwen2MoeConfig& c, size_t layer) {
    llama::AttentionShape shape = llama::attention_shape(c);
    shape.qkv_bias = c.qkv_bias;
    shape.window = c.window(layer);
    return shape;
  }
};
TORCH_MODULE(Qwen2MoeAttention);

struct Qwen2MoeModel
    : llama::LlamaModelOf<Qwen2MoePreTrainedModel, MoeDecoderLayer<Qwen2MoeAttention, Qwen2MoeSparseMoeBlock>> {
  using LlamaModelOf::LlamaModelOf;
};

struct Qwen2MoeForCausalLM : MoeCausalLMHead<Qwen2MoePreTrainedModel, Qwen2MoeModel> {
  using MoeCausalLMHead::MoeCausalLMHead;
};
struct Qwen2MoeForSequenceClassification : SequenceClassificationHead<Qwen2MoePreTrainedModel, Qwen2MoeModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct Qwen2MoeForTokenClassification : TokenClassificationHead<Qwen2MoePreTrainedModel, Qwen2MoeModel> {
  using TokenClassificationHead::TokenClassificationHead;
};
struct Qwen2MoeForQuestionAnswering : QuestionAnsweringHead<Qwen2MoePreTrainedModel, Qwen2MoeModel> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

static GgufMapping gguf_mapping() {
  GgufMapping mapping = llama::gguf_mapping("qwen2moe", "qwen2_moe");
  std::erase_if(mapping.keys, [](const auto& key) { return key.config == "head_dim"; });
  std::erase_if(mapping.tensors, [](const auto& tensor) { return tensor.gguf.find("ffn_") != tensor.gguf.npos; });
  for (auto& tensor : mapping.tensors) tensor.transform = GgufTransform::none;
  mapping.keys.push_back({"expert_count", "num_experts"});
  mapping.keys.push_back({"expert_used_count", "num_experts_per_tok"});
  for (const GgufMapping::Tensor& tensor : std::initializer_list<GgufMapping::Tensor>{
           {"blk.{n}.ffn_norm", "model.layers.{n}.post_attention_layernorm"},
           {"blk.{n}.ffn_gate_inp", "model.layers.{n}.mlp.gate"},
           {"blk.{n}.ffn_gate_exps", "model.layers.{n}.mlp.experts.{e}.gate_proj", GgufTransform::split_experts},
           {"blk.{n}.ffn_up_exps", "model.layers.{n}.mlp.experts.{e}.up_proj", GgufTransform::split_experts},
           {"blk.{n}.ffn_down_exps", "model.layers.{n}.mlp.experts.{e}.down_proj", GgufTransform::split_experts},
           {"blk.{n}.ffn_gate_inp_shexp", "model.layers.{n}.mlp.shared_expert_gate", GgufTransform::insert_dim0},
           {"blk.{n}.ffn_gate_shexp", "model.layers.{n}.mlp.shared_expert.gate_proj"},
           {"blk.{n}.ffn_up_shexp", "model.layers.{n}.mlp.shared_expert.up_proj"},
           {"blk.{n}.ffn_down_shexp", "model.layers.{n}.mlp.shared_expert.down_proj"}}) {
    mapping.tensors.push_back(tensor);
  }
  return mapping;
}

BACKPLANE_PLUGIN(qwen2_moe, plugin) {
  plugin.config<Qwen2MoeConfig>();
  plugin.tokenizer("Qwen2Tokenizer", "Qwen2TokenizerFast");
  plugin.gguf(gguf_mapping());
  plugin.model<Qwen2MoeModel>(Auto::Model);
  plugin.model<Qwen2MoeForCausalLM>(Auto::ForCausalLM);
  plugin.model<Qwen2MoeForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<Qwen2MoeForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<Qwen2MoeForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::qwen2_moe
