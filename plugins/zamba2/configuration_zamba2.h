#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>
#include <backplane/nn/state_space.h>

namespace backplane::zamba2 {

struct Zamba2Config : PretrainedConfig {
  static constexpr const char* model_type = "zamba2";

  int64_t vocab_size = 32000;
  int64_t max_position_embeddings = 4096;
  int64_t hidden_size = 2560;
  std::optional<int64_t> intermediate_size;
  std::string hidden_act = "gelu";
  int64_t num_hidden_layers = 54;
  int64_t num_attention_heads = 32;
  int64_t num_mem_blocks = 1;
  int64_t attention_hidden_size = 5120;
  int64_t attention_head_dim = 160;
  double attention_dropout = 0;
  bool use_mem_rope = false;
  bool use_long_context = false;
  double rope_theta = 10000;
  int64_t mamba_d_state = 64;
  int64_t mamba_d_conv = 4;
  int64_t mamba_expand = 2;
  bool add_bias_linear = false;
  int64_t mamba_ngroups = 1;
  int64_t n_mamba_heads = 8;
  int64_t mamba_headdim = 640;
  bool use_conv_bias = true;
  int64_t chunk_size = 256;
  Value time_step_limit;
  bool use_shared_attention_adapter = false;
  int64_t adapter_rank = 128;
  double time_step_min = 0.001;
  double time_step_max = 0.1;
  double time_step_floor = 0.0001;
  std::optional<int64_t> num_key_value_heads;
  int64_t kv_channels = 80;
  int64_t num_query_groups = 32;
  std::optional<std::vector<std::string>> layers_block_type;
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-5;
  bool use_cache = true;
  int64_t num_logits_to_keep = 1;
  std::vector<int64_t> hybrid_layer_ids;  // of layers_block_type
  bool use_mem_eff_path = false;

  // The place of the layer among the hybrid ones; -1 where it is none.
  int64_t hybrid_index(size_t layer) const {
    const auto found = std::find(hybrid_layer_ids.begin(), hybrid_layer_ids.end(), static_cast<int64_t>(layer));
    return found == hybrid_layer_ids.end() ? -1 : found - hybrid_layer_ids.begin();
  }
  double theta() const {
    const double d = static_cast<double>(attention_head_dim);
    return use_mem_rope && use_long_context ? rope_theta * std::pow(8, d / (d - 2)) : rope_theta;
  }

  Zamba2Config() {
    bos_token_id = 1;
    pad_token_id = 0;
    eos_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(num_mem_blocks));
    field(BACKPLANE_FIELD(attention_hidden_size));
    field(BACKPLANE_FIELD(attention_head_dim));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(use_mem_rope));
    field(BACKPLANE_FIELD(use_long_context));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(mamba_d_state));
    field(BACKPLANE_FIELD(mamba_d_conv));
    field(BACKPLANE_FIELD(mamba_expand));
    field(BACKPLANE_FIELD(add_bias_linear));
    field(BACKPLANE_FIELD(mamba_ngroups));
    field(BACKPLANE_FIELD(n_mamba_heads));
    field(BACKPLANE_FIELD(mamba_headdim));
    field(BACKPLANE_FIELD(use_conv_bias));
    field(BACKPLANE_FIELD(chunk_size));
    field(BACKPLANE_FIELD(time_step_limit));
    field(BACKPLANE_FIELD(use_shared_attention_adapter));
    field(BACKPLANE_FIELD(adapter_rank));
    field(BACKPLANE_FIELD(time_step_min));
    field(BACKPLANE_FIELD(time_step_max));
    field(BACKPLANE_FIELD(time_step_floor));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(kv_channels));
    field(BACKPLANE_FIELD(num_query_groups));
    field(BACKPLANE_FIELD(layers_block_type));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(num_logits_to_keep));
    field(BACKPLANE_FIELD(hybrid_layer_ids));
    field(BACKPLANE_FIELD(use_mem_eff_path));
  }

  void validate() override {
    settle_heads(num_attention_heads, num_key_value_heads);
    check_layer_count(num_hidden_layers);
    if (!intermediate_size) intermediate_size = 4 * hidden_size;
    attention_hidden_size = 2 * hidden_size;
    attention_head_dim = 2 * hidden_size / num_attention_heads;
    kv_channels = hidden_size / num_attention_heads;
    num_query_groups = num_attention_heads;
    if (use_long_context) max_position_embeddings = 16384;
    mamba_headdim = n_mamba_heads > 0 ? mamba_expand * hidden_size / n_mamba_heads : 0;
    check_state_space_heads(n_mamba_heads, mamba_headdim, mamba_ngroups, mamba_expand * hidden_size);
    if (mamba_d_conv <= 0) throw Error(ErrorCode::bad_config, concat("config.json: mamba_d_conv is ", mamba_d_conv));
    if (num_mem_blocks <= 0)
      throw Error(ErrorCode::bad_config, concat("config.json: num_mem_blocks is ", num_mem_blocks));
    if (!layers_block_type) {
      layers_block_type.emplace(54, "mamba");
      for (size_t i : {6, 12, 18, 24, 30, 36, 42, 47, 51}) (*layers_block_type)[i] = "hybrid";
    }
    if (static_cast<int64_t>(layers_block_type->size()) < num_hidden_layers) {
      throw Error(ErrorCode::bad_config, concat("config.json: layers_block_type has ", layers_block_type->size(),
                                                " entries for ", num_hidden_layers, " layers"));
    }
    hybrid_layer_ids.clear();
    for (size_t i = 0; i < layers_block_type->size(); ++i) {
      if ((*layers_block_type)[i] == "hybrid") hybrid_layer_ids.push_back(static_cast<int64_t>(i));
    }
  }
};

}  // namespace backplane::zamba2
