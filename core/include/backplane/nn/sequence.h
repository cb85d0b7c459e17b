#pragma once

#include <concepts>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "backplane/nn/module.h"

namespace backplane::nn {

/// Modules and functions applied one after the other. Modules are registered under their place ("0", "1", …), functions
/// take a place and have no parameters: `nn::Sequence(nn::Conv2d(…), nn::BatchNorm(…), at::relu)`. As with every
/// Module: forward from many threads, change from one.
class SequenceImpl : public Module {
 public:
  SequenceImpl() = default;
  template <class First, class... Rest>
  requires(!std::derived_from<std::remove_cvref_t<First>, SequenceImpl>) explicit SequenceImpl(First first,
                                                                                               Rest... rest) {
    add(std::move(first));
    (add(std::move(rest)), ...);
  }

  template <class Part>
  void add(Part part) {
    if constexpr (requires { part.ptr(); }) {
      register_module(std::to_string(parts_.size()), part);
      parts_.emplace_back([part](const Tensor& x) mutable -> Tensor { return part->forward(x); });
    } else {
      parts_.emplace_back(std::move(part));
    }
  }

  Tensor forward(Tensor x) const {
    for (const auto& part : parts_) x = part(x);
    return x;
  }
  size_t size() const { return parts_.size(); }

 private:
  std::vector<std::function<Tensor(const Tensor&)>> parts_;
};
TORCH_MODULE(Sequence);

/// What stands in a place of a sequence that has no effect outside of training, or none at all.
inline Tensor identity(const Tensor& x) { return x; }

}  // namespace backplane::nn
