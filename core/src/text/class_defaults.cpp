// What the tokenizer classes of transformers set beside tokenizer.json, as data.
#include <algorithm>
#include <iterator>

#include "text/tokenizer_impl.h"

namespace backplane::text {
namespace {

// Classes whose models take no token_type_ids, without "Tokenizer" and "Fast".
constexpr std::string_view kNoTypeIds[] = {
    "Bart", "Barthez", "Bartpho", "BigBird", "BioGpt", "Blenderbot", "BlenderbotSmall", "Bloom", "ByT5", "CLIP",
    "Camembert", "Clvp", "CodeGen", "CodeLlama", "Cohere", "CpmAnt", "Dia", "DistilBert", "Esm", "FSMT", "GPT2",
    "GPTNeoX", "GPTNeoXJapanese", "Gemma", "Jukebox", "LED", "LayoutLMv3", "LayoutXLM", "Llama", "Longformer",
    "Luke", "MBart", "MBart50", "MPNet", "MT5", "Mvp", "MyT5", "Nllb", "OpenAIGPT", "Pegasus", "Perceiver",
    "ProphetNet", "Qwen2", "Reformer", "RetriBert", "Roberta", "SeamlessM4T", "Speech2Text2", "T5", "Tapex",
    "Udop", "Vits", "Wav2Vec2CTC", "Wav2Vec2PhonemeCTC", "Whisper", "XGLM", "XLMRoberta"};

constexpr std::string_view kPadsLeft[] = {"CodeLlama", "Cohere", "Gemma", "Llama", "XLNet"};

template <size_t kSize>
bool contains(const std::string_view (&names)[kSize], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

}  // namespace

void apply_class_defaults(const std::string& tokenizer_class, Tokenizer::Impl& impl) {
  std::string_view stem = tokenizer_class;
  if (stem.ends_with("Fast")) stem.remove_suffix(4);
  if (stem.ends_with("Tokenizer")) stem.remove_suffix(9);
  if (contains(kNoTypeIds, stem)) impl.model_input_names = {"input_ids", "attention_mask"};
  if (contains(kPadsLeft, stem)) impl.padding_side = Side::left;
}

}  // namespace backplane::text
