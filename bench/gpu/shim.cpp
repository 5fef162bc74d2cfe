// SPDX-License-Identifier: Apache-2.0
// Products of matrices on a device for bench/gpu/bench.py, which any Python may load by ctypes: the
// extension module is of one Python's version.
#include <cstdint>
#include <exception>
#include <memory>
#include <string>

#include "octavo/octavo.hpp"

namespace {

using namespace octavo;

struct Product {
  Operand a, b;
  PackedWeight packed;
  MatmulProblem problem;
  ExecContext context;
};

thread_local std::string said;

template <class Call>
const char* said_by(const Call& call) noexcept {
  try {
    call();
    return nullptr;
  } catch (const std::exception& error) {
    said = error.what();
    return said.c_str();
  }
}

TensorView on_device(const void* memory, const char* type, std::int64_t rows,
                     std::int64_t columns) {
  TensorView view(memory, dtype_from_name(type), {rows, columns});
  view.device = {DeviceType::cuda, 0};
  return view;
}

}  // namespace

extern "C" {

/// One product of row-major A [m, k], B [n, k], float32 scale_a [m, 1] or one, scale_b [1, n] or
/// one, out [m, n]. Each function gives null, or what went wrong.
OCTAVO_API const char* bench_make(Product** product, const char* type, const char* out_type,
                                  std::int64_t m, std::int64_t n, std::int64_t k, const void* a,
                                  const void* b, const void* scale_a, const void* scale_b,
                                  int per_row, void* out, void* stream, int fast, int packed) {
  return said_by([&] {
    auto p = std::make_unique<Product>();
    p->a = Operand(on_device(a, type, m, k));
    const TensorView weight = on_device(b, type, n, k).transposed();
    p->context = {.device = {DeviceType::cuda, 0}, .stream = stream};
    if (packed != 0) {
      p->packed = pack(Operand(weight), {}, p->context);
      p->b = Operand(p->packed);
    } else {
      p->b = Operand(weight);
    }
    p->problem =
        scaled_mm_problem(p->a, p->b,
                          {.scale_a = on_device(scale_a, "float32", per_row != 0 ? m : 1, 1),
                           .scale_b = on_device(scale_b, "float32", 1, per_row != 0 ? n : 1),
                           .out_dtype = dtype_from_name(out_type)});
    set_output(p->problem, on_device(out, out_type, m, n));
    p->problem.options.fast_accumulation = fast != 0;
    *product = p.release();
  });
}

OCTAVO_API const char* bench_run(const Product* p, int times) {
  return said_by([&] {
    for (int i = 0; i < times; ++i) run(p->problem, p->context);
  });
}

/// What runs it, and why, in `said`.
OCTAVO_API const char* bench_explain(const Product* p) {
  const char* failure = said_by([&] { said = explain(p->problem, p->context).to_string(); });
  return failure != nullptr ? failure : said.c_str();
}

OCTAVO_API void bench_free(Product* p) { delete p; }

}  // extern "C"
