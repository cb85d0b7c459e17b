// Aria: Li et al. 2024, https://arxiv.org/abs/2410.05993
// Idefics3's tower, learned queries that attend to the patches, and LLaMA with experts, some of them shared by all
// tokens. Reference: transformers, models/aria/modeling_aria.py

#include "../llama/modeling_llama.h"
#include "../llava/modeling_llava.h"
#include "../siglip/modeling_siglip.h"
#include "configuration_aria.h"

namespace backplane::aria {

// One matrix for each expert: weight [experts, in, out].
struct AriaGroupedExpertsGemmImpl : nn::Module {
  Tensor weight;

  AriaGroupedExpertsGemmImpl(int64_t in, int64_t out, int64_t experts)
      : weight(register_parameter("weight", nn::uninitialised({experts, in, out}))) {}
};
TORCH_MODULE(AriaGroupedExpertsGemm);

struct AriaGroupedExpertsMLPImpl : nn::Module {
  AriaGroupedExpertsGemm fc1, fc2;

  explicit AriaGroupedExpertsMLPImpl(const AriaTextConfig& c)
      : fc1(register_module("fc1", AriaGroupedExpertsGemm(c.hidden_size, 2 * c.intermediate_size, c.moe_num_experts))),
        fc2(register_module("fc2", AriaGroupedExpertsGemm(c.intermediate_size, c.hidden_size, c.moe_num_experts))) {}

  // x [tokens, hidden] of one expert
  Tensor forward(const Tensor& x, int64_t expert) {
    const auto parts = at::matmul(x, fc1->weight[expert]).chunk(2, -1);
    return at::matmul(at::silu(parts[0]) * parts[1], fc2->weight[expert]);
  }
};
TORCH_MODULE(AriaGroupedExpertsMLP);

struct AriaSharedExpertsMLPImpl : nn::GatedMlpImpl {
  explicit AriaSharedExpertsMLPImpl(const AriaTextConfig& c)
      : GatedMlpImpl(c.hidden_size, c.intermediate_size * c.moe_num_shared_experts, c.hidden_act, c.mlp_bias) {}
};
TORCH_MODULE(AriaSharedExpertsMLP);

// The weights of a token's experts are the softmax over those alone.
struct AriaTextMoELayerImpl : nn::Module {
  int64_t topk;
  nn::Linear router;
  AriaGroupedExpertsMLP experts;
  AriaSharedExpertsMLP shared_experts;

  explicit AriaTextMoELayerImpl(const AriaTextConfig& c)
      : topk(c.moe_topk),
        router(register_module("router", nn::Linear(c.hidden_size, c.moe_num_experts, false))),
        experts(register_module("experts", AriaGroupedExpertsMLP(c))),
        shared_experts(register_module("shared_experts", AriaSharedExpertsMLP(c))) {}

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x) {
    const Tensor rows = x.reshape({-1, x.size(-1)});
    const auto [logits, chosen] = router(rows).topk(topk, 1);
    const Tensor scores = at::softmax(logits, -1), flat = chosen.flatten();
    Tensor made = at::empty({flat.size(0), x.size(-1)}, x.options());
    for (int64_t expert = 0; expert < experts->fc1->weight.size(0); ++expert) {
      const Tensor places = (flat == expert).nonzero().squeeze(1);
      if (places.numel() == 0) continue;
      made.index_copy_(0, places, experts(rows.index_select(0, places.div(topk, "floor")), expert));
    }
    const Tensor y = (made.view({-1, topk, x.size(-1)}) * scores.unsqueeze(-1)).sum(1).view(x.sizes());
    return y + shared_experts(x);
  }
};
TORCH_MODULE(AriaTextMoELayer);

struct AriaTextPreTrainedModel : PreTrainedModel {
  using Config = AriaTextConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct AriaTextModel
    : llama::LlamaModelOf<AriaTextPreTrainedModel, llama::LlamaDecoderLayer<llama::LlamaAttention, AriaTextMoELayer>> {
  using LlamaModelOf::LlamaModelOf;
};

struct AriaTextForCausalLM : CausalLMHead<AriaTextPreTrainedModel, AriaTextModel> {
  using CausalLMHead::CausalLMHead;
};

struct AriaProjectorMLPImpl : nn::Module {
  nn::Linear linear_in, linear_out;

  AriaProjectorMLPImpl(int64_t in, int64_t inner, int64_t out)
      : linear_in(register_module("linear_in", nn::Linear(in, inner, false))),
        linear_out(register_module("linear_out", nn::Linear(inner, out, false))) {}

  Tensor forward(const Tensor& x) { return linear_out(at::gelu(linear_in(x), "tanh")); }
};
TORCH_MODULE(AriaProjectorMLP);

struct AriaCrossAttentionImpl : nn::Module {
  nn::Linear q_proj, k_proj, v_proj, linear;
  siglip::MultiheadAttention multihead_attn;
  nn::LayerNorm layer_norm, layer_norm_kv;

  AriaCrossAttentionImpl(int64_t hidden, int64_t heads)
      : q_proj(register_module("q_proj", nn::Linear(hidden, hidden, false))),
        k_proj(register_module("k_proj", nn::Linear(hidden, hidden, false))),
        v_proj(register_module("v_proj", nn::Linear(hidden, hidden, false))),
        linear(register_module("linear", nn::Linear(hidden, hidden))),
        multihead_attn(
            register_module("multihead_attn",
                            siglip::MultiheadAttention(hidden, clip::CLIPAttentionImpl::checked_heads(hidden, heads)))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(hidden))),
        layer_norm_kv(register_module("layer_norm_kv", nn::LayerNorm(hidden))) {}

  Tensor forward(const Tensor& patches, const Tensor& queries, const Tensor& mask) {
    const Tensor seen = layer_norm_kv(patches);
    return linear(multihead_attn(q_proj(layer_norm(queries)), k_proj(seen), v_proj(seen), mask));
  }
};
TORCH_MODULE(AriaCrossAttention);

// Learned queries, as many as the number of patches calls for.
struct AriaProjectorImpl : nn::Module {
  const AriaConfig& c;
  Tensor query;
  AriaCrossAttention cross_attn;
  nn::LayerNorm layer_norm;
  AriaProjectorMLP feed_forward;

  explicit AriaProjectorImpl(const AriaConfig& c) : AriaProjectorImpl(c, int_field(*c.vision_config, "hidden_size")) {}
  AriaProjectorImpl(const AriaConfig& config, int64_t in)
      : c(config),
        query(register_parameter("query", nn::uninitialised({c.max_value_projector_patch_to_query_dict, in}))),
        cross_attn(
            register_module("cross_attn", AriaCrossAttention(in, int_field(*c.vision_config, "num_attention_heads")))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(in))),
        feed_forward(register_module("feed_forward",
                                     AriaProjectorMLP(in, c.text_config.hidden_size, c.text_config.hidden_size))) {}

  // x [images, patches, dim], mask [images, patches] true where a patch counts, or undefined -> [images, tokens,
  // hidden]
  Tensor forward(const Tensor& x, const Tensor& mask) {
    const Value* tokens = c.projector_patch_to_query_dict.find(std::to_string(x.size(1)));
    if (!tokens) {
      throw Error(ErrorCode::invalid_value,
                  concat("an image has ", x.size(1), " patches, which projector_patch_to_query_dict does not list: ",
                         c.projector_patch_to_query_dict.to_string()));
    }
    const Tensor queries = query.slice(0, 0, tokens->as_int()).unsqueeze(0).expand({x.size(0), -1, -1});
    const Tensor additive = mask.defined() ? padding_mask(mask.to(at::kLong), x.scalar_type()) : Tensor();
    return feed_forward(layer_norm(cross_attn(x, queries, additive)));
  }
};
TORCH_MODULE(AriaProjector);

struct AriaModel : PreTrainedModel {
  using Config = AriaConfig;
  static constexpr std::array<std::string_view, 2> kPromptOnly = {"pixel_values", "pixel_mask"};

  const AriaConfig& c;
  int64_t patch_size;
  std::shared_ptr<PreTrainedModel> vision_tower;
  AriaProjector multi_modal_projector;
  std::shared_ptr<AriaTextModel> language_model;

  explicit AriaModel(const AriaConfig& config)
      : PreTrainedModel(config),
        c(config),
        patch_size(std::max<int64_t>(int_field(*c.vision_config, "patch_size"), 1)),
        vision_tower(register_module("vision_tower", make_model(Auto::Model, *c.vision_config))),
        multi_modal_projector(register_module("multi_modal_projector", AriaProjector(c))),
        language_model(register_module("language_model", std::make_shared<AriaTextModel>(c.text_config))) {}

  CheckpointRules checkpoint_rules() const override {
    return {.renames = {{R"(language_model\.model)", "language_model"}}};
  }
  nn::Embedding get_input_embeddings() override { return language_model->get_input_embeddings(); }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kDecoderArguments, "pixel_values", "pixel_mask");
    return kNames;
  }

  // pixel_mask [images, height, width] -> [images, tokens, hidden]
  Tensor image_features(const Tensor& pixel_values, const Tensor& pixel_mask) {
    ModelInputs call = {{"pixel_values", pixel_values}, {"output_hidden_states", true}};
    Tensor mask;
    if (pixel_mask.defined()) {
      mask = pixel_mask.unfold(1, patch_size, patch_size).unfold(2, patch_size, patch_size).sum({-1, -2}) > 0;
      call.set("patch_attention_mask", mask);
      mask = mask.flatten(1);
    }
    const auto vision = vision_tower->forward(call);
    return multi_modal_projector(select_features(vision.tuple("hidden_states"), c.vision_feature_layer, "full"), mask);
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Tensor x = llava::embedded(inputs, get_input_embeddings()), features;
    if (const Tensor pixels = inputs.tensor("pixel_values"); pixels.defined() && x.size(1) != 1) {
      features = image_features(pixels, inputs.tensor("pixel_mask"));
      const Tensor where = placeholder_mask(inputs.tensor("input_ids"), x, get_input_embeddings(), c.image_token_index);
      x = scatter_features(x, where, features, "image");
    }
    ModelOutput output = language_model->forward(for_language_model(inputs, *language_model, c, x));
    output.set("image_hidden_states", features);
    return output;
  }
};

struct AriaForConditionalGeneration : ConditionalGeneration<AriaModel> {
  explicit AriaForConditionalGeneration(const AriaConfig& c) : ConditionalGeneration(c, c.text_config) {}
  CheckpointRules checkpoint_rules() const override { return {.renames = llava::kLanguageModelOnTop}; }
};

BACKPLANE_PLUGIN(aria, plugin) {
  plugin.config<AriaTextConfig>();
  plugin.model<AriaTextModel>(Auto::Model);
  plugin.model<AriaTextForCausalLM>(Auto::ForCausalLM);
  plugin.config<AriaConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "AriaImageProcessor");
  plugin.preprocessor(Auto::Processor, "AriaProcessor");
  plugin.model<AriaModel>(Auto::Model);
  plugin.model<AriaForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::aria
