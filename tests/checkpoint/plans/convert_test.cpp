// SPDX-License-Identifier: Apache-2.0
// convert_file and dequantize_file, on every folder of another tool and on those of our own
// schemes.
#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/support.hpp"
#include "kit/operands/random.hpp"
#include "octavo/checkpoint/linear_layers.hpp"
#include "octavo/rotate.hpp"
#include "support/source_folder.hpp"

namespace octavo::test::convert_test {
namespace {

namespace fs = std::filesystem;
constexpr Format kFormats[] = {Format::compressed_tensors, Format::fp8, Format::fp8_block,
                               Format::bitsandbytes};

std::string content(const Tensor& tensor) {
  if (!tensor.defined()) return {};
  return {tensor.data_as<char>(),
          static_cast<std::size_t>(tensor.numel() * element_bytes(tensor.dtype()))};
}

/// Codes, scales, zero points, granularity and rule, to the bit.
void expect_same(const Weight& a, const Weight& b) {
  EXPECT_EQ(content(a.codes.data), content(b.codes.data));
  EXPECT_EQ(content(copy(a.codes.scale, DType::float32)),
            content(copy(b.codes.scale, DType::float32)));
  EXPECT_EQ(content(a.codes.azp), content(b.codes.azp));
  EXPECT_EQ(a.codes.grid, b.codes.grid);
  ASSERT_EQ(a.activation.has_value(), b.activation.has_value());
  if (!a.activation) return;
  EXPECT_EQ(a.activation->static_scale, b.activation->static_scale);
  EXPECT_EQ(a.activation->static_azp, b.activation->static_azp);
  EXPECT_EQ(a.activation->rotation, b.activation->rotation);
  EXPECT_EQ(a.activation->spec.granularity, b.activation->spec.granularity);
  EXPECT_EQ(a.activation->spec.azp, b.activation->spec.azp);
  EXPECT_EQ(a.activation->outlier_threshold, b.activation->outlier_threshold);
}

/// The folders that other tools wrote and that are read.
std::vector<std::string> foreign() {
  std::vector<std::string> all;
  for (const auto& entry : fs::directory_iterator(in_checkout("tests/checkpoint/data"))) {
    if (!entry.is_directory()) continue;
    try {
      const Checkpoint in = open_checkpoint(entry.path().string());
      for (const std::string& layer : in.quantized_layers()) (void)in.weight(layer);
    } catch (const Error&) {
      continue;  // RealFiles says which those are, and why
    }
    all.push_back(entry.path().string());
  }
  std::sort(all.begin(), all.end());
  return all;
}

class Convert : public Scratch {
 protected:
  void reset() const { fs::remove_all(path("out")); }
  QuantizeReport convert(const std::string& in, const std::string& out, Format format) const {
    return convert_file(in, path(out), {.format = format});
  }
};

TEST_F(Convert, ReadsAsItWasWhereNothingIsSaidToBeLost) {
  const auto folders = foreign();
  ASSERT_LT(20U, folders.size());
  int lossless = 0;
  for (const std::string& folder : folders) {
    for (const Format format : kFormats) {
      SCOPED_TRACE(folder + " " + std::string(format_name(format)));
      reset();
      if (format == Format::bitsandbytes && folder.ends_with("fp8-experts")) {
        expect_error(Code::invalid_argument, "got 24, all of which would be left in float",
                     [&] { convert(folder, "out", format); });
        continue;
      }
      const QuantizeReport report = convert(folder, "out", format);
      const Checkpoint in = open_checkpoint(folder), out = open_checkpoint(path("out"));
      bool lost = false, left = false;
      for (const std::string& warning : report.warnings) {
        lost = lost || warning.find("are not as they were") != std::string::npos;
        left = left || warning.find("stay in float") != std::string::npos;
      }
      EXPECT_EQ(left, in.quantized_layers() != out.quantized_layers());
      EXPECT_TRUE(!left || format == Format::fp8_block);
      for (const std::string& layer : out.quantized_layers()) {
        const Weight a = in.weight(layer), b = out.weight(layer);
        if (!lost) expect_same(a, b);
      }
      lossless += lost ? 0 : 1;
    }
  }
  EXPECT_LT(15, lossless);
}

TEST_F(Convert, CompressedTensorsKeepsEveryGranularityZeroPointAndStaticScale) {
  for (const std::string& folder : foreign()) {
    const Checkpoint in = open_checkpoint(folder);
    bool keeps = true;
    for (const std::string& layer : in.quantized_layers()) {
      const Weight weight = in.weight(layer);
      const DType codes = weight.codes.data.dtype();
      keeps = keeps && !weight.columns.defined() && weight.scheme != "llm-int8" &&
              (codes == DType::int8 || codes == DType::float8_e4m3fn) &&
              (!weight.activation || weight.activation->rotation == 0);
    }
    reset();
    const QuantizeReport report = convert(folder, "out", Format::compressed_tensors);
    EXPECT_EQ(keeps, report.warnings.empty() ||
                         report.warnings[0].find("are not as they were") == std::string::npos)
        << folder << ": " << (report.warnings.empty() ? "" : report.warnings[0]);
  }
}

/// Tensors of a folder, by name, with type and shape.
std::vector<std::string> names(const std::string& folder) {
  std::vector<std::string> all;
  const Checkpoint opened = open_checkpoint(folder);
  for (const TensorEntry& e : opened.entries()) {
    std::string row = e.name + " " + e.dtype;
    for (const std::int64_t extent : e.shape) row += " " + std::to_string(extent);
    all.push_back(std::move(row));
  }
  std::ranges::sort(all);
  return all;
}

TEST_F(Convert, ThereAndBackIsBitEqual) {
  const kit::Random random(5);
  std::vector<float> values(256 * 384);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(random.uniform(i) - 0.5);
  fs::create_directories(path("in"));
  write_safetensors(path("in/model.safetensors"), {stored("a.weight", "F32", {256, 384}, values)});
  write_file(path("in/config.json"), "{\"dtype\": \"float32\"}\n");
  const struct {
    Scheme scheme;
    Format there, back;
  } rows[] = {{Scheme::int8_dynamic, Format::bitsandbytes, Format::compressed_tensors},
              {Scheme::fp8_block, Format::compressed_tensors, Format::fp8_block},
              {Scheme::fp8_dynamic, Format::compressed_tensors, Format::compressed_tensors},
              {Scheme::llm_int8, Format::bitsandbytes, Format::bitsandbytes},
              {Scheme::int8_weight_only, Format::compressed_tensors, Format::compressed_tensors},
              {Scheme::fp8_weight_only, Format::compressed_tensors, Format::compressed_tensors},
              {Scheme::mxfp8, Format::compressed_tensors, Format::compressed_tensors}};
  for (const auto& row : rows) {
    SCOPED_TRACE(scheme_name(row.scheme));
    for (const char* name : {"q", "there", "back", "float"}) fs::remove_all(path(name));
    quantize_file(path("in"), path("q"), {.scheme = row.scheme});
    convert_file(path("q"), path("there"), {.format = row.there});
    convert_file(path("there"), path("back"), {.format = row.back});
    const Weight a = open_checkpoint(path("q")).weight("a");
    const Weight b = open_checkpoint(path("back")).weight("a");
    EXPECT_EQ(content(a.codes.data), content(b.codes.data));
    EXPECT_EQ(content(a.codes.scale), content(b.codes.scale));
    EXPECT_EQ(a.scheme, b.scheme);
    if (row.there == row.back) {  // and in the form that quantize_file gives the scheme
      EXPECT_EQ(names(path("q")), names(path("back")));
    }
    dequantize_file(path("back"), path("float"));
    const Checkpoint plain = open_checkpoint(path("float"));
    EXPECT_EQ(content(dequantize(a.codes)), content(plain.tensor("a.weight")));
    EXPECT_TRUE(plain.declarations().empty());
    EXPECT_EQ("{\"dtype\": \"float32\"}\n", read_file(path("float/config.json")));
  }
}

// No format has a word for the other types of fp8: who reads it takes codes for e4m3fn.
TEST_F(Convert, EveryTypeOfFp8IsReadAsTheValuesItStandsFor) {
  constexpr std::int64_t n = 256, k = 384;
  const kit::Random random(8);
  const Tensor values = Tensor::empty(DType::float32, {n, k});
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    values.data_as<float>()[i] =
        static_cast<float>(random.uniform(static_cast<std::uint64_t>(i)) - 0.5);
  }
  const struct {
    const char* name;
    Granularity granularity;
  } grids[] = {{"tensor", per_tensor()},
               {"channel", per_token()},
               {"group", group(128)},
               {"block", block(128, 128)},
               {"mx", group(32)}};  // whose scales are exponents
  for (const DType dtype :
       {DType::float8_e4m3fn, DType::float8_e5m2, DType::float8_e4m3fnuz, DType::float8_e5m2fnuz}) {
    for (const auto& grid : grids) {
      const bool mx = std::string_view(grid.name) == "mx";
      const bool ocp = dtype == DType::float8_e4m3fn || dtype == DType::float8_e5m2;
      if (mx && !ocp) continue;
      const Quantized codes =
          mx ? quantize_mxfp8(values, dtype)
             : quantize(values, {.dtype = dtype, .granularity = grid.granularity});
      std::vector<TensorToWrite> tensors;
      const auto add = [&](const char* tensor, const Tensor& from, std::string_view type) {
        const TensorView view = from.view();
        tensors.push_back({tensor,
                           std::string(type),
                           {view.dims().begin(), view.dims().end()},
                           [text = content(from)] {
                             return bytes_of(std::vector<char>(text.begin(), text.end()));
                           }});
      };
      add("a.weight", codes.data, info(dtype).safetensors);
      add("a.weight_scale", codes.scale, mx ? "U8" : "F32");
      write_safetensors(path("in"), tensors);
      const Weight before = open_checkpoint(path("in")).weight("a");
      ASSERT_EQ(dtype, before.codes.data.dtype());
      for (const Format format : kFormats) {
        SCOPED_TRACE(std::string(name(dtype)) + " " + grid.name + " " +
                     std::string(format_name(format)));
        const QuantizeReport report = convert(path("in"), "out", format);
        const Weight after = open_checkpoint(path("out")).weight("a");
        const DType want = format == Format::bitsandbytes ? DType::int8 : DType::float8_e4m3fn;
        EXPECT_EQ(want, after.codes.data.dtype());
        const LayerReport error = compare_weight("a", float_values(before), after);
        EXPECT_LT(25, error.sqnr_db);
        std::string warnings;
        for (const std::string& warning : report.warnings) warnings += warning;
        const bool anew = warnings.find("made anew") != std::string::npos;
        EXPECT_TRUE(anew || dtype == want) << warnings;
        EXPECT_TRUE(anew || content(before.codes.data) == content(after.codes.data));
        if (format != Format::compressed_tensors) continue;
        EXPECT_EQ(before.codes.grid, after.codes.grid);
        EXPECT_EQ(before.scheme, after.scheme);
        EXPECT_EQ(dtype != want, anew) << warnings;
      }
    }
  }
}

TEST_F(Convert, DequantizingGivesTheValuesInTheOrderOfActivations) {
  for (const std::string& folder : foreign()) {
    SCOPED_TRACE(folder);
    reset();
    dequantize_file(folder, path("out"), {.dtype = DType::float32});
    const Checkpoint in = open_checkpoint(folder), out = open_checkpoint(path("out"));
    EXPECT_EQ(0U, out.quantized_layers().size());
    std::map<std::string, LinearLayer> stacked;  // experts stay in one tensor
    for (LinearLayer& layer : linear_layers(out)) {
      if (!out.contains(layer.name + ".weight")) stacked.emplace(layer.name, std::move(layer));
    }
    for (const std::string& layer : in.quantized_layers()) {
      const Weight weight = in.weight(layer);
      Tensor want = dequantize(weight.codes);
      if (weight.activation && weight.activation->rotation != 0) {
        want = rotate(want, {.block = weight.activation->rotation});
      }
      const auto expert = stacked.find(layer);
      const Tensor got = expert == stacked.end() ? out.tensor(layer + ".weight")
                                                 : float_weight(out, expert->second);
      const std::int64_t k = want.size(1);
      for (std::int64_t i = 0; i < want.numel(); ++i) {
        const std::int64_t column =
            weight.columns.defined() ? weight.columns.data_as<std::int64_t>()[i % k] : i % k;
        ASSERT_EQ(want.data_as<float>()[i], got.data_as<float>()[i / k * k + column]) << layer;
      }
    }
    for (const TensorEntry& entry : out.entries()) {
      for (const char* part : {"scale", "zero_point", "SCB", "qzeros", "g_idx", "comfy"}) {
        EXPECT_EQ(std::string::npos, entry.name.find(part)) << entry.name;
      }
    }
  }
}

// GPT-2's own weights are [K, N], and bitsandbytes' layers of them [N, K].
TEST_F(Convert, Conv1DsGoBackToTheirOwnOrderOrAreRefused) {
  constexpr std::int64_t k = 64, n = 192;
  const kit::Random random(6);
  const auto floats = [&](std::int64_t rows, std::int64_t columns) {
    std::vector<float> all(static_cast<std::size_t>(rows * columns));
    for (std::size_t i = 0; i < all.size(); ++i) {
      all[i] = static_cast<float>(random.uniform(i + all.size()) - 0.5);
    }
    return all;
  };
  for (const char* type : {"gpt2", "openai-gpt", "imagegpt", "decision_transformer"}) {
    SCOPED_TRACE(type);
    for (const char* name : {"in", "q", "float", "again", "kept"}) fs::remove_all(path(name));
    fs::create_directories(path("in"));
    write_safetensors(path("in/model.safetensors"),
                      {stored("h.0.attn.c_attn.weight", "F32", {k, n}, floats(k, n)),
                       stored("h.0.attn.c_proj.weight", "F32", {k, k}, floats(k, k)),
                       stored("h.0.attn.other.weight", "F32", {n, k}, floats(n, k))});
    write_file(path("in/config.json"),
               std::string(R"({"dtype": "float32", "model_type": ")") + type + "\"}");
    quantize_file(path("in"), path("q"), {.scheme = Scheme::llm_int8});
    dequantize_file(path("q"), path("float"));
    quantize_file(path("q"), path("kept"),
                  {.scheme = Scheme::llm_int8, .ignore = {"h.0.attn.c_attn"}, .requantize = true});
    const Checkpoint q = open_checkpoint(path("q")), out = open_checkpoint(path("float"));
    for (const char* layer : {"h.0.attn.c_attn", "h.0.attn.c_proj"}) {
      const Tensor values = float_values(q.weight(layer));
      const Tensor want = copy(values.view().transposed(), DType::float32);
      const Tensor got = out.tensor(std::string(layer) + ".weight");
      EXPECT_EQ(shape_string(want), shape_string(got));
      EXPECT_EQ(content(want), content(got));
    }
    EXPECT_EQ(content(float_values(q.weight("h.0.attn.other"))),
              content(out.tensor("h.0.attn.other.weight")));
    EXPECT_EQ("[64, 192]",
              shape_string(open_checkpoint(path("kept")).tensor("h.0.attn.c_attn.weight")));
    quantize_file(path("float"), path("again"), {.scheme = Scheme::llm_int8});
    for (const Format format : kFormats) {
      reset();
      if (format == Format::bitsandbytes) {
        convert(path("q"), "out", format);
        expect_same(q.weight("h.0.attn.c_attn"),
                    open_checkpoint(path("out")).weight("h.0.attn.c_attn"));
        continue;
      }
      expect_error(Code::invalid_argument,
                   "format must be bitsandbytes for tensor 'h.0.attn.c_attn.weight', which is a "
                   "Conv1D's [K, N]",
                   [&] { convert(path("q"), "out", format); });
      EXPECT_FALSE(fs::exists(path("out")));
    }
    for (const Scheme scheme : {Scheme::int8_dynamic, Scheme::fp8_dynamic, Scheme::fp8_block}) {
      expect_error(Code::invalid_argument, "which is a Conv1D's [K, N]", [&] {
        quantize_file(path("q"), path("out"), {.scheme = scheme, .requantize = true});
      });
    }
  }
}

TEST_F(Convert, RefusesWhatHoldsNoQuantizedLayer) {
  write_safetensors(path("plain"), {stored<float>("a.weight", "F32", {1, 2}, {1, 2})});
  expect_error(Code::invalid_argument, "must hold quantised layers; got none among 1 tensors",
               [&] { dequantize_file(path("plain"), path("out")); });
  expect_error(Code::invalid_argument, "must hold quantised layers; got none among 1 tensors",
               [&] { convert_file(path("plain"), path("out"), {}); });
  EXPECT_FALSE(fs::exists(path("out")));
  for (const Format format : kFormats) EXPECT_EQ(format, format_from_name(format_name(format)));
  EXPECT_EQ(std::nullopt, format_from_name("fp9"));
}

}  // namespace
}  // namespace octavo::test::convert_test
