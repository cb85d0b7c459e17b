#pragma once

#include "backplane/host/inspect.h"

namespace backplane::cli {

/// Loads the model of a request and adds what only the loaded object knows.
void load_for_inspect(const InspectRequest& request, Value::Object& result);

}  // namespace backplane::cli
