#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backplane/config/pretrained_config.h"

namespace backplane {

/// Configuration of a type that can be the backbone of another model: it names its stages, and which of their feature
/// maps its AutoBackbone class returns (AC-153).
class BackboneConfig : public PretrainedConfig {
 public:
  ~BackboneConfig() override;

  std::vector<std::string> stage_names;
  std::optional<std::vector<std::string>> out_features;
  std::optional<std::vector<int64_t>> out_indices;  // below 0: from the end

  /// Channels of each stage, in the order of stage_names.
  virtual std::vector<int64_t> stage_channels() const = 0;
  /// Channels of the feature maps that are returned.
  std::vector<int64_t> out_channels() const;
  /// True where the feature map of the stage is returned.
  bool returns_stage(size_t stage) const;
  /// The places of out_features in stage_names.
  std::vector<size_t> out_stages() const;

 protected:
  /// The three keys, for `fields`.
  void backbone_fields(FieldVisitor& field);
  /// Sets stage_names to `first`, then "<prefix>1" … "<prefix><count>", and makes out_features and out_indices agree:
  /// one that was set makes the other, neither means the last stage. For `validate`. Throws `bad_config`.
  void align_stages(const std::string& first, int64_t count, const std::string& prefix = "stage");
  /// The same with any names.
  void align_stages(std::vector<std::string> names);

 private:
  std::optional<std::vector<std::string>> aligned_features_;
  std::optional<std::vector<int64_t>> aligned_indices_;
};

}  // namespace backplane
