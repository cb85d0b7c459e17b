#include "backplane/host/embedding.h"

#include <algorithm>
#include <numeric>

namespace backplane {
namespace {

// states [batch, seq, hidden], mask [batch, seq] -> [batch, hidden]
Tensor pool(const Tensor& states, const Tensor& mask, Pooling pooling) {
  switch (pooling) {
    case Pooling::cls:
      return states.select(1, 0);
    case Pooling::last: {
      const Tensor last = (at::arange(mask.size(1)) * mask).argmax(-1);
      return states.index({at::arange(states.size(0)), last});
    }
    case Pooling::mean:
      break;
  }
  const Tensor weights = mask.to(at::kFloat);
  return at::bmm(weights.unsqueeze(1), states).squeeze(1) / weights.sum(1, true).clamp_min(1e-9);
}

}  // namespace

Tensor embed_texts(PreTrainedModel& model, const Tokenizer& tokenizer, const std::vector<std::string>& texts,
                   const EmbeddingOptions& options, std::vector<std::vector<int64_t>>* ids) {
  c10::InferenceMode guard;
  EncodeOptions encode;
  encode.details = false;
  if (tokenizer.model_max_length()) encode.truncation = Truncation::longest_first;
  std::vector<Encoding> encodings(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) encodings[i] = tokenizer.encode(texts[i], encode);
  if (ids) {
    ids->clear();
    for (const auto& encoding : encodings) ids->push_back(encoding.ids);
  }

  std::vector<size_t> order(texts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return encodings[a].size() > encodings[b].size(); });

  const int64_t pad = tokenizer.pad_token_id().value_or(0);
  const auto known = model.arguments();
  const bool takes_types = std::find(known.begin(), known.end(), "token_type_ids") != known.end();
  const auto step = static_cast<size_t>(std::max<int64_t>(1, options.batch_size));
  Tensor result;
  for (size_t begin = 0; begin < order.size(); begin += step) {
    const size_t end = std::min(order.size(), begin + step);
    const auto rows = static_cast<int64_t>(end - begin),
               width = static_cast<int64_t>(std::max<size_t>(1, encodings[order[begin]].size()));
    Tensor input_ids = at::full({rows, width}, pad, at::kLong), mask = at::zeros({rows, width}, at::kLong);
    for (int64_t row = 0; row < rows; ++row) {
      const auto& own = encodings[order[begin + static_cast<size_t>(row)]].ids;
      std::copy(own.begin(), own.end(), input_ids.mutable_data_ptr<int64_t>() + row * width);
      std::fill_n(mask.mutable_data_ptr<int64_t>() + row * width, own.size(), 1);
    }
    ModelInputs inputs{{"input_ids", input_ids}, {"attention_mask", mask}};
    if (takes_types) inputs.set("token_type_ids", at::zeros_like(input_ids));
    Tensor vectors = pool(model.forward(inputs)["last_hidden_state"].to(at::kFloat), mask, options.pooling);
    if (options.normalize) vectors = vectors / vectors.norm(2, -1, true).clamp_min(1e-12);
    if (!result.defined()) result = at::empty({static_cast<int64_t>(texts.size()), vectors.size(1)});
    for (int64_t row = 0; row < rows; ++row)
      result[static_cast<int64_t>(order[begin + static_cast<size_t>(row)])].copy_(vectors[row]);
  }
  return result;
}

}  // namespace backplane
