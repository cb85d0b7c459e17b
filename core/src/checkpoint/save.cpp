#include "backplane/checkpoint/save.h"

#include <algorithm>
#include <boost/filesystem.hpp>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <tuple>

#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/json.h"
#include "backplane/base/strings.h"
#include "backplane/checkpoint/checkpoint.h"
#include "backplane/formats/safetensors.h"
#include "checkpoint/file_writer.h"
#include "checkpoint/save_pytorch.h"

namespace backplane {
namespace {

namespace fs = boost::filesystem;

std::string shard_name(const std::string& stem, const std::string& extension, size_t i, size_t count) {
  char suffix[32];
  std::snprintf(suffix, sizeof suffix, "-%05zu-of-%05zu", i + 1, count);
  return concat(stem, suffix, extension);
}

// A shard is closed where the next tensor would go over the limit; a tensor above the limit has one of its own.
std::vector<NamedTensors> split_shards(const NamedTensors& tensors, uint64_t limit) {
  std::vector<NamedTensors> shards;
  NamedTensors current;
  uint64_t size = 0;
  for (const auto& [name, tensor] : tensors) {
    const uint64_t bytes = tensor.nbytes();
    if (bytes > limit) {
      shards.push_back({{name, tensor}});
      continue;
    }
    if (size + bytes > limit) {
      shards.push_back(std::move(current));
      current.clear();
      size = 0;
    }
    current.emplace_back(name, tensor);
    size += bytes;
  }
  if (!current.empty() || shards.empty()) shards.push_back(std::move(current));
  return shards;
}

// The reference's library writes the types in this order (wide ones first, so that all are aligned), equal ones by
// name.
size_t layout_rank(const at::Tensor& tensor) {
  constexpr DType kOrder[] = {DType::u64,         DType::i64,     DType::f64,     DType::c64,     DType::f32,
                              DType::u32,         DType::i32,     DType::bf16,    DType::f16,     DType::u16,
                              DType::i16,         DType::f8_e8m0, DType::f8_e4m3, DType::f8_e5m2, DType::f8_e4m3fnuz,
                              DType::f8_e5m2fnuz, DType::i8,      DType::u8,      DType::boolean};
  const DType dtype = dtype_of(tensor.scalar_type());
  const auto found = std::find(std::begin(kOrder), std::end(kOrder), dtype);
  if (found == std::end(kOrder))
    throw Error(ErrorCode::invalid_value, concat("safetensors files have no type ", torch_dtype_name(dtype)));
  return static_cast<size_t>(found - std::begin(kOrder));
}

bool is_shard_of(const std::string& name, const std::string& stem) {
  // <stem>…-00001-of-00002.<bin or safetensors>
  std::string_view rest = name;
  for (std::string_view extension : {".safetensors", ".bin"}) {
    if (rest.ends_with(extension)) rest.remove_suffix(extension.size());
  }
  constexpr std::string_view kPattern = "-00000-of-00000";
  if (!rest.starts_with(stem) || rest.size() < stem.size() + kPattern.size()) return false;
  rest.remove_prefix(rest.size() - kPattern.size());
  for (size_t i = 0; i < kPattern.size(); ++i) {
    if (kPattern[i] == '0' ? rest[i] < '0' || rest[i] > '9' : rest[i] != kPattern[i]) return false;
  }
  return true;
}

}  // namespace

void save_safetensors(const std::string& path, const NamedTensors& tensors,
                      const std::vector<std::pair<std::string, std::string>>& metadata) {
  std::vector<std::pair<size_t, const std::pair<std::string, at::Tensor>*>> order;
  for (const auto& entry : tensors) order.emplace_back(layout_rank(entry.second), &entry);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::tie(a.first, a.second->first) < std::tie(b.first, b.second->first);
  });
  std::vector<TensorInfo> infos;
  for (const auto& entry : order) {
    const auto& [name, tensor] = *entry.second;
    infos.push_back({name, dtype_of(tensor.scalar_type()), tensor.sizes().vec(), 0, 0, path});
  }
  FileWriter file(path);
  file.write(write_safetensors_header(infos, metadata));
  for (const auto& entry : order) file.write(entry.second->second);
  file.close();
}

void save_checkpoint(const std::string& folder, const NamedTensors& tensors, const SaveOptions& options) {
  const std::string extension = options.safe_serialization ? ".safetensors" : ".bin";
  std::string stem = options.safe_serialization ? "model" : "pytorch_model";
  const std::string index_stem = stem + extension + ".index";
  if (!options.variant.empty()) stem += "." + options.variant;

  const auto shards = split_shards(tensors, options.max_shard_bytes);
  std::vector<std::string> names;
  for (size_t i = 0; i < shards.size(); ++i)
    names.push_back(shards.size() == 1 ? stem + extension : shard_name(stem, extension, i, shards.size()));

  boost::system::error_code error;
  fs::create_directories(folder, error);
  if (error) throw Error(ErrorCode::io, concat("cannot make the folder '", folder, "': ", error.message()));
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool is_kept = std::find(names.begin(), names.end(), name) != names.end();
    if (!is_kept && is_shard_of(name, stem) && fs::is_regular_file(entry.path())) fs::remove(entry.path());
  }

  std::vector<std::pair<const std::string, Json>> weight_map;
  uint64_t total_size = 0, total_parameters = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string path = concat(folder, "/", names[i]);
    if (options.safe_serialization) {
      save_safetensors(path, shards[i]);
    } else {
      save_pytorch(path, shards[i]);
    }
    for (const auto& [name, tensor] : shards[i]) {
      weight_map.emplace_back(name, names[i]);
      total_size += tensor.nbytes();
      total_parameters += static_cast<uint64_t>(tensor.numel());
    }
  }
  if (shards.size() == 1) return;
  Json index = {{"metadata", {{"total_parameters", total_parameters}, {"total_size", total_size}}},
                {"weight_map", Json::object()}};
  // Past the linear search of each insertion; the names are the caller's and differ.
  static_cast<std::vector<std::pair<const std::string, Json>>&>(index["weight_map"].get_ref<Json::object_t&>()) =
      std::move(weight_map);
  const std::string index_name =
      options.variant.empty() ? index_stem + ".json" : concat(index_stem, ".", options.variant, ".json");
  write_file(concat(folder, "/", index_name), python_dumps(index, 2, true, true) + "\n");
}

uint64_t parse_size(std::string_view text) {
  constexpr std::pair<std::string_view, uint64_t> kUnits[] = {
      {"KIB", 1ull << 10}, {"MIB", 1ull << 20}, {"GIB", 1ull << 30},   {"TIB", 1ull << 40},
      {"KB", 1'000},       {"MB", 1'000'000},   {"GB", 1'000'000'000}, {"TB", 1'000'000'000'000}};
  std::string upper(trim(text));
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  std::string_view number = upper;
  double unit = 1;
  for (const auto& [name, size] : kUnits) {
    if (!number.ends_with(name)) continue;
    number = trim(number.substr(0, number.size() - name.size()));
    unit = static_cast<double>(size);
    break;
  }
  double value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error != std::errc() || end != number.data() + number.size() || !(value >= 0) || value * unit >= 0x1p63) {
    throw Error(ErrorCode::invalid_value,
                concat("'", text,
                       "' is no size; expected a number of bytes, or one with KB, MB, GB, TB, KiB, MiB, GiB or TiB"));
  }
  return static_cast<uint64_t>(value * unit);
}

}  // namespace backplane
