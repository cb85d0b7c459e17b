#include "hub/environment.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/log.h"
#include "backplane/base/strings.h"

namespace backplane::hub {
namespace {

HubDefaults& defaults() {
  static HubDefaults value;
  return value;
}

std::string home() {
  if (auto value = environment("HOME")) return *value;
  const passwd* user = ::getpwuid(::getuid());
  return user && user->pw_dir ? user->pw_dir : "/";
}

// "~", "$NAME" and "${NAME}", as Python's expanduser and expandvars; unknown names stay as they are.
std::string expand(std::string path) {
  if (path == "~" || path.starts_with("~/")) path = home() + path.substr(1);
  std::string result;
  for (size_t i = 0; i < path.size();) {
    if (path[i] != '$') {
      result += path[i++];
      continue;
    }
    const bool braced = i + 1 < path.size() && path[i + 1] == '{';
    const size_t begin = i + 1 + braced;
    size_t end = begin;
    while (end < path.size() && (std::isalnum(static_cast<unsigned char>(path[end])) || path[end] == '_')) ++end;
    const size_t next = end + braced;
    const char* value = nullptr;
    if (end > begin && (!braced || (end < path.size() && path[end] == '}')))
      value = std::getenv(path.substr(begin, end - begin).c_str());
    result += value ? std::string(value) : path.substr(i, std::min(next, path.size()) - i);
    i = std::min(next, path.size());
  }
  return result;
}

std::string hub_home() {
  if (auto value = environment("HF_HOME")) return expand(*value);
  return expand(environment("XDG_CACHE_HOME").value_or(home() + "/.cache") + "/huggingface");
}

std::optional<std::string> clean_token(const std::string& text) {
  std::string token;
  for (char c : text) {
    if (c != '\r' && c != '\n') token += c;
  }
  token = trim(token);
  if (token.empty()) return std::nullopt;
  return token;
}

std::optional<std::string> configured_token() {
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    if (auto value = environment(name)) {
      if (auto token = clean_token(*value)) return token;
    }
  }
  const auto named = environment("HF_TOKEN_PATH");
  const std::string path = named ? expand(*named) : hub_home() + "/token";
  if (!file_exists(path)) return std::nullopt;
  return clean_token(read_file(path, 64 << 10));
}

long seconds(const char* name) {
  const auto value = environment(name);
  const long parsed = value ? std::strtol(value->c_str(), nullptr, 10) : 0;
  return parsed > 0 ? std::min(parsed, 3600L) : 10;
}

}  // namespace

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  if (!value || !*value) return std::nullopt;
  return value;
}

bool is_true(const std::optional<std::string>& value) {
  std::string upper = value.value_or("");
  std::transform(upper.begin(), upper.end(), upper.begin(), [](unsigned char c) { return char(std::toupper(c)); });
  return upper == "1" || upper == "ON" || upper == "YES" || upper == "TRUE";
}

std::string default_cache_dir() {
  for (const char* name : {"TRANSFORMERS_CACHE", "PYTORCH_TRANSFORMERS_CACHE", "PYTORCH_PRETRAINED_BERT_CACHE"}) {
    if (auto value = environment(name)) {
      static std::atomic<bool> said = false;
      if (!said.exchange(true)) {
        warn(concat("the environment variable ", name, " is deprecated; set HF_HOME or HF_HUB_CACHE instead"));
      }
      return expand(*value);
    }
  }
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (auto value = environment(name)) return expand(*value);
  }
  if (defaults().cache_dir && !environment("HF_HOME")) return *defaults().cache_dir;
  return hub_home() + "/hub";
}

std::string default_endpoint() {
  std::string endpoint = defaults().endpoint.value_or("https://huggingface.co");
  if (is_true(environment("HUGGINGFACE_CO_STAGING"))) endpoint = "https://hub-ci.huggingface.co";
  if (auto value = environment("HUGGINGFACE_CO_RESOLVE_ENDPOINT")) endpoint = *value;
  if (auto value = environment("HF_ENDPOINT")) endpoint = *value;
  while (endpoint.ends_with('/')) endpoint.pop_back();
  return endpoint;
}

bool offline_by_environment() {
  if (auto value = environment("HF_HUB_OFFLINE")) return is_true(value);
  return is_true(environment("TRANSFORMERS_OFFLINE"));
}

std::optional<std::string> resolve_token(const HubToken& choice) {
  if (const auto* text = std::get_if<std::string>(&choice)) {
    if (text->find_first_of(std::string("\r\n\0", 3)) != std::string::npos) {
      throw Error(ErrorCode::invalid_value,
                  "token holds a line end or a zero byte; expected the text of one access token");
    }
    return clean_token(*text);
  }
  if (const auto* wanted = std::get_if<bool>(&choice)) {
    if (!*wanted) return std::nullopt;
    auto token = configured_token();
    if (!token) {
      throw Error(
          ErrorCode::invalid_value,
          "token=true, but no token is configured; set HF_TOKEN or write it to the file that HF_TOKEN_PATH names");
    }
    return token;
  }
  if (is_true(environment("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) return std::nullopt;
  return configured_token();
}

long etag_timeout() { return seconds("HF_HUB_ETAG_TIMEOUT"); }
long download_timeout() { return seconds("HF_HUB_DOWNLOAD_TIMEOUT"); }

}  // namespace backplane::hub

namespace backplane {

void set_hub_defaults(HubDefaults value) { hub::defaults() = std::move(value); }

}  // namespace backplane
