#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "backplane/config/value.h"
#include "backplane/formats/gguf.h"

namespace backplane {

/// What llama.cpp's converter did to a tensor and loading undoes.
enum class GgufTransform {
  none,
  unpermute_heads,     // rows of q, reordered for interleaved rotary positions, by num_attention_heads
  unpermute_kv_heads,  // rows of k, by num_key_value_heads
  transpose,           // of Conv1D weights
  subtract_one,        // norms stored as 1 + weight
  insert_dim0,         // [n] -> [1, n]
  insert_dim1,         // [n, k] -> [n, 1, k]
  log_of_negative,     // Mamba's A
  split_experts,       // [experts, …]: one tensor an expert; the name's "{e}" is its number
  fused_heads,         // Bloom's q, k, v stacked whole -> interleaved a head, by num_attention_heads
};

/// A plugin's table from GGUF names to its own: plain data, one for each general.architecture that it reads.
struct GgufMapping {
  struct Key {
    std::string_view gguf;    // below "<architecture>.", e.g. "block_count"
    std::string_view config;  // "num_hidden_layers"
  };
  struct Tensor {
    std::string_view gguf;  // "blk.{n}.attn_q"; without ".weight" or ".bias", which are kept
    std::string_view name;  // "model.layers.{n}.self_attn.q_proj"
    GgufTransform transform = GgufTransform::none;
  };
  std::string_view architecture;   // "llama"
  std::string_view model_type;     // "llama"
  std::string_view name_contains;  // serves only files whose general.name contains this ("mistral"); empty: all
  std::vector<Key> keys;
  std::vector<Tensor> tensors;
  std::vector<std::pair<std::string_view, Value>> constants;  // config entries that every file of it gets
};

/// general.architecture. Throws `bad_checkpoint` where the file does not say.
std::string gguf_architecture(const GgufFile& gguf, const std::string& file);

/// The mapping that serves the file: one whose name_contains fits before one without. nullptr where there is none.
const GgufMapping* choose_gguf_mapping(const GgufFile& gguf, const std::vector<const GgufMapping*>& mappings);

/// The object of config.json that the metadata describe: model_type, the mapping's keys, ids of special tokens,
/// vocab_size (of the vocabulary where no key gives it) and tie_word_embeddings (no "output.weight").
Value::Object gguf_config(const GgufFile& gguf, const GgufMapping& mapping);

/// The name under which the model knows a tensor, and what to undo; an empty name: the mapping has none.
struct GgufName {
  std::string name;
  GgufTransform transform = GgufTransform::none;
};
GgufName gguf_name(std::string_view tensor, const GgufMapping& mapping);

}  // namespace backplane
