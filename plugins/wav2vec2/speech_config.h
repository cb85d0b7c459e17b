#pragma once

#include <backplane/model.h>

namespace backplane::wav2vec2 {

// The keys that configurations of wav2vec 2.0 and its siblings draw from. Each of them lists its own in `fields`, by
// these groups and by name.
struct SpeechConfig : PretrainedConfig {
  std::optional<int64_t> vocab_size = 32;
  int64_t hidden_size = 768;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t intermediate_size = 3072;
  std::string hidden_act = "gelu";
  double hidden_dropout = 0.1;
  double activation_dropout = 0.1;
  double attention_dropout = 0.1;
  double feat_proj_dropout = 0.0;
  double final_dropout = 0.1;
  double layerdrop = 0.1;
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-5;
  bool use_weighted_layer_sum = false;
  int64_t classifier_proj_size = 256;

  std::string feat_extract_norm = "group";  // or layer
  std::string feat_extract_activation = "gelu";
  std::vector<int64_t> conv_dim = {512, 512, 512, 512, 512, 512, 512};
  std::vector<int64_t> conv_stride = {5, 2, 2, 2, 2, 2, 2};
  std::vector<int64_t> conv_kernel = {10, 3, 3, 3, 3, 2, 2};
  bool conv_bias = false;
  int64_t num_conv_pos_embeddings = 128;
  int64_t num_conv_pos_embedding_groups = 16;
  int64_t num_feat_extract_layers = 7;
  bool do_stable_layer_norm = false;

  bool apply_spec_augment = true;
  double mask_time_prob = 0.05;
  int64_t mask_time_length = 10;
  int64_t mask_time_min_masks = 2;
  double mask_feature_prob = 0.0;
  int64_t mask_feature_length = 10;
  int64_t mask_feature_min_masks = 0;

  std::string ctc_loss_reduction = "sum";
  bool ctc_zero_infinity = false;

  int64_t num_codevectors_per_group = 320;
  int64_t num_codevector_groups = 2;
  double contrastive_logits_temperature = 0.1;
  double feat_quantizer_dropout = 0.0;
  int64_t num_negatives = 100;
  int64_t codevector_dim = 256;
  int64_t proj_codevector_dim = 256;
  double diversity_loss_weight = 0.1;

  bool add_adapter = false;
  int64_t adapter_kernel_size = 3;
  int64_t adapter_stride = 2;
  int64_t num_adapter_layers = 3;
  std::optional<int64_t> output_hidden_size;  // hidden_size where unset

  std::vector<int64_t> tdnn_dim = {512, 512, 512, 512, 1500};
  std::vector<int64_t> tdnn_kernel = {5, 3, 3, 1, 1};
  std::vector<int64_t> tdnn_dilation = {1, 2, 3, 1, 1};
  int64_t xvector_output_dim = 512;

  SpeechConfig() {
    pad_token_id = 0;
    bos_token_id = 1;
    eos_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(hidden_dropout));
    field(BACKPLANE_FIELD(activation_dropout));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(feat_proj_dropout));
    field(BACKPLANE_FIELD(final_dropout));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(use_weighted_layer_sum));
    field(BACKPLANE_FIELD(classifier_proj_size));
    field(BACKPLANE_FIELD(mask_time_prob));
    field(BACKPLANE_FIELD(mask_time_length));
    field(BACKPLANE_FIELD(mask_time_min_masks));
    field(BACKPLANE_FIELD(mask_feature_prob));
    field(BACKPLANE_FIELD(mask_feature_length));
    field(BACKPLANE_FIELD(ctc_loss_reduction));
    field(BACKPLANE_FIELD(ctc_zero_infinity));
  }

  void validate() override {
    if (num_attention_heads <= 0 || hidden_size <= 0 || hidden_size % num_attention_heads != 0) {
      throw Error(ErrorCode::bad_config,
                  concat("hidden_size (", hidden_size, ") is not divisible by num_attention_heads (",
                         num_attention_heads, ")"));
    }
    if (!output_hidden_size || *output_hidden_size == 0) output_hidden_size = hidden_size;
    if (tdnn_dim.empty() || tdnn_kernel.size() != tdnn_dim.size() || tdnn_dilation.size() != tdnn_dim.size()) {
      throw Error(ErrorCode::bad_config,
                  concat("tdnn_dim, tdnn_kernel and tdnn_dilation have ", tdnn_dim.size(), ", ", tdnn_kernel.size(),
                         " and ", tdnn_dilation.size(), " entries; expected as many of each"));
    }
    if (adapter_stride <= 0 || adapter_kernel_size <= 0)
      throw Error(ErrorCode::bad_config, concat("adapter_stride (", adapter_stride, ") and adapter_kernel_size (",
                                                adapter_kernel_size, ") have to be above 0"));
  }

 protected:
  void wave_fields(FieldVisitor& field) {
    field(BACKPLANE_FIELD(feat_extract_activation));
    field(BACKPLANE_FIELD(conv_dim));
    field(BACKPLANE_FIELD(conv_stride));
    field(BACKPLANE_FIELD(conv_kernel));
    field(BACKPLANE_FIELD(conv_bias));
    field(BACKPLANE_FIELD(num_conv_pos_embeddings));
    field(BACKPLANE_FIELD(num_conv_pos_embedding_groups));
    field(BACKPLANE_FIELD(num_feat_extract_layers));
  }

  void quantizer_fields(FieldVisitor& field) {
    field(BACKPLANE_FIELD(num_codevectors_per_group));
    field(BACKPLANE_FIELD(num_codevector_groups));
    field(BACKPLANE_FIELD(contrastive_logits_temperature));
    field(BACKPLANE_FIELD(num_negatives));
    field(BACKPLANE_FIELD(codevector_dim));
    field(BACKPLANE_FIELD(proj_codevector_dim));
    field(BACKPLANE_FIELD(diversity_loss_weight));
  }

  void adapter_fields(FieldVisitor& field) {
    field(BACKPLANE_FIELD(add_adapter));
    field(BACKPLANE_FIELD(adapter_kernel_size));
    field(BACKPLANE_FIELD(adapter_stride));
    field(BACKPLANE_FIELD(num_adapter_layers));
    field(BACKPLANE_FIELD(output_hidden_size));
  }

  void xvector_fields(FieldVisitor& field) {
    field(BACKPLANE_FIELD(tdnn_dim));
    field(BACKPLANE_FIELD(tdnn_kernel));
    field(BACKPLANE_FIELD(tdnn_dilation));
    field(BACKPLANE_FIELD(xvector_output_dim));
  }

  void check_wave() {
    num_feat_extract_layers = static_cast<int64_t>(conv_dim.size());
    if (conv_dim.empty() || conv_stride.size() != conv_dim.size() || conv_kernel.size() != conv_dim.size()) {
      throw Error(ErrorCode::bad_config,
                  concat("conv_dim, conv_stride and conv_kernel have ", conv_dim.size(), ", ", conv_stride.size(),
                         " and ", conv_kernel.size(), " entries; expected as many of each"));
    }
    for (size_t i = 0; i < conv_dim.size(); ++i) {
      if (conv_dim[i] <= 0 || conv_stride[i] <= 0 || conv_kernel[i] <= 0) {
        throw Error(ErrorCode::bad_config,
                    concat("conv_dim, conv_stride and conv_kernel [", i, "] are ", conv_dim[i], ", ", conv_stride[i],
                           " and ", conv_kernel[i], "; expected numbers above 0"));
      }
    }
    if (feat_extract_norm != "group" && feat_extract_norm != "layer") {
      throw Error(ErrorCode::bad_config,
                  concat("feat_extract_norm is '", feat_extract_norm, "'; expected group or layer"));
    }
    if (num_conv_pos_embeddings <= 0)
      throw Error(ErrorCode::bad_config,
                  concat("num_conv_pos_embeddings is ", num_conv_pos_embeddings, "; expected a number above 0"));
  }
};

}  // namespace backplane::wav2vec2
