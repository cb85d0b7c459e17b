#pragma once

#include "backplane/model/pretrained_model.h"

namespace backplane {

bool takes(const PreTrainedModel& model, std::string_view name);

/// Feeds a model from step to step: new ids, what masks and positions them, the cache, and the encoder's result, which
/// is computed once.
class Stepper {
 public:
  /// `room`: positions that the cache is made for at once. The model has to outlive the stepper.
  Stepper(PreTrainedModel& model, ModelInputs inputs, bool use_cache, int64_t room);

  /// sequences [rows, length], of which the model has seen all but the end -> logits of the last position [rows,
  /// vocab], in float32.
  Tensor next(const Tensor& sequences);
  /// Every row becomes `copies` rows, side by side.
  void expand(int64_t copies);
  /// Row i becomes row rows[i] of before.
  void reorder(const Tensor& rows);

 private:
  void drop_what_is_cached();

  PreTrainedModel& model_;
  ModelInputs inputs_;
  bool use_cache_;
  bool has_encoder_;
  std::string ids_, mask_, positions_, cache_name_;  // names of the decoder's arguments
  int64_t embedded_ = 0;                             // positions of a prompt that was given as inputs_embeds
  Tensor attention_mask_;                            // of the decoder; undefined where nothing is masked
  Tensor token_types_;
  KvCachePtr cache_;
  bool started_ = false;
  int64_t rows_ = 0;  // of the last step
};

}  // namespace backplane
