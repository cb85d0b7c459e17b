#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "backplane/nn/cache.h"
#include "backplane/nn/module.h"

namespace backplane {

/// What an argument of forward or a field of its result can be.
using Argument =
    std::variant<std::monostate, Tensor, std::vector<Tensor>, KvCachePtr, bool, int64_t, double, std::string>;

/// An ordered map from the reference's names to tensors, tuples of tensors, caches and numbers.
class NamedValues {
 public:
  using Items = std::vector<std::pair<std::string, Argument>>;

  NamedValues() = default;
  NamedValues(std::initializer_list<std::pair<std::string, Argument>> items) : items_(items.begin(), items.end()) {}

  /// Sets or replaces; undefined tensors, empty tuples and null caches are left out.
  void set(std::string name, Argument value);

  bool contains(std::string_view name) const { return find(name) != nullptr; }
  const Argument* find(std::string_view name) const;

  /// The tensor of that name. Throws `unknown_argument`, listing what there is, where there is none.
  const Tensor& operator[](std::string_view name) const;
  /// The tensor, or an undefined one where the name is absent.
  Tensor tensor(std::string_view name) const;
  std::vector<Tensor> tuple(std::string_view name) const;
  KvCachePtr cache(std::string_view name) const;
  bool flag(std::string_view name, bool fallback) const;
  int64_t number(std::string_view name, int64_t fallback) const;

  Items::const_iterator begin() const { return items_.begin(); }
  Items::const_iterator end() const { return items_.end(); }
  size_t size() const { return items_.size(); }

 private:
  Items items_;
};

/// Arguments of forward, by the reference's names.
class ModelInputs : public NamedValues {
 public:
  using NamedValues::NamedValues;

  /// The arguments among `names`, as a model passes them on to the base model inside it.
  ModelInputs select(std::span<const std::string_view> names) const;
};

/// Names of arguments, those of `base` and more: `static constexpr auto kArguments = extend(kEncoderArguments,
/// "labels");`
template <size_t N, class... More>
constexpr std::array<std::string_view, N + sizeof...(More)> extend(const std::array<std::string_view, N>& base,
                                                                   More... more) {
  std::array<std::string_view, N + sizeof...(More)> names;
  size_t i = 0;
  for (; i < N; ++i) names[i] = base[i];
  ((names[i++] = more), ...);
  return names;
}

/// Result of forward; the fields of the reference's ModelOutput.
class ModelOutput : public NamedValues {
 public:
  using NamedValues::NamedValues;

  /// Takes from the base model's output what every head hands through: cache, hidden states, attentions.
  void pass_on(const ModelOutput& base);
};

}  // namespace backplane
