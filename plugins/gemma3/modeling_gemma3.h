#pragma once

#include <backplane/nn/uninitialised.h>

#include "../gemma/modeling_gemma.h"
#include "../llava/modeling_llava.h"
#include "configuration_gemma3.h"

namespace backplane::gemma3 {

// Patches averaged in blocks, normalised, mapped.
struct Gemma3MultiModalProjectorImpl : nn::Module {
  int64_t side, block;
  Tensor mm_input_projection_weight;
  gemma::GemmaRMSNorm mm_soft_emb_norm;

  explicit Gemma3MultiModalProjectorImpl(const Gemma3Config& c)
      : Gemma3MultiModalProjectorImpl(c, int_field(*c.vision_config, "hidden_size")) {}

  Gemma3MultiModalProjectorImpl(const Gemma3Config& c, int64_t in)
      : side(int_field(*c.vision_config, "image_size") /
             std::max<int64_t>(int_field(*c.vision_config, "patch_size"), 1)),
        block(side / std::max<int64_t>(static_cast<int64_t>(std::sqrt(static_cast<double>(c.mm_tokens_per_image))), 1)),
        mm_input_projection_weight(register_parameter(
            "mm_input_projection_weight", nn::uninitialised({in, int_field(*c.text_config, "hidden_size")}))),
        mm_soft_emb_norm(register_module(
            "mm_soft_emb_norm", gemma::GemmaRMSNorm(in, field_value(*c.vision_config, "layer_norm_eps").as_double()))) {
    if (block <= 0) {
      throw Error(ErrorCode::bad_config, concat("config.json: mm_tokens_per_image is ", c.mm_tokens_per_image,
                                                "; an image has ", side, " x ", side, " patches"));
    }
  }

  // x [images, side^2, dim] -> [images, tokens, hidden]
  Tensor forward(const Tensor& x) {
    if (x.size(1) != side * side)
      throw Error(ErrorCode::invalid_value, concat("an image has ", x.size(1), " patches; expected ", side * side));
    const Tensor grid = x.transpose(1, 2).reshape({x.size(0), x.size(2), side, side});
    const Tensor pooled = at::avg_pool2d(grid, {block, block}, {block, block}).flatten(2).transpose(1, 2);
    return at::matmul(mm_soft_emb_norm(pooled), mm_input_projection_weight).to(x.scalar_type());
  }
};
TORCH_MODULE(Gemma3MultiModalProjector);

struct Gemma3Model : PreTrainedModel {
  using Config = Gemma3Config;
  static constexpr std::array<std::string_view, 1> kPromptOnly = {"pixel_values"};

  const Gemma3Config& c;
  int64_t text_vocab, window;
  std::shared_ptr<PreTrainedModel> vision_tower, language_model;
  Gemma3MultiModalProjector multi_modal_projector;

  explicit Gemma3Model(const Gemma3Config& config)
      : PreTrainedModel(config),
        c(config),
        text_vocab(int_field(*c.text_config, "vocab_size")),
        window(int_field(*c.text_config, "sliding_window")),
        vision_tower(register_module("vision_tower", make_model(Auto::Model, *c.vision_config))),
        language_model(register_module("language_model", make_model(Auto::Model, *c.text_config))),
        multi_modal_projector(register_module("multi_modal_projector", Gemma3MultiModalProjector(c))) {}

  CheckpointRules checkpoint_rules() const override {
    return {.renames = {{R"(language_model\.model)", "language_model"}}};
  }
  nn::Embedding get_input_embeddings() override { return language_model->get_input_embeddings(); }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kDecoderArguments, "pixel_values", "token_type_ids", "labels");
    return kNames;
  }

  // The image's placeholder may be no row of the table.
  Tensor embedded(const ModelInputs& inputs) {
    const Tensor ids = inputs.tensor("input_ids");
    if (!ids.defined()) return llava::embedded(inputs, get_input_embeddings());
    ModelInputs known = inputs;
    if (c.image_token_index >= text_vocab) known.set("input_ids", ids.masked_fill(ids == c.image_token_index, 0));
    return gemma::scale_embeddings(llava::embedded(known, get_input_embeddings()));
  }

  // Masks of a prompt [batch, 1, seq, seq], of layers that see all and of those with a window: causal, but the tokens
  // of an image see each other.
  std::vector<Tensor> image_masks(const Tensor& types, const Tensor& attention_mask, at::ScalarType dtype) const {
    const int64_t seq = types.size(1);
    const Tensor distance = at::arange(seq).unsqueeze(1) - at::arange(seq).unsqueeze(0);  // [q, kv]
    const Tensor is_image = types == 1;
    const Tensor together =
        is_image.unsqueeze(2).logical_and(is_image.unsqueeze(1)).logical_and(distance.abs() <= c.mm_tokens_per_image);
    std::vector<Tensor> masks;
    for (const Tensor& causal : {distance >= 0, (distance >= 0).logical_and(distance < window)}) {
      Tensor seen = causal.logical_or(together);
      if (attention_mask.defined()) seen = seen.logical_and((attention_mask != 0).unsqueeze(1));
      masks.push_back(lowest_where(seen.logical_not(), dtype).unsqueeze(1));
    }
    return masks;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Tensor x = embedded(inputs), features;
    if (const Tensor pixels = inputs.tensor("pixel_values"); pixels.defined()) {
      features = multi_modal_projector(vision_tower->forward({{"pixel_values", pixels}})["last_hidden_state"]);
      const Tensor where = placeholder_mask(inputs.tensor("input_ids"), x, get_input_embeddings(), c.image_token_index);
      x = scatter_features(x, where, features, "image");
    }
    ModelInputs call = for_language_model(inputs, *language_model, c, x);
    const KvCachePtr cache = inputs.cache("past_key_values");
    const Tensor types = inputs.tensor("token_type_ids"), mask = inputs.tensor("attention_mask");
    if (types.defined() && x.size(1) > 1 && (!cache || cache->length() == 0) && (!mask.defined() || mask.dim() == 2)) {
      call.set("attention_mask", image_masks(types, mask, x.scalar_type()));
    }
    ModelOutput output = language_model->forward(call);
    output.set("image_hidden_states", features);
    return output;
  }
};

struct Gemma3ForConditionalGeneration : llava::LlavaHead<Gemma3Model> {
  using LlavaHead::LlavaHead;

  // Padding is not learned.
  Tensor loss(const Tensor& logits, const Tensor& labels, const ModelInputs& inputs) const override {
    const Tensor mask = inputs.tensor("attention_mask");
    return causal_lm_loss(logits,
                          mask.defined() ? labels.masked_fill(mask.slice(1, -labels.size(1)) == 0, -100) : labels);
  }
};

}  // namespace backplane::gemma3
