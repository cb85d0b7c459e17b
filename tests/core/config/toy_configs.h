#pragma once

#include <catch2/catch.hpp>
#include <functional>
#include <string>

#include "backplane/base/error.h"
#include "backplane/base/log.h"
#include "backplane/config/config_json.h"

// Small configurations that use every feature of the field list.
namespace toy {

using namespace backplane;

struct PictureConfig : PretrainedConfig {
  static constexpr const char* model_type = "toy_picture";
  int64_t hidden_size = 32;
  std::vector<int64_t> depths = {2, 2};
  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(depths));
  }
};

struct ToyConfig : PretrainedConfig {
  static constexpr const char* model_type = "toy";
  int64_t vocab_size = 100;
  int64_t n_embd = 64;
  int64_t n_head = 4;
  std::optional<int64_t> num_key_value_heads;
  double eps = 1e-12;
  std::string hidden_act = "gelu";
  bool use_cache = true;
  std::optional<std::vector<int64_t>> stages;
  std::vector<double> limits = {0.0};
  Value rope_scaling;
  PictureConfig picture;
  std::shared_ptr<PretrainedConfig> text;

  ToyConfig() { bos_token_id = 1; }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(n_embd));
    field(BACKPLANE_FIELD(n_head));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(eps));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(stages));
    field(BACKPLANE_FIELD(limits));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(picture));
    field(BACKPLANE_FIELD(text), "toy_picture");
    field.alias("hidden_size", "n_embd");
    field.alias("num_attention_heads", "n_head");
  }
  void validate() override {
    if (!num_key_value_heads) num_key_value_heads = n_head;
    if (n_embd % n_head != 0) {
      throw Error(ErrorCode::bad_config, "n_embd (" + std::to_string(n_embd) + ") is not divisible by n_head (" + std::to_string(n_head) + ")");
    }
  }
};

inline void install() {
  set_config_maker([](std::string_view type) -> std::shared_ptr<PretrainedConfig> {
    if (type == "toy_picture") return make_config<PictureConfig>();
    if (type == "toy") return make_config<ToyConfig>();
    throw Error(ErrorCode::unknown_model_type, "unknown type " + std::string(type));
  });
}

inline Json json(std::string_view text) {
  return parse_json(text, "test");
}

inline std::shared_ptr<ToyConfig> read(std::string_view text) {
  install();
  auto config = make_config<ToyConfig>();
  read_config(*config, json(text), "config.json");
  return config;
}

/// "code: message" of what `call` throws; empty where it does not.
inline std::string failure(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return std::string(to_string(error.code())) + ": " + error.what();
  }
  return "";
}

inline std::string read_failure(std::string_view text) {
  return failure([&] { read(text); });
}

}  // namespace toy
