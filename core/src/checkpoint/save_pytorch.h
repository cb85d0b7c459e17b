#pragma once

#include <string>

#include "backplane/checkpoint/save.h"

namespace backplane {

/// A dictionary of tensors as torch.save writes it: a zip archive of stored records, each at a multiple of 64 bytes.
/// Equal views of one storage are written once.
void save_pytorch(const std::string& path, const NamedTensors& tensors);

}  // namespace backplane
