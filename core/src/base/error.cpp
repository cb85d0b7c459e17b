#include "backplane/base/error.h"

namespace backplane {

std::string_view to_string(ErrorCode code) {
  switch (code) {
#define BACKPLANE_ERROR_NAME(name) \
  case ErrorCode::name:            \
    return #name;
    BACKPLANE_ERROR_CODES(BACKPLANE_ERROR_NAME)
#undef BACKPLANE_ERROR_NAME
  }
  return "internal";
}

}  // namespace backplane
