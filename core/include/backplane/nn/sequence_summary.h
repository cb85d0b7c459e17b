#pragma once

#include <optional>
#include <string>

#include "backplane/config/pretrained_config.h"
#include "backplane/nn/layers.h"
#include "backplane/nn/ops.h"

namespace backplane::nn {

/// What a configuration's summary_* keys say about the vector that stands for a sequence.
struct SummaryOptions {
  int64_t hidden_size;
  std::string type = "last";  // last, first, mean, or cls_index: the token that the call names, else the last
  int64_t projection = 0;     // features of a linear map; 0: none
  std::optional<std::string> activation = {};
  double first_dropout = 0, last_dropout = 0;
};

/// One vector for a sequence: a token or the mean, then dropout, a linear map under the name `summary`, an activation,
/// dropout. Source: transformers, SequenceSummary.
class SequenceSummaryImpl : public Module {
 public:
  /// Throws `bad_config` for an unknown type or activation.
  explicit SequenceSummaryImpl(const SummaryOptions& options);

  /// x [batch…, seq, hidden], cls_index [batch…] or undefined -> [batch…, projection or hidden]
  Tensor forward(const Tensor& x, const Tensor& cls_index = {});

 private:
  SummaryOptions options_;
  Linear summary_{nullptr};
  Activation activation_ = nullptr;
  Dropout first_dropout_, last_dropout_;
};
TORCH_MODULE(SequenceSummary);

/// The options of a configuration with the summary_* keys of BERT's descendants; the labels are those of the head.
template <class Config>
SummaryOptions summary_options(const Config& c, int64_t hidden_size) {
  SummaryOptions options{.hidden_size = hidden_size, .type = c.summary_type};
  if (c.summary_use_proj) {
    options.projection = hidden_size;
    if constexpr (requires { c.summary_proj_to_labels; }) {
      if (c.summary_proj_to_labels && c.num_labels() > 0) options.projection = c.num_labels();
    }
  }
  options.activation = c.summary_activation;
  if constexpr (requires { c.summary_first_dropout; }) options.first_dropout = c.summary_first_dropout;
  if constexpr (requires { c.summary_last_dropout; }) options.last_dropout = c.summary_last_dropout;
  return options;
}

}  // namespace backplane::nn
