// SPDX-License-Identifier: Apache-2.0
// octavo plan: what ranks hold, compute and send.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/cli.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::test {
namespace {

TEST_F(Cli, PlanSaysWhatRanksHoldComputeAndSend) {
  const auto zeros = [](std::int64_t bytes) {
    return [bytes] { return std::vector<std::byte>(static_cast<std::size_t>(bytes)); };
  };
  std::vector<TensorToWrite> tensors;
  const auto codes = [&](const std::string& layer, std::int64_t n, std::int64_t k) {
    tensors.push_back({layer + ".weight", "I8", {n, k}, zeros(n * k)});
    tensors.push_back({layer + ".weight_scale", "F32", {n, 1}, zeros(4 * n)});
  };
  for (const char* layer : {"l.0", "l.1"}) {
    codes(std::string(layer) + ".mlp.up_proj", 1024, 256);
    codes(std::string(layer) + ".mlp.down_proj", 256, 1024);
    for (int e = 0; e < 6; ++e) {
      codes(std::string(layer) + ".moe.experts." + std::to_string(e) + ".down_proj", 64, 32);
    }
  }
  tensors.push_back({"embed_tokens.weight", "BF16", {100, 256}, zeros(51200)});
  tensors.push_back({"norm.weight", "BF16", {256}, zeros(512)});
  write_safetensors(path("plain"), tensors);
  const std::vector<std::string> ask{"plan",      path("plain"), "--ranks",  "4",
                                     "--network", "8Gb",         "--rows",   "10",
                                     "--latency", "1ms",         "--device", "h200"};
  std::vector<std::string> as_json = ask;
  as_json.emplace_back("--json");
  const Outcome got = octavo(as_json);
  ASSERT_EQ(0, got.exit) << got.err;
  const std::vector<json> objects = lines(got.out);
  ASSERT_EQ(5U, objects.size());
  const auto group = [&](const std::string& name) {
    return *std::ranges::find_if(objects,
                                 [&](const json& o) { return o.value("name", "") == name; });
  };
  const json up = group("l.*.mlp.up_proj");
  EXPECT_EQ("columns", up["split"]);
  EXPECT_EQ(2, up["layers"]);
  EXPECT_EQ(2 * (256 * 256 + 256 * 4), up["bytes"]);
  EXPECT_EQ(2.0 * 2 * 10 * 256 * 256, up["operations"]);
  EXPECT_EQ(0.0, up["communication_seconds"]);
  // A rank has 256 of 1024 columns and every row's scale; int32 sums go round a ring, the rows'
  // absmax up a tree.
  const json down = group("l.*.mlp.down_proj");
  EXPECT_EQ("rows", down["split"]);
  EXPECT_EQ(2 * (256 * 256 + 256 * 4), down["bytes"]);
  EXPECT_EQ(2 * (2.0 * 3 / 4 * 4 * 10 * 256 + 4 * 10), down["bytes_sent"]);
  EXPECT_EQ(2 * (2.0 * 3 + 2), down["messages"]);
  EXPECT_DOUBLE_EQ(16 * 1e-3 + down["bytes_sent"].get<double>() / 1e9,
                   down["communication_seconds"].get<double>());
  // Six experts on four ranks: two on the fullest.
  const json experts = group("l.*.moe.experts.*.down_proj");
  EXPECT_EQ("experts", experts["split"]);
  EXPECT_EQ(2, experts["layers"]);
  EXPECT_EQ(6, experts["experts"]);
  EXPECT_EQ(2 * 2 * (64 * 32 + 64 * 4), experts["bytes"]);
  EXPECT_EQ("replicated", group("embed_tokens")["split"]);
  const json plan = objects.back();
  EXPECT_EQ("plan", plan["type"]);
  EXPECT_EQ(true, plan["simulated"]);
  EXPECT_EQ(512, plan["other_bytes"]);
  std::int64_t held = 512;
  for (const json& o : objects) held += o["type"] == "layers" ? o["bytes"].get<std::int64_t>() : 0;
  EXPECT_EQ(held, plan["bytes"]);

  const Outcome table = octavo(ask);
  EXPECT_EQ(0, table.exit) << table.err;
  EXPECT_NE(std::string::npos, table.out.find("simulated: a data sheet's rates")) << table.out;
  EXPECT_NE(std::string::npos, table.out.find("2 x 6")) << table.out;
  // One rank sends nothing.
  const std::vector<json> alone =
      lines(octavo({"plan", path("plain"), "--device", "h200", "--json"}).out);
  EXPECT_EQ(0.0, alone.back()["communication_seconds"]);
  // This machine's rates.
  const std::vector<json> here =
      lines(octavo({"plan", path("plain"), "--threads", "1", "--json"}).out);
  EXPECT_EQ(false, here.back()["simulated"]);
  EXPECT_GT(here.back()["read_gbps"], 0.0);

  expect_failure(3, "plan: --network must be a number and one of Gb, Mb, Tb; got 200Gbit",
                 {"plan", path("plain"), "--network", "200Gbit", "--device", "h200"});
  expect_failure(3, "plan_ranks: network_gbits must be above 0; got -1",
                 {"plan", path("plain"), "--network=-1Gb", "--device", "h200"});
  expect_failure(2, "--device", {"plan", path("plain"), "--device", "h1"});
}

}  // namespace
}  // namespace octavo::test
