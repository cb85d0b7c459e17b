#include "backplane/nn/module.h"
