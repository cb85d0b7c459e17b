#pragma once

#include <string>

#include "backplane/base/json.h"
#include "backplane/vision/image_processor.h"
#include "golden/golden.h"

namespace backplane::golden {

/// The tensor of an array of the preprocessing fixtures that is stored whole.
at::Tensor whole_array(const Json& array);

/// Compares features with values of the preprocessing fixtures, and takes down the largest difference.
class FeatureJudge {
 public:
  /// `tolerance`: of floats, relative to the larger of 1 and the largest value expected.
  FeatureJudge(GoldenResult& result, double tolerance) : result_(result), tolerance_(tolerance) {}

  /// An empty text where they agree; otherwise what differs.
  std::string compare(const Json& expected, const Feature& found, const std::string& path);
  /// One case: counts it, and keeps the first reason.
  void count(const std::string& name, const std::string& reason);

 private:
  std::string compare_array(const Json& expected, const at::Tensor& found, const std::string& path);
  GoldenResult& result_;
  double tolerance_;
};

}  // namespace backplane::golden
