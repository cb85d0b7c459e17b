#include "backplane/registry/elf_note.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

constexpr uint64_t kMaxHeaders = 4096;
constexpr uint64_t kMaxSegmentBytes = kMaxNoteBytes + 4096;  // a linker puts other notes beside ours

#if defined(__x86_64__)
constexpr uint16_t kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr uint16_t kMachine = EM_AARCH64;
#elif defined(__riscv)
constexpr uint16_t kMachine = EM_RISCV;
#endif

std::string machine_name(uint16_t machine) {
  switch (machine) {
    case EM_X86_64: return "x86_64";
    case EM_AARCH64: return "aarch64";
    case EM_RISCV: return "riscv";
    case EM_386: return "i386";
    case EM_ARM: return "arm";
    case EM_PPC64: return "ppc64";
    case EM_S390: return "s390";
    default: return concat("machine ", machine);
  }
}

class ElfFile {
 public:
  ElfFile(const std::string& path, int flags) : path_(path), fd_(::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK)) {
    if (fd_ < 0) {
      throw Error(errno == ENOENT ? ErrorCode::file_not_found : ErrorCode::io,
                  concat(path, ": cannot be opened: ", std::strerror(errno)));
    }
    struct stat status {};
    if (::fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) {
      ::close(fd_);
      throw Error(ErrorCode::bad_plugin, concat(path, ": not a regular file"));
    }
    size_ = static_cast<uint64_t>(status.st_size);
  }
  ~ElfFile() { ::close(fd_); }
  ElfFile(const ElfFile&) = delete;
  ElfFile& operator=(const ElfFile&) = delete;

  [[noreturn]] void refuse(const std::string& why) const { throw Error(ErrorCode::bad_plugin, concat(path_, ": ", why)); }
  [[noreturn]] void truncated(const char* what) const {
    refuse(concat("truncated ELF file: the ", what, " end beyond its ", size_, " bytes"));
  }

  bool contains(uint64_t offset, uint64_t size) const { return offset <= size_ && size <= size_ - offset; }

  void read(uint64_t offset, void* data, uint64_t size, const char* what) const {
    if (!contains(offset, size)) truncated(what);
    uint64_t done = 0;
    while (done < size) {
      const ssize_t got = ::pread(fd_, static_cast<char*>(data) + done, size - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) truncated(what);
      done += static_cast<uint64_t>(got);
    }
  }

  void write(uint64_t offset, const std::string& bytes) const {
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t put = ::pwrite(fd_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) throw Error(ErrorCode::io, concat(path_, ": cannot be written: ", std::strerror(errno)));
      done += static_cast<size_t>(put);
    }
  }

  Elf64_Ehdr header() const {
    Elf64_Ehdr header{};
    if (size_ < SELFMAG) refuse("not an ELF file");
    read(0, &header, std::min<uint64_t>(size_, sizeof(header)), "ELF header");
    if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) refuse("not an ELF file");
    if (size_ < sizeof(header)) truncated("ELF header");
    if (header.e_ident[EI_DATA] != ELFDATA2LSB) refuse("built for a big-endian machine");
    if (header.e_machine != kMachine || header.e_ident[EI_CLASS] != ELFCLASS64) {
      refuse(concat("built for ", header.e_ident[EI_CLASS] == ELFCLASS32 ? "32-bit " : "", machine_name(header.e_machine),
                    ", this host is ", machine_name(kMachine)));
    }
    if (header.e_type != ET_DYN) refuse("an ELF file, but not a shared library");
    return header;
  }

  template <class T>
  std::vector<T> table(uint64_t offset, uint64_t count, uint64_t entry_size, const char* what) const {
    if (count == 0) return {};
    if (entry_size != sizeof(T) || count > kMaxHeaders) {
      refuse(concat("malformed ELF file: ", count, " ", what, " of ", entry_size, " bytes"));
    }
    if (!contains(offset, count * sizeof(T))) truncated(what);
    std::vector<T> entries(count);
    read(offset, entries.data(), count * sizeof(T), what);
    return entries;
  }

  std::optional<NoteRange> note_within(uint64_t offset, uint64_t size, uint64_t alignment) const {
    if (!contains(offset, size)) truncated("notes");
    if (size > kMaxSegmentBytes) return std::nullopt;
    std::vector<char> notes(size);
    read(offset, notes.data(), size, "notes");
    const uint64_t align = alignment == 8 ? 8 : 4;
    const auto padded = [&](uint64_t n) { return (n + align - 1) / align * align; };
    for (uint64_t at = 0; at + sizeof(Elf64_Nhdr) <= size;) {
      Elf64_Nhdr note;
      std::memcpy(&note, notes.data() + at, sizeof(note));
      const uint64_t name = at + sizeof(note);
      const uint64_t desc = name + padded(note.n_namesz);
      if (desc > size || note.n_descsz > size - desc) refuse("malformed ELF note: it ends beyond its segment");
      if (note.n_type == kNoteType && note.n_namesz == sizeof(kNoteName) &&
          std::memcmp(notes.data() + name, kNoteName, sizeof(kNoteName)) == 0) {
        if (note.n_descsz > kMaxNoteBytes) {
          refuse(concat("its note has ", note.n_descsz, " bytes; ", kMaxNoteBytes, " are allowed"));
        }
        return NoteRange{offset + desc, note.n_descsz};
      }
      at = desc + padded(note.n_descsz);
    }
    return std::nullopt;
  }

  NoteRange note() const {
    const Elf64_Ehdr header = this->header();
    bool too_large = false;
    for (const auto& segment : table<Elf64_Phdr>(header.e_phoff, header.e_phnum, header.e_phentsize, "program headers")) {
      if (segment.p_type != PT_NOTE) continue;
      if (const auto found = note_within(segment.p_offset, segment.p_filesz, segment.p_align)) return *found;
      too_large |= segment.p_filesz > kMaxSegmentBytes;
    }
    for (const auto& section : table<Elf64_Shdr>(header.e_shoff, header.e_shnum, header.e_shentsize, "section headers")) {
      if (section.sh_type != SHT_NOTE) continue;
      if (const auto found = note_within(section.sh_offset, section.sh_size, section.sh_addralign)) return *found;
      too_large |= section.sh_size > kMaxSegmentBytes;
    }
    if (too_large) refuse(concat("its notes are larger than ", kMaxSegmentBytes, " bytes"));
    refuse("a shared library, but not a Backplane plugin: it has no note .note.backplane");
  }

 private:
  const std::string& path_;
  int fd_;
  uint64_t size_ = 0;
};

}  // namespace

NoteRange find_note(const std::string& path) { return ElfFile(path, O_RDONLY).note(); }

std::string read_note(const std::string& path) {
  const ElfFile file(path, O_RDONLY);
  const NoteRange range = file.note();
  std::string text(range.size, '\0');
  file.read(range.offset, text.data(), range.size, "notes");
  text.resize(text.find_last_not_of('\0') + 1);
  return text;
}

void write_note(const std::string& path, const std::string& json) {
  const ElfFile file(path, O_RDWR);
  const NoteRange range = file.note();
  if (json.size() > range.size) {
    throw Error(ErrorCode::limit_exceeded, concat(path, ": the manifest has ", json.size(), " bytes, its note ", range.size,
                                                  "; pass NOTE_BYTES to backplane_add_plugin()"));
  }
  file.write(range.offset, json + std::string(range.size - json.size(), '\0'));
}

}  // namespace backplane
