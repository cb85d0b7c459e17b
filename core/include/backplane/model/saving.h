#pragma once

#include <string>

#include "backplane/checkpoint/save.h"
#include "backplane/model/pretrained_model.h"

namespace backplane {

/// Writes config.json, generation_config.json where the class can generate, and the weights, so that from_pretrained
/// and Python read them back (AC-118, AC-162, AC-163). A weight that several names share is stored once, under its
/// first name. The folder is made where it does not exist. No other thread may change the model meanwhile. Throws `io`.
void save_pretrained(const PreTrainedModel& model, const std::string& folder, const SaveOptions& options = {});

}  // namespace backplane
