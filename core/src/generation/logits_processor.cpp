#include "backplane/generation/logits_processor.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

// A mask over the vocabulary with the ids that it has. [vocab]
Tensor vocabulary_mask(const std::vector<int64_t>& ids, int64_t vocab) {
  Tensor mask = at::zeros({vocab}, at::kBool);
  for (const int64_t id : ids) {
    if (id >= 0 && id < vocab) mask[id] = true;
  }
  return mask;
}

void check_id(const char* key, int64_t id, int64_t vocab) {
  if (id < 0 || id >= vocab)
    throw Error(ErrorCode::invalid_value, concat(key, " names the token ", id, "; the model has ", vocab, " tokens"));
}

std::vector<int64_t> row_of(const Tensor& ids, int64_t row) {
  const Tensor line = ids[row].contiguous();
  return {line.const_data_ptr<int64_t>(), line.const_data_ptr<int64_t>() + line.size(0)};
}

// Keskar et al. 2019, https://arxiv.org/abs/1909.05858: scores of ids that occurred are divided by the penalty, or
// multiplied where they are negative.
Tensor penalised(const Tensor& scores, const Tensor& ids, double penalty) {
  const Tensor seen = scores.gather(1, ids);
  return scores.scatter(1, ids, at::where(seen < 0, seen * penalty, seen / penalty));
}

// Bans each token that would complete an n-gram of `source` once more.
void ban_ngrams(Tensor scores, const std::vector<int64_t>& source, const std::vector<int64_t>& ids, int64_t n) {
  const auto prefix = static_cast<size_t>(n - 1);
  if (ids.size() < prefix) return;
  const auto last = ids.end() - static_cast<std::ptrdiff_t>(prefix);
  for (size_t i = 0; i + prefix < source.size(); ++i) {
    if (!std::equal(last, ids.end(), source.begin() + static_cast<std::ptrdiff_t>(i))) continue;
    check_id("no_repeat_ngram_size", source[i + prefix], scores.size(0));
    scores[source[i + prefix]] = kNever;
  }
}

LogitsProcessor no_repeat_ngram(int64_t n) {
  return [n](const Tensor& ids, const Tensor& scores) {
    Tensor changed = scores.clone();
    for (int64_t row = 0; row < ids.size(0); ++row) {
      const auto line = row_of(ids, row);
      ban_ngrams(changed[row], line, line, n);
    }
    return changed;
  };
}

LogitsProcessor encoder_no_repeat_ngram(int64_t n, const Tensor& encoder_ids) {
  return [n, encoder_ids](const Tensor& ids, const Tensor& scores) {
    Tensor changed = scores.clone();
    const int64_t copies = ids.size(0) / encoder_ids.size(0);
    for (int64_t row = 0; row < ids.size(0); ++row)
      ban_ngrams(changed[row], row_of(encoder_ids, row / copies), row_of(ids, row), n);
    return changed;
  };
}

struct Bias {
  std::vector<int64_t> ids;
  double value;
};

// Adds a bias to the token that would complete a sequence.
LogitsProcessor sequence_bias(std::vector<Bias> biases, const char* key) {
  return [biases = std::move(biases), key](const Tensor& ids, const Tensor& scores) {
    Tensor bias = at::zeros_like(scores);
    for (const auto& [sequence, value] : biases) {
      for (const int64_t id : sequence) check_id(key, id, scores.size(1));
      const auto prefix = static_cast<int64_t>(sequence.size()) - 1;
      if (prefix > 0 && prefix + 1 > ids.size(1)) continue;
      Tensor completed = bias.select(1, sequence.back());
      if (prefix == 0) {
        completed += value;
        continue;
      }
      const Tensor start = at::tensor(std::vector<int64_t>(sequence.begin(), sequence.end() - 1));
      const Tensor matches = (ids.slice(1, -prefix) == start).all(1);
      completed += at::where(matches, at::full({}, value, scores.options()), at::zeros({}, scores.options()));
    }
    return scores + bias;
  };
}

std::vector<Bias> biases_of(const Value& setting) {
  std::vector<Bias> biases;
  for (const auto& pair : setting.as_list()) {
    const auto& parts = pair.as_list();
    if (parts.size() != 2 || parts[0].as_int_list().empty()) {
      throw Error(ErrorCode::invalid_value,
                  concat("sequence_bias has the element ", pair.to_string(), "; expected [[token ids], bias]"));
    }
    biases.push_back({parts[0].as_int_list(), parts[1].as_double()});
  }
  return biases;
}

std::vector<Bias> bad_words_of(const GenerationConfig& config, const std::vector<int64_t>& eos) {
  std::vector<Bias> biases;
  for (const auto& word : config.bad_words_ids.as_list()) {
    const auto ids = word.as_int_list();
    const bool is_end = ids.size() == 1 && std::find(eos.begin(), eos.end(), ids[0]) != eos.end();
    if (!ids.empty() && !is_end) biases.push_back({ids, kNever});
  }
  return biases;
}

LogitsProcessor ban_before(std::vector<int64_t> tokens, int64_t length) {
  return [tokens = std::move(tokens), length](const Tensor& ids, const Tensor& scores) {
    if (ids.size(1) >= length) return scores;
    return scores.masked_fill(vocabulary_mask(tokens, scores.size(1)), kNever);
  };
}

LogitsProcessor force_at(const char* key, std::vector<int64_t> tokens, int64_t length) {
  return [key, tokens = std::move(tokens), length](const Tensor& ids, const Tensor& scores) {
    if (ids.size(1) != length) return scores;
    for (const int64_t id : tokens) check_id(key, id, scores.size(1));
    return at::full_like(scores, kNever).masked_fill(vocabulary_mask(tokens, scores.size(1)), 0);
  };
}

LogitsProcessor suppress(std::vector<int64_t> tokens, std::optional<int64_t> only_at) {
  return [tokens = std::move(tokens), only_at](const Tensor& ids, const Tensor& scores) {
    if (only_at && ids.size(1) != *only_at) return scores;
    return scores.masked_fill(vocabulary_mask(tokens, scores.size(1)), kNever);
  };
}

Tensor without_invalid(const Tensor&, const Tensor& scores) {
  return at::nan_to_num(scores, 0.0, std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest());
}

LogitsProcessor exponential_decay(const Value& setting, const LogitsContext& context) {
  const auto& parts = setting.as_list();
  if (parts.size() != 2) {
    throw Error(ErrorCode::invalid_value,
                concat("exponential_decay_length_penalty is ", setting.to_string(), "; expected [start, factor]"));
  }
  const int64_t start = parts[0].as_int() + context.prompt_length;
  return [start, factor = parts[1].as_double(), eos = context.eos](const Tensor& ids, const Tensor& scores) {
    const int64_t late = ids.size(1) - start;
    if (late <= 0) return scores;
    const Tensor raised = scores + scores.abs() * (std::pow(factor, static_cast<double>(late)) - 1);
    return at::where(vocabulary_mask(eos, scores.size(1)), raised, scores);
  };
}

// Fan et al. 2018, https://arxiv.org/abs/1805.04833.
LogitsProcessor top_k(int64_t k) {
  return [k](const Tensor&, const Tensor& scores) {
    const int64_t kept = std::min(k, scores.size(1));
    const Tensor smallest = std::get<0>(scores.topk(kept, -1)).slice(1, kept - 1);
    return scores.masked_fill(scores < smallest, kNever);
  };
}

// Holtzman et al. 2019, https://arxiv.org/abs/1904.09751.
LogitsProcessor top_p(double p, int64_t keep) {
  return [p, keep](const Tensor&, const Tensor& scores) {
    const auto [sorted, order] = scores.sort(-1, false);
    Tensor remove = at::softmax(sorted, -1).cumsum(-1) <= 1 - p;
    remove.slice(1, -keep).fill_(false);
    return scores.masked_fill(remove.scatter(1, order, remove), kNever);
  };
}

// Nguyen et al. 2024, https://arxiv.org/abs/2407.01082.
LogitsProcessor min_p(double p, int64_t keep) {
  return [p, keep](const Tensor&, const Tensor& scores) {
    const Tensor probs = at::softmax(scores, -1);
    const Tensor unlikely = probs < p * probs.amax(-1, true);
    const Tensor order = scores.argsort(-1, true);
    Tensor remove = unlikely.gather(1, order);
    remove.slice(1, 0, keep).fill_(false);
    return scores.masked_fill(remove.scatter(1, order, remove), kNever);
  };
}

// Meister et al. 2022, https://arxiv.org/abs/2202.00666.
LogitsProcessor typical(double mass, int64_t keep) {
  return [mass, keep](const Tensor&, const Tensor& scores) {
    const Tensor log_probs = at::log_softmax(scores, -1);
    const Tensor entropy = -(log_probs * log_probs.exp()).nansum(-1, true);
    const auto [distance, order] = (-log_probs - entropy).abs().sort(-1, false);
    const Tensor reached = at::softmax(scores.gather(-1, order), -1).cumsum(-1);
    const Tensor last = (reached < mass).sum(1, true).clamp_max(scores.size(1) - 1);
    Tensor remove = distance > distance.gather(1, last);
    remove.slice(1, 0, keep).fill_(false);
    return scores.masked_fill(remove.scatter(1, order, remove), kNever);
  };
}

// Drops what is less likely than the threshold [rows, 1], save the `keep` likeliest.
Tensor cut_off(const Tensor& scores, const Tensor& probs, const Tensor& threshold, int64_t keep) {
  const int64_t kept = std::min(keep, scores.size(1));
  const Tensor smallest = std::get<0>(scores.topk(kept, -1)).slice(1, kept - 1);
  return scores.masked_fill((probs < threshold).logical_and(scores < smallest), kNever);
}

// Hewitt et al. 2022, https://arxiv.org/abs/2210.15191: epsilon and eta sampling.
LogitsProcessor epsilon(double cutoff, int64_t keep) {
  return [cutoff, keep](const Tensor&, const Tensor& scores) {
    const Tensor probs = at::softmax(scores, -1);
    return cut_off(scores, probs, at::full({1, 1}, cutoff, scores.options()), keep);
  };
}

LogitsProcessor eta(double cutoff, int64_t keep) {
  return [cutoff, keep](const Tensor&, const Tensor& scores) {
    const Tensor probs = at::softmax(scores, -1);
    // Minus infinity times probability 0 counts as nothing.
    const Tensor log_probs = at::log_softmax(scores, -1).clamp_min(std::numeric_limits<float>::lowest());
    const Tensor entropy = -(log_probs * probs).sum(-1, true);
    const Tensor limit = at::full({}, cutoff, scores.options());
    return cut_off(scores, probs, at::minimum(limit, limit.sqrt() * (-entropy).exp()), keep);
  };
}

void add_filters(LogitsProcessorList& list, const GenerationConfig& c, const LogitsContext& context) {
  // A beam needs a token that is no end to go on with.
  const int64_t keep = c.num_beams.value_or(1) <= 1 ? 1
                       : context.eos.empty()        ? 2
                                                    : static_cast<int64_t>(context.eos.size()) + 1;
  if (const double t = c.temperature.value_or(1); t != 1)
    list.push_back([t](const Tensor&, const Tensor& scores) { return scores / t; });
  if (const int64_t k = c.top_k.value_or(0); k != 0) list.push_back(top_k(std::max(k, keep)));
  if (const double p = c.top_p.value_or(1); p < 1) list.push_back(top_p(p, keep));
  if (c.min_p) list.push_back(min_p(*c.min_p, keep));
  if (const double p = c.typical_p.value_or(1); p < 1) list.push_back(typical(p, keep));
  if (const double cutoff = c.epsilon_cutoff.value_or(0); cutoff > 0) list.push_back(epsilon(cutoff, keep));
  if (const double cutoff = c.eta_cutoff.value_or(0); cutoff > 0) list.push_back(eta(cutoff, keep));
}

}  // namespace

LogitsProcessorList make_logits_processors(const GenerationConfig& c, const LogitsContext& context,
                                           const LogitsProcessorList& own) {
  c.check_ranges();
  LogitsProcessorList list;
  const Tensor& encoder_ids = context.encoder_input_ids;
  if (!c.sequence_bias.is_null()) list.push_back(sequence_bias(biases_of(c.sequence_bias), "sequence_bias"));
  if (const double penalty = c.encoder_repetition_penalty.value_or(1); penalty != 1 && encoder_ids.defined()) {
    list.push_back([penalty, encoder_ids](const Tensor& ids, const Tensor& scores) {
      return penalised(scores, encoder_ids.repeat_interleave(ids.size(0) / encoder_ids.size(0), 0), 1 / penalty);
    });
  }
  if (const double penalty = c.repetition_penalty.value_or(1); penalty != 1) {
    list.push_back([penalty](const Tensor& ids, const Tensor& scores) { return penalised(scores, ids, penalty); });
  }
  if (const int64_t n = c.no_repeat_ngram_size.value_or(0); n > 0) list.push_back(no_repeat_ngram(n));
  if (const int64_t n = c.encoder_no_repeat_ngram_size.value_or(0); n > 0 && encoder_ids.defined())
    list.push_back(encoder_no_repeat_ngram(n, encoder_ids));
  if (!c.bad_words_ids.is_null()) list.push_back(sequence_bias(bad_words_of(c, context.eos), "bad_words_ids"));
  if (const int64_t length = c.min_length.value_or(0); length > 0 && !context.eos.empty())
    list.push_back(ban_before(context.eos, length));
  if (const int64_t count = c.min_new_tokens.value_or(0); count > 0 && !context.eos.empty())
    list.push_back(ban_before(context.eos, context.prompt_length + count));
  if (c.forced_bos_token_id) list.push_back(force_at("forced_bos_token_id", {*c.forced_bos_token_id}, 1));
  if (!c.forced_eos_token_id.is_null())
    list.push_back(force_at("forced_eos_token_id", c.forced_eos_token_id.as_int_list(), context.max_length - 1));
  if (c.remove_invalid_values) list.push_back(without_invalid);
  if (!c.exponential_decay_length_penalty.is_null())
    list.push_back(exponential_decay(c.exponential_decay_length_penalty, context));
  if (!c.suppress_tokens.is_null()) list.push_back(suppress(c.suppress_tokens.as_int_list(), std::nullopt));
  if (!c.begin_suppress_tokens.is_null()) {
    const bool forced = context.prompt_length <= 1 && c.forced_bos_token_id.has_value();
    list.push_back(suppress(c.begin_suppress_tokens.as_int_list(), context.prompt_length + (forced ? 1 : 0)));
  }
  list.insert(list.end(), own.begin(), own.end());
  if (c.do_sample) add_filters(list, c, context);
  if (c.renormalize_logits)
    list.push_back([](const Tensor&, const Tensor& scores) { return at::log_softmax(scores, -1); });
  return list;
}

}  // namespace backplane
