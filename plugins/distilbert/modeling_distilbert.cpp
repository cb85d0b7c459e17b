// DistilBERT: Sanh et al. 2019, https://arxiv.org/abs/1910.01108
// BERT's post-norm layers under other names, without token types and pooler.
// Reference: transformers, models/distilbert/modeling_distilbert.py

#include <backplane/model/encoder_heads.h>
#include <backplane/model/transformer.h>

#include "configuration_distilbert.h"

namespace backplane::distilbert {

constexpr double kEps = 1e-12;

struct EmbeddingsImpl : nn::Module {
  nn::Embedding word_embeddings, position_embeddings;
  nn::LayerNorm LayerNorm;
  nn::Dropout dropout;

  explicit EmbeddingsImpl(const DistilBertConfig& c)
      : word_embeddings(register_module("word_embeddings", nn::Embedding(c.vocab_size, c.dim, c.pad_token_id))),
        position_embeddings(register_module("position_embeddings", nn::Embedding(c.max_position_embeddings, c.dim))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.dim, kEps))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  // -> [batch, seq, dim]
  Tensor forward(const ModelInputs& inputs, int64_t seq) {
    const Tensor ids = inputs.tensor("input_ids");
    const Tensor x = ids.defined() ? word_embeddings(ids) : inputs["inputs_embeds"];
    return dropout(LayerNorm(x + position_embeddings(at::arange(seq, at::kLong).unsqueeze(0))));
  }
};
TORCH_MODULE(Embeddings);

struct MultiHeadSelfAttentionImpl : nn::Module {
  int64_t heads;
  size_t layer;
  double dropout;
  nn::Linear q_lin, k_lin, v_lin, out_lin;

  MultiHeadSelfAttentionImpl(const DistilBertConfig& c, size_t layer)
      : heads(c.n_heads),
        layer(layer),
        dropout(c.attention_dropout),
        q_lin(register_module("q_lin", nn::Linear(c.dim, c.dim))),
        k_lin(register_module("k_lin", nn::Linear(c.dim, c.dim))),
        v_lin(register_module("v_lin", nn::Linear(c.dim, c.dim))),
        out_lin(register_module("out_lin", nn::Linear(c.dim, c.dim))) {}

  // x [batch, seq, dim] -> [batch, seq, dim]
  Tensor forward(const Tensor& x, TransformerCall& call) {
    return out_lin(merge_heads(call.attend(layer, split_heads(q_lin(x), heads), split_heads(k_lin(x), heads),
                                           split_heads(v_lin(x), heads), {.dropout = is_training() ? dropout : 0})));
  }
};
TORCH_MODULE(MultiHeadSelfAttention);

struct FFNImpl : nn::Module {
  nn::Linear lin1, lin2;
  Activation act;
  nn::Dropout dropout;

  explicit FFNImpl(const DistilBertConfig& c)
      : lin1(register_module("lin1", nn::Linear(c.dim, c.hidden_dim))),
        lin2(register_module("lin2", nn::Linear(c.hidden_dim, c.dim))),
        act(activation(c.activation)),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  Tensor forward(const Tensor& x) { return dropout(lin2(act(lin1(x)))); }
};
TORCH_MODULE(FFN);

struct TransformerBlockImpl : nn::Module {
  MultiHeadSelfAttention attention;
  nn::LayerNorm sa_layer_norm, output_layer_norm;
  FFN ffn;

  TransformerBlockImpl(const DistilBertConfig& c, size_t layer)
      : attention(register_module("attention", MultiHeadSelfAttention(c, layer))),
        sa_layer_norm(register_module("sa_layer_norm", nn::LayerNorm(c.dim, kEps))),
        output_layer_norm(register_module("output_layer_norm", nn::LayerNorm(c.dim, kEps))),
        ffn(register_module("ffn", FFN(c))) {}

  Tensor forward(Tensor x, TransformerCall& call) {
    x = sa_layer_norm(attention(x, call) + x);
    return output_layer_norm(ffn(x) + x);
  }
};
TORCH_MODULE(TransformerBlock);

struct TransformerImpl : nn::Module {
  nn::Layers<TransformerBlock> layer;

  explicit TransformerImpl(const DistilBertConfig& c)
      : layer(register_module("layer", nn::Layers<TransformerBlock>(c.n_layers, [&](int64_t i) {
                                return TransformerBlock(c, static_cast<size_t>(i));
                              }))) {}

  Tensor forward(Tensor x, TransformerCall& call) {
    for (auto& block : *layer) {
      call.see(x);
      x = block(x, call);
    }
    call.see(x);
    return x;
  }
};
TORCH_MODULE(Transformer);

struct DistilBertPreTrainedModel : PreTrainedModel {
  using Config = DistilBertConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "distilbert"}; }
};

constexpr std::array<std::string_view, 6> kArguments = {"input_ids",     "attention_mask",       "head_mask",
                                                        "inputs_embeds", "output_hidden_states", "output_attentions"};

struct DistilBertModel : DistilBertPreTrainedModel {
  const DistilBertConfig& c;
  Embeddings embeddings;
  Transformer transformer;

  explicit DistilBertModel(const DistilBertConfig& config)
      : DistilBertPreTrainedModel(config),
        c(config),
        embeddings(register_module("embeddings", Embeddings(c))),
        transformer(register_module("transformer", Transformer(c))) {}

  nn::Embedding get_input_embeddings() override { return embeddings->word_embeddings; }
  std::span<const std::string_view> arguments() const override { return kArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    TransformerCall call(inputs, c, {.layers = c.n_layers, .heads = c.n_heads});
    Tensor x = embeddings(inputs, call.seq);
    call.start(x);
    x = transformer(x, call);
    return call.finish(x);
  }
};

struct DistilBertForMaskedLM : ModelWithBase<DistilBertPreTrainedModel, DistilBertModel> {
  nn::Linear vocab_transform, vocab_projector;
  nn::LayerNorm vocab_layer_norm;
  Activation act;

  explicit DistilBertForMaskedLM(const DistilBertConfig& c)
      : ModelWithBase(c, {"labels"}),
        vocab_transform(register_module("vocab_transform", nn::Linear(c.dim, c.dim))),
        vocab_projector(register_module("vocab_projector", nn::Linear(c.dim, c.vocab_size))),
        vocab_layer_norm(register_module("vocab_layer_norm", nn::LayerNorm(c.dim, kEps))),
        act(activation(c.activation)) {}

  nn::Embedding get_input_embeddings() override { return base->get_input_embeddings(); }
  nn::Linear get_output_embeddings() override { return vocab_projector; }
  void tie_weights() override {
    if (config().tie_word_embeddings) vocab_projector->tie_weight(get_input_embeddings()->weight);
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto out = run_base(inputs);
    const Tensor logits = vocab_projector(vocab_layer_norm(act(vocab_transform(out["last_hidden_state"])))),
                 labels = inputs.tensor("labels");
    return head_output(labels.defined() ? cross_entropy(logits, labels) : Tensor(), logits, out);
  }
};

// relu of a linear map of the first token: what stands for a sequence, [batch, dim].
static Tensor first_token(nn::Linear& pre_classifier, const ModelOutput& out) {
  return at::relu(pre_classifier(out["last_hidden_state"].select(1, 0).contiguous()));
}

struct DistilBertForSequenceClassification : LinearHead<DistilBertPreTrainedModel, DistilBertModel> {
  nn::Linear pre_classifier;

  explicit DistilBertForSequenceClassification(const DistilBertConfig& c)
      : LinearHead(c, c.num_labels(), c.seq_classif_dropout),
        pre_classifier(register_module("pre_classifier", nn::Linear(c.dim, c.dim))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto out = run_base(inputs);
    const Tensor logits = scores(first_token(pre_classifier, out)), labels = inputs.tensor("labels");
    return head_output(labels.defined() ? classification_loss(logits, labels, config()) : Tensor(), logits, out);
  }
};

struct DistilBertForMultipleChoice : ChoiceHead<DistilBertPreTrainedModel, DistilBertModel> {
  nn::Linear pre_classifier;

  explicit DistilBertForMultipleChoice(const DistilBertConfig& c)
      : ChoiceHead(c, c.seq_classif_dropout),
        pre_classifier(register_module("pre_classifier", nn::Linear(c.dim, c.dim))) {}

  Tensor summary(const ModelOutput& out) override { return first_token(pre_classifier, out); }
};

struct DistilBertForTokenClassification : TokenLabelHead<DistilBertPreTrainedModel, DistilBertModel> {
  explicit DistilBertForTokenClassification(const DistilBertConfig& c) : TokenLabelHead(c, c.dropout) {}
};

struct DistilBertForQuestionAnswering : QuestionAnsweringHead<DistilBertPreTrainedModel, DistilBertModel> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(distilbert, plugin) {
  plugin.config<DistilBertConfig>();
  plugin.tokenizer("DistilBertTokenizer", "DistilBertTokenizerFast");
  plugin.model<DistilBertModel>(Auto::Model);
  plugin.model<DistilBertModel>(Auto::ForTextEncoding);
  plugin.model<DistilBertForMaskedLM>(Auto::ForPreTraining);
  plugin.model<DistilBertForMaskedLM>(Auto::WithLMHead);
  plugin.model<DistilBertForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<DistilBertForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<DistilBertForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<DistilBertForTokenClassification>(Auto::ForTokenClassification);
  plugin.model<DistilBertForMultipleChoice>(Auto::ForMultipleChoice);
}

}  // namespace backplane::distilbert
