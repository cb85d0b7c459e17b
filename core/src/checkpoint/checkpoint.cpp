#include "backplane/checkpoint/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "backplane/formats/safetensors.h"
#include "checkpoint/weight_file.h"

namespace backplane {
namespace {

using Format = WeightFiles::Format;

constexpr std::pair<DType, at::ScalarType> kTypes[] = {
    {DType::f64, at::kDouble},
    {DType::f32, at::kFloat},
    {DType::f16, at::kHalf},
    {DType::bf16, at::kBFloat16},
    {DType::f8_e4m3, at::kFloat8_e4m3fn},
    {DType::f8_e5m2, at::kFloat8_e5m2},
    {DType::f8_e4m3fnuz, at::kFloat8_e4m3fnuz},
    {DType::f8_e5m2fnuz, at::kFloat8_e5m2fnuz},
    {DType::f8_e8m0, at::kFloat8_e8m0fnu},
    {DType::i64, at::kLong},
    {DType::i32, at::kInt},
    {DType::i16, at::kShort},
    {DType::i8, at::kChar},
    {DType::u64, at::kUInt64},
    {DType::u32, at::kUInt32},
    {DType::u16, at::kUInt16},
    {DType::u8, at::kByte},
    {DType::boolean, at::kBool},
    {DType::c64, at::kComplexFloat},
    {DType::c128, at::kComplexDouble},
};

class SafetensorsFile : public WeightFile {
 public:
  explicit SafetensorsFile(const std::string& path) : map_(MappedFile::open(path)) {
    auto header = parse_safetensors(map_->bytes(), map_->bytes().size(), path);
    infos_ = std::move(header.tensors);
    metadata_ = std::move(header.metadata);
    if (!header.has_metadata) return;
    // AC-92
    const auto format =
        std::find_if(metadata_.begin(), metadata_.end(), [](const auto& entry) { return entry.first == "format"; });
    const std::string found = format == metadata_.end() ? "None" : format->second;
    if (found == "tf" || found == "flax") {
      throw Error(ErrorCode::bad_checkpoint,
                  concat("'", path, "' holds ", found, " weights (__metadata__.format); expected pt or mlx"));
    }
    if (found != "pt" && found != "mlx") {
      throw Error(ErrorCode::bad_checkpoint,
                  concat("incompatible safetensors file: the metadata's format of '", path,
                         "' is not one of pt, tf, flax, mlx but ", found, "; save the model with `save_pretrained`"));
    }
  }

  at::Tensor tensor(size_t index) override {
    const auto& info = infos_[index];
    return view_of(map_, info.begin, info.shape, scalar_type(info.dtype));
  }

 private:
  std::shared_ptr<MappedFile> map_;
};

std::unique_ptr<WeightFile> open_weight_file(Format format, const std::string& path) {
  switch (format) {
    case Format::safetensors:
      return open_safetensors(path);
    case Format::pytorch:
      return open_pytorch(path);
    case Format::gguf:
      return open_gguf_file(path, nullptr);
  }
  __builtin_unreachable();
}

}  // namespace

at::ScalarType scalar_type(DType dtype) {
  return std::find_if(std::begin(kTypes), std::end(kTypes), [&](const auto& pair) { return pair.first == dtype; })
      ->second;
}

DType dtype_of(at::ScalarType type) {
  const auto found =
      std::find_if(std::begin(kTypes), std::end(kTypes), [&](const auto& pair) { return pair.second == type; });
  if (found == std::end(kTypes))
    throw Error(ErrorCode::bad_checkpoint,
                concat("tensors of type ", c10::toString(type), " have no place in a weight file"));
  return found->first;
}

std::unique_ptr<WeightFile> open_safetensors(const std::string& path) {
  return std::make_unique<SafetensorsFile>(path);
}

at::Tensor view_of(const std::shared_ptr<MappedFile>& map, uint64_t begin, const std::vector<int64_t>& shape,
                   at::ScalarType type) {
  const auto options = at::TensorOptions().dtype(type);
  at::Tensor tensor;
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return at::empty(shape, options);
  std::byte* data = map->bytes().data() + begin;
  if (begin % c10::elementSize(type) != 0) {
    tensor = at::empty(shape, options);
    std::memcpy(tensor.mutable_data_ptr(), data, tensor.nbytes());
    return tensor;
  }
  return at::from_blob(
      data, shape, [map](void*) {}, options);
}

Checkpoint::Checkpoint(Format format, std::vector<std::unique_ptr<WeightFile>> files)
    : format_(format), files_(std::move(files)) {}
Checkpoint::~Checkpoint() = default;

void Checkpoint::add(uint32_t file, uint32_t index) {
  names_.push_back(files_[file]->infos()[index].name);
  places_.push_back({file, index});
}

void Checkpoint::sort_names(const std::string& origin) {
  sorted_.resize(names_.size());
  std::iota(sorted_.begin(), sorted_.end(), 0u);
  std::sort(sorted_.begin(), sorted_.end(), [&](uint32_t a, uint32_t b) { return names_[a] < names_[b]; });
  const auto twice = std::adjacent_find(sorted_.begin(), sorted_.end(),
                                        [&](uint32_t a, uint32_t b) { return names_[a] == names_[b]; });
  if (twice != sorted_.end())
    throw Error(ErrorCode::bad_checkpoint, concat("'", origin, "' has two tensors '", names_[*twice], "'"));
}

std::unique_ptr<Checkpoint> Checkpoint::open(const std::string& folder, const WeightOptions& options) {
  return open(find_weight_files(folder, options));
}

std::unique_ptr<Checkpoint> Checkpoint::open(const WeightFiles& files) {
  std::vector<std::unique_ptr<WeightFile>> opened;
  for (const auto& path : files.paths) opened.push_back(open_weight_file(files.format, path));
  auto checkpoint = std::unique_ptr<Checkpoint>(new Checkpoint(files.format, std::move(opened)));
  if (!files.index) {
    for (uint32_t i = 0; i < checkpoint->files_[0]->infos().size(); ++i) checkpoint->add(0, i);
    checkpoint->sort_names(files.paths[0]);
    return checkpoint;
  }

  // The index alone says which tensors there are, and whose (AC-94).
  checkpoint->index_dtype_ = files.index->dtype;
  auto wanted = files.index->weight_map;
  std::sort(wanted.begin(), wanted.end());
  size_t found = 0;
  for (uint32_t file = 0; file < checkpoint->files_.size(); ++file) {
    const auto& infos = checkpoint->files_[file]->infos();
    for (uint32_t i = 0; i < infos.size(); ++i) {
      if (!std::binary_search(wanted.begin(), wanted.end(), std::pair(infos[i].name, files.index->shards[file])))
        continue;
      checkpoint->add(file, i);
      ++found;
    }
  }
  checkpoint->sort_names(files.paths[0]);
  if (found < wanted.size()) {
    const auto missing = std::find_if(wanted.begin(), wanted.end(),
                                      [&](const auto& entry) { return !checkpoint->contains(entry.first); });
    throw Error(ErrorCode::bad_checkpoint, concat("the index gives '", missing->first, "' to the shard '",
                                                  missing->second, "', which has no such tensor"));
  }
  return checkpoint;
}

std::unique_ptr<Checkpoint> Checkpoint::open_gguf(const std::string& path, const GgufMapping& mapping) {
  std::vector<std::unique_ptr<WeightFile>> files;
  files.push_back(open_gguf_file(path, &mapping));
  auto checkpoint = std::unique_ptr<Checkpoint>(new Checkpoint(Format::gguf, std::move(files)));
  for (uint32_t i = 0; i < checkpoint->files_[0]->infos().size(); ++i) checkpoint->add(0, i);
  checkpoint->sort_names(path);
  return checkpoint;
}

std::unique_ptr<Checkpoint> Checkpoint::open_file(const std::string& path) {
  const auto map = MappedFile::open(path);
  const auto begins = [&](std::string_view magic) {
    return map->bytes().size() >= magic.size() && std::memcmp(map->bytes().data(), magic.data(), magic.size()) == 0;
  };
  const Format format = begins("GGUF")                               ? Format::gguf
                        : begins("PK\x03\x04") || begins("\x80\x02") ? Format::pytorch
                                                                     : Format::safetensors;
  return open(WeightFiles{format, {path}, std::nullopt});
}

bool Checkpoint::contains(std::string_view name) const {
  const auto entry = std::lower_bound(sorted_.begin(), sorted_.end(), name,
                                      [&](uint32_t i, std::string_view value) { return names_[i] < value; });
  return entry != sorted_.end() && names_[*entry] == name;
}

size_t Checkpoint::find(std::string_view name) const {
  const auto entry = std::lower_bound(sorted_.begin(), sorted_.end(), name,
                                      [&](uint32_t i, std::string_view value) { return names_[i] < value; });
  if (entry == sorted_.end() || names_[*entry] != name)
    throw Error(ErrorCode::bad_checkpoint, concat("the weights have no tensor '", name, "'"));
  return *entry;
}

const TensorInfo& Checkpoint::info(std::string_view name) const {
  const auto [file, index] = places_[find(name)];
  return files_[file]->infos()[index];
}

at::Tensor Checkpoint::tensor(std::string_view name) const {
  const auto [file, index] = places_[find(name)];
  return files_[file]->tensor(index);
}

std::optional<QuantizedBlocks> Checkpoint::blocks(std::string_view name) const {
  const auto [file, index] = places_[find(name)];
  return files_[file]->blocks(index);
}

const std::vector<std::pair<std::string, std::string>>& Checkpoint::metadata() const { return files_[0]->metadata(); }

std::optional<DType> Checkpoint::dtype() const {
  if (index_dtype_) return index_dtype_;
  for (const auto& info : files_[0]->infos()) {
    if (is_floating(info.dtype)) return info.dtype;
  }
  return std::nullopt;
}

}  // namespace backplane
