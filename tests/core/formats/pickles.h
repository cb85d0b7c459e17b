#pragma once

#include <zlib.h>

#include <string>
#include <utility>
#include <vector>

#include "core/formats/bytes.h"

// Pickles and zip archives as torch.save writes them, opcode by opcode.
namespace backplane::testing::pickle {

inline std::string text(const std::string& value) { return "X" + little(static_cast<uint32_t>(value.size())) + value; }
inline std::string integer(int32_t value) { return "J" + little(value); }
inline std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string tuple(const std::vector<int32_t>& values) {
  std::string out = "(";
  for (int32_t value : values) out += integer(value);
  return out + "t";
}
inline std::string storage(const std::string& type, const std::string& key, int32_t count) {
  return "(" + text("storage") + global("torch", type) + text(key) + text("cpu") + integer(count) + "tQ";
}
inline std::string tensor(const std::string& storage, int32_t offset, const std::vector<int32_t>& shape,
                          const std::vector<int32_t>& strides) {
  return global("torch._utils", "_rebuild_tensor_v2") + "(" + storage + integer(offset) + tuple(shape) +
         tuple(strides) + "\x89" + global("collections", "OrderedDict") + ")RtR";
}
/// A whole pickle of a dictionary.
inline std::string dictionary(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string out = "\x80\x02}(";
  for (const auto& [key, value] : entries) out += text(key) + value;
  return out + "u.";
}

struct Record {
  std::string name;
  std::string bytes;
  bool compressed = false;
};

inline std::string deflated(const std::string& bytes) {
  std::string out(compressBound(bytes.size()) + 64, '\0');
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

/// A zip archive without zip64.
inline std::string zip(const std::vector<Record>& records) {
  std::string file, directory;
  for (const auto& record : records) {
    const std::string stored = record.compressed ? deflated(record.bytes) : record.bytes;
    const auto crc = static_cast<uint32_t>(
        crc32(0, reinterpret_cast<const Bytef*>(record.bytes.data()), static_cast<uInt>(record.bytes.size())));
    const auto u16 = [](size_t value) { return little(static_cast<uint16_t>(value)); };
    const auto u32 = [](size_t value) { return little(static_cast<uint32_t>(value)); };
    const size_t padding = (64 - (file.size() + 30 + record.name.size()) % 64) % 64;
    const std::string common = u16(0) + u16(record.compressed ? 8 : 0) + u32(0) + u32(crc) + u32(stored.size()) +
                               u32(record.bytes.size()) + u16(record.name.size());
    directory += u32(0x02014b50) + u32(20) + common + u16(0) + u16(0) + u16(0) + u16(0) + u32(0) + u32(file.size()) +
                 record.name;
    file += u32(0x04034b50) + u16(20) + common + u16(padding) + record.name + std::string(padding, '\0') + stored;
  }
  const std::string count = little(static_cast<uint16_t>(records.size()));
  return file + directory + little(uint32_t{0x06054b50}) + little(uint32_t{0}) + count + count +
         little(static_cast<uint32_t>(directory.size())) + little(static_cast<uint32_t>(file.size())) +
         little(uint16_t{0});
}

/// The archive of torch.save: the pickle and its storages "0", "1", …
inline std::string archive(const std::string& pickle, const std::vector<std::string>& storages,
                           bool compressed = false) {
  std::vector<Record> records = {{"m/data.pkl", pickle, compressed}, {"m/byteorder", "little"}};
  for (size_t i = 0; i < storages.size(); ++i)
    records.push_back({"m/data/" + std::to_string(i), storages[i], compressed});
  return zip(records);
}

/// The format of torch.save before 1.6.
inline std::string legacy(const std::string& pickle, const std::vector<std::pair<std::string, std::string>>& storages,
                          size_t element) {
  std::string file("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e", 15);
  file +=
      std::string("\x80\x02M\xe9\x03.", 6) + "\x80\x02}(" + text("little_endian") + "\x88u." + pickle + "\x80\x02](";
  for (const auto& storage : storages) file += text(storage.first);
  file += "e.";
  for (const auto& storage : storages) file += little(uint64_t{storage.second.size() / element}) + storage.second;
  return file;
}

}  // namespace backplane::testing::pickle
