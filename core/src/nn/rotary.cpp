#include "backplane/nn/rotary.h"

#include <cmath>
#include <numbers>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane::nn {
namespace {

double required(const Value& scaling, const char* key, const std::string& type) {
  const Value* value = scaling.find(key);
  if (!value || !value->is_number()) {
    throw Error(ErrorCode::bad_config,
                concat("rope_scaling of type '", type, "' needs the number '", key, "'; found ", scaling.to_string()));
  }
  return value->as_double();
}

Tensor factors(const Value& scaling, const char* key, int64_t count) {
  const Value* value = scaling.find(key);
  if (!value || !value->is_list() || static_cast<int64_t>(value->as_list().size()) != count) {
    throw Error(ErrorCode::bad_config,
                concat("rope_scaling of type 'longrope' needs '", key, "', a list of ", count, " numbers"));
  }
  std::vector<float> numbers;
  for (const auto& item : value->as_list()) numbers.push_back(static_cast<float>(item.as_double()));
  return at::tensor(numbers);
}

// theta^(2i / dim)
Tensor powers(double theta, int64_t dim) {
  return at::pow(theta, at::arange(0, dim, 2, at::kFloat) / static_cast<double>(dim));
}

}  // namespace

RotaryEmbedding::RotaryEmbedding(const RotaryOptions& options) : options_(options), type_("default") {
  if (options_.dim <= 0 || options_.dim % 2 != 0) {
    throw Error(ErrorCode::bad_config,
                concat("rotary embeddings need an even number of dimensions; found ", options_.dim));
  }
  if (options_.scaling.is_object()) {
    const Value* type = options_.scaling.find("rope_type");
    if (!type) type = options_.scaling.find("type");
    if (!type || !type->is_string())
      throw Error(ErrorCode::bad_config, concat("rope_scaling has no rope_type: ", options_.scaling.to_string()));
    type_ = type->as_string();
  }
  std::tie(inv_freq_, attention_scaling_) = frequencies(std::nullopt);
}

std::pair<Tensor, double> RotaryEmbedding::frequencies(std::optional<int64_t> seq_len) const {
  const Value& scaling = options_.scaling;
  const double dim = static_cast<double>(options_.dim), longest = static_cast<double>(options_.max_position_embeddings);
  if (type_ == "default") return {1.0 / powers(options_.theta, options_.dim), 1.0};
  if (type_ == "linear") return {1.0 / powers(options_.theta, options_.dim) / required(scaling, "factor", type_), 1.0};
  if (type_ == "dynamic") {
    const double factor = required(scaling, "factor", type_);
    const double length = std::max(longest, static_cast<double>(seq_len.value_or(0)));
    const double theta = options_.theta * std::pow(factor * length / longest - (factor - 1), dim / (dim - 2));
    return {1.0 / powers(theta, options_.dim), 1.0};
  }
  if (type_ == "llama3") {
    const Tensor plain = 1.0 / powers(options_.theta, options_.dim);
    const double factor = required(scaling, "factor", type_), low = required(scaling, "low_freq_factor", type_);
    const double high = required(scaling, "high_freq_factor", type_),
                 old = required(scaling, "original_max_position_embeddings", type_);
    const Tensor wavelength = 2 * std::numbers::pi / plain;
    const Tensor scaled = at::where(wavelength > old / low, plain / factor, plain);
    const Tensor smooth = (old / wavelength - low) / (high - low);
    const Tensor between = (wavelength >= old / high).logical_and(wavelength <= old / low);
    return {at::where(between, (1 - smooth) * scaled / factor + smooth * scaled, scaled), 1.0};
  }
  if (type_ == "yarn") {
    double factor = required(scaling, "factor", type_), original = longest;
    if (scaling.find("original_max_position_embeddings")) {
      original = required(scaling, "original_max_position_embeddings", type_);
      factor = longest / original;
    }
    const auto mscale = [](double scale, double m) { return scale <= 1 ? 1.0 : 0.1 * m * std::log(scale) + 1.0; };
    const double m = scaling.number_or("mscale", 0), m_all = scaling.number_or("mscale_all_dim", 0);
    const double attention = scaling.number_or(
        "attention_factor", m != 0 && m_all != 0 ? mscale(factor, m) / mscale(factor, m_all) : mscale(factor, 1));
    const auto fast = scaling.number_or("beta_fast", 0), slow = scaling.number_or("beta_slow", 0);
    const auto correction = [&](double rotations) {
      return dim * std::log(original / (rotations * 2 * std::numbers::pi)) / (2 * std::log(options_.theta));
    };
    const double from = std::max(std::floor(correction(fast != 0 ? fast : 32)), 0.0);
    double to = std::min(std::ceil(correction(slow != 0 ? slow : 1)), dim - 1);
    if (from == to) to += 0.001;
    const Tensor ramp = at::clamp((at::arange(options_.dim / 2, at::kFloat) - from) / (to - from), 0, 1);
    const Tensor power = powers(options_.theta, options_.dim);
    return {1.0 / (factor * power) * ramp + 1.0 / power * (1 - ramp), attention};
  }
  if (type_ == "longrope") {
    double factor = scaling.number_or("factor", 1), original = longest;
    if (options_.original_max_position_embeddings) {
      original = static_cast<double>(*options_.original_max_position_embeddings);
      factor = longest / original;
    }
    const double attention =
        scaling.number_or("attention_factor", factor <= 1 ? 1.0 : std::sqrt(1 + std::log(factor) / std::log(original)));
    const bool is_long = seq_len && static_cast<double>(*seq_len) > original;
    const Tensor stretch = factors(scaling, is_long ? "long_factor" : "short_factor", options_.dim / 2);
    return {1.0 / (stretch * powers(options_.theta, options_.dim)), attention};
  }
  throw Error(ErrorCode::bad_config,
              concat("unknown rope_type '", type_, "'; known are default, linear, dynamic, yarn, longrope, llama3"));
}

std::pair<Tensor, Tensor> RotaryEmbedding::forward(const Tensor& position_ids) const {
  Tensor inv_freq = inv_freq_;
  if (type_ == "dynamic" || type_ == "longrope") {
    const int64_t seq_len = position_ids.max().item<int64_t>() + 1;
    const int64_t original = type_ == "longrope"
                                 ? options_.original_max_position_embeddings.value_or(options_.max_position_embeddings)
                                 : options_.max_position_embeddings;
    if (seq_len > original) inv_freq = frequencies(seq_len).first;
  }
  const Tensor angles = position_ids.to(at::kFloat).unsqueeze(-1) * inv_freq;
  return {angles.cos() * attention_scaling_, angles.sin() * attention_scaling_};
}

Tensor apply_rotary(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  const int64_t half = cos.size(-1);
  const Tensor c = cos.unsqueeze(1).to(x.scalar_type()), s = sin.unsqueeze(1).to(x.scalar_type());
  const Tensor first = x.slice(-1, 0, half), second = x.slice(-1, half, 2 * half);
  std::vector<Tensor> parts = {first * c - second * s, second * c + first * s};
  if (2 * half < x.size(-1)) parts.push_back(x.slice(-1, 2 * half));
  return at::cat(parts, -1);
}

Tensor apply_rotary_interleaved(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  const int64_t half = cos.size(-1);
  const Tensor c = cos.unsqueeze(1).to(x.scalar_type()), s = sin.unsqueeze(1).to(x.scalar_type());
  const Tensor pairs = x.slice(-1, 0, 2 * half).unflatten(-1, {half, 2});
  const Tensor first = pairs.select(-1, 0), second = pairs.select(-1, 1);
  const Tensor rotated = at::stack({first * c - second * s, second * c + first * s}, -1).flatten(-2);
  return 2 * half < x.size(-1) ? at::cat({rotated, x.slice(-1, 2 * half)}, -1) : rotated;
}

}  // namespace backplane::nn
