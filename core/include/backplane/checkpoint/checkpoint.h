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

/// The tensors of a model's weight files under their names, read lazily. Immutable and thread-safe once opened.
class Checkpoint {
 public:
  /// Opens the weights of a local folder (AC-88). Throws `file_not_found`, `bad_checkpoint`, `bad_file_name`.
  static std::unique_ptr<Checkpoint> open(const std::string& folder, const WeightOptions& options = {});
  /// Opens files that find_weight_files found, or one file of any of the formats.
  static std::unique_ptr<Checkpoint> open(const WeightFiles& files);
  static std::unique_ptr<Checkpoint> open_file(const std::string& path);
  /// A GGUF file under the names of the model that `mapping` belongs to; `config` gives the head counts.
  static std::unique_ptr<Checkpoint> open_gguf(const std::string& path, const GgufMapping& mapping,
                                               const Value& config);

  virtual ~Checkpoint() = default;

  /// Every tensor: safetensors sorted by name, others in the file's order, shards one after the other.
  const std::vector<std::string>& names() const { return names_; }
  bool contains(std::string_view name) const;
  /// Throws `bad_checkpoint` where there is no such tensor.
  const TensorInfo& info(std::string_view name) const;

  /// The tensor on the CPU. Mapped formats give a view of the file's private pages, which the tensor keeps mapped: no
  /// byte is read before it is used, and writing to the tensor does not change the file. Quantised tensors come as
  /// float32. Two names of one storage (.bin) share it.
  virtual at::Tensor tensor(std::string_view name) const = 0;

  /// The blocks of a quantised tensor; nothing for all others.
  virtual std::optional<QuantizedBlocks> blocks(std::string_view name) const;

  /// "__metadata__" of the (first) safetensors file; the texts of GGUF metadata.
  const std::vector<std::pair<std::string, std::string>>& metadata() const { return metadata_; }
  WeightFiles::Format format() const { return format_; }

  /// The dtype that torch_dtype="auto" takes from the weights (AC-111): the index's, else that of the first floating
  /// tensor of the first file in key order; nothing where there is none.
  std::optional<DType> dtype() const;

 protected:
  Checkpoint() = default;

  WeightFiles::Format format_ = WeightFiles::Format::safetensors;
  std::vector<std::string> names_;
  std::vector<TensorInfo> infos_;  // beside names_
  std::vector<std::pair<std::string, std::string>> metadata_;
  std::optional<DType> index_dtype_;

  size_t find(std::string_view name) const;  // throws
  void index_names();                        // after names_ and infos_ are filled

 private:
  std::vector<uint32_t> order_;  // positions sorted by name
};

at::ScalarType scalar_type(DType dtype);
/// Throws `bad_checkpoint` for a type that no checkpoint holds.
DType dtype_of(at::ScalarType type);

}  // namespace backplane
