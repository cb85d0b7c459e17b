#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::zamba {

struct ZambaConfig : PretrainedConfig {
  static constexpr const char* model_type = "zamba";

  int64_t vocab_size = 32000;
  int64_t hidden_size = 3712;
  std::optional<int64_t> attention_hidden_size;
  int64_t intermediate_size = 14848;
  int64_t num_hidden_layers = 76;
  int64_t num_attention_heads = 16;
  std::optional<int64_t> attention_head_dim;
  int64_t max_position_embeddings = 4096;
  double attention_dropout = 0;
  int64_t num_key_value_heads = 16;
  int64_t n_mamba_heads = 2;
  std::string hidden_act = "gelu";
  std::string hidden_mamba_act = "silu";
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-5;
  bool use_cache = true;
  int64_t num_logits_to_keep = 1;
  int64_t attn_layer_period = 6;
  int64_t attn_layer_offset = 4;
  bool use_mamba_kernels = true;
  int64_t mamba_d_state = 16;
  int64_t mamba_d_conv = 4;
  int64_t mamba_expand = 2;
  Value mamba_dt_rank = "auto";  // a number, or hidden_size / 16 rounded up
  double time_step_min = 0.001;
  double time_step_max = 0.1;
  double time_step_floor = 0.0001;
  bool mamba_conv_bias = true;
  bool mamba_proj_bias = false;
  std::vector<std::string> layers_block_type;  // of period and offset

  bool is_hybrid(size_t layer) const { return layers_block_type.at(layer) == "hybrid"; }

  ZambaConfig() {
    bos_token_id = 1;
    pad_token_id = 0;
    eos_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(attention_hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(attention_head_dim));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(n_mamba_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(hidden_mamba_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(num_logits_to_keep));
    field(BACKPLANE_FIELD(attn_layer_period));
    field(BACKPLANE_FIELD(attn_layer_offset));
    field(BACKPLANE_FIELD(use_mamba_kernels));
    field(BACKPLANE_FIELD(mamba_d_state));
    field(BACKPLANE_FIELD(mamba_d_conv));
    field(BACKPLANE_FIELD(mamba_expand));
    field(BACKPLANE_FIELD(mamba_dt_rank));
    field(BACKPLANE_FIELD(time_step_min));
    field(BACKPLANE_FIELD(time_step_max));
    field(BACKPLANE_FIELD(time_step_floor));
    field(BACKPLANE_FIELD(mamba_conv_bias));
    field(BACKPLANE_FIELD(mamba_proj_bias));
    field(BACKPLANE_FIELD(layers_block_type));
  }

  void validate() override {
    check_heads(num_attention_heads, num_key_value_heads);
    check_layer_count(num_hidden_layers);
    if (!attention_hidden_size) attention_hidden_size = 2 * hidden_size;
    if (!attention_head_dim) attention_head_dim = 2 * hidden_size / num_attention_heads;
    if (mamba_dt_rank == Value("auto")) mamba_dt_rank = (hidden_size + 15) / 16;
    if (mamba_d_conv <= 0) throw Error(ErrorCode::bad_config, concat("config.json: mamba_d_conv is ", mamba_d_conv));
    if (attn_layer_period <= 0)
      throw Error(ErrorCode::bad_config, concat("config.json: attn_layer_period is ", attn_layer_period));
    if (n_mamba_heads <= 0 || mamba_expand * hidden_size % n_mamba_heads != 0) {
      throw Error(ErrorCode::bad_config,
                  concat("config.json: ", mamba_expand * hidden_size,
                         " inner numbers are not divisible by n_mamba_heads (", n_mamba_heads, ")"));
    }
    layers_block_type = {"mamba", "mamba", "hybrid"};
    for (int64_t i = 0; i < num_hidden_layers - 3; ++i)
      layers_block_type.push_back(i % attn_layer_period == attn_layer_offset ? "hybrid" : "mamba");
  }
};

}  // namespace backplane::zamba
