#pragma once

#include <ATen/core/Tensor.h>
#include <torch/headeronly/version.h>
#include <torch/nn/module.h>

#include "backplane/registry/build_fingerprint.h"

namespace backplane {

inline constexpr TorchBuild kTorchBuild = {TORCH_VERSION_MAJOR,
                                           TORCH_VERSION_MINOR,
#if __has_include(<c10/cuda/impl/cuda_cmake_macros.h>)
                                           "cuda",
#elif __has_include(<c10/hip/impl/hip_cmake_macros.h>)
                                           "rocm",
#else
                                           "cpu",
#endif
                                           sizeof(at::Tensor),
                                           sizeof(c10::TensorImpl),
                                           sizeof(torch::nn::Module)};

}  // namespace backplane

#undef BACKPLANE_TORCH_BUILD
#define BACKPLANE_TORCH_BUILD ::backplane::kTorchBuild
