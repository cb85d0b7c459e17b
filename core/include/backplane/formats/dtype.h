#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace backplane {

// Element types of checkpoint files: enumerator, name in safetensors headers, name in PyTorch, bytes an element.
#define BACKPLANE_DTYPES(X)                           \
  X(f64, "F64", "float64", 8)                         \
  X(f32, "F32", "float32", 4)                         \
  X(f16, "F16", "float16", 2)                         \
  X(bf16, "BF16", "bfloat16", 2)                      \
  X(f8_e4m3, "F8_E4M3", "float8_e4m3fn", 1)           \
  X(f8_e5m2, "F8_E5M2", "float8_e5m2", 1)             \
  X(f8_e4m3fnuz, "F8_E4M3FNUZ", "float8_e4m3fnuz", 1) \
  X(f8_e5m2fnuz, "F8_E5M2FNUZ", "float8_e5m2fnuz", 1) \
  X(f8_e8m0, "F8_E8M0", "float8_e8m0fnu", 1)          \
  X(i64, "I64", "int64", 8)                           \
  X(i32, "I32", "int32", 4)                           \
  X(i16, "I16", "int16", 2)                           \
  X(i8, "I8", "int8", 1)                              \
  X(u64, "U64", "uint64", 8)                          \
  X(u32, "U32", "uint32", 4)                          \
  X(u16, "U16", "uint16", 2)                          \
  X(u8, "U8", "uint8", 1)                             \
  X(boolean, "BOOL", "bool", 1)                       \
  X(c64, "C64", "complex64", 8)                       \
  X(c128, "C128", "complex128", 16)

enum class DType : uint8_t {
#define BACKPLANE_DTYPE_ENUMERATOR(id, file, torch, bytes) id,
  BACKPLANE_DTYPES(BACKPLANE_DTYPE_ENUMERATOR)
#undef BACKPLANE_DTYPE_ENUMERATOR
};

/// The name in a safetensors header, "BF16".
std::string_view dtype_name(DType dtype);
/// PyTorch's name, as in config.json's torch_dtype: "bfloat16".
std::string_view torch_dtype_name(DType dtype);
/// Bytes an element.
uint64_t dtype_size(DType dtype);
/// Float types, F8 included; complex ones are not (as torch.dtype.is_floating_point).
bool is_floating(DType dtype);

/// The dtype of either name; nothing where there is none.
std::optional<DType> find_dtype(std::string_view safetensors_name);
std::optional<DType> find_torch_dtype(std::string_view torch_name);

}  // namespace backplane
