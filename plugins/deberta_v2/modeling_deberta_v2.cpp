// DeBERTa: He et al. 2020, https://arxiv.org/abs/2006.03654; version 2 and 3: https://arxiv.org/abs/2111.09543
// BERT's layers, but scores are the sum of content to content, content to position and position to content, with
// distances that may fall into logarithmic buckets; the first layer may have a convolution beside it.
// Reference: transformers, models/deberta_v2/modeling_deberta_v2.py

#include "modeling_deberta_v2.h"

namespace backplane::deberta_v2 {

using bert::BertIntermediate, bert::BertOutput;

// What every layer of one call shares.
struct Pass {
  Tensor mask;            // additive [batch, 1, seq, seq], or undefined
  Tensor distances;       // [seq, seq], query minus key, or undefined
  Tensor rel_embeddings;  // [2 * span, hidden]
  AttnImplementation implementation;
  std::vector<Tensor>* attentions = nullptr;
};

struct DisentangledSelfAttentionImpl : nn::Module {
  int64_t heads, span;
  bool relative, by_content, by_position;
  double scale, dropout;
  nn::Linear query_proj, key_proj, value_proj, pos_key_proj{nullptr}, pos_query_proj{nullptr};
  nn::Dropout pos_dropout;

  explicit DisentangledSelfAttentionImpl(const DebertaV2Config& c)
      : heads(c.num_attention_heads),
        span(c.span()),
        relative(c.relative_attention),
        by_content(c.scores_positions_by("c2p")),
        by_position(c.scores_positions_by("p2c")),
        scale(1 / std::sqrt(static_cast<double>(c.head_size() * (1 + by_content + by_position)))),
        dropout(c.attention_probs_dropout_prob),
        query_proj(register_module("query_proj", nn::Linear(c.hidden_size, heads * c.head_size()))),
        key_proj(register_module("key_proj", nn::Linear(c.hidden_size, heads * c.head_size()))),
        value_proj(register_module("value_proj", nn::Linear(c.hidden_size, heads * c.head_size()))),
        pos_dropout(register_module("pos_dropout", nn::Dropout(c.hidden_dropout_prob))) {
    if (!relative) return;
    if (c.share_att_key) {
      pos_key_proj = key_proj;
      pos_query_proj = query_proj;
      return;
    }
    if (by_content) pos_key_proj = register_module("pos_key_proj", nn::Linear(c.hidden_size, heads * c.head_size()));
    if (by_position) {
      pos_query_proj = register_module("pos_query_proj", nn::Linear(c.hidden_size, heads * c.head_size()));
    }
  }

  // x [batch, seq, hidden] -> [batch, seq, heads * d]
  Tensor forward(const Tensor& x, const Pass& pass) {
    const Tensor q = split_heads(query_proj(x), heads), k = split_heads(key_proj(x), heads),
                 v = split_heads(value_proj(x), heads);
    Tensor probs;
    const Tensor y = attention(q, k, v,
                               {.mask = combine_masks(relative ? position_scores(q, k, pass) : Tensor(), pass.mask),
                                .scale = scale,
                                .dropout = is_training() ? dropout : 0,
                                .implementation = pass.implementation,
                                .probs = pass.attentions ? &probs : nullptr});
    if (pass.attentions) pass.attentions->push_back(probs);
    return merge_heads(y);
  }

  // [batch, heads, seq, seq], or undefined where positions are not scored
  Tensor position_scores(const Tensor& q, const Tensor& k, const Pass& pass) {
    const Tensor rel = pos_dropout(pass.rel_embeddings).unsqueeze(0);
    const auto choose = [&](const Tensor& scores, const Tensor& distances) {
      const Tensor index = (distances + span).clamp(0, 2 * span - 1);
      return scores.gather(-1, index.expand({scores.size(0), scores.size(1), index.size(0), index.size(1)}));
    };
    Tensor scores;
    if (by_content) {
      const Tensor pos_key = split_heads(pos_key_proj(rel), heads);  // [1, heads, 2 * span, d]
      scores = choose(at::matmul(q, pos_key.transpose(2, 3)), pass.distances);
    }
    if (by_position) {
      const Tensor pos_query = split_heads(pos_query_proj(rel), heads);
      const Tensor by_key = choose(at::matmul(k, pos_query.transpose(2, 3)), -pass.distances).transpose(2, 3);
      scores = scores.defined() ? scores + by_key : by_key;
    }
    return scores.defined() ? scores * scale : scores;
  }
};
TORCH_MODULE(DisentangledSelfAttention);

struct DebertaV2AttentionImpl : nn::Module {
  DisentangledSelfAttention self;
  BertOutput output;

  explicit DebertaV2AttentionImpl(const DebertaV2Config& c)
      : self(register_module("self", DisentangledSelfAttention(c))),
        output(register_module("output", BertOutput(c, c.hidden_size))) {}

  Tensor forward(const Tensor& x, const Pass& pass) { return output(self(x, pass), x); }
};
TORCH_MODULE(DebertaV2Attention);

struct DebertaV2LayerImpl : nn::Module {
  DebertaV2Attention attention;
  BertIntermediate intermediate;
  BertOutput output;

  explicit DebertaV2LayerImpl(const DebertaV2Config& c)
      : attention(register_module("attention", DebertaV2Attention(c))),
        intermediate(register_module("intermediate", BertIntermediate(c))),
        output(register_module("output", BertOutput(c, c.intermediate_size))) {}

  Tensor forward(Tensor x, const Pass& pass) {
    x = attention(x, pass);
    return output(intermediate(x), x);
  }
};
TORCH_MODULE(DebertaV2Layer);

struct ConvLayerImpl : nn::Module {
  nn::Conv1d conv;
  nn::LayerNorm LayerNorm;
  nn::Dropout dropout;
  Activation act;

  explicit ConvLayerImpl(const DebertaV2Config& c)
      : conv(register_module("conv",
                             nn::Conv1d(c.hidden_size, c.hidden_size, c.conv_kernel_size,
                                        nn::ConvOptions<1>{.padding = nn::extent<1>((c.conv_kernel_size - 1) / 2),
                                                           .groups = c.conv_groups}))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))),
        act(activation(c.conv_act)) {}

  // embedded and x [batch, seq, hidden], padding as of the embeddings -> [batch, seq, hidden]
  Tensor forward(const Tensor& embedded, const Tensor& x, const Tensor& padding) {
    Tensor y = conv(embedded.transpose(1, 2)).transpose(1, 2);
    if (padding.defined()) y = y.masked_fill(padding == 0, 0);
    y = LayerNorm(x + act(dropout(y)));
    return padding.defined() ? y * padding : y;
  }
};
TORCH_MODULE(ConvLayer);

struct DebertaV2EncoderImpl : nn::Module {
  nn::Layers<DebertaV2Layer> layer;
  nn::Embedding rel_embeddings{nullptr};
  nn::LayerNorm LayerNorm{nullptr};
  ConvLayer conv{nullptr};

  explicit DebertaV2EncoderImpl(const DebertaV2Config& c)
      : layer(register_module(
            "layer", nn::Layers<DebertaV2Layer>(c.num_hidden_layers, [&](int64_t) { return DebertaV2Layer(c); }))) {
    if (c.relative_attention) {
      rel_embeddings = register_module("rel_embeddings", nn::Embedding(2 * c.span(), c.hidden_size));
    }
    const auto norms = DebertaV2Config::parts_of(c.norm_rel_ebd).as_list();
    if (std::find(norms.begin(), norms.end(), Value("layer_norm")) != norms.end())
      LayerNorm = register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps));
    if (c.conv_kernel_size > 0) conv = register_module("conv", ConvLayer(c));
  }

  Tensor forward(Tensor x, Pass& pass, const Tensor& padding, std::vector<Tensor>* hidden_states) {
    if (rel_embeddings) {
      pass.rel_embeddings = rel_embeddings->weight;
      if (LayerNorm) pass.rel_embeddings = LayerNorm(pass.rel_embeddings);
    }
    const Tensor embedded = x;
    for (size_t i = 0; i < layer->size(); ++i) {
      if (hidden_states) hidden_states->push_back(x);
      x = (*layer)[i](x, pass);
      if (i == 0 && conv) x = conv(embedded, x, padding);
    }
    if (hidden_states) hidden_states->push_back(x);
    return x;
  }
};
TORCH_MODULE(DebertaV2Encoder);

// Distances of seq positions, query minus key [seq, seq]; with buckets, those beyond half of them grow logarithmically.
static Tensor distances(int64_t seq, int64_t buckets, int64_t max_distance) {
  const Tensor ids = at::arange(seq, at::kLong), distance = ids.unsqueeze(1) - ids.unsqueeze(0);
  if (buckets <= 0 || max_distance <= 0) return distance;
  const int64_t mid = buckets / 2;
  const Tensor far = at::where(distance.abs() < mid, at::scalar_tensor(mid - 1, at::kLong), distance.abs());
  const Tensor steps = at::log(far.to(at::kFloat) / mid) /
                       at::log(at::scalar_tensor(static_cast<double>(max_distance - 1) / mid, at::kFloat));
  const Tensor bucket = at::ceil(steps * (mid - 1)) + mid;
  return at::where(far <= mid, distance.to(at::kFloat), bucket * distance.sign()).to(at::kLong);
}

struct DebertaV2PreTrainedModel : PreTrainedModel {
  using Config = DebertaV2Config;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "deberta", .ignore_unexpected = {"position_embeddings"}};
  }
};

struct DebertaV2Model : DebertaV2PreTrainedModel {
  const DebertaV2Config& c;
  DebertaV2Embeddings embeddings;
  DebertaV2Encoder encoder;

  explicit DebertaV2Model(const DebertaV2Config& config)
      : DebertaV2PreTrainedModel(config),
        c(config),
        embeddings(register_module("embeddings", DebertaV2Embeddings(c))),
        encoder(register_module("encoder", DebertaV2Encoder(c))) {}

  nn::Embedding get_input_embeddings() override { return embeddings->word_embeddings; }
  std::span<const std::string_view> arguments() const override { return kArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor padding = padding_of(inputs, embeddings->word_embeddings->weight.scalar_type());
    Tensor x = embeddings(inputs, padding);

    std::vector<Tensor> hidden_states, attentions;
    Pass pass{.mask = pairs_mask(padding), .implementation = c.attn_implementation};
    if (c.relative_attention) pass.distances = distances(x.size(1), c.position_buckets, c.max_distance());
    if (inputs.flag("output_attentions", c.output_attentions)) pass.attentions = &attentions;
    x = encoder(x, pass, padding,
                inputs.flag("output_hidden_states", c.output_hidden_states) ? &hidden_states : nullptr);

    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("hidden_states", hidden_states);
    output.set("attentions", attentions);
    return output;
  }
};

struct DebertaV2ForMaskedLM : MaskedWordsOf<DebertaV2PreTrainedModel, DebertaV2Model> {
  using MaskedWordsOf::MaskedWordsOf;
};
struct DebertaV2ForSequenceClassification : SequenceLabelsOf<DebertaV2PreTrainedModel, DebertaV2Model> {
  using SequenceLabelsOf::SequenceLabelsOf;
};
struct DebertaV2ForTokenClassification : TokenLabelHead<DebertaV2PreTrainedModel, DebertaV2Model> {
  using TokenLabelHead::TokenLabelHead;
};
struct DebertaV2ForQuestionAnswering : QuestionAnsweringHead<DebertaV2PreTrainedModel, DebertaV2Model> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

struct DebertaV2ForMultipleChoice : ChoiceHead<DebertaV2PreTrainedModel, DebertaV2Model> {
  ContextPooler pooler;

  explicit DebertaV2ForMultipleChoice(const DebertaV2Config& c)
      : ChoiceHead(c, cls_dropout(c)), pooler(register_module("pooler", ContextPooler(c))) {}

  Tensor summary(const ModelOutput& base) override { return pooler(base["last_hidden_state"]); }
};

BACKPLANE_PLUGIN(deberta_v2, plugin) {
  plugin.config<DebertaV2Config>();
  plugin.tokenizer("DebertaV2Tokenizer", "DebertaV2TokenizerFast");
  plugin.model<DebertaV2Model>(Auto::Model);
  plugin.model<DebertaV2Model>(Auto::ForTextEncoding);
  plugin.model<DebertaV2ForMaskedLM>(Auto::ForPreTraining);
  plugin.model<DebertaV2ForMaskedLM>(Auto::WithLMHead);
  plugin.model<DebertaV2ForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<DebertaV2ForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<DebertaV2ForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<DebertaV2ForTokenClassification>(Auto::ForTokenClassification);
  plugin.model<DebertaV2ForMultipleChoice>(Auto::ForMultipleChoice);
}

}  // namespace backplane::deberta_v2
