#include "backplane/formats/pytorch.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "backplane/base/error.h"
#include "backplane/base/limits.h"
#include "backplane/base/strings.h"
#include "backplane/formats/safetensors.h"
#include "formats/checked.h"
#include "formats/unpickler.h"
#include "formats/zip.h"

namespace backplane {
namespace {

using Id = Unpickler::Id;
using Kind = Unpickler::Kind;

// torch.save before 1.6 begins with a pickle of this number.
constexpr unsigned char kLegacyMagic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                          0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e};
constexpr int64_t kLegacyProtocol = 1001;

[[noreturn]] void fail(const std::string& file, const std::string& what) {
  throw Error(ErrorCode::bad_checkpoint, concat("'", file, "' ", what));
}

// The tensors of the dictionary `root`. Storages are joined by their key: `find` gives the place of one, once.
template <class Find>
PytorchFile collect(const Unpickler& pickle, Id root, const std::string& file, Find find) {
  PytorchFile result;
  if (pickle.node(root).kind != Kind::dict) fail(file, "holds no dictionary of tensors");
  std::unordered_map<std::string_view, size_t> by_key;
  std::vector<size_t> positions(pickle.storages().size());
  for (size_t i = 0; i < positions.size(); ++i) {
    const auto& storage = pickle.storages()[i];
    const auto [entry, is_new] = by_key.try_emplace(storage.key, result.storages.size());
    if (is_new) {
      result.storages.push_back(find(storage));
    } else if (result.storages[entry->second].bytes != storage.bytes) {
      fail(file, concat("claims two sizes of the storage '", storage.key, "': ", result.storages[entry->second].bytes,
                        " and ", storage.bytes, " bytes"));
    }
    positions[i] = entry->second;
  }

  std::unordered_map<std::string_view, size_t> by_name;
  const auto& items = pickle.items(root);
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    if (pickle.node(items[i + 1]).kind != Kind::tensor) continue;
    if (pickle.node(items[i]).kind != Kind::text || !is_utf8(pickle.text(items[i])))
      fail(file, "has a tensor whose name is no text");
    const std::string_view name = pickle.text(items[i]);
    const auto& source = pickle.tensors()[pickle.node(items[i + 1]).index];
    PytorchTensor tensor{std::string(name), source.dtype,  source.shape,
                         source.strides,    source.offset, positions[source.storage]};
    // As in a dictionary, the last of equal names gives the value, the first the place.
    const auto [entry, is_new] = by_name.try_emplace(name, result.tensors.size());
    if (is_new) {
      result.tensors.push_back(std::move(tensor));
    } else {
      result.tensors[entry->second] = std::move(tensor);
    }
  }
  if (result.tensors.empty()) fail(file, "has no tensor in its dictionary");
  if (result.tensors.size() > limits::kTensorsPerFile)
    fail(file, concat("has more than ", limits::kTensorsPerFile, " tensors"));
  return result;
}

PytorchFile parse_zip(std::span<const std::byte> bytes, const std::string& file) {
  const auto records = read_zip_directory(bytes, file);
  std::unordered_map<std::string_view, const ZipRecord*> by_name;
  for (const auto& record : records) by_name.emplace(record.name, &record);

  constexpr std::string_view kPickle = "data.pkl";
  const ZipRecord* pickle_record = nullptr;
  for (const auto& record : records) {
    const size_t slash = record.name.rfind('/');
    if (slash == std::string::npos || slash != record.name.find('/') ||
        std::string_view(record.name).substr(slash + 1) != kPickle)
      continue;
    if (pickle_record) fail(file, "has two pickles");
    pickle_record = &record;
  }
  if (!pickle_record) fail(file, "is a zip archive without data.pkl: torch.save did not write it");
  const std::string folder = pickle_record->name.substr(0, pickle_record->name.size() - kPickle.size());

  const auto record_bytes = [&](const ZipRecord& record, std::vector<std::byte>& buffer) {
    const auto stored = bytes.subspan(record.begin, record.end - record.begin);
    if (!record.compressed) return stored;
    if (record.size > limits::kSafetensorsHeaderBytes)
      fail(file, concat("has a record '", record.name, "' of ", record.size, " bytes"));
    buffer.resize(record.size);
    inflate_record(stored, record.crc, buffer, record.name, file);
    return std::span<const std::byte>(buffer);
  };
  if (const auto order = by_name.find(folder + "byteorder"); order != by_name.end()) {
    std::vector<std::byte> buffer;
    const auto text = record_bytes(*order->second, buffer);
    if (std::string_view(reinterpret_cast<const char*>(text.data()), text.size()) != "little")
      fail(file, "has big-endian tensors; expected little-endian ones");
  }
  std::vector<std::byte> buffer;
  Unpickler pickle(record_bytes(*pickle_record, buffer), file);
  uint64_t position = 0;
  const Id root = pickle.read(position);
  return collect(pickle, root, file, [&](const Unpickler::Storage& storage) {
    const auto entry = by_name.find(concat(folder, "data/", storage.key));
    if (entry == by_name.end()) fail(file, concat("lacks the storage '", storage.key, "'"));
    const ZipRecord& record = *entry->second;
    if (record.size != storage.bytes)
      fail(file,
           concat("has ", record.size, " bytes in the storage '", storage.key, "'; its tensors claim ", storage.bytes));
    return PytorchStorage{std::string(storage.key), storage.bytes, record.begin, record.end,
                          record.compressed,        record.crc};
  });
}

// Pickles of magic number, protocol, system, tensors and list of keys; then number of elements and bytes of each
// storage.
PytorchFile parse_legacy(std::span<const std::byte> bytes, const std::string& file) {
  Unpickler pickle(bytes, file);
  uint64_t position = sizeof kLegacyMagic;
  const auto protocol = pickle.node(pickle.read(position));
  if (protocol.kind != Kind::integer || protocol.integer != kLegacyProtocol)
    fail(file, "has an unknown version of PyTorch's old format");
  const Id system = pickle.read(position);
  if (pickle.node(system).kind != Kind::dict) fail(file, "has no description of the system that wrote it");
  for (size_t i = 0; i + 1 < pickle.items(system).size(); i += 2) {
    const Id key = pickle.items(system)[i], value = pickle.items(system)[i + 1];
    if (pickle.node(key).kind == Kind::text && pickle.text(key) == "little_endian" && pickle.node(value).integer == 0) {
      fail(file, "has big-endian tensors; expected little-endian ones");
    }
  }
  const Id root = pickle.read(position);
  const Id keys = pickle.read(position);
  if (pickle.node(keys).kind != Kind::list) fail(file, "has no list of storages");
  std::unordered_map<std::string_view, std::pair<uint64_t, uint64_t>> places;
  std::unordered_map<std::string_view, const Unpickler::Storage*> known;
  for (const auto& storage : pickle.storages()) known.emplace(storage.key, &storage);
  for (Id key : pickle.items(keys)) {
    const auto storage = pickle.node(key).kind == Kind::text ? known.find(pickle.text(key)) : known.end();
    if (storage == known.end()) fail(file, "lists a storage that no tensor uses");
    if (bytes.size() - position < sizeof(uint64_t)) fail(file, "is truncated");
    const auto count = load_little<uint64_t>(bytes.data() + position);
    position += sizeof count;
    const uint64_t size = storage->second->bytes;
    const uint64_t element = storage->second->dtype ? dtype_size(*storage->second->dtype) : 1;
    if (count != size / element)
      fail(file, concat("has ", count, " elements in the storage '", storage->first, "'; its tensors claim ",
                        size / element));
    if (size > bytes.size() - position)
      fail(file, concat("is truncated: the storage '", storage->first, "' needs ", size, " bytes"));
    places.emplace(storage->first, std::pair(position, position + size));
    position += size;
  }
  return collect(pickle, root, file, [&](const Unpickler::Storage& storage) {
    const auto place = places.find(storage.key);
    if (place == places.end()) fail(file, concat("lacks the storage '", storage.key, "'"));
    return PytorchStorage{std::string(storage.key), storage.bytes, place->second.first, place->second.second};
  });
}

}  // namespace

PytorchFile parse_pytorch(std::span<const std::byte> bytes, const std::string& file) {
  if (is_zip(bytes)) return parse_zip(bytes, file);
  if (bytes.size() >= sizeof kLegacyMagic && std::memcmp(bytes.data(), kLegacyMagic, sizeof kLegacyMagic) == 0)
    return parse_legacy(bytes, file);
  refuse_lfs_pointer(bytes, file);
  fail(file, concat("is not what torch.save writes (", bytes.size(),
                    " bytes): it is truncated, damaged or of another format; from_tf=True reads TensorFlow's"));
}

void inflate_storage(const PytorchStorage& storage, std::span<const std::byte> bytes, std::span<std::byte> out,
                     const std::string& file) {
  inflate_record(bytes.subspan(storage.begin, storage.end - storage.begin), storage.crc, out, storage.key, file);
}

}  // namespace backplane
