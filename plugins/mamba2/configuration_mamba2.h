#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>
#include <backplane/nn/state_space.h>

namespace backplane::mamba2 {

struct Mamba2Config : PretrainedConfig {
  static constexpr const char* model_type = "mamba2";

  int64_t vocab_size = 32768;
  int64_t hidden_size = 4096;
  int64_t state_size = 128;
  int64_t num_hidden_layers = 64;
  double layer_norm_epsilon = 1e-5;
  int64_t conv_kernel = 4;
  int64_t expand = 2;
  bool use_bias = false;
  bool use_conv_bias = true;
  std::string hidden_act = "silu";
  double initializer_range = 0.1;
  Value time_step_rank = "auto";  // a number, or hidden_size / 16 rounded up
  double time_step_min = 0.001;
  double time_step_max = 0.1;
  double time_step_floor = 0.0001;
  bool rescale_prenorm_residual = false;
  bool residual_in_fp32 = true;
  bool use_cache = true;
  int64_t n_groups = 8;
  int64_t num_heads = 128;
  int64_t head_dim = 64;
  bool rms_norm = true;
  int64_t chunk_size = 256;
  std::vector<double> time_step_limit = {0, std::numeric_limits<double>::infinity()};

  int64_t inner() const { return expand * hidden_size; }

  Mamba2Config() {
    bos_token_id = 0;
    eos_token_id = 2;
    pad_token_id = 1;
    tie_word_embeddings = false;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(state_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(layer_norm_epsilon));
    field(BACKPLANE_FIELD(conv_kernel));
    field(BACKPLANE_FIELD(expand));
    field(BACKPLANE_FIELD(use_bias));
    field(BACKPLANE_FIELD(use_conv_bias));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(time_step_rank));
    field(BACKPLANE_FIELD(time_step_min));
    field(BACKPLANE_FIELD(time_step_max));
    field(BACKPLANE_FIELD(time_step_floor));
    field(BACKPLANE_FIELD(rescale_prenorm_residual));
    field(BACKPLANE_FIELD(residual_in_fp32));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(n_groups));
    field(BACKPLANE_FIELD(num_heads));
    field(BACKPLANE_FIELD(head_dim));
    field(BACKPLANE_FIELD(rms_norm));
    field(BACKPLANE_FIELD(chunk_size));
    field(BACKPLANE_FIELD(time_step_limit));
  }

  void validate() override {
    check_layer_count(num_hidden_layers);
    if (time_step_rank == Value("auto")) time_step_rank = (hidden_size + 15) / 16;
    if (conv_kernel <= 0) throw Error(ErrorCode::bad_config, concat("config.json: conv_kernel is ", conv_kernel));
    check_state_space_heads(num_heads, head_dim, n_groups, inner());
    if (time_step_limit.size() != 2)
      throw Error(ErrorCode::bad_config, "config.json: time_step_limit is not a list of 2 numbers");
  }
};

}  // namespace backplane::mamba2
