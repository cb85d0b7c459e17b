#include "elf_tables.h"

#include <elf.h>

#include <cstring>
#include <optional>
#include <span>

#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

constexpr uint64_t kMaxSections = 4096;
constexpr uint64_t kMaxSymbols = 1'000'000;

class Image {
 public:
  explicit Image(const std::string& path) : path_(path), file_(MappedFile::open(path)), bytes_(file_->bytes()) {}

  [[noreturn]] void refuse(const char* what) const {
    throw Error(ErrorCode::bad_plugin, concat(path_, ": malformed ELF file: ", what));
  }

  template <class T>
  T at(uint64_t offset, const char* what) const {
    if (offset > bytes_.size() || sizeof(T) > bytes_.size() - offset) refuse(what);
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof(T));
    return value;
  }

  template <class T>
  std::vector<T> table(uint64_t offset, uint64_t count, uint64_t most, const char* what) const {
    if (count > most || offset > bytes_.size() || count > (bytes_.size() - offset) / sizeof(T)) refuse(what);
    std::vector<T> entries(count);
    if (count > 0) std::memcpy(entries.data(), bytes_.data() + offset, count * sizeof(T));
    return entries;
  }

  std::string text(const Elf64_Shdr& strings, uint64_t at) const {
    if (strings.sh_offset > bytes_.size() || strings.sh_size > bytes_.size() - strings.sh_offset ||
        at >= strings.sh_size) {
      refuse("a name lies outside of its table");
    }
    const auto* begin = reinterpret_cast<const char*>(bytes_.data()) + strings.sh_offset + at;
    const size_t room = strings.sh_size - at;
    const size_t size = ::strnlen(begin, room);
    if (size == room) refuse("a name does not end");
    return {begin, size};
  }

 private:
  const std::string& path_;
  std::shared_ptr<MappedFile> file_;
  std::span<std::byte> bytes_;
};

}  // namespace

ElfTables read_elf_tables(const std::string& path) {
  const Image image(path);
  const auto header = image.at<Elf64_Ehdr>(0, "header");
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64)
    image.refuse("header");
  if ((header.e_phnum > 0 && header.e_phentsize != sizeof(Elf64_Phdr)) || header.e_shentsize != sizeof(Elf64_Shdr)) {
    image.refuse("the size of its headers");
  }
  ElfTables tables;
  bool stack_stated = false;
  for (const auto& segment : image.table<Elf64_Phdr>(header.e_phoff, header.e_phnum, kMaxSections, "program headers")) {
    if (segment.p_type != PT_GNU_STACK) continue;
    stack_stated = true;
    tables.executable_stack = (segment.p_flags & PF_X) != 0;
  }
  tables.executable_stack |= !stack_stated;

  const auto sections = image.table<Elf64_Shdr>(header.e_shoff, header.e_shnum, kMaxSections, "section headers");
  const auto strings_of = [&](const Elf64_Shdr& section) -> const Elf64_Shdr& {
    if (section.sh_link >= sections.size()) image.refuse("a table without names");
    return sections[section.sh_link];
  };
  for (const auto& section : sections) {
    if (section.sh_type == SHT_INIT_ARRAY) {
      const uint64_t count = section.sh_size / sizeof(uint64_t);
      tables.initialisers += count > 0 ? count - 1 : 0;  // one is the compiler's frame_dummy
    } else if (section.sh_type == SHT_DYNAMIC) {
      for (const auto& entry : image.table<Elf64_Dyn>(section.sh_offset, section.sh_size / sizeof(Elf64_Dyn),
                                                      kMaxSections, "dynamic section")) {
        switch (entry.d_tag) {
          case DT_NEEDED:
            tables.needed.push_back(image.text(strings_of(section), entry.d_un.d_val));
            break;
          case DT_RPATH:
          case DT_RUNPATH:
            for (auto& folder : split(image.text(strings_of(section), entry.d_un.d_val), ':')) {
              if (!folder.empty()) tables.search_paths.push_back(std::move(folder));
            }
            break;
          case DT_TEXTREL:
            tables.text_relocations = true;
            break;
          case DT_FLAGS:
            tables.text_relocations |= (entry.d_un.d_val & DF_TEXTREL) != 0;
            tables.bound_at_once |= (entry.d_un.d_val & DF_BIND_NOW) != 0;
            break;
          case DT_FLAGS_1:
            tables.bound_at_once |= (entry.d_un.d_val & DF_1_NOW) != 0;
            tables.never_unloaded = (entry.d_un.d_val & DF_1_NODELETE) != 0;
            break;
          default:
            break;
        }
      }
    } else if (section.sh_type == SHT_DYNSYM) {
      for (const auto& symbol :
           image.table<Elf64_Sym>(section.sh_offset, section.sh_size / sizeof(Elf64_Sym), kMaxSymbols, "symbols")) {
        const auto binding = ELF64_ST_BIND(symbol.st_info);
        if (symbol.st_name == 0 || binding == STB_LOCAL) continue;
        if (symbol.st_shndx != SHN_UNDEF) {
          tables.exported.push_back(image.text(strings_of(section), symbol.st_name));
        } else if (binding != STB_WEAK) {
          tables.undefined.push_back(image.text(strings_of(section), symbol.st_name));
        }
      }
    }
  }
  return tables;
}

}  // namespace backplane
