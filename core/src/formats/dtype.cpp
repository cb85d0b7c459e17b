#include "backplane/formats/dtype.h"

namespace backplane {
namespace {

struct Entry {
  DType dtype;
  std::string_view name;
  std::string_view torch_name;
  uint64_t size;
};

constexpr Entry kEntries[] = {
#define BACKPLANE_DTYPE_ENTRY(id, file, torch, bytes) {DType::id, file, torch, bytes},
    BACKPLANE_DTYPES(BACKPLANE_DTYPE_ENTRY)
#undef BACKPLANE_DTYPE_ENTRY
};

const Entry& entry(DType dtype) { return kEntries[static_cast<size_t>(dtype)]; }

}  // namespace

std::string_view dtype_name(DType dtype) { return entry(dtype).name; }
std::string_view torch_dtype_name(DType dtype) { return entry(dtype).torch_name; }
uint64_t dtype_size(DType dtype) { return entry(dtype).size; }
bool is_floating(DType dtype) { return dtype <= DType::f8_e8m0; }

std::optional<DType> find_dtype(std::string_view safetensors_name) {
  for (const auto& entry : kEntries) {
    if (entry.name == safetensors_name) return entry.dtype;
  }
  return std::nullopt;
}

std::optional<DType> find_torch_dtype(std::string_view torch_name) {
  for (const auto& entry : kEntries) {
    if (entry.torch_name == torch_name) return entry.dtype;
  }
  return std::nullopt;
}

}  // namespace backplane
