#include "toy.h"

namespace backplane::toy {

BACKPLANE_PLUGIN(toy_builtin, plugin) { plugin.config<ToyConfig>(); }

}  // namespace backplane::toy
