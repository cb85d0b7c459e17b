#pragma once

#include "backplane/base/json.h"
#include "backplane/base/strings.h"
#include "golden/golden.h"

namespace backplane::golden {

/// Counts what agrees, and keeps the first that does not.
class Judge {
 public:
  explicit Judge(GoldenResult& result) : result_(result) { result_.cases = 0; }
  void check(const std::string& where, const Json& expected, const Json& found) {
    ++result_.cases;
    if (sorted(expected) == sorted(found)) return;
    ++result_.failed_cases;
    if (result_.reason.empty())
      result_.reason = concat(where, ": expected ", shortened(expected), ", found ", shortened(found));
  }
  /// Calls `answer`; where the reference fails, it must fail too.
  template <class Answer>
  void check_call(const std::string& where, const Json& expected, Answer answer) {
    Json found;
    try {
      found = answer();
    } catch (const Error& error) {
      found = {{"error", error.what()}};
    }
    const auto failed = [](const Json& value) { return value.is_object() && value.contains("error"); };
    if (failed(expected) && failed(found)) ++result_.cases;
    else check(where, expected, found);
  }

 private:
  static std::string shortened(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 1500); }
  /// The order of keys is no part of an answer.
  static nlohmann::json sorted(const Json& value) {
    if (value.is_object()) {
      nlohmann::json out = nlohmann::json::object();
      for (const auto& [key, item] : value.items()) out[key] = sorted(item);
      return out;
    }
    if (value.is_array()) {
      nlohmann::json out = nlohmann::json::array();
      for (const Json& item : value) out.push_back(sorted(item));
      return out;
    }
    if (value.is_string()) return value.get<std::string>();
    if (value.is_number_integer()) return value.get<int64_t>();
    if (value.is_number()) return value.get<double>();
    if (value.is_boolean()) return value.get<bool>();
    return nullptr;
  }
  GoldenResult& result_;
};

}  // namespace backplane::golden
