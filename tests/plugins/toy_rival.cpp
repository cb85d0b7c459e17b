#include "toy.h"

// Provides the type of another plugin, and one of its own.
namespace backplane::toy {

struct RivalConfig : ToyConfig {
  static constexpr const char* model_type = "rival";
};

BACKPLANE_PLUGIN(toy_rival, plugin) {
  plugin.config<RivalConfig>("toy");
  plugin.tokenizer("GPT2Tokenizer", "GPT2TokenizerFast");
  plugin.config<RivalConfig>();
}

}  // namespace backplane::toy
