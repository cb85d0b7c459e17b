#include "backplane/formats/weight_files.h"

#include <algorithm>

#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/json.h"
#include "backplane/base/limits.h"
#include "backplane/base/strings.h"
#include "backplane/hub/hub.h"

namespace backplane {
namespace {

using Format = WeightFiles::Format;

constexpr std::string_view kSafetensors = "model.safetensors";
constexpr std::string_view kSafetensorsIndex = "model.safetensors.index.json";
constexpr std::string_view kPytorch = "pytorch_model.bin";
constexpr std::string_view kPytorchIndex = "pytorch_model.bin.index.json";
constexpr std::string_view kTensorflow = "tf_model.h5";
constexpr std::string_view kTensorflow1 = "model.ckpt.index";
constexpr std::string_view kFlax = "flax_model.msgpack";

bool exists(ModelFiles& files, std::string_view name) {
  try {
    files.size(std::string(name));
    return true;
  } catch (const Error&) {  // what cannot be asked for is not there for the message either
    return false;
  }
}

// The variant stands before the last extension (AC-90).
std::string with_variant(std::string_view name, const std::string& variant) {
  std::string result(name);
  if (!variant.empty()) result.insert(result.rfind('.'), "." + variant);
  return result;
}

WeightFiles open_index(ModelFiles& files, const std::string& path, Format format, ProgressBars* progress) {
  WeightFiles result{format, {}, parse_shard_index(read_file(path, limits::kSafetensorsHeaderBytes), path)};
  const auto& shards = result.index->shards;
  if (!files.is_local()) {
    result.paths = files.get(shards, progress);
    return result;
  }
  std::vector<std::string> missing;
  for (const auto& shard : shards) {
    if (auto found = files.find(shard)) {
      result.paths.push_back(*std::move(found));
    } else {
      missing.push_back(shard);
    }
  }
  if (missing.empty()) return result;
  const size_t count = missing.size();
  constexpr size_t kShown = 5;
  missing.resize(std::min(count, kShown));
  throw Error(ErrorCode::file_not_found,
              concat("'", files.name_or_path(), "' does not appear to have ", count, " of the ", shards.size(),
                     " shards that '", path, "' names: ", join(missing), count > kShown ? ", …" : ""));
}

[[noreturn]] void throw_no_weights(ModelFiles& files, const WeightOptions& options) {
  const std::string safetensors = with_variant(kSafetensors, options.variant);
  const std::string pytorch = with_variant(kPytorch, options.variant);
  const auto missing = [&](const std::string& names, const std::string& rest) {
    throw Error(ErrorCode::file_not_found,
                !files.is_local()
                    ? concat("'", files.name_or_path(), "' does not appear to have a file named ", names, rest)
                    : concat("no file named ", names, " found in directory '", files.name_or_path(), "'", rest));
  };
  if (options.use_safetensors == true) {
    if (files.is_local()) missing(safetensors, "");
    missing(concat(safetensors, " or ", with_variant(kSafetensorsIndex, options.variant)),
            " and thus cannot be loaded with `safetensors`; save the model with `safe_serialization=True`, or do not "
            "set `use_safetensors=True`");
  }
  if (exists(files, kTensorflow) || (files.is_local() && exists(files, kTensorflow1))) {
    missing(pytorch,
            " but there is a file for TensorFlow weights; use `from_tf=True` to load this model from those weights");
  }
  if (exists(files, kFlax)) {
    missing(pytorch,
            " but there is a file for Flax weights; use `from_flax=True` to load this model from those weights");
  }
  if (!options.variant.empty() && (exists(files, kPytorch) || exists(files, kSafetensors))) {
    missing(concat(pytorch, " or ", safetensors), concat(" but there is a file without the variant ", options.variant,
                                                         "; use `variant=None` to load this model from those weights"));
  }
  missing(concat(pytorch, ", ", safetensors, ", ", kTensorflow, ", ", kTensorflow1, " or ", kFlax), "");
  __builtin_unreachable();
}

}  // namespace

ShardIndex parse_shard_index(std::string_view text, const std::string& file) {
  const Json json =
      parse_json(text, concat("'", file, "'"), ErrorCode::bad_checkpoint, {.bytes = limits::kSafetensorsHeaderBytes});
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorCode::bad_checkpoint, concat("'", file, "': ", what));
  };
  if (!json.is_object()) fail("the index is no object");
  const auto map = json.find("weight_map");
  if (map == json.end() || !map->is_object())
    fail("weight_map is missing or no object; expected one that gives the shard of each tensor");
  ShardIndex index;
  for (const auto& [key, value] : map->items()) {
    if (!value.is_string())
      fail(concat("weight_map['", key, "'] is ", value.type_name(), "; expected the name of a shard"));
    const auto& shard = value.get_ref<const std::string&>();
    if (!is_plain_file_name(shard)) {
      throw Error(ErrorCode::bad_file_name, concat("'", file, "': weight_map['", key, "'] is '", shard,
                                                   "'; expected the plain name of a file beside the index"));
    }
    index.weight_map.emplace_back(key, shard);
    index.shards.push_back(shard);
  }
  if (index.weight_map.empty()) fail("weight_map is empty");
  std::sort(index.shards.begin(), index.shards.end());
  index.shards.erase(std::unique(index.shards.begin(), index.shards.end()), index.shards.end());
  if (index.shards.size() > limits::kShards) {
    throw Error(ErrorCode::limit_exceeded,
                concat("'", file, "' names ", index.shards.size(), " shards; at most ", limits::kShards, " are read"));
  }
  // The reference fails where metadata is absent, though all that it takes from there is optional.
  if (const auto metadata = json.find("metadata"); metadata != json.end() && metadata->is_object()) {
    if (const auto dtype = metadata->find("dtype"); dtype != metadata->end() && dtype->is_string()) {
      std::string_view name = dtype->get_ref<const std::string&>();
      if (name.starts_with("torch.")) name.remove_prefix(6);
      index.dtype = find_torch_dtype(name);
    }
  }
  return index;
}

WeightFiles find_weight_files(ModelFiles& files, const WeightOptions& options, ProgressBars* progress) {
  const auto explicit_file = [&](const std::string& name, Format format) {
    auto path = files.find(name);
    if (!path)
      throw Error(ErrorCode::file_not_found,
                  concat("'", files.name_or_path(), "' does not appear to have a file named ", name));
    return WeightFiles{format, {*std::move(path)}, std::nullopt};
  };
  if (!options.gguf_file.empty()) return explicit_file(options.gguf_file, Format::gguf);
  if (const auto& name = options.explicit_file; !name.empty()) {
    const bool is_index = name.ends_with(".safetensors.index.json");
    if (!is_index && !name.ends_with(".safetensors")) {
      throw Error(ErrorCode::bad_config, concat("config.json: transformers_weights seems to be incorrect: '", name,
                                                "' is neither a safetensors file (*.safetensors) nor a safetensors "
                                                "index file (*.safetensors.index.json)"));
    }
    WeightFiles result = explicit_file(name, Format::safetensors);
    return is_index ? open_index(files, result.paths[0], Format::safetensors, progress) : result;
  }
  struct Candidate {
    std::string_view name;
    Format format;
    bool is_index;
  };
  static constexpr Candidate kCandidates[] = {{kSafetensors, Format::safetensors, false},
                                              {kSafetensorsIndex, Format::safetensors, true},
                                              {kPytorch, Format::pytorch, false},
                                              {kPytorchIndex, Format::pytorch, true}};
  for (const auto& [name, format, is_index] : kCandidates) {
    if (options.use_safetensors && *options.use_safetensors != (format == Format::safetensors)) continue;
    if (auto path = files.find(with_variant(name, options.variant))) {
      if (is_index) return open_index(files, *path, format, progress);
      return {format, {*std::move(path)}, std::nullopt};
    }
  }
  throw_no_weights(files, options);
}

WeightFiles find_weight_files(const std::string& folder, const WeightOptions& options) {
  if (!folder_exists(folder)) throw Error(ErrorCode::file_not_found, concat("there is no folder '", folder, "'"));
  ModelFiles files(folder);
  return find_weight_files(files, options);
}

}  // namespace backplane
