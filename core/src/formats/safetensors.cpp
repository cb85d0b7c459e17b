#include "backplane/formats/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "backplane/base/error.h"
#include "backplane/base/json.h"
#include "backplane/base/limits.h"
#include "backplane/base/strings.h"
#include "formats/checked.h"

namespace backplane {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr std::string_view kMetadata = "__metadata__";

// Fills a SafetensorsHeader without building the document: 10^6 tensors are 10^7 JSON values.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderReader(SafetensorsHeader& header, const std::string& file) : header_(header), file_(file) {}

  bool null() override { return scalar("null"); }
  bool boolean(bool) override { return scalar("a boolean"); }
  bool number_integer(number_integer_t) override { return scalar("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return scalar("a fraction"); }
  bool binary(binary_t&) override { return false; }

  bool number_unsigned(number_unsigned_t value) override {
    if (skipping()) return true;
    if (depth_ != 3) return scalar("a number");
    if (field_ == Field::shape) {
      if (tensor().shape.size() == static_cast<size_t>(limits::kTensorRank)) {
        fail(concat("has more than ", limits::kTensorRank, " dimensions"));
      }
      if (value > static_cast<uint64_t>(INT64_MAX)) fail(concat("has a dimension of ", value));
      tensor().shape.push_back(static_cast<int64_t>(value));
    } else {
      if (offsets_ == 2) fail("has more than two data_offsets");
      (offsets_++ == 0 ? tensor().begin : tensor().end) = value;
    }
    return true;
  }

  bool string(string_t& value) override {
    if (skipping()) return true;
    if (in_metadata_ && depth_ == 2) {
      header_.metadata.emplace_back(std::move(metadata_key_), std::move(value));
      return true;
    }
    if (depth_ != 2 || field_ != Field::dtype) return scalar("a text");
    const auto dtype = find_dtype(value);
    if (!dtype) fail(concat("has dtype '", value, "', which is not one of this format's"));
    tensor().dtype = *dtype;
    return true;
  }

  bool start_object(std::size_t) override {
    if (skipping() || (depth_ == 2 && field_ == Field::unknown)) return ++skipped_, true;
    if (depth_ == 1 && !in_metadata_) {
      fields_ = 0;
      field_ = Field::none;
      offsets_ = 0;
    } else if (depth_ != 0 && !(depth_ == 1 && in_metadata_)) {
      return scalar("an object");
    }
    ++depth_;
    return true;
  }

  bool end_object() override {
    if (skipping()) return --skipped_, true;
    --depth_;
    if (depth_ != 1) return true;
    if (in_metadata_) {
      in_metadata_ = false;
      return true;
    }
    if (fields_ != kAllFields) fail("lacks one of dtype, shape and data_offsets");
    if (offsets_ != 2) fail(concat("has ", offsets_, " data_offsets instead of two"));
    return true;
  }

  bool start_array(std::size_t) override {
    if (skipping() || (depth_ == 2 && field_ == Field::unknown)) return ++skipped_, true;
    if (depth_ != 2 || in_metadata_ || (field_ != Field::shape && field_ != Field::data_offsets))
      return scalar("a list");
    ++depth_;
    return true;
  }

  bool end_array() override {
    if (skipping()) return --skipped_, true;
    --depth_;
    return true;
  }

  bool key(string_t& value) override {
    if (skipping()) return true;
    if (depth_ == 1) {
      if (value == kMetadata) {
        if (header_.has_metadata)
          throw Error(ErrorCode::bad_checkpoint, concat("'", file_, "': __metadata__ occurs twice"));
        in_metadata_ = header_.has_metadata = true;
        return true;
      }
      if (header_.tensors.size() == limits::kTensorsPerFile) {
        throw Error(ErrorCode::limit_exceeded,
                    concat("'", file_, "' has more than ", limits::kTensorsPerFile, " tensors"));
      }
      header_.tensors.emplace_back().name = std::move(value);
    } else if (in_metadata_) {
      metadata_key_ = std::move(value);
    } else {
      field_ = value == "dtype"          ? Field::dtype
               : value == "shape"        ? Field::shape
               : value == "data_offsets" ? Field::data_offsets
                                         : Field::unknown;
      if (field_ == Field::unknown) return true;
      const unsigned bit = 1u << static_cast<unsigned>(field_);
      if (fields_ & bit) fail(concat("has two entries '", value, "'"));
      fields_ |= bit;
    }
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    throw Error(ErrorCode::bad_checkpoint,
                concat("'", file_, "': the header is not valid JSON at byte ", kLengthBytes + position));
  }

 private:
  enum class Field : unsigned { dtype, shape, data_offsets, unknown, none };
  static constexpr unsigned kAllFields = 0b111;

  TensorInfo& tensor() { return header_.tensors.back(); }
  bool skipping() const { return skipped_ > 0; }

  [[noreturn]] void fail(const std::string& what) {
    throw Error(ErrorCode::bad_checkpoint, concat("'", file_, "': tensor '", tensor().name, "' ", what));
  }

  // A value where another kind is expected; fields that the format does not have may hold anything.
  bool scalar(const char* found) {
    if (skipping() || (depth_ == 2 && !in_metadata_ && field_ == Field::unknown)) return true;
    if (in_metadata_) {
      throw Error(ErrorCode::bad_checkpoint,
                  concat("'", file_, "': __metadata__", depth_ == 2 ? concat(".", metadata_key_) : "", " is ", found,
                         "; expected texts"));
    }
    if (header_.tensors.empty())
      throw Error(ErrorCode::bad_checkpoint, concat("'", file_, "': the header is ", found, "; expected an object"));
    fail(concat("has ", found, " where dtype, shape and data_offsets are expected"));
  }

  SafetensorsHeader& header_;
  const std::string& file_;
  int depth_ = 0;
  int skipped_ = 0;  // open containers of an unknown field
  bool in_metadata_ = false;
  std::string metadata_key_;
  Field field_ = Field::none;
  unsigned fields_ = 0;
  int offsets_ = 0;
};

std::string shape_text(const std::vector<int64_t>& shape) {
  std::vector<std::string> sizes;
  for (int64_t size : shape) sizes.push_back(std::to_string(size));
  return concat("[", join(sizes), "]");
}

}  // namespace

void refuse_lfs_pointer(std::span<const std::byte> first, const std::string& file) {
  constexpr std::string_view kPointer = "version https://git-lfs";
  const size_t count = std::min(first.size(), kPointer.size());
  if (count >= kLengthBytes && std::memcmp(first.data(), kPointer.data(), count) == 0) {
    throw Error(ErrorCode::bad_checkpoint, concat("'", file,
                                                  "' is a git-lfs pointer, not the weights: the repository was cloned "
                                                  "without git-lfs; run `git lfs install` and `git lfs pull` in it"));
  }
}

uint64_t safetensors_header_end(std::span<const std::byte> first, uint64_t file_size, const std::string& file) {
  if (file_size < kLengthBytes || first.size() < kLengthBytes) {
    throw Error(ErrorCode::bad_checkpoint,
                concat("'", file, "' has ", file_size, " bytes; a safetensors file has at least ", kLengthBytes));
  }
  refuse_lfs_pointer(first, file);
  const auto length = load_little<uint64_t>(first.data());
  if (length > limits::kSafetensorsHeaderBytes) {
    throw Error(ErrorCode::bad_checkpoint,
                concat("'", file, "' claims a header of ", length, " bytes; at most ", limits::kSafetensorsHeaderBytes,
                       " are possible: it is damaged or no safetensors file"));
  }
  if (length == 0 || length > file_size - kLengthBytes) {
    throw Error(ErrorCode::bad_checkpoint, concat("'", file, "' claims a header of ", length, " bytes and has ",
                                                  file_size, ": it is truncated or damaged"));
  }
  return kLengthBytes + length;
}

SafetensorsHeader parse_safetensors(std::span<const std::byte> prefix, uint64_t file_size, const std::string& file) {
  const uint64_t data = safetensors_header_end(prefix, file_size, file);
  if (prefix.size() < data) {
    throw Error(ErrorCode::bad_checkpoint,
                concat("'", file, "': ", prefix.size(), " of the header's ", data, " bytes are there"));
  }
  const std::string_view json(reinterpret_cast<const char*>(prefix.data()) + kLengthBytes, data - kLengthBytes);
  if (json.front() != '{')
    throw Error(ErrorCode::bad_checkpoint, concat("'", file, "': the header does not begin with '{'"));

  SafetensorsHeader header;
  HeaderReader reader(header, file);
  nlohmann::json::sax_parse(json, &reader);

  const uint64_t data_size = file_size - data;
  std::vector<TensorInfo*> by_offset;
  by_offset.reserve(header.tensors.size());
  for (auto& tensor : header.tensors) {
    const auto fail = [&](const std::string& what) {
      throw Error(ErrorCode::bad_checkpoint, concat("'", file, "': tensor '", tensor.name, "' ", what));
    };
    if (tensor.begin > tensor.end)
      fail(concat("has data_offsets [", tensor.begin, ", ", tensor.end, "], which are reversed"));
    if (tensor.end > data_size) {
      fail(concat("ends at byte ", tensor.end, " of the data, which has ", data_size,
                  ": the file is truncated or damaged"));
    }
    const auto bytes = checked_bytes(tensor.shape, dtype_size(tensor.dtype));
    if (!bytes || *bytes != tensor.end - tensor.begin) {
      fail(concat("has ", tensor.end - tensor.begin, " bytes; ", dtype_name(tensor.dtype), " ",
                  shape_text(tensor.shape), " needs ", bytes ? std::to_string(*bytes) : "more than 2^63"));
    }
    by_offset.push_back(&tensor);
  }
  std::sort(by_offset.begin(), by_offset.end(),
            [](const auto* a, const auto* b) { return std::pair(a->begin, a->end) < std::pair(b->begin, b->end); });
  uint64_t position = 0;
  for (const auto* tensor : by_offset) {
    if (tensor->begin != position) {
      throw Error(ErrorCode::bad_checkpoint,
                  concat("'", file, "': tensor '", tensor->name, "' begins at byte ", tensor->begin, " of the data, ",
                         tensor->begin < position ? "within another tensor" : "after a hole", "; expected ", position));
    }
    position = tensor->end;
  }
  if (position != data_size) {
    throw Error(ErrorCode::bad_checkpoint,
                concat("'", file, "' has ", data_size - position, " bytes after its last tensor"));
  }

  for (auto& tensor : header.tensors) {
    tensor.begin += data;
    tensor.end += data;
    tensor.file = file;
  }
  std::sort(header.tensors.begin(), header.tensors.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  const auto twice = std::adjacent_find(header.tensors.begin(), header.tensors.end(),
                                        [](const auto& a, const auto& b) { return a.name == b.name; });
  if (twice != header.tensors.end())
    throw Error(ErrorCode::bad_checkpoint, concat("'", file, "': tensor '", twice->name, "' occurs twice"));
  return header;
}

std::string write_safetensors_header(std::vector<TensorInfo>& tensors,
                                     const std::vector<std::pair<std::string, std::string>>& metadata) {
  const auto quoted = [](const std::string& text) { return python_dumps(Json(text), -1, false); };
  std::string json = "{";
  if (!metadata.empty()) {
    json += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata)
      json.append(json.back() == '{' ? "" : ",").append(concat(quoted(key), ":", quoted(value)));
    json += '}';
  }
  uint64_t position = 0;
  for (auto& tensor : tensors) {
    std::vector<std::string> sizes;
    for (int64_t size : tensor.shape) sizes.push_back(std::to_string(size));
    tensor.begin = position;
    position = tensor.end = position + tensor.numel() * dtype_size(tensor.dtype);
    json.append(json.size() > 1 ? "," : "")
        .append(concat(quoted(tensor.name), ":{\"dtype\":\"", dtype_name(tensor.dtype), "\",\"shape\":[",
                       join(sizes, ","), "],\"data_offsets\":[", std::to_string(tensor.begin), ",",
                       std::to_string(tensor.end), "]}"));
  }
  json += '}';
  json.append((8 - json.size() % 8) % 8, ' ');
  const uint64_t length = json.size();
  for (auto& tensor : tensors) {
    tensor.begin += kLengthBytes + length;
    tensor.end += kLengthBytes + length;
  }
  std::string bytes(kLengthBytes, '\0');
  for (size_t i = 0; i < kLengthBytes; ++i) bytes[i] = static_cast<char>(length >> (8 * i));
  return bytes + json;
}

}  // namespace backplane
