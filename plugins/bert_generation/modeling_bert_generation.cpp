// BERT for generation: Rothe et al. 2019, https://arxiv.org/abs/1907.12461
// BERT's layers as encoder or decoder, without token types and pooler; the head is one linear map.
// Reference: transformers, models/bert_generation/modeling_bert_generation.py

#include "../bert/modeling_bert.h"
#include "configuration_bert_generation.h"

namespace backplane::bert_generation {

struct BertGenerationEmbeddingsImpl : nn::Module {
  int64_t max_positions;
  nn::Embedding word_embeddings, position_embeddings;
  nn::LayerNorm LayerNorm;
  nn::Dropout dropout;

  explicit BertGenerationEmbeddingsImpl(const BertGenerationConfig& c)
      : max_positions(c.max_position_embeddings),
        word_embeddings(register_module("word_embeddings", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        position_embeddings(register_module("position_embeddings", nn::Embedding(max_positions, c.hidden_size))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  // -> [batch, seq, hidden]
  Tensor forward(const ModelInputs& inputs, const TransformerCall& call) {
    const Tensor ids = inputs.tensor("input_ids");
    const Tensor x = ids.defined() ? word_embeddings(ids) : inputs["inputs_embeds"];
    return dropout(LayerNorm(x + position_embeddings(bert::counted_positions(inputs, call, max_positions))));
  }
};
TORCH_MODULE(BertGenerationEmbeddings);

struct BertGenerationPreTrainedModel : PreTrainedModel {
  using Config = BertGenerationConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "bert"}; }
};

struct BertGenerationEncoder
    : bert::BertModelOf<BertGenerationPreTrainedModel, BertGenerationEmbeddings, bert::BertEncoder<bert::BertLayer>> {
  explicit BertGenerationEncoder(const BertGenerationConfig& c) : BertModelOf(c, false) {}
};

struct BertGenerationOnlyLMHeadImpl : nn::Module {
  Tensor bias;
  nn::Linear decoder;

  explicit BertGenerationOnlyLMHeadImpl(const BertGenerationConfig& c)
      : bias(register_parameter("bias", at::empty({c.vocab_size}))),
        decoder(register_module("decoder", nn::Linear(c.hidden_size, c.vocab_size))) {
    decoder->tie_bias(bias);
  }

  nn::Linear output_embeddings() { return decoder; }
  Tensor forward(const Tensor& x) { return decoder(x); }
};
TORCH_MODULE(BertGenerationOnlyLMHead);

struct BertGenerationDecoder
    : NextWordsHead<BertGenerationPreTrainedModel, BertGenerationEncoder, BertGenerationOnlyLMHead> {
  explicit BertGenerationDecoder(const BertGenerationConfig& c) : NextWordsHead(c, "lm_head") {}
};

BACKPLANE_PLUGIN(bert_generation, plugin) {
  plugin.config<BertGenerationConfig>();
  plugin.tokenizer("BertGenerationTokenizer", "");
  plugin.model<BertGenerationEncoder>(Auto::Model);
  plugin.model<BertGenerationDecoder>(Auto::ForCausalLM);
}

}  // namespace backplane::bert_generation
