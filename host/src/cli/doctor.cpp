#include "cli/doctor.h"

#include <unistd.h>

#include <boost/filesystem.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <thread>

#include "backplane/base/json.h"
#include "backplane/base/strings.h"
#include "backplane/base/version.h"
#include "backplane/host/plugin_host.h"
#include "backplane/host/settings.h"
#include "backplane/hub/hub.h"

namespace backplane::cli {
namespace {

namespace fs = boost::filesystem;

std::string first_of_file(const char* path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key)) return std::string(trim(std::string_view(line).substr(line.find(':') + 1)));
  }
  return "unknown";
}

std::string instruction_sets() {
  std::vector<std::string> names;
#ifdef __x86_64__
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) names.push_back("AVX2");
  if (__builtin_cpu_supports("fma")) names.push_back("FMA");
  if (__builtin_cpu_supports("avx512f")) names.push_back("AVX-512");
  if (__builtin_cpu_supports("avx512bf16")) names.push_back("BF16");
  if (__builtin_cpu_supports("avx512vnni")) names.push_back("VNNI");
#endif
  return names.empty() ? "the base set only" : join(names);
}

std::vector<DoctorRow> rows() {
  std::vector<DoctorRow> rows;
  rows.push_back({"backplane", concat(BACKPLANE_VERSION, ", follows transformers ", kReferenceVersion)});
  rows.push_back({"processor", first_of_file("/proc/cpuinfo", "model name")});
  const std::string sets = instruction_sets();
  rows.push_back({"instruction sets", sets,
                  sets.find("AVX2") == std::string::npos ? "without AVX2 everything works, several times slower" : ""});
  rows.push_back({"cores", std::to_string(std::thread::hardware_concurrency())});
  rows.push_back({"memory", concat(first_of_file("/proc/meminfo", "MemTotal"), ", available ",
                                   first_of_file("/proc/meminfo", "MemAvailable"))});

  const Settings settings = load_settings();
  rows.push_back({"settings", settings.files.empty() ? "no backplane.yaml" : join(settings.files)});
  rows.push_back({"trust", std::string(to_string(settings.trust))});
  auto& host = PluginHost::process();
  size_t usable = 0;
  std::vector<std::string> broken;
  for (const auto& record : host.list()) {
    if (record.usable()) {
      ++usable;
    } else {
      broken.push_back(concat(record.path, " (", record.reason, ")"));
    }
  }
  rows.push_back({"plugins", concat(usable, " usable in ", join(host.searched())),
                  usable == 0 ? "install plugins there, or set BACKPLANE_PLUGIN_PATH" : ""});
  for (const auto& reason : broken)
    rows.push_back({"plugin refused", reason, "see 'backplane plugins why MODEL_TYPE'"});

  const std::string cache = HubCache().folder();
  const fs::path existing = [&] {
    fs::path path = cache;
    while (!path.empty() && !fs::exists(path)) path = path.parent_path();
    return path;
  }();
  const bool writable = ::access(existing.c_str(), W_OK) == 0;
  boost::system::error_code error;
  const auto space = fs::space(existing, error);
  rows.push_back({"hub cache", concat(cache, error ? "" : concat(", ", space.available / 1000000000, " GB free")),
                  writable ? "" : "the folder cannot be written: nothing can be downloaded; set HF_HOME to another"});
  return rows;
}

}  // namespace

void add_doctor(CLI::App& app, std::function<std::vector<DoctorRow>()> tensor_rows) {
  auto* verb = app.add_subcommand("doctor", "Look at this machine and installation, and say what mends what is wrong");
  auto json = std::make_shared<bool>(false);
  auto quick = std::make_shared<bool>(false);
  verb->add_flag("--quick", *quick, "without libtorch");
  verb->add_flag("--json", *json, "machine-readable output");
  verb->callback([json, quick, tensor_rows] {
    auto report = rows();
    if (tensor_rows && !*quick) {
      const auto more = tensor_rows();
      report.insert(report.end(), more.begin(), more.end());
    }
    Json list = Json::array();
    for (const auto& row : report) {
      if (*json) {
        list.push_back(
            {{"what", row.what}, {"found", row.found}, {"remedy", row.remedy.empty() ? Json() : Json(row.remedy)}});
        continue;
      }
      std::printf("%-22s %s\n", row.what.c_str(), row.found.c_str());
      if (!row.remedy.empty()) std::printf("%-22s -> %s\n", "", row.remedy.c_str());
    }
    if (*json) std::cout << python_dumps({{"report", list}}) << std::endl;
  });
}

}  // namespace backplane::cli
