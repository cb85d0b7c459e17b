#include "backplane/nn/sequence_summary.h"

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane::nn {

SequenceSummaryImpl::SequenceSummaryImpl(const SummaryOptions& options)
    : options_(options),
      first_dropout_(register_module("first_dropout", Dropout(options.first_dropout))),
      last_dropout_(register_module("last_dropout", Dropout(options.last_dropout))) {
  if (options.type != "last" && options.type != "first" && options.type != "mean" && options.type != "cls_index") {
    throw Error(ErrorCode::bad_config,
                concat("config.json: summary_type is '", options.type, "'; known are last, first, mean, cls_index"));
  }
  if (options.projection > 0) summary_ = register_module("summary", Linear(options.hidden_size, options.projection));
  if (options.activation && !options.activation->empty()) activation_ = backplane::activation(*options.activation);
}

Tensor SequenceSummaryImpl::forward(const Tensor& x, const Tensor& cls_index) {
  Tensor y;
  if (options_.type == "mean") {
    y = x.mean(-2);
  } else if (options_.type == "first") {
    y = x.select(-2, 0);
  } else if (options_.type == "cls_index" && cls_index.defined()) {
    auto shape = cls_index.sizes().vec();
    shape.insert(shape.end(), {1, x.size(-1)});
    y = x.gather(-2, cls_index.unsqueeze(-1).unsqueeze(-1).expand(shape)).squeeze(-2);
  } else {
    y = x.select(-2, x.size(-2) - 1);
  }
  y = first_dropout_(y.contiguous());
  if (summary_) y = summary_(y);
  if (activation_) y = activation_(y);
  return last_dropout_(y);
}

}  // namespace backplane::nn
