#include "formats/zip.h"

#include <zlib.h>

#include <algorithm>
#include <string_view>

#include "backplane/base/error.h"
#include "backplane/base/limits.h"
#include "backplane/base/strings.h"
#include "formats/checked.h"

namespace backplane {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50, kCentralEntry = 0x02014b50, kEnd = 0x06054b50, kEnd64 = 0x06064b50,
                   kLocator64 = 0x07064b50;
constexpr uint64_t kLocalHeaderSize = 30, kCentralEntrySize = 46, kEndSize = 22, kEnd64Size = 56, kLocator64Size = 20;
constexpr uint64_t kLongestComment = 0xffff;
constexpr uint64_t kLargestRatio = 100;

class Directory {
 public:
  Directory(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  std::vector<ZipRecord> read() {
    const auto [count, begin, end] = find_directory();
    if (count > limits::kTensorsPerFile)
      fail(concat("claims ", count, " records; at most ", limits::kTensorsPerFile, " are read"));
    std::vector<ZipRecord> records;
    uint64_t position = begin;
    uint64_t inflated = 0;
    for (uint64_t i = 0; i < count; ++i) {
      records.push_back(read_entry(position, end));
      if (records.back().compressed && __builtin_add_overflow(inflated, records.back().size, &inflated))
        inflated = UINT64_MAX;
    }
    if (inflated / kLargestRatio > bytes_.size()) {
      fail(
          concat("claims to inflate to ", inflated, " bytes, more than ", kLargestRatio, " times its ", bytes_.size()));
    }
    std::vector<std::string_view> names;
    for (const auto& record : records) names.push_back(record.name);
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) fail(concat("has two records '", *twice, "'"));
    return records;
  }

 private:
  struct Place {
    uint64_t count, begin, end;
  };

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::bad_checkpoint, concat("'", file_, "': the zip archive ", what));
  }

  template <class T>
  T at(uint64_t position) const {
    if (position > bytes_.size() || bytes_.size() - position < sizeof(T))
      fail(concat("is truncated at byte ", bytes_.size()));
    return load_little<T>(bytes_.data() + position);
  }

  Place find_directory() const {
    if (bytes_.size() < kEndSize) fail("is too short");
    const uint64_t last = bytes_.size() - kEndSize;
    uint64_t end = last;
    while (at<uint32_t>(end) != kEnd || at<uint16_t>(end + 20) != last - end) {
      if (end == 0 || last - end == kLongestComment)
        fail("has no directory at its end: the file is truncated or damaged");
      --end;
    }
    Place place{at<uint16_t>(end + 10), at<uint32_t>(end + 16), 0};
    uint64_t size = at<uint32_t>(end + 12);
    uint64_t limit = end;
    if (end >= kLocator64Size && at<uint32_t>(end - kLocator64Size) == kLocator64) {
      const auto end64 = at<uint64_t>(end - kLocator64Size + 8);
      if (end64 > end - kLocator64Size || end - kLocator64Size - end64 < kEnd64Size || at<uint32_t>(end64) != kEnd64)
        fail("has a damaged zip64 directory");
      place.count = at<uint64_t>(end64 + 32);
      size = at<uint64_t>(end64 + 40);
      place.begin = at<uint64_t>(end64 + 48);
      limit = end64;
    }
    if (place.begin > limit || size > limit - place.begin) fail("has a directory that lies outside of it");
    place.end = place.begin + size;
    if (place.count > size / kCentralEntrySize)
      fail(concat("claims ", place.count, " records in a directory of ", size, " bytes"));
    return place;
  }

  ZipRecord read_entry(uint64_t& position, uint64_t end) const {
    if (end - position < kCentralEntrySize || at<uint32_t>(position) != kCentralEntry)
      fail(concat("has a damaged directory at byte ", position));
    const uint64_t name = at<uint16_t>(position + 28), extra = at<uint16_t>(position + 30),
                   comment = at<uint16_t>(position + 32);
    if (end - position - kCentralEntrySize < name + extra + comment)
      fail(concat("has a damaged directory at byte ", position));
    ZipRecord record;
    record.name.assign(reinterpret_cast<const char*>(bytes_.data()) + position + kCentralEntrySize, name);
    const auto entry_fail = [&](const std::string& what) { fail(concat("has a record '", record.name, "' ", what)); };
    if (at<uint16_t>(position + 8) & 1) entry_fail("that is encrypted");
    const auto method = at<uint16_t>(position + 10);
    if (method != 0 && method != Z_DEFLATED)
      entry_fail(concat("of compression method ", method, "; expected stored or deflated"));
    record.compressed = method == Z_DEFLATED;
    record.crc = at<uint32_t>(position + 16);
    uint64_t stored = at<uint32_t>(position + 20), local = at<uint32_t>(position + 42);
    record.size = at<uint32_t>(position + 24);

    // Sizes and places of 32 ones stand in the zip64 field, in this order.
    const uint64_t extra_end = position + kCentralEntrySize + name + extra;
    for (uint64_t field = position + kCentralEntrySize + name; extra_end - field >= 4;) {
      const auto id = at<uint16_t>(field);
      const uint64_t field_end = field + 4 + at<uint16_t>(field + 2);
      if (field_end > extra_end) entry_fail("with a damaged extra field");
      if (id == 1) {
        uint64_t value = field + 4;
        for (uint64_t* number : {&record.size, &stored, &local}) {
          if (*number != UINT32_MAX) continue;
          if (field_end - value < 8) entry_fail("with a damaged zip64 field");
          *number = at<uint64_t>(value);
          value += 8;
        }
      }
      field = field_end;
    }

    if (local > bytes_.size() || bytes_.size() - local < kLocalHeaderSize || at<uint32_t>(local) != kLocalHeader)
      entry_fail("that lies outside of it");
    record.begin = local + kLocalHeaderSize + at<uint16_t>(local + 26) + at<uint16_t>(local + 28);
    if (record.begin > bytes_.size() || stored > bytes_.size() - record.begin) {
      entry_fail(concat("of ", stored, " bytes at byte ", record.begin, ", past the end at ", bytes_.size()));
    }
    record.end = record.begin + stored;
    if (!record.compressed && stored != record.size)
      entry_fail(concat("of ", stored, " bytes that claims ", record.size));
    position += kCentralEntrySize + name + extra + comment;
    return record;
  }

  std::span<const std::byte> bytes_;
  const std::string& file_;
};

}  // namespace

bool is_zip(std::span<const std::byte> bytes) {
  return bytes.size() >= 4 && load_little<uint32_t>(bytes.data()) == kLocalHeader;
}

std::vector<ZipRecord> read_zip_directory(std::span<const std::byte> bytes, const std::string& file) {
  return Directory(bytes, file).read();
}

void inflate_record(std::span<const std::byte> deflated, uint32_t crc, std::span<std::byte> out,
                    const std::string& name, const std::string& file) {
  const auto fail = [&](const char* what) {
    throw Error(ErrorCode::bad_checkpoint, concat("'", file, "': the compressed record '", name, "' ", what));
  };
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw Error(ErrorCode::internal, "zlib does not start");
  uint64_t in = 0, done = 0;
  int status = Z_OK;
  // zlib counts in 32 bits
  constexpr uint64_t kChunk = 1u << 30;
  while (status == Z_OK) {
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(deflated.data() + in));
    stream.avail_in = static_cast<uInt>(std::min<uint64_t>(deflated.size() - in, kChunk));
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + done);
    stream.avail_out = static_cast<uInt>(std::min<uint64_t>(out.size() - done, kChunk));
    const auto given = stream.avail_in, room = stream.avail_out;
    status = inflate(&stream, Z_NO_FLUSH);
    in += given - stream.avail_in;
    done += room - stream.avail_out;
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END || in != deflated.size() || done != out.size())
    fail("is damaged, or of another size than it claims");
  if (crc32_of(out) != crc) fail("has another checksum than it claims");
}

uint32_t crc32_of(std::span<const std::byte> bytes) {
  return static_cast<uint32_t>(
      crc32_z(crc32_z(0, nullptr, 0), reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace backplane
