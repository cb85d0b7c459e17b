// ALBERT: Lan et al. 2019, https://arxiv.org/abs/1909.11942
// BERT's post-norm layers, shared: layers of a group are one, run many times. Embeddings are smaller than the states.
// The second task of pre-training is the order of two sentences.
// Reference: transformers, models/albert/modeling_albert.py

#include <backplane/model/encoder_heads.h>
#include <backplane/model/transformer.h>

#include "configuration_albert.h"

namespace backplane::albert {

struct AlbertEmbeddingsImpl : nn::Module {
  bool absolute;
  nn::Embedding word_embeddings, position_embeddings, token_type_embeddings;
  nn::LayerNorm LayerNorm;
  nn::Dropout dropout;

  explicit AlbertEmbeddingsImpl(const AlbertConfig& c)
      : absolute(c.position_embedding_type == "absolute"),
        word_embeddings(
            register_module("word_embeddings", nn::Embedding(c.vocab_size, c.embedding_size, c.pad_token_id))),
        position_embeddings(
            register_module("position_embeddings", nn::Embedding(c.max_position_embeddings, c.embedding_size))),
        token_type_embeddings(
            register_module("token_type_embeddings", nn::Embedding(c.type_vocab_size, c.embedding_size))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.embedding_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  // -> [batch, seq, embedding_size]
  Tensor forward(const ModelInputs& inputs, int64_t seq) {
    const Tensor ids = inputs.tensor("input_ids");
    Tensor types = inputs.tensor("token_type_ids"), positions = inputs.tensor("position_ids");
    if (!types.defined()) types = at::zeros({1, 1}, at::kLong);
    if (!positions.defined()) positions = at::arange(seq, at::kLong).unsqueeze(0);
    Tensor x = (ids.defined() ? word_embeddings(ids) : inputs["inputs_embeds"]) + token_type_embeddings(types);
    if (absolute) x = x + position_embeddings(positions);
    return dropout(LayerNorm(x));
  }
};
TORCH_MODULE(AlbertEmbeddings);

struct AlbertAttentionImpl : nn::Module {
  int64_t heads, max_positions;
  bool by_query, by_key;
  double dropout;
  nn::Linear query, key, value, dense;
  nn::LayerNorm LayerNorm;
  nn::Dropout output_dropout;
  nn::Embedding distance_embedding{nullptr};

  explicit AlbertAttentionImpl(const AlbertConfig& c)
      : heads(c.num_attention_heads),
        max_positions(c.max_position_embeddings),
        by_query(c.position_embedding_type == "relative_key_query"),
        by_key(by_query || c.position_embedding_type == "relative_key"),
        dropout(c.attention_probs_dropout_prob),
        query(register_module("query", nn::Linear(c.hidden_size, c.hidden_size))),
        key(register_module("key", nn::Linear(c.hidden_size, c.hidden_size))),
        value(register_module("value", nn::Linear(c.hidden_size, c.hidden_size))),
        dense(register_module("dense", nn::Linear(c.hidden_size, c.hidden_size))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        output_dropout(register_module("output_dropout", nn::Dropout(c.hidden_dropout_prob))) {
    if (by_key) {
      distance_embedding =
          register_module("distance_embedding", nn::Embedding(2 * max_positions - 1, c.hidden_size / heads));
    }
  }

  // `layer`: which row of the head mask counts. x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, size_t layer, TransformerCall& call) {
    const Tensor q = split_heads(query(x), heads), k = split_heads(key(x), heads), v = split_heads(value(x), heads);
    AttentionOptions options{.dropout = is_training() ? dropout : 0};
    if (by_key) options.mask = relative_bias(q, k);
    return LayerNorm(x + output_dropout(dense(merge_heads(call.attend(layer, q, k, v, options)))));
  }

  // What distances add to the scores; unlike BERT's they are not scaled. [batch, heads, seq, seq]
  Tensor relative_bias(const Tensor& q, const Tensor& k) {
    const Tensor ids = at::arange(q.size(2), at::kLong);
    const Tensor positions = distance_embedding(ids.unsqueeze(1) - ids.unsqueeze(0) + max_positions - 1);
    const Tensor bias = at::einsum("bhld,lrd->bhlr", {q, positions});
    return by_query ? bias + at::einsum("bhrd,lrd->bhlr", {k, positions}) : bias;
  }
};
TORCH_MODULE(AlbertAttention);

struct AlbertLayerImpl : nn::Module {
  AlbertAttention attention;
  nn::Linear ffn, ffn_output;
  nn::LayerNorm full_layer_layer_norm;
  Activation act;

  explicit AlbertLayerImpl(const AlbertConfig& c)
      : attention(register_module("attention", AlbertAttention(c))),
        ffn(register_module("ffn", nn::Linear(c.hidden_size, c.intermediate_size))),
        ffn_output(register_module("ffn_output", nn::Linear(c.intermediate_size, c.hidden_size))),
        full_layer_layer_norm(register_module("full_layer_layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        act(activation(c.hidden_act)) {}

  Tensor forward(Tensor x, size_t layer, TransformerCall& call) {
    x = attention(x, layer, call);
    return full_layer_layer_norm(ffn_output(act(ffn(x))) + x);
  }
};
TORCH_MODULE(AlbertLayer);

struct AlbertLayerGroupImpl : nn::Module {
  nn::Layers<AlbertLayer> albert_layers;

  explicit AlbertLayerGroupImpl(const AlbertConfig& c)
      : albert_layers(register_module(
            "albert_layers", nn::Layers<AlbertLayer>(c.inner_group_num, [&](int64_t) { return AlbertLayer(c); }))) {}

  // `first`: the row of the head mask for the first of the group's layers.
  Tensor forward(Tensor x, size_t first, TransformerCall& call) {
    for (auto& layer : *albert_layers) x = layer(x, first++, call);
    return x;
  }
};
TORCH_MODULE(AlbertLayerGroup);

struct AlbertTransformerImpl : nn::Module {
  int64_t layers, groups;
  nn::Linear embedding_hidden_mapping_in;
  nn::Layers<AlbertLayerGroup> albert_layer_groups;

  explicit AlbertTransformerImpl(const AlbertConfig& c)
      : layers(c.num_hidden_layers),
        groups(c.num_hidden_groups),
        embedding_hidden_mapping_in(
            register_module("embedding_hidden_mapping_in", nn::Linear(c.embedding_size, c.hidden_size))),
        albert_layer_groups(register_module("albert_layer_groups", nn::Layers<AlbertLayerGroup>(groups, [&](int64_t) {
                                              return AlbertLayerGroup(c);
                                            }))) {}

  Tensor forward(Tensor x, TransformerCall& call) {
    x = embedding_hidden_mapping_in(x);
    for (int64_t i = 0; i < layers; ++i) {
      call.see(x);
      const auto group =
          static_cast<int64_t>(static_cast<double>(i) / (static_cast<double>(layers) / static_cast<double>(groups)));
      x = (*albert_layer_groups)[static_cast<size_t>(group)](x, static_cast<size_t>(group * (layers / groups)), call);
    }
    call.see(x);
    return x;
  }
};
TORCH_MODULE(AlbertTransformer);

struct AlbertPreTrainedModel : PreTrainedModel {
  using Config = AlbertConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "albert"}; }
};

struct AlbertModel : AlbertPreTrainedModel {
  const AlbertConfig& c;
  AlbertEmbeddings embeddings;
  AlbertTransformer encoder;
  nn::Linear pooler{nullptr};

  explicit AlbertModel(const AlbertConfig& config, bool add_pooling_layer = true)
      : AlbertPreTrainedModel(config),
        c(config),
        embeddings(register_module("embeddings", AlbertEmbeddings(c))),
        encoder(register_module("encoder", AlbertTransformer(c))) {
    if (add_pooling_layer) pooler = register_module("pooler", nn::Linear(c.hidden_size, c.hidden_size));
  }

  nn::Embedding get_input_embeddings() override { return embeddings->word_embeddings; }
  std::span<const std::string_view> arguments() const override { return kEncoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    TransformerCall call(inputs, c, {.layers = c.num_hidden_layers, .heads = c.num_attention_heads});
    Tensor x = embeddings(inputs, call.seq);
    call.start(x);
    x = encoder(x, call);
    return call.finish(x, pooler ? at::tanh(pooler(x.select(1, 0).contiguous())) : Tensor());
  }
};

struct AlbertMLMHeadImpl : nn::Module {
  Tensor bias;
  nn::LayerNorm LayerNorm;
  nn::Linear dense, decoder;
  Activation act;

  explicit AlbertMLMHeadImpl(const AlbertConfig& c)
      : bias(register_parameter("bias", at::empty({c.vocab_size}))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.embedding_size, c.layer_norm_eps))),
        dense(register_module("dense", nn::Linear(c.hidden_size, c.embedding_size))),
        decoder(register_module("decoder", nn::Linear(c.embedding_size, c.vocab_size))),
        act(activation(c.hidden_act)) {
    decoder->tie_bias(bias);
  }

  nn::Linear output_embeddings() { return decoder; }

  // x [batch, seq, hidden] -> [batch, seq, vocab]
  Tensor forward(const Tensor& x) { return decoder(LayerNorm(act(dense(x)))); }
};
TORCH_MODULE(AlbertMLMHead);

// The order of two sentences.
struct AlbertSOPHeadImpl : nn::Module {
  nn::Dropout dropout;
  nn::Linear classifier;

  explicit AlbertSOPHeadImpl(const AlbertConfig& c)
      : dropout(register_module("dropout", nn::Dropout(c.classifier_dropout_prob.value_or(0)))),
        classifier(register_module("classifier", nn::Linear(c.hidden_size, c.num_labels()))) {}

  Tensor forward(const Tensor& x) { return classifier(dropout(x)); }
};
TORCH_MODULE(AlbertSOPHead);

struct AlbertForPreTraining : WordsHead<AlbertPreTrainedModel, AlbertModel, AlbertMLMHead> {
  AlbertSOPHead sop_classifier;

  explicit AlbertForPreTraining(const AlbertConfig& c)
      : WordsHead(c, "predictions", {"labels", "sentence_order_label"}),
        sop_classifier(register_module("sop_classifier", AlbertSOPHead(c))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto out = run_base(inputs);
    const Tensor words = head(out["last_hidden_state"]), order = sop_classifier(out["pooler_output"]);
    const Tensor labels = inputs.tensor("labels"), order_label = inputs.tensor("sentence_order_label");
    ModelOutput output;
    if (labels.defined() && order_label.defined())
      output.set("loss", cross_entropy(words, labels) + cross_entropy(order, order_label));
    output.set("prediction_logits", words);
    output.set("sop_logits", order);
    output.pass_on(out);
    return output;
  }
};

struct AlbertForMaskedLM : MaskedWordsHead<AlbertPreTrainedModel, Unpooled<AlbertModel>, AlbertMLMHead> {
  explicit AlbertForMaskedLM(const AlbertConfig& c) : MaskedWordsHead(c, "predictions") {}
};
struct AlbertForSequenceClassification : PooledLabelHead<AlbertPreTrainedModel, AlbertModel> {
  explicit AlbertForSequenceClassification(const AlbertConfig& c)
      : PooledLabelHead(c, c.classifier_dropout_prob.value_or(0)) {}
};
struct AlbertForMultipleChoice : ChoiceHead<AlbertPreTrainedModel, AlbertModel> {
  explicit AlbertForMultipleChoice(const AlbertConfig& c) : ChoiceHead(c, c.classifier_dropout_prob.value_or(0)) {}
};
struct AlbertForTokenClassification : TokenLabelHead<AlbertPreTrainedModel, Unpooled<AlbertModel>> {
  explicit AlbertForTokenClassification(const AlbertConfig& c)
      : TokenLabelHead(c, c.classifier_dropout_prob.value_or(c.hidden_dropout_prob)) {}
};
struct AlbertForQuestionAnswering : QuestionAnsweringHead<AlbertPreTrainedModel, Unpooled<AlbertModel>> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(albert, plugin) {
  plugin.config<AlbertConfig>();
  plugin.tokenizer("AlbertTokenizer", "AlbertTokenizerFast");
  plugin.model<AlbertModel>(Auto::Model);
  plugin.model<AlbertModel>(Auto::ForTextEncoding);
  plugin.model<AlbertForPreTraining>(Auto::ForPreTraining);
  plugin.model<AlbertForMaskedLM>(Auto::WithLMHead);
  plugin.model<AlbertForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<AlbertForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<AlbertForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<AlbertForTokenClassification>(Auto::ForTokenClassification);
  plugin.model<AlbertForMultipleChoice>(Auto::ForMultipleChoice);
}

}  // namespace backplane::albert
