#pragma once

#include <string>
#include <vector>

namespace backplane::cli {

/// Writes a plugin project for `id` ("org.me.foo") into `folder` ("": the last part of the id), which must not exist. Returns
/// the files. Throws `usage` for an id that is no reversed domain name of letters, digits, '_' and '-'.
std::vector<std::string> new_plugin(const std::string& id, std::string folder);

}  // namespace backplane::cli
