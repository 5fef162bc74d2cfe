// SPDX-License-Identifier: Apache-2.0
// The W8A8 layers: bit-equal to a quantiser and a product, however they were loaded.
#include <filesystem>

#include "octavo/layers.hpp"
#include "ops/helpers.hpp"

namespace octavo::test::layers_test {
namespace {

constexpr std::int64_t kK = 200, kN = 48;

/// Codes and scales of a weight, and what quantises its activations.
struct Case {
  const char* name;
  const char* scheme;
  DType dtype;
  Granularity stored;
  W8A8Options options;
  QuantizeOptions activations;
  std::optional<double> input_scale;
  std::optional<int> zero_point;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

const std::vector<Case>& cases() {
  const DType fp8 = float8_e4m3fn;
  const char* const f = "fp8-dynamic";
  const char* const i = "int8-dynamic";
  static const std::vector<Case> all{
      {"Fp8", f, fp8, per_token(), {}, {.dtype = fp8}, {}, {}},
      {"Fp8OneWeightScale", f, fp8, per_tensor(), {}, {.dtype = fp8}, {}, {}},
      {"Fp8OneScale",
       f,
       fp8,
       per_token(),
       {.activation = per_tensor()},
       {.dtype = fp8, .granularity = per_tensor()},
       {},
       {}},
      {"Fp8Static",
       f,
       fp8,
       per_tensor(),
       {},
       {.dtype = fp8, .granularity = per_tensor()},
       0.01,
       {}},
      {"Fp8Bounded",
       f,
       fp8,
       per_token(),
       {.input_scale_ub = 1.0F},
       {.dtype = fp8, .scale_ub = 1.0F},
       {},
       {}},
      {"Fp8OfAnotherKind", f, float8_e5m2, per_token(), {}, {.dtype = float8_e5m2}, {}, {}},
      {"Int8", i, int8, per_token(), {}, {.dtype = int8}, {}, {}},
      {"Int8Azp", i, int8, per_token(), {.azp = true}, {.dtype = int8, .azp = true}, {}, {}},
      {"Int8Static",
       i,
       int8,
       per_token(),
       {},
       {.dtype = int8, .granularity = per_tensor()},
       0.02,
       {}},
      {"Int8StaticAzp",
       i,
       int8,
       per_token(),
       {},
       {.dtype = int8, .granularity = per_tensor(), .azp = true},
       0.02,
       -11},
      {"Blocks",
       "fp8-block",
       fp8,
       block(128, 128),
       {},
       {.dtype = fp8, .granularity = group(128)},
       {},
       {}},
      {"OtherBlocks",
       "fp8-block",
       fp8,
       block(16, 64),
       {.block = {16, 64}},
       {.dtype = fp8, .granularity = group(64)},
       {},
       {}},
  };
  return all;
}

class Layers : public testing::TestWithParam<Case> {
 protected:
  Quantized weight_ = quantize(gaussians(float32, {kN, kK}, 1),
                               {.dtype = GetParam().dtype, .granularity = GetParam().stored});
  Tensor bias_ = gaussians(bfloat16, {kN}, 2);
  Tensor input_scale_ =
      tensor_of(float32, {1}, [](std::int64_t) { return *GetParam().input_scale; });
  Tensor zero_ = tensor_of(int32, {1, 1}, [](std::int64_t) {
    return static_cast<double>(GetParam().zero_point.value_or(0));
  });

  static QuantizedLinear layer(const LinearTensors& t, const W8A8Options& o) {
    const std::string scheme = GetParam().scheme;
    if (scheme == "int8-dynamic") return Int8Linear(t, o);
    if (scheme == "fp8-dynamic") return Fp8Linear(t, o);
    return BlockFp8Linear(t, o);
  }
  QuantizedLinear layer() const {
    LinearTensors t{weight_.data, weight_.scale, bias_};
    if (GetParam().input_scale) t.input_scale = input_scale_;
    if (GetParam().zero_point) t.input_zero_point = zero_;
    return layer(t, GetParam().options);
  }
  Quantized quantized(const TensorView& x) const {
    QuantizeOptions o = GetParam().activations;
    if (GetParam().input_scale) o.scale = *GetParam().input_scale;
    if (GetParam().zero_point) o.azp_in = zero_;
    return quantize(x, o);
  }
};

TEST_P(Layers, AreAQuantizerAndAProduct) {
  const QuantizedLinear made = layer();
  EXPECT_EQ(kK, made.in_features());
  EXPECT_EQ(kN, made.out_features());
  for (const DType dtype : {bfloat16, float32, float16}) {
    for (const std::int64_t m : {0, 1, 7, 33}) {
      const Tensor x = gaussians(dtype, {m, kK}, 3);
      const Quantized q = quantized(x);
      const Operand weight = Operand(weight_).transposed();
      for (const char* backend : usable_backends()) {
        const Tensor want =
            scaled_mm(q, weight, {.bias = bias_, .out_dtype = dtype, .backend = backend});
        expect_same_bits(made(x, {.backend = backend}), want);
        expect_same_bits(made(q, {.out_dtype = dtype, .backend = backend}), want);
      }
    }
  }
}

TEST_P(Layers, TakeAnotherBiasAndKeepTheirOwn) {
  const QuantizedLinear made = layer();
  const Tensor x = gaussians(bfloat16, {3, kK}, 3);
  const Tensor other = gaussians(float32, {kN}, 5);
  expect_same_bits(made(x, {.bias = other}), linear(x, made.weight(), {.bias = other}));
  expect_same_bits(made(x), linear(x, made.weight(), {.bias = bias_}));
}

INSTANTIATE_TEST_SUITE_P(Cases, Layers, testing::ValuesIn(cases()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(LayersOfAFile, AreFusedWithTheirBiases) {
  const std::string folder = testing::TempDir();
  const std::string plain = folder + "octavo-layers.safetensors";
  const std::string small = folder + "octavo-layers-small.safetensors";
  std::vector<TensorToWrite> tensors;
  const auto add = [&](const std::string& name, const Tensor& t) {
    tensors.push_back({name, "F32", {t.view().dims().begin(), t.view().dims().end()}, [t] {
                         const auto* bytes = static_cast<const std::byte*>(t.data());
                         return std::vector<std::byte>(bytes, bytes + t.numel() * 4);
                       }});
  };
  const std::vector<std::string> names{"q", "k", "v"};
  const std::vector<std::int64_t> widths{40, 30, 58};
  for (std::size_t i = 0; i < names.size(); ++i) {
    add(names[i] + ".weight", gaussians(float32, {widths[i], kK}, static_cast<unsigned>(i)));
    add(names[i] + ".bias", gaussians(float32, {widths[i]}, static_cast<unsigned>(10 + i)));
  }
  add("alone.weight", gaussians(float32, {8, kK}, 20));
  write_safetensors(plain, tensors);
  const Tensor x = gaussians(bfloat16, {5, kK}, 7);
  for (const Scheme scheme :
       {Scheme::int8_dynamic, Scheme::fp8_dynamic, Scheme::fp8_block, Scheme::llm_int8}) {
    quantize_file(plain, small, {.scheme = scheme});
    const Checkpoint file = open_checkpoint(small);
    const Tensor y = load_linear(file, names)(x);
    std::int64_t n = 0;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const Tensor part = load_linear(file, std::span(&names[i], 1))(x);
      expect_same_bits(copy(y.view().slice(1, n, n + widths[i]), bfloat16), part);
      n += widths[i];
    }
    EXPECT_FALSE(load_linear(file, std::vector<std::string>{"alone"}).bias().defined());
  }
  std::filesystem::remove(plain);
  std::filesystem::remove(small);
}

}  // namespace
}  // namespace octavo::test::layers_test
