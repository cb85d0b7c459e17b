// ColPali: Faysse et al. 2024, https://arxiv.org/abs/2407.01449
// A vision-language model whose last states, mapped and normalised, are the many vectors of a page or a query.
// Reference: transformers, models/colpali/modeling_colpali.py

#include <backplane/model/composite.h>
#include <backplane/nn/multimodal.h>

#include "configuration_colpali.h"

namespace backplane::colpali {

struct ColPaliForRetrieval : PreTrainedModel {
  using Config = ColPaliConfig;

  std::shared_ptr<PreTrainedModel> vlm;
  nn::Linear embedding_proj_layer;
  std::vector<std::string_view> names;

  explicit ColPaliForRetrieval(const ColPaliConfig& c)
      : PreTrainedModel(c),
        vlm(register_module("vlm", make_model(Auto::ForImageTextToText, *c.vlm_config))),
        embedding_proj_layer(
            register_module("embedding_proj_layer",
                            nn::Linear(int_field(*c.vlm_config->part("text_config"), "hidden_size"), c.embedding_dim))),
        names(vlm->arguments().begin(), vlm->arguments().end()) {}

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
  nn::Embedding get_input_embeddings() override { return vlm->get_input_embeddings(); }
  std::span<const std::string_view> arguments() const override { return names; }

  ModelOutput compute(const ModelInputs& inputs) override {
    ModelInputs call = for_part(inputs, vlm->arguments(), config());
    call.set("output_hidden_states", true);
    const auto states = vlm->forward(call);
    Tensor embeddings = unit_length(embedding_proj_layer(states.tuple("hidden_states").back()));
    if (const Tensor mask = inputs.tensor("attention_mask"); mask.defined())
      embeddings = embeddings * mask.unsqueeze(-1);
    ModelOutput output;
    output.set("embeddings", embeddings);
    output.set("past_key_values", states.cache("past_key_values"));
    if (inputs.flag("output_hidden_states", false)) output.set("hidden_states", states.tuple("hidden_states"));
    output.set("attentions", states.tuple("attentions"));
    if (inputs.contains("pixel_values")) output.set("image_hidden_states", states.tensor("image_hidden_states"));
    return output;
  }
};

BACKPLANE_PLUGIN(colpali, plugin) {
  plugin.config<ColPaliConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.preprocessor(Auto::Processor, "ColPaliProcessor");
  plugin.model<ColPaliForRetrieval>(Auto::ForPreTraining);
  plugin.model<ColPaliForRetrieval>(AutoClass{"AutoModelForRetrieval"});
}

}  // namespace backplane::colpali
