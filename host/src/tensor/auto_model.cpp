#include "backplane/host/auto_model.h"

#include <algorithm>

#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/json.h"
#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"
#include "backplane/config/generation_config_json.h"
#include "backplane/formats/weight_files.h"
#include "backplane/host/gguf.h"
#include "backplane/host/resolve.h"
#include "backplane/nn/budget.h"

namespace backplane {
namespace {

// AC-112
at::ScalarType dtype_named(const std::string& name) {
  const std::string known = canonical_dtype(name);
  const auto dtype = find_torch_dtype(known.empty() ? name : known);
  if (!dtype || !is_floating(*dtype)) {
    throw Error(ErrorCode::invalid_value,
                concat("torch_dtype '", name,
                       "' is no floating-point type; known are float32, float16, bfloat16, float64, and auto"));
  }
  return scalar_type(*dtype);
}

std::optional<at::ScalarType> wanted_dtype(const Value& torch_dtype, const PretrainedConfig& config,
                                           const Checkpoint* checkpoint) {
  if (torch_dtype.is_null()) return std::nullopt;
  if (torch_dtype.is_object()) {  // part -> name; "" is the rest
    const Value* rest = torch_dtype.find("");
    return rest ? std::optional(dtype_named(rest->as_string())) : std::nullopt;
  }
  const std::string& name = torch_dtype.as_string();
  if (name != "auto") return dtype_named(name);
  if (config.torch_dtype) return dtype_named(*config.torch_dtype);
  const auto stored = checkpoint ? checkpoint->dtype() : std::nullopt;  // AC-111
  return stored ? std::optional(scalar_type(*stored)) : std::nullopt;
}

// AC-114, AC-115
AttnImplementation attention_named(const Value& name) {
  const std::string& text = name.as_string();
  if (text != "eager" && text != "sdpa") {
    throw Error(ErrorCode::invalid_value,
                concat("attn_implementation '", text, "' is not supported; the possible ones are eager and sdpa"));
  }
  return text == "eager" ? AttnImplementation::eager : AttnImplementation::sdpa;
}

void set_attention(PretrainedConfig& config, const ModelEntry& entry, const Value& wanted) {
  const Value of_file = config.attn_implementation_asked ? Value(*config.attn_implementation_asked) : Value();  // AC-20
  const Value* name = wanted.is_object() ? wanted.find("") : &wanted;
  if (!name || name->is_null()) name = &of_file;
  if (!name->is_null()) {
    const auto asked = attention_named(*name);
    if (asked == AttnImplementation::sdpa && !entry.supports_sdpa) {
      throw Error(ErrorCode::invalid_value,
                  concat(entry.class_name, " has no attention by sdpa; use attn_implementation 'eager'"));
    }
    config.set_attn_implementation(asked);
  } else if (!entry.supports_sdpa) {
    config.set_attn_implementation(AttnImplementation::eager);
  }
  if (!wanted.is_object()) return;
  for (const auto& [key, value] : wanted.as_object()) {
    if (auto* part = key.empty() || value.is_null() ? nullptr : config.part(key)) {
      part->set_attn_implementation(attention_named(value));
    }
  }
}

std::unique_ptr<Checkpoint> open_weights(ResolvedModel& resolved, const PretrainedOptions& options) {
  ModelFiles& files = resolved.files;
  if (resolved.gguf_file) {
    const std::string path = files.get(*resolved.gguf_file);
    const auto entry = gguf_entry(path);
    return Checkpoint::open_gguf(path, entry.mapping);
  }
  const WeightOptions weights{.variant = options.variant.value_or(""), .use_safetensors = options.use_safetensors};
  return Checkpoint::open(find_weight_files(files, weights));
}

// AC-116
GenerationConfig generation_config_of(ModelFiles& files, const PretrainedConfig& config, bool from_files) {
  if (from_files) {
    if (const auto path = files.find_optional("generation_config.json")) {
      try {
        return read_generation_config(read_json_file(*path), concat("'", *path, "'"));
      } catch (const Error& error) {
        warn(concat(error.what(), "; the values of config.json are used"));
      }
    }
  }
  return generation_config_from(config);
}

}  // namespace

ModelPtr model_from_pretrained(AutoClass auto_class, const std::string& name, const PretrainedOptions& given,
                               LoadingInfo* info) {
  const auto [name_or_path, options] = split_gguf_path(name, given);
  if (options.from_tf || options.from_flax) {
    throw Error(ErrorCode::bad_checkpoint,
                concat("weights of TensorFlow and Flax are not read; convert '", name_or_path,
                       "' with Python: AutoModel.from_pretrained(…, from_tf=True).save_pretrained(…)"));
  }
  auto resolved = resolve_model(auto_class.name, name_or_path, options);
  auto& config = *resolved.config;
  set_attention(config, resolved.entry, options.attn_implementation);
  const auto checkpoint = open_weights(resolved, options);
  const auto dtype = wanted_dtype(options.torch_dtype, config, checkpoint.get());
  config.torch_dtype = std::string(torch_dtype_name(dtype_of(dtype.value_or(at::kFloat))));  // AC-110

  // Heads that the files lack, and embeddings that a keyword enlarges, are well within this.
  int64_t elements = int64_t{1} << 26, tensors = 10'000;
  for (const auto& stored : checkpoint->names()) {
    int64_t count = 1;
    for (int64_t size : checkpoint->info(stored).shape) count *= size;
    elements += 4 * count;
    tensors += 4;
  }
  ModelPtr model;
  {
    const nn::ParameterBudget budget(elements, tensors);
    model = resolved.entry.create(config);
  }
  if (!resolved.arguments.empty()) {
    std::vector<std::string> names;
    for (const auto& [name, value] : resolved.arguments) names.push_back(name);
    throw Error(ErrorCode::unknown_argument, concat("neither from_pretrained nor ", config.class_name, " nor ",
                                                    resolved.entry.class_name, " knows '", join(names, "', '"), "'"));
  }
  LoadingInfo found = load_weights(
      *model, *checkpoint,
      {.dtype = dtype, .ignore_mismatched_sizes = options.ignore_mismatched_sizes, .origin = name_or_path});
  if (info) *info = std::move(found);
  model->eval();
  if (model->can_generate()) {
    model->generation_config = generation_config_of(resolved.files, config, !resolved.gguf_file);
    if (resolved.files.is_local() && resolved.files.find("custom_generate/generate.py")) {  // AC-60
      warn(concat(
          "'", name_or_path,
          "' brings custom_generate/generate.py, which is Python and is not run; the built-in generation is used"));
    }
  }
  return model;
}

ModelPtr model_from_config(AutoClass auto_class, const PretrainedConfig& config, const PretrainedOptions& options) {
  const ModelEntry entry = resolve_model_class(auto_class.name, config);
  const auto own = config.clone();
  set_attention(*own, entry, options.attn_implementation);
  ModelPtr model = entry.create(*own);
  const auto dtype = options.torch_dtype.is_null() && config.torch_dtype
                         ? std::optional(dtype_named(*config.torch_dtype))
                         : wanted_dtype(options.torch_dtype, config, nullptr);
  initialise_weights(*model, dtype.value_or(at::kFloat));
  if (model->can_generate()) model->generation_config = generation_config_from(config);
  return model;
}

}  // namespace backplane
