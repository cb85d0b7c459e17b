#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::falcon_mamba {

struct FalconMambaConfig : PretrainedConfig {
  static constexpr const char* model_type = "falcon_mamba";

  int64_t vocab_size = 50280;
  int64_t hidden_size = 768;
  int64_t state_size = 16;
  int64_t num_hidden_layers = 32;
  double layer_norm_epsilon = 1e-5;
  int64_t conv_kernel = 4;
  int64_t expand = 2;
  int64_t intermediate_size = 1536;
  bool use_bias = false;
  bool use_conv_bias = true;
  std::string hidden_act = "silu";
  double initializer_range = 0.1;
  Value time_step_rank = "auto";  // a number, or hidden_size / 16 rounded up
  double time_step_scale = 1;
  double time_step_min = 0.001;
  double time_step_max = 0.1;
  std::string time_step_init_scheme = "random";
  double time_step_floor = 0.0001;
  bool rescale_prenorm_residual = false;
  bool residual_in_fp32 = true;
  bool use_cache = true;
  bool use_mambapy = false;
  double mixer_rms_eps = 1e-6;

  int64_t rank() const { return time_step_rank.as_int(); }

  FalconMambaConfig() {
    bos_token_id = 0;
    eos_token_id = 0;
    pad_token_id = 0;
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
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(use_bias));
    field(BACKPLANE_FIELD(use_conv_bias));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(time_step_rank));
    field(BACKPLANE_FIELD(time_step_scale));
    field(BACKPLANE_FIELD(time_step_min));
    field(BACKPLANE_FIELD(time_step_max));
    field(BACKPLANE_FIELD(time_step_init_scheme));
    field(BACKPLANE_FIELD(time_step_floor));
    field(BACKPLANE_FIELD(rescale_prenorm_residual));
    field(BACKPLANE_FIELD(residual_in_fp32));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(use_mambapy));
    field(BACKPLANE_FIELD(mixer_rms_eps));
  }

  void validate() override {
    intermediate_size = expand * hidden_size;
    check_layer_count(num_hidden_layers);
    if (time_step_rank == Value("auto")) time_step_rank = (hidden_size + 15) / 16;
    if (conv_kernel <= 0) throw Error(ErrorCode::bad_config, concat("config.json: conv_kernel is ", conv_kernel));
  }
};

}  // namespace backplane::falcon_mamba
