#include <elf.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "backplane/base/strings.h"
#include "backplane/host/library.h"
#include "backplane/host/probe.h"
#include "backplane/registry/elf_note.h"
#include "host/toys.h"

using namespace backplane;
using namespace backplane::test;

namespace {

// What dispatch to the evil plugin ends in, without the code and the path at the start; beside it a good plugin must serve.
std::string outcome(const Folder& folder, const std::string& kind) {
  const std::string path = folder.copy("toy_evil", "evil.so");
  folder.copy("toy", "toy.so");
  ::setenv("BACKPLANE_EVIL", kind.c_str(), 1);
  Host host(folder.settings());
  const std::string error = host.load("evil");
  CHECK(host.load("toy") == "");
  CHECK(host.load("evil") == error);
  const std::string prefix = concat("plugin_failed: ", path, ": ");
  CHECK(error.starts_with(prefix));
  constexpr std::string_view kRemedy =
      "; it is left alone for a week, or until it is rebuilt, or until 'backplane plugins clear org.example.toy_evil'";
  CHECK(error.ends_with(kRemedy));
  if (!error.starts_with(prefix) || !error.ends_with(kRemedy)) return error;
  return error.substr(prefix.size(), error.size() - prefix.size() - kRemedy.size());
}

// The same for an evil plugin that nothing probes: as part of the installation.
std::string outcome_unprobed(const std::string& kind) {
  const Folder folder;
  const std::string path = folder.copy("toy_evil", "evil.so");
  const Manifest manifest = parse_manifest(read_note(path), path);
  ::setenv("BACKPLANE_EVIL", kind.c_str(), 1);
  std::string error = error_of([&] { open_plugin(path, manifest); });
  return error.find(path) == std::string::npos ? error : error.replace(error.find(path), path.size(), "PATH");
}

// What discovery says of a file in the place of a plugin.
PluginRecord looked_at(const std::string& bytes) {
  const Folder folder;
  folder.write("plugins/x.so", bytes);
  folder.copy("toy", "toy.so");
  Host host(folder.settings());
  CHECK(host.load("toy") == "");
  for (const auto& record : host.plugins.list()) {
    if (record.path.ends_with("/x.so")) return record;
  }
  return {};
}

std::string toy_bytes() {
  const Folder folder;
  return read_bytes(folder.copy("toy", "toy.so"));
}

template <class Change>
std::string with_header(Change change) {
  std::string bytes = toy_bytes();
  Elf64_Ehdr header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  change(header);
  std::memcpy(bytes.data(), &header, sizeof(header));
  return bytes;
}

template <class Change>
std::string with_note(Change change) {
  std::string bytes = toy_bytes();
  const size_t name = bytes.find(std::string("Backplane\0\0\0{", 13));
  REQUIRE(name != std::string::npos);
  Elf64_Nhdr note;
  std::memcpy(&note, bytes.data() + name - sizeof(note), sizeof(note));
  change(note);
  std::memcpy(bytes.data() + name - sizeof(note), &note, sizeof(note));
  return bytes;
}

// A toy whose manifest says something else.
template <class Change>
std::string with_manifest(const Folder& folder, Change change) {
  const auto path = folder.copy("toy", "toy.so");
  Manifest manifest = parse_manifest(read_note(path), path);
  change(manifest);
  write_note(path, to_json(manifest));
  return path;
}

}  // namespace

TEST_CASE("evil plugin: crashes, exits, loops and lies stay in the probe") {
  const Folder folder;
  SECTION("crash") { CHECK(outcome(folder, "crash") == "crashed when it was probed: Segmentation fault (signal 11)"); }
  SECTION("crash in a static initialiser") {
    CHECK(outcome(folder, "crash in a static initialiser") == "crashed when it was probed: Segmentation fault (signal 11)");
  }
  SECTION("throw in a static initialiser") {
    CHECK(outcome(folder, "throw in a static initialiser") == "crashed when it was probed: Aborted (signal 6)");
  }
  SECTION("exit") { CHECK(outcome(folder, "exit") == "ended the process with status 0 when it was probed"); }
  SECTION("lie") { CHECK(outcome(folder, "lie") == "registers something else than its manifest says; rebuild the plugin"); }
  SECTION("throw") { CHECK(outcome(folder, "throw") == "failed to register: the weather is bad"); }
}

TEST_CASE("evil plugin: limits on time and memory") {
  const Folder folder;
  const auto path = folder.copy("toy_evil", "evil.so");
  const Manifest manifest = parse_manifest(read_note(path), path);
  ::setenv("BACKPLANE_EVIL", "loop", 1);
  CHECK(probe_plugin(path, manifest, {.wall = std::chrono::milliseconds(1500)}) == "did not end within 1.5 s when it was probed");
#ifndef __SANITIZE_ADDRESS__
  ::setenv("BACKPLANE_EVIL", "allocate", 1);
  CHECK(probe_plugin(path, manifest, {.memory_bytes = 1ull << 30}) == "an exception left its entry: std::bad_alloc");
#endif
}

TEST_CASE("evil plugin: what the host itself catches") {
  CHECK(outcome_unprobed("throw") == "plugin_failed: PATH: failed to register: the weather is bad");
  CHECK(outcome_unprobed("throw a number") == "plugin_failed: PATH: failed to register: an exception that is no std::exception");
  CHECK(outcome_unprobed("throw in the entry") == "plugin_failed: PATH: an exception left its entry: out of the entry");
  CHECK(outcome_unprobed("no descriptor") == "bad_plugin: PATH: its entry returned no descriptor");
  CHECK(outcome_unprobed("abi") ==
        "incompatible_plugin: PATH: plugin ABI 99, this host has 1; rebuild the plugin with this host's SDK");
  CHECK(outcome_unprobed("small") == "bad_plugin: PATH: its descriptor is incomplete");
  CHECK(outcome_unprobed("fingerprint").starts_with("incompatible_plugin: PATH: built for another host (plugin: system plan9, "));
  CHECK(outcome_unprobed("lie") == "bad_plugin: PATH: registers something else than its manifest says; rebuild the plugin");
}

TEST_CASE("a quarantine has a reason, survives the process, and ends by a clear, an expiry or a new build") {
  const Folder folder;
  const auto path = folder.copy("toy_evil", "evil.so");
  ::setenv("BACKPLANE_EVIL", "crash", 1);
  CHECK(Host(folder.settings()).load("evil") != "");
  ::unsetenv("BACKPLANE_EVIL");  // it would work now, and is not even tried
  CHECK(Host(folder.settings()).load("evil").find("crashed when it was probed") != std::string::npos);

  Verdicts verdicts(user_cache_folder());
  REQUIRE(verdicts.quarantined().size() == 1);
  CHECK(verdicts.quarantined()[0].path == path);
  SECTION("clear") {
    CHECK(verdicts.clear(path) == 1);
    CHECK(Host(folder.settings()).load("evil") == "");
    CHECK(verdicts.find(path)->reason == "");
  }
  SECTION("new build") {
    fs::last_write_time(path, fs::last_write_time(path) - 9);
    CHECK(Host(folder.settings()).load("evil") == "");
  }
  SECTION("expiry") {
    const std::string file = user_cache_folder() + "/plugin-verdicts.json";
    std::string json = read_bytes(file);
    const size_t at = json.find("\"expires\": ") + 11;
    folder.write("cache/backplane/plugin-verdicts.json", json.replace(at, 10, "1000000000"));
    CHECK(Host(folder.settings()).load("evil") == "");
  }
  SECTION("a damaged file is an empty one") {
    folder.write("cache/backplane/plugin-verdicts.json", "{\"a\": [");
    CHECK(verdicts.quarantined().empty());
    CHECK(Host(folder.settings()).load("evil") == "");
    CHECK(verdicts.find(path)->reason == "");
  }
}

TEST_CASE("files that are no plugin are told apart") {
  CHECK(looked_at("").reason == "not an ELF file");
  CHECK(looked_at("#!/bin/sh\n").reason == "not an ELF file");
  CHECK(looked_at(toy_bytes().substr(0, 40)).reason == "truncated ELF file: the ELF header end beyond its 40 bytes");
  CHECK(looked_at(toy_bytes().substr(0, 100)).reason == "truncated ELF file: the program headers end beyond its 100 bytes");
  CHECK(looked_at(with_header([](auto& h) { h.e_machine = EM_S390; })).reason.starts_with("built for s390, this host is "));
  CHECK(looked_at(with_header([](auto& h) { h.e_ident[EI_CLASS] = ELFCLASS32; })).reason.starts_with("built for 32-bit "));
  CHECK(looked_at(with_header([](auto& h) { h.e_ident[EI_DATA] = ELFDATA2MSB; })).reason == "built for a big-endian machine");
  CHECK(looked_at(with_header([](auto& h) { h.e_type = ET_EXEC; })).reason == "an ELF file, but not a shared library");
  CHECK(looked_at(with_header([](auto& h) { h.e_phoff = ~0ull - 8; })).reason.starts_with("truncated ELF file: the program headers"));
  CHECK(looked_at(with_header([](auto& h) { h.e_phentsize = 3; })).reason.starts_with("malformed ELF file: "));
  CHECK(looked_at(with_note([](auto& n) { n.n_descsz = 0xfffffff0; })).reason == "malformed ELF note: it ends beyond its segment");
  CHECK(looked_at(with_note([](auto& n) { n.n_namesz = 0xffffffff; })).reason == "malformed ELF note: it ends beyond its segment");
  CHECK(looked_at(with_note([](auto& n) { n.n_type = 9; })).reason ==
        "a shared library, but not a Backplane plugin: it has no note .note.backplane");
  CHECK(looked_at(toy_bytes().substr(0, 4200)).state == PluginState::invalid);
}

TEST_CASE("any damage to a library is refused or harmless to the reader") {
  const Folder folder;
  const std::string path = folder.copy("toy", "toy.so");
  const std::string good = read_bytes(path);
  uint32_t seed = 1;
  const auto random = [&] { return seed = seed * 1664525u + 1013904223u; };
  size_t refused = 0;
  for (int i = 0; i < 1500; ++i) {
    std::string bytes = good.substr(0, i % 3 == 0 ? random() % good.size() : good.size());
    for (int change = 0; change < 3 && !bytes.empty(); ++change) bytes[(random() >> 8) % std::min<size_t>(bytes.size(), 0x400)] = char(random() >> 24);
    folder.write("plugins/damaged.so", bytes);
    if (!error_of([&] { parse_manifest(read_note(folder.plugins() + "/damaged.so"), "x"); }).empty()) ++refused;
  }
  CHECK(refused > 500);
}

TEST_CASE("a plugin for another host is told field by field, and never opened") {
  const Folder folder;
  const auto path = with_manifest(folder, [](Manifest& manifest) {
    const size_t at = manifest.fingerprint.find("torch=none");
    manifest.fingerprint.replace(at, std::string::npos, "torch=2.12\ntorch_flavour=cuda\n");
  });
  const size_t before = opened_plugins();
  Host host(folder.settings());
  CHECK(host.plugins.list().at(0).state == PluginState::incompatible);
  const auto error = host.load("toy");
  CHECK(error.starts_with(concat("incompatible_plugin: ", path, ": built for another host (plugin: torch 2.12, torch flavour cuda")));
  CHECK(error.ends_with("); rebuild the plugin with this host's SDK"));
  CHECK(opened_plugins() == before);
}

TEST_CASE("a manifest that promises more than the code is a lie") {
  const Folder folder;
  const auto path = with_manifest(folder, [](Manifest& m) { m.configs.push_back({"bert", "BertConfig"}); });
  CHECK(Host(folder.settings()).load("bert").find("registers something else than its manifest says") != std::string::npos);
}

TEST_CASE("a library swapped between the look and the opening is refused") {
  const Folder folder;
  const auto path = folder.copy("toy", "real.so");
  const auto other = folder.write("elsewhere/other.so", "not a plugin");
  fs::create_directories(folder.path() + "/links");
  const auto link = folder.path() + "/links/link.so";
  fs::create_symlink(path, link);
  Settings settings;
  settings.plugin_paths = {{folder.path() + "/links", "user"}};
  Host host(settings);
  fs::remove(link);
  fs::create_symlink(other, link);
  CHECK(host.load("toy") == concat("bad_plugin: ", link, ": changed since this process looked at it; start again"));
}
