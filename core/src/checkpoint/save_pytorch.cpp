#include "checkpoint/save_pytorch.h"

#include <map>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "backplane/checkpoint/checkpoint.h"
#include "checkpoint/file_writer.h"
#include "formats/zip.h"

namespace backplane {
namespace {

constexpr uint64_t kAlignment = 64;

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// A pickle of protocol 2, of the few objects that a dictionary of tensors needs.
class Pickler {
 public:
  void raw(std::string_view opcodes) { out_ += opcodes; }
  void text(std::string_view value) {
    out_ += 'X';
    put(out_, static_cast<uint32_t>(value.size()));
    out_ += value;
  }
  void integer(int64_t value) {
    out_ += "\x8a\x08";
    put(out_, value);
  }
  void integers(at::IntArrayRef values) {
    out_ += '(';
    for (int64_t value : values) integer(value);
    out_ += 't';
  }
  void global(std::string_view module, std::string_view name) {
    out_.append(1, 'c').append(module).append(1, '\n').append(name).append(1, '\n');
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_ = "\x80\x02";
};

// "LongStorage"; types younger than these are kept as bytes, with their dtype beside them.
std::string_view storage_class(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return "DoubleStorage";
    case DType::f32:
      return "FloatStorage";
    case DType::f16:
      return "HalfStorage";
    case DType::bf16:
      return "BFloat16Storage";
    case DType::i64:
      return "LongStorage";
    case DType::i32:
      return "IntStorage";
    case DType::i16:
      return "ShortStorage";
    case DType::i8:
      return "CharStorage";
    case DType::u8:
      return "ByteStorage";
    case DType::boolean:
      return "BoolStorage";
    case DType::c64:
      return "ComplexFloatStorage";
    case DType::c128:
      return "ComplexDoubleStorage";
    default:
      return "";
  }
}

class Archive {
 public:
  explicit Archive(const std::string& path) : file_(path) {}

  template <class Data>
  void add(const std::string& name, uint64_t size, uint32_t crc, const Data& data) {
    const uint64_t offset = file_.position();
    // Padding stands in an extra field, behind the sizes of 64 bits.
    std::string extra;
    put(extra, uint16_t{1});
    put(extra, uint16_t{16});
    put(extra, size);
    put(extra, size);
    const uint64_t begin = offset + 30 + name.size() + extra.size() + 4;
    const auto padding = static_cast<uint16_t>((kAlignment - begin % kAlignment) % kAlignment);
    put(extra, uint16_t{0x4246});
    put(extra, padding);
    extra.append(padding, 'Z');
    std::string head;
    put(head, uint32_t{0x04034b50});
    put(head, uint16_t{45});
    put_common(head, crc, name.size(), extra.size());
    file_.write(head + name + extra);
    file_.write(data);

    std::string zip64;
    put(zip64, uint16_t{1});
    put(zip64, uint16_t{24});
    put(zip64, size);
    put(zip64, size);
    put(zip64, offset);
    put(directory_, uint32_t{0x02014b50});
    put(directory_, uint32_t{45 << 16 | 45});
    put_common(directory_, crc, name.size(), zip64.size());
    directory_.append(10, '\0');  // comment, disk, attributes
    put(directory_, UINT32_MAX);
    directory_ += name + zip64;
    ++count_;
  }

  void add(const std::string& name, const std::string& bytes) {
    add(name, bytes.size(), crc32_of(std::as_bytes(std::span(bytes))), bytes);
  }

  void close() {
    const uint64_t begin = file_.position();
    const uint64_t size = directory_.size();
    file_.write(directory_);
    const uint64_t end64 = file_.position();
    std::string end;
    put(end, uint32_t{0x06064b50});
    put(end, uint64_t{44});
    put(end, uint32_t{45 << 16 | 45});
    put(end, uint64_t{0});
    put(end, count_);
    put(end, count_);
    put(end, size);
    put(end, begin);
    put(end, uint32_t{0x07064b50});
    put(end, uint32_t{0});
    put(end, end64);
    put(end, uint32_t{1});
    put(end, uint32_t{0x06054b50});
    put(end, uint32_t{0});
    put(end, uint16_t{UINT16_MAX});
    put(end, uint16_t{UINT16_MAX});
    put(end, UINT32_MAX);
    put(end, UINT32_MAX);
    put(end, uint16_t{0});
    file_.write(end);
    file_.close();
  }

 private:
  // What local header and directory have in common; both sizes stand in the 64-bit field.
  static void put_common(std::string& out, uint32_t crc, size_t name, size_t extra) {
    out.append(8, '\0');  // flags, stored, time, date
    put(out, crc);
    put(out, UINT32_MAX);
    put(out, UINT32_MAX);
    put(out, static_cast<uint16_t>(name));
    put(out, static_cast<uint16_t>(extra));
  }

  FileWriter file_;
  std::string directory_;
  uint64_t count_ = 0;
};

}  // namespace

void save_pytorch(const std::string& path, const NamedTensors& tensors) {
  Pickler pickle;
  pickle.global("collections", "OrderedDict");
  pickle.raw(")R(");
  std::vector<at::Tensor> storages;
  std::map<std::tuple<const void*, int64_t, std::vector<int64_t>, std::vector<int64_t>, at::ScalarType>, size_t> known;
  for (const auto& [name, tensor] : tensors) {
    const DType dtype = dtype_of(tensor.scalar_type());
    const auto [place, is_new] = known.try_emplace({tensor.storage().unsafeGetStorageImpl(), tensor.storage_offset(),
                                                    tensor.sizes().vec(), tensor.strides().vec(), tensor.scalar_type()},
                                                   storages.size());
    if (is_new) storages.push_back(tensor.detach().cpu().contiguous().resolve_conj().resolve_neg());
    const at::Tensor& stored = storages[place->second];
    const std::string_view type = storage_class(dtype);
    pickle.text(name);
    pickle.global("torch._utils", type.empty() ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2");
    pickle.raw("((");
    pickle.text("storage");
    pickle.global(type.empty() ? "torch.storage" : "torch", type.empty() ? "UntypedStorage" : type);
    pickle.text(std::to_string(place->second));
    pickle.text("cpu");
    pickle.integer(type.empty() ? static_cast<int64_t>(stored.nbytes()) : stored.numel());
    pickle.raw("tQ");
    pickle.integer(0);
    pickle.integers(stored.sizes());
    pickle.integers(stored.strides());
    pickle.raw("\x89");  // requires_grad
    pickle.global("collections", "OrderedDict");
    pickle.raw(")R");
    if (type.empty()) pickle.global("torch", torch_dtype_name(dtype));
    pickle.raw("tR");
  }
  pickle.raw("u.");

  Archive archive(path);
  archive.add("archive/data.pkl", pickle.take());
  archive.add("archive/byteorder", "little");
  for (size_t i = 0; i < storages.size(); ++i) {
    const auto& storage = storages[i];
    const std::span<const std::byte> bytes(static_cast<const std::byte*>(storage.const_data_ptr()), storage.nbytes());
    archive.add(concat("archive/data/", i), bytes.size(), crc32_of(bytes), storage);
  }
  archive.add("archive/version", "3\n");
  archive.close();
}

}  // namespace backplane
