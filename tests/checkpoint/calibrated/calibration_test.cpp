// SPDX-License-Identifier: Apache-2.0
// Calibration files that are malformed, that are of another model, and options that do not fit.
#include <functional>
#include <limits>

#include "calibrated.hpp"

namespace octavo::test::calibration_test {
namespace {

constexpr std::int64_t kN = 4, kK = 8;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class CalibrationFiles : public Scratch {
 protected:
  void SetUp() override {
    write_safetensors(path("in"), {stored("m.q.weight", "F32", {kN, kK}, gaussians(kN * kK, 1)),
                                   stored("m.k.weight", "F32", {kN, kK}, gaussians(kN * kK, 2)),
                                   stored("m.norm.weight", "F32", {kK}, ones(kK))});
  }
  CalibrationFile good() const {
    CalibrationFile file;
    file.add("m.q", kK, ones(kK));
    file.add("m.k", kK, ones(kK));
    file.norms = R"("m.norm":["m.q","m.k"])";
    return file;
  }
  void run(QuantizeFileOptions how) const { quantize_file(path("in"), path("out"), how); }
  void expect_refused(Code code, std::string_view fragment, const QuantizeFileOptions& how) const {
    expect_error(code, fragment, [&] { run(how); });
    EXPECT_FALSE(std::filesystem::exists(path("out"))) << fragment;
    expect_error(code, fragment, [&] { (void)estimate_quantization(path("in"), how); });
  }
  QuantizeFileOptions smooth() const {
    return {.calibration = path("calibration"), .smoothquant = true};
  }
};

TEST_F(CalibrationFiles, ThatAreMalformedAreRefusedWithWhatIsWrong) {
  const auto with_column = [](const char* field, std::size_t column, float value) {
    return [=](CalibrationFile& file) {
      file.layers.clear();
      file.tensors.clear();
      std::vector<float> low(kK, -1.0F), high(kK, 1.0F), smooth(kK, 1.0F);
      auto& values = std::string_view(field) == "low"    ? low
                     : std::string_view(field) == "high" ? high
                                                         : smooth;
      values[column] = value;
      file.add("m.q", low, high, smooth);
      file.add("m.k", kK, ones(kK));
    };
  };
  const auto with_layers = [](const char* layers) {
    return [=](CalibrationFile& file) { file.layers = layers; };
  };
  const auto with_norms = [](const char* norms) {
    return [=](CalibrationFile& file) { file.norms = norms; };
  };
  const auto with_hessian = [](const char* dtype, std::vector<std::int64_t> shape) {
    return [=](CalibrationFile& file) {
      file.layers = R"("m.q":{"threshold":6,"hessian":"h"})";
      const std::size_t bytes = (std::string_view(dtype) == "F32" ? 4U : 2U) *
                                static_cast<std::size_t>(shape[0] * shape[1]);
      file.tensors.push_back({"h", dtype, shape, [=] { return std::vector<std::byte>(bytes); }});
    };
  };
  const struct {
    const char* fragment;
    std::function<void(CalibrationFile&)> spoil;
  } cases[] = {
      {"must have finite values in tensor 'm.q.column_min'", with_column("low", 3, kNan)},
      {"must have finite values in tensor 'm.q.column_max'", with_column("high", 3, kInfinity)},
      {"must have finite values in tensor 'm.q.smooth'", with_column("smooth", 3, kNan)},
      {"must have factors above 0 as tensor 'm.q.smooth'; got 0 in column 5",
       with_column("smooth", 5, 0.0F)},
      {"must have column_min not above column_max for layer 'm.q'; got 2 and 1 in column 7",
       with_column("low", 7, 2.0F)},
      {"must have the same factors for all layers behind norm 'm.norm'; got others for 'm.k'",
       with_column("smooth", 1, 3.0F)},
      {"must have tensor 'm.q.column_max'; got none",
       [](CalibrationFile& file) { file.tensors.erase(file.tensors.begin() + 1); }},
      {"must have F32 [K] as tensor 'm.q.smooth'; got F32 [2, 4]",
       [](CalibrationFile& file) {
         file.tensors[2].shape = {2, 4};
       }},
      {"must have F32 [K] as tensor 'm.q.smooth'; got I32 [8]",
       [](CalibrationFile& file) { file.tensors[2].dtype = "I32"; }},
      {"must have F32 [K] as tensor 'm.q.column_min'; got F32 [0]",
       [](CalibrationFile& file) {
         file.tensors[0] = stored("m.q.column_min", "F32", {0}, std::vector<float>{});
       }},
      {"column_min, column_max and smooth of one length for layer 'm.q'; got 8, 8 and 7",
       [](CalibrationFile& file) { file.tensors[2] = stored("m.q.smooth", "F32", {7}, ones(7)); }},
      {"must have int8 or float8_e4m3fn as the code of layer 'm.q'; got ",
       with_layers(R"("m.q":{"threshold":6,"code":"int4"})")},
      {"must have int8 or float8_e4m3fn as the code of layer 'm.q'; got '8'",
       with_layers(R"("m.q":{"threshold":6,"code":8})")},
      {"must have a threshold not below 0 for layer 'm.q'; got '-1'",
       with_layers(R"("m.q":{"threshold":-1})")},
      {"must have a threshold not below 0 for layer 'm.q'; got '", with_layers(R"("m.q":[])")},
      {"must name the Hessian of layer 'm.q' by a string; got '3'",
       with_layers(R"("m.q":{"threshold":6,"hessian":3})")},
      {"must have tensor 'h', the Hessian of layer 'm.q'; got none",
       with_layers(R"("m.q":{"threshold":6,"hessian":"h"})")},
      {"must have F32 [8, 8] as tensor 'h', the Hessian of layer 'm.q'; got F32 [8, 7]",
       with_hessian("F32", {8, 7})},
      {"must have F32 [8, 8] as tensor 'h', the Hessian of layer 'm.q'; got BF16 [8, 8]",
       with_hessian("BF16", {8, 8})},
      {"must have a list of layers behind norm 'm.norm'", with_norms(R"("m.norm":3)")},
      {"must have layers behind norm 'm.norm'; got an empty list", with_norms(R"("m.norm":[])")},
      {"must have all layers behind norm 'm.norm'; got none of the name 'm.p'",
       with_norms(R"("m.norm":["m.p"])")},
      {"must name each layer behind norms once; got 'm.q' behind 'm.other'",
       with_norms(R"("m.norm":["m.q"],"m.other":["m.q"])")},
  };
  for (const auto& row : cases) {
    CalibrationFile file = good();
    row.spoil(file);
    file.write(path("calibration"));
    expect_refused(Code::corrupt_data, row.fragment, smooth());
  }
}

TEST_F(CalibrationFiles, WithoutOctavosMetadataAreRefused) {
  for (const auto& [text, fragment] : std::vector<std::pair<std::string, const char*>>{
           {"{", "must have a JSON object as metadata 'octavo_calibration'; got '{'"},
           {"[]", "must have a JSON object as metadata"},
           {"{}", "must have 'octavo_calibration'.version 1; got '"},
           {R"({"version":2,"layers":{},"norms":{}})", ".version 1; got '2'"},
           {R"({"version":1,"layers":[],"norms":{}})", "must have objects as"},
           {R"({"version":1,"layers":{}})", "must have objects as"},
           {R"({"version":1,"layers":{"a":{"b":{"c":{}}}},"norms":{}})", "JSON object"},
       }) {
    good().write_as(path("calibration"), text);
    expect_refused(Code::corrupt_data, fragment, smooth());
  }
  write_safetensors(path("calibration"), good().tensors);
  expect_refused(Code::corrupt_data, "must have metadata 'octavo_calibration'", smooth());
  write_file(path("calibration"), R"({"m.q": [1, 2]})");
  expect_refused(Code::corrupt_data, "", smooth());
  std::filesystem::remove(path("calibration"));
  expect_refused(Code::unavailable, "calibration", smooth());
}

TEST_F(CalibrationFiles, OfAnotherModelAreRefusedByTheLayerOrNorm) {
  const auto expect = [&](const char* fragment, const CalibrationFile& file,
                          const QuantizeFileOptions& how) {
    file.write(path("calibration"));
    expect_refused(Code::invalid_argument, fragment, how);
  };
  QuantizeFileOptions fixed{.calibration = path("calibration"), .static_scales = true};
  CalibrationFile half;
  half.add("m.k", kK, ones(kK));
  expect("must have layer 'm.q', which is quantised; got none (nearest: 'm.k')", half, fixed);
  CalibrationFile narrow = good();
  narrow.layers.clear();
  narrow.tensors.clear();
  narrow.add("m.q", 7, ones(7));
  narrow.add("m.k", 7, ones(7));
  expect("must have 8 columns for layer 'm.k'; got 7", narrow, fixed);
  expect("must have 8 columns for layer 'm.q'; got 7", narrow, smooth());
  expect("must have the Hessian of layer 'm.k'", good(),
         {.calibration = path("calibration"), .gptq = true});
  CalibrationFile other = good();
  other.norms = R"("m.nrm":["m.q","m.k"])";
  expect("got norm tensor 'm.nrm.weight', which it has not (nearest: 'm.norm.weight')", other,
         smooth());
  other.add("m.p", kK, ones(kK));
  other.norms = R"("m.norm":["m.q","m.p"])";
  expect("got layer 'm.p' behind norm 'm.norm', which it has not", other, smooth());
  other.norms.clear();
  expect("must have norms that feed quantised layers and nothing else for smoothquant; got 0",
         other, smooth());
  QuantizeFileOptions ignored = smooth();
  ignored.ignore = {"m.k"};
  expect("got 1 norms, none of which does", good(), ignored);
  write_safetensors(path("in"), {stored("m.q.weight", "F32", {kN, kK}, gaussians(kN * kK, 1)),
                                 stored("m.k.weight", "F32", {kN, kK}, gaussians(kN * kK, 2)),
                                 stored("m.norm.weight", "F32", {kK + 1}, ones(kK + 1))});
  expect("tensor 'm.norm.weight', a norm of calibration", good(), smooth());
}

TEST_F(CalibrationFiles, AndOptionsThatDoNotGoTogetherAreRefused) {
  good().write(path("calibration"));
  const std::string file = path("calibration");
  const std::vector<std::pair<const char*, QuantizeFileOptions>> cases{
      {"calibration must be given for smoothquant", {.smoothquant = true}},
      {"calibration must be given for smoothquant", {.gptq = true}},
      {"calibration must be given for smoothquant", {.static_scales = true}},
      {"smooth_alpha must come with smoothquant",
       {.calibration = file, .smooth_alpha = 0.5, .static_scales = true}},
      {"damp must come with gptq", {.calibration = file, .damp = 0.1, .static_scales = true}},
      {"smooth_alpha must be in 0..1; got 1.5",
       {.calibration = file, .smoothquant = true, .smooth_alpha = 1.5}},
      {"smooth_alpha must be in 0..1; got nan",
       {.calibration = file, .smoothquant = true, .smooth_alpha = std::nan("")}},
      {"damp must be a finite number above 0; got 0",
       {.calibration = file, .gptq = true, .damp = 0.0}},
      {"damp must be a finite number above 0; got inf",
       {.calibration = file, .gptq = true, .damp = HUGE_VAL}},
      {"scheme must be int8-dynamic, int8-weight-only or llm-int8 for gptq; got fp8-dynamic",
       {.scheme = Scheme::fp8_dynamic, .calibration = file, .gptq = true}},
      {"scheme must be int8-dynamic or fp8-dynamic for static_scales; got llm-int8",
       {.scheme = Scheme::llm_int8, .calibration = file, .static_scales = true}},
      {"scheme must be int8-dynamic or fp8-dynamic for static_scales; got fp8-block",
       {.scheme = Scheme::fp8_block, .calibration = file, .static_scales = true}},
      {"calibration must come with smoothquant, gptq or static_scales", {.calibration = file}},
      {"outlier_columns must be empty beside a calibration",
       {.scheme = Scheme::llm_int8, .calibration = file, .outlier_columns = {{"m.q", {1}}}}},
  };
  for (const auto& [fragment, how] : cases) {
    expect_refused(Code::invalid_argument, fragment, how);
  }
}

}  // namespace
}  // namespace octavo::test::calibration_test
