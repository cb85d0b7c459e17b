#include "generation/beam_search.h"

#include <algorithm>
#include <cmath>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

constexpr double kHopeless = -1e9;

// Some sequences of each member of the batch.
struct Beams {
  Tensor ids;      // [batch, n, length]
  Tensor scores;   // [batch, n]
  Tensor made;     // new tokens of each, [batch, n]
  Tensor is_done;  // bool [batch, n]

  // The sequences that order [batch, m] names.
  Beams select(const Tensor& order) const {
    return {ids.take_along_dim(order.unsqueeze(-1), 1), scores.gather(1, order), made.gather(1, order),
            is_done.gather(1, order)};
  }
};

Tensor best(const Tensor& scores, int64_t count) { return std::get<1>(scores.topk(count, 1)); }

Beams joined(const Beams& a, const Beams& b) {
  return {at::cat({a.ids, b.ids}, 1), at::cat({a.scores, b.scores}, 1), at::cat({a.made, b.made}, 1),
          at::cat({a.is_done, b.is_done}, 1)};
}

class BeamSearch {
 public:
  BeamSearch(Stepper& stepper, const Tensor& prompt, const SearchSettings& settings,
             const LogitsProcessorList& processors, const StoppingCriteria& stopping)
      : stepper_(stepper),
        settings_(settings),
        processors_(processors),
        stopping_(stopping),
        batch_(prompt.size(0)),
        beams_(settings.num_beams),
        prompt_length_(prompt.size(1)),
        // Enough to go on with, should all of the best end here.
        kept_(std::max<int64_t>(2, 1 + static_cast<int64_t>(stopping.eos.size())) * settings.num_beams) {
    // The reference takes an end token for filling where the padding id is 0, too.
    fill_ = stopping.eos.empty() ? -1 : settings.pad.value_or(0) != 0 ? *settings.pad : stopping.eos.front();
    const Tensor ids = prompt.unsqueeze(1).repeat({1, beams_, 1});
    const Tensor none = at::zeros({batch_, beams_}, at::kLong);
    running_ = {ids, at::full({batch_, beams_}, kHopeless, at::kFloat), none, none.to(at::kBool)};
    running_.scores.select(1, 0).zero_();  // all beams are alike at first
    finished_ = {ids, at::full({batch_, beams_}, kHopeless, at::kFloat), none, none.to(at::kBool)};
  }

  GenerateResult run() {
    GenerateResult result;
    Tensor logits = stepper_.next(running_.ids.select(1, 0)).repeat_interleave(beams_, 0);
    stepper_.expand(beams_);
    for (int64_t length = prompt_length_;; ++length) {
      result.last_logits = logits;
      auto [candidates, origins] = continuations(logits);
      const bool exhausted = stopping_.exhausted(length + 1);
      Tensor ended = stopping_.ended(candidates.ids.flatten(0, 1)).view({batch_, kept_});
      if (exhausted) ended.fill_(true);

      const Tensor open_scores = candidates.scores + ended * kHopeless;
      const Tensor order = best(open_scores, beams_);
      keep_finished(candidates, ended, length + 1 - prompt_length_);
      running_ = candidates.select(order);
      running_.scores = open_scores.gather(1, order);
      if (!goes_on(length + 1 - prompt_length_, ended)) break;
      stepper_.reorder((origins.gather(1, order) + at::arange(batch_).unsqueeze(1) * beams_).flatten());
      logits = stepper_.next(running_.ids.flatten(0, 1));
    }
    const int64_t count = settings_.num_return_sequences;
    const int64_t made = finished_.made.slice(1, 0, count).max().item<int64_t>();
    result.sequences = finished_.ids.slice(1, 0, count).flatten(0, 1).slice(1, 0, prompt_length_ + made).clone();
    result.sequences_scores = finished_.scores.slice(1, 0, count).flatten().clone();
    result.stopped = finished_.is_done.slice(1, 0, count).all().item<bool>();
    return result;
  }

 private:
  // The best `kept_` sequences of one token more, and the beam that each continues. Logits [batch * beams, vocab].
  std::pair<Beams, Tensor> continuations(const Tensor& logits) const {
    const Tensor ids = running_.ids.flatten(0, 1);
    Tensor log_probs = at::log_softmax(logits, -1);
    for (const auto& processor : processors_) log_probs = processor(ids, log_probs);
    const int64_t vocab = log_probs.size(1);
    log_probs = (log_probs.view({batch_, beams_, vocab}) + running_.scores.unsqueeze(-1)).flatten(1);
    if (kept_ > log_probs.size(1)) {
      throw Error(ErrorCode::invalid_value,
                  concat("a step of ", beams_, " beams with ", stopping_.eos.size(), " end tokens needs ", kept_,
                         " continuations; ", vocab, " tokens give ", log_probs.size(1)));
    }
    Tensor chosen, scores;
    if (settings_.do_sample) {
      chosen = at::multinomial(at::softmax(log_probs, -1), kept_, false, settings_.generator);
      scores = log_probs.gather(1, chosen);
    } else {
      std::tie(scores, chosen) = log_probs.topk(kept_, 1);
    }
    const Tensor origins = at::floor_divide(chosen, vocab);
    Beams candidates = running_.select(origins);
    candidates.scores = scores;
    candidates.made = candidates.made + 1;
    candidates.ids = at::cat({candidates.ids, (chosen % vocab).unsqueeze(-1)}, 2);
    return {candidates, origins};
  }

  // Puts candidates that ended among the finished, the best of both; only the first num_beams of them may.
  void keep_finished(const Beams& candidates, const Tensor& ended, int64_t made) {
    Beams complete = candidates;
    complete.is_done = ended.clone();
    complete.is_done.slice(1, beams_).fill_(false);
    complete.scores = candidates.scores / std::pow(static_cast<double>(made), settings_.length_penalty);
    if (settings_.early_stopping) complete.scores = complete.scores + finished_.is_done.all(1, true) * kHopeless;
    complete.scores = complete.scores + complete.is_done.logical_not() * kHopeless;
    finished_.ids = at::cat({finished_.ids, at::full({batch_, beams_, 1}, fill_, at::kLong)}, 2);
    const Beams all = joined(finished_, complete);
    finished_ = all.select(best(all.scores, beams_));
  }

  bool goes_on(int64_t made, const Tensor& ended) const {
    const bool longest = settings_.until_hopeless && settings_.length_penalty > 0;
    const double length = static_cast<double>(longest ? stopping_.max_length - prompt_length_ : made);
    const Tensor hoped = running_.scores.slice(1, 0, 1) / std::pow(length, settings_.length_penalty);
    const Tensor worst = at::where(finished_.is_done, finished_.scores.amin(1, true),
                                   at::full({}, kHopeless, finished_.scores.options()));
    const bool improvable = (hoped > worst).any().item<bool>();
    const bool open = !(settings_.early_stopping && finished_.is_done.all().item<bool>());
    return improvable && open && !ended.all().item<bool>();
  }

  Stepper& stepper_;
  const SearchSettings& settings_;
  const LogitsProcessorList& processors_;
  const StoppingCriteria& stopping_;
  int64_t batch_, beams_, prompt_length_, kept_;
  int64_t fill_ = -1;
  Beams running_, finished_;
};

}  // namespace

GenerateResult beam_search(Stepper& stepper, const Tensor& prompt, const SearchSettings& settings,
                           const LogitsProcessorList& processors, const StoppingCriteria& stopping) {
  return BeamSearch(stepper, prompt, settings, processors, stopping).run();
}

}  // namespace backplane
