#pragma once

// The one header of a plugin: modules, operations, models, configurations, registration. Precompiled once and shared by
// all plugins, so it costs a plugin a second; anything added here costs every plugin.

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "backplane/config/pretrained_config.h"
#include "backplane/model/pretrained_model.h"
#include "backplane/nn/cache.h"
#include "backplane/nn/conv.h"
#include "backplane/nn/layers.h"
#include "backplane/nn/ops.h"
#include "backplane/nn/rotary.h"
#include "backplane/plugin.h"
#include "backplane/registry/plugin_source.h"
#include "backplane/registry/torch_build.h"
