// X-MOD: Pfeiffer et al. 2022, https://arxiv.org/abs/2205.06266
// X-MOD is RoBERTa except: each layer ends in an adapter of the sequence's language; norms may stand before the blocks.
// Reference: transformers, models/xmod/modeling_xmod.py

#include "../roberta/modeling_roberta.h"
#include "configuration_xmod.h"

namespace backplane::xmod {

// Neighbouring sequences of one language: its place in the config's list, and how many they are.
using Languages = std::vector<std::pair<size_t, int64_t>>;

struct XmodSelfOutputImpl : nn::Module {
  nn::Linear dense;
  nn::LayerNorm LayerNorm;
  nn::Dropout dropout;

  explicit XmodSelfOutputImpl(const XmodConfig& c)
      : dense(register_module("dense", nn::Linear(c.hidden_size, c.hidden_size))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  Tensor forward(const Tensor& x, const Tensor& residual) { return dropout(dense(x)) + residual; }
};
TORCH_MODULE(XmodSelfOutput);

struct XmodAttentionImpl : nn::Module {
  bool pre_norm;
  bert::BertSelfAttention self;
  XmodSelfOutput output;

  XmodAttentionImpl(const XmodConfig& c, size_t layer, bool is_cross)
      : pre_norm(c.pre_norm),
        self(register_module("self", bert::BertSelfAttention(c, layer, is_cross))),
        output(register_module("output", XmodSelfOutput(c))) {}

  Tensor forward(const Tensor& x, TransformerCall& call) {
    if (pre_norm) return output(self(output->LayerNorm(x), call), x);
    return output->LayerNorm(output(self(x, call), x));
  }
};
TORCH_MODULE(XmodAttention);

struct XmodAdapterImpl : nn::Module {
  nn::Linear dense1, dense2;
  Activation act;

  explicit XmodAdapterImpl(const XmodConfig& c)
      : dense1(register_module("dense1", nn::Linear(c.hidden_size, c.hidden_size / c.adapter_reduction_factor))),
        dense2(register_module("dense2", nn::Linear(c.hidden_size / c.adapter_reduction_factor, c.hidden_size))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return dense2(act(dense1(x))); }
};
TORCH_MODULE(XmodAdapter);

struct XmodAdaptersImpl : nn::Module {
  std::vector<XmodAdapter> adapters;

  explicit XmodAdaptersImpl(const XmodConfig& c) {
    for (const auto& language : c.languages) adapters.push_back(register_module(language, XmodAdapter(c)));
  }

  // x [batch, seq, hidden] -> [batch, seq, hidden], each sequence by its language
  Tensor forward(const Tensor& x, const Languages& languages) {
    if (languages.size() == 1) return adapters[languages[0].first](x);
    std::vector<Tensor> parts;
    int64_t first = 0;
    for (const auto& [language, count] : languages) {
      parts.push_back(adapters[language](x.narrow(0, first, count)));
      first += count;
    }
    return at::cat(parts, 0);
  }
};
TORCH_MODULE(XmodAdapters);

struct XmodOutputImpl : nn::Module {
  bool ln_before_adapter, adapter_reuse_layer_norm;
  nn::Linear dense;
  nn::LayerNorm LayerNorm, adapter_layer_norm{nullptr};
  nn::Dropout dropout;
  XmodAdapters adapter_modules;

  explicit XmodOutputImpl(const XmodConfig& c)
      : ln_before_adapter(c.ln_before_adapter),
        adapter_reuse_layer_norm(c.adapter_reuse_layer_norm),
        dense(register_module("dense", nn::Linear(c.intermediate_size, c.hidden_size))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))),
        adapter_modules(register_module("adapter_modules", XmodAdapters(c))) {
    if (c.adapter_layer_norm)
      adapter_layer_norm = register_module("adapter_layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps));
  }

  Tensor forward(Tensor x, Tensor residual, const Languages& languages) {
    x = dropout(dense(x)) + residual;
    residual = x;
    if (adapter_layer_norm) {
      x = adapter_layer_norm(x);
    } else if (adapter_reuse_layer_norm) {
      x = LayerNorm(x);
    }
    if (ln_before_adapter) residual = x;
    return dropout(adapter_modules(x, languages)) + residual;
  }
};
TORCH_MODULE(XmodOutput);

struct XmodLayerImpl : nn::Module {
  bool pre_norm;
  XmodAttention attention, crossattention{nullptr};
  bert::BertIntermediate intermediate;
  XmodOutput output;

  XmodLayerImpl(const XmodConfig& c, size_t layer)
      : pre_norm(c.pre_norm),
        attention(register_module("attention", XmodAttention(c, layer, false))),
        intermediate(register_module("intermediate", bert::BertIntermediate(c))),
        output(register_module("output", XmodOutput(c))) {
    if (c.add_cross_attention) crossattention = register_module("crossattention", XmodAttention(c, layer, true));
  }

  Tensor forward(Tensor x, const Languages& languages, TransformerCall& call) {
    x = attention(x, call);
    if (call.encoder.defined()) x = crossattention(x, call);
    if (pre_norm) return output(intermediate(output->LayerNorm(x)), x, languages);
    return output->LayerNorm(output(intermediate(x), x, languages));
  }
};
TORCH_MODULE(XmodLayer);

struct XmodEncoderImpl : nn::Module {
  nn::Layers<XmodLayer> layer;
  nn::LayerNorm LayerNorm{nullptr};

  explicit XmodEncoderImpl(const XmodConfig& c)
      : layer(register_module("layer", nn::Layers<XmodLayer>(c.num_hidden_layers, [&](int64_t i) {
                                return XmodLayer(c, static_cast<size_t>(i));
                              }))) {
    if (c.pre_norm) LayerNorm = register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps));
  }

  Tensor forward(Tensor x, const Languages& languages, TransformerCall& call) {
    for (auto& one : *layer) {
      call.see(x);
      x = one(x, languages, call);
    }
    if (LayerNorm) x = LayerNorm(x);
    call.see(x);
    return x;
  }
};
TORCH_MODULE(XmodEncoder);

struct XmodPreTrainedModel : PreTrainedModel {
  using Config = XmodConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "roberta"}; }
};

struct XmodModel : XmodPreTrainedModel {
  const XmodConfig& c;
  roberta::RobertaEmbeddings embeddings;
  XmodEncoder encoder;
  bert::BertPooler pooler{nullptr};

  explicit XmodModel(const XmodConfig& config, bool add_pooling_layer = true)
      : XmodPreTrainedModel(config),
        c(bert::checked(config)),
        embeddings(register_module("embeddings", roberta::RobertaEmbeddings(c))),
        encoder(register_module("encoder", XmodEncoder(c))) {
    if (add_pooling_layer) pooler = register_module("pooler", bert::BertPooler(c));
  }

  nn::Embedding get_input_embeddings() override { return embeddings->word_embeddings; }
  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kTransformerArguments, "lang_ids");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    TransformerCall call(inputs, c,
                         {.layers = c.num_hidden_layers,
                          .heads = c.num_attention_heads,
                          .causal = c.is_decoder,
                          .use_cache = c.use_cache});
    Tensor x = embeddings(inputs, call);
    call.start(x);
    x = encoder(x, languages_of(inputs.tensor("lang_ids"), call.batch), call);
    return call.finish(x, pooler ? pooler(x) : Tensor());
  }

  // lang_ids [batch]; the default language where the call has none.
  Languages languages_of(const Tensor& lang_ids, int64_t batch) const {
    const auto& known = c.languages;
    if (!lang_ids.defined()) {
      const auto found = c.default_language ? std::find(known.begin(), known.end(), *c.default_language) : known.end();
      if (found == known.end()) {
        throw Error(ErrorCode::invalid_value,
                    concat("the language is not known: give lang_ids, or set default_language in the config to one of ",
                           join(known)));
      }
      return {{static_cast<size_t>(found - known.begin()), batch}};
    }
    Languages languages;
    const Tensor ids = lang_ids.to(at::kLong).contiguous().view({-1});
    for (int64_t i = 0; i < ids.numel(); ++i) {
      const int64_t id = ids.data_ptr<int64_t>()[i];
      if (id < 0 || static_cast<size_t>(id) >= known.size()) {
        throw Error(ErrorCode::invalid_value, concat("lang_ids has ", id, "; there are ", known.size(), " languages"));
      }
      if (languages.empty() || languages.back().first != static_cast<size_t>(id))
        languages.emplace_back(static_cast<size_t>(id), 0);
      ++languages.back().second;
    }
    if (ids.numel() != batch) {
      throw Error(ErrorCode::invalid_value, concat("lang_ids has ", ids.numel(), " numbers for ", batch, " sequences"));
    }
    return languages;
  }
};

struct XmodForCausalLM : roberta::RobertaNextWordsOf<XmodPreTrainedModel, XmodModel> {
  using RobertaNextWordsOf::RobertaNextWordsOf;
};
struct XmodForMaskedLM : roberta::RobertaMaskedWordsOf<XmodPreTrainedModel, XmodModel> {
  using RobertaMaskedWordsOf::RobertaMaskedWordsOf;
};
struct XmodForSequenceClassification : roberta::RobertaSequenceLabelsOf<XmodPreTrainedModel, XmodModel> {
  using SequenceLabelHead::SequenceLabelHead;
};
struct XmodForMultipleChoice : roberta::RobertaChoiceOf<XmodPreTrainedModel, XmodModel> {
  using RobertaChoiceOf::RobertaChoiceOf;

  // lang_ids are those of one sequence, and hold for all choices.
  ModelOutput compute(const ModelInputs& inputs) override {
    ModelInputs call = inputs;
    if (const Tensor languages = inputs.tensor("lang_ids"); languages.defined()) {
      const Tensor words = inputs.contains("input_ids") ? inputs["input_ids"] : inputs["inputs_embeds"];
      call.set("lang_ids", languages.repeat({words.size(0) * words.size(1)}).view({words.size(0), -1}));
    }
    return RobertaChoiceOf::compute(call);
  }
};
struct XmodForTokenClassification : TokenLabelHead<XmodPreTrainedModel, Unpooled<XmodModel>> {
  using TokenLabelHead::TokenLabelHead;
};
struct XmodForQuestionAnswering : QuestionAnsweringHead<XmodPreTrainedModel, Unpooled<XmodModel>> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(xmod, plugin) {
  plugin.config<XmodConfig>();
  plugin.tokenizer("XLMRobertaTokenizer", "XLMRobertaTokenizerFast");
  plugin.model<XmodModel>(Auto::Model);
  plugin.model<XmodForMaskedLM>(Auto::ForPreTraining);
  plugin.model<XmodForMaskedLM>(Auto::WithLMHead);
  plugin.model<XmodForCausalLM>(Auto::ForCausalLM);
  plugin.model<XmodForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<XmodForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<XmodForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<XmodForTokenClassification>(Auto::ForTokenClassification);
  plugin.model<XmodForMultipleChoice>(Auto::ForMultipleChoice);
}

}  // namespace backplane::xmod
