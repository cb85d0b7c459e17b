#include "backplane/nn/blocks.h"

#include <catch2/catch.hpp>

#include "backplane/nn/positions.h"
#include "backplane/nn/relative_bias.h"

using namespace backplane;

namespace {

std::vector<int64_t> numbers(const Tensor& x) {
  const Tensor flat = x.to(at::kLong).contiguous();
  return {flat.const_data_ptr<int64_t>(), flat.const_data_ptr<int64_t>() + flat.numel()};
}

using Numbers = std::vector<int64_t>;

}  // namespace

TEST_CASE("a sequence in blocks is filled up, and each block sees its neighbours") {
  const Tensor x = at::arange(1, 6).view({1, 5});
  const Tensor blocks = nn::in_blocks(x, 2, 1);
  CHECK(numbers(blocks) == Numbers{1, 2, 3, 4, 5, 0});
  CHECK(blocks.sizes() == at::IntArrayRef{1, 3, 2});
  CHECK(numbers(nn::with_neighbours(blocks)) == Numbers{0, 0, 1, 2, 3, 4, 1, 2, 3, 4, 5, 0, 3, 4, 5, 0, 0, 0});
  CHECK(nn::in_blocks(at::zeros({2, 3, 7, 4}), 4, 2).sizes() == at::IntArrayRef{2, 3, 2, 4, 4});
}

TEST_CASE("buckets of distances are exact near by and logarithmic far off") {
  // 8 buckets one way: 0 to 3 exact, 4 to 16 in four steps, everything behind in the last
  const Tensor back = -at::tensor({0, 1, 3, 4, 6, 8, 12, 16, 100}, at::kLong);
  CHECK(numbers(nn::relative_position_bucket(back, false, 8, 16)) == Numbers{0, 1, 3, 4, 5, 6, 7, 7, 7});
  CHECK(numbers(nn::relative_position_bucket(-back, false, 8, 16)) == Numbers(9, 0));
  // both ways: four buckets each, those of keys behind the query come second
  const Tensor both = at::tensor({-9, -1, 0, 1, 9}, at::kLong);
  CHECK(numbers(nn::relative_position_bucket(both, true, 8, 16)) == Numbers{3, 1, 0, 5, 7});
}

TEST_CASE("positions behind padding, and sinusoids of the two layouts") {
  const Tensor ids = at::tensor({5, 6, 1, 7}, at::kLong).view({1, 4});
  CHECK(numbers(nn::positions_past_padding(ids, 1)) == Numbers{2, 3, 1, 4});
  CHECK(numbers(nn::positions_past_padding(ids, 1, 10)) == Numbers{12, 13, 1, 14});
  const Tensor table = nn::sinusoidal_table(3, 4);  // position / 10000^(0, 1/2)
  CHECK(table[2][0].item<double>() == Approx(std::sin(2.0)));
  CHECK(table[2][1].item<double>() == Approx(std::sin(0.02)));
  CHECK(table[2][3].item<double>() == Approx(std::cos(0.02)));
  const Tensor fairseq = nn::fairseq_sinusoidal_table(3, 5, 1);  // position / 10000^(0, 1), a zero at the end
  CHECK(fairseq[2][1].item<double>() == Approx(std::sin(2e-4)));
  CHECK(fairseq[2][2].item<double>() == Approx(std::cos(2.0)));
  CHECK(fairseq[2][4].item<double>() == 0);
  CHECK(fairseq[1].abs().max().item<double>() == 0);
  const Tensor rows = nn::FairseqSinusoids(5, 1).forward(at::tensor({2, 1}, at::kLong).view({1, 2}), at::kFloat);
  CHECK(at::equal(rows[0][0], fairseq[2]));
  CHECK(rows[0][1].abs().max().item<double>() == 0);
}
