#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <boost/filesystem.hpp>
#include <catch2/catch.hpp>
#include <chrono>
#include <optional>
#include <random>
#include <string>

#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/strings.h"
#include "backplane/hub/hub.h"
#include "fake_hub.h"

namespace backplane {

namespace fs = boost::filesystem;

/// A folder that goes with the test.
struct TemporaryFolder {
  std::string path;
  TemporaryFolder() {
    std::string name = "/tmp/backplane-hub-XXXXXX";
    path = ::mkdtemp(name.data());
  }
  ~TemporaryFolder() {
    boost::system::error_code error;
    fs::remove_all(path, error);
  }
};

/// Sets a variable while it lives.
struct Variable {
  std::string name;
  std::optional<std::string> before;
  Variable(std::string variable, const char* value) : name(std::move(variable)) {
    if (const char* old = ::getenv(name.c_str())) before = old;
    value ? ::setenv(name.c_str(), value, 1) : ::unsetenv(name.c_str());
  }
  ~Variable() { before ? ::setenv(name.c_str(), before->c_str(), 1) : ::unsetenv(name.c_str()); }
};

/// A hub, an empty cache, and an environment that says nothing else.
struct HubFixture {
  FakeHub hub;
  TemporaryFolder folder;
  std::string cache = folder.path + "/hub";
  Variable offline{"HF_HUB_OFFLINE", nullptr}, offline2{"TRANSFORMERS_OFFLINE", nullptr},
      endpoint{"HF_ENDPOINT", hub.endpoint().c_str()};
  Variable home{"HF_HOME", folder.path.c_str()}, token{"HF_TOKEN", nullptr}, token2{"HUGGING_FACE_HUB_TOKEN", nullptr},
      token_path{"HF_TOKEN_PATH", nullptr};
  Variable cache1{"HF_HUB_CACHE", nullptr}, cache2{"HUGGINGFACE_HUB_CACHE", nullptr},
      cache3{"TRANSFORMERS_CACHE", nullptr};
  Variable proxy{"http_proxy", nullptr}, proxy2{"all_proxy", nullptr}, proxy3{"ALL_PROXY", nullptr};

  std::string repo_path(const std::string& rest = "") const {
    return cache + "/models--org--name" + (rest.empty() ? "" : "/" + rest);
  }
};

inline std::string random_bytes(size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::string bytes(count, '\0');
  for (char& c : bytes) c = static_cast<char>(generator());
  return bytes;
}

inline std::string contents(const std::string& path) { return read_file(path, UINT64_MAX); }

/// The code and text of the Error that `call` throws.
template <class Call>
std::pair<std::string, std::string> error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return {std::string(to_string(error.code())), error.what()};
  }
  return {"no error", ""};
}

template <class Call>
double seconds_of(Call call) {
  const auto begin = std::chrono::steady_clock::now();
  call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

inline size_t files_in(const std::string& folder) {
  size_t count = 0;
  if (!fs::exists(folder)) return 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) count += !fs::is_directory(entry.path());
  return count;
}

}  // namespace backplane
