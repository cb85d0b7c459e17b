#pragma once

#include <boost/filesystem.hpp>
#include <string>

#include "backplane/base/files.h"

namespace backplane::testing {

/// A folder that lives as long as this.
struct Folder {
  boost::filesystem::path path =
      boost::filesystem::temp_directory_path() / boost::filesystem::unique_path("backplane-%%%%%%%%");
  Folder() { boost::filesystem::create_directories(path); }
  ~Folder() {
    boost::system::error_code ignored;
    boost::filesystem::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string text() const { return path.string(); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
  Folder& add(const std::string& name, const std::string& bytes = "") {
    write_file(*this / name, bytes);
    return *this;
  }
};

}  // namespace backplane::testing
