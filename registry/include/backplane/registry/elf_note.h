#pragma once

#include <cstdint>
#include <string>

namespace backplane {

/// Where the JSON of the note ".note.backplane" lies in a library.
struct NoteRange {
  uint64_t offset = 0;
  uint64_t size = 0;
};

inline constexpr char kNoteName[] = "Backplane";
inline constexpr uint32_t kNoteType = 1;
inline constexpr uint64_t kMaxNoteBytes = 64 << 10;

/// Finds the note by the program headers, or by the section headers where a tool moved it out of them. Reads headers
/// and notes only, bounds-checked: the file may be hostile. Throws `bad_plugin` that names the file and says what it is
/// instead (no ELF file, of another architecture, truncated, no plugin), `file_not_found` or `io`.
NoteRange find_note(const std::string& path);

/// The bytes of the note without the padding.
std::string read_note(const std::string& path);

/// Fills the note in place and pads it with NUL bytes. Throws `limit_exceeded` when `json` is longer than the note.
void write_note(const std::string& path, const std::string& json);

}  // namespace backplane
