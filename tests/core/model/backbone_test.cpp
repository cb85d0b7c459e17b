#include "backplane/model/backbone.h"

#include <catch2/catch.hpp>

#include "backplane/base/error.h"

using namespace backplane;

namespace {

struct Stages : BackboneConfig {
  static constexpr const char* model_type = "stages";
  void fields(FieldVisitor& field) override { backbone_fields(field); }
  void validate() override { align_stages("stem", 3); }
  std::vector<int64_t> stage_channels() const override { return {8, 16, 32, 64}; }
};

using Names = std::vector<std::string>;
using Indices = std::vector<int64_t>;

}  // namespace

TEST_CASE("a backbone returns its last stage unless it is told otherwise") {
  Stages c;
  c.validate();
  CHECK(c.stage_names == Names{"stem", "stage1", "stage2", "stage3"});
  CHECK(*c.out_features == Names{"stage3"});
  CHECK(*c.out_indices == Indices{3});
  CHECK(c.out_channels() == Indices{64});
}

TEST_CASE("names make indices and indices names; those from the end stay as given") {
  Stages by_name, by_index;
  by_name.out_features = Names{"stem", "stage2"};
  by_name.validate();
  CHECK(*by_name.out_indices == Indices{0, 2});
  by_index.out_indices = Indices{-2, -1};
  by_index.validate();
  CHECK(*by_index.out_features == Names{"stage2", "stage3"});
  CHECK(*by_index.out_indices == Indices{-2, -1});
  CHECK(by_index.out_channels() == Indices{32, 64});
}

TEST_CASE("after an override of one, the other follows") {
  Stages c;
  c.validate();
  c.out_features = Names{"stage1"};
  c.validate();
  CHECK(*c.out_indices == Indices{1});
  c.out_indices = Indices{0, 3};
  c.validate();
  CHECK(*c.out_features == Names{"stem", "stage3"});
}

TEST_CASE("stages that are unknown, out of order, twice, or contradict each other are refused") {
  for (const auto& names : {Names{"stage4"}, Names{"stage2", "stage1"}, Names{"stage1", "stage1"}}) {
    Stages c;
    c.out_features = names;
    CHECK_THROWS_AS(c.validate(), Error);
  }
  for (const auto& indices : {Indices{4}, Indices{-5}, Indices{2, 1}}) {
    Stages c;
    c.out_indices = indices;
    CHECK_THROWS_AS(c.validate(), Error);
  }
  Stages c;
  c.out_features = Names{"stage1"};
  c.out_indices = Indices{2};
  CHECK_THROWS_AS(c.validate(), Error);
}
