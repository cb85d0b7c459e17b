#pragma once

#include <backplane/model.h>
#include <backplane/model/vision.h>

namespace backplane::swin {

// The keys that Swin and its kin have in common.
struct SwinEncoderConfig : BackboneConfig {
  Value image_size = 224;  // a number, or [height, width]
  Value patch_size = 4;
  int64_t num_channels = 3;
  int64_t embed_dim = 96;
  std::vector<int64_t> depths = {2, 2, 6, 2};
  int64_t num_layers = 4;  // as many as depths
  std::vector<int64_t> num_heads = {3, 6, 12, 24};
  int64_t window_size = 7;
  double mlp_ratio = 4;
  bool qkv_bias = true;
  double hidden_dropout_prob = 0;
  double attention_probs_dropout_prob = 0;
  double drop_path_rate = 0.1;
  std::string hidden_act = "gelu";
  bool use_absolute_embeddings = false;
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-5;
  int64_t hidden_size = 768;  // of the last stage

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(image_size));
    field(BACKPLANE_FIELD(patch_size));
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(embed_dim));
    field(BACKPLANE_FIELD(depths));
    field(BACKPLANE_FIELD(num_layers));
    field(BACKPLANE_FIELD(num_heads));
    field(BACKPLANE_FIELD(window_size));
    field(BACKPLANE_FIELD(mlp_ratio));
    field(BACKPLANE_FIELD(qkv_bias));
    field(BACKPLANE_FIELD(hidden_dropout_prob));
    field(BACKPLANE_FIELD(attention_probs_dropout_prob));
    field(BACKPLANE_FIELD(drop_path_rate));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(use_absolute_embeddings));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(hidden_size));
    field.alias("num_attention_heads", "num_heads");
    field.alias("num_hidden_layers", "num_layers");
  }

  int64_t channels(size_t stage) const { return embed_dim << stage; }

  void validate() override {
    constexpr size_t kMostStages = 16;
    constexpr int64_t kLargestWindow = 64;  // attention holds the square of its square
    check_stages(depths.size(), {{"num_heads", num_heads.size()}});
    if (depths.size() > kMostStages || embed_dim <= 0 || embed_dim > 1 << 24 || window_size <= 0 ||
        window_size > kLargestWindow)
      throw Error(ErrorCode::bad_config, concat("embed_dim ", embed_dim, " with ", depths.size(),
                                                " stages and windows of ", window_size, " is not possible"));
    for (size_t i = 0; i < depths.size(); ++i)
      check_divides("embed_dim * 2^stage", channels(i), "num_heads", num_heads[i]);
    num_layers = static_cast<int64_t>(depths.size());
    hidden_size = channels(depths.size() - 1);
    align_stages("stem", num_layers);
  }

  std::vector<int64_t> stage_channels() const override {
    std::vector<int64_t> all = {embed_dim};
    for (size_t i = 0; i < depths.size(); ++i) all.push_back(channels(i));
    return all;
  }
};

struct SwinConfig : SwinEncoderConfig {
  static constexpr const char* model_type = "swin";

  int64_t encoder_stride = 32;

  void fields(FieldVisitor& field) override {
    SwinEncoderConfig::fields(field);
    field(BACKPLANE_FIELD(encoder_stride));
    backbone_fields(field);
  }
};

}  // namespace backplane::swin
