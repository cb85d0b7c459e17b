// The smallest language model: a table of logits for the next token, looked up by the last one.
// Bengio et al. 2003, https://www.jmlr.org/papers/v3/bengio03a.html, names the n-gram models that it improves on.

#include "configuration_bigram.h"

namespace backplane::bigram {

struct BigramForCausalLM : PreTrainedModel {
  using Config = BigramConfig;
  nn::Embedding table;

  explicit BigramForCausalLM(const BigramConfig& c)
      : PreTrainedModel(c), table(register_module("table", nn::Embedding(c.vocab_size, c.vocab_size))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 2> kNames = {"input_ids", "attention_mask"};
    return kNames;
  }

  // input_ids [batch, seq] -> logits [batch, seq, vocab]
  ModelOutput compute(const ModelInputs& inputs) override { return {{"logits", table(inputs["input_ids"])}}; }
};

BACKPLANE_PLUGIN(bigram, plugin) {
  plugin.config<BigramConfig>();
  plugin.model<BigramForCausalLM>(Auto::ForCausalLM);
}

}  // namespace backplane::bigram
