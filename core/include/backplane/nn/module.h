#pragma once

#include <ATen/ATen.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace backplane {

using at::Tensor;

namespace nn {

using torch::nn::Module;
using torch::nn::ModuleHolder;

/// A list of layers of one type under the names "0", "1", …: `nn::Layers<BertLayer>(count, [&](int64_t i) { return
/// BertLayer(config); })`.
template <class Layer>
class LayersImpl : public Module {
 public:
  template <class Make>
  LayersImpl(int64_t count, Make make) {
    layers_.reserve(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) layers_.push_back(register_module(std::to_string(i), make(i)));
  }

  auto begin() { return layers_.begin(); }
  auto end() { return layers_.end(); }
  size_t size() const { return layers_.size(); }
  Layer& operator[](size_t i) { return layers_[i]; }

 private:
  std::vector<Layer> layers_;
};

template <class Layer>
class Layers : public ModuleHolder<LayersImpl<Layer>> {
 public:
  using ModuleHolder<LayersImpl<Layer>>::ModuleHolder;
};

}  // namespace nn
}  // namespace backplane
