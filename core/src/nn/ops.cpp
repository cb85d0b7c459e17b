#include "backplane/nn/ops.h"

#include <cmath>
#include <limits>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "nn/kernels.h"

namespace backplane {
namespace {

Tensor gelu_erf(const Tensor& x) { return at::gelu(x); }
Tensor gelu_tanh(const Tensor& x) { return at::gelu(x, "tanh"); }
Tensor gelu_10(const Tensor& x) { return at::gelu(x).clamp(-10, 10); }
Tensor gelu_quick(const Tensor& x) { return x * at::sigmoid(1.702 * x); }
Tensor relu(const Tensor& x) { return at::relu(x); }
Tensor relu2(const Tensor& x) { return at::relu(x).square(); }
Tensor relu6(const Tensor& x) { return at::hardtanh(x, 0, 6); }
Tensor leaky_relu(const Tensor& x) { return at::leaky_relu(x); }
Tensor silu(const Tensor& x) { return at::silu(x); }
Tensor sigmoid(const Tensor& x) { return at::sigmoid(x); }
Tensor tanh(const Tensor& x) { return at::tanh(x); }
Tensor mish(const Tensor& x) { return at::mish(x); }
Tensor prelu(const Tensor& x) { return at::where(x > 0, x, 0.25 * x); }
Tensor laplace(const Tensor& x) { return 0.5 * (1 + at::erf((x - 0.707107) / (0.282095 * std::sqrt(2.0)))); }
Tensor identity(const Tensor& x) { return x; }

constexpr std::pair<std::string_view, Activation> kActivations[] = {
    {"gelu", gelu_erf},
    {"gelu_10", gelu_10},
    {"gelu_fast", gelu_tanh},
    {"gelu_new", gelu_tanh},
    {"gelu_python", gelu_erf},
    {"gelu_pytorch_tanh", gelu_tanh},
    {"gelu_accurate", gelu_tanh},
    {"quick_gelu", gelu_quick},
    {"laplace", laplace},
    {"leaky_relu", leaky_relu},
    {"linear", identity},
    {"mish", mish},
    {"relu", relu},
    {"relu2", relu2},
    {"relu6", relu6},
    {"sigmoid", sigmoid},
    {"silu", silu},
    {"swish", silu},
    {"tanh", tanh},
    {"prelu", prelu},
};

double lowest(at::ScalarType dtype) {
  switch (dtype) {
    case at::kHalf:
      return -65504.0;
    case at::kBFloat16:
      return -3.3895313892515355e38;
    case at::kDouble:
      return std::numeric_limits<double>::lowest();
    default:
      return std::numeric_limits<float>::lowest();
  }
}

Tensor repeat_kv(const Tensor& x, int64_t groups) {
  if (groups == 1) return x;
  const auto s = x.sizes();
  return x.unsqueeze(2).expand({s[0], s[1], groups, s[2], s[3]}).reshape({s[0], s[1] * groups, s[2], s[3]});
}

// The causal mask of q queries at the end of kv keys, as one of the dtype's numbers.
Tensor causal_bias(int64_t q, int64_t kv, at::ScalarType dtype) {
  return at::full({q, kv}, lowest(dtype), at::TensorOptions().dtype(dtype)).triu_(kv - q + 1);
}

Tensor eager_attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options,
                       double scale) {
  const int64_t groups = q.size(1) / k.size(1);
  Tensor scores = at::matmul(q, repeat_kv(k, groups).transpose(2, 3)) * scale;
  if (options.softcap != 0) scores = at::tanh(scores / options.softcap) * options.softcap;
  if (options.mask.defined()) scores = scores + options.mask;
  if (options.causal && q.size(2) > 1) scores = scores + causal_bias(q.size(2), k.size(2), scores.scalar_type());
  Tensor probs = at::softmax(scores, -1, at::kFloat).to(q.scalar_type());
  if (options.probs) *options.probs = probs;
  if (options.dropout > 0) probs = at::dropout(probs, options.dropout, true);
  return at::matmul(probs, repeat_kv(v, groups));
}

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  if (kernels::can_rms_norm(x, weight)) return kernels::rms_norm(x, weight, eps);
  const Tensor wide = x.to(at::kFloat);
  return weight * (wide * at::rsqrt(wide.square().mean(-1, true) + eps)).to(x.scalar_type());
}

Activation activation(std::string_view name) {
  for (const auto& [known, function] : kActivations) {
    if (known == name) return function;
  }
  std::vector<std::string> names;
  for (const auto& entry : kActivations) names.emplace_back(entry.first);
  throw Error(ErrorCode::bad_config, concat("unknown activation '", name, "'; known are ", join(names)));
}

Tensor split_heads(const Tensor& x, int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

Tensor merge_heads(const Tensor& x) { return x.transpose(1, 2).reshape({x.size(0), x.size(2), x.size(1) * x.size(3)}); }

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  const double scale = options.scale != 0 ? options.scale : 1 / std::sqrt(static_cast<double>(q.size(3)));
  if (options.implementation == AttnImplementation::eager || options.probs || options.softcap != 0)
    return eager_attention(q, k, v, options, scale);
  const int64_t groups = q.size(1) / k.size(1);
  if (q.size(2) == 1) {
    if (kernels::can_decode_attention(q, k, v, options)) return kernels::decode_attention(q, k, v, options.mask, scale);
    // One query a head: the queries of a group become the rows of one query block over their shared keys.
    const auto folded = q.reshape({q.size(0), k.size(1), groups, q.size(3)});
    const auto mask = options.mask.defined() ? std::optional<Tensor>(options.mask) : std::nullopt;
    return at::scaled_dot_product_attention(folded, k, v, mask, options.dropout, false, scale)
        .reshape({q.size(0), q.size(1), 1, v.size(3)});
  }
  Tensor mask = options.mask;
  bool causal = options.causal;
  if (causal && (mask.defined() || q.size(2) != k.size(2))) {
    const Tensor bias = causal_bias(q.size(2), k.size(2), q.scalar_type());
    mask = mask.defined() ? at::clamp_min(mask + bias, lowest(q.scalar_type())) : bias;
    causal = false;
  }
  return at::scaled_dot_product_attention(q, repeat_kv(k, groups), repeat_kv(v, groups),
                                          mask.defined() ? std::optional<Tensor>(mask) : std::nullopt, options.dropout,
                                          causal, scale);
}

Tensor padding_mask(const Tensor& attention_mask, at::ScalarType dtype) {
  if (!attention_mask.defined()) return {};
  if (attention_mask.dim() == 4) return attention_mask.to(dtype);
  if (attention_mask.min().item<double>() >= 1) return {};
  Tensor mask = (1.0 - attention_mask.to(dtype)) * lowest(dtype);
  return attention_mask.dim() == 3 ? mask.unsqueeze(1) : mask.unsqueeze(1).unsqueeze(1);
}

Tensor lowest_where(const Tensor& masked, at::ScalarType dtype) {
  return at::zeros({1}, at::TensorOptions().dtype(dtype)).masked_fill(masked, lowest(dtype));
}

Tensor combine_masks(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() ? a : b;
  return at::clamp_min(a + b, lowest(a.scalar_type()));
}

Tensor causal_mask(const Tensor& attention_mask, int64_t q, int64_t past, at::ScalarType dtype, int64_t window) {
  const int64_t kv = q + (window > 0 ? std::min(past, window - 1) : past);
  if (attention_mask.defined() && attention_mask.dim() == 4)
    return attention_mask.slice(3, std::max<int64_t>(attention_mask.size(3) - kv, 0)).to(dtype);
  if (attention_mask.defined() && attention_mask.size(-1) != past + q) {
    throw Error(ErrorCode::invalid_value, concat("attention_mask has ", attention_mask.size(-1), " columns; ", past,
                                                 " cached and ", q, " new positions need ", past + q));
  }
  const Tensor padding =
      padding_mask(attention_mask.defined() ? attention_mask.slice(-1, past + q - kv) : attention_mask, dtype);
  if (q == 1) return padding;
  Tensor bias = causal_bias(q, kv, dtype);
  if (window > 0 && window < kv) bias = bias + at::full_like(bias, lowest(dtype)).tril_(kv - q - window);
  return combine_masks(bias.view({1, 1, q, kv}), padding);
}

CausalMask decoder_mask(const Tensor& attention_mask, int64_t q, int64_t past, at::ScalarType dtype, int64_t window) {
  const bool is_plain = past == 0 && (window <= 0 || q <= window) &&
                        (!attention_mask.defined() || (attention_mask.dim() == 2 && attention_mask.size(1) == q &&
                                                       attention_mask.min().item<double>() >= 1));
  if (is_plain) return {.causal = true};
  return {.mask = causal_mask(attention_mask, q, past, dtype, window)};
}

Tensor last_tokens(const Tensor& x, const Tensor& input_ids, std::optional<int64_t> pad_token_id) {
  if (!pad_token_id && x.size(0) != 1)
    throw Error(ErrorCode::invalid_value, "a batch of more than one sequence needs pad_token_id in the config");
  if (!pad_token_id || !input_ids.defined()) return x.select(1, x.size(1) - 1);
  const Tensor last = (at::arange(input_ids.size(1)) * (input_ids != *pad_token_id)).argmax(-1);
  return x.index({at::arange(x.size(0)), last});
}

Tensor cross_entropy(const Tensor& logits, const Tensor& labels, int64_t ignore_index) {
  return at::cross_entropy_loss(logits.reshape({-1, logits.size(-1)}).to(at::kFloat), labels.reshape({-1}), {},
                                at::Reduction::Mean, ignore_index);
}

Tensor causal_lm_loss(const Tensor& logits, const Tensor& labels) {
  const int64_t last = labels.size(-1) - 1;
  return cross_entropy(logits.slice(1, 0, last), labels.slice(1, 1));
}

Tensor classification_loss(const Tensor& logits, const Tensor& labels, const PretrainedConfig& config) {
  const bool whole = labels.scalar_type() == at::kLong || labels.scalar_type() == at::kInt;
  const std::string type = config.problem_type        ? *config.problem_type
                           : config.num_labels() == 1 ? "regression"
                           : whole                    ? "single_label_classification"
                                                      : "multi_label_classification";
  if (type == "single_label_classification") return cross_entropy(logits, labels);
  if (type == "multi_label_classification") return at::binary_cross_entropy_with_logits(logits, labels);
  return config.num_labels() == 1 ? at::mse_loss(logits.squeeze(), labels.squeeze()) : at::mse_loss(logits, labels);
}

Tensor span_loss(const Tensor& start_logits, const Tensor& end_logits, const Tensor& start_positions,
                 const Tensor& end_positions) {
  const int64_t outside = start_logits.size(1);
  const auto loss = [&](const Tensor& logits, const Tensor& positions) {
    const Tensor flat = positions.dim() > 1 ? positions.squeeze(-1) : positions;
    return cross_entropy(logits, flat.clamp(0, outside), outside);
  };
  return (loss(start_logits, start_positions) + loss(end_logits, end_positions)) / 2;
}

}  // namespace backplane
