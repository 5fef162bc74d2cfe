// SPDX-License-Identifier: Apache-2.0
// What a checkpoint's configuration costs its reader: memory and time linear in the file, whatever
// shape the file has, and nothing again for the next layer.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <functional>
#include <string>

#include "octavo/octavo.hpp"
#include "support/allocation.hpp"

namespace octavo::test::linear_cost_test {
namespace {

namespace fs = std::filesystem;

std::string repeated(const std::string& text, std::size_t n) {
  std::string all;
  for (std::size_t i = 0; i < n; ++i) all += text;
  return all;
}

/// `item(i)` for i < n, with commas.
std::string list(std::size_t n, const std::function<std::string(std::size_t)>& item) {
  std::string all;
  for (std::size_t i = 0; i < n; ++i) {
    if (i > 0) all += ',';
    all += item(i);
  }
  return all;
}

/// A text as JSON that needs no escapes.
std::string json_text(const std::string& text) {
  return std::string(1, '"').append(text).append("\"");
}

std::string layer(std::size_t i) { return std::string("l").append(std::to_string(i)); }
std::string key(std::size_t i) { return json_text(layer(i)); }

std::string bitsandbytes(const std::string& fields) {
  return R"({"quant_method":"bitsandbytes",)" + fields + "}";
}
std::string groups(const std::string& inside) {
  return R"({"quant_method":"compressed-tensors","config_groups":{)" + inside + "}}";
}

constexpr const char* kChannels = R"("weights":{"strategy":"channel"})";

struct Shape {
  const char* name;
  std::string (*config)(std::size_t n);
  std::size_t least;        ///< n of the smaller file
  bool all_layers = false;  ///< n layers are read, not one
};

const Shape kShapes[] = {
    {"LongKeyOverManyNumbers",
     [](std::size_t n) {
       return bitsandbytes(json_text(std::string(std::min<std::size_t>(n, 60000), 'k')) + ":[" +
                           list(n, [](std::size_t) { return "0"; }) + "]");
     },
     20000},
    {"KeyAboveTheLimit",
     [](std::size_t n) { return bitsandbytes(json_text(std::string(n, 'k')) + ":0"); }, 100000},
    {"ManyKeys",
     [](std::size_t n) {
       return bitsandbytes(list(n, [](std::size_t i) { return key(i) + ":null"; }));
     },
     20000},
    {"ManyObjects",
     [](std::size_t n) {
       return bitsandbytes("\"a\":[" + list(n, [](std::size_t) { return R"({"b":{}})"; }) + "]");
     },
     20000},
    {"KeysWithOneBeginning",
     [](std::size_t n) {
       const std::string same(1000, 'k');
       return bitsandbytes(
           list(n, [&](std::size_t i) { return json_text(same + std::to_string(i)) + ":1"; }));
     },
     400},
    {"EqualKeys",
     [](std::size_t n) { return bitsandbytes(list(n, [](std::size_t) { return R"("a":1)"; })); },
     20000},
    {"DeepNesting", [](std::size_t n) { return bitsandbytes("\"a\":" + std::string(n, '[')); },
     100000},
    {"NestingToTheLimitAgainAndAgain",
     [](std::size_t n) {
       return bitsandbytes(
           "\"a\":[" +
           list(n, [](std::size_t) { return std::string(30, '[') + std::string(30, ']'); }) + "]");
     },
     1000},
    {"LongNumber", [](std::size_t n) { return bitsandbytes("\"a\":1" + std::string(n, '1')); },
     100000},
    {"LongFraction",
     [](std::size_t n) { return bitsandbytes("\"llm_int8_threshold\":6." + std::string(n, '1')); },
     100000},
    {"LongText",
     [](std::size_t n) { return bitsandbytes("\"a\":\"" + std::string(n, 'x') + "\""); }, 100000},
    {"Escapes",
     [](std::size_t n) { return bitsandbytes("\"a\":\"" + repeated("\\u0041", n) + "\""); }, 20000},
    {"Unfinished",
     [](std::size_t n) {
       return bitsandbytes("\"a\":[" + list(n, [](std::size_t) { return std::string("0"); }));
     },
     50000},
    {"ListsOfOutlierColumns",
     [](std::size_t n) {
       return bitsandbytes("\"llm_int8_outlier_columns\":{" +
                           list(n, [](std::size_t i) { return key(i) + ":[0,1]"; }) + "}");
     },
     200, true},
    {"TargetsByName",
     [](std::size_t n) { return groups("\"g\":{\"targets\":[" + list(n, key) + "]}"); }, 200, true},
    {"Groups",
     [](std::size_t n) {
       return groups(list(n, [](std::size_t i) {
         return key(i) + ":{\"targets\":[" + key(i) + "]," + kChannels + "}";
       }));
     },
     200, true},
    {"GroupsThatAreRefused",
     [](std::size_t n) {
       return groups(list(n, [](std::size_t i) {
         return key(i) + ":{\"targets\":[" + key(i) + R"(],"input_activations":{"num_bits":4}})";
       }));
     },
     200, true},
    {"GroupOfManyFields",
     [](std::size_t n) {
       return groups("\"g\":{\"targets\":[\"l0\"]," +
                     list(n, [](std::size_t i) { return key(i) + ":0"; }) + "}");
     },
     200, true},
    {"Expressions",
     [](std::size_t n) {
       return groups(
           "\"g\":{\"targets\":[" +
           list(std::min<std::size_t>(n, 50),
                [](std::size_t i) { return json_text(std::string("re:x.*").append(layer(i))); }) +
           "]}");
     },
     200, true},
    {"ExpressionsAboveTheLimit",
     [](std::size_t n) {
       return groups("\"g\":{\"targets\":[" +
                     list(n, [](std::size_t) { return json_text("re:x"); }) + "]}");
     },
     2000},
};

std::vector<std::byte> ones(std::size_t count) {
  const std::vector<float> values(count, 1.0F);
  std::vector<std::byte> bytes(count * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Cost {
  std::int64_t bytes = 0;        ///< asked for while all was read
  std::int64_t bytes_again = 0;  ///< while the first layer was read a second time
  double seconds = 0;
};

void read(const Checkpoint& file, std::size_t i) {
  try {
    (void)file.weight(layer(i));
  } catch (const Error&) {  // a refusal has to be as cheap
  }
}

class LinearCost : public testing::TestWithParam<Shape> {
 protected:
  LinearCost()
      : path_(fs::temp_directory_path() / ("octavo-linear-" + std::to_string(::getpid()))) {}
  ~LinearCost() override { fs::remove(path_); }

  Cost of(std::size_t n) {
    const std::size_t layers = GetParam().all_layers ? n : 1;
    const std::string config = GetParam().config(n);
    const bool groups = config.find("compressed") != std::string::npos;
    std::vector<TensorToWrite> tensors;
    for (std::size_t i = 0; i < layers; ++i) {
      const std::string name = layer(i);
      tensors.push_back({name + ".weight", "I8", {1, 4}, [] { return ones(1); }});
      tensors.push_back(
          {name + (groups ? ".weight_scale" : ".SCB"), "F32", {1}, [] { return ones(1); }});
    }
    write_safetensors(path_, std::move(tensors), {{"quantization_config", config}});
    Cost best;
    for (int run = 0; run < 3; ++run) {
      const Cost cost = once(layers);
      best = {cost.bytes, cost.bytes_again,
              run == 0 ? cost.seconds : std::min(best.seconds, cost.seconds)};
    }
    return best;
  }

 private:
  Cost once(std::size_t layers) const {
    Cost cost;
    const double start = cpu_seconds();
    FailingAllocations counted(0);
    const Checkpoint file = open_checkpoint(path_);
    for (std::size_t i = 0; i < layers; ++i) read(file, i);
    cost.bytes = counted.bytes();
    cost.seconds = cpu_seconds() - start;
    read(file, 0);
    cost.bytes_again = counted.bytes() - cost.bytes;
    return cost;
  }
  fs::path path_;
};

// Four times the file: linear cost is four times as much, quadratic cost sixteen times. The limit
// lies between the two, at their geometric mean.
TEST_P(LinearCost, OfMemoryAndTimeAndNothingForTheNextLayer) {
  constexpr std::size_t kLonger = 4;
  constexpr std::int64_t kMost = 8;
  const Cost small = of(GetParam().least);
  const Cost large = of(GetParam().least * kLonger);
  EXPECT_LE(large.bytes, kMost * small.bytes);
  EXPECT_LE(large.seconds, kMost * small.seconds);
  EXPECT_EQ(large.bytes_again, small.bytes_again);
}

INSTANTIATE_TEST_SUITE_P(Shapes, LinearCost, testing::ValuesIn(kShapes),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace octavo::test::linear_cost_test
