// dots.llm1: rednote-hilab 2025, https://arxiv.org/abs/2506.05767
// dots.llm1 is Qwen3 except: from layer first_k_dense_replace on, the MLP is DeepSeek-V3's mixture of experts.
// Reference: transformers, models/dots1/modeling_dots1.py

#include "../deepseek_v3/modeling_deepseek_v3.h"
#include "../qwen3/modeling_qwen3.h"
#include "configuration_dots1.h"

namespace backplane::dots1 {

struct Dots1PreTrainedModel : PreTrainedModel {
  using Config = Dots1Config;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct Dots1MoEImpl : deepseek_v3::DeepseekV3MoEImpl {
  explicit Dots1MoEImpl(const Dots1Config& c)
      : DeepseekV3MoEImpl(c, needed(c.n_routed_experts, "n_routed_experts"),
                          needed(c.num_experts_per_tok, "num_experts_per_tok"),
                          needed(c.n_shared_experts, "n_shared_experts")) {}

  static int64_t needed(std::optional<int64_t> value, const char* key) {
    if (!value) throw Error(ErrorCode::bad_config, concat("config.json: layers with experts need ", key));
    return *value;
  }
};
TORCH_MODULE(Dots1MoE);

struct Dots1Model
    : llama::LlamaModelOf<Dots1PreTrainedModel, qwen2_moe::MoeDecoderLayer<qwen3::Qwen3Attention, Dots1MoE>> {
  using LlamaModelOf::LlamaModelOf;
};

struct Dots1ForCausalLM : CausalLMHead<Dots1PreTrainedModel, Dots1Model> {
  using CausalLMHead::CausalLMHead;
};

BACKPLANE_PLUGIN(dots1, plugin) {
  plugin.config<Dots1Config>();
  plugin.model<Dots1Model>(Auto::Model);
  plugin.model<Dots1ForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::dots1
