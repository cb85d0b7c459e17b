// LayoutLM: Xu et al. 2019, https://arxiv.org/abs/1912.13318
// LayoutLM is BERT except: embeddings of each word's box on the page are added.
// Reference: transformers, models/layoutlm/modeling_layoutlm.py

#include "../bert/modeling_bert.h"
#include "configuration_layoutlm.h"

namespace backplane::layoutlm {

struct LayoutLMEmbeddingsImpl : nn::Module {
  int64_t max_positions;
  nn::Embedding word_embeddings, position_embeddings, x_position_embeddings, y_position_embeddings,
      h_position_embeddings, w_position_embeddings, token_type_embeddings;
  nn::LayerNorm LayerNorm;
  nn::Dropout dropout;

  explicit LayoutLMEmbeddingsImpl(const LayoutLMConfig& c)
      : max_positions(c.max_position_embeddings),
        word_embeddings(register_module("word_embeddings", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        position_embeddings(register_module("position_embeddings", nn::Embedding(max_positions, c.hidden_size))),
        x_position_embeddings(
            register_module("x_position_embeddings", nn::Embedding(c.max_2d_position_embeddings, c.hidden_size))),
        y_position_embeddings(
            register_module("y_position_embeddings", nn::Embedding(c.max_2d_position_embeddings, c.hidden_size))),
        h_position_embeddings(
            register_module("h_position_embeddings", nn::Embedding(c.max_2d_position_embeddings, c.hidden_size))),
        w_position_embeddings(
            register_module("w_position_embeddings", nn::Embedding(c.max_2d_position_embeddings, c.hidden_size))),
        token_type_embeddings(
            register_module("token_type_embeddings", nn::Embedding(c.type_vocab_size, c.hidden_size))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  // -> [batch, seq, hidden]
  Tensor forward(const ModelInputs& inputs, const TransformerCall& call) {
    const Tensor ids = inputs.tensor("input_ids");
    Tensor bbox = inputs.tensor("bbox");  // [batch, seq, 4]: left, upper, right, lower edge
    if (!bbox.defined()) bbox = at::zeros({1, call.seq, 4}, at::kLong);
    if (bbox.dim() != 3 || bbox.size(2) != 4) {
      throw Error(ErrorCode::invalid_value, concat("bbox has shape ", bbox.sizes(), "; give [batch, seq, 4]"));
    }
    const Tensor left = bbox.select(2, 0), upper = bbox.select(2, 1), right = bbox.select(2, 2),
                 lower = bbox.select(2, 3);
    Tensor x = ids.defined() ? word_embeddings(ids) : inputs["inputs_embeds"];
    x = x + position_embeddings(bert::counted_positions(inputs, call, max_positions));
    x = x + x_position_embeddings(left) + y_position_embeddings(upper) + x_position_embeddings(right) +
        y_position_embeddings(lower);
    x = x + h_position_embeddings(lower - upper) + w_position_embeddings(right - left);
    return dropout(LayerNorm(x + token_type_embeddings(bert::token_types(inputs))));
  }
};
TORCH_MODULE(LayoutLMEmbeddings);

struct LayoutLMPreTrainedModel : PreTrainedModel {
  using Config = LayoutLMConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "layoutlm"}; }
};

struct LayoutLMModel
    : bert::BertModelOf<LayoutLMPreTrainedModel, LayoutLMEmbeddings, bert::BertEncoder<bert::BertLayer>> {
  explicit LayoutLMModel(const LayoutLMConfig& c) : BertModelOf(c) {}
  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderArguments, "bbox");
    return kArguments;
  }
};
struct LayoutLMForMaskedLM : MaskedWordsHead<LayoutLMPreTrainedModel, LayoutLMModel, bert::BertOnlyMLMHead> {
  explicit LayoutLMForMaskedLM(const LayoutLMConfig& c) : MaskedWordsHead(c, "cls") {}
};
struct LayoutLMForSequenceClassification : PooledLabelHead<LayoutLMPreTrainedModel, LayoutLMModel> {
  explicit LayoutLMForSequenceClassification(const LayoutLMConfig& c) : PooledLabelHead(c, c.hidden_dropout_prob) {}
};
struct LayoutLMForTokenClassification : TokenLabelHead<LayoutLMPreTrainedModel, LayoutLMModel> {
  explicit LayoutLMForTokenClassification(const LayoutLMConfig& c) : TokenLabelHead(c, c.hidden_dropout_prob) {}
};
struct LayoutLMForQuestionAnswering : QuestionAnsweringHead<LayoutLMPreTrainedModel, LayoutLMModel> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(layoutlm, plugin) {
  plugin.config<LayoutLMConfig>();
  plugin.tokenizer("LayoutLMTokenizer", "LayoutLMTokenizerFast");
  plugin.model<LayoutLMModel>(Auto::Model);
  plugin.model<LayoutLMForMaskedLM>(Auto::ForPreTraining);
  plugin.model<LayoutLMForMaskedLM>(Auto::WithLMHead);
  plugin.model<LayoutLMForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<LayoutLMForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<LayoutLMForQuestionAnswering>(Auto::ForDocumentQuestionAnswering);
  plugin.model<LayoutLMForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::layoutlm
