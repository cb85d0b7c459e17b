#include "golden/features.h"

#include <ATen/ATen.h>

#include <cmath>
#include <cstring>

#include "backplane/base/strings.h"
#include "golden/fill.h"

namespace backplane::golden {
namespace {

at::ScalarType dtype_of(const std::string& name) {
  if (name == "float32") return at::kFloat;
  if (name == "float64") return at::kDouble;
  if (name == "int64") return at::kLong;
  if (name == "int32") return at::kInt;
  if (name == "uint8") return at::kByte;
  if (name == "bool") return at::kBool;
  throw Error(ErrorCode::bad_config, concat("an array of dtype ", name));
}

at::Tensor decoded(const std::string& base64, at::ScalarType dtype) {
  const auto bytes = decode_base64(base64);
  at::Tensor out = at::empty({static_cast<int64_t>(bytes.size() / at::elementSize(dtype))}, dtype);
  std::memcpy(out.mutable_data_ptr(), bytes.data(), bytes.size());
  return out;
}

std::string kind_of(const Feature& feature) {
  static constexpr const char* kNames[] = {"null", "bool",   "whole number", "number",
                                           "text", "tensor", "list",         "dictionary"};
  return kNames[feature.data().index()];
}

}  // namespace

at::Tensor whole_array(const Json& array) {
  return decoded(array.at("full"), dtype_of(array.at("dtype"))).view(array.at("shape").get<std::vector<int64_t>>());
}

void FeatureJudge::count(const std::string& name, const std::string& reason) {
  ++result_.cases;
  if (reason.empty()) return;
  ++result_.failed_cases;
  if (result_.reason.empty()) result_.reason = concat(name, ": ", reason);
}

std::string FeatureJudge::compare_array(const Json& expected, const at::Tensor& given, const std::string& path) {
  // The fixtures hold bfloat16 as float32.
  const at::Tensor found = given.scalar_type() == at::kBFloat16 ? given.to(at::kFloat) : given;
  const auto shape = expected.at("shape").get<std::vector<int64_t>>();
  if (found.sizes() != at::IntArrayRef(shape))
    return concat(path, ": shape ", found.sizes(), ", expected ", at::IntArrayRef(shape));
  const auto dtype = dtype_of(expected.at("dtype"));
  if (found.scalar_type() != dtype) return concat(path, ": dtype ", found.scalar_type(), ", expected ", dtype);
  at::Tensor flat = found.contiguous().view(-1), wanted;
  if (expected.contains("full")) {
    wanted = decoded(expected.at("full"), dtype);
  } else {
    wanted = decoded(expected.at("samples"), dtype);
    flat = flat.slice(0, 0, flat.numel(), expected.at("stride").get<int64_t>())
               .narrow(0, 0, expected.at("count").get<int64_t>());
  }
  if (flat.numel() == 0) return "";
  const at::Tensor a = flat.to(at::kDouble), b = wanted.to(at::kDouble);
  const bool whole = !at::isFloatingType(dtype);
  double scale = 1;
  for (const char* key : {"min", "max"}) {
    if (expected.contains(key)) scale = std::max(scale, std::abs(expected.at(key).get<double>()));
  }
  const at::Tensor difference =
      at::where(a.eq(b).logical_or(a.isnan().logical_and(b.isnan())), at::zeros_like(a), (a - b).abs());
  const double largest = difference.isnan().any().item<bool>() ? INFINITY : difference.max().item<double>();
  result_.max_abs_diff = std::max(result_.max_abs_diff, largest);
  if (largest <= (whole ? 0 : tolerance_ * scale)) {
    if (whole || !expected.contains("mean")) return "";
    const double mean = found.to(at::kDouble).mean().item<double>();
    if (std::isnan(mean) || std::abs(mean - expected.at("mean").get<double>()) <= 1e-4 * scale) return "";
    return concat(path, ": mean ", mean, ", expected ", expected.at("mean").get<double>());
  }
  const int64_t at_index = difference.isnan().any().item<bool>() ? 0 : difference.argmax().item<int64_t>();
  const int64_t wrong = difference.gt(whole ? 0 : tolerance_ * scale).sum().item<int64_t>();
  return concat(path, ": ", wrong, " of ", a.numel(), " differ; largest at sample ", at_index, ": ",
                a[at_index].item<double>(), ", expected ", b[at_index].item<double>());
}

std::string FeatureJudge::compare(const Json& expected, const Feature& found, const std::string& path) {
  const auto other = [&](std::string_view wanted) {
    return concat(path, ": found a ", kind_of(found), ", expected ", wanted);
  };
  if (expected.is_object() && expected.contains("array")) {
    const auto* tensor = std::get_if<at::Tensor>(&found.data());
    return tensor ? compare_array(expected.at("array"), *tensor, path) : other("a tensor");
  }
  if (expected.is_object() && expected.contains("list")) {
    const auto* list = std::get_if<Feature::List>(&found.data());
    if (list == nullptr) return other("a list");
    const Json& wanted = expected.at("list");
    if (list->size() != wanted.size()) return concat(path, ": ", list->size(), " entries, expected ", wanted.size());
    for (size_t i = 0; i < list->size(); ++i) {
      auto reason = compare(wanted[i], (*list)[i], concat(path, "[", i, "]"));
      if (!reason.empty()) return reason;
    }
    return "";
  }
  if (expected.is_object() && expected.contains("list_as_array")) {
    const auto* list = std::get_if<Feature::List>(&found.data());
    if (list == nullptr) return other("a list");
    const Json& array = expected.at("list_as_array");
    const bool whole = array.at("dtype") != "float64";
    at::Tensor tensor = at::empty({static_cast<int64_t>(list->size())}, whole ? at::kLong : at::kDouble);
    for (size_t i = 0; i < list->size(); ++i) {
      const auto& data = (*list)[i].data();
      if (const auto* number = std::get_if<int64_t>(&data))
        tensor[static_cast<int64_t>(i)] = *number;
      else if (const auto* real = std::get_if<double>(&data))
        tensor[static_cast<int64_t>(i)] = *real;
      else
        return concat(path, "[", i, "]: found a ", kind_of((*list)[i]), ", expected a number");
    }
    return compare_array(array, tensor, path);
  }
  if (expected.is_object() && expected.contains("dict")) {
    const auto* dict = std::get_if<Feature::Dict>(&found.data());
    if (dict == nullptr) return other("a dictionary");
    const Json& wanted = expected.at("dict");
    for (auto it = wanted.begin(); it != wanted.end(); ++it) {
      const auto* entry = static_cast<const Feature*>(nullptr);
      for (const auto& [key, value] : *dict) {
        if (key == it.key()) entry = &value;
      }
      if (entry == nullptr) return concat(path, ".", it.key(), ": missing");
      auto reason = compare(it.value(), *entry, concat(path, ".", it.key()));
      if (!reason.empty()) return reason;
    }
    if (dict->size() != wanted.size()) return concat(path, ": ", dict->size(), " entries, expected ", wanted.size());
    return "";
  }
  if (expected.is_null()) return std::holds_alternative<std::monostate>(found.data()) ? "" : other("null");
  if (expected.is_boolean()) {
    const auto* value = std::get_if<bool>(&found.data());
    return value && *value == expected.get<bool>() ? "" : other(expected.dump());
  }
  if (expected.is_string()) {
    const auto* value = std::get_if<std::string>(&found.data());
    return value && *value == expected.get<std::string>() ? "" : other(expected.dump());
  }
  if (expected.is_number_integer()) {
    const auto* value = std::get_if<int64_t>(&found.data());
    if (value == nullptr) return other(expected.dump());
    return *value == expected.get<int64_t>() ? "" : concat(path, ": ", *value, ", expected ", expected.dump());
  }
  if (expected.is_number_float()) {
    const auto* value = std::get_if<double>(&found.data());
    if (value == nullptr) return other(expected.dump());
    const double wanted = expected.get<double>();
    return std::abs(*value - wanted) <= tolerance_ * std::max(1.0, std::abs(wanted))
               ? ""
               : concat(path, ": ", *value, ", expected ", wanted);
  }
  return concat(path, ": expected ", expected.dump().substr(0, 200));
}

}  // namespace backplane::golden
