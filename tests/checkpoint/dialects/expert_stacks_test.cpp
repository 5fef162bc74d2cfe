// SPDX-License-Identifier: Apache-2.0
// Experts in one tensor, as every order of rows, columns and halves lays them: each is the layer
// that it is, whatever is done to the file.
#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/support.hpp"
#include "kit/operands/random.hpp"
#include "octavo/checkpoint/linear_layers.hpp"

namespace octavo::test::expert_stacks_test {
namespace {

namespace fs = std::filesystem;

constexpr const char *kBoth = "l.experts.gate_up_proj", *kDown = "l.experts.down_proj";

/// How a stack is stored.
struct Order {
  const char* name;
  bool inputs;       ///< [E, K, N]
  bool interleaved;  ///< rows of gate and up alternate: gpt-oss
};
constexpr Order kOrders[] = {{"outputs", false, false},
                             {"inputs", true, false},
                             {"outputs interleaved", false, true},
                             {"inputs interleaved", true, true}};

const char* config_of(const Order& order) {
  return order.interleaved ? R"({"model_type": "gpt_oss", "dtype": "float32"})"
                           : R"({"model_type": "qwen3_moe", "dtype": "float32"})";
}

std::string content(const Tensor& tensor) {
  if (!tensor.defined()) return {};
  return {tensor.data_as<char>(),
          static_cast<std::size_t>(tensor.numel() * element_bytes(tensor.dtype()))};
}

/// Experts as they are meant, and their numbers as a stack stores them.
struct Model {
  std::int64_t experts, inner, hidden;  // E, I, H

  std::int64_t rows(const std::string& part) const { return part == "down_proj" ? hidden : inner; }
  std::int64_t columns(const std::string& part) const {
    return part == "down_proj" ? inner : hidden;
  }
  /// The row of a layer in its expert of the stack.
  std::int64_t stack_row(const Order& order, const std::string& part, std::int64_t i) const {
    if (part == "down_proj") return i;
    const std::int64_t half = part == "up_proj" ? 1 : 0;
    return order.interleaved ? 2 * i + half : half * inner + i;
  }
  /// The number of an element in the stack.
  std::int64_t stored(const Order& order, const std::string& part, std::int64_t e, std::int64_t i,
                      std::int64_t j) const {
    const std::int64_t n = part == "down_proj" ? hidden : 2 * inner, k = columns(part);
    const std::int64_t row = stack_row(order, part, i);
    return e * n * k + (order.inputs ? j * n + row : row * k + j);
  }
  std::vector<std::int64_t> shape(const Order& order, const char* stack) const {
    const std::int64_t n = stack == kDown ? hidden : 2 * inner;
    const std::int64_t k = stack == kDown ? inner : hidden;
    if (order.inputs) return {experts, k, n};
    return {experts, n, k};
  }
};

constexpr const char* kParts[] = {"gate_proj", "up_proj", "down_proj"};

std::string layer_name(std::int64_t e, const std::string& part) {
  return "l.experts." + std::to_string(e) + "." + part;
}

class ExpertStacks : public Scratch {
 protected:
  void folder(const Order& order, std::vector<TensorToWrite> tensors) const {
    for (const char* name : {"in", "out", "out1", "back", "float"}) fs::remove_all(path(name));
    fs::create_directories(path("in"));
    write_safetensors(path("in/model.safetensors"), std::move(tensors));
    write_file(path("in/config.json"), config_of(order));
  }
};

std::vector<float> uniform(std::int64_t count, std::uint64_t seed) {
  const kit::Random random(seed);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(random.uniform(i) - 0.5);
  }
  return values;
}

/// A layer's weight, and its bias, of the stacks' elements.
Tensor layer_of(const Model& m, const Order& order, const std::string& part, std::int64_t e,
                const std::vector<float>& stack) {
  Tensor w = Tensor::empty(DType::float32, {m.rows(part), m.columns(part)});
  for (std::int64_t i = 0; i < w.size(0); ++i) {
    for (std::int64_t j = 0; j < w.size(1); ++j) {
      w.data_as<float>()[i * w.size(1) + j] =
          stack[static_cast<std::size_t>(m.stored(order, part, e, i, j))];
    }
  }
  return w;
}

// Layers of several pieces: 2 MiB are fewer rows than a layer has.
TEST_F(ExpertStacks, FloatStacksAreQuantizedAsTheLayersThatTheyAre) {
  const Model m{2, 1280, 512};
  for (const Order& order : kOrders) {
    const std::vector<float> both = uniform(2 * m.experts * m.inner * m.hidden, 1);
    const std::vector<float> down = uniform(m.experts * m.inner * m.hidden, 2);
    const std::vector<float> both_bias = uniform(m.experts * 2 * m.inner, 3);
    const std::vector<float> down_bias = uniform(m.experts * m.hidden, 4);
    folder(order, {stored(kBoth, "F32", m.shape(order, kBoth), both),
                   stored(kDown, "F32", m.shape(order, kDown), down),
                   stored(std::string(kBoth) + "_bias", "F32", {m.experts, 2 * m.inner}, both_bias),
                   stored(std::string(kDown) + "_bias", "F32", {m.experts, m.hidden}, down_bias)});
    EXPECT_EQ(6U, linear_layers(open_checkpoint(path("in"))).size());
    for (const Scheme scheme : {Scheme::int8_dynamic, Scheme::fp8_dynamic, Scheme::fp8_block}) {
      SCOPED_TRACE(std::string(order.name) + " " + std::string(scheme_name(scheme)));
      for (const char* name : {"out", "out1", "float"}) fs::remove_all(path(name));
      const QuantizeReport report =
          quantize_file(path("in"), path("out"), {.scheme = scheme, .threads = 3});
      quantize_file(path("in"), path("out1"), {.scheme = scheme, .threads = 1});
      EXPECT_EQ(read_file(path("out/model.safetensors")),
                read_file(path("out1/model.safetensors")));
      EXPECT_EQ(6U, report.layers.size());
      const bool usual = !order.inputs && !order.interleaved;
      ASSERT_EQ(usual ? 0U : 1U, report.warnings.size());
      if (!usual) {
        EXPECT_NE(std::string::npos,
                  report.warnings[0].find("for transformers' own class to load"));
      }
      const Checkpoint out = open_checkpoint(path("out"));
      EXPECT_EQ(6U, out.quantized_layers().size());
      for (const std::string part : kParts) {
        const bool is_down = part == "down_proj";
        for (std::int64_t e = 0; e < m.experts; ++e) {
          const Tensor want = layer_of(m, order, part, e, is_down ? down : both);
          const Weight made = quantize_weight(want, scheme);
          const Weight got = out.weight(layer_name(e, part));
          ASSERT_EQ(content(made.codes.data), content(got.codes.data)) << part << e;
          ASSERT_EQ(content(made.codes.scale), content(got.codes.scale)) << part << e;
          const Tensor bias = out.tensor(layer_name(e, part) + ".bias");
          ASSERT_EQ(m.rows(part), bias.size(0));
          for (std::int64_t i = 0; i < bias.size(0); ++i) {
            const std::int64_t n = is_down ? m.hidden : 2 * m.inner;
            const auto at = static_cast<std::size_t>(e * n + m.stack_row(order, part, i));
            ASSERT_EQ((is_down ? down_bias : both_bias)[at], bias.data_as<float>()[i]);
          }
        }
      }
      for (const char* gone : {kBoth, kDown, "l.experts.gate_up_proj_bias"}) {
        EXPECT_FALSE(out.contains(gone)) << gone;
      }
    }
    fs::remove_all(path("out"));
    const QuantizeReport left = quantize_file(  // bitsandbytes has no experts: all stays
        path("in"), path("out"), {.scheme = Scheme::fp8_dynamic, .ignore = {kDown}});
    EXPECT_EQ(4U, left.layers.size());
    EXPECT_TRUE(open_checkpoint(path("out")).contains("l.experts.down_proj_bias"));
    EXPECT_FALSE(open_checkpoint(path("out")).contains("l.experts.gate_up_proj_bias"));
  }
}

TEST_F(ExpertStacks, ElementsThatAreNotFiniteAreNamedWhereTheyLie) {
  const Model m{3, 8, 4};
  for (const Order& order : kOrders) {
    SCOPED_TRACE(order.name);
    std::vector<float> both = uniform(2 * m.experts * m.inner * m.hidden, 1);
    both[static_cast<std::size_t>(m.stored(order, "up_proj", 1, 5, 2))] =
        std::numeric_limits<float>::quiet_NaN();
    folder(order, {stored(kBoth, "F32", m.shape(order, kBoth), both),
                   stored(kDown, "F32", m.shape(order, kDown),
                          uniform(m.experts * m.inner * m.hidden, 2))});
    const std::int64_t row = m.stack_row(order, "up_proj", 5);
    const std::string place = order.inputs ? "[1, 2, " + std::to_string(row) + "]"
                                           : "[1, " + std::to_string(row) + ", 2]";
    expect_error(Code::corrupt_data,
                 "tensor 'l.experts.gate_up_proj' must be finite; got NaN or infinity at " + place,
                 [&] { quantize_file(path("in"), path("out"), {}); });
  }
}

/// A granularity of the tensor as stored, and the scale's shape for [E, a, b].
struct Scales {
  const char* name;
  std::int64_t rows, columns;  ///< 0: all
  const char* declared;        ///< config.json's quantization_config
};
constexpr Scales kScales[] = {
    {"one for each expert", 0, 0, R"({"quant_method": "fp8"})"},
    {"one for each row", 1, 0, R"({"quant_method": "fp8"})"},
    {"blocks", 4, 8, R"({"quant_method": "fp8", "weight_block_size": [4, 8]})"},
    // 6 rows do not divide the 16 of gate: a block has rows of gate and of up.
    {"blocks across the halves", 6, 8, R"({"quant_method": "fp8", "weight_block_size": [6, 8]})"},
};

std::int64_t cells_of(std::int64_t extent, std::int64_t cell) {
  return cell == 0 ? 1 : (extent + cell - 1) / cell;
}

/// A stack's tensors, and what each of its elements stands for.
struct QuantizedStack {
  std::vector<std::uint8_t> codes;
  std::vector<float> scales;
  std::vector<std::int64_t> shape, scale_shape;
  std::int64_t a = 0, b = 0, rows = 0, columns = 0;

  QuantizedStack(const Model& m, const Order& order, const char* name, const Scales& scales_of)
      : shape(m.shape(order, name)), a(shape[1]), b(shape[2]) {
    rows = scales_of.rows;
    columns = scales_of.columns;
    const bool by_rows = rows == 1;
    if (by_rows && order.inputs) {  // a row of [N, K] is a column as stored
      rows = 0;
      columns = 1;
    }
    const std::int64_t down = cells_of(a, rows), across = cells_of(b, columns);
    scale_shape = {shape[0], down, across};
    if (by_rows) scale_shape = {shape[0], down * across};
    if (scales_of.rows == 0) scale_shape = {shape[0]};
    const kit::Random random(name == kDown ? 7 : 8);
    codes.resize(static_cast<std::size_t>(shape[0] * a * b));
    for (std::size_t i = 0; i < codes.size(); ++i) {
      codes[i] = static_cast<std::uint8_t>(random.uniform(i) * 0x7E);  // finite, positive
      if (i % 3 == 0) codes[i] |= 0x80U;
    }
    scales.resize(static_cast<std::size_t>(shape[0] * down * across));
    for (std::size_t i = 0; i < scales.size(); ++i) {
      scales[i] = static_cast<float>(random.uniform(codes.size() + i) + 0.25);
    }
  }
  float scale(std::int64_t element) const {
    const std::int64_t e = element / (a * b), i = element / b % a, j = element % b;
    const std::int64_t row = rows == 0 ? 0 : i / rows, column = columns == 0 ? 0 : j / columns;
    const auto at = (e * cells_of(a, rows) + row) * cells_of(b, columns) + column;
    return scales[static_cast<std::size_t>(at)];
  }
  float code(std::int64_t element, DType dtype) const {
    const TensorView one(&codes[static_cast<std::size_t>(element)], dtype, {1});
    return *copy(one, DType::float32).data_as<float>();
  }
  float value(std::int64_t element, DType dtype) const {
    return code(element, dtype) * scale(element);
  }
};

class QuantizedStacks : public ExpertStacks {
 protected:
  const Model m_{3, 16, 24};

  void write(const Order& order, const Scales& scales, const char* dtype, const char* suffix,
             const std::vector<float>& input_scale) {
    both_ = std::make_unique<QuantizedStack>(m_, order, kBoth, scales);
    down_ = std::make_unique<QuantizedStack>(m_, order, kDown, scales);
    std::vector<TensorToWrite> tensors;
    for (const auto& [name, stack] : {std::pair(kBoth, both_.get()), {kDown, down_.get()}}) {
      tensors.push_back(stored(name, dtype, stack->shape, stack->codes));
      tensors.push_back(
          stored(std::string(name) + suffix, "F32", stack->scale_shape, stack->scales));
      if (input_scale.empty()) continue;
      std::vector<std::int64_t> shape;
      if (input_scale.size() > 1) shape = {std::ssize(input_scale)};
      tensors.push_back(
          stored(std::string(name) + "_input_scale", "F32", std::move(shape), input_scale));
    }
    folder(order, std::move(tensors));
    if (dtype == std::string("I8")) return;
    std::string config = config_of(order);
    config.insert(config.size() - 1,
                  std::string(", \"quantization_config\": ").append(scales.declared));
    write_file(path("in/config.json"), config);
  }
  /// The values that a layer stands for.
  void expect_values(const Order& order, const Weight& w, const std::string& part, std::int64_t e,
                     DType dtype) const {
    const Tensor values = float_values(w);
    ASSERT_EQ(m_.rows(part), values.size(0));
    ASSERT_EQ(m_.columns(part), values.size(1));
    for (std::int64_t i = 0; i < values.size(0); ++i) {
      for (std::int64_t j = 0; j < values.size(1); ++j) {
        const std::int64_t at = m_.stored(order, part, e, i, j);
        const QuantizedStack& stack = part == "down_proj" ? *down_ : *both_;
        ASSERT_EQ(stack.value(at, dtype), values.data_as<float>()[i * values.size(1) + j])
            << part << e << " " << i << " " << j;
      }
    }
  }
  std::unique_ptr<QuantizedStack> both_, down_;
};

TEST_F(QuantizedStacks, EachExpertIsTheLayerThatItIsInEveryFormat) {
  constexpr Format kFormats[] = {Format::compressed_tensors, Format::fp8, Format::fp8_block,
                                 Format::bitsandbytes};
  for (const Order& order : kOrders) {
    for (const Scales& scales : kScales) {
      for (const char* type : {"F8_E4M3", "I8"}) {
        const bool blocks = scales.columns != 0;
        if (type == std::string("I8") && blocks) continue;  // nobody writes them
        SCOPED_TRACE(std::string(order.name) + ", " + scales.name + ", " + type);
        const DType dtype = type == std::string("I8") ? DType::int8 : DType::float8_e4m3fn;
        write(order, scales, type, blocks ? "_scale_inv" : "_weight_scale", {});
        const Checkpoint in = open_checkpoint(path("in"));
        ASSERT_EQ(9U, in.quantized_layers().size());
        for (const std::string part : kParts) {
          for (std::int64_t e = 0; e < m_.experts; ++e) {
            const Weight w = in.weight(layer_name(e, part));
            expect_values(order, w, part, e, dtype);
            ASSERT_TRUE(w.activation);
            if (HasFailure()) return;
          }
        }
        for (const Format format : kFormats) {
          fs::remove_all(path("out"));
          if (format == Format::bitsandbytes) {  // which has no experts, and nothing else is here
            expect_error(Code::invalid_argument, "all of which would be left in float",
                         [&] { convert_file(path("in"), path("out"), {.format = format}); });
            continue;
          }
          const QuantizeReport report = convert_file(path("in"), path("out"), {.format = format});
          const Checkpoint out = open_checkpoint(path("out"));
          EXPECT_EQ(in.quantized_layers(), out.quantized_layers());
          EXPECT_TRUE(out.quantized_experts().empty());
          bool lost = false;
          for (const std::string& warning : report.warnings) {
            for (const char* loss : {"made anew", "rounded"}) {
              lost = lost || warning.find(loss) != std::string::npos;
            }
          }
          EXPECT_FALSE(lost && format == Format::compressed_tensors);
          for (const std::string part : kParts) {
            if (!lost) expect_values(order, out.weight(layer_name(1, part)), part, 1, dtype);
          }
        }
        // In float the stack is one tensor again, as it was stored.
        dequantize_file(path("in"), path("float"));
        const Checkpoint plain = open_checkpoint(path("float"));
        EXPECT_TRUE(plain.declarations().empty());
        ASSERT_EQ(2U, plain.entries().size());
        for (const auto& [name, stack] : {std::pair(kBoth, both_.get()), {kDown, down_.get()}}) {
          const Tensor values = plain.tensor(name);
          const auto dims = values.view().dims();
          ASSERT_EQ(stack->shape, (std::vector<std::int64_t>{dims.begin(), dims.end()}));
          for (std::int64_t i = 0; i < values.numel(); ++i) {
            ASSERT_EQ(stack->value(i, dtype), values.data_as<float>()[i]) << name << i;
          }
        }
        fs::remove_all(path("out"));
        const QuantizeReport again = quantize_file(
            path("in"), path("out"), {.scheme = Scheme::int8_dynamic, .requantize = true});
        EXPECT_EQ(9U, again.layers.size());
        const Checkpoint out = open_checkpoint(path("out"));
        const Weight want = quantize_weight(float_values(in.weight(layer_name(2, "up_proj"))),
                                            Scheme::int8_dynamic);
        EXPECT_EQ(content(want.codes.data),
                  content(out.weight(layer_name(2, "up_proj")).codes.data));
        EXPECT_TRUE(out.contains(layer_name(2, "up_proj") + ".weight_packed"));
      }
    }
  }
}

TEST_F(QuantizedStacks, StaticScalesAreOneOrOneForEachExpert) {
  const Order& order = kOrders[1];
  for (const std::vector<float>& scale :
       {std::vector<float>{0.5F}, std::vector<float>{0.5F, 0.25F, 2.0F}}) {
    write(order, kScales[0], "F8_E4M3", "_weight_scale", scale);
    const Checkpoint in = open_checkpoint(path("in"));
    for (std::int64_t e = 0; e < m_.experts; ++e) {
      const Weight w = in.weight(layer_name(e, "gate_proj"));
      EXPECT_EQ(scale[scale.size() == 1 ? 0 : static_cast<std::size_t>(e)],
                w.activation->static_scale);
      EXPECT_EQ(per_tensor(), w.activation->spec.granularity);
    }
    EXPECT_EQ(scale.size() == 1 ? 0.5F : 2.0F, in.experts(kDown).activation->static_scale);
    convert_file(path("in"), path("out"), {.format = Format::fp8});
    const Checkpoint out = open_checkpoint(path("out"));
    EXPECT_EQ(scale.back(), out.weight(layer_name(2, "down_proj")).activation->static_scale);
  }
}

TEST_F(QuantizedStacks, WhatDoesNotFitIsAnError) {
  const Order& order = kOrders[0];
  const auto with_config = [&](const char* declared) {
    write_file(path("in/config.json"),
               std::string(R"({"quantization_config": )").append(declared) + "}");
  };
  const auto read = [&] { open_checkpoint(path("in")).weight(layer_name(0, "up_proj")); };
  write(order, kScales[0], "F8_E4M3", "_weight_scale", {});
  with_config(R"({"quant_method": "fp8", "activation_scheme": "static"})");
  expect_error(Code::corrupt_data,
               "experts 'l.experts.gate_up_proj' must have a scale of activations beside them",
               read);
  with_config(R"({"quant_method": "fp8", "ignored_layers": ["l.experts.gate_up_proj"]})");
  expect_error(Code::corrupt_data, "tensor 'l.experts.gate_up_proj' must be in float, since", read);
  for (const auto& [scale, fragment] :
       {std::pair(std::vector<float>{1, 2}, "must have one float, or one for each of 3 experts"),
        {std::vector<float>{1, 0, 1}, "must hold finite numbers above 0; got 0 for expert 1"},
        {std::vector<float>{NAN}, "must hold finite numbers above 0; got nan for expert"}}) {
    write(order, kScales[0], "F8_E4M3", "_weight_scale", scale);
    expect_error(Code::corrupt_data, fragment,
                 [&] { open_checkpoint(path("in")).weight(layer_name(1, "up_proj")); });
  }
  write(order, kScales[0], "F8_E4M3", "_weight_scale", {});
  const Checkpoint in = open_checkpoint(path("in"));
  for (const char* none : {"l.experts.3.up_proj", "l.experts.-1.up_proj", "l.experts.01.up_proj",
                           "l.experts.1.gate_up_proj", "l.experts.18446744073709551617.up_proj",
                           "l.experts..up_proj", "1.up_proj", "l.experts.1."}) {
    expect_error(Code::invalid_argument, "prefix must name a layer", [&] { in.weight(none); });
  }
  const Checkpoint plain = in;
  expect_error(Code::invalid_argument, "layer.at must be a matrix inside tensor", [&] {
    float_weight(plain, {"x", std::string(kBoth) + "_weight_scale", {1, 4, 0, 4, 1}});
  });
  constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
  for (const MatrixPlace& at : {MatrixPlace{kHuge, 1, 0, kHuge, 1}, MatrixPlace{1, 1, kHuge, 1, 1},
                                MatrixPlace{2, 1, 0, -1, 1}, MatrixPlace{0, 1, 0, 1, 1}}) {
    expect_error(Code::invalid_argument, "layer.at must be a matrix inside tensor", [&] {
      float_weight(plain, {"x", std::string(kBoth) + "_weight_scale", at});
    });
  }
}

// Codes of all experts packed in one tensor are a form that no reader has: an error, not silence.
TEST_F(ExpertStacks, PackedCodesInOneTensorAreNamed) {
  const std::string packed = std::string(kDown) + "_packed";
  folder(kOrders[0],
         {stored("l.q.weight", "I8", {2, 2}, std::vector<std::int8_t>{1, 2, 3, 4}),
          stored("l.q.weight_scale", "F32", {2, 1}, std::vector<float>(2, 1)),
          stored(packed, "I32", {2, 4, 1}, std::vector<std::int32_t>(8, 0)),
          stored(std::string(kDown) + "_scale", "F32", {2, 4, 1}, std::vector<float>(8, 1))});
  const Checkpoint in = open_checkpoint(path("in"));
  EXPECT_EQ((std::vector<std::string>{kDown, "l.q"}), in.quantized_layers());
  expect_error(Code::unsupported, packed, [&] { in.weight(kDown); });
  expect_error(Code::invalid_argument, "quantised layers",
               [&] { quantize_file(path("in"), path("out"), {}); });
  EXPECT_FALSE(fs::exists(path("out")));
}

// More experts than any model has are a tensor that nobody cuts: names of them would fill memory.
TEST_F(ExpertStacks, AsManyExpertsAsATensorHasElementsAreNoStack) {
  constexpr std::int64_t kMany = 70'000;
  const std::vector<std::uint8_t> codes(2 * kMany, 1);
  folder(kOrders[0], {stored("x.experts.w", "F8_E4M3", {kMany, 2, 1}, codes),
                      stored("x.experts.w_scale", "F32", {kMany}, std::vector<float>(kMany, 1))});
  const Checkpoint in = open_checkpoint(path("in"));
  EXPECT_TRUE(in.quantized_layers().empty());
  EXPECT_TRUE(in.quantized_experts().empty());
}

}  // namespace
}  // namespace octavo::test::expert_stacks_test
