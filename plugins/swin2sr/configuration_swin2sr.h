#pragma once

#include <backplane/model.h>
#include <backplane/model/vision.h>

namespace backplane::swin2sr {

struct Swin2SRConfig : PretrainedConfig {
  static constexpr const char* model_type = "swin2sr";

  Value image_size = 64;  // a number, or [height, width]
  Value patch_size = 1;
  int64_t num_channels = 3;
  std::optional<int64_t> num_channels_out;  // null: num_channels
  int64_t embed_dim = 180;
  std::vector<int64_t> depths = {6, 6, 6, 6, 6, 6};
  int64_t num_layers = 6;  // as many as depths
  std::vector<int64_t> num_heads = {6, 6, 6, 6, 6, 6};
  int64_t window_size = 8;
  double mlp_ratio = 2;
  bool qkv_bias = true;
  double hidden_dropout_prob = 0;
  double attention_probs_dropout_prob = 0;
  double drop_path_rate = 0.1;
  std::string hidden_act = "gelu";
  bool use_absolute_embeddings = false;
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-5;
  int64_t upscale = 2;
  double img_range = 1;
  std::string resi_connection = "1conv";   // or 3conv
  std::string upsampler = "pixelshuffle";  // or pixelshuffle_aux, pixelshuffledirect, nearest+conv; others: none

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(image_size));
    field(BACKPLANE_FIELD(patch_size));
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(num_channels_out));
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
    field(BACKPLANE_FIELD(upscale));
    field(BACKPLANE_FIELD(img_range));
    field(BACKPLANE_FIELD(resi_connection));
    field(BACKPLANE_FIELD(upsampler));
    field.alias("hidden_size", "embed_dim");
    field.alias("num_attention_heads", "num_heads");
    field.alias("num_hidden_layers", "num_layers");
  }

  void validate() override {
    if (!num_channels_out) num_channels_out = num_channels;
    check_stages(depths.size(), {{"num_heads", num_heads.size()}});
    num_layers = static_cast<int64_t>(depths.size());
    for (int64_t heads : num_heads) check_divides("embed_dim", embed_dim, "num_heads", heads);
    const auto refuse = [](const auto&... text) { throw Error(ErrorCode::bad_config, concat(text...)); };
    if (window_size <= 0 || window_size > 64) refuse("window_size is ", window_size);
    if (upscale <= 0 || upscale > 64) refuse("upscale is ", upscale);
    if (resi_connection != "1conv" && resi_connection != "3conv")
      refuse("resi_connection is '", resi_connection, "'; possible are 1conv and 3conv");
    const bool shuffles = upsampler == "pixelshuffle" || upsampler == "pixelshuffle_aux";
    if (shuffles && (upscale & (upscale - 1)) != 0 && upscale != 3)
      refuse("upscale is ", upscale, "; ", upsampler, " needs 3 or a power of 2");
    if (upsampler == "nearest+conv" && upscale != 4) refuse("upscale is ", upscale, "; nearest+conv needs 4");
    if (img_range == 0) refuse("img_range is 0");
  }
};

}  // namespace backplane::swin2sr
