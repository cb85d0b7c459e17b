// Splinter: Ram et al. 2021, https://arxiv.org/abs/2101.00438
// BERT without a pooler; its head points from the places of questions to the spans that answer them.
// Reference: transformers, models/splinter/modeling_splinter.py

#include <limits>

#include "../bert/modeling_bert.h"
#include "configuration_splinter.h"

namespace backplane::splinter {

struct SplinterFullyConnectedLayerImpl : nn::Module {
  nn::Linear dense;
  nn::LayerNorm LayerNorm;

  explicit SplinterFullyConnectedLayerImpl(int64_t size)
      : dense(register_module("dense", nn::Linear(size, size))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(size))) {}

  Tensor forward(const Tensor& x) { return LayerNorm(at::gelu(dense(x))); }
};
TORCH_MODULE(SplinterFullyConnectedLayer);

struct QuestionAwareSpanSelectionHeadImpl : nn::Module {
  SplinterFullyConnectedLayer query_start_transform, query_end_transform, start_transform, end_transform;
  nn::Linear start_classifier, end_classifier;

  explicit QuestionAwareSpanSelectionHeadImpl(const SplinterConfig& c)
      : query_start_transform(register_module("query_start_transform", SplinterFullyConnectedLayer(c.hidden_size))),
        query_end_transform(register_module("query_end_transform", SplinterFullyConnectedLayer(c.hidden_size))),
        start_transform(register_module("start_transform", SplinterFullyConnectedLayer(c.hidden_size))),
        end_transform(register_module("end_transform", SplinterFullyConnectedLayer(c.hidden_size))),
        start_classifier(register_module("start_classifier", nn::Linear(c.hidden_size, c.hidden_size, false))),
        end_classifier(register_module("end_classifier", nn::Linear(c.hidden_size, c.hidden_size, false))) {}

  // x [batch, seq, hidden], positions [batch, questions] -> two of [batch, questions, seq]
  std::pair<Tensor, Tensor> forward(const Tensor& x, const Tensor& positions) {
    const Tensor questions = x.gather(1, positions.unsqueeze(-1).expand({-1, -1, x.size(2)}));
    const Tensor start = start_classifier(query_start_transform(questions)),
                 end = end_classifier(query_end_transform(questions));
    return {at::matmul(start, start_transform(x).transpose(1, 2)), at::matmul(end, end_transform(x).transpose(1, 2))};
  }
};
TORCH_MODULE(QuestionAwareSpanSelectionHead);

struct SplinterPreTrainedModel : PreTrainedModel {
  using Config = SplinterConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "splinter"}; }
};

struct SplinterModel
    : bert::BertModelOf<SplinterPreTrainedModel, bert::BertEmbeddings, bert::BertEncoder<bert::BertLayer>> {
  explicit SplinterModel(const SplinterConfig& c) : BertModelOf(c, false) {}
};

struct SplinterHead : ModelWithBase<SplinterPreTrainedModel, SplinterModel> {
  QuestionAwareSpanSelectionHead splinter_qass;

  explicit SplinterHead(const SplinterConfig& c)
      : ModelWithBase(c, {"start_positions", "end_positions", "question_positions"}),
        splinter_qass(register_module("splinter_qass", QuestionAwareSpanSelectionHead(c))) {}

  int64_t question_token() const { return static_cast<const SplinterConfig&>(config()).question_token_id; }

  // Logits with padding at the lowest number. `mask` broadcasts to them.
  static Tensor without_padding(const Tensor& logits, const Tensor& mask) {
    return mask.defined() ? logits + (1 - mask) * std::numeric_limits<float>::lowest() : logits;
  }

  static ModelOutput result(const Tensor& loss, const Tensor& start, const Tensor& end, const ModelOutput& base) {
    ModelOutput output;
    output.set("loss", loss);
    output.set("start_logits", start);
    output.set("end_logits", end);
    output.pass_on(base);
    return output;
  }
};

// One question a row: the first question token, unless the call says where.
struct SplinterForQuestionAnswering : SplinterHead {
  using SplinterHead::SplinterHead;

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto out = run_base(inputs);
    const Tensor x = out["last_hidden_state"], ids = inputs.tensor("input_ids");
    Tensor positions = inputs.tensor("question_positions");
    const bool is_given = positions.defined();
    if (!is_given) {
      positions = ids.defined() ? (ids == question_token()).to(at::kInt).argmax(-1).unsqueeze(-1)
                                : at::zeros({x.size(0), 1}, at::kLong);
    }
    auto [start, end] = splinter_qass(x, positions);
    if (!is_given) {
      start = start.squeeze(1);
      end = end.squeeze(1);
    }
    const Tensor mask = inputs.tensor("attention_mask");
    start = without_padding(start, mask);
    end = without_padding(end, mask);
    const Tensor from = inputs.tensor("start_positions"), to = inputs.tensor("end_positions");
    return result(from.defined() && to.defined() ? span_loss(start, end, from, to) : Tensor(), start, end, out);
  }
};

// Many questions a row. The labels' padding is pad_token_id.
struct SplinterForPreTraining : SplinterHead {
  using SplinterHead::SplinterHead;

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor from = inputs.tensor("start_positions"), to = inputs.tensor("end_positions");
    Tensor positions = inputs.tensor("question_positions");
    if (!positions.defined()) {
      if (from.defined() && to.defined())
        throw Error(ErrorCode::invalid_value, "question_positions are missing; the loss needs them");
      if (!inputs.contains("input_ids"))
        throw Error(ErrorCode::invalid_value, "question_positions are missing; inputs_embeds do not show them");
      positions = question_positions(inputs["input_ids"]);
    }
    const auto out = run_base(inputs);
    auto [start, end] = splinter_qass(out["last_hidden_state"], positions);
    Tensor mask = inputs.tensor("attention_mask");
    if (mask.defined()) mask = mask.unsqueeze(1);
    start = without_padding(start, mask);
    end = without_padding(end, mask);
    Tensor loss;
    if (from.defined() && to.defined())
      loss = (cross_entropy(start, from, padding()) + cross_entropy(end, to, padding())) / 2;
    return result(loss, start, end, out);
  }

 private:
  int64_t padding() const { return config().pad_token_id.value_or(-100); }

  // The places of the question token in each row, filled up with pad_token_id: [batch, questions].
  Tensor question_positions(const Tensor& ids) const {
    const Tensor is_question = ids == question_token();
    const int64_t most = is_question.sum(-1).max().item<int64_t>();
    if (most == 0) {
      throw Error(ErrorCode::invalid_value, concat("input_ids have no question token (", question_token(), ")"));
    }
    const Tensor places = is_question.nonzero(), rows = places.select(1, 0), columns = places.select(1, 1);
    const Tensor order = (is_question.cumsum(-1) - 1).index({rows, columns});
    Tensor positions = at::full({ids.size(0), most}, padding(), at::kLong);
    positions.index_put_({rows, order}, columns);
    return positions;
  }
};

BACKPLANE_PLUGIN(splinter, plugin) {
  plugin.config<SplinterConfig>();
  plugin.tokenizer("SplinterTokenizer", "SplinterTokenizerFast");
  plugin.model<SplinterModel>(Auto::Model);
  plugin.model<SplinterForPreTraining>(Auto::ForPreTraining);
  plugin.model<SplinterForQuestionAnswering>(Auto::ForQuestionAnswering);
}

}  // namespace backplane::splinter
