// SPDX-License-Identifier: Apache-2.0
// The reference's examples of products: it shows what stands between a name in brackets and its
// end.
#include <cstdint>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include "check.hpp"
#include "octavo/octavo.hpp"

using namespace octavo;

namespace {

void tensors() {
  {
    // [octavo::view]
    const std::vector<float> values{1, 2, 3, 4, 5, 6};
    const TensorView matrix = view(values, {2, 3});  // float32 [2, 3], row-major
    CHECK(matrix.dtype == float32 && matrix.numel() == 6);
    // [/octavo::view]
  }
  {
    // [octavo::TensorView]
    const std::uint8_t codes[] = {0x38, 0x40, 0x44, 0x48};              // e4m3fn: 1, 2, 3, 4
    const TensorView stored(codes, float8_e4m3fn, {2, 2});              // [N, K]
    const TensorView column(codes + 1, float8_e4m3fn, {2, 1}, {2, 1});  // any strides
    CHECK(stored.transposed().strides[0] == 1 && column.shape[0] == 2);
    // [/octavo::TensorView]
  }
  {
    // [octavo::Tensor]
    const Tensor zeros = Tensor::empty(bfloat16, {4, 8});  // memory of its own; copies share it
    std::memset(zeros.data(), 0, 4 * 8 * 2);
    const Tensor wide = zeros.to(float32);
    CHECK(wide.data_as<float>()[0] == 0.0F && shape_string(wide) == "[4, 8]");
    // [/octavo::Tensor]
  }
  {
    // [octavo::copy]
    const std::vector<float> values{0.5F, -1.0F};
    const Tensor half = copy(view(values, {1, 2}), float16);
    CHECK(half.dtype() == float16 && half.to(float32).data_as<float>()[1] == -1.0F);
    // [/octavo::copy]
  }
}

void scales() {
  {
    // [octavo::Scale]
    const std::vector<float> per_row{0.5F, 2.0F};
    const Scale number = 0.25;                             // one for all
    const Scale rows(view(per_row, {2, 1}), per_token());  // one for each row of A
    const Scale none = nullptr;                            // whatever the operand carries
    CHECK(number.number() == 0.25F && rows.granularity() == per_token());
    CHECK(none.kind() == Scale::Kind::null);
    // [/octavo::Scale]
  }
  {
    // [octavo::Granularity]
    CHECK(to_string(group(128)) == "group128" && to_string(block(128, 128)) == "block128x128");
    CHECK(scale_grid(block(128, 64), Side::b).cols == 64);
    // [/octavo::Granularity]
  }
  {
    // [octavo::granularity_from_name]
    CHECK(granularity_from_name("mx") == group(32));
    CHECK(granularity_from_name("rows").kind == Granularity::Kind::automatic);  // no such name
    // [/octavo::granularity_from_name]
  }
}

void quantisers() {
  const std::vector<float> x{127, 0, -127, 1, 2, 254};
  {
    // [octavo::quantize]
    const Quantized q = quantize(view(x, {2, 3}));  // int8, one scale for each row
    CHECK(q.scale.data_as<float>()[0] == 1.0F && q.scale.data_as<float>()[1] == 2.0F);
    CHECK(q.data.data_as<std::int8_t>()[5] == 127);
    // [/octavo::quantize]
    // [octavo::dequantize]
    const Tensor values = dequantize(q);  // float32: code * scale
    CHECK(values.data_as<float>()[5] == 254.0F);
    // [/octavo::dequantize]
  }
  {
    // [octavo::compute_scale]
    const Quantized q = compute_scale(view(x, {2, 3}), {.granularity = per_tensor()});
    CHECK(q.scale.data_as<float>()[0] == 2.0F && !q.data.defined());  // 254 / 127, and no codes
    // [/octavo::compute_scale]
  }
  {
    // [octavo::quantize_mxfp8]
    const std::vector<float> ones(4 * 32, 1.0F);
    const Quantized q = quantize_mxfp8(view(ones, {4, 32}));
    CHECK(q.data.dtype() == float8_e4m3fn && q.scale.dtype() == float8_e8m0fnu);
    // [/octavo::quantize_mxfp8]
  }
  {
    // [octavo::code_errors]
    const TensorView values = view(x, {2, 3});
    const CodeErrors errors = code_errors(values, quantize(values));
    CHECK(errors.largest == 1.0F);  // 1 and 2 of the second row: 1 / 2 rounds to 0
    // [/octavo::code_errors]
  }
}

void products() {
  const std::vector<std::int8_t> x{1, 2, 3, 4, 5, 6}, w{1, 0, 0, 1, 1, 1};  // [2, 3] and [3, 2]
  {
    // [octavo::scaled_mm]
    const Tensor y =
        scaled_mm(view(x, {2, 3}), view(w, {3, 2}), {.scale_a = 0.5, .out_dtype = float32});
    CHECK(y.data_as<float>()[2] == 5.0F);  // (4 + 6) * 0.5
    // [/octavo::scaled_mm]
  }
  {
    // [octavo::explain]
    const MatmulProblem problem = scaled_mm_problem(view(x, {2, 3}), view(w, {3, 2}));
    std::cout << explain(problem).to_string();  // which kernel, why, and how far off at most
    CHECK(explain(problem).error_bound == 0);   // integers sum exactly
    // [/octavo::explain]
    // [octavo::workspace_bytes]
    std::vector<std::byte> scratch(workspace_bytes(problem) + 1);
    const Workspace workspace{scratch.data(), scratch.size()};
    const Tensor y = scaled_mm(view(x, {2, 3}), view(w, {3, 2}), {}, {.workspace = &workspace});
    CHECK(y.numel() == 4);  // nothing was allocated but y
    // [/octavo::workspace_bytes]
  }
  {
    // [octavo::pack]
    const std::vector<float> scale{0.5F, 0.25F};  // one for each of the N columns
    const PackedWeight weight =
        pack(view(w, {3, 2}), {.scale = Scale(view(scale, {1, 2}), per_channel())});
    const Tensor y = scaled_mm(view(x, {2, 3}), weight, {.out_dtype = float32});
    CHECK(y.data_as<float>()[0] == 2.0F && y.data_as<float>()[1] == 1.25F);
    // [/octavo::pack]
    // [octavo::unpack]
    const Quantized same = unpack(weight);  // codes and scales, bit for bit
    CHECK(same.scale.data_as<float>()[1] == 0.25F);
    // [/octavo::unpack]
  }
  {
    // [octavo::linear]
    const std::vector<float> rows{0.5F, 0.25F, -0.5F};
    ActivationQuant rule;  // int8, one scale for each row
    const PackedWeight weight = pack(view(w, {3, 2}), {.scale = 1.0, .activation = rule});
    const Tensor y = linear(view(rows, {1, 3}), weight);  // rows are quantised on the way
    CHECK(y.data_as<float>()[0] == 0.0F && y.dtype() == float32);
    // [/octavo::linear]
    // [octavo::with_activation]
    const PackedWeight plain = with_activation(weight, {});  // the same codes
    CHECK(linear(view(rows, {1, 3}), plain).data_as<float>()[1] == -0.25F);
    // [/octavo::with_activation]
  }
}

void groups() {
  const std::vector<float> a{1, 2, 3, 4, 5, 6}, b{1, 1, 10, 10};  // [3, 2] and [2, 2, 1]
  {
    // [octavo::grouped_mm]
    const std::vector<std::int32_t> ends{1, 3};  // row 0 is group 0's, rows 1 and 2 are group 1's
    const Tensor y =
        grouped_mm(view(a, {3, 2}), view(b, {2, 2, 1}), {.offs = view(ends, {2})});  // [3, 1]
    CHECK(y.data_as<float>()[0] == 3.0F && y.data_as<float>()[2] == 110.0F);
    // [/octavo::grouped_mm]
  }
  {
    // [octavo::scaled_grouped_mm]
    const Tensor y =
        scaled_grouped_mm(view(b, {2, 1, 2}), view(b, {2, 2, 1}), {.scale = 0.5});  // [2, 1, 1]
    CHECK(y.data_as<float>()[0] == 1.0F && y.data_as<float>()[1] == 100.0F);
    // [/octavo::scaled_grouped_mm]
  }
}

void experts() {
  {
    // [octavo::silu_and_mul]
    const std::vector<float> x{0, 20, 3, 2};  // [1, 2 I], I = 2
    const Tensor y = silu_and_mul(view(x, {1, 4}));
    CHECK(y.data_as<float>()[0] == 0.0F && y.data_as<float>()[1] > 39.9F);  // silu(20) * 2
    // [/octavo::silu_and_mul]
  }
  {
    // [octavo::pack_experts]
    const std::vector<std::int8_t> codes(2 * 4 * 8, 1);  // two experts [N, K] = [4, 8]
    const ExpertWeights weights = pack_experts(view(codes, {2, 4, 8}), {.scale = 0.5});
    CHECK(weights.experts() == 2 && weights.k() == 8 && weights[1].n() == 4);
    // [/octavo::pack_experts]
  }
  {
    // [octavo::fused_experts]
    const std::vector<float> x(8, 1.0F), first(2 * 4 * 8, 0.5F), second(2 * 8 * 2, 1.0F);
    const ExpertWeights w13 = pack_experts(view(first, {2, 4, 8}));  // [E, 2 I, K]
    const ExpertWeights w2 = pack_experts(view(second, {2, 8, 2}));  // [E, N, I]
    const std::vector<float> weights{1};
    const std::vector<std::int32_t> ids{1};  // the one row goes to expert 1
    const Tensor y =
        fused_experts(view(x, {1, 8}), w13, w2, view(weights, {1, 1}), view(ids, {1, 1}));
    CHECK(y.data_as<float>()[0] > 31.4F && y.data_as<float>()[0] < 31.5F);  // 2 * silu(4) * 4
    // [/octavo::fused_experts]
  }
}

void gradients() {
  const std::vector<float> a{1, 2}, b{3, 4}, grad{10};
  {
    // [octavo::scaled_mm_vjp]
    const MatmulGradients d = scaled_mm_vjp(view(grad, {1, 1}), view(a, {1, 2}), view(b, {2, 1}),
                                            {}, {.a = true, .b = true});
    CHECK(d.a.data_as<float>()[1] == 40.0F && d.b.data_as<float>()[0] == 10.0F);
    // [/octavo::scaled_mm_vjp]
  }
  {
    // [octavo::quantize_vjp]
    const std::vector<float> ones{1, 1};
    const QuantizeGradients d = quantize_vjp(view(ones, {1, 2}), view(a, {1, 2}), {}, {.x = true});
    CHECK(d.x.data_as<float>()[0] == 1.0F);  // straight through
    // [/octavo::quantize_vjp]
  }
}

void machine() {
  {
    // [octavo::Error]
    const std::vector<float> a{1, 2}, b{1, 2, 3};
    try {
      scaled_mm(view(a, {1, 2}), view(b, {3, 1}));
      CHECK(false);
    } catch (const Error& error) {
      CHECK(error.code() == Code::invalid_argument);
      std::cout << error.what() << '\n';  // scaled_mm: the operation, the rule, and what it got
    }
    // [/octavo::Error]
  }
  {
    // [octavo::backends]
    for (const BackendInfo& backend : backends()) {
      std::cout << backend.name << (backend.usable ? "" : ": " + backend.unavailable) << '\n';
    }
    CHECK(!backends().empty());
    // [/octavo::backends]
  }
  {
    // [octavo::ThreadExecutor]
    ThreadExecutor two(2);
    const std::vector<std::int8_t> a(64, 1), b(64, 1);
    const Tensor y =
        scaled_mm(view(a, {8, 8}), view(b, {8, 8}), {.out_dtype = int32}, {.executor = &two});
    CHECK(y.data_as<std::int32_t>()[0] == 8);  // results do not depend on threads
    // [/octavo::ThreadExecutor]
  }
  {
    // [octavo::shard_range]
    const ShardRange part = shard_range(4096, 1, 4);  // the second of four
    CHECK(part.begin == 1024 && part.size() == 1024);
    // [/octavo::shard_range]
  }
  {
    // [octavo::qmax]
    CHECK(qmax(int8) == 127 && qmax(float8_e4m3fn) == 448);
    // [/octavo::qmax]
  }
  {
    // [octavo::int8_vectorwise_quant]
    const std::vector<float> a{1, 8, -2, 0};
    const VectorwiseQuant q = int8_vectorwise_quant(view(a, {2, 2}), {.threshold = 6});
    CHECK(q.outlier_cols.numel() == 1 && q.codes.data_as<std::int8_t>()[1] == 0);
    // [/octavo::int8_vectorwise_quant]
  }
}

}  // namespace

int main() {
  tensors();
  scales();
  quantisers();
  products();
  groups();
  experts();
  gradients();
  machine();
  return 0;
}
