// LiLT: Wang et al. 2022, https://arxiv.org/abs/2202.13669
// RoBERTa's stream of words beside a narrower one of the words' boxes on the page; each attends with the sum of both
// streams' scores. Reference: transformers, models/lilt/modeling_lilt.py

#include "../roberta/modeling_roberta.h"
#include "configuration_lilt.h"

namespace backplane::lilt {

// The streams of words [batch, seq, hidden] and of layout [batch, seq, hidden / channel_shrink_ratio].
struct Streams {
  Tensor words, layout;
};

struct LiltLayoutEmbeddingsImpl : nn::Module {
  nn::Embedding x_position_embeddings, y_position_embeddings, h_position_embeddings, w_position_embeddings,
      box_position_embeddings;
  nn::Linear box_linear_embeddings;
  nn::LayerNorm LayerNorm;
  nn::Dropout dropout;

  explicit LiltLayoutEmbeddingsImpl(const LiltConfig& c)
      : x_position_embeddings(
            register_module("x_position_embeddings", nn::Embedding(c.max_2d_position_embeddings, c.hidden_size / 6))),
        y_position_embeddings(
            register_module("y_position_embeddings", nn::Embedding(c.max_2d_position_embeddings, c.hidden_size / 6))),
        h_position_embeddings(
            register_module("h_position_embeddings", nn::Embedding(c.max_2d_position_embeddings, c.hidden_size / 6))),
        w_position_embeddings(
            register_module("w_position_embeddings", nn::Embedding(c.max_2d_position_embeddings, c.hidden_size / 6))),
        box_position_embeddings(
            register_module("box_position_embeddings", nn::Embedding(c.max_position_embeddings, narrow(c)))),
        box_linear_embeddings(register_module("box_linear_embeddings", nn::Linear(c.hidden_size, narrow(c)))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(narrow(c), c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  static int64_t narrow(const LiltConfig& c) { return c.hidden_size / c.channel_shrink_ratio; }

  // bbox [batch, seq, 4]: left, upper, right, lower edge; positions [batch, seq] -> [batch, seq, narrow]
  Tensor forward(const Tensor& bbox, const Tensor& positions) {
    const Tensor left = bbox.select(2, 0), upper = bbox.select(2, 1), right = bbox.select(2, 2),
                 lower = bbox.select(2, 3);
    const Tensor box = at::cat(
        {x_position_embeddings(left), y_position_embeddings(upper), x_position_embeddings(right),
         y_position_embeddings(lower), h_position_embeddings(lower - upper), w_position_embeddings(right - left)},
        -1);
    return dropout(LayerNorm(box_linear_embeddings(box) + box_position_embeddings(positions)));
  }
};
TORCH_MODULE(LiltLayoutEmbeddings);

struct LiltSelfAttentionImpl : bert::BertSelfAttentionImpl {
  nn::Linear layout_query, layout_key, layout_value;

  LiltSelfAttentionImpl(const LiltConfig& c, size_t layer)
      : BertSelfAttentionImpl(c, layer, false),
        layout_query(register_module("layout_query", nn::Linear(narrow(c), narrow(c)))),
        layout_key(register_module("layout_key", nn::Linear(narrow(c), narrow(c)))),
        layout_value(register_module("layout_value", nn::Linear(narrow(c), narrow(c)))) {}

  static int64_t narrow(const LiltConfig& c) { return c.hidden_size / c.channel_shrink_ratio; }

  Streams forward(const Streams& x, TransformerCall& call) {
    const Tensor q = split_heads(query(x.words), heads), k = split_heads(key(x.words), heads),
                 v = split_heads(value(x.words), heads);
    const Tensor layout_q = split_heads(layout_query(x.layout), heads),
                 layout_k = split_heads(layout_key(x.layout), heads),
                 layout_v = split_heads(layout_value(x.layout), heads);
    // Both streams share the sum of their scaled scores, so the probabilities serve both values at once.
    Tensor bias = at::matmul(layout_q, layout_k.transpose(2, 3)) / std::sqrt(static_cast<double>(layout_q.size(3)));
    if (by_key) bias = bias + relative_bias(q, k, 0);
    const int64_t d = v.size(3);
    const Tensor y =
        call.attend(layer, q, k, at::cat({v, layout_v}, -1), {.mask = bias, .dropout = is_training() ? dropout : 0});
    return {merge_heads(y.slice(3, 0, d)), merge_heads(y.slice(3, d))};
  }
};
TORCH_MODULE(LiltSelfAttention);

// Linear, dropout, residual, norm.
struct LiltOutputImpl : nn::Module {
  nn::Linear dense;
  nn::LayerNorm LayerNorm;
  nn::Dropout dropout;

  LiltOutputImpl(const LiltConfig& c, int64_t in_features, int64_t out_features)
      : dense(register_module("dense", nn::Linear(in_features, out_features))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(out_features, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  Tensor forward(const Tensor& x, const Tensor& residual) { return LayerNorm(dropout(dense(x)) + residual); }
};
TORCH_MODULE(LiltOutput);

struct LiltIntermediateImpl : nn::Module {
  nn::Linear dense;
  Activation act;

  LiltIntermediateImpl(const LiltConfig& c, int64_t in_features, int64_t out_features)
      : dense(register_module("dense", nn::Linear(in_features, out_features))), act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return act(dense(x)); }
};
TORCH_MODULE(LiltIntermediate);

struct LiltAttentionImpl : nn::Module {
  LiltSelfAttention self;
  LiltOutput output, layout_output;

  LiltAttentionImpl(const LiltConfig& c, size_t layer)
      : self(register_module("self", LiltSelfAttention(c, layer))),
        output(register_module("output", LiltOutput(c, c.hidden_size, c.hidden_size))),
        layout_output(register_module("layout_output", LiltOutput(c, c.hidden_size / c.channel_shrink_ratio,
                                                                  c.hidden_size / c.channel_shrink_ratio))) {}

  Streams forward(const Streams& x, TransformerCall& call) {
    const Streams y = self(x, call);
    return {output(y.words, x.words), layout_output(y.layout, x.layout)};
  }
};
TORCH_MODULE(LiltAttention);

struct LiltLayerImpl : nn::Module {
  LiltAttention attention;
  LiltIntermediate intermediate, layout_intermediate;
  LiltOutput output, layout_output;

  LiltLayerImpl(const LiltConfig& c, size_t layer)
      : LiltLayerImpl(c, layer, c.hidden_size / c.channel_shrink_ratio, c.intermediate_size / c.channel_shrink_ratio) {}
  LiltLayerImpl(const LiltConfig& c, size_t layer, int64_t narrow, int64_t narrow_intermediate)
      : attention(register_module("attention", LiltAttention(c, layer))),
        intermediate(register_module("intermediate", LiltIntermediate(c, c.hidden_size, c.intermediate_size))),
        layout_intermediate(register_module("layout_intermediate", LiltIntermediate(c, narrow, narrow_intermediate))),
        output(register_module("output", LiltOutput(c, c.intermediate_size, c.hidden_size))),
        layout_output(register_module("layout_output", LiltOutput(c, narrow_intermediate, narrow))) {}

  Streams forward(Streams x, TransformerCall& call) {
    x = attention(x, call);
    return {output(intermediate(x.words), x.words), layout_output(layout_intermediate(x.layout), x.layout)};
  }
};
TORCH_MODULE(LiltLayer);

struct LiltEncoderImpl : nn::Module {
  nn::Layers<LiltLayer> layer;

  explicit LiltEncoderImpl(const LiltConfig& c)
      : layer(register_module("layer", nn::Layers<LiltLayer>(c.num_hidden_layers, [&](int64_t i) {
                                return LiltLayer(c, static_cast<size_t>(i));
                              }))) {}

  Tensor forward(Streams x, TransformerCall& call) {
    for (auto& one : *layer) {
      call.see(x.words);
      x = one(x, call);
    }
    call.see(x.words);
    return x.words;
  }
};
TORCH_MODULE(LiltEncoder);

struct LiltPreTrainedModel : PreTrainedModel {
  using Config = LiltConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "lilt"}; }
};

struct LiltModel : LiltPreTrainedModel {
  const LiltConfig& c;
  roberta::RobertaEmbeddings embeddings;
  LiltLayoutEmbeddings layout_embeddings;
  LiltEncoder encoder;
  bert::BertPooler pooler{nullptr};

  explicit LiltModel(const LiltConfig& config, bool add_pooling_layer = true)
      : LiltPreTrainedModel(config),
        c(config),
        embeddings(register_module("embeddings", roberta::RobertaEmbeddings(c))),
        layout_embeddings(register_module("layout_embeddings", LiltLayoutEmbeddings(c))),
        encoder(register_module("encoder", LiltEncoder(c))) {
    check_head_size(c.hidden_size, c.num_attention_heads);
    if (add_pooling_layer) pooler = register_module("pooler", bert::BertPooler(c));
  }

  nn::Embedding get_input_embeddings() override { return embeddings->word_embeddings; }
  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderArguments, "bbox");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    TransformerCall call(inputs, c, {.layers = c.num_hidden_layers, .heads = c.num_attention_heads});
    Tensor bbox = inputs.tensor("bbox");
    if (!bbox.defined()) bbox = at::zeros({call.batch, call.seq, 4}, at::kLong);
    if (bbox.dim() != 3 || bbox.size(2) != 4) {
      throw Error(ErrorCode::invalid_value, concat("bbox has shape ", bbox.sizes(), "; give [batch, seq, 4]"));
    }
    const Tensor words = embeddings(inputs, call);
    call.start(words);
    const Tensor positions = roberta::positions_after_padding(inputs, call, embeddings->padding);
    const Tensor x = encoder(Streams{words, layout_embeddings(bbox, positions)}, call);
    return call.finish(x, pooler ? pooler(x) : Tensor());
  }
};

struct LiltForSequenceClassification : roberta::RobertaSequenceLabelsOf<LiltPreTrainedModel, LiltModel> {
  using SequenceLabelHead::SequenceLabelHead;
};
struct LiltForTokenClassification : TokenLabelHead<LiltPreTrainedModel, Unpooled<LiltModel>> {
  using TokenLabelHead::TokenLabelHead;
};
struct LiltForQuestionAnswering : QuestionAnsweringHead<LiltPreTrainedModel, Unpooled<LiltModel>> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(lilt, plugin) {
  plugin.config<LiltConfig>();
  plugin.tokenizer("LayoutLMv3Tokenizer", "LayoutLMv3TokenizerFast");
  plugin.model<LiltModel>(Auto::Model);
  plugin.model<LiltForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<LiltForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<LiltForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::lilt
