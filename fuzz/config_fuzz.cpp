#include <cstdint>
#include <string_view>

#include "backplane/base/log.h"
#include "backplane/config/config_json.h"
#include "backplane/config/generation_config_json.h"

// Bytes as config.json and generation_config.json: an Error or an object, nothing else.
namespace {

struct Part : backplane::PretrainedConfig {
  static constexpr const char* model_type = "part";
  int64_t hidden_size = 1;
  std::vector<int64_t> depths;
  void fields(backplane::FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(depths));
  }
};

struct Whole : backplane::PretrainedConfig {
  static constexpr const char* model_type = "whole";
  int64_t n_embd = 1;
  double eps = 0;
  backplane::Value rope_scaling;
  Part picture;
  void fields(backplane::FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(n_embd));
    field(BACKPLANE_FIELD(eps));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(picture));
    field.alias("hidden_size", "n_embd");
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace backplane;
  WarningCollector warnings;
  Json json;
  try {
    json = parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const Error&) {
    return 0;
  }
  try {
    auto config = make_config<Whole>();
    read_config(*config, json, "fuzz");
    override_config(*config, write_config_diff(*config));
    generation_config_from(*config);
  } catch (const Error&) {
  }
  try {
    write_generation_config(read_generation_config(json, "fuzz"));
  } catch (const Error&) {
  }
  return 0;
}
