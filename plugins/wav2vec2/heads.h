#pragma once

// The heads of the family, over a base model `Base` that has Config, kPrefix (its name in the checkpoint of a head) and
// feature_lengths. `Config` derives from SpeechConfig.

#include "modeling_wav2vec2.h"

namespace backplane::wav2vec2 {

template <class Base>
struct SpeechHead : PreTrainedModel {
  using Config = typename Base::Config;
  static constexpr bool supports_sdpa = Base::supports_sdpa;
  const Config& c;
  std::shared_ptr<Base> base;

  explicit SpeechHead(const Config& config)
      : PreTrainedModel(config), c(config), base(register_module(Base::kPrefix, std::make_shared<Base>(config))) {}

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = Base::kPrefix}; }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kAll = extend(Base::kBaseArguments, "labels");
    return kAll;
  }

 protected:
  void no_adapter(const char* head) const {
    if (c.add_adapter)
      throw Error(ErrorCode::bad_config, concat("config.json: ", head, " does not support add_adapter"));
  }
  void make_layer_weights() {
    if (c.use_weighted_layer_sum) {
      layer_weights = register_parameter("layer_weights", nn::uninitialised({c.num_hidden_layers + 1}));
    }
  }
  // The base model's output, and the states that the head reads.
  std::pair<ModelOutput, Tensor> states(const ModelInputs& inputs) {
    ModelInputs base_inputs = inputs.select(base->arguments());
    if (c.use_weighted_layer_sum) base_inputs.set("output_hidden_states", true);
    ModelOutput output = base->forward(base_inputs);
    Tensor x = c.use_weighted_layer_sum ? weighted_layer_sum(output.tuple("hidden_states"), layer_weights)
                                        : output["last_hidden_state"];
    return {std::move(output), x};
  }
  ModelOutput result(const Tensor& loss, const Tensor& logits, const ModelOutput& base_output) {
    ModelOutput output;
    output.set("loss", loss);
    output.set("logits", logits);
    output.pass_on(base_output);
    return output;
  }

  Tensor layer_weights;
};

template <class Base>
struct SpeechForCTC : SpeechHead<Base> {
  nn::Dropout dropout;
  nn::Linear lm_head{nullptr};

  explicit SpeechForCTC(const typename Base::Config& c)
      : SpeechHead<Base>(c), dropout(this->register_module("dropout", nn::Dropout(c.final_dropout))) {
    if (!c.vocab_size)
      throw Error(ErrorCode::bad_config, "config.json: a CTC head needs vocab_size, the number of its classes");
    lm_head = this->register_module("lm_head",
                                    nn::Linear(c.add_adapter ? *c.output_hidden_size : c.hidden_size, *c.vocab_size));
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base_output = this->base->forward(inputs.select(this->base->arguments()));
    const Tensor logits = lm_head(dropout(base_output["last_hidden_state"])), labels = inputs.tensor("labels");
    Tensor loss;
    if (labels.defined()) {
      loss = ctc_loss(logits, this->base->feature_lengths(Base::lengths_of(inputs)), labels,
                      {.blank = this->c.pad_token_id.value_or(0),
                       .reduction = this->c.ctc_loss_reduction,
                       .zero_infinity = this->c.ctc_zero_infinity});
    }
    return this->result(loss, logits, base_output);
  }
};

template <class Base>
struct SpeechForSequenceClassification : SpeechHead<Base> {
  nn::Linear projector, classifier;

  explicit SpeechForSequenceClassification(const typename Base::Config& c)
      : SpeechHead<Base>(c),
        projector(this->register_module("projector", nn::Linear(c.hidden_size, c.classifier_proj_size))),
        classifier(this->register_module("classifier", nn::Linear(c.classifier_proj_size, c.num_labels()))) {
    this->no_adapter("sequence classification");
    this->make_layer_weights();
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    auto [base_output, x] = this->states(inputs);
    x = projector(x);
    const Tensor attention_mask = inputs.tensor("attention_mask"), labels = inputs.tensor("labels");
    Tensor pooled;
    if (attention_mask.defined()) {
      const Tensor heard = mask_of(this->base->feature_lengths(attention_mask.to(at::kLong).sum(-1)), x.size(1));
      pooled = silence_padding(x, heard).sum(1) / heard.sum(1).view({-1, 1});
    } else {
      pooled = x.mean(1);
    }
    const Tensor logits = classifier(pooled);
    return this->result(labels.defined() ? cross_entropy(logits, labels) : Tensor(), logits, base_output);
  }
};

template <class Base>
struct SpeechForAudioFrameClassification : SpeechHead<Base> {
  nn::Linear classifier;

  explicit SpeechForAudioFrameClassification(const typename Base::Config& c)
      : SpeechHead<Base>(c),
        classifier(this->register_module("classifier", nn::Linear(c.hidden_size, c.num_labels()))) {
    this->no_adapter("audio frame classification");
    this->make_layer_weights();
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    auto [base_output, x] = this->states(inputs);
    const Tensor logits = classifier(x), labels = inputs.tensor("labels");  // labels [batch, frames, classes], one-hot
    Tensor loss;
    if (labels.defined()) loss = cross_entropy(logits, labels.reshape({-1, logits.size(-1)}).argmax(1));
    return this->result(loss, logits, base_output);
  }
};

struct AMSoftmaxLossImpl : nn::Module {
  Tensor weight;

  AMSoftmaxLossImpl(int64_t size, int64_t classes) {
    weight = register_parameter("weight", nn::uninitialised({size, classes}));
  }
  Tensor forward(const Tensor& x, const Tensor& labels) { return am_softmax_loss(x, weight, labels); }
};
TORCH_MODULE(AMSoftmaxLoss);

// Speaker embeddings. Snyder et al. 2018, x-vectors.
template <class Base>
struct SpeechForXVector : SpeechHead<Base> {
  nn::Linear projector;
  nn::Layers<nn::TdnnLayer> tdnn;
  nn::Linear feature_extractor, classifier;
  AMSoftmaxLoss objective;

  explicit SpeechForXVector(const typename Base::Config& c)
      : SpeechHead<Base>(c),
        projector(this->register_module("projector", nn::Linear(c.hidden_size, c.tdnn_dim[0]))),
        tdnn(this->register_module(
            "tdnn", nn::Layers<nn::TdnnLayer>(static_cast<int64_t>(c.tdnn_dim.size()),
                                              [&](int64_t i) {
                                                const auto at = static_cast<size_t>(i);
                                                return nn::TdnnLayer(c.tdnn_dim[i > 0 ? at - 1 : 0], c.tdnn_dim[at],
                                                                     c.tdnn_kernel[at], c.tdnn_dilation[at]);
                                              }))),
        feature_extractor(
            this->register_module("feature_extractor", nn::Linear(c.tdnn_dim.back() * 2, c.xvector_output_dim))),
        classifier(this->register_module("classifier", nn::Linear(c.xvector_output_dim, c.xvector_output_dim))),
        objective(this->register_module("objective", AMSoftmaxLoss(c.xvector_output_dim, c.num_labels()))) {
    this->make_layer_weights();
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    auto [base_output, x] = this->states(inputs);
    x = projector(x);
    for (auto& layer : *tdnn) x = layer(x);
    const Tensor attention_mask = inputs.tensor("attention_mask"), labels = inputs.tensor("labels");
    Tensor mean, deviation;  // [batch, channels], over the frames of each wave
    if (attention_mask.defined()) {
      Tensor lengths = this->base->feature_lengths(attention_mask.to(at::kLong).sum(-1));
      for (int64_t kernel : this->c.tdnn_kernel) lengths = lengths - kernel + 1;
      std::vector<Tensor> means, deviations;
      for (int64_t i = 0; i < x.size(0); ++i) {
        const Tensor frames = x[i].slice(0, 0, lengths[i].template item<int64_t>());
        means.push_back(frames.mean(0));
        deviations.push_back(frames.std(0));
      }
      mean = at::stack(means);
      deviation = at::stack(deviations);
    } else {
      mean = x.mean(1);
      deviation = x.std(1);
    }
    const Tensor embeddings = feature_extractor(at::cat({mean, deviation}, -1));
    const Tensor logits = classifier(embeddings);
    ModelOutput output = this->result(labels.defined() ? objective(logits, labels) : Tensor(), logits, {});
    output.set("embeddings", embeddings);
    output.pass_on(base_output);
    return output;
  }
};

// Contrastive loss between each masked frame's prediction and its quantised features among negatives.
template <class Base>
struct SpeechForPreTraining : SpeechHead<Base> {
  nn::Dropout dropout_features;
  nn::GumbelVectorQuantizer quantizer;
  nn::Linear project_hid, project_q;

  explicit SpeechForPreTraining(const typename Base::Config& c)
      : SpeechHead<Base>(c),
        dropout_features(this->register_module("dropout_features", nn::Dropout(c.feat_quantizer_dropout))),
        quantizer(this->register_module("quantizer",
                                        nn::GumbelVectorQuantizer(c.conv_dim.back(), c.num_codevector_groups,
                                                                  c.num_codevectors_per_group, c.codevector_dim))),
        project_hid(this->register_module("project_hid", nn::Linear(c.hidden_size, c.proj_codevector_dim))),
        project_q(this->register_module("project_q", nn::Linear(c.codevector_dim, c.proj_codevector_dim))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kAll = extend(Base::kBaseArguments, "mask_time_indices", "sampled_negative_indices");
    return kAll;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    ModelInputs base_inputs = inputs.select(this->base->arguments());
    Tensor marked = inputs.tensor("mask_time_indices");
    if (marked.defined()) base_inputs.set("mask_time_indices", marked = marked.to(at::kBool));
    const auto base_output = this->base->forward(base_inputs);
    const Tensor predicted = project_hid(base_output["last_hidden_state"]);
    const auto [codes, perplexity] = quantizer(dropout_features(base_output["extract_features"]), marked);
    const Tensor quantised = project_q(codes), negatives = inputs.tensor("sampled_negative_indices");

    ModelOutput output;
    if (negatives.defined()) {
      if (!marked.defined()) throw Error(ErrorCode::invalid_value, "sampled_negative_indices need mask_time_indices");
      // [1 + negatives, batch, frames, size]
      const int64_t batch = quantised.size(0), frames = quantised.size(1), size = quantised.size(2);
      const Tensor others = quantised.reshape({-1, size})
                                .index_select(0, negatives.to(at::kLong).flatten())
                                .view({batch, frames, -1, size})
                                .permute({2, 0, 1, 3});
      const Tensor targets = at::cat({quantised.unsqueeze(0), others}, 0);
      Tensor logits = at::cosine_similarity(predicted.to(at::kFloat), targets.to(at::kFloat), -1) /
                      this->c.contrastive_logits_temperature;
      const Tensor same = at::cat({at::zeros({1, batch, frames}, at::kBool), (quantised == others).all(-1)}, 0);
      logits = logits.masked_fill(same, -std::numeric_limits<double>::infinity())
                   .transpose(0, 2)
                   .reshape({-1, logits.size(0)});
      const Tensor target = ((1 - marked.to(at::kLong)) * -100).transpose(0, 1).flatten();
      const Tensor contrastive = at::cross_entropy_loss(logits, target, {}, at::Reduction::Sum);
      const auto codevectors = static_cast<double>(this->c.num_codevectors_per_group * this->c.num_codevector_groups);
      const Tensor diversity = (codevectors - perplexity) / codevectors * marked.sum();
      output.set("loss", contrastive + this->c.diversity_loss_weight * diversity);
      output.set("contrastive_loss", contrastive);
      output.set("diversity_loss", diversity);
    }
    output.set("projected_states", predicted);
    output.set("projected_quantized_states", quantised);
    output.set("codevector_perplexity", perplexity);
    output.pass_on(base_output);
    return output;
  }
};

}  // namespace backplane::wav2vec2
