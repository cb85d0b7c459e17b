// NEZHA: Wei et al. 2019, https://arxiv.org/abs/1909.00204
// NEZHA is BERT except: no positions are added to the words; fixed sinusoids of the distance go into scores and values.
// Reference: transformers, models/deprecated/nezha/modeling_nezha.py

#include "../bert/modeling_bert.h"
#include "configuration_nezha.h"

namespace backplane::nezha {

struct NezhaEmbeddingsImpl : nn::Module {
  nn::Embedding word_embeddings, token_type_embeddings;
  nn::LayerNorm LayerNorm;
  nn::Dropout dropout;

  explicit NezhaEmbeddingsImpl(const NezhaConfig& c)
      : word_embeddings(register_module("word_embeddings", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        token_type_embeddings(
            register_module("token_type_embeddings", nn::Embedding(c.type_vocab_size, c.hidden_size))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  // -> [batch, seq, hidden]
  Tensor forward(const ModelInputs& inputs, const TransformerCall&) {
    const Tensor ids = inputs.tensor("input_ids");
    const Tensor x = ids.defined() ? word_embeddings(ids) : inputs["inputs_embeds"];
    return dropout(LayerNorm(x + token_type_embeddings(bert::token_types(inputs))));
  }
};
TORCH_MODULE(NezhaEmbeddings);

// Sinusoids of the distances key minus query, cut off at `max_distance`, of queries from `past` on: [q, kv, d].
static Tensor distance_encoding(int64_t q, int64_t kv, int64_t past, int64_t d, int64_t max_distance,
                                at::ScalarType dtype) {
  const Tensor distance = at::arange(kv, at::kLong).unsqueeze(0) - at::arange(past, past + q, at::kLong).unsqueeze(1);
  const Tensor position = (distance.clamp(-max_distance, max_distance) + max_distance).to(at::kFloat).unsqueeze(-1);
  const Tensor frequency =
      at::exp(at::arange(0, d, 2, at::kLong).to(at::kFloat) * (-std::log(10000.0) / static_cast<double>(d)));
  const Tensor angle = position * frequency;  // [q, kv, ceil(d / 2)]
  return at::stack({at::sin(angle), at::cos(angle)}, -1).flatten(-2).slice(-1, 0, d).to(dtype);
}

struct NezhaSelfAttentionImpl : nn::Module {
  int64_t heads, max_distance;
  size_t layer;
  bool is_cross;
  nn::Linear query, key, value;
  nn::Dropout dropout;

  NezhaSelfAttentionImpl(const NezhaConfig& c, size_t layer, bool is_cross)
      : heads(c.num_attention_heads),
        max_distance(c.max_relative_position),
        layer(layer),
        is_cross(is_cross),
        query(register_module("query", nn::Linear(c.hidden_size, c.hidden_size))),
        key(register_module("key", nn::Linear(c.hidden_size, c.hidden_size))),
        value(register_module("value", nn::Linear(c.hidden_size, c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.attention_probs_dropout_prob))) {}

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, TransformerCall& call) {
    const Tensor q = split_heads(query(x), heads);  // [batch, heads, seq, d]
    const auto keys_and_values = [&](const Tensor& y) {
      return std::pair(split_heads(key(y), heads), split_heads(value(y), heads));
    };
    const auto [k, v] = is_cross
                            ? call.encoded(layer, keys_and_values)
                            : std::apply([&](const Tensor& k, const Tensor& v) { return call.append(layer, k, v); },
                                         keys_and_values(x));
    const Tensor distances =
        distance_encoding(q.size(2), k.size(2), is_cross ? 0 : call.past, q.size(3), max_distance, q.scalar_type());
    Tensor scores = at::matmul(q, k.transpose(2, 3)) + at::einsum("bhld,lrd->bhlr", {q, distances});
    scores = scores / std::sqrt(static_cast<double>(q.size(3)));
    if (const Tensor mask = is_cross ? call.encoder_mask : call.additive_mask(); mask.defined()) scores = scores + mask;
    Tensor probs = dropout(at::softmax(scores, -1));
    if (call.head_mask.defined()) probs = probs * call.head_mask[static_cast<int64_t>(layer)];
    if (call.wants_attentions()) (is_cross ? call.cross_attentions : call.attentions).push_back(probs);
    return merge_heads(at::matmul(probs, v) + at::einsum("bhlr,lrd->bhld", {probs, distances}));
  }
};
TORCH_MODULE(NezhaSelfAttention);

struct NezhaPreTrainedModel : PreTrainedModel {
  using Config = NezhaConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "nezha", .ignore_unexpected = {"positions_encoding"}};
  }
};

struct NezhaModel : bert::BertModelOf<NezhaPreTrainedModel, NezhaEmbeddings,
                                      bert::BertEncoder<bert::BertLayerOf<NezhaSelfAttention>>> {
  using BertModelOf::BertModelOf;
};
struct NezhaForPreTraining : bert::BertPreTrainingOf<NezhaPreTrainedModel, NezhaModel> {
  using BertPreTrainingOf::BertPreTrainingOf;
};
struct NezhaForMaskedLM : bert::BertMaskedWordsOf<NezhaPreTrainedModel, NezhaModel> {
  using BertMaskedWordsOf::BertMaskedWordsOf;
};
struct NezhaForNextSentencePrediction : bert::BertNextSentenceOf<NezhaPreTrainedModel, NezhaModel> {
  using BertNextSentenceOf::BertNextSentenceOf;
};
struct NezhaForSequenceClassification : PooledLabelHead<NezhaPreTrainedModel, NezhaModel> {
  using PooledLabelHead::PooledLabelHead;
};
struct NezhaForMultipleChoice : ChoiceHead<NezhaPreTrainedModel, NezhaModel> {
  using ChoiceHead::ChoiceHead;
};
struct NezhaForTokenClassification : TokenLabelHead<NezhaPreTrainedModel, Unpooled<NezhaModel>> {
  using TokenLabelHead::TokenLabelHead;
};
struct NezhaForQuestionAnswering : QuestionAnsweringHead<NezhaPreTrainedModel, Unpooled<NezhaModel>> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(nezha, plugin) {
  plugin.config<NezhaConfig>();
  plugin.tokenizer("BertTokenizer", "BertTokenizerFast");
  plugin.model<NezhaModel>(Auto::Model);
  plugin.model<NezhaForPreTraining>(Auto::ForPreTraining);
  plugin.model<NezhaForMaskedLM>(Auto::WithLMHead);
  plugin.model<NezhaForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<NezhaForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<NezhaForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<NezhaForTokenClassification>(Auto::ForTokenClassification);
  plugin.model<NezhaForMultipleChoice>(Auto::ForMultipleChoice);
  plugin.model<NezhaForNextSentencePrediction>(Auto::ForNextSentencePrediction);
}

}  // namespace backplane::nezha
