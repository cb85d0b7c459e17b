#pragma once

#include <string>
#include <vector>

namespace backplane::cli {

/// Writes a plugin project for `id` ("org.me.foo") into `folder` ("": the last part of the id), which must not exist: a
/// small model, or the sources of the built-in plugin `like` under new names. Returns the files. Throws `usage` for an
/// id that is no reversed domain name of letters, digits, '_' and '-', `file_not_found` where there is no such plugin.
std::vector<std::string> new_plugin(const std::string& id, std::string folder, const std::string& like = "");

}  // namespace backplane::cli
