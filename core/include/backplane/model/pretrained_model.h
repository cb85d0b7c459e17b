#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backplane/config/generation_config.h"
#include "backplane/config/pretrained_config.h"
#include "backplane/model/named_values.h"
#include "backplane/nn/layers.h"

namespace backplane {

struct GenerateOptions;
class TokenStreamer;

/// How the names of checkpoints relate to the names of a model. Data, given by the plugin.
struct CheckpointRules {
  /// Submodule that holds the base model in the classes with heads ("bert"): its prefix may be absent in a checkpoint
  /// of the base model, and present where the base model alone is loaded.
  std::string base_model_prefix;
  /// Regular expressions (PCRE2) of names that are not reported when missing, or unexpected.
  std::vector<std::string> ignore_missing = {};
  std::vector<std::string> ignore_unexpected = {};
  /// Names of checkpoints that are not the model's: regular expression -> replacement ("$1" is a group). The first that
  /// is found in a name is replaced there, wherever it stands (AC-99).
  std::vector<std::pair<std::string, std::string>> renames = {};
  /// Modules, by a part of their dotted name ("wo"), that stay float32 in a model loaded as float16; the strict ones in
  /// a bfloat16 model too (AC-113).
  std::vector<std::string> keep_in_fp32 = {};
  std::vector<std::string> keep_in_fp32_strict = {};
};

/// Base of all model classes: a torch::nn::Module whose parameter names are the checkpoint's. Parameters are
/// uninitialised after construction. forward may run in many threads; loading, `to` and `train` may not run beside it.
class PreTrainedModel : public nn::Module {
 public:
  explicit PreTrainedModel(const PretrainedConfig& config) : config_(&config) {}

  /// Runs the model. Throws `unknown_argument` for an argument that the class does not know, listing those it does.
  ModelOutput forward(const ModelInputs& inputs);
  ModelOutput operator()(const ModelInputs& inputs) { return forward(inputs); }

  /// The names that forward takes.
  virtual std::span<const std::string_view> arguments() const = 0;

  virtual CheckpointRules checkpoint_rules() const { return {}; }
  /// Makes tied parameters one tensor. Called once after construction.
  virtual void tie_weights() {}

  /// The table that turns input_ids into inputs_embeds, and the layer that makes logits over the vocabulary; null where
  /// the class has none. A model around this one (a vision-language model) looks up and ties through them.
  virtual nn::Embedding get_input_embeddings() { return nullptr; }
  virtual nn::Linear get_output_embeddings() { return nullptr; }

  /// True where `generate` works: forward returns `logits` [batch, seq, vocab] and takes `past_key_values`.
  virtual bool can_generate() const { return false; }

  /// Changes the arguments of one step of `generate` after `past` cached positions: what only the prompt needs (images)
  /// leaves, and positions that the model makes itself.
  virtual void prepare_inputs_for_generation(ModelInputs&, int64_t /*past*/) const {}

  /// The configuration given at construction; whoever constructs keeps it alive, or hands it over with `own_config`.
  const PretrainedConfig& config() const { return *config_; }
  void own_config(std::shared_ptr<const PretrainedConfig> config) { owned_config_ = std::move(config); }

  at::ScalarType dtype() const;

  /// Of generation_config.json, or derived from the config; only for classes that can generate (AC-116, AC-117).
  std::optional<GenerationConfig> generation_config;

  /// Continues `input_ids` [batch, seq] as <backplane/generation/generate.h> says. Returns prompt and new tokens
  /// [batch, seq + new], finished rows filled with the padding id.
  Tensor generate(const ModelInputs& inputs, const GenerateOptions& options, TokenStreamer* streamer = nullptr);

 protected:
  virtual ModelOutput compute(const ModelInputs& inputs) = 0;

 private:
  const PretrainedConfig* config_;
  std::shared_ptr<const PretrainedConfig> owned_config_;
};

}  // namespace backplane
