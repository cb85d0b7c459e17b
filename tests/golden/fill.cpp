#include "golden/fill.h"

#include <ATen/ATen.h>
#include <zlib.h>

#include <cmath>
#include <cstring>
#include <memory>

#include "backplane/base/files.h"
#include "backplane/base/strings.h"
#include "backplane/checkpoint/checkpoint.h"
#include "backplane/checkpoint/save.h"

namespace backplane::golden {
namespace {

uint64_t mix(uint64_t z) {
  z ^= z >> 30;
  z *= 0xBF58476D1CE4E5B9u;
  z ^= z >> 27;
  z *= 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

uint64_t fnv1a(const std::string& text) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (unsigned char byte : text) hash = (hash ^ byte) * 0x100000001B3u;
  return hash;
}

at::ScalarType type_of(const Json& recipe) {
  const auto name = recipe.at("dtype").get<std::string>();
  const auto dtype = find_dtype(name);
  if (!dtype) throw Error(ErrorCode::bad_config, concat("fixture: unknown dtype '", name, "'"));
  return scalar_type(*dtype);
}

}  // namespace

std::vector<uint8_t> decode_base64(const std::string& text) {
  std::vector<uint8_t> bytes;
  bytes.reserve(text.size() / 4 * 3);
  uint32_t buffer = 0;
  int bits = 0;
  for (char c : text) {
    int value = -1;
    if (c >= 'A' && c <= 'Z') value = c - 'A';
    if (c >= 'a' && c <= 'z') value = c - 'a' + 26;
    if (c >= '0' && c <= '9') value = c - '0' + 52;
    if (c == '+') value = 62;
    if (c == '/') value = 63;
    if (c == '=') break;
    if (value < 0) throw Error(ErrorCode::bad_config, concat("fixture: '", std::string(1, c), "' is no base64"));
    buffer = buffer << 6 | static_cast<uint32_t>(value);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes.push_back(static_cast<uint8_t>(buffer >> bits));
    }
  }
  return bytes;
}

std::vector<float> fill_formula(const std::string& name, uint64_t seed, double mean, double scale, bool absolute,
                                int64_t count) {
  const uint64_t s = mix(fnv1a(name) ^ mix(seed));
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint64_t z = mix(s + (i + 1) * 0x9E3779B97F4A7C15u);
    const double u = static_cast<double>(z >> 11) * 0x1p-52 - 1;
    values[i] = static_cast<float>(mean + scale * (absolute ? std::fabs(u) : u));
  }
  return values;
}

at::Tensor fill(const Json& recipe, const std::string& name, uint64_t seed) {
  const auto shape = recipe.at("shape").get<std::vector<int64_t>>();
  const at::ScalarType type = type_of(recipe);
  if (recipe.contains("b64")) {
    const auto bytes = decode_base64(recipe["b64"].get<std::string>());
    at::Tensor tensor = at::empty(shape, type);
    if (bytes.size() != tensor.nbytes())
      throw Error(ErrorCode::bad_config, concat("fixture: ", name, " has ", bytes.size(), " bytes"));
    std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
    return tensor;
  }
  if (recipe.contains("values")) {
    std::vector<double> values;
    for (const auto& value : recipe["values"])
      values.push_back(value.is_boolean() ? value.get<bool>() : value.get<double>());
    return at::tensor(values, at::kDouble).to(type).view(shape);
  }
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  const auto values = fill_formula(name, seed, recipe.at("mean").get<double>(), recipe.at("scale").get<double>(),
                                   recipe.value("abs", false), count);
  return at::tensor(values).view(shape).to(type);
}

Json read_fixture(const std::filesystem::path& file) {
  constexpr uint64_t kBytes = 64 << 20;
  if (file.extension() != ".gz") return read_json_file(file.string(), ErrorCode::bad_config, {.bytes = kBytes});
  const std::unique_ptr<gzFile_s, decltype(&gzclose)> stream(gzopen(file.c_str(), "rb"), &gzclose);
  if (!stream) throw Error(ErrorCode::file_not_found, concat("cannot open '", file.string(), "'"));
  std::string text;
  char block[1 << 16];
  while (true) {
    const int count = gzread(stream.get(), block, sizeof block);
    if (count < 0 || text.size() > kBytes)
      throw Error(ErrorCode::bad_config, concat("'", file.string(), "' is not gzip, or too large"));
    if (count == 0) break;
    text.append(block, static_cast<size_t>(count));
  }
  return parse_json(text, file.string(), ErrorCode::bad_config, {.bytes = 2 * kBytes});
}

void materialize(const Json& fixture, const std::string& folder) {
  write_file(folder + "/config.json", python_dumps(fixture.at("config"), 2));
  const auto seed = fixture.at("seed").get<uint64_t>();
  NamedTensors tensors;
  for (const auto& [name, recipe] : fixture.at("tensors").items()) {
    const std::string origin = recipe.contains("alias_of") ? recipe["alias_of"].get<std::string>() : name;
    tensors.emplace_back(name, fill(fixture["tensors"].at(origin), origin, seed));
  }
  save_safetensors(folder + "/model.safetensors", tensors);
}

}  // namespace backplane::golden
