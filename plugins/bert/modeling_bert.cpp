// BERT: Devlin et al. 2018, https://arxiv.org/abs/1810.04805
// Post-norm encoder, learned absolute positions, two token types. As a decoder (is_decoder) it is causal, keeps a
// cache, and may attend to an encoder's states. Relative positions: Shaw et al. 2018, https://arxiv.org/abs/1803.02155,
// and Huang et al. 2020, https://arxiv.org/abs/2009.13658. Reference: transformers, models/bert/modeling_bert.py

#include "configuration_bert.h"

namespace backplane::bert {

constexpr std::array<std::string_view, 8> kEncoderArguments = {
    "input_ids", "attention_mask", "token_type_ids",       "position_ids",
    "head_mask", "inputs_embeds",  "output_hidden_states", "output_attentions"};
constexpr auto kDecoderArguments = extend(kEncoderArguments, "encoder_hidden_states", "encoder_attention_mask");

// What every layer of one call shares.
struct Pass {
  Tensor mask;          // additive [batch, 1, q or 1, kv], or undefined
  Tensor head_mask;     // [layers, batch or 1, heads, 1, 1], or undefined
  Tensor encoder;       // [batch, encoder seq, hidden], or undefined
  Tensor encoder_mask;  // additive [batch, 1, 1, encoder seq], or undefined
  KvCachePtr cache;
  std::vector<Tensor>* attentions = nullptr;
  std::vector<Tensor>* cross_attentions = nullptr;
};

struct BertEmbeddingsImpl : nn::Module {
  bool absolute;
  nn::Embedding word_embeddings, position_embeddings, token_type_embeddings;
  nn::LayerNorm LayerNorm;
  nn::Dropout dropout;

  explicit BertEmbeddingsImpl(const BertConfig& c)
      : absolute(c.position_embedding_type == "absolute"),
        word_embeddings(register_module("word_embeddings", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        position_embeddings(
            register_module("position_embeddings", nn::Embedding(c.max_position_embeddings, c.hidden_size))),
        token_type_embeddings(
            register_module("token_type_embeddings", nn::Embedding(c.type_vocab_size, c.hidden_size))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  // x [batch, seq, hidden], token_type_ids and position_ids [batch or 1, seq] -> [batch, seq, hidden]
  Tensor forward(Tensor x, const Tensor& token_type_ids, const Tensor& position_ids) {
    x = x + token_type_embeddings(token_type_ids);
    if (absolute) x = x + position_embeddings(position_ids);
    return dropout(LayerNorm(x));
  }
};
TORCH_MODULE(BertEmbeddings);

struct BertSelfAttentionImpl : nn::Module {
  int64_t heads, max_positions;
  size_t layer;
  bool is_cross, is_decoder, by_key, by_query;
  AttnImplementation implementation;
  double dropout;
  nn::Linear query, key, value;
  nn::Embedding distance_embedding{nullptr};

  BertSelfAttentionImpl(const BertConfig& c, size_t layer, bool is_cross)
      : heads(c.num_attention_heads),
        max_positions(c.max_position_embeddings),
        layer(layer),
        is_cross(is_cross),
        is_decoder(c.is_decoder),
        by_key(c.position_embedding_type == "relative_key" || c.position_embedding_type == "relative_key_query"),
        by_query(c.position_embedding_type == "relative_key_query"),
        implementation(c.attn_implementation),
        dropout(c.attention_probs_dropout_prob),
        query(register_module("query", nn::Linear(c.hidden_size, c.hidden_size))),
        key(register_module("key", nn::Linear(c.hidden_size, c.hidden_size))),
        value(register_module("value", nn::Linear(c.hidden_size, c.hidden_size))) {
    if (by_key) {
      distance_embedding =
          register_module("distance_embedding", nn::Embedding(2 * max_positions - 1, c.hidden_size / heads));
    }
  }

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, const Pass& pass) {
    const Tensor q = split_heads(query(x), heads);  // [batch, heads, seq, d]
    auto [k, v] = keys_and_values(x, pass);
    auto* const seen = is_cross ? pass.cross_attentions : pass.attentions;
    const Tensor& mask = is_cross ? pass.encoder_mask : pass.mask;
    if (by_key || pass.head_mask.defined()) return merge_heads(scored(q, k, v, mask, pass, seen));
    Tensor probs;
    const Tensor y = attention(q, k, v,
                               {.mask = mask,
                                .dropout = is_training() ? dropout : 0,
                                .implementation = implementation,
                                .probs = seen ? &probs : nullptr});
    if (seen) seen->push_back(probs);
    return merge_heads(y);
  }

  std::pair<Tensor, Tensor> keys_and_values(const Tensor& x, const Pass& pass) {
    if (!is_cross) {
      const Tensor k = split_heads(key(x), heads), v = split_heads(value(x), heads);
      return pass.cache ? pass.cache->update(layer, k, v) : std::pair(k, v);
    }
    if (!pass.cache) return {split_heads(key(pass.encoder), heads), split_heads(value(pass.encoder), heads)};
    auto& kept = pass.cache->cross(layer);
    if (!kept.first.defined()) kept = {split_heads(key(pass.encoder), heads), split_heads(value(pass.encoder), heads)};
    return kept;
  }

  // Attention with relative positions or masked heads, which no fused kernel knows.
  Tensor scored(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, const Pass& pass,
                std::vector<Tensor>* seen) {
    Tensor scores = at::matmul(q, k.transpose(2, 3));
    if (by_key) {
      const int64_t kv = k.size(2), past = is_cross ? 0 : kv - q.size(2);
      const Tensor distance = at::arange(past, past + q.size(2)).unsqueeze(1) - at::arange(kv).unsqueeze(0);
      const Tensor positions = distance_embedding(distance + max_positions - 1);  // [q, kv, d]
      scores = scores + at::einsum("bhld,lrd->bhlr", {q, positions});
      if (by_query) scores = scores + at::einsum("bhrd,lrd->bhlr", {k, positions});
    }
    scores = scores / std::sqrt(static_cast<double>(q.size(3)));
    if (mask.defined()) scores = scores + mask;
    Tensor probs = at::softmax(scores, -1);
    if (is_training() && dropout > 0) probs = at::dropout(probs, dropout, true);
    if (pass.head_mask.defined()) probs = probs * pass.head_mask[static_cast<int64_t>(layer)];
    if (seen) seen->push_back(probs);
    return at::matmul(probs, v);
  }
};
TORCH_MODULE(BertSelfAttention);

// Linear, dropout, residual, norm: after attention and after the feed-forward part.
struct BertOutputImpl : nn::Module {
  nn::Linear dense;
  nn::LayerNorm LayerNorm;
  nn::Dropout dropout;

  BertOutputImpl(const BertConfig& c, int64_t in_features)
      : dense(register_module("dense", nn::Linear(in_features, c.hidden_size))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  Tensor forward(const Tensor& x, const Tensor& residual) { return LayerNorm(dropout(dense(x)) + residual); }
};
TORCH_MODULE(BertOutput);

struct BertAttentionImpl : nn::Module {
  BertSelfAttention self;
  BertOutput output;

  BertAttentionImpl(const BertConfig& c, size_t layer, bool is_cross)
      : self(register_module("self", BertSelfAttention(c, layer, is_cross))),
        output(register_module("output", BertOutput(c, c.hidden_size))) {}

  Tensor forward(const Tensor& x, const Pass& pass) { return output(self(x, pass), x); }
};
TORCH_MODULE(BertAttention);

struct BertIntermediateImpl : nn::Module {
  nn::Linear dense;
  Activation act;

  explicit BertIntermediateImpl(const BertConfig& c)
      : dense(register_module("dense", nn::Linear(c.hidden_size, c.intermediate_size))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return act(dense(x)); }
};
TORCH_MODULE(BertIntermediate);

struct BertLayerImpl : nn::Module {
  BertAttention attention, crossattention{nullptr};
  BertIntermediate intermediate;
  BertOutput output;

  BertLayerImpl(const BertConfig& c, size_t layer)
      : attention(register_module("attention", BertAttention(c, layer, false))),
        intermediate(register_module("intermediate", BertIntermediate(c))),
        output(register_module("output", BertOutput(c, c.intermediate_size))) {
    if (c.add_cross_attention) crossattention = register_module("crossattention", BertAttention(c, layer, true));
  }

  Tensor forward(Tensor x, const Pass& pass) {
    x = attention(x, pass);
    if (pass.encoder.defined()) x = crossattention(x, pass);
    return output(intermediate(x), x);
  }
};
TORCH_MODULE(BertLayer);

struct BertEncoderImpl : nn::Module {
  nn::Layers<BertLayer> layer;

  explicit BertEncoderImpl(const BertConfig& c)
      : layer(register_module(
            "layer", nn::Layers<BertLayer>(c.num_hidden_layers, [&](int64_t i) { return BertLayer(c, i); }))) {}

  Tensor forward(Tensor x, const Pass& pass, std::vector<Tensor>* hidden_states) {
    for (auto& one : *layer) {
      if (hidden_states) hidden_states->push_back(x);
      x = one(x, pass);
    }
    if (hidden_states) hidden_states->push_back(x);
    return x;
  }
};
TORCH_MODULE(BertEncoder);

// tanh of a linear map of the first token.
struct BertPoolerImpl : nn::Module {
  nn::Linear dense;

  explicit BertPoolerImpl(const BertConfig& c)
      : dense(register_module("dense", nn::Linear(c.hidden_size, c.hidden_size))) {}

  // x [batch, seq, hidden] -> [batch, hidden]
  Tensor forward(const Tensor& x) { return at::tanh(dense(x.select(1, 0).contiguous())); }
};
TORCH_MODULE(BertPooler);

struct BertPreTrainedModel : PreTrainedModel {
  using Config = BertConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "bert"}; }
};

struct BertModel : BertPreTrainedModel {
  explicit BertModel(const BertConfig& config, bool add_pooling_layer = true);
  std::span<const std::string_view> arguments() const override;
  ModelOutput compute(const ModelInputs& inputs) override;

  const BertConfig& c;
  BertEmbeddings embeddings{nullptr};
  BertEncoder encoder{nullptr};
  BertPooler pooler{nullptr};
};

BertModel::BertModel(const BertConfig& config, bool add_pooling_layer) : BertPreTrainedModel(config), c(config) {
  if (c.num_attention_heads <= 0 || c.hidden_size % c.num_attention_heads != 0) {
    throw Error(ErrorCode::bad_config,
                concat("config.json: hidden_size (", c.hidden_size, ") is not divisible by num_attention_heads (",
                       c.num_attention_heads, ")"));
  }
  if (c.add_cross_attention && !c.is_decoder) {
    throw Error(ErrorCode::bad_config, "config.json: add_cross_attention needs is_decoder to be true");
  }
  embeddings = register_module("embeddings", BertEmbeddings(c));
  encoder = register_module("encoder", BertEncoder(c));
  if (add_pooling_layer) pooler = register_module("pooler", BertPooler(c));
}

std::span<const std::string_view> BertModel::arguments() const {
  static constexpr auto kArguments = extend(kDecoderArguments, "past_key_values", "use_cache");
  return kArguments;
}

ModelOutput BertModel::compute(const ModelInputs& inputs) {
  const Tensor ids = inputs.tensor("input_ids");
  Tensor x = inputs.tensor("inputs_embeds");
  if (ids.defined() == x.defined()) throw Error(ErrorCode::invalid_value, "give either input_ids or inputs_embeds");
  if (ids.defined()) x = embeddings->word_embeddings(ids);
  const int64_t batch = x.size(0), seq = x.size(1);

  KvCachePtr cache = c.is_decoder ? inputs.cache("past_key_values") : nullptr;
  if (c.is_decoder && !cache && inputs.flag("use_cache", c.use_cache)) cache = std::make_shared<KvCache>();
  const int64_t past = cache ? cache->length() : 0;
  if (past + seq > c.max_position_embeddings) {
    throw Error(ErrorCode::invalid_value,
                concat("a sequence of ", past + seq, " tokens is longer than max_position_embeddings (",
                       c.max_position_embeddings, "); truncate it"));
  }

  Tensor positions = inputs.tensor("position_ids");
  if (!positions.defined()) positions = at::arange(past, past + seq, at::kLong).unsqueeze(0);
  Tensor types = inputs.tensor("token_type_ids");
  if (!types.defined()) types = at::zeros({batch, seq}, at::kLong);
  x = embeddings(x, types, positions);

  std::vector<Tensor> hidden_states, attentions, cross_attentions;
  Pass pass;
  pass.cache = cache;
  const Tensor attention_mask = inputs.tensor("attention_mask");
  pass.mask = c.is_decoder ? causal_mask(attention_mask, seq, past, x.scalar_type())
                           : padding_mask(attention_mask, x.scalar_type());
  if (Tensor head_mask = inputs.tensor("head_mask"); head_mask.defined()) {
    if (head_mask.dim() == 1) head_mask = head_mask.unsqueeze(0).expand({c.num_hidden_layers, c.num_attention_heads});
    pass.head_mask = head_mask.view({c.num_hidden_layers, 1, c.num_attention_heads, 1, 1}).to(x.scalar_type());
  }
  if (c.is_decoder) pass.encoder = inputs.tensor("encoder_hidden_states");
  if (pass.encoder.defined()) {
    if (!c.add_cross_attention) {
      throw Error(ErrorCode::invalid_value,
                  "encoder_hidden_states need cross-attention layers: set add_cross_attention in the config");
    }
    pass.encoder_mask = padding_mask(inputs.tensor("encoder_attention_mask"), x.scalar_type());
  }
  if (inputs.flag("output_attentions", c.output_attentions)) {
    pass.attentions = &attentions;
    pass.cross_attentions = &cross_attentions;
  }

  x = encoder(x, pass, inputs.flag("output_hidden_states", c.output_hidden_states) ? &hidden_states : nullptr);
  if (cache) cache->advance(seq);

  ModelOutput output;
  output.set("last_hidden_state", x);
  if (pooler) output.set("pooler_output", pooler(x));
  output.set("past_key_values", cache);
  output.set("hidden_states", hidden_states);
  output.set("attentions", attentions);
  output.set("cross_attentions", cross_attentions);
  return output;
}

struct BertPredictionHeadTransformImpl : nn::Module {
  nn::Linear dense;
  Activation act;
  nn::LayerNorm LayerNorm;

  explicit BertPredictionHeadTransformImpl(const BertConfig& c)
      : dense(register_module("dense", nn::Linear(c.hidden_size, c.hidden_size))),
        act(activation(c.hidden_act)),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  Tensor forward(const Tensor& x) { return LayerNorm(act(dense(x))); }
};
TORCH_MODULE(BertPredictionHeadTransform);

struct BertLMPredictionHeadImpl : nn::Module {
  Tensor bias;
  BertPredictionHeadTransform transform;
  nn::Linear decoder;

  explicit BertLMPredictionHeadImpl(const BertConfig& c)
      : bias(register_parameter("bias", at::empty({c.vocab_size}))),
        transform(register_module("transform", BertPredictionHeadTransform(c))),
        decoder(register_module("decoder", nn::Linear(c.hidden_size, c.vocab_size))) {
    decoder->tie_bias(bias);
  }

  // x [batch, seq, hidden] -> [batch, seq, vocab]
  Tensor forward(const Tensor& x) { return decoder(transform(x)); }
};
TORCH_MODULE(BertLMPredictionHead);

// The heads of pre-training: words, next sentence, or both.
struct BertHeadsImpl : nn::Module {
  BertLMPredictionHead predictions{nullptr};
  nn::Linear seq_relationship{nullptr};

  BertHeadsImpl(const BertConfig& c, bool words, bool next_sentence) {
    if (words) predictions = register_module("predictions", BertLMPredictionHead(c));
    if (next_sentence) seq_relationship = register_module("seq_relationship", nn::Linear(c.hidden_size, 2));
  }
};
TORCH_MODULE(BertHeads);

struct BertForPreTraining : BertPreTrainedModel {
  std::shared_ptr<BertModel> bert;
  BertHeads cls;

  explicit BertForPreTraining(const BertConfig& c)
      : BertPreTrainedModel(c),
        bert(register_module("bert", std::make_shared<BertModel>(c))),
        cls(register_module("cls", BertHeads(c, true, true))) {}

  void tie_weights() override {
    if (config().tie_word_embeddings) cls->predictions->decoder->tie_weight(bert->embeddings->word_embeddings->weight);
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderArguments, "labels", "next_sentence_label");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = bert->forward(inputs.select(bert->arguments()));
    const Tensor words = cls->predictions(base["last_hidden_state"]),
                 next = cls->seq_relationship(base["pooler_output"]);
    const Tensor labels = inputs.tensor("labels"), next_label = inputs.tensor("next_sentence_label");
    ModelOutput output;
    if (labels.defined() && next_label.defined())
      output.set("loss", cross_entropy(words, labels) + cross_entropy(next, next_label));
    output.set("prediction_logits", words);
    output.set("seq_relationship_logits", next);
    output.pass_on(base);
    return output;
  }
};

struct BertLMHeadModel : BertPreTrainedModel {
  std::shared_ptr<BertModel> bert;
  BertHeads cls;

  explicit BertLMHeadModel(const BertConfig& c)
      : BertPreTrainedModel(c),
        bert(register_module("bert", std::make_shared<BertModel>(c, false))),
        cls(register_module("cls", BertHeads(c, true, false))) {}

  void tie_weights() override {
    if (config().tie_word_embeddings) cls->predictions->decoder->tie_weight(bert->embeddings->word_embeddings->weight);
  }
  bool can_generate() const override { return true; }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kDecoderArguments, "past_key_values", "use_cache", "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor labels = inputs.tensor("labels");
    ModelInputs base_inputs = inputs.select(bert->arguments());
    if (labels.defined()) base_inputs.set("use_cache", false);
    const auto base = bert->forward(base_inputs);
    const Tensor logits = cls->predictions(base["last_hidden_state"]);
    ModelOutput output;
    if (labels.defined()) output.set("loss", causal_lm_loss(logits, labels));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

struct BertForMaskedLM : BertPreTrainedModel {
  std::shared_ptr<BertModel> bert;
  BertHeads cls;

  explicit BertForMaskedLM(const BertConfig& c)
      : BertPreTrainedModel(c),
        bert(register_module("bert", std::make_shared<BertModel>(c, false))),
        cls(register_module("cls", BertHeads(c, true, false))) {}

  void tie_weights() override {
    if (config().tie_word_embeddings) cls->predictions->decoder->tie_weight(bert->embeddings->word_embeddings->weight);
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kDecoderArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = bert->forward(inputs.select(bert->arguments()));
    const Tensor logits = cls->predictions(base["last_hidden_state"]), labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) output.set("loss", cross_entropy(logits, labels));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

struct BertForNextSentencePrediction : BertPreTrainedModel {
  std::shared_ptr<BertModel> bert;
  BertHeads cls;

  explicit BertForNextSentencePrediction(const BertConfig& c)
      : BertPreTrainedModel(c),
        bert(register_module("bert", std::make_shared<BertModel>(c))),
        cls(register_module("cls", BertHeads(c, false, true))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = bert->forward(inputs.select(bert->arguments()));
    const Tensor logits = cls->seq_relationship(base["pooler_output"]), labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) output.set("loss", cross_entropy(logits, labels));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

static double classifier_dropout(const BertConfig& c) { return c.classifier_dropout.value_or(c.hidden_dropout_prob); }

struct BertForSequenceClassification : BertPreTrainedModel {
  std::shared_ptr<BertModel> bert;
  nn::Dropout dropout;
  nn::Linear classifier;

  explicit BertForSequenceClassification(const BertConfig& c)
      : BertPreTrainedModel(c),
        bert(register_module("bert", std::make_shared<BertModel>(c))),
        dropout(register_module("dropout", nn::Dropout(classifier_dropout(c)))),
        classifier(register_module("classifier", nn::Linear(c.hidden_size, c.num_labels()))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = bert->forward(inputs.select(bert->arguments()));
    const Tensor logits = classifier(dropout(base["pooler_output"])), labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) output.set("loss", classification_loss(logits, labels, config()));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

struct BertForMultipleChoice : BertPreTrainedModel {
  std::shared_ptr<BertModel> bert;
  nn::Dropout dropout;
  nn::Linear classifier;

  explicit BertForMultipleChoice(const BertConfig& c)
      : BertPreTrainedModel(c),
        bert(register_module("bert", std::make_shared<BertModel>(c))),
        dropout(register_module("dropout", nn::Dropout(classifier_dropout(c)))),
        classifier(register_module("classifier", nn::Linear(c.hidden_size, 1))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderArguments, "labels");
    return kArguments;
  }

  // Inputs are [batch, choices, seq]; each choice is a sequence of its own.
  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor ids = inputs.tensor("input_ids");
    const int64_t choices = (ids.defined() ? ids : inputs["inputs_embeds"]).size(1);
    ModelInputs flat;
    for (const auto& [name, value] : inputs.select(bert->arguments())) {
      const auto* tensor = std::get_if<Tensor>(&value);
      flat.set(name, tensor && name != "head_mask" ? Argument(tensor->flatten(0, 1)) : value);
    }
    const auto base = bert->forward(flat);
    const Tensor logits = classifier(dropout(base["pooler_output"])).view({-1, choices}),
                 labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) output.set("loss", cross_entropy(logits, labels));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

struct BertForTokenClassification : BertPreTrainedModel {
  std::shared_ptr<BertModel> bert;
  nn::Dropout dropout;
  nn::Linear classifier;

  explicit BertForTokenClassification(const BertConfig& c)
      : BertPreTrainedModel(c),
        bert(register_module("bert", std::make_shared<BertModel>(c, false))),
        dropout(register_module("dropout", nn::Dropout(classifier_dropout(c)))),
        classifier(register_module("classifier", nn::Linear(c.hidden_size, c.num_labels()))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = bert->forward(inputs.select(bert->arguments()));
    const Tensor logits = classifier(dropout(base["last_hidden_state"])), labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) output.set("loss", cross_entropy(logits, labels));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

struct BertForQuestionAnswering : BertPreTrainedModel {
  std::shared_ptr<BertModel> bert;
  nn::Linear qa_outputs;

  explicit BertForQuestionAnswering(const BertConfig& c)
      : BertPreTrainedModel(c),
        bert(register_module("bert", std::make_shared<BertModel>(c, false))),
        qa_outputs(register_module("qa_outputs", nn::Linear(c.hidden_size, c.num_labels()))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderArguments, "start_positions", "end_positions");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = bert->forward(inputs.select(bert->arguments()));
    const Tensor logits = qa_outputs(base["last_hidden_state"]);
    const Tensor start = logits.select(-1, 0).contiguous(), end = logits.select(-1, 1).contiguous();
    const Tensor from = inputs.tensor("start_positions"), to = inputs.tensor("end_positions");
    ModelOutput output;
    if (from.defined() && to.defined()) output.set("loss", span_loss(start, end, from, to));
    output.set("start_logits", start);
    output.set("end_logits", end);
    output.pass_on(base);
    return output;
  }
};

BACKPLANE_PLUGIN(bert, plugin) {
  plugin.config<BertConfig>();
  plugin.tokenizer("BertTokenizer", "BertTokenizerFast");
  plugin.model<BertModel>(Auto::Model);
  plugin.model<BertModel>(Auto::ForTextEncoding);
  plugin.model<BertForPreTraining>(Auto::ForPreTraining);
  plugin.model<BertForMaskedLM>(Auto::WithLMHead);
  plugin.model<BertLMHeadModel>(Auto::ForCausalLM);
  plugin.model<BertForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<BertForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<BertForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<BertForTokenClassification>(Auto::ForTokenClassification);
  plugin.model<BertForMultipleChoice>(Auto::ForMultipleChoice);
  plugin.model<BertForNextSentencePrediction>(Auto::ForNextSentencePrediction);
}

}  // namespace backplane::bert
