#pragma once

#include "../bert/modeling_bert.h"
#include "configuration_deberta_v2.h"

// What the DeBERTa models share beside BERT's linear parts.
namespace backplane::deberta_v2 {

inline constexpr std::array<std::string_view, 7> kArguments = {
    "input_ids",     "attention_mask",    "token_type_ids",      "position_ids",
    "inputs_embeds", "output_attentions", "output_hidden_states"};

struct DebertaV2EmbeddingsImpl : nn::Module {
  nn::Embedding word_embeddings, position_embeddings{nullptr}, token_type_embeddings{nullptr};
  nn::Linear embed_proj{nullptr};
  nn::LayerNorm LayerNorm;
  nn::Dropout dropout;

  explicit DebertaV2EmbeddingsImpl(const DebertaV2Config& c)
      : word_embeddings(register_module("word_embeddings", nn::Embedding(c.vocab_size, c.word_size(), c.pad_token_id))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {
    if (c.position_biased_input) {
      position_embeddings =
          register_module("position_embeddings", nn::Embedding(c.max_position_embeddings, c.word_size()));
    }
    if (c.type_vocab_size > 0)
      token_type_embeddings = register_module("token_type_embeddings", nn::Embedding(c.type_vocab_size, c.word_size()));
    if (c.word_size() != c.hidden_size)
      embed_proj = register_module("embed_proj", nn::Linear(c.word_size(), c.hidden_size, false));
  }

  // padding [batch, seq, 1], 1 where a token counts, or undefined -> [batch, seq, hidden]
  Tensor forward(const ModelInputs& inputs, const Tensor& padding) {
    const Tensor ids = inputs.tensor("input_ids");
    Tensor x = ids.defined() ? word_embeddings(ids) : inputs["inputs_embeds"];
    if (position_embeddings) {
      Tensor positions = inputs.tensor("position_ids");
      if (!positions.defined()) positions = at::arange(x.size(1)).unsqueeze(0);
      x = x + position_embeddings(positions);
    }
    if (token_type_embeddings) x = x + token_type_embeddings(bert::token_types(inputs));
    if (embed_proj) x = embed_proj(x);
    x = LayerNorm(x);
    if (padding.defined()) x = x * padding;
    return dropout(x);
  }
};
TORCH_MODULE(DebertaV2Embeddings);

// attention_mask as [batch, seq, 1] of the dtype, 1 where a token counts; undefined where all do. Checks the call's
// inputs.
inline Tensor padding_of(const ModelInputs& inputs, at::ScalarType dtype) {
  if (inputs.contains("input_ids") == inputs.contains("inputs_embeds"))
    throw Error(ErrorCode::invalid_value, "give either input_ids or inputs_embeds");
  const Tensor mask = inputs.tensor("attention_mask");
  if (!mask.defined()) return {};
  if (mask.dim() != 2)
    throw Error(ErrorCode::invalid_value, concat("attention_mask has ", mask.dim(), " dimensions; give [batch, seq]"));
  return mask.all().item<bool>() ? Tensor() : mask.unsqueeze(2).to(dtype);
}

// Additive mask over pairs of which one is padding: [batch, 1, seq, seq], or undefined.
inline Tensor pairs_mask(const Tensor& padding) {
  if (!padding.defined()) return {};
  return lowest_where((padding * padding.transpose(1, 2)).unsqueeze(1) == 0, padding.scalar_type());
}

// The first token through a linear map and an activation.
struct ContextPoolerImpl : nn::Module {
  nn::Linear dense;
  nn::Dropout dropout;
  Activation act;

  template <class Config>
  explicit ContextPoolerImpl(const Config& c)
      : dense(register_module("dense", nn::Linear(*c.pooler_hidden_size, *c.pooler_hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.pooler_dropout))),
        act(activation(c.pooler_hidden_act)) {}

  // x [batch, seq, hidden] -> [batch, hidden]
  Tensor forward(const Tensor& x) { return act(dense(dropout(x.select(1, 0).contiguous()))); }
};
TORCH_MODULE(ContextPooler);

// Without problem_type: regression for one label; labels below 0 are left out; labels [batch, labels] are
// probabilities. `logits` become [batch] for one label.
inline Tensor sequence_loss(Tensor& logits, const Tensor& labels, const PretrainedConfig& config) {
  if (config.problem_type) return classification_loss(logits, labels, config);
  if (config.num_labels() == 1) {
    logits = logits.view({-1}).to(labels.scalar_type());
    return at::mse_loss(logits, labels.view({-1}));
  }
  if (labels.dim() > 1 && labels.size(-1) != 1) return -(at::log_softmax(logits, -1) * labels).sum(-1).mean();
  const Tensor flat = labels.view({-1}).to(at::kLong);
  if (!(flat >= 0).any().item<bool>()) return at::zeros({}, logits.options());
  return cross_entropy(logits, flat.masked_fill(flat < 0, -100));
}

template <class Config>
double cls_dropout(const Config& c) {
  return c.cls_dropout.value_or(c.hidden_dropout_prob);
}

// The head of version 3's pre-training: the words' embeddings are passed in.
struct DebertaV2LMPredictionHeadImpl : nn::Module {
  Tensor bias;
  nn::Linear dense;
  Activation act;
  nn::LayerNorm LayerNorm;

  explicit DebertaV2LMPredictionHeadImpl(const DebertaV2Config& c)
      : bias(register_parameter("bias", at::empty({c.vocab_size}))),
        dense(register_module("dense", nn::Linear(c.hidden_size, c.hidden_size))),
        act(activation(c.hidden_act)),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  // x [batch, seq, hidden], words [vocab, hidden] -> [batch, seq, vocab]
  Tensor forward(const Tensor& x, const Tensor& words) { return at::linear(LayerNorm(act(dense(x))), words, bias); }
};
TORCH_MODULE(DebertaV2LMPredictionHead);

struct DebertaV2OnlyMLMHeadImpl : nn::Module {
  DebertaV2LMPredictionHead lm_head;

  explicit DebertaV2OnlyMLMHeadImpl(const DebertaV2Config& c)
      : lm_head(register_module("lm_head", DebertaV2LMPredictionHead(c))) {}
};
TORCH_MODULE(DebertaV2OnlyMLMHead);

struct LegacyDebertaV2OnlyMLMHeadImpl : nn::Module {
  bert::BertLMPredictionHead predictions;

  explicit LegacyDebertaV2OnlyMLMHeadImpl(const DebertaV2Config& c)
      : predictions(register_module("predictions", bert::BertLMPredictionHead(c, c.word_size()))) {}
};
TORCH_MODULE(LegacyDebertaV2OnlyMLMHead);

// Words; `legacy` says which of two heads.
template <class PreTrained, class Model>
struct MaskedWordsOf : ModelWithBase<PreTrained, Model> {
  LegacyDebertaV2OnlyMLMHead cls{nullptr};
  DebertaV2OnlyMLMHead lm_predictions{nullptr};

  explicit MaskedWordsOf(const typename PreTrained::Config& c) : ModelWithBase<PreTrained, Model>(c, {"labels"}) {
    if (c.legacy) {
      cls = this->register_module("cls", LegacyDebertaV2OnlyMLMHead(c));
    } else {
      lm_predictions = this->register_module("lm_predictions", DebertaV2OnlyMLMHead(c));
    }
  }

  CheckpointRules checkpoint_rules() const override {
    auto rules = ModelWithBase<PreTrained, Model>::checkpoint_rules();
    rules.ignore_unexpected = {"mask_predictions.*"};
    return rules;
  }
  nn::Embedding get_input_embeddings() override { return this->base->get_input_embeddings(); }
  nn::Linear get_output_embeddings() override { return cls ? cls->predictions->decoder : nn::Linear(nullptr); }
  void tie_weights() override {
    if (cls && this->config().tie_word_embeddings)
      cls->predictions->decoder->tie_weight(get_input_embeddings()->weight);
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto out = this->run_base(inputs);
    const Tensor x = out["last_hidden_state"], labels = inputs.tensor("labels");
    const Tensor logits = cls ? cls->predictions(x) : lm_predictions->lm_head(x, get_input_embeddings()->weight);
    return head_output(labels.defined() ? cross_entropy(logits, labels) : Tensor(), logits, out);
  }
};

template <class PreTrained, class Model>
struct SequenceLabelsOf : LinearHead<PreTrained, Model> {
  ContextPooler pooler;

  explicit SequenceLabelsOf(const typename PreTrained::Config& c)
      : LinearHead<PreTrained, Model>(c, c.num_labels(), cls_dropout(c)),
        pooler(this->register_module("pooler", ContextPooler(c))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = this->run_base(inputs);
    Tensor logits = this->scores(pooler(base["last_hidden_state"]));
    const Tensor labels = inputs.tensor("labels");
    const Tensor loss = labels.defined() ? sequence_loss(logits, labels, this->config()) : Tensor();
    return head_output(loss, logits, base);
  }
};

}  // namespace backplane::deberta_v2
