// fake-hub ROOT [--port N] [--gated org/name=TOKEN] [--private org/name=TOKEN] [--throttle BYTES_PER_SECOND]
// Serves ROOT/org/name/** as repositories until stdin closes; the first line on stdout is the endpoint.
#include <boost/filesystem.hpp>
#include <iostream>

#include "backplane/base/files.h"
#include "backplane/base/strings.h"
#include "fake_hub.h"

namespace fs = boost::filesystem;
using namespace backplane;

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr
        << "usage: fake-hub ROOT [--port N] [--gated org/name=TOKEN] [--private org/name=TOKEN] [--throttle BYTES]\n";
    return 2;
  }
  int port = 0;
  for (int i = 2; i + 1 < argc; i += 2) {
    if (std::string(argv[i]) == "--port") port = std::stoi(argv[i + 1]);
  }
  FakeHub hub(port);
  for (const auto& org : fs::directory_iterator(argv[1])) {
    for (const auto& repo : fs::directory_iterator(org.path())) {
      FakeHub::Files files;
      for (const auto& entry : fs::recursive_directory_iterator(repo.path())) {
        if (!fs::is_regular_file(entry.path())) continue;
        FakeHub::File file{.bytes = read_file(entry.path().string(), UINT64_MAX)};
        const std::string extension = entry.path().extension().string();
        file.lfs = file.bytes.size() > (1 << 20) || extension == ".safetensors" || extension == ".bin";
        files[entry.path().string().substr(repo.path().string().size() + 1)] = std::move(file);
      }
      hub.commit(concat(org.path().filename().string(), "/", repo.path().filename().string()), std::move(files));
    }
  }
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string option = argv[i], value = argv[i + 1];
    const size_t equals = value.find('=');
    if (option == "--gated") hub.set_gated(value.substr(0, equals), value.substr(equals + 1));
    if (option == "--private") hub.set_private(value.substr(0, equals), value.substr(equals + 1));
    if (option == "--throttle") hub.set_throttle(std::stol(value));
  }
  std::cout << hub.endpoint() << std::endl;
  std::string line;
  while (std::getline(std::cin, line)) {
  }
}
