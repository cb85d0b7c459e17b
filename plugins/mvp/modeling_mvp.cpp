// MVP: Tang et al. 2022, https://arxiv.org/abs/2206.12131
// MVP is BART except: learned prompts, keys and values that attention sees in front of the others (use_prompt).
// Reference: transformers, models/mvp/modeling_mvp.py

#include "../bart/modeling_bart.h"

namespace backplane::mvp {

using namespace bart;

struct MvpConfig : BartBaseConfig {
  static constexpr const char* model_type = "mvp";

  double classifier_dropout = 0;
  bool use_prompt = false;
  int64_t prompt_length = 100;
  int64_t prompt_mid_dim = 800;

  MvpConfig() {
    vocab_size = 50267;
    pad_token_id = 1;
    bos_token_id = 0;
    eos_token_id = 2;
    decoder_start_token_id = 2;
    forced_eos_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    BartBaseConfig::fields(field);
    field(BACKPLANE_FIELD(classifier_dropout));
    field(BACKPLANE_FIELD(use_prompt));
    field(BACKPLANE_FIELD(prompt_length));
    field(BACKPLANE_FIELD(prompt_mid_dim));
  }

  void validate() override {
    BartBaseConfig::validate();
    const Value* forced = find_extra("force_bos_token_to_be_generated");
    if (forced_bos_token_id.is_null() && forced && forced->is_bool() && forced->as_bool() && bos_token_id)
      forced_bos_token_id = *bos_token_id;
  }
};

// Keys and values of the prompts for all layers of a stack.
struct MvpPromptImpl : nn::Module {
  int64_t heads, length;
  nn::Embedding prompt_embedding;
  std::shared_ptr<nn::Module> prompt_trans = register_module("prompt_trans", std::make_shared<nn::Module>());
  nn::Linear inner, outer;
  nn::Dropout dropout;

  MvpPromptImpl(const MvpConfig& c, int64_t layers, int64_t heads)
      : heads(heads),
        length(c.prompt_length),
        prompt_embedding(register_module("prompt_embedding", nn::Embedding(c.prompt_length, c.d_model))),
        inner(prompt_trans->register_module("0", nn::Linear(c.d_model, c.prompt_mid_dim))),
        outer(prompt_trans->register_module("2", nn::Linear(c.prompt_mid_dim, layers * 2 * c.d_model))),
        dropout(register_module("dropout", nn::Dropout(c.dropout))) {}

  // The keys and values of one layer, each [heads, length, d].
  std::pair<Tensor, Tensor> of(size_t layer) {
    const int64_t size = prompt_embedding->weight.size(1), from = static_cast<int64_t>(layer) * 2 * size;
    const Tensor hidden = at::gelu(inner(prompt_embedding->weight));
    const Tensor both = dropout(
        at::linear(hidden, outer->weight.slice(0, from, from + 2 * size), outer->bias.slice(0, from, from + 2 * size)));
    const Tensor split = both.view({length, 2, heads, -1}).permute({1, 2, 0, 3});
    return {split[0], split[1]};
  }
};
TORCH_MODULE(MvpPrompt);

struct MvpAttentionImpl : BartAttentionImpl {
  using BartAttentionImpl::BartAttentionImpl;
  MvpPrompt prompt{nullptr};  // of the stack, which sets it

  Tensor forward(const Tensor& x, const Pass& pass) {
    if (!prompt) return BartAttentionImpl::forward(x, pass);
    const Tensor q = split_heads(q_proj(x), heads);
    auto [k, v] = keys_and_values(x, pass);
    const auto [prompt_k, prompt_v] = prompt->of(layer);
    k = at::cat({prompt_k.expand({k.size(0), -1, -1, -1}), k}, 2);
    v = at::cat({prompt_v.expand({v.size(0), -1, -1, -1}), v}, 2);
    Tensor mask = is_cross      ? pass.encoder_mask
                  : pass.causal ? causal_mask({}, x.size(1), 0, x.scalar_type())
                                : pass.mask;
    if (mask.defined()) mask = at::constant_pad_nd(mask, {prompt->length, 0});
    const Tensor& head_mask = is_cross ? pass.cross_head_mask : pass.head_mask;
    auto* const seen = is_cross ? pass.cross_attentions : pass.attentions;
    Tensor probs;
    Tensor y = attention(q, k, v,
                         {.mask = mask,
                          .dropout = is_training() ? dropout : 0,
                          .implementation = implementation,
                          .probs = seen || head_mask.defined() ? &probs : nullptr});
    if (head_mask.defined()) {
      probs = probs * head_mask[static_cast<int64_t>(layer)].view({1, -1, 1, 1});
      y = at::matmul(probs, v);
    }
    if (seen) seen->push_back(probs);
    return out_proj(merge_heads(y));
  }
};
TORCH_MODULE(MvpAttention);

struct MvpEncoderLayerImpl : EncoderLayerImpl<MvpAttention> {
  using EncoderLayerImpl::EncoderLayerImpl;
};
TORCH_MODULE(MvpEncoderLayer);

struct MvpDecoderLayerImpl : DecoderLayerImpl<MvpAttention> {
  using DecoderLayerImpl::DecoderLayerImpl;
};
TORCH_MODULE(MvpDecoderLayer);

struct MvpEncoder : BartEncoder<MvpConfig, MvpEncoderLayer> {
  MvpPrompt self_attn_prompt{nullptr};

  explicit MvpEncoder(const MvpConfig& c) : BartEncoder(c) {
    if (!c.use_prompt) return;
    self_attn_prompt = register_module("self_attn_prompt", MvpPrompt(c, c.encoder_layers, c.encoder_attention_heads));
    for (auto& layer : *layers) layer->self_attn->prompt = self_attn_prompt;
  }
};

// The decoder alone has no prompts.
struct MvpDecoder : BartDecoder<MvpConfig, MvpDecoderLayer> {
  using BartDecoder::BartDecoder;
};

struct MvpPromptedDecoder : MvpDecoder {
  MvpPrompt self_attn_prompt{nullptr}, cross_attn_prompt{nullptr};

  explicit MvpPromptedDecoder(const MvpConfig& c) : MvpDecoder(c) {
    if (!c.use_prompt) return;
    self_attn_prompt = register_module("self_attn_prompt", MvpPrompt(c, c.decoder_layers, c.decoder_attention_heads));
    cross_attn_prompt = register_module("cross_attn_prompt", MvpPrompt(c, c.decoder_layers, c.decoder_attention_heads));
    for (auto& layer : *layers) {
      layer->self_attn->prompt = self_attn_prompt;
      layer->encoder_attn->prompt = cross_attn_prompt;
    }
  }
};

struct MvpModel : DenoisingModel<MvpConfig, MvpEncoder, MvpPromptedDecoder> {
  static constexpr bool supports_sdpa = false;
  using DenoisingModel::DenoisingModel;
};
struct MvpForConditionalGeneration : Seq2SeqLM<MvpModel> {
  static constexpr bool supports_sdpa = false;
  using Seq2SeqLM::Seq2SeqLM;
};
struct MvpForSequenceClassification : Seq2SeqClassifier<MvpModel> {
  static constexpr bool supports_sdpa = false;
  using Seq2SeqClassifier::Seq2SeqClassifier;
};
struct MvpForQuestionAnswering : Seq2SeqQuestionAnswering<MvpModel> {
  static constexpr bool supports_sdpa = false;
  using Seq2SeqQuestionAnswering::Seq2SeqQuestionAnswering;
};
struct MvpForCausalLM : DecoderLM<MvpConfig, MvpDecoder> {
  static constexpr bool supports_sdpa = false;
  using DecoderLM::DecoderLM;
};

BACKPLANE_PLUGIN(mvp, plugin) {
  plugin.config<MvpConfig>();
  plugin.tokenizer("MvpTokenizer", "MvpTokenizerFast");
  plugin.model<MvpModel>(Auto::Model);
  plugin.model<MvpForConditionalGeneration>(Auto::ForPreTraining);
  plugin.model<MvpForConditionalGeneration>(Auto::WithLMHead);
  plugin.model<MvpForCausalLM>(Auto::ForCausalLM);
  plugin.model<MvpForConditionalGeneration>(Auto::ForMaskedLM);
  plugin.model<MvpForConditionalGeneration>(Auto::ForSeq2SeqLM);
  plugin.model<MvpForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<MvpForQuestionAnswering>(Auto::ForQuestionAnswering);
}

}  // namespace backplane::mvp
