// SPDX-License-Identifier: Apache-2.0
// Folders that other tools wrote (tests/checkpoint/data, and the scripts that made them): each is
// read into the values that its tool computes, multiplied within section 9's bound, and read to the
// same bits where its tensors lie in two files.
#include <cmath>
#include <random>
#include <set>

#include "checkpoint/support.hpp"
#include "octavo/moe.hpp"
#include "ops/helpers.hpp"
#include "real_folders.hpp"
#include "support/source_folder.hpp"

namespace octavo::test::real_files_test {
namespace {

namespace fs = std::filesystem;

const fs::path kData = in_checkout("tests/checkpoint/data");

/// With rows that are rotated, and with experts in one tensor.
constexpr const char* kRotated = "comfyui-int8-rotated";
constexpr const char* kExperts = "transformers-fp8-experts";

std::int64_t cell(std::int64_t index, std::int64_t size) {
  return size == kWholeExtent ? 0 : index / size;
}

/// (code - zero point) * scale: exact in float64, since a code has 8 bits and a scale 24.
double value(const Quantized& q, std::int64_t i, std::int64_t j) {
  const std::int64_t row = cell(i, q.grid.rows);
  const std::int64_t col = cell(j, q.grid.cols);
  const double azp = q.azp.defined() ? at(q.azp, row, col) : 0.0;
  return (at(q.data, i, j) - azp) * at(q.scale, row, col);
}

/// The stored order of columns: column j of the file's matrix is column order[j] of the weight's.
std::vector<std::int64_t> stored_order(const Weight& w) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(w.codes.data.size(1)));
  for (std::size_t j = 0; j < order.size(); ++j) {
    const auto from = static_cast<std::int64_t>(j);
    order[static_cast<std::size_t>(w.columns.defined() ? w.columns.data_as<std::int64_t>()[j]
                                                       : from)] = from;
  }
  return order;
}

/// A number rounded to a type, to the nearest even.
double rounded(DType dtype, double number) {
  const Tensor one = Tensor::empty(dtype, {1});
  kit::store(one, 0, number);
  return at(one, 0);
}

/// A tool rounds the product of code and scale to its type, at once or through float32.
void expect_tools_value(DType dtype, double want, double exact) {
  const bool once = want == rounded(dtype, exact);
  const bool twice = want == rounded(dtype, static_cast<double>(static_cast<float>(exact)));
  EXPECT_TRUE(once || twice) << want << " against " << exact;
}

void expect_tools_weight(const Weight& w, const Tensor& want) {
  const std::int64_t n = w.codes.data.size(0);
  const std::int64_t k = w.codes.data.size(1);
  ASSERT_EQ(k, want.size(1));
  const std::int64_t step = n / want.size(0);
  ASSERT_EQ(4, step);  // every fourth row is kept
  const std::vector<std::int64_t> order = stored_order(w);
  for (std::int64_t i = 0; i < want.size(0); ++i) {
    for (std::int64_t j = 0; j < k; ++j) {
      if (w.absmax.defined()) {  // bitsandbytes: the maximum first, then a 127th, each rounded
        const float product = float_at(w.codes.data, i * step, j) * float_at(w.absmax, i * step);
        ASSERT_EQ(float_at(want, i, j), product * 7.874015718698502e-3F);
        continue;
      }
      expect_tools_value(want.dtype(), at(want, i, j),
                         value(w.codes, i * step, order[static_cast<std::size_t>(j)]));
      if (testing::Test::HasFailure()) return;
    }
  }
}

/// Activations by the weight's rule.
Quantized quantized(const Tensor& x, const ActivationQuant& rule) {
  QuantizeOptions o{.dtype = rule.spec.dtype, .granularity = rule.spec.granularity};
  o.azp = rule.spec.azp;
  o.rounding = rule.spec.rounding;
  o.scale_ub = rule.spec.scale_ub;
  const Tensor azp = values(int32, {1, 1}, {static_cast<double>(rule.static_azp)});
  if (rule.static_scale > 0.0F) {
    o.scale = rule.static_scale;
    if (rule.spec.azp) o.azp_in = azp;
  }
  return quantize(x, o);
}

/// Bit for bit where scales are the file's or the largest magnitude's; else both are within half a
/// step of x, whose size is this row's scale but for the tools' 127.5 in place of 127.
void expect_tools_activations(const ActivationQuant& rule, const Tensor& x, const Tensor& want) {
  const Quantized q = quantized(x, rule);
  const bool exact = rule.static_scale > 0.0F || rule.spec.dtype != int8;
  for (std::int64_t i = 0; i < x.size(0); ++i) {
    for (std::int64_t j = 0; j < x.size(1); ++j) {
      const double mine = value(q, i, j);
      if (exact) {
        expect_tools_value(want.dtype(), at(want, i, j), mine);
      } else {
        EXPECT_LE(std::abs(at(want, i, j) - mine), at(q.scale, cell(i, q.grid.rows), 0));
      }
      if (testing::Test::HasFailure()) return;
    }
  }
}

/// What the product multiplies, row by row: x itself, or x by the rule.
std::vector<double> effective(const Tensor& x, const Weight& w) {
  const std::int64_t k = x.size(1);
  const auto each = [&](const auto& element) {
    std::vector<double> all;
    for (std::int64_t i = 0; i < x.numel(); ++i) all.push_back(element(i));
    return all;
  };
  if (!w.activation) return each([&](std::int64_t i) { return at(x, i / k, i % k); });
  if (w.activation->vectorwise) {  // no element is an outlier here
    const VectorwiseQuant rows = int8_vectorwise_quant(x);
    return each([&](std::int64_t i) {
      const float scale = rows.row_absmax.data_as<float>()[i / k] / 127.0F;
      return at(rows.codes, i / k, i % k) * static_cast<double>(scale);
    });
  }
  const Quantized q = quantized(x, *w.activation);
  return each([&](std::int64_t i) { return value(q, i / k, i % k); });
}

Tensor gathered(const Tensor& x, const Tensor& columns) {
  if (!columns.defined()) return x;
  const std::int64_t k = x.size(1);
  return tensor_of(x.dtype(), {x.size(0), k}, [&](std::int64_t i) {
    return at(x, i / k, columns.data_as<std::int64_t>()[i % k]);
  });
}

void expect_product(const Weight& w) {
  const std::int64_t k = w.codes.data.size(1);
  const Tensor x = gathered(gaussians(float32, {3, k}, 11, 0.7), w.columns);
  const Tensor y = linear(x, pack(w, nullptr, w.columns.defined()), {.out_dtype = float32});
  const std::vector<double> a = effective(x, w);
  const auto length = [&](const ScaleGrid& grid) {
    return grid.cols == kWholeExtent ? 1 : (k + grid.cols - 1) / grid.cols;
  };
  std::int64_t groups = length(w.codes.grid);
  if (w.activation) groups = std::max(groups, length(quantized(x, *w.activation).grid));
  expect_near(
      y, k,
      [&](std::int64_t i, std::int64_t j) {
        Sum sum;
        for (std::int64_t c = 0; c < k; ++c) {
          sum.add(a[static_cast<std::size_t>(i * k + c)] * value(w.codes, j, c));
        }
        return sum;
      },
      groups);
}

void expect_same_weight(const Weight& got, const Weight& want) {
  EXPECT_EQ(want.scheme, got.scheme);
  EXPECT_EQ(want.codes.grid, got.codes.grid);
  expect_same_bits(got.codes.data, want.codes.data);
  expect_same_bits(got.codes.scale, want.codes.scale);
  EXPECT_EQ(want.codes.azp.defined(), got.codes.azp.defined());
  if (want.codes.azp.defined()) expect_same_bits(got.codes.azp, want.codes.azp);
  ASSERT_EQ(want.activation.has_value(), got.activation.has_value());
  if (!want.activation) return;
  EXPECT_EQ(want.activation->spec.granularity, got.activation->spec.granularity);
  EXPECT_EQ(want.activation->static_scale, got.activation->static_scale);
  EXPECT_EQ(want.activation->static_azp, got.activation->static_azp);
  EXPECT_EQ(want.activation->outlier_threshold, got.activation->outlier_threshold);
}

class RealFiles : public Scratch {
 protected:
  /// The folder's tensors in two files: codes in the second, all else in the first.
  std::string in_two_files(const Folder& row, const Checkpoint& file) const {
    const fs::path folder = folder_ / row.name;
    fs::create_directory(folder);
    for (const auto& entry : fs::directory_iterator(kData / row.name)) {
      if (entry.path().extension() == ".json") {
        fs::copy_file(entry.path(), folder / entry.path().filename());
      }
    }
    constexpr const char* kNames[] = {"model-00001-of-00002.safetensors",
                                      "model-00002-of-00002.safetensors"};
    std::vector<TensorToWrite> parts[2];
    std::string map;
    for (const TensorEntry& e : file.entries()) {
      const bool codes = e.name.ends_with("weight") || e.name.ends_with("weight_packed") ||
                         e.name.ends_with("qdata") || e.name.ends_with("._data");
      parts[codes ? 1 : 0].push_back(
          {e.name, e.dtype, e.shape, [&file, name = e.name] { return file.bytes(name); }});
      map += std::string(map.empty() ? "" : ",") + '"' + e.name + "\":\"" + kNames[codes ? 1 : 0] +
             '"';
    }
    for (int i = 0; i < 2; ++i) {
      write_safetensors((folder / kNames[i]).string(), parts[i], file.metadata());
    }
    write_file((folder / "model.safetensors.index.json").string(),
               R"({"metadata":{"total_size":0},"weight_map":{)" + map + "}}");
    return folder.string();
  }
};

TEST_F(RealFiles, EveryFolderHasARow) {
  std::set<std::string> there, listed{kRotated, kExperts};
  for (const auto& entry : fs::directory_iterator(kData)) {
    if (entry.is_directory() && entry.path().filename() != "__pycache__") {
      there.insert(entry.path().filename().string());
    }
  }
  for (const Folder& row : folders()) listed.insert(row.name);
  EXPECT_EQ(listed, there);
}

TEST_F(RealFiles, AreReadIntoTheCanonicalForm) {
  for (const Folder& row : folders()) {
    SCOPED_TRACE(row.name);
    const Checkpoint file = open_checkpoint((kData / row.name).string());
    const std::vector<std::string> layers = file.quantized_layers();
    EXPECT_EQ(row.layers, layers.size());
    for (const std::string& layer : layers) {
      SCOPED_TRACE(layer);
      const Weight w = file.weight(layer);
      // ComfyUI decides by layer whether it quantises activations.
      const bool has_input = row.scheme == std::string("fp8-weight-only") && w.activation;
      EXPECT_EQ(has_input ? "fp8-dynamic" : row.scheme, w.scheme);
      EXPECT_TRUE(!has_input || w.activation->static_scale > 0.0F);
      EXPECT_EQ(row.grid.value_or(w.codes.grid), w.codes.grid);
      EXPECT_EQ(row.weight_azp, w.codes.azp.defined());
      EXPECT_EQ(row.columns, w.columns.defined());
      if (has_input) continue;
      ASSERT_EQ(row.activation.has_value(), w.activation.has_value());
      if (!w.activation) continue;
      EXPECT_EQ(*row.activation, w.activation->spec.granularity);
      EXPECT_EQ(row.is_static, w.activation->static_scale > 0.0F);
      EXPECT_EQ(row.azp, w.activation->spec.azp);
    }
  }
}

TEST_F(RealFiles, HaveTheValuesThatTheirToolsCompute) {
  for (const Folder& row : folders()) {
    SCOPED_TRACE(row.name);
    const Checkpoint file = open_checkpoint((kData / row.name).string());
    const Checkpoint expected =
        open_checkpoint((kData / (std::string(row.name) + ".expected.safetensors")).string());
    int weights = 0;
    for (const TensorEntry& e : expected.entries()) {
      const std::size_t dot = e.name.rfind('.');
      const std::string layer = e.name.substr(0, dot);
      SCOPED_TRACE(layer);
      const Weight w = file.weight(layer);
      if (e.name.substr(dot) == ".weight") {
        expect_tools_weight(w, expected.tensor(e.name));
        ++weights;
      } else if (e.name.substr(dot) == ".x_quantised") {
        ASSERT_TRUE(w.activation);
        expect_tools_activations(*w.activation, expected.tensor(layer + ".x"),
                                 expected.tensor(e.name));
      }
      if (HasFailure()) return;
    }
    EXPECT_GT(weights, 0);
  }
}

TEST_F(RealFiles, AreMultipliedWithinTheBound) {
  for (const Folder& row : folders()) {
    SCOPED_TRACE(row.name);
    const Checkpoint file = open_checkpoint((kData / row.name).string());
    for (const std::string& layer : file.quantized_layers()) {
      SCOPED_TRACE(layer);
      expect_product(file.weight(layer));
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(RealFiles, AreTheSameWithScalesInAnotherFile) {
  for (const Folder& row : folders()) {
    SCOPED_TRACE(row.name);
    const Checkpoint file = open_checkpoint((kData / row.name).string());
    const Checkpoint sharded = open_checkpoint(in_two_files(row, file));
    ASSERT_EQ(2U, sharded.files().size());
    ASSERT_EQ(file.quantized_layers(), sharded.quantized_layers());
    for (const std::string& layer : file.quantized_layers()) {
      SCOPED_TRACE(layer);
      expect_same_weight(sharded.weight(layer), file.weight(layer));
    }
  }
}

// A byte of the header or of config.json is another one: a weight, or an error, and nothing else.
TEST_F(RealFiles, AChangedByteIsReadOrRefused) {
  std::mt19937 bits(29);
  int read = 0, refused = 0;
  for (const Folder& row : folders()) {
    SCOPED_TRACE(row.name);
    const fs::path folder = folder_ / row.name;
    fs::copy(kData / row.name, folder);
    const std::string model = read_file((folder / "model.safetensors").string());
    std::uint64_t header = 0;
    std::memcpy(&header, model.data(), sizeof header);
    const fs::path config = folder / "config.json";
    const std::string declared = fs::exists(config) ? read_file(config.string()) : "";
    for (int i = 0; i < 40; ++i) {
      const bool in_config = !declared.empty() && i % 4 == 0;
      std::string bytes = in_config ? declared : model;
      const std::size_t end = in_config ? declared.size() : 8 + header;
      bytes[in_config ? bits() % end : 8 + bits() % (end - 8)] = static_cast<char>(bits() % 128);
      write_file((in_config ? config : folder / "model.safetensors").string(), bytes);
      try {
        const Checkpoint file = open_checkpoint(folder.string());
        for (const std::string& layer : file.quantized_layers()) {
          const Weight w = file.weight(layer);
          ASSERT_EQ(2, w.codes.data.rank());
          ++read;
        }
      } catch (const Error& error) {
        EXPECT_TRUE(error.code() == Code::corrupt_data || error.code() == Code::unsupported ||
                    error.code() == Code::invalid_argument)
            << error.what();
        ++refused;
      }
      write_file((folder / "model.safetensors").string(), model);
      if (!declared.empty()) write_file(config.string(), declared);
    }
  }
  EXPECT_GT(read, 1000);
  EXPECT_GT(refused, 100);
}

TEST_F(RealFiles, ColumnsInAnotherOrderHaveToBeGathered) {
  const Checkpoint file = open_checkpoint((kData / "auto-gptq-act-order").string());
  const Weight w = file.weight(file.quantized_layers()[0]);
  expect_error(Code::invalid_argument, "pack: weight.columns must be applied to the activations",
               [&] { pack(w); });
}

/// Expert e of a stack as a weight.
Weight expert(const ExpertStack& stack, std::int64_t e, const ScaleGrid& grid) {
  const auto slice = [e](const Tensor& all) {
    TensorView part = all.view().slice(0, e, e + 1);
    part.rank = 2;
    for (std::size_t i = 0; i < 2; ++i) {
      part.shape[i] = part.shape[i + 1];
      part.strides[i] = part.strides[i + 1];
    }
    return copy(part, all.dtype());
  };
  Weight w;
  w.codes = {slice(stack.codes), slice(stack.scale), grid, {}};
  w.activation = stack.activation;
  w.scheme = stack.scheme;
  return w;
}

TEST_F(RealFiles, ExpertsInOneTensorAreRead) {
  const Checkpoint file = open_checkpoint((kData / kExperts).string());
  const Checkpoint expected =
      open_checkpoint((kData / (std::string(kExperts) + ".expected.safetensors")).string());
  EXPECT_EQ(24U, file.quantized_layers().size());  // gate, up and down of 4 experts of 2 layers
  const std::vector<std::string> stacks = file.quantized_experts();
  ASSERT_EQ(4U, stacks.size());
  for (const std::string& name : stacks) {
    SCOPED_TRACE(name);
    const bool swapped = name.find("layers.1") != std::string::npos;  // stored as [E, K, N]
    const ScaleGrid grid = swapped ? ScaleGrid{32, 16} : ScaleGrid{16, 32};
    const ExpertStack stack = file.experts(name);
    EXPECT_EQ("fp8-block", stack.scheme);
    EXPECT_EQ(block(grid.rows, grid.cols), stack.granularity);
    ASSERT_TRUE(stack.activation);
    EXPECT_EQ(group(grid.cols), stack.activation->spec.granularity);
    ASSERT_EQ(4, stack.codes.size(0));
    ASSERT_EQ(name.ends_with("down_proj") ? 32 : 64, stack.codes.size(1));
    ASSERT_EQ(32, stack.codes.size(2));
    const Tensor want = expected.tensor(name);
    const ExpertWeights packed = pack_experts(
        stack.codes,
        {.scale = Scale(stack.scale, stack.granularity), .activation = stack.activation});
    for (std::int64_t e = 0; e < 4; ++e) {
      const Weight w = expert(stack, e, grid);
      for (std::int64_t i = 0; i < want.size(1); ++i) {
        for (std::int64_t j = 0; j < want.size(2); ++j) {
          const double exact = swapped ? value(w.codes, j, i * 8) : value(w.codes, i * 8, j);
          expect_tools_value(want.dtype(), at(want, (e * want.size(1) + i) * want.size(2) + j),
                             exact);
        }
      }
      expect_product(w);
      const Tensor x = gaussians(float32, {3, 32}, 5);
      expect_same_bits(linear(x, packed[e]), linear(x, pack(w)));
      if (HasFailure()) return;
    }
  }
}

TEST_F(RealFiles, ExpertsThatDoNotFitAreErrors) {
  const auto stack = [](const char* name, const std::vector<std::int64_t>& shape) {
    std::size_t count = 1;
    for (const std::int64_t extent : shape) count *= static_cast<std::size_t>(extent);
    return stored(name, "F8_E4M3", shape, std::vector<std::uint8_t>(count, 1));
  };
  const auto scale = [](const char* name, const std::vector<std::int64_t>& shape, std::size_t n) {
    return stored(name, "F32", shape, std::vector<float>(n, 1.0F));
  };
  const auto both = stack("x.gate_up_proj", {2, 8, 4});
  const struct {
    std::vector<TensorToWrite> tensors;
    Code code;
    const char* fragment;
  } rows[] = {
      {{both}, Code::invalid_argument, "prefix must name quantised experts [E, N, K]"},
      {{both, scale("x.gate_up_proj_scale", {2}, 2)},
       Code::corrupt_data,
       "tensor 'x.gate_up_proj' must have tensor 'x.down_proj' of as many experts beside it; got "
       "none"},
      {{both, scale("x.gate_up_proj_scale", {2}, 2), stack("x.down_proj", {3, 4, 4})},
       Code::corrupt_data,
       "of as many experts beside it; got [3, 4, 4]"},
      {{both, scale("x.gate_up_proj_scale", {2}, 2), stack("x.down_proj", {2, 4, 5})},
       Code::corrupt_data,
       "must be [E, 2 I, H] and [E, H, I], or [E, H, 2 I] and [E, I, H]; got [2, 8, 4] and [2, 4, "
       "5]"},
      {{both, scale("x.gate_up_proj_scale", {2, 3}, 6), stack("x.down_proj", {2, 4, 4})},
       Code::corrupt_data,
       "tensor 'x.gate_up_proj_scale' must have a scale for each cell of a granularity of the "
       "experts [2, 8, 4]; got [2, 3]"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.fragment);
    write_safetensors(path("x"), row.tensors);
    expect_error(row.code, row.fragment,
                 [&] { open_checkpoint(path("x")).experts("x.gate_up_proj"); });
  }
  write_safetensors(path("x"), {both, stack("x.down_proj", {2, 4, 4}),
                                scale("x.gate_up_proj_scale", {2, 8}, 16)});
  const ExpertStack rows_of_n = open_checkpoint(path("x")).experts("x.gate_up_proj");
  EXPECT_EQ(per_channel(), rows_of_n.granularity);
  EXPECT_EQ("fp8-dynamic", rows_of_n.scheme);
}

// The tool adds sixteen products of a row by the matrix in its own order.
TEST_F(RealFiles, RotatedWeightsAreRotatedBack) {
  const Checkpoint file = open_checkpoint((kData / kRotated).string());
  const Checkpoint tool = open_checkpoint((kData / kRotated).string() + ".expected.safetensors");
  ASSERT_EQ(2U, file.quantized_layers().size());
  for (const std::string& layer : file.quantized_layers()) {
    const Weight w = file.weight(layer);
    EXPECT_EQ("int8-dynamic", w.scheme);
    ASSERT_EQ(16, w.activation.value().rotation);
    const Tensor values = float_values(w), want = tool.tensor(layer + ".weight");
    const std::int64_t step = values.size(0) / want.size(0);
    for (std::int64_t i = 0; i < want.size(0); ++i) {
      for (std::int64_t j = 0; j < want.size(1); ++j) {
        double magnitudes = 0.0;
        for (std::int64_t k = j / 16 * 16; k < j / 16 * 16 + 16; ++k) {
          magnitudes += std::abs(value(w.codes, i * step, k));
        }
        // A product and 16 additions of the tool's, a product and 8 additions of ours.
        EXPECT_LE(std::abs(at(values, i * step, j) - at(want, i, j)),
                  26 * 0x1.01p-24 * magnitudes / 4);
      }
    }
  }
}

TEST_F(RealFiles, RotationsThatAreNotKnownAreRefused) {
  const auto says = [&](const std::string& json) {
    const std::vector<std::uint8_t> text(json.begin(), json.end());
    write_safetensors(path("x"),
                      {stored("a.weight", "I8", {4, 32}, std::vector<std::int8_t>(4 * 32, 1)),
                       stored("a.weight_scale", "F32", {4, 1}, std::vector<float>(4, 1.0F)),
                       stored("a.comfy_quant", "U8", {std::ssize(text)}, text)});
    return [this] { (void)open_checkpoint(path("x")).weight("a"); };
  };
  expect_error(Code::unsupported, "ComfyUI's convrot_groupsize must be 16, 64 or 256; got",
               says(R"({"format": "int8_tensorwise", "convrot": true})"));
  expect_error(
      Code::unsupported, "ComfyUI's convrot_groupsize must be 16, 64 or 256; got '1024'",
      says(R"({"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": 1024})"));
  expect_error(Code::unsupported, "ComfyUI's convrot must come with int8_tensorwise",
               says(R"({"format": "int8_blockwise", "convrot": true, "convrot_groupsize": 16})"));
  expect_error(Code::corrupt_data, "must have whole rotated groups of 64 along K; got [4, 32]",
               says(R"({"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": 64})"));
}

}  // namespace
}  // namespace octavo::test::real_files_test
