#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/formats/dtype.h"

namespace backplane {

/// An interpreter of pickles that can build what a checkpoint holds: None, booleans, numbers, texts, containers, and
/// references to tensors and their storages. Globals are names from a fixed list and never looked up anywhere. No
/// recursion; time and memory are linear in the pickle. Texts are views of `bytes`.
class Unpickler {
 public:
  using Id = uint32_t;

  enum class Kind : uint8_t {
    none,
    boolean,
    integer,
    number,
    text,
    global,
    tuple,
    list,
    dict,
    storage,
    tensor,
    dtype,
    other
  };

  struct Node {
    Kind kind = Kind::none;
    union {
      int64_t integer = 0;
      double number;
      const char* text;  // of `size` bytes
      uint64_t index;    // into containers_, storages or tensors
    };
    uint32_t size = 0;
  };

  struct Storage {
    std::string_view key;
    std::optional<DType> dtype;  // nothing: bytes
    uint64_t bytes = 0;
  };

  struct Tensor {
    Id storage = 0;  // position in storages
    DType dtype = DType::f32;
    int64_t offset = 0;
    std::vector<int64_t> shape, strides;
  };

  Unpickler(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  /// Reads one pickle at `position` and returns what it builds; `position` is then behind it. Throws `bad_checkpoint`.
  Id read(uint64_t& position);

  const Node& node(Id id) const { return nodes_[id]; }
  /// Elements of a tuple or list; keys and values in turn of a dictionary.
  const std::vector<Id>& items(Id id) const { return containers_[nodes_[id].index]; }
  std::string_view text(Id id) const { return {nodes_[id].text, nodes_[id].size}; }
  const std::vector<Storage>& storages() const { return storages_; }
  const std::vector<Tensor>& tensors() const { return tensors_; }

 private:
  [[noreturn]] void fail(const std::string& what) const;
  void need(uint64_t count) const;
  const std::byte* take(uint64_t count);
  template <class T>
  T number();
  std::string_view line();

  Id make(Node node);
  Id make_integer(int64_t value);
  Id make_text(std::string_view text);
  Id make_container(Kind kind, std::vector<Id> items);
  Id make_global(std::string_view module, std::string_view name);

  Id pop();
  Id top();
  std::vector<Id> pop_to_mark();
  void memoize(uint64_t slot);
  void append(Id container, Kind kind, const std::vector<Id>& items);

  void reduce();
  Id persistent(Id id);
  Id rebuild_tensor(const std::vector<Id>& arguments, bool has_dtype);
  std::vector<int64_t> integers(Id id, const char* what) const;
  const Node& expect(Id id, Kind kind, const char* what) const;

  std::span<const std::byte> bytes_;
  const std::string& file_;
  uint64_t position_ = 0;
  uint64_t end_ = 0;  // where this pickle must have ended

  std::vector<Node> nodes_;
  std::vector<std::vector<Id>> containers_;
  std::vector<Storage> storages_;
  std::vector<Tensor> tensors_;
  std::vector<Id> stack_;
  std::vector<size_t> marks_;
  std::vector<Id> memo_;
};

}  // namespace backplane
