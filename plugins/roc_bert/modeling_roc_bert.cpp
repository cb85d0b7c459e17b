// RoCBert: Su et al. 2022, https://aclanthology.org/2022.acl-long.65.pdf
// RoCBert is BERT except: embeddings of a character's shape and pronunciation join those of the words; pre-training
// contrasts a sentence with an attacked one. Reference: transformers, models/roc_bert/modeling_roc_bert.py

#include "../bert/modeling_bert.h"
#include "configuration_roc_bert.h"

namespace backplane::roc_bert {

struct RoCBertEmbeddingsImpl : bert::BertEmbeddingsImpl {
  bool by_shape, by_sound;
  nn::Embedding pronunciation_embed, shape_embed;
  nn::Linear map_inputs_layer{nullptr};

  explicit RoCBertEmbeddingsImpl(const RoCBertConfig& c)
      : BertEmbeddingsImpl(c),
        by_shape(c.enable_shape),
        by_sound(c.enable_pronunciation),
        pronunciation_embed(
            register_module("pronunciation_embed",
                            nn::Embedding(c.pronunciation_vocab_size, c.pronunciation_embed_dim, c.pad_token_id))),
        shape_embed(
            register_module("shape_embed", nn::Embedding(c.shape_vocab_size, c.shape_embed_dim, c.pad_token_id))) {
    if (c.concat_input) {
      const int64_t in_features =
          c.hidden_size + (by_sound ? c.pronunciation_embed_dim : 0) + (by_shape ? c.shape_embed_dim : 0);
      map_inputs_layer = register_module("map_inputs_layer", nn::Linear(in_features, c.hidden_size));
    }
  }

  // -> [batch, seq, hidden]
  Tensor forward(const ModelInputs& inputs, const TransformerCall& call) {
    const Tensor shapes = inputs.tensor("input_shape_ids"), sounds = inputs.tensor("input_pronunciation_ids");
    return map_inputs_layer ? joined(inputs, call, shapes, sounds) : averaged(inputs, call, shapes, sounds);
  }

  // One vector of all three, mapped; ids that are not given are 0.
  Tensor joined(const ModelInputs& inputs, const TransformerCall& call, const Tensor& shapes, const Tensor& sounds) {
    std::vector<Tensor> parts = {words(inputs)};
    const Tensor none = at::zeros({call.batch, call.seq}, at::kLong);
    if (by_shape) parts.push_back(shape_embed(shapes.defined() ? shapes : none));
    if (by_sound) parts.push_back(pronunciation_embed(sounds.defined() ? sounds : none));
    Tensor x = map_inputs_layer(at::cat(parts, -1)) + token_type_embeddings(bert::token_types(inputs));
    if (absolute) x = x + position_embeddings(bert::counted_positions(inputs, call, max_positions));
    return dropout(LayerNorm(x));
  }

  // The mean of what is given.
  Tensor averaged(const ModelInputs& inputs, const TransformerCall& call, const Tensor& shapes, const Tensor& sounds) {
    Tensor x = BertEmbeddingsImpl::forward(inputs, call);
    int64_t count = 1;
    if (by_shape && shapes.defined()) {
      x = x + shape_embed(shapes);
      ++count;
    }
    if (by_sound && sounds.defined()) {
      x = x + pronunciation_embed(sounds);
      ++count;
    }
    return x / count;
  }
};
TORCH_MODULE(RoCBertEmbeddings);

struct RoCBertPreTrainedModel : PreTrainedModel {
  using Config = RoCBertConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "roc_bert"}; }
};

struct RoCBertModel : bert::BertModelOf<RoCBertPreTrainedModel, RoCBertEmbeddings, bert::BertEncoder<bert::BertLayer>> {
  using BertModelOf::BertModelOf;
  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kTransformerArguments, "input_shape_ids", "input_pronunciation_ids");
    return kArguments;
  }
};

struct RoCBertForPreTraining : WordsHead<RoCBertPreTrainedModel, RoCBertModel, bert::BertOnlyMLMHead> {
  explicit RoCBertForPreTraining(const RoCBertConfig& c)
      : WordsHead(c, "cls",
                  {"attack_input_ids", "attack_input_shape_ids", "attack_input_pronunciation_ids",
                   "attack_attention_mask", "attack_token_type_ids", "labels_input_ids", "labels_input_shape_ids",
                   "labels_input_pronunciation_ids", "labels_attention_mask", "labels_token_type_ids"}) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto out = run_base(inputs);
    const Tensor logits = head(out["last_hidden_state"]), labels = inputs.tensor("labels_input_ids");
    if (!labels.defined()) return head_output({}, logits, out);
    Tensor loss = cross_entropy(logits, labels);
    if (const Tensor attack = inputs.tensor("attack_input_ids"); attack.defined()) {
      if (!config().pad_token_id)
        throw Error(ErrorCode::bad_config, "config.json: pad_token_id is null; labels of -100 become it");
      const Tensor goal = pooled(inputs, "labels", labels.masked_fill(labels == -100, *config().pad_token_id));
      const Tensor attacked = pooled(inputs, "attack", attack).t();
      loss =
          loss +
          (contrast(at::matmul(normalized(out["pooler_output"]), attacked)) + contrast(at::matmul(goal, attacked))) / 2;
    }
    return head_output(loss, logits, out);
  }

 private:
  // The model run on another sentence of the call: its pooled output with length 1, [batch, hidden].
  Tensor pooled(const ModelInputs& inputs, const std::string& which, const Tensor& ids) {
    ModelInputs other;
    other.set("input_ids", ids);
    for (const char* name : {"input_shape_ids", "input_pronunciation_ids", "attention_mask", "token_type_ids"})
      other.set(name, inputs.tensor(which + "_" + name));
    return normalized(base->forward(other)["pooler_output"]);
  }

  static Tensor normalized(const Tensor& x) { return x / x.norm(2, -1, true).clamp_min(1e-12); }

  // Each row belongs to its own column.
  static Tensor contrast(const Tensor& similarity) {
    return cross_entropy(100 * similarity, at::arange(similarity.size(0), at::kLong));
  }
};

struct RoCBertForMaskedLM : bert::BertMaskedWordsOf<RoCBertPreTrainedModel, RoCBertModel> {
  using BertMaskedWordsOf::BertMaskedWordsOf;
};
struct RoCBertForCausalLM : bert::BertNextWordsOf<RoCBertPreTrainedModel, RoCBertModel> {
  using BertNextWordsOf::BertNextWordsOf;

  // Generation leaves positions to the model, and of shapes and sounds only the last is for a new word.
  void prepare_inputs_for_generation(ModelInputs& inputs, int64_t past) const override {
    for (const char* name : {"position_ids", "token_type_ids"}) inputs.set(name, Tensor());
    if (past == 0) return;
    for (const char* name : {"input_shape_ids", "input_pronunciation_ids"}) {
      if (const Tensor ids = inputs.tensor(name); ids.defined()) inputs.set(name, ids.slice(1, -1));
    }
  }
};
struct RoCBertForSequenceClassification : PooledLabelHead<RoCBertPreTrainedModel, RoCBertModel> {
  using PooledLabelHead::PooledLabelHead;
};
struct RoCBertForMultipleChoice : ChoiceHead<RoCBertPreTrainedModel, RoCBertModel> {
  using ChoiceHead::ChoiceHead;
};
struct RoCBertForTokenClassification : TokenLabelHead<RoCBertPreTrainedModel, Unpooled<RoCBertModel>> {
  using TokenLabelHead::TokenLabelHead;
};
struct RoCBertForQuestionAnswering : QuestionAnsweringHead<RoCBertPreTrainedModel, Unpooled<RoCBertModel>> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(roc_bert, plugin) {
  plugin.config<RoCBertConfig>();
  plugin.tokenizer("RoCBertTokenizer", "");
  plugin.model<RoCBertModel>(Auto::Model);
  plugin.model<RoCBertModel>(Auto::ForTextEncoding);
  plugin.model<RoCBertForPreTraining>(Auto::ForPreTraining);
  plugin.model<RoCBertForMaskedLM>(Auto::WithLMHead);
  plugin.model<RoCBertForCausalLM>(Auto::ForCausalLM);
  plugin.model<RoCBertForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<RoCBertForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<RoCBertForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<RoCBertForTokenClassification>(Auto::ForTokenClassification);
  plugin.model<RoCBertForMultipleChoice>(Auto::ForMultipleChoice);
}

}  // namespace backplane::roc_bert
