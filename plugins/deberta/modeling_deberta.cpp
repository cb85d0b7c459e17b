// DeBERTa: He et al. 2020, https://arxiv.org/abs/2006.03654
// DeBERTa is DeBERTa-v2 except: one map makes queries, keys and values, head by head; distances fall into no buckets
// and are projected by maps of their own; heads may talk. Reference: transformers, models/deberta/modeling_deberta.py

#include "../deberta_v2/modeling_deberta_v2.h"
#include "configuration_deberta.h"

namespace backplane::deberta {

using bert::BertIntermediate, bert::BertOutput;

// What every layer of one call shares.
struct Pass {
  Tensor mask;            // additive [batch, 1, seq, seq], or undefined
  Tensor distances;       // [seq, seq], query minus key, or undefined
  Tensor rel_embeddings;  // [2 * span, hidden], the distances that occur
  std::vector<Tensor>* attentions = nullptr;
};

struct DisentangledSelfAttentionImpl : nn::Module {
  int64_t heads;
  bool relative, by_content, by_position;
  double scale;
  Tensor q_bias, v_bias;
  nn::Linear in_proj, pos_proj{nullptr}, pos_q_proj{nullptr}, head_logits_proj{nullptr}, head_weights_proj{nullptr};
  nn::Dropout pos_dropout, dropout;

  explicit DisentangledSelfAttentionImpl(const DebertaConfig& c)
      : heads(c.num_attention_heads),
        relative(c.relative_attention),
        by_content(c.scores_positions_by("c2p")),
        by_position(c.scores_positions_by("p2c")),
        scale(1 / std::sqrt(static_cast<double>(c.hidden_size / heads * (1 + kinds(c))))),
        q_bias(register_parameter("q_bias", at::empty({c.hidden_size}))),
        v_bias(register_parameter("v_bias", at::empty({c.hidden_size}))),
        in_proj(register_module("in_proj", nn::Linear(c.hidden_size, 3 * c.hidden_size, false))),
        pos_dropout(register_module("pos_dropout", nn::Dropout(c.hidden_dropout_prob))),
        dropout(register_module("dropout", nn::Dropout(c.attention_probs_dropout_prob))) {
    if (relative && by_content) pos_proj = register_module("pos_proj", nn::Linear(c.hidden_size, c.hidden_size, false));
    if (relative && by_position) pos_q_proj = register_module("pos_q_proj", nn::Linear(c.hidden_size, c.hidden_size));
    if (c.talking_head) {
      head_logits_proj = register_module("head_logits_proj", nn::Linear(heads, heads, false));
      head_weights_proj = register_module("head_weights_proj", nn::Linear(heads, heads, false));
    }
  }

  static int64_t kinds(const DebertaConfig& c) {
    return c.pos_att_type.is_list() ? static_cast<int64_t>(c.pos_att_type.as_list().size()) : 0;
  }

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, const Pass& pass) {
    const auto qkv = split_heads(in_proj(x), heads).chunk(3, -1);  // [batch, heads, seq, d] each
    const auto bias = [&](const Tensor& b) { return b.view({1, heads, 1, -1}); };
    const Tensor q = (qkv[0] + bias(q_bias)) * scale, v = qkv[2] + bias(v_bias);
    Tensor scores = at::matmul(q, qkv[1].transpose(2, 3));
    if (relative) scores = scores + position_scores(q, qkv[1], pass);
    if (head_logits_proj) scores = talk(head_logits_proj, scores);
    if (pass.mask.defined()) scores = scores + pass.mask;
    Tensor probs = dropout(at::softmax(scores, -1));
    if (head_weights_proj) probs = talk(head_weights_proj, probs);
    if (pass.attentions) pass.attentions->push_back(probs);
    return merge_heads(at::matmul(probs, v));
  }

  // Mixes the heads of x [batch, heads, q, kv]. Shazeer et al. 2020, https://arxiv.org/abs/2003.02436
  static Tensor talk(nn::Linear& map, const Tensor& x) { return map(x.permute({0, 2, 3, 1})).permute({0, 3, 1, 2}); }

  // q is scaled. -> [batch, heads, seq, seq], or 0
  Tensor position_scores(const Tensor& q, const Tensor& k, const Pass& pass) {
    const Tensor rel = pos_dropout(pass.rel_embeddings).unsqueeze(0);
    const int64_t span = rel.size(1) / 2;
    const auto choose = [&](const Tensor& scores, const Tensor& distances) {
      const Tensor index = (distances + span).clamp(0, 2 * span - 1);
      return scores.gather(-1, index.expand({scores.size(0), scores.size(1), index.size(0), index.size(1)}));
    };
    Tensor scores = at::zeros({1}, q.options());
    if (by_content)
      scores = scores + choose(at::matmul(q, split_heads(pos_proj(rel), heads).transpose(2, 3)), pass.distances);
    if (by_position) {
      const Tensor pos_q = split_heads(pos_q_proj(rel), heads) * scale;
      scores = scores + choose(at::matmul(k, pos_q.transpose(2, 3)), -pass.distances).transpose(2, 3);
    }
    return scores;
  }
};
TORCH_MODULE(DisentangledSelfAttention);

struct DebertaAttentionImpl : nn::Module {
  DisentangledSelfAttention self;
  BertOutput output;

  explicit DebertaAttentionImpl(const DebertaConfig& c)
      : self(register_module("self", DisentangledSelfAttention(c))),
        output(register_module("output", BertOutput(c, c.hidden_size))) {}

  Tensor forward(const Tensor& x, const Pass& pass) { return output(self(x, pass), x); }
};
TORCH_MODULE(DebertaAttention);

struct DebertaLayerImpl : nn::Module {
  DebertaAttention attention;
  BertIntermediate intermediate;
  BertOutput output;

  explicit DebertaLayerImpl(const DebertaConfig& c)
      : attention(register_module("attention", DebertaAttention(c))),
        intermediate(register_module("intermediate", BertIntermediate(c))),
        output(register_module("output", BertOutput(c, c.intermediate_size))) {}

  Tensor forward(Tensor x, const Pass& pass) {
    x = attention(x, pass);
    return output(intermediate(x), x);
  }
};
TORCH_MODULE(DebertaLayer);

struct DebertaEncoderImpl : nn::Module {
  int64_t max_distance;
  nn::Layers<DebertaLayer> layer;
  nn::Embedding rel_embeddings{nullptr};

  explicit DebertaEncoderImpl(const DebertaConfig& c)
      : max_distance(c.max_distance()),
        layer(register_module(
            "layer", nn::Layers<DebertaLayer>(c.num_hidden_layers, [&](int64_t) { return DebertaLayer(c); }))) {
    if (c.relative_attention)
      rel_embeddings = register_module("rel_embeddings", nn::Embedding(2 * max_distance, c.hidden_size));
  }

  Tensor forward(Tensor x, Pass& pass, std::vector<Tensor>* hidden_states) {
    if (rel_embeddings) {
      const int64_t seq = x.size(1), span = std::min(seq, max_distance);
      const Tensor ids = at::arange(seq, at::kLong);
      pass.distances = ids.unsqueeze(1) - ids.unsqueeze(0);
      pass.rel_embeddings = rel_embeddings->weight.slice(0, max_distance - span, max_distance + span);
    }
    for (auto& one : *layer) {
      if (hidden_states) hidden_states->push_back(x);
      x = one(x, pass);
    }
    if (hidden_states) hidden_states->push_back(x);
    return x;
  }
};
TORCH_MODULE(DebertaEncoder);

struct DebertaPreTrainedModel : PreTrainedModel {
  using Config = DebertaConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "deberta", .ignore_unexpected = {"position_embeddings"}};
  }
};

struct DebertaModel : DebertaPreTrainedModel {
  const DebertaConfig& c;
  deberta_v2::DebertaV2Embeddings embeddings;
  DebertaEncoder encoder;

  explicit DebertaModel(const DebertaConfig& config)
      : DebertaPreTrainedModel(config),
        c(config),
        embeddings(register_module("embeddings", deberta_v2::DebertaV2Embeddings(c))),
        encoder(register_module("encoder", DebertaEncoder(c))) {}

  nn::Embedding get_input_embeddings() override { return embeddings->word_embeddings; }
  std::span<const std::string_view> arguments() const override { return deberta_v2::kArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto dtype = embeddings->word_embeddings->weight.scalar_type();
    const Tensor padding = deberta_v2::padding_of(inputs, dtype);
    std::vector<Tensor> hidden_states, attentions;
    Pass pass{.mask = deberta_v2::pairs_mask(padding)};
    if (inputs.flag("output_attentions", c.output_attentions)) pass.attentions = &attentions;
    const Tensor x = encoder(embeddings(inputs, padding), pass,
                             inputs.flag("output_hidden_states", c.output_hidden_states) ? &hidden_states : nullptr);
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("hidden_states", hidden_states);
    output.set("attentions", attentions);
    return output;
  }
};

struct DebertaForMaskedLM : deberta_v2::MaskedWordsOf<DebertaPreTrainedModel, DebertaModel> {
  using MaskedWordsOf::MaskedWordsOf;
};
struct DebertaForSequenceClassification : deberta_v2::SequenceLabelsOf<DebertaPreTrainedModel, DebertaModel> {
  using SequenceLabelsOf::SequenceLabelsOf;
};
struct DebertaForTokenClassification : TokenLabelHead<DebertaPreTrainedModel, DebertaModel> {
  using TokenLabelHead::TokenLabelHead;
};
struct DebertaForQuestionAnswering : QuestionAnsweringHead<DebertaPreTrainedModel, DebertaModel> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(deberta, plugin) {
  plugin.config<DebertaConfig>();
  plugin.tokenizer("DebertaTokenizer", "DebertaTokenizerFast");
  plugin.model<DebertaModel>(Auto::Model);
  plugin.model<DebertaModel>(Auto::ForTextEncoding);
  plugin.model<DebertaForMaskedLM>(Auto::ForPreTraining);
  plugin.model<DebertaForMaskedLM>(Auto::WithLMHead);
  plugin.model<DebertaForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<DebertaForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<DebertaForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<DebertaForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::deberta
