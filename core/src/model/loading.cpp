#include "backplane/model/loading.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <map>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "backplane/base/error.h"
#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "backplane/nn/layers.h"

namespace backplane {
namespace {

// Patterns that a plugin gives, over names of a checkpoint.
using Pattern = std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)>;

Pattern compile(const std::string& pattern) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  Pattern code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), 0, &error, &offset, nullptr),
               &pcre2_code_free);
  if (!code) {
    throw Error(ErrorCode::bad_plugin,
                concat("the plugin's pattern '", pattern, "' is no regular expression (at ", offset, ")"));
  }
  return code;
}

class Patterns {
 public:
  explicit Patterns(const std::vector<std::string>& patterns) {
    for (const auto& pattern : patterns) codes_.push_back(compile(pattern));
  }

  bool match(const std::string& name) const {
    for (const auto& code : codes_) {
      std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(pcre2_match_data_create(1, nullptr),
                                                                               &pcre2_match_data_free);
      if (pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(name.data()), name.size(), 0, 0, data.get(), nullptr) >=
          0)
        return true;
    }
    return false;
  }

 private:
  std::vector<Pattern> codes_;
};

// AC-99
class Renames {
 public:
  explicit Renames(const std::vector<std::pair<std::string, std::string>>& renames) {
    for (const auto& [pattern, by] : renames) renames_.emplace_back(compile(pattern), by);
  }

  std::string apply(const std::string& name) const {
    for (const auto& [code, by] : renames_) {
      std::string renamed(2 * name.size() + 2 * by.size() + 64, '\0');
      PCRE2_SIZE length = renamed.size();
      const int replaced =
          pcre2_substitute(code.get(), reinterpret_cast<PCRE2_SPTR>(name.data()), name.size(), 0,
                           PCRE2_SUBSTITUTE_GLOBAL, nullptr, nullptr, reinterpret_cast<PCRE2_SPTR>(by.data()),
                           by.size(), reinterpret_cast<PCRE2_UCHAR*>(renamed.data()), &length);
      if (replaced < 0) {
        throw Error(ErrorCode::bad_checkpoint, concat("the tensor name '", name, "' cannot be renamed to '", by, "'"));
      }
      if (replaced > 0) return renamed.substr(0, length);
    }
    return name;
  }

 private:
  std::vector<std::pair<Pattern, std::string>> renames_;
};

bool replace_ending(std::string& name, std::string_view ending, std::string_view by) {
  if (!name.ends_with(ending)) return false;
  name.replace(name.size() - ending.size(), ending.size(), by);
  return true;
}

// AC-99
std::string modern_name(std::string name) {
  if (replace_ending(name, "LayerNorm.gamma", "LayerNorm.weight") ||
      replace_ending(name, "LayerNorm.beta", "LayerNorm.bias") ||
      replace_ending(name, "weight_g", "parametrizations.weight.original0") ||
      replace_ending(name, "weight_v", "parametrizations.weight.original1")) {
    return name;
  }
  return name;
}

// AC-113
bool has_part(const std::string& name, const std::vector<std::string>& modules) {
  if (modules.empty()) return false;
  const auto parts = split(name, '.');
  return std::any_of(parts.begin(), parts.end(), [&](const auto& part) {
    return std::find(modules.begin(), modules.end(), part) != modules.end();
  });
}

struct Target {
  std::string name;
  Tensor tensor;
  bool is_parameter;
};

// Parameters and persistent buffers, in the order of the modules.
std::vector<Target> targets_of(const PreTrainedModel& model) {
  std::vector<Target> targets;
  for (const auto& item : model.named_parameters()) targets.push_back({item.key(), item.value(), true});
  for (const auto& item : model.named_buffers()) targets.push_back({item.key(), item.value(), false});
  return targets;
}

// Missing parameters get what the reference's initialisers give most modules: norms 1, biases 0, weights N(0, 0.02).
void initialise(const std::string& name, Tensor tensor) {
  c10::InferenceMode guard(false);
  at::NoGradGuard no_grad;
  if (!tensor.is_floating_point()) {
    tensor.zero_();
  } else if (name.ends_with("bias")) {
    tensor.zero_();
  } else if (tensor.dim() == 1) {
    tensor.fill_(1);
  } else {
    tensor.normal_(0, 0.02);
  }
}

std::string shape_text(at::IntArrayRef shape) {
  std::vector<std::string> sizes;
  for (int64_t size : shape) sizes.push_back(std::to_string(size));
  return concat("[", join(sizes), "]");
}

std::string listed(const std::vector<std::string>& names) {
  std::vector<std::string> shown(names.begin(),
                                 names.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(names.size(), 10)));
  if (names.size() > shown.size()) shown.push_back(concat("and ", names.size() - shown.size(), " more"));
  return join(shown);
}

}  // namespace

LoadingInfo load_weights(PreTrainedModel& model, const Checkpoint& checkpoint, const LoadOptions& options) {
  at::NoGradGuard no_grad;
  const CheckpointRules rules = model.checkpoint_rules();
  const std::vector<Target> targets = targets_of(model);
  std::unordered_map<std::string, const Target*> by_name;
  for (const auto& target : targets) by_name.emplace(target.name, &target);

  // AC-96: a base checkpoint in a class with a head, or the reverse.
  const std::string& base = rules.base_model_prefix;
  const std::string prefix = base + ".";
  bool has = false, wants = false;
  if (!base.empty()) {
    for (const auto& name : checkpoint.names()) has = has || name.starts_with(base);
    for (const auto& child : model.named_children()) wants = wants || child.key() == base;
  }

  LoadingInfo info;
  const Renames renames(rules.renames);
  std::map<std::string, std::string> sources;  // model name -> checkpoint name
  std::vector<std::string> dropped;
  for (const auto& stored : checkpoint.names()) {
    std::string name = renames.apply(modern_name(stored));
    if (!base.empty() && !has && wants) {
      name = prefix + name;
    } else if (has && !wants) {
      if (!name.starts_with(prefix)) {
        dropped.push_back(name);
        continue;
      }
      name = name.substr(prefix.size());
    }
    sources.emplace(std::move(name), stored);
  }
  if (has && !wants) {  // AC-98
    std::vector<std::string> stray;
    for (const auto& name : dropped) {
      if (by_name.contains(name)) stray.push_back(name);
    }
    if (!stray.empty()) {
      throw Error(ErrorCode::bad_checkpoint,
                  concat("the weights at ", options.origin, " hold parts of the base model with and without '", prefix,
                         "' (", listed(stray), "); was it saved properly?"));
    }
  }

  const at::ScalarType wanted = options.dtype.value_or(at::kFloat);
  const auto dtype_of = [&](const std::string& name) {
    const bool wide = (wanted == at::kHalf && has_part(name, rules.keep_in_fp32)) ||
                      ((wanted == at::kHalf || wanted == at::kBFloat16) && has_part(name, rules.keep_in_fp32_strict));
    return wide ? at::kFloat : wanted;
  };
  std::unordered_set<const void*> filled;  // tensors that got their numbers; tied names are one tensor
  for (const auto& target : targets) {
    const void* identity = target.tensor.unsafeGetTensorImpl();
    const auto source = sources.find(target.name);
    if (source == sources.end() || filled.contains(identity)) continue;
    const auto& stored = checkpoint.info(source->second);
    if (at::IntArrayRef(stored.shape) != target.tensor.sizes()) {
      if (!options.ignore_mismatched_sizes) {
        throw Error(ErrorCode::shape_mismatch,
                    concat("size mismatch for ", target.name, ": the weights at ", options.origin, " have the shape ",
                           shape_text(stored.shape), ", the model ", shape_text(target.tensor.sizes()),
                           "; ignore_mismatched_sizes=true starts it anew"));
      }
      info.mismatched_keys.push_back(target.name);
      continue;
    }
    Tensor value = checkpoint.tensor(source->second);
    if (target.tensor.is_floating_point()) value = value.to(dtype_of(target.name));
    if (!target.tensor.is_floating_point() && value.scalar_type() != target.tensor.scalar_type())
      value = value.to(target.tensor.scalar_type());
    Tensor(target.tensor).set_data(value);
    filled.insert(identity);
  }

  // AC-101, AC-102
  const Patterns ignore_missing(rules.ignore_missing), ignore_unexpected(rules.ignore_unexpected);
  for (const auto& target : targets) {
    const bool mismatched =
        std::find(info.mismatched_keys.begin(), info.mismatched_keys.end(), target.name) != info.mismatched_keys.end();
    if (filled.contains(target.tensor.unsafeGetTensorImpl())) continue;
    // A buffer that checkpoints need not hold was made by its module.
    if (!mismatched && !target.is_parameter && ignore_missing.match(target.name)) {
      if (target.tensor.is_floating_point()) Tensor(target.tensor).set_data(target.tensor.to(dtype_of(target.name)));
      continue;
    }
    if (target.tensor.is_floating_point())
      Tensor(target.tensor)
          .set_data(at::empty(target.tensor.sizes(),
                              target.tensor.options().dtype(dtype_of(target.name)).requires_grad(false)));
    initialise(target.name, target.tensor);
    filled.insert(target.tensor.unsafeGetTensorImpl());
    if (!mismatched && !ignore_missing.match(target.name)) info.missing_keys.push_back(target.name);
  }
  for (const auto& [name, stored] : sources) {
    const bool is_old_buffer = name.ends_with("position_ids") || name.ends_with("rotary_emb.inv_freq");
    if (!by_name.contains(name) && !is_old_buffer && !ignore_unexpected.match(name))
      info.unexpected_keys.push_back(name);
  }
  for (const auto& name : dropped) {
    if (!ignore_unexpected.match(name)) info.unexpected_keys.push_back(name);
  }
  for (auto* names : {&info.missing_keys, &info.unexpected_keys, &info.mismatched_keys})
    std::sort(names->begin(), names->end());

  if (!info.missing_keys.empty()) {
    warn(concat("the weights at ", options.origin, " lack ", info.missing_keys.size(), " of ", targets.size(),
                " tensors, which start at random: ", listed(info.missing_keys),
                "; train the model before you rely on it"));
  }
  const auto architectures = model.config().architectures.value_or(std::vector<std::string>{});
  const bool is_own = std::any_of(architectures.begin(), architectures.end(),
                                  [&](const auto& name) { return model.name().ends_with(name); });
  if (!info.unexpected_keys.empty() && is_own) {
    warn(concat("the weights at ", options.origin,
                " hold tensors that the model does not use: ", listed(info.unexpected_keys)));
  }
  for (const auto& name : info.mismatched_keys)
    warn(concat(name, " has another shape in the weights at ", options.origin, " and starts at random"));
  return info;
}

void initialise_weights(PreTrainedModel& model, at::ScalarType dtype) {
  at::NoGradGuard no_grad;
  for (const auto& target : targets_of(model)) {
    if (target.tensor.is_floating_point()) Tensor(target.tensor).set_data(target.tensor.to(dtype));
    initialise(target.name, target.tensor);
  }
}

}  // namespace backplane
