// ColQwen2: Faysse et al. 2024, https://arxiv.org/abs/2407.01449
// ColPali over Qwen2-VL, whose pages come padded to one length. Reference: transformers,
// models/colqwen2/modeling_colqwen2.py

#include <backplane/model/composite.h>
#include <backplane/model/decoder.h>
#include <backplane/nn/multimodal.h>

#include "configuration_colqwen2.h"

namespace backplane::colqwen2 {

struct ColQwen2ForRetrieval : PreTrainedModel {
  using Config = ColQwen2Config;

  std::shared_ptr<PreTrainedModel> vlm;
  nn::Linear embedding_proj_layer;

  explicit ColQwen2ForRetrieval(const ColQwen2Config& c)
      : PreTrainedModel(c),
        vlm(register_module("vlm", make_model(Auto::ForImageTextToText, *c.vlm_config))),
        embedding_proj_layer(register_module(
            "embedding_proj_layer",
            nn::Linear(int_field(*c.vlm_config->part("text_config"), "hidden_size"), c.embedding_dim))) {}

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
  nn::Embedding get_input_embeddings() override { return vlm->get_input_embeddings(); }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kDecoderArguments, "labels", "pixel_values", "image_grid_thw");
    return kNames;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    ModelInputs call = for_part(inputs, vlm->arguments(), config());
    for (const char* name : {"labels", "position_ids"}) call.set(name, {});
    const Tensor pixels = inputs.tensor("pixel_values"), grids = inputs.tensor("image_grid_thw");
    if (pixels.defined() && pixels.dim() == 3 && grids.defined()) {  // [pages, padded patches, pixels]
      std::vector<Tensor> pages;
      for (int64_t i = 0; i < std::min(pixels.size(0), grids.size(0)); ++i) {
        pages.push_back(pixels[i].slice(0, 0, grids[i][1].item<int64_t>() * grids[i][2].item<int64_t>()));
      }
      call.set("pixel_values", at::cat(pages));
    }
    call.set("output_hidden_states", true);
    const auto states = vlm->forward(call);
    Tensor embeddings = unit_length(embedding_proj_layer(states.tuple("hidden_states").back()));
    if (const Tensor mask = inputs.tensor("attention_mask"); mask.defined())
      embeddings = embeddings * mask.unsqueeze(-1);
    ModelOutput output;
    output.set("embeddings", embeddings);
    output.set("past_key_values", states.cache("past_key_values"));
    if (inputs.flag("output_hidden_states", config().output_hidden_states)) {
      output.set("hidden_states", states.tuple("hidden_states"));
    }
    output.set("attentions", states.tuple("attentions"));
    return output;
  }
};

BACKPLANE_PLUGIN(colqwen2, plugin) {
  plugin.config<ColQwen2Config>();
  plugin.tokenizer("Qwen2Tokenizer", "Qwen2TokenizerFast");
  plugin.preprocessor(Auto::Processor, "ColQwen2Processor");
  plugin.model<ColQwen2ForRetrieval>(Auto::ForPreTraining);
}

}  // namespace backplane::colqwen2
