#pragma once

#include <string>
#include <vector>

#include "backplane/model/pretrained_model.h"
#include "backplane/text/tokenizer.h"

namespace backplane {

enum class Pooling { mean, cls, last };

struct EmbeddingOptions {
  Pooling pooling = Pooling::mean;
  bool normalize = false;  // to length 1
  int64_t batch_size = 32;
};

/// One vector a text: the mean of its tokens' states (Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084),
/// that of the first or of the last token. Texts are cut to the model's length. Sorted by length, so that little is
/// padded. Returns [texts, hidden], float32; `ids` receives each text's ids where it is given. Thread-safe.
Tensor embed_texts(PreTrainedModel& model, const Tokenizer& tokenizer, const std::vector<std::string>& texts,
                   const EmbeddingOptions& options = {}, std::vector<std::vector<int64_t>>* ids = nullptr);

}  // namespace backplane
