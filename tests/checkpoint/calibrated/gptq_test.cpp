// SPDX-License-Identifier: Apache-2.0
// GPTQ: against the paper's column-by-column form in float64, and what has to follow from it.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "calibrated.hpp"

namespace octavo::test::gptq_test {
namespace {

constexpr std::int64_t kN = 70, kK = 200;  // neither a multiple of the rows nor columns of a block
constexpr double kDamp = 0.01;
constexpr double kRho = 0.9;

using Matrix = std::vector<std::vector<double>>;

Matrix matrix_of(const std::vector<float>& values, std::int64_t k) {
  Matrix m;
  for (std::size_t i = 0; i < values.size(); i += static_cast<std::size_t>(k)) {
    m.emplace_back(values.begin() + static_cast<std::ptrdiff_t>(i),
                   values.begin() + static_cast<std::ptrdiff_t>(i) + k);
  }
  return m;
}

/// By Gauss-Jordan elimination, of a positive definite matrix.
Matrix inverse(Matrix a) {
  const std::size_t k = a.size();
  Matrix inv(k, std::vector<double>(k));
  for (std::size_t i = 0; i < k; ++i) inv[i][i] = 1;
  for (std::size_t i = 0; i < k; ++i) {
    const double pivot = a[i][i];
    for (std::size_t j = 0; j < k; ++j) {
      a[i][j] /= pivot;
      inv[i][j] /= pivot;
    }
    for (std::size_t r = 0; r < k; ++r) {
      if (r == i || a[r][i] == 0) continue;
      const double factor = a[r][i];
      for (std::size_t j = 0; j < k; ++j) {
        a[r][j] -= factor * a[i][j];
        inv[r][j] -= factor * inv[i][j];
      }
    }
  }
  return inv;
}

struct Codes {
  std::int64_t n, k;
  std::vector<std::int8_t> code;
  std::vector<float> scale;

  double at(std::int64_t i, std::int64_t j) const {
    return code[static_cast<std::size_t>(i * k + j)];
  }
};

Codes codes_of(const std::string& file, const std::string& layer) {
  const Weight weight = open_checkpoint(file).weight(layer);
  const Tensor& data = weight.codes.data;
  Codes codes{data.size(0), data.size(1), {}, {}};
  codes.code.assign(data.data_as<std::int8_t>(), data.data_as<std::int8_t>() + data.numel());
  codes.scale.assign(weight.codes.scale.data_as<float>(),
                     weight.codes.scale.data_as<float>() + codes.n);
  return codes;
}

/// How far the codes are from those of equations (2) and (3) of arXiv 2210.17323 with all columns
/// in their order, in units of a code: 0.5 is a tie. The rest of a row follows from the codes as
/// they are, so that one tie does not count for the columns behind it.
double distance(const Codes& codes, const Matrix& weight, Matrix h) {
  const auto k = static_cast<std::size_t>(codes.k);
  double mean = 0;
  for (std::size_t i = 0; i < k; ++i) mean += h[i][i] / static_cast<double>(k);
  for (std::size_t i = 0; i < k; ++i) h[i][i] += kDamp * mean;
  Matrix inv = inverse(h), w = weight;
  double worst = 0;
  for (std::size_t c = 0; c < k; ++c) {
    for (std::int64_t r = 0; r < codes.n; ++r) {
      std::vector<double>& row = w[static_cast<std::size_t>(r)];
      const auto scale = static_cast<double>(codes.scale[static_cast<std::size_t>(r)]);
      const double code = codes.at(r, static_cast<std::int64_t>(c));
      const double want = std::clamp(row[c] / scale, -127.0, 127.0);
      worst = std::max(worst, std::fabs(want - code));
      const double error = (row[c] - code * scale) / inv[c][c];
      for (std::size_t j = c; j < k; ++j) row[j] -= error * inv[c][j];
    }
    const std::vector<double> pivot = inv[c];
    for (std::size_t i = c + 1; i < k; ++i) {
      const double factor = pivot[i] / pivot[c];
      for (std::size_t j = c + 1; j < k; ++j) inv[i][j] -= factor * pivot[j];
    }
  }
  return worst;
}

/// A code is rounded from a float32 weight (2^-24 of at most 127 steps and as much for the
/// quotient); float64 sums are K steps of 2^-53, magnified by the condition of the damped Hessian,
/// whose eigenvalues lie between damp and K + damp times its mean diagonal.
double tie_width() {
  const double k = static_cast<double>(kK);
  return 127 * (std::ldexp(2.0, -24) + k * std::ldexp(1.0, -53) * (k / kDamp + 1));
}

class Gptq : public Scratch {
 protected:
  Inputs inputs = correlated(4 * kK, kK, kRho, 1);
  std::vector<float> h = hessian_of(inputs);
  std::vector<float> weight = gaussians(kN * kK, 2);

  void write(const std::vector<float>& hessian, const std::string& layer = "m.q") {
    write_safetensors(path("in"), {stored(layer + ".weight", "F32", {kN, kK}, weight)});
    CalibrationFile file;
    file.add(layer, kK, ones(kK), "h");
    file.add_hessian("h", kK, hessian);
    file.write(path("calibration"));
  }
  QuantizeFileOptions options(Scheme scheme = Scheme::int8_dynamic) const {
    return {.scheme = scheme, .calibration = path("calibration"), .gptq = true};
  }
  QuantizeReport run(const QuantizeFileOptions& how, const std::string& out = "out") const {
    return quantize_file(path("in"), path(out), how);
  }
  /// The mean of |(w - w') x|^2.
  double output_error(const Codes& codes) const {
    double sum = 0;
    for (std::int64_t i = 0; i < inputs.n; ++i) {
      for (std::int64_t r = 0; r < kN; ++r) {
        double y = 0;
        const auto scale = static_cast<double>(codes.scale[static_cast<std::size_t>(r)]);
        for (std::int64_t j = 0; j < kK; ++j) {
          const auto w = static_cast<double>(weight[static_cast<std::size_t>(r * kK + j)]);
          y += (w - codes.at(r, j) * scale) * inputs.at(i, j);
        }
        sum += y * y;
      }
    }
    return sum / static_cast<double>(inputs.n);
  }
};

TEST_F(Gptq, IsThePapersColumnByColumn) {
  write(h);
  for (const Scheme scheme : {Scheme::int8_dynamic, Scheme::llm_int8}) {
    run(options(scheme));
    const Codes codes = codes_of(path("out"), "m.q");
    EXPECT_LE(distance(codes, matrix_of(weight, kK), matrix_of(h, kK)), 0.5 + tie_width());
    run({.scheme = scheme}, "nearest");
    const Codes nearest = codes_of(path("nearest"), "m.q");
    EXPECT_EQ(nearest.scale, codes.scale);
    EXPECT_NE(nearest.code, codes.code);
  }
}

TEST_F(Gptq, OfADiagonalHessianRoundsToNearest) {
  std::vector<float> diagonal(kK * kK);
  for (std::int64_t i = 0; i < kK; ++i) {
    diagonal[static_cast<std::size_t>(i * kK + i)] =
        i % 7 == 0 ? 0.0F : 0.5F * static_cast<float>(i);
  }
  for (const auto& hessian : {diagonal, std::vector<float>(kK * kK)}) {  // all of it 0, too
    write(hessian);
    for (const Scheme scheme : {Scheme::int8_dynamic, Scheme::llm_int8}) {
      const QuantizeReport report = run(options(scheme));
      run({.scheme = scheme}, "nearest");
      // Outlier columns of the calibration are none: no input reaches 6.
      EXPECT_EQ(read_file(path("nearest")), read_file(path("out")));
      EXPECT_EQ(report.layers[0].nearest_output_error, report.layers[0].output_error);
    }
  }
}

// A process with correlation rho has 1 - rho^2 = 0.19 of its variance left once the columns before
// are known, and that share is what the error of GPTQ falls to where steps are equal and nothing is
// damped; damp 0.01 adds about damp / (1 - rho^2) = 5 % of it. Asserted is half of the way to none.
TEST_F(Gptq, OfCorrelatedInputsHasLessOutputError) {
  write(h);
  const LayerReport layer = run(options()).layers[0];
  run({}, "nearest");
  const double nearest = output_error(codes_of(path("nearest"), "m.q"));
  const double gptq = output_error(codes_of(path("out"), "m.q"));
  EXPECT_LT(gptq, (1 - kRho * kRho + 1) / 2 * nearest);
  // The Hessian is rounded to float32: each of K terms of a sum by 2^-24, K^2 in all.
  const double rounding = kK * std::ldexp(1.0, -24);
  EXPECT_NEAR(nearest, *layer.nearest_output_error, nearest * rounding * kK);
  EXPECT_NEAR(gptq, *layer.output_error, nearest * rounding * kK);
}

TEST_F(Gptq, LeavesColumnsThatWereZeroAsTheyAre) {
  for (std::int64_t j = 0; j < kK; ++j) {
    for (const std::int64_t dead : {std::int64_t{0}, std::int64_t{129}, kK - 1}) {
      h[static_cast<std::size_t>(j * kK + dead)] = 0;
      h[static_cast<std::size_t>(dead * kK + j)] = 0;
    }
  }
  write(h);
  run(options());
  run({}, "nearest");
  const Codes codes = codes_of(path("out"), "m.q"), nearest = codes_of(path("nearest"), "m.q");
  for (std::int64_t r = 0; r < kN; ++r) {
    for (const std::int64_t dead : {std::int64_t{0}, std::int64_t{129}, kK - 1}) {
      EXPECT_EQ(nearest.at(r, dead), codes.at(r, dead));
    }
  }
  EXPECT_NE(nearest.code, codes.code);
}

TEST_F(Gptq, GivesTheSameBytesOnAnyThreads) {
  write(h);
  std::string first;
  for (const int threads : {1, 2, 5}) {
    QuantizeFileOptions how = options();
    how.threads = threads;
    run(how);
    if (first.empty()) first = read_file(path("out"));
    EXPECT_EQ(first, read_file(path("out"))) << threads;
  }
}

TEST_F(Gptq, OfExpertsIsPackedAsTheirCodesAre) {
  write(h);
  run(options(), "dense");
  write(h, "m.experts.3.up_proj");
  run(options());
  EXPECT_TRUE(open_checkpoint(path("out")).contains("m.experts.3.up_proj.weight_packed"));
  EXPECT_EQ(codes_of(path("dense"), "m.q").code, codes_of(path("out"), "m.experts.3.up_proj").code);
}

// With its columns times factors and its inputs divided by them a layer is what it was, and so is
// what GPTQ has to do, but for scales.
TEST_F(Gptq, GoesByTheSmoothedInputs) {
  std::vector<float> factors(kK);
  for (std::size_t j = 0; j < kK; ++j) factors[j] = j % 3 == 0 ? 8.0F : 0.5F;
  CalibrationFile file;
  file.add("m.q", kK, factors, "h");
  file.add_hessian("h", kK, h);
  file.norms = R"("m.norm":["m.q"])";
  file.write(path("calibration"));
  write_safetensors(path("in"), {stored("m.q.weight", "F32", {kN, kK}, weight),
                                 stored("m.norm.weight", "F32", {kK}, ones(kK))});
  QuantizeFileOptions how = options();
  how.smoothquant = true;
  run(how);
  std::vector<float> scaled = weight, divided = h;
  for (std::size_t i = 0; i < scaled.size(); ++i) scaled[i] *= factors[i % kK];
  for (std::size_t i = 0; i < divided.size(); ++i) {
    divided[i] /= factors[i / kK] * factors[i % kK];  // powers of two: exact
  }
  EXPECT_LE(distance(codes_of(path("out"), "m.q"), matrix_of(scaled, kK), matrix_of(divided, kK)),
            0.5 + tie_width());
}

TEST_F(Gptq, SharesAHessianAmongLayersAndReportsEach) {
  CalibrationFile file;
  std::vector<TensorToWrite> tensors;
  for (const char* layer : {"m.q", "m.k"}) {
    tensors.push_back(stored(std::string(layer) + ".weight", "F32", {kN, kK}, weight));
    file.add(layer, kK, ones(kK), "h");
  }
  file.add_hessian("h", kK, h);
  write_safetensors(path("in"), tensors);
  file.write(path("calibration"));
  const QuantizeReport report = run(options());
  ASSERT_EQ(2U, report.layers.size());
  EXPECT_EQ(report.layers[0].output_error, report.layers[1].output_error);
  EXPECT_EQ(codes_of(path("out"), "m.q").code, codes_of(path("out"), "m.k").code);
}

TEST_F(Gptq, RefusesWhatIsNoHessian) {
  std::vector<float> indefinite(kK * kK, 1.0F);
  for (std::int64_t i = 0; i < kK; ++i) indefinite[static_cast<std::size_t>(i * kK + i)] = 0.5F;
  write(indefinite);
  expect_error(Code::corrupt_data,
               "quantize_file: tensor 'h', a Hessian, must be positive definite with damp 0.01; "
               "got a leading minor of 2 columns that is not",
               [&] { run(options()); });
  for (const float bad :
       {-1.0F, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> wrong = h;
    wrong[5 * kK + 5] = bad;
    write(wrong);
    expect_error(Code::corrupt_data,
                 "must have finite values and a diagonal not below 0 in tensor "
                 "'h'; got others in row 5",
                 [&] { run(options()); });
  }
  EXPECT_FALSE(std::filesystem::exists(path("out")));
}

TEST_F(Gptq, SaysWhatMemoryItTakesAndRefusesWhereItIsNotThere) {
  write(h);
  const std::int64_t with = estimate_quantization(path("in"), options()).memory_bytes;
  const std::int64_t without = estimate_quantization(path("in"), {}).memory_bytes;
  EXPECT_GE(with - without, 8 * kK * kK + 4 * kN * kK);  // float64 Hessian, float32 weight

  std::ifstream file("/proc/meminfo");
  std::string word;
  std::int64_t kib = 0;
  file >> word >> kib;
  ASSERT_EQ("MemTotal:", word);
  // A Hessian in float64 that is larger than all memory; as a file it is a hole.
  const auto k = static_cast<std::int64_t>(std::sqrt(static_cast<double>(kib) * 1024 / 8)) + 1000;
  const auto write_holes = [&](const std::string& name, const std::string& json,
                               std::int64_t bytes) {
    write_file(path(name), raw_file(json, 0));
    std::filesystem::resize_file(path(name), 8 + json.size() + static_cast<std::uintmax_t>(bytes));
  };
  const auto entry = [](const std::string& name, const std::string& shape, std::int64_t begin,
                        std::int64_t end) {
    return "\"" + name + R"(":{"dtype":"F32","shape":[)" + shape + R"(],"data_offsets":[)" +
           std::to_string(begin) + "," + std::to_string(end) + "]}";
  };
  const std::string wide = std::to_string(k);
  write_holes("in", "{" + entry("m.q.weight", "1," + wide, 0, 4 * k) + "}", 4 * k);
  std::string json = R"({"__metadata__":{"octavo_calibration":"{\"version\":1,\"norms\":{},)"
                     R"(\"layers\":{\"m.q\":{\"threshold\":6,\"hessian\":\"h\"}}}"})";
  json += "," + entry("m.q.column_min", wide, 0, 4 * k);
  json += "," + entry("m.q.column_max", wide, 4 * k, 8 * k);
  json += "," + entry("m.q.smooth", wide, 8 * k, 12 * k);
  json += "," + entry("h", wide + "," + wide, 12 * k, 12 * k + 4 * k * k) + "}";
  write_holes("calibration", json, 12 * k + 4 * k * k);
  {
    std::fstream factors(path("calibration"), std::ios::in | std::ios::out | std::ios::binary);
    factors.seekp(8 + static_cast<std::streamoff>(json.size()) + 8 * k);
    const std::vector<float> one = ones(k);
    factors.write(reinterpret_cast<const char*>(one.data()), 4 * k);
  }
  expect_error(Code::out_of_memory,
               "quantize_file: gptq of layer 'm.q' [1, " + wide + "] must have ",
               [&] { run(options()); });
  const QuantizeEstimate estimate = estimate_quantization(path("in"), options());
  EXPECT_GE(estimate.memory_bytes, 8 * k * k);
  // 4/3 K^3 operations, and no machine that runs this does 10^15 a second.
  const auto wide_k = static_cast<double>(k);
  EXPECT_GE(estimate.seconds, 4.0 / 3.0 * wide_k * wide_k * wide_k / 1e15);
}

}  // namespace
}  // namespace octavo::test::gptq_test
