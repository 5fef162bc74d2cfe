// SPDX-License-Identifier: Apache-2.0
// SmoothQuant, static scales and outlier columns of a calibration file, in files and folders.
#include <cmath>

#include "calibrated.hpp"
#include "octavo/llm_int8.hpp"

namespace octavo::test::smooth_test {
namespace {

constexpr std::int64_t kN = 6, kK = 40;

std::vector<float> factors() {
  std::vector<float> made;
  for (std::int64_t j = 0; j < kK; ++j) made.push_back(0.25F + 0.1F * static_cast<float>(j));
  return made;
}

Tensor tensor_of(const std::vector<float>& values, std::vector<std::int64_t> shape) {
  Tensor made = Tensor::empty(DType::float32, shape);
  std::copy(values.begin(), values.end(), made.data_as<float>());
  return made;
}

std::string bytes_of_tensor(const Tensor& tensor) {
  return {static_cast<const char*>(tensor.data()),
          static_cast<std::size_t>(tensor.numel() * element_bytes(tensor.dtype()))};
}

/// A folder of two files with the norms in the second: m.norm (bfloat16, with a bias) feeds q and
/// k, m.norm2 feeds up; o is behind no norm.
class Smooth : public Scratch {
 protected:
  std::vector<float> q = gaussians(kN * kK, 1), k = gaussians(kN * kK, 2),
                     up = gaussians(kN * kK, 3), o = gaussians(kN * kK, 4), norm = gaussians(kK, 5);
  Tensor narrow = copy(tensor_of(norm, {kK}), DType::bfloat16);

  void SetUp() override {
    std::filesystem::create_directory(path("in"));
    const auto weight = [](const char* layer, const std::vector<float>& values) {
      return stored(std::string(layer) + ".weight", "F32", {kN, kK}, values);
    };
    const auto bf16 = [&](const char* name) {
      return TensorToWrite{name, "BF16", {kK}, [this] {
                             const auto* bytes = static_cast<const std::byte*>(narrow.data());
                             return std::vector<std::byte>(bytes, bytes + 2 * kK);
                           }};
    };
    write_safetensors(path("in/a.safetensors"), {weight("m.q", q), weight("m.k", k)});
    write_safetensors(path("in/b.safetensors"),
                      {weight("m.up", up), weight("m.o", o), bf16("m.norm.weight"),
                       bf16("m.norm.bias"), stored("m.norm2.weight", "F32", {kK}, norm)});
    write_file(path("in/config.json"), "{}");
    write_file(path("in/model.safetensors.index.json"),
               R"({"metadata":{},"weight_map":{"m.q.weight":"a.safetensors",)"
               R"("m.k.weight":"a.safetensors","m.up.weight":"b.safetensors",)"
               R"("m.o.weight":"b.safetensors","m.norm.weight":"b.safetensors",)"
               R"("m.norm.bias":"b.safetensors","m.norm2.weight":"b.safetensors"}})");
    write_calibration();
  }
  void write_calibration(float high = 1) {
    CalibrationFile file;
    for (const char* layer : {"m.q", "m.k", "m.up", "m.o"}) {
      file.add(layer, kK, factors(), "", high);
    }
    file.norms = R"("m.norm":["m.q","m.k"],"m.norm2":["m.up"])";
    file.write(path("calibration"));
  }
  QuantizeFileOptions options() const {
    return {.calibration = path("calibration"), .smoothquant = true};
  }
  QuantizeReport run(const QuantizeFileOptions& how, const std::string& out = "out") const {
    return quantize_file(path("in"), path(out), how);
  }
  /// The codes of a weight whose columns are multiplied.
  static std::string codes(const std::vector<float>& weight, const std::vector<float>& by,
                           Scheme scheme = Scheme::int8_dynamic) {
    std::vector<float> w = weight;
    for (std::size_t i = 0; i < w.size(); ++i) w[i] *= by[i % kK];
    return bytes_of_tensor(quantize_weight(tensor_of(w, {kN, kK}), scheme).codes.data);
  }
};

TEST_F(Smooth, DividesNormsOfAnyFileAndMultipliesWhatIsBehind) {
  for (const Scheme scheme :
       {Scheme::int8_dynamic, Scheme::fp8_dynamic, Scheme::fp8_block, Scheme::llm_int8}) {
    QuantizeFileOptions how = options();
    how.scheme = scheme;
    const std::string out = "out-" + std::string(scheme_name(scheme));
    const QuantizeReport report = run(how, out);
    EXPECT_EQ((std::vector<std::string>{"m.norm", "m.norm2"}), report.smoothed_norms);
    EXPECT_EQ(std::vector<std::string>{"m.o"}, report.unsmoothed_layers);
    const Checkpoint file = open_checkpoint(path(out));
    EXPECT_EQ(codes(q, factors(), scheme), bytes_of_tensor(file.tensor("m.q.weight")));
    EXPECT_EQ(codes(k, factors(), scheme), bytes_of_tensor(file.tensor("m.k.weight")));
    EXPECT_EQ(codes(up, factors(), scheme), bytes_of_tensor(file.tensor("m.up.weight")));
    EXPECT_EQ(codes(o, ones(kK), scheme), bytes_of_tensor(file.tensor("m.o.weight")));
    const Tensor wide = copy(narrow, DType::float32);
    std::vector<float> divided, divided2;
    for (std::size_t j = 0; j < kK; ++j) {
      divided.push_back(wide.data_as<float>()[j] / factors()[j]);
      divided2.push_back(norm[j] / factors()[j]);
    }
    const std::string want = bytes_of_tensor(copy(tensor_of(divided, {kK}), DType::bfloat16));
    EXPECT_EQ(want, bytes_of_tensor(file.tensor("m.norm.weight")));
    EXPECT_EQ(want, bytes_of_tensor(file.tensor("m.norm.bias")));
    EXPECT_EQ(bytes_of_tensor(tensor_of(divided2, {kK})),
              bytes_of_tensor(file.tensor("m.norm2.weight")));
  }
}

TEST_F(Smooth, MakesFactorsAnewByAlpha) {
  for (const double alpha : {0.0, 0.25, 1.0}) {
    QuantizeFileOptions how = options();
    how.smooth_alpha = alpha;
    const std::string out = "out" + std::to_string(alpha);
    run(how, out);
    std::vector<float> want;
    for (std::size_t j = 0; j < kK; ++j) {
      float most = 0;
      for (std::size_t i = j; i < q.size(); i += kK) {
        most = std::max({most, std::fabs(q[i]), std::fabs(k[i])});
      }
      want.push_back(static_cast<float>(1 / std::pow(static_cast<double>(most), 1 - alpha)));
    }
    EXPECT_EQ(codes(q, want), bytes_of_tensor(open_checkpoint(path(out)).tensor("m.q.weight")));
  }
}

TEST_F(Smooth, LeavesANormOfWhichALayerStaysInFloat) {
  QuantizeFileOptions how = options();
  how.ignore = {"m.k"};
  const QuantizeReport report = run(how);
  EXPECT_EQ(std::vector<std::string>{"m.norm2"}, report.smoothed_norms);
  ASSERT_EQ(1U, report.warnings.size());
  EXPECT_NE(std::string::npos, report.warnings[0].find("got 1 norms that stay as they are, the "
                                                       "first 'm.norm', since 'm.k' stays"));
  const Checkpoint file = open_checkpoint(path("out"));
  EXPECT_EQ(bytes_of_tensor(narrow), bytes_of_tensor(file.tensor("m.norm.weight")));
  EXPECT_EQ(codes(q, ones(kK)), bytes_of_tensor(file.tensor("m.q.weight")));
  EXPECT_EQ(codes(up, factors()), bytes_of_tensor(file.tensor("m.up.weight")));
}

TEST_F(Smooth, GivesTheSameBytesOnAnyThreads) {
  for (const int threads : {1, 2, 5}) {
    QuantizeFileOptions how = options();
    how.threads = threads;
    how.smooth_alpha = 0.5;
    const std::string out = "out" + std::to_string(threads);
    run(how, out);
    for (const char* file : {"/a.safetensors", "/b.safetensors"}) {
      EXPECT_EQ(read_file(path("out1") + file), read_file(path(out) + file)) << threads;
    }
  }
}

TEST_F(Smooth, IsAnotherJobWithAnotherCalibrationOrOption) {
  struct Ended {};
  QuantizeFileOptions how = options();
  how.threads = 1;
  how.at = [](std::string_view name) {
    if (name == "m.up.weight") throw Ended();
  };
  EXPECT_THROW(run(how), Ended);
  ASSERT_TRUE(std::filesystem::exists(path("out/a.safetensors")));
  const char* const another =
      "must be new or empty, or hold what a run with the same input and "
      "options has begun; got another one's";
  QuantizeFileOptions other = options();
  other.smooth_alpha = 0.5;
  expect_error(Code::invalid_argument, another, [&] { run(other); });
  expect_error(Code::invalid_argument, another, [&] { run({}); });
  const auto time = std::filesystem::last_write_time(path("calibration"));
  write_calibration(2);
  std::filesystem::last_write_time(path("calibration"), time + std::chrono::seconds(1));
  expect_error(Code::invalid_argument, another, [&] { run(options()); });
  write_calibration();
  std::filesystem::last_write_time(path("calibration"), time);
  run(options());
  run(options(), "whole");
  EXPECT_EQ(read_file(path("whole/a.safetensors")), read_file(path("out/a.safetensors")));
}

TEST_F(Smooth, StaticScalesAreThoseOfTheSmoothedInputs) {
  for (const Scheme scheme : {Scheme::int8_dynamic, Scheme::fp8_dynamic}) {
    QuantizeFileOptions how = options();
    how.scheme = scheme;
    how.static_scales = true;
    const std::string out = "out-" + std::string(scheme_name(scheme));
    run(how, out);
    const Checkpoint file = open_checkpoint(path(out));
    const float largest = scheme == Scheme::int8_dynamic ? 127.0F : 448.0F;
    const float smoothed = 1.0F / 0.25F;  // inputs are in [-1, 1], the least factor is 0.25
    EXPECT_EQ(smoothed / largest, file.weight("m.q").activation->static_scale);
    EXPECT_EQ(1.0F / largest, file.weight("m.o").activation->static_scale);
  }
}

TEST_F(Smooth, OutlierColumnsAreThoseOfTheSmoothedInputs) {
  write_calibration(7);
  QuantizeFileOptions how{.scheme = Scheme::llm_int8, .calibration = path("calibration")};
  run(how, "rough");
  const auto count = [&](const char* out, const char* layer) {
    return open_checkpoint(path(out)).weight(layer).activation->outlier_columns.numel();
  };
  EXPECT_EQ(kK, count("rough", "m.q"));
  how.smoothquant = true;
  run(how);
  std::int64_t left = 0;
  for (const float factor : factors()) left += 7.0F / factor >= 6.0F ? 1 : 0;
  ASSERT_GT(left, 0);
  EXPECT_EQ(left, count("out", "m.q"));
  EXPECT_EQ(kK, count("out", "m.o"));
  how.outlier_threshold = 7.5F;
  run(how, "above");
  EXPECT_FALSE(open_checkpoint(path("above")).weight("m.o").activation->outlier_columns.defined());
}

// Expert 1 got no row of the text: its static scale is the largest of the other experts' same
// layer, and not of another layer. Experts are pack-quantized, whose static scales are read back.
TEST_F(Smooth, AnExpertWithoutRowsTakesTheLargestStaticScaleOfTheOthers) {
  constexpr std::int64_t kRows = 4, kColumns = 8;
  std::vector<TensorToWrite> weights;
  CalibrationFile calibration;
  for (const std::string expert : {"0", "1", "2", "3"}) {
    for (const std::string layer : {"gate_proj", "up_proj"}) {
      const std::string name = "m.experts." + expert + "." + layer;
      const float high = (layer == "up_proj" ? 100.0F : 10.0F) - std::stof(expert);
      weights.push_back(stored(name + ".weight", "F32", {kRows, kColumns},
                               gaussians(kRows * kColumns, static_cast<unsigned>(name.size()))));
      if (expert != "1") calibration.add(name, kColumns, ones(kColumns), "", high);
    }
  }
  write_safetensors(path("experts"), std::move(weights));
  calibration.write(path("calibration"));
  QuantizeFileOptions how;
  how.scheme = Scheme::int8_dynamic;
  how.calibration = path("calibration");
  how.static_scales = true;
  const QuantizeReport report = quantize_file(path("experts"), path("out"), how);
  const Checkpoint out = open_checkpoint(path("out"));
  EXPECT_TRUE(out.contains("m.experts.1.gate_proj.weight_packed"));
  const std::map<std::string, float> highest{
      {"0.gate_proj", 10}, {"1.gate_proj", 10}, {"2.gate_proj", 8}, {"3.gate_proj", 7},
      {"0.up_proj", 100},  {"1.up_proj", 100},  {"2.up_proj", 98},  {"3.up_proj", 97}};
  for (const auto& [layer, high] : highest) {
    const Weight weight = out.weight("m.experts." + layer);
    ASSERT_TRUE(weight.activation);
    EXPECT_EQ(weight.activation->static_scale, high / 127.0F) << layer;
  }
  EXPECT_EQ(1, std::ranges::count_if(report.warnings, [](const std::string& warning) {
              return warning.find(
                         "got 2 layers without, m.experts.1.gate_proj, "
                         "m.experts.1.up_proj") != std::string::npos;
            }));
}

}  // namespace
}  // namespace octavo::test::smooth_test
