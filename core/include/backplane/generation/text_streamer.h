#pragma once

#include <memory>
#include <ostream>
#include <utility>
#include <vector>

#include "backplane/generation/generate.h"
#include "backplane/text/tokenizer.h"

namespace backplane {

/// Writes the text of the first row to a stream, flushed, as soon as its characters are complete. The stream has to
/// live as long as the streamer. One thread at a time.
class TextStreamer : public TokenStreamer {
 public:
  TextStreamer(std::shared_ptr<const Tokenizer> tokenizer, std::ostream& out, bool skip_special_tokens = true)
      : stream_(std::move(tokenizer), skip_special_tokens), out_(out) {}

  bool put(const std::vector<int64_t>& ids) override {
    if (const auto text = stream_.step(ids.front())) out_ << *text << std::flush;
    return static_cast<bool>(out_);
  }
  void end() override { out_ << stream_.finish() << std::flush; }

 private:
  DecodeStream stream_;
  std::ostream& out_;
};

}  // namespace backplane
