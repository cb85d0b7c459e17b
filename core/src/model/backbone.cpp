#include "backplane/model/backbone.h"

#include <algorithm>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {

BackboneConfig::~BackboneConfig() = default;

std::vector<size_t> BackboneConfig::out_stages() const {
  std::vector<size_t> stages;
  for (size_t i = 0; i < stage_names.size(); ++i) {
    if (returns_stage(i)) stages.push_back(i);
  }
  return stages;
}

std::vector<int64_t> BackboneConfig::out_channels() const {
  const auto all = stage_channels();
  std::vector<int64_t> channels;
  for (size_t stage : out_stages()) channels.push_back(all.at(stage));
  return channels;
}

bool BackboneConfig::returns_stage(size_t stage) const {
  return out_features &&
         std::find(out_features->begin(), out_features->end(), stage_names[stage]) != out_features->end();
}

void BackboneConfig::backbone_fields(FieldVisitor& field) {
  field(BACKPLANE_FIELD(stage_names));
  field(BACKPLANE_FIELD(out_features));
  field(BACKPLANE_FIELD(out_indices));
}

void BackboneConfig::align_stages(const std::string& first, int64_t count, const std::string& prefix) {
  constexpr int64_t kMost = 10000;
  if (count < 0 || count > kMost) throw Error(ErrorCode::bad_config, concat(count, " stages are not possible"));
  std::vector<std::string> names = {first};
  for (int64_t i = 1; i <= count; ++i) names.push_back(prefix + std::to_string(i));
  align_stages(std::move(names));
}

void BackboneConfig::align_stages(std::vector<std::string> all) {
  stage_names = std::move(all);
  const auto stages = static_cast<int64_t>(stage_names.size());

  // An override of one alone, after they agreed, sets the other.
  if (aligned_features_ && out_features != aligned_features_ && out_indices == aligned_indices_) out_indices.reset();
  if (aligned_indices_ && out_indices != aligned_indices_ && out_features == aligned_features_) out_features.reset();

  const auto refuse = [](const auto&... text) { throw Error(ErrorCode::bad_config, concat(text...)); };
  if (!out_features && !out_indices) out_indices = {stages - 1};
  int64_t last = -1;
  if (out_indices) {
    for (int64_t index : *out_indices) {
      const int64_t place = index < 0 ? index + stages : index;
      if (place < 0 || place >= stages) refuse("out_indices has ", index, ", but there are ", stages, " stages");
      if (place <= last) refuse("out_indices must be in the order of the stages, each once");
      last = place;
    }
  }
  std::vector<int64_t> places;
  if (out_features) {
    last = -1;
    for (const auto& name : *out_features) {
      const auto found = std::find(stage_names.begin(), stage_names.end(), name);
      if (found == stage_names.end()) refuse("out_features has '", name, "'; the stages are ", join(stage_names));
      places.push_back(found - stage_names.begin());
      if (places.back() <= last) refuse("out_features must be in the order of the stages, each once");
      last = places.back();
    }
  }
  if (!out_indices) out_indices = places;
  std::vector<std::string> names;
  for (int64_t index : *out_indices)
    names.push_back(stage_names[static_cast<size_t>(index < 0 ? index + stages : index)]);
  if (!out_features) out_features = names;
  if (*out_features != names) {
    refuse("out_features (", join(*out_features), ") and out_indices (", join(names), ") name different stages");
  }
  aligned_features_ = out_features;
  aligned_indices_ = out_indices;
}

}  // namespace backplane
