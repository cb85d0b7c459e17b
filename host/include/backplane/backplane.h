#pragma once

/// All that a program needs to run models; link Backplane::host. Programs that need no tensor include the headers of
/// Backplane::host-core one by one.
#include "backplane/audio/wave.h"
#include "backplane/base/error.h"
#include "backplane/generation/generate.h"
#include "backplane/generation/text_streamer.h"
#include "backplane/host/auto_config.h"
#include "backplane/host/auto_feature_extractor.h"
#include "backplane/host/auto_image_processor.h"
#include "backplane/host/auto_model.h"
#include "backplane/host/auto_tokenizer.h"
#include "backplane/host/auto_video_processor.h"
#include "backplane/host/embedding.h"
#include "backplane/text/chat_template.h"
