// SPDX-License-Identifier: Apache-2.0
// A rank's part of a folder: what shard gives of the whole, and no other codes are read.
#include <filesystem>

#include "checkpoint/dialects/real_folders.hpp"
#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/same_weight.hpp"
#include "checkpoint/support.hpp"
#include "octavo/checkpoint/sharding.hpp"
#include "support/source_folder.hpp"

namespace octavo::test::read_shard_test {
namespace {

namespace fs = std::filesystem;

const fs::path kData = in_checkout("tests/checkpoint/data");
constexpr ShardAxis kAxes[] = {ShardAxis::columns, ShardAxis::rows};

std::int64_t bytes_of(const Tensor& t) { return t.numel() * element_bytes(t.dtype()); }

// Bytes read by one call.
template <class Call>
std::int64_t bytes_read(const Checkpoint& file, const Call& call) {
  const std::int64_t before = file.impl().bytes_read();
  call();
  return file.impl().bytes_read() - before;
}

void expect_parts(const Checkpoint& file, const std::string& layer, bool in_rows) {
  SCOPED_TRACE(layer);
  Weight whole;
  const std::int64_t all = bytes_read(file, [&] { whole = file.weight(layer); });
  for (const ShardAxis axis : kAxes) {
    for (const std::int64_t world : {1, 2, 3, 7, 64}) {
      for (std::int64_t rank = 0; rank < world; rank += std::max<std::int64_t>(1, world / 4)) {
        SCOPED_TRACE("rank " + std::to_string(rank) + " of " + std::to_string(world));
        Weight part;
        const std::int64_t some =
            bytes_read(file, [&] { part = read_shard(file, layer, axis, rank, world); });
        expect_same_weight(part, shard(whole, axis, rank, world));
        const std::int64_t others = bytes_of(whole.codes.data) - bytes_of(part.codes.data);
        EXPECT_EQ(some, in_rows ? all - others : all);
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

TEST(ReadShard, GivesTheShardOfEveryDialectAndReadsNoOtherCodes) {
  for (const Folder& row : folders()) {
    SCOPED_TRACE(row.name);
    const Checkpoint file = open_checkpoint((kData / row.name).string());
    for (const std::string& layer : file.quantized_layers()) {
      const bool packed =
          file.contains(layer + ".qweight") || file.contains(layer + ".weight_packed");
      expect_parts(file, layer, !packed);
    }
  }
}

class ReadShards : public Scratch {};

TEST_F(ReadShards, OfFloatWeightsReadsTheirPart) {
  write_safetensors(path("x"), {stored("p.weight", "F32", {30, 50}, std::vector<float>(1500, 2.0F)),
                                stored("q.weight", "F32", {0, 50}, std::vector<float>())});
  const Checkpoint file = open_checkpoint(path("x"));
  expect_parts(file, "p", true);
  expect_parts(file, "q", true);
}

TEST_F(ReadShards, OfLayersThatReadTheSameActivationsIsOfEach) {
  std::vector<LayerToWrite> layers;
  for (const auto& [name, n] : {std::pair{"q", 256}, std::pair{"k", 64}, std::pair{"v", 64}}) {
    layers.push_back({name, quantize_weight(gaussians(float32, {n, 96}, static_cast<unsigned>(n)),
                                            Scheme::int8_dynamic)});
  }
  write_checkpoint(path("x"), layers);
  const Checkpoint file = open_checkpoint(path("x"));
  const std::vector<std::string> prefixes{"q", "k", "v"};
  for (const ShardAxis axis : kAxes) {
    for (std::int64_t rank = 0; rank < 3; ++rank) {
      std::vector<Weight> parts;
      for (const LayerToWrite& layer : layers) {
        parts.push_back(shard(file.weight(layer.name), axis, rank, 3));
      }
      expect_same_weight(read_shard(file, prefixes, axis, rank, 3), fuse(parts));
    }
  }
}

TEST_F(ReadShards, RefusesRanksAndNames) {
  write_checkpoint(
      path("x"), std::vector<LayerToWrite>{
                     {"p", quantize_weight(gaussians(float32, {6, 8}, 1), Scheme::int8_dynamic)}});
  const Checkpoint file = open_checkpoint(path("x"));
  expect_error(Code::invalid_argument, "read_shard: rank must be in [0, world = 2); got -1",
               [&] { (void)read_shard(file, "p", ShardAxis::rows, -1, 2); });
  expect_error(Code::invalid_argument, "Checkpoint::weight: prefix must name a layer",
               [&] { (void)read_shard(file, "q", ShardAxis::rows, 0, 2); });
  expect_error(Code::invalid_argument, "read_shard: prefixes must have at least one entry", [&] {
    (void)read_shard(file, std::span<const std::string>(), ShardAxis::rows, 0, 2);
  });
}

}  // namespace
}  // namespace octavo::test::read_shard_test
