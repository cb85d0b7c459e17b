#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <string>
#include <vector>

namespace backplane {

/// Bars for transfers that run side by side: one line for each that is under way and one for all of them, with share,
/// size, rate and time left. Draws at most ten times a second, and nothing at all where the stream is no terminal or
/// HF_HUB_DISABLE_PROGRESS_BARS is set. Thread-safe.
class ProgressBars {
 public:
  explicit ProgressBars(std::FILE* stream = stderr);
  /// Leaves the line of the sum standing.
  ~ProgressBars();
  ProgressBars(const ProgressBars&) = delete;
  ProgressBars& operator=(const ProgressBars&) = delete;

  /// How many transfers there will be, for the "3/12 files" of the last line.
  void expect(size_t count);
  /// A new bar at `done` of `total` bytes (0: not known); returns its number. `done` does not count towards the rate.
  size_t add(const std::string& name, uint64_t total, uint64_t done = 0);
  /// Bytes that came; negative where a transfer starts again.
  void advance(size_t bar, int64_t bytes);
  /// The transfer ended; its line goes.
  void finish(size_t bar);

  /// What would be drawn in `width` columns, `seconds` after the first bar began.
  std::vector<std::string> lines(size_t width, double seconds) const;

 private:
  struct Bar {
    std::string name;
    uint64_t total = 0;
    uint64_t done = 0;
    uint64_t fetched = 0;
    double begin = 0;
    bool active = true;
  };
  double seconds() const;
  void draw(bool last);

  mutable std::mutex mutex_;
  std::FILE* stream_;
  bool visible_;
  std::vector<Bar> bars_;
  size_t expected_ = 0;
  size_t drawn_lines_ = 0;
  double drawn_at_ = -1;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

/// 1536 -> "1.5 kB"; powers of 1000, as the hub counts.
std::string format_bytes(double bytes);
/// 75 -> "1:15", 3700 -> "1:01:40"
std::string format_seconds(double seconds);

}  // namespace backplane
