#include <algorithm>
#include <cstring>

#include "backplane/base/error.h"
#include "backplane/base/limits.h"
#include "backplane/base/strings.h"
#include "checkpoint/dequantize.h"
#include "checkpoint/weight_file.h"

namespace backplane {
namespace {

constexpr std::string_view kExpert = "{e}";

// The types whose elements lie in the file as PyTorch has them.
std::optional<DType> plain_type(GgmlType type) {
  switch (type) {
    case GgmlType::F64:
      return DType::f64;
    case GgmlType::F32:
      return DType::f32;
    case GgmlType::F16:
      return DType::f16;
    case GgmlType::BF16:
      return DType::bf16;
    case GgmlType::I8:
      return DType::i8;
    case GgmlType::I16:
      return DType::i16;
    case GgmlType::I32:
      return DType::i32;
    case GgmlType::I64:
      return DType::i64;
    default:
      return std::nullopt;
  }
}

class GgufWeights : public WeightFile {
 public:
  GgufWeights(const std::string& path, const GgufMapping* mapping) : map_(MappedFile::open(path)) {
    const GgufFile gguf = parse_gguf(map_->bytes(), map_->bytes().size(), path).value();
    for (const auto& [key, value] : gguf.metadata) {
      if (value.is_string()) metadata_.emplace_back(key, value.as_string());
    }
    const std::string architecture = gguf.text("general.architecture");
    const auto count = [&](const char* key) -> int64_t {
      const Value* value = gguf.find(concat(architecture, ".attention.", key));
      return value && value->is_int() ? value->as_int() : 0;
    };
    heads_ = count("head_count");
    kv_heads_ = count("head_count_kv");
    for (const auto& tensor : gguf.tensors) {
      if (mapping) {
        const auto [name, transform] = gguf_name(tensor.name, *mapping);
        if (!name.empty()) add(tensor, name, transform);
      } else {
        add(tensor, tensor.name, GgufTransform::none);
      }
    }
    if (infos_.size() > limits::kTensorsPerFile) {
      throw Error(ErrorCode::limit_exceeded,
                  concat("'", path, "' has more than ", limits::kTensorsPerFile, " tensors"));
    }
  }

  at::Tensor tensor(size_t index) override {
    const auto& [type, shape, transform] = sources_[index];
    const auto& info = infos_[index];
    at::Tensor tensor;
    if (plain_type(type)) {
      tensor = view_of(map_, info.begin, shape, scalar_type(info.dtype));
    } else {
      tensor = at::empty(shape, at::kFloat);
      dequantize(type, bytes_of(info), {tensor.mutable_data_ptr<float>(), static_cast<size_t>(tensor.numel())});
    }
    switch (transform) {
      case GgufTransform::none:
      case GgufTransform::split_experts:
        return tensor;
      case GgufTransform::unpermute_heads:
        return unpermute(tensor, heads_);
      case GgufTransform::unpermute_kv_heads:
        return unpermute(tensor, kv_heads_);
      case GgufTransform::transpose:
        return tensor.t().contiguous();
      case GgufTransform::subtract_one:
        return tensor - 1;
      case GgufTransform::insert_dim0:
        return tensor.unsqueeze(0);
      case GgufTransform::insert_dim1:
        return tensor.unsqueeze(1);
      case GgufTransform::log_of_negative:
        return tensor.neg().log();
      case GgufTransform::fused_heads: {  // [3, heads, head_dim, …] -> [heads, 3, head_dim, …]
        std::vector<int64_t> split = {3, heads_, shape[0] / 3 / heads_};
        split.insert(split.end(), shape.begin() + 1, shape.end());
        return tensor.view(split).transpose(0, 1).reshape(shape);
      }
    }
    __builtin_unreachable();
  }

  std::optional<QuantizedBlocks> blocks(size_t index) override {
    const auto& [type, shape, transform] = sources_[index];
    if (plain_type(type)) return std::nullopt;
    const auto bytes = bytes_of(infos_[index]);
    switch (transform) {
      case GgufTransform::none:
      case GgufTransform::split_experts:
        return QuantizedBlocks{type, shape, bytes, map_};
      case GgufTransform::unpermute_heads:
      case GgufTransform::unpermute_kv_heads: {
        const int64_t heads = transform == GgufTransform::unpermute_heads ? heads_ : kv_heads_;
        if (heads_ == 0 || kv_heads_ == 0) return QuantizedBlocks{type, shape, bytes, map_};
        const int64_t rows = shape[0], half = rows / heads / 2;
        const size_t row_bytes = bytes.size() / static_cast<size_t>(rows);
        auto copy = std::make_shared<std::vector<std::byte>>(bytes.size());
        for (int64_t row = 0; row < rows; ++row) {
          const int64_t head = row / (2 * half), pair = row % (2 * half) / half, i = row % half;
          const int64_t from = head * 2 * half + i * 2 + pair;
          std::memcpy(copy->data() + static_cast<size_t>(row) * row_bytes,
                      bytes.data() + static_cast<size_t>(from) * row_bytes, row_bytes);
        }
        return QuantizedBlocks{type, shape, *copy, copy};
      }
      default:
        return std::nullopt;
    }
  }

 private:
  struct Source {
    GgmlType type;
    std::vector<int64_t> shape;  // in the file
    GgufTransform transform;
  };

  std::span<const std::byte> bytes_of(const TensorInfo& info) const {
    return map_->bytes().subspan(info.begin, info.end - info.begin);
  }

  void add(const GgufTensor& tensor, const std::string& name, GgufTransform transform) {
    const auto fail = [&](const std::string& what) {
      throw Error(ErrorCode::bad_checkpoint, concat("'", map_->path(), "': tensor '", tensor.name, "' ", what));
    };
    const auto plain = plain_type(tensor.type);
    if (!plain && !can_dequantize(tensor.type)) {
      fail(concat("has the type ", to_string(tensor.type),
                  ", which is not read; quantise the model to Q8_0, a K type, IQ4_NL or IQ4_XS"));
    }
    TensorInfo info{name, plain.value_or(DType::f32), tensor.shape, tensor.begin, tensor.end, map_->path()};
    const auto rank_at_least = [&](size_t rank) {
      if (info.shape.size() < rank) fail(concat("has ", info.shape.size(), " dimensions; expected ", rank));
    };
    const auto rows_by = [&](int64_t count, const char* what) {
      rank_at_least(1);
      if (count <= 0 || info.shape[0] % count != 0) fail(concat("has ", info.shape[0], " rows, no multiple of ", what));
    };
    switch (transform) {
      case GgufTransform::unpermute_heads:
        if (heads_ != 0 && kv_heads_ != 0) rows_by(checked_double(heads_), "twice the number of heads");
        break;
      case GgufTransform::unpermute_kv_heads:
        if (heads_ != 0 && kv_heads_ != 0) rows_by(checked_double(kv_heads_), "twice the number of key-value heads");
        break;
      case GgufTransform::fused_heads:
        rows_by(heads_ > 0 && heads_ < INT32_MAX ? 3 * heads_ : 0, "three times the number of heads");
        break;
      case GgufTransform::transpose:
        rank_at_least(1);
        // Biases have nothing to transpose.
        if (info.shape.size() == 1) transform = GgufTransform::none;
        if (info.shape.size() > 2) fail("has more than two dimensions");
        std::reverse(info.shape.begin(), info.shape.end());
        break;
      case GgufTransform::insert_dim0:
        info.shape.insert(info.shape.begin(), 1);
        break;
      case GgufTransform::insert_dim1:
        rank_at_least(1);
        info.shape.insert(info.shape.begin() + 1, 1);
        break;
      case GgufTransform::split_experts:
        return add_experts(tensor, std::move(info));
      default:
        break;
    }
    infos_.push_back(std::move(info));
    sources_.push_back({tensor.type, tensor.shape, transform});
  }

  static int64_t checked_double(int64_t count) { return count > 0 && count < INT32_MAX ? 2 * count : 0; }

  void add_experts(const GgufTensor& tensor, TensorInfo info) {
    const size_t hole = info.name.find(kExpert);
    const int64_t experts = info.shape.empty() ? 0 : info.shape[0];
    if (hole == std::string::npos || info.shape.size() < 2 || experts > static_cast<int64_t>(limits::kTensorsPerFile)) {
      throw Error(ErrorCode::bad_checkpoint,
                  concat("'", map_->path(), "': tensor '", tensor.name, "' is no stack of experts"));
    }
    const std::vector<int64_t> shape(info.shape.begin() + 1, info.shape.end());
    const uint64_t bytes = experts == 0 ? 0 : (info.end - info.begin) / static_cast<uint64_t>(experts);
    for (int64_t expert = 0; expert < experts; ++expert) {
      TensorInfo part = info;
      part.name.replace(hole, kExpert.size(), std::to_string(expert));
      part.shape = shape;
      part.begin = info.begin + static_cast<uint64_t>(expert) * bytes;
      part.end = part.begin + bytes;
      infos_.push_back(std::move(part));
      sources_.push_back({tensor.type, shape, GgufTransform::split_experts});
    }
  }

  // Rotary pairs that lie side by side go back to the two halves of a head: [heads, n, 2, …] -> [heads, 2, n, …].
  at::Tensor unpermute(const at::Tensor& tensor, int64_t heads) const {
    if (heads_ == 0 || kv_heads_ == 0) return tensor;
    std::vector<int64_t> split = {heads, tensor.size(0) / heads / 2, 2};
    split.insert(split.end(), tensor.sizes().begin() + 1, tensor.sizes().end());
    return tensor.view(split).transpose(1, 2).reshape(tensor.sizes());
  }

  std::shared_ptr<MappedFile> map_;
  int64_t heads_ = 0;
  int64_t kv_heads_ = 0;
  std::vector<Source> sources_;  // beside infos_
};

}  // namespace

std::unique_ptr<WeightFile> open_gguf_file(const std::string& path, const GgufMapping* mapping) {
  return std::make_unique<GgufWeights>(path, mapping);
}

}  // namespace backplane
