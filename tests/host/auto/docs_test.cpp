#include <catch2/catch.hpp>

#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/strings.h"

using namespace backplane;

TEST_CASE("docs/errors.md explains every error code") {
  const std::string page = read_file(std::string(BACKPLANE_TEST_DATA) + "/../../docs/errors.md", 1 << 20);
#define BACKPLANE_CHECK_DOCUMENTED(name) \
  CHECK_THAT(page, Catch::Contains(concat("| `", to_string(ErrorCode::name), "` |")));
  BACKPLANE_ERROR_CODES(BACKPLANE_CHECK_DOCUMENTED)
#undef BACKPLANE_CHECK_DOCUMENTED
}
