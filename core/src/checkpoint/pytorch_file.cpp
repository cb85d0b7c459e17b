#include <mutex>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include "backplane/formats/pytorch.h"
#include "checkpoint/weight_file.h"

namespace backplane {
namespace {

class TorchFile : public WeightFile {
 public:
  explicit TorchFile(const std::string& path)
      : map_(MappedFile::open(path)), file_(parse_pytorch(map_->bytes(), path)), storages_(file_.storages.size()) {
    for (const auto& tensor : file_.tensors) {
      const auto& storage = file_.storages[tensor.storage];
      infos_.push_back({tensor.name, tensor.dtype, tensor.shape, storage.begin, storage.end, path});
    }
  }

  at::Tensor tensor(size_t index) override {
    const auto& source = file_.tensors[index];
    const auto type = scalar_type(source.dtype);
    at::Tensor tensor = at::empty({0}, at::TensorOptions().dtype(type));
    tensor.set_(storage(source.storage), source.offset, source.shape, source.strides);
    return tensor;
  }

 private:
  // Made at the first use and kept, so that tensors of one storage share it.
  at::Storage storage(size_t index) {
    const std::lock_guard lock(mutex_);
    at::Tensor& bytes = storages_[index];
    if (bytes.defined()) return bytes.storage();
    const auto& place = file_.storages[index];
    const auto size = static_cast<int64_t>(place.bytes);
    constexpr uint64_t kLargestElement = 16;
    if (place.compressed) {
      bytes = at::empty({size}, at::kByte);
      inflate_storage(place, map_->bytes(), {static_cast<std::byte*>(bytes.mutable_data_ptr()), place.bytes},
                      map_->path());
    } else {
      bytes = view_of(map_, place.begin, {size}, at::kByte);
      if (place.begin % kLargestElement != 0) bytes = bytes.clone();
    }
    return bytes.storage();
  }

  std::shared_ptr<MappedFile> map_;
  PytorchFile file_;
  std::mutex mutex_;
  std::vector<at::Tensor> storages_;  // as bytes
};

}  // namespace

std::unique_ptr<WeightFile> open_pytorch(const std::string& path) { return std::make_unique<TorchFile>(path); }

}  // namespace backplane
