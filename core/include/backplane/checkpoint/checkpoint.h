#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backplane/formats/gguf.h"
#include "backplane/formats/gguf_mapping.h"
#include "backplane/formats/tensor_info.h"
#include "backplane/formats/weight_files.h"

namespace backplane {

/// Quantised weights as they lie in a GGUF file: [rows, columns] with whole blocks a row.
struct QuantizedBlocks {
  GgmlType type;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;  // keeps `bytes` alive
};

/// One opened weight file; private to core/src/checkpoint.
class WeightFile;

/// The tensors of a model's weight files under their names, read lazily. Immutable and thread-safe once opened.
class Checkpoint {
 public:
  /// Opens the weights of a local folder (AC-88). Throws `file_not_found`, `bad_checkpoint`, `bad_file_name`.
  static std::unique_ptr<Checkpoint> open(const std::string& folder, const WeightOptions& options = {});
  /// Opens what find_weight_files found. GGUF tensors keep the names of their file.
  static std::unique_ptr<Checkpoint> open(const WeightFiles& files);
  /// A GGUF file under the names of the model that `mapping` belongs to; tensors that it does not name are left out.
  static std::unique_ptr<Checkpoint> open_gguf(const std::string& path, const GgufMapping& mapping);
  /// One file (AC-91), by its first bytes.
  static std::unique_ptr<Checkpoint> open_file(const std::string& path);

  ~Checkpoint();

  /// Every tensor, in the file's order (safetensors: sorted by name), shards one after the other in the order of their
  /// names.
  const std::vector<std::string>& names() const { return names_; }
  bool contains(std::string_view name) const;
  /// Throws `bad_checkpoint` where there is no such tensor.
  const TensorInfo& info(std::string_view name) const;

  /// The tensor on the CPU. It is a view of the file's private pages, which it keeps mapped: no byte is read before it
  /// is used, and writing to the tensor does not change the file. Compressed, quantised and misaligned tensors are
  /// copies. Quantised tensors come as float32. Two names of one storage (.bin) share it.
  at::Tensor tensor(std::string_view name) const;

  /// The blocks of a quantised tensor of a GGUF file; nothing for all others.
  std::optional<QuantizedBlocks> blocks(std::string_view name) const;

  /// "__metadata__" of the (first) safetensors file; the texts of GGUF metadata.
  const std::vector<std::pair<std::string, std::string>>& metadata() const;
  WeightFiles::Format format() const { return format_; }

  /// The dtype that torch_dtype="auto" takes from the weights (AC-111): the index's, else that of the first floating
  /// tensor of the first file; nothing where there is none.
  std::optional<DType> dtype() const;

 private:
  struct Place {
    uint32_t file;
    uint32_t index;
  };

  Checkpoint(WeightFiles::Format format, std::vector<std::unique_ptr<WeightFile>> files);
  void add(uint32_t file, uint32_t index);
  void sort_names(const std::string& origin);
  size_t find(std::string_view name) const;

  WeightFiles::Format format_;
  std::vector<std::unique_ptr<WeightFile>> files_;
  std::vector<std::string> names_;
  std::vector<Place> places_;     // beside names_
  std::vector<uint32_t> sorted_;  // positions in the order of names
  std::optional<DType> index_dtype_;
};

at::ScalarType scalar_type(DType dtype);
/// Throws `bad_checkpoint` for a type that no checkpoint holds.
DType dtype_of(at::ScalarType type);

}  // namespace backplane
