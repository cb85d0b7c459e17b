#include "toy.h"

namespace backplane::toy {

BACKPLANE_PLUGIN(toy, plugin) {
  plugin.config<ToyConfig>();
  plugin.tokenizer("BertTokenizer", "BertTokenizerFast");
}

}  // namespace backplane::toy
