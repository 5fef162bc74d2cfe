// SPDX-License-Identifier: Apache-2.0
// The functions of LAPACK and BLAS that GPTQ needs, of the library that is installed.
//
// The library is opened when it is asked for, so that Octavo needs it for nothing else and the
// Python package works with the system's. Matrices are column-major, as in Fortran.
#pragma once

#include <cstddef>
#include <string_view>

namespace octavo::checkpoint {

/// Fortran passes everything by address, and the lengths of characters behind all others.
struct Lapack {
  using Factor = void (*)(const char* uplo, const int* n, double* a, const int* lda, int* info,
                          std::size_t);
  /// Cholesky's factor of a positive definite matrix, in the triangle `uplo`.
  Factor dpotrf = nullptr;
  /// The inverse of the matrix of which dpotrf made that factor.
  Factor dpotri = nullptr;
  /// C := alpha op(A) op(B) + beta C.
  void (*dgemm)(const char* transa, const char* transb, const int* m, const int* n, const int* k,
                const double* alpha, const double* a, const int* lda, const double* b,
                const int* ldb, const double* beta, double* c, const int* ldc, std::size_t,
                std::size_t) = nullptr;
  /// B := alpha op(A) B for a triangular A.
  void (*dtrmm)(const char* side, const char* uplo, const char* transa, const char* diag,
                const int* m, const int* n, const double* alpha, const double* a, const int* lda,
                double* b, const int* ldb, std::size_t, std::size_t, std::size_t,
                std::size_t) = nullptr;
};

/// The library: what OCTAVO_LAPACK names, else liblapack.so.3, else libopenblas.so.0. Opened once.
/// Throws Error (unsupported) where there is none, with the Debian package that has it; `what`,
/// that which needs it, begins the sentence.
const Lapack& lapack(std::string_view what = "quantize_file: gptq");

}  // namespace octavo::checkpoint
