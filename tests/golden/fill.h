#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "backplane/base/json.h"

namespace backplane::golden {

/// Bytes of a base64 text. Throws `bad_config` for another.
std::vector<uint8_t> decode_base64(const std::string& text);

/// Elements 0 … count of the tensor that a formula recipe describes, in float32: a hash of name, seed and position.
std::vector<float> fill_formula(const std::string& name, uint64_t seed, double mean, double scale, bool absolute,
                                int64_t count);

/// The tensor of a recipe: formula, explicit values, or base64. `name` enters the formula ("input:" already in front of
/// it).
at::Tensor fill(const Json& recipe, const std::string& name, uint64_t seed);

/// A fixture file, `.json` or `.json.gz`.
Json read_fixture(const std::filesystem::path& file);

/// Writes the model folder that a fixture describes: config.json and model.safetensors.
void materialize(const Json& fixture, const std::string& folder);

}  // namespace backplane::golden
