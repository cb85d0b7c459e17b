#include "backplane/audio/transcription.h"

namespace backplane {

SpeechTranscriber::~SpeechTranscriber() = default;

}  // namespace backplane
