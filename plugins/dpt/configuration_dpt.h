#pragma once

#include "../bit/configuration_bit.h"
#include "../vit/configuration_vit.h"

namespace backplane::dpt {

struct DPTConfig : vit::ViTImageConfig {
  static constexpr const char* model_type = "dpt";

  bool is_hybrid = false;  // convolutions before the transformer
  std::optional<std::vector<int64_t>> backbone_out_indices = std::vector<int64_t>{2, 5, 8, 11};
  std::string readout_type = "project";  // or ignore, add: what becomes of the class token
  std::vector<double> reassemble_factors = {4, 2, 1, 0.5};
  std::vector<int64_t> neck_hidden_sizes = {96, 192, 384, 768};
  int64_t fusion_hidden_size = 256;
  int64_t head_in_index = -1;
  bool use_batch_norm_in_fusion_residual = false;
  std::optional<bool> use_bias_in_fusion_residual;  // null: where there is no batch norm
  bool add_projection = false;
  bool use_auxiliary_head = true;
  double auxiliary_loss_weight = 0.4;
  int64_t semantic_loss_ignore_index = 255;
  double semantic_classifier_dropout = 0.1;
  std::optional<std::vector<int64_t>> backbone_featmap_shape = std::vector<int64_t>{1, 1024, 24, 24};
  std::vector<int64_t> neck_ignore_stages = {0, 1};
  std::shared_ptr<PretrainedConfig> backbone_config;
  std::optional<std::string> backbone;
  bool use_pretrained_backbone = false;
  bool use_timm_backbone = false;
  bool use_autobackbone = false;
  Value backbone_kwargs;
  std::optional<int64_t> pooler_output_size;  // null: hidden_size
  std::string pooler_act = "tanh";

  DPTConfig() { image_size = 384; }

  void fields(FieldVisitor& field) override {
    ViTImageConfig::fields(field);
    field(BACKPLANE_FIELD(is_hybrid));
    field(BACKPLANE_FIELD(backbone_out_indices));
    field(BACKPLANE_FIELD(readout_type));
    field(BACKPLANE_FIELD(reassemble_factors));
    field(BACKPLANE_FIELD(neck_hidden_sizes));
    field(BACKPLANE_FIELD(fusion_hidden_size));
    field(BACKPLANE_FIELD(head_in_index));
    field(BACKPLANE_FIELD(use_batch_norm_in_fusion_residual));
    field(BACKPLANE_FIELD(use_bias_in_fusion_residual));
    field(BACKPLANE_FIELD(add_projection));
    field(BACKPLANE_FIELD(use_auxiliary_head));
    field(BACKPLANE_FIELD(auxiliary_loss_weight));
    field(BACKPLANE_FIELD(semantic_loss_ignore_index));
    field(BACKPLANE_FIELD(semantic_classifier_dropout));
    field(BACKPLANE_FIELD(backbone_featmap_shape));
    field(BACKPLANE_FIELD(neck_ignore_stages));
    field(BACKPLANE_FIELD(backbone_config));
    field(BACKPLANE_FIELD(backbone));
    field(BACKPLANE_FIELD(use_pretrained_backbone));
    field(BACKPLANE_FIELD(use_timm_backbone));
    field(BACKPLANE_FIELD(use_autobackbone));
    field(BACKPLANE_FIELD(backbone_kwargs));
    field(BACKPLANE_FIELD(pooler_output_size));
    field(BACKPLANE_FIELD(pooler_act));
  }

  void validate() override {
    ViTImageConfig::validate();
    if (!pooler_output_size || *pooler_output_size == 0) pooler_output_size = hidden_size;
    if (readout_type != "ignore" && readout_type != "add" && readout_type != "project") {
      throw Error(ErrorCode::bad_config,
                  concat("readout_type is '", readout_type, "'; possible are ignore, add and project"));
    }
    if (is_hybrid && readout_type != "project")
      throw Error(ErrorCode::bad_config, concat("is_hybrid needs readout_type project, not ", readout_type));
    use_autobackbone = !is_hybrid && (backbone || backbone_config);
    if (backbone_config && backbone)
      throw Error(ErrorCode::bad_config, "backbone and backbone_config are both given; give one");
    if (use_autobackbone) backbone_out_indices.reset();
    if (is_hybrid && !backbone_config) {
      backbone_config = make_config("bit");
      auto& c = dynamic_cast<bit::BitConfig&>(*backbone_config);
      c.global_padding = "same";
      c.layer_type = "bottleneck";
      c.depths = {3, 4, 9};
      c.out_features = {"stage1", "stage2", "stage3"};
      c.embedding_dynamic_padding = true;
      c.validate();
    }
    if (!is_hybrid) {
      backbone_featmap_shape.reset();
      neck_ignore_stages.clear();
    } else if (!backbone_featmap_shape || backbone_featmap_shape->size() != 4) {
      throw Error(ErrorCode::bad_config, "backbone_featmap_shape must be four numbers");
    }
    const auto stages = static_cast<int64_t>(neck_hidden_sizes.size());
    check_stages(neck_hidden_sizes.size(), {{"reassemble_factors", reassemble_factors.size()}});
    if (backbone_out_indices) {
      if (static_cast<int64_t>(backbone_out_indices->size()) != stages) {
        throw Error(ErrorCode::bad_config, concat("backbone_out_indices has ", backbone_out_indices->size(),
                                                  " elements; neck_hidden_sizes has ", stages));
      }
      for (int64_t index : *backbone_out_indices) {
        if (index < 0 || index >= num_hidden_layers) {
          throw Error(ErrorCode::bad_config,
                      concat("backbone_out_indices has ", index, "; there are ", num_hidden_layers, " layers"));
        }
      }
    }
    if (head_in_index >= stages || head_in_index < -stages)
      throw Error(ErrorCode::bad_config, concat("head_in_index is ", head_in_index, "; there are ", stages, " stages"));
    for (double factor : reassemble_factors) {
      if (!(factor > 0 && factor < 1024)) throw Error(ErrorCode::bad_config, concat("reassemble_factors has ", factor));
    }
  }
};

}  // namespace backplane::dpt
