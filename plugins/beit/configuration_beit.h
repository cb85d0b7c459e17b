#pragma once

#include <backplane/model.h>
#include <backplane/model/vision.h>

namespace backplane::beit {

// The keys that BEiT and Data2VecVision have in common.
struct BeitEncoderConfig : BackboneConfig {
  int64_t hidden_size = 768;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t intermediate_size = 3072;
  std::string hidden_act = "gelu";
  double hidden_dropout_prob = 0;
  double attention_probs_dropout_prob = 0;
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-12;
  Value image_size = 224;  // a number, or [height, width]
  Value patch_size = 16;
  int64_t num_channels = 3;
  bool use_mask_token = false;
  bool use_absolute_position_embeddings = false;
  bool use_relative_position_bias = false;
  bool use_shared_relative_position_bias = false;
  double layer_scale_init_value = 0.1;
  double drop_path_rate = 0.1;
  bool use_mean_pooling = true;
  std::vector<int64_t> pool_scales = {1, 2, 3, 6};
  bool use_auxiliary_head = true;
  double auxiliary_loss_weight = 0.4;
  int64_t auxiliary_channels = 256;
  int64_t auxiliary_num_convs = 1;
  bool auxiliary_concat_input = false;
  int64_t semantic_loss_ignore_index = 255;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(hidden_dropout_prob));
    field(BACKPLANE_FIELD(attention_probs_dropout_prob));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(image_size));
    field(BACKPLANE_FIELD(patch_size));
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(use_mask_token));
    field(BACKPLANE_FIELD(use_absolute_position_embeddings));
    field(BACKPLANE_FIELD(use_relative_position_bias));
    field(BACKPLANE_FIELD(use_shared_relative_position_bias));
    field(BACKPLANE_FIELD(layer_scale_init_value));
    field(BACKPLANE_FIELD(drop_path_rate));
    field(BACKPLANE_FIELD(use_mean_pooling));
    field(BACKPLANE_FIELD(pool_scales));
    field(BACKPLANE_FIELD(use_auxiliary_head));
    field(BACKPLANE_FIELD(auxiliary_loss_weight));
    field(BACKPLANE_FIELD(auxiliary_channels));
    field(BACKPLANE_FIELD(auxiliary_num_convs));
    field(BACKPLANE_FIELD(auxiliary_concat_input));
    field(BACKPLANE_FIELD(semantic_loss_ignore_index));
  }

  void validate() override {
    check_divides("hidden_size", hidden_size, "num_attention_heads", num_attention_heads);
    for (int64_t scale : pool_scales) {
      if (scale <= 0 || scale > 1024) throw Error(ErrorCode::bad_config, concat("pool_scales has ", scale));
    }
  }

  std::vector<int64_t> stage_channels() const override { return std::vector<int64_t>(stage_names.size(), hidden_size); }
};

struct BeitConfig : BeitEncoderConfig {
  static constexpr const char* model_type = "beit";

  int64_t vocab_size = 8192;
  bool add_fpn = false;
  bool reshape_hidden_states = true;
  double batch_norm_eps = 1e-5;  // of the feature pyramid

  void fields(FieldVisitor& field) override {
    BeitEncoderConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(add_fpn));
    field(BACKPLANE_FIELD(reshape_hidden_states));
    backbone_fields(field);
    field.alias("segmentation_indices", "out_indices");
  }

  void validate() override {
    BeitEncoderConfig::validate();
    if (const Value* eps = find_extra("batch_norm_eps")) batch_norm_eps = eps->as_double();
    align_stages("stem", num_hidden_layers);
  }
};

}  // namespace backplane::beit
