// Compiled apart from the rest, with libtorch's headers where there is a libtorch: the sizes in the fingerprint are
// constants, so that the library itself stays free of it.
#ifdef BACKPLANE_WITH_TORCH
#include "backplane/registry/torch_build.h"
#endif
#include "backplane/registry/build_fingerprint.h"
#include "backplane/registry/fingerprint.h"

namespace backplane {

std::string_view host_fingerprint() {
  static constexpr BuildFingerprint kFingerprint(BACKPLANE_TORCH_BUILD);
  return kFingerprint.text();
}

}  // namespace backplane
