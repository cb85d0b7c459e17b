// ELECTRA: Clark et al. 2020, https://arxiv.org/abs/2003.10555
// ELECTRA is BERT except: embeddings may be smaller than the states, with a map between; there is no pooler; a
// generator fills in words and a discriminator tells which of them were replaced. Reference: transformers,
// models/electra/modeling_electra.py

#include <backplane/nn/sequence_summary.h>

#include "../bert/modeling_bert.h"
#include "configuration_electra.h"

namespace backplane::electra {

struct ElectraEmbeddingsImpl : bert::BertEmbeddingsImpl {
  explicit ElectraEmbeddingsImpl(const ElectraConfig& c) : BertEmbeddingsImpl(c, c.embedding_size) {}
};
TORCH_MODULE(ElectraEmbeddings);

struct ElectraPreTrainedModel : PreTrainedModel {
  using Config = ElectraConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "electra"}; }
};

struct ElectraModel : bert::BertModelOf<ElectraPreTrainedModel, ElectraEmbeddings, bert::BertEncoder<bert::BertLayer>> {
  nn::Linear embeddings_project{nullptr};

  explicit ElectraModel(const ElectraConfig& c) : BertModelOf(c, false) {
    if (c.embedding_size != c.hidden_size)
      embeddings_project = register_module("embeddings_project", nn::Linear(c.embedding_size, c.hidden_size));
  }

  Tensor embedded(const Tensor& x) override { return embeddings_project ? embeddings_project(x) : x; }
};

// Which words were replaced: one logit a token.
struct ElectraDiscriminatorPredictionsImpl : nn::Module {
  nn::Linear dense, dense_prediction;
  Activation act;

  explicit ElectraDiscriminatorPredictionsImpl(const ElectraConfig& c)
      : dense(register_module("dense", nn::Linear(c.hidden_size, c.hidden_size))),
        dense_prediction(register_module("dense_prediction", nn::Linear(c.hidden_size, 1))),
        act(activation(c.hidden_act)) {}

  // x [batch, seq, hidden] -> [batch, seq]
  Tensor forward(const Tensor& x) { return dense_prediction(act(dense(x))).squeeze(-1); }
};
TORCH_MODULE(ElectraDiscriminatorPredictions);

struct ElectraForPreTraining : ModelWithBase<ElectraPreTrainedModel, ElectraModel> {
  ElectraDiscriminatorPredictions discriminator_predictions;

  explicit ElectraForPreTraining(const ElectraConfig& c)
      : ModelWithBase(c, {"labels"}),
        discriminator_predictions(register_module("discriminator_predictions", ElectraDiscriminatorPredictions(c))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto out = run_base(inputs);
    const Tensor logits = discriminator_predictions(out["last_hidden_state"]), labels = inputs.tensor("labels");
    if (!labels.defined()) return head_output({}, logits, out);
    const Tensor attention_mask = inputs.tensor("attention_mask"), goal = labels.to(logits.scalar_type());
    if (!attention_mask.defined()) return head_output(at::binary_cross_entropy_with_logits(logits, goal), logits, out);
    const Tensor active = attention_mask.view({-1, logits.size(1)}) == 1;
    return head_output(at::binary_cross_entropy_with_logits(logits.masked_select(active), goal.masked_select(active)),
                       logits, out);
  }
};

struct ElectraGeneratorPredictionsImpl : nn::Module {
  nn::Linear dense;
  nn::LayerNorm LayerNorm;

  explicit ElectraGeneratorPredictionsImpl(const ElectraConfig& c)
      : dense(register_module("dense", nn::Linear(c.hidden_size, c.embedding_size))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.embedding_size, c.layer_norm_eps))) {}

  Tensor forward(const Tensor& x) { return LayerNorm(at::gelu(dense(x))); }
};
TORCH_MODULE(ElectraGeneratorPredictions);

struct ElectraGenerator : ModelWithBase<ElectraPreTrainedModel, ElectraModel> {
  ElectraGeneratorPredictions generator_predictions;
  nn::Linear generator_lm_head;

  explicit ElectraGenerator(const ElectraConfig& c)
      : ModelWithBase(c, {"labels"}),
        generator_predictions(register_module("generator_predictions", ElectraGeneratorPredictions(c))),
        generator_lm_head(register_module("generator_lm_head", nn::Linear(c.embedding_size, c.vocab_size))) {}

  nn::Embedding get_input_embeddings() override { return base->get_input_embeddings(); }
  nn::Linear get_output_embeddings() override { return generator_lm_head; }
  void tie_weights() override {
    if (config().tie_word_embeddings) generator_lm_head->tie_weight(get_input_embeddings()->weight);
  }
  Tensor words(const ModelOutput& out) { return generator_lm_head(generator_predictions(out["last_hidden_state"])); }
};

struct ElectraForMaskedLM : ElectraGenerator {
  using ElectraGenerator::ElectraGenerator;

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto out = run_base(inputs);
    const Tensor logits = words(out), labels = inputs.tensor("labels");
    return head_output(labels.defined() ? cross_entropy(logits, labels) : Tensor(), logits, out);
  }
};

struct ElectraForCausalLM : ElectraGenerator {
  using ElectraGenerator::ElectraGenerator;
  bool can_generate() const override { return true; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor labels = inputs.tensor("labels");
    ModelInputs base_inputs = inputs.select(base->arguments());
    if (labels.defined()) base_inputs.set("use_cache", false);
    const auto out = base->forward(base_inputs);
    const Tensor logits = words(out);
    return head_output(labels.defined() ? causal_lm_loss(logits, labels) : Tensor(), logits, out);
  }
};

struct ElectraClassificationHeadImpl : nn::Module {
  nn::Linear dense, out_proj;
  nn::Dropout dropout;

  explicit ElectraClassificationHeadImpl(const ElectraConfig& c)
      : dense(register_module("dense", nn::Linear(c.hidden_size, c.hidden_size))),
        out_proj(register_module("out_proj", nn::Linear(c.hidden_size, c.num_labels()))),
        dropout(register_module("dropout", nn::Dropout(classifier_dropout(c)))) {}

  // x [batch, seq, hidden] -> [batch, labels], from the first token
  Tensor forward(const Tensor& x) { return out_proj(dropout(at::gelu(dense(dropout(x.select(1, 0).contiguous()))))); }
};
TORCH_MODULE(ElectraClassificationHead);

struct ElectraForSequenceClassification
    : SequenceLabelHead<ElectraPreTrainedModel, ElectraModel, ElectraClassificationHead> {
  using SequenceLabelHead::SequenceLabelHead;
};
struct ElectraForTokenClassification : TokenLabelHead<ElectraPreTrainedModel, ElectraModel> {
  using TokenLabelHead::TokenLabelHead;
};
struct ElectraForQuestionAnswering : QuestionAnsweringHead<ElectraPreTrainedModel, ElectraModel> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

struct ElectraForMultipleChoice : ChoiceHead<ElectraPreTrainedModel, ElectraModel> {
  nn::SequenceSummary sequence_summary;

  explicit ElectraForMultipleChoice(const ElectraConfig& c)
      : ChoiceHead(c, 0),
        sequence_summary(
            register_module("sequence_summary", nn::SequenceSummary(nn::summary_options(c, c.hidden_size)))) {}

  Tensor summary(const ModelOutput& out) override { return sequence_summary(out["last_hidden_state"]); }
};

BACKPLANE_PLUGIN(electra, plugin) {
  plugin.config<ElectraConfig>();
  plugin.tokenizer("ElectraTokenizer", "ElectraTokenizerFast");
  plugin.model<ElectraModel>(Auto::Model);
  plugin.model<ElectraModel>(Auto::ForTextEncoding);
  plugin.model<ElectraForPreTraining>(Auto::ForPreTraining);
  plugin.model<ElectraForMaskedLM>(Auto::WithLMHead);
  plugin.model<ElectraForCausalLM>(Auto::ForCausalLM);
  plugin.model<ElectraForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<ElectraForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<ElectraForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<ElectraForTokenClassification>(Auto::ForTokenClassification);
  plugin.model<ElectraForMultipleChoice>(Auto::ForMultipleChoice);
}

}  // namespace backplane::electra
