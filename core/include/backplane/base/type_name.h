#pragma once

#include <string>
#include <string_view>

namespace backplane {

/// The name of a type without its namespaces: type_name<backplane::bert::BertModel>() == "BertModel".
template <class T>
std::string type_name() {
  std::string_view text =
      __PRETTY_FUNCTION__;  // "… type_name() [with T = backplane::bert::BertModel; std::string = …]"
  text.remove_prefix(text.find("T = ") + 4);
  text = text.substr(0, text.find_first_of(";]"));
  const size_t scope = text.rfind("::");
  return std::string(scope == std::string_view::npos ? text : text.substr(scope + 2));
}

}  // namespace backplane
