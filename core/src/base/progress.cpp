#include "backplane/base/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "backplane/base/strings.h"

namespace backplane {
namespace {

constexpr size_t kNameWidth = 28;
constexpr size_t kMaxActive = 8;

bool drawable(std::FILE* stream) {
  const char* disabled = std::getenv("HF_HUB_DISABLE_PROGRESS_BARS");
  const std::string_view value = disabled ? disabled : "";
  return ::isatty(::fileno(stream)) && (value.empty() || value == "0");
}

size_t terminal_width(std::FILE* stream) {
  winsize size{};
  return ::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

// Names come from the hub: a control character must not reach the terminal.
std::string printable(const std::string& name) {
  std::string text = name.size() > kNameWidth ? "..." + name.substr(name.size() - kNameWidth + 3) : name;
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  text.resize(kNameWidth, ' ');
  return text;
}

std::string line(const std::string& name, uint64_t done, uint64_t total, double rate, size_t width) {
  std::string right = total ? concat(" ", format_bytes(double(done)), "/", format_bytes(double(total)))
                            : concat(" ", format_bytes(double(done)));
  if (rate > 0) right += concat(" ", format_bytes(rate), "/s");
  if (rate > 0 && total > done) right += concat(" ", format_seconds(double(total - done) / rate), " left");
  std::string left = name;
  if (total) {
    const double share = std::min(1.0, double(done) / double(total));
    const std::string percent = concat(int(share * 100), "%");
    left += std::string(5 - percent.size(), ' ') + percent;
    const size_t used = left.size() + right.size() + 3;
    if (width > used + 8) {
      const size_t cells = std::min<size_t>(width - used, 40);
      const auto full = static_cast<size_t>(share * double(cells));
      left += " [" + std::string(full, '#') + std::string(cells - full, '.') + "]";
    }
  }
  return (left + right).substr(0, width);
}

}  // namespace

std::string format_bytes(double bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < std::size(kUnits)) {
    bytes /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit > 0 && bytes < 99.95 ? "%.1f %s" : "%.0f %s", bytes, kUnits[unit]);
  return text;
}

std::string format_seconds(double seconds) {
  const long whole = std::lround(std::clamp(seconds, 0.0, 359999.0));
  char text[32];
  if (whole >= 3600) {
    std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
  } else {
    std::snprintf(text, sizeof text, "%ld:%02ld", whole / 60, whole % 60);
  }
  return text;
}

ProgressBars::ProgressBars(std::FILE* stream) : stream_(stream), visible_(drawable(stream)) {}

ProgressBars::~ProgressBars() {
  std::lock_guard lock(mutex_);
  if (drawn_lines_ > 0) draw(true);
}

double ProgressBars::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
}

void ProgressBars::expect(size_t count) {
  std::lock_guard lock(mutex_);
  expected_ = count;
}

size_t ProgressBars::add(const std::string& name, uint64_t total, uint64_t done) {
  std::lock_guard lock(mutex_);
  bars_.push_back({.name = name, .total = total, .done = done, .begin = seconds()});
  draw(false);
  return bars_.size() - 1;
}

void ProgressBars::advance(size_t bar, int64_t bytes) {
  std::lock_guard lock(mutex_);
  Bar& b = bars_[bar];
  b.done = static_cast<uint64_t>(std::max<int64_t>(0, static_cast<int64_t>(b.done) + bytes));
  if (bytes > 0) b.fetched += static_cast<uint64_t>(bytes);
  draw(false);
}

void ProgressBars::finish(size_t bar) {
  std::lock_guard lock(mutex_);
  bars_[bar].active = false;
  draw(false);
}

std::vector<std::string> ProgressBars::lines(size_t width, double seconds) const {
  std::vector<std::string> result;
  uint64_t done = 0, total = 0, fetched = 0;
  size_t finished = 0;
  for (const Bar& bar : bars_) {
    done += bar.done;
    total += std::max(bar.total, bar.done);
    fetched += bar.fetched;
    finished += !bar.active;
    if (!bar.active || result.size() >= kMaxActive) continue;
    const double elapsed = seconds - bar.begin;
    result.push_back(
        line(printable(bar.name), bar.done, bar.total, elapsed > 0 ? double(bar.fetched) / elapsed : 0, width));
  }
  const size_t count = std::max(expected_, bars_.size());
  result.push_back(line(printable(concat(finished, "/", count, count == 1 ? " file" : " files")), done, total,
                        seconds > 0 ? double(fetched) / seconds : 0, width));
  return result;
}

void ProgressBars::draw(bool last) {
  if (!visible_) return;
  const double now = seconds();
  if (!last && drawn_at_ >= 0 && now - drawn_at_ < 0.1) return;
  drawn_at_ = now;
  auto text = lines(terminal_width(stream_), now);
  if (last) text.erase(text.begin(), text.end() - 1);
  std::string out = drawn_lines_ ? concat("\x1b[", drawn_lines_, "A\x1b[J") : std::string();
  for (const auto& row : text) out += row + "\n";
  std::fwrite(out.data(), 1, out.size(), stream_);
  std::fflush(stream_);
  drawn_lines_ = text.size();
}

}  // namespace backplane
