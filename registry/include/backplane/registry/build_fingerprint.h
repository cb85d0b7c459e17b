#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "backplane/registry/interface_hash.h"  // generated: kInterfaceHash
#include "backplane/registry/plugin_abi.h"

namespace backplane {

/// What a translation unit knows of the libtorch it is compiled against; `major` 0: it uses none.
struct TorchBuild {
  int major = 0;
  int minor = 0;
  std::string_view flavour;
  size_t sizeof_tensor = 0;
  size_t sizeof_tensor_impl = 0;
  size_t sizeof_module = 0;
};

/// The fingerprint of the translation unit that evaluates it: everything that must be the same on both sides of the C
/// line before C++ objects may cross it, as "key=value" lines in a fixed order.
class BuildFingerprint {
 public:
  explicit constexpr BuildFingerprint(const TorchBuild& torch) {
    field("format", 1);
#if defined(__linux__)
    field("os", "linux");
#else
#error "Backplane has no plugin format for this system"
#endif
#if defined(__x86_64__)
    field("arch", "x86_64");
#elif defined(__aarch64__)
    field("arch", "aarch64");
#elif defined(__riscv)
    field("arch", "riscv");
#else
#error "Backplane does not know this architecture's name"
#endif
#if defined(__GLIBCXX__)
    field("cxx_library", "libstdc++");
    field("cxx11_abi", _GLIBCXX_USE_CXX11_ABI);
#elif defined(_LIBCPP_VERSION)
    field("cxx_library", "libc++");
    field("cxx11_abi", 1);
#endif
#ifdef _GLIBCXX_DEBUG
    field("cxx_debug", 1);
#else
    field("cxx_debug", 0);
#endif
    field("sdk_abi", BACKPLANE_ABI_VERSION);
    field("sdk_interface", kInterfaceHash);
    if (torch.major == 0) {
      field("torch", "none");
      return;
    }
    append("torch=");
    append(static_cast<uint64_t>(torch.major));
    append(".");
    append(static_cast<uint64_t>(torch.minor));
    append("\n");
    field("torch_flavour", torch.flavour);
    field("sizeof_tensor", torch.sizeof_tensor);
    field("sizeof_tensor_impl", torch.sizeof_tensor_impl);
    field("sizeof_module", torch.sizeof_module);
  }

  constexpr std::string_view text() const { return {text_, size_}; }

 private:
  constexpr void append(std::string_view part) {
    for (const char c : part) text_[size_++] = c;
  }
  constexpr void append(uint64_t number) {
    if (number >= 10) append(number / 10);
    text_[size_++] = static_cast<char>('0' + number % 10);
  }
  template <class T>
  constexpr void field(std::string_view key, T value) {
    append(key);
    append("=");
    append(value);
    append("\n");
  }
  constexpr void field(std::string_view key, int value) { field(key, static_cast<uint64_t>(value)); }
  constexpr void field(std::string_view key, unsigned value) { field(key, static_cast<uint64_t>(value)); }

  char text_[512] = {};
  size_t size_ = 0;
};

inline constexpr TorchBuild kNoTorch;

}  // namespace backplane

// <backplane/torch_build.h> sets it to the libtorch at hand.
#ifndef BACKPLANE_TORCH_BUILD
#define BACKPLANE_TORCH_BUILD ::backplane::kNoTorch
#endif
