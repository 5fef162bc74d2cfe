# SPDX-License-Identifier: Apache-2.0
"""cuBLASLt's products by the algorithm of its list that is the fastest here, without a header or a compiler.

The library is the one that PyTorch has loaded. It sees columns: the product is

    out^T [N, M] = weight [N, K] x a^T [K, M],   scales of N and M outside, where the types have them

of fp8 into bf16 with the scales of rows and columns, as Octavo's; of int8 into int32 without any, since it
multiplies no int32 sums by vectors."""

import ctypes
import statistics
from typing import Any, Callable

import torch

# Of library_types.h, cublas_api.h and cublasLt.h.
R_32F, R_8I, R_32I, R_16BF, R_8F_E4M3 = 0, 3, 10, 14, 28
COMPUTE_32F, COMPUTE_32I = 68, 72
DESC_TRANSA, DESC_A_SCALE_POINTER, DESC_B_SCALE_POINTER, DESC_FAST_ACCUM = 3, 17, 18, 25
DESC_A_SCALE_MODE, DESC_B_SCALE_MODE = 31, 32
SCALE_OUTER_VECTOR = 3
PREFERENCE_MOST_WORKSPACE = 1
TRANSPOSED = 1
MOST_ALGORITHMS = 64
WORKSPACE_BYTES = 32 << 20


class Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""
    _fields_ = [("algorithm", ctypes.c_uint64 * 8), ("workspace", ctypes.c_size_t), ("status", ctypes.c_int),
                ("waves", ctypes.c_float), ("reserved", ctypes.c_int * 4)]


def loaded_library() -> ctypes.CDLL:
    """The library of this process."""
    one = torch.ones(16, 16, device="cuda", dtype=torch.bfloat16)
    torch.nn.functional.linear(one, one, one[0])  # whoever has not loaded it does
    with open("/proc/self/maps", encoding="utf-8") as maps:
        paths = {line.split()[-1] for line in maps if "libcublasLt.so" in line}
    if not paths:
        raise RuntimeError("PyTorch has loaded no libcublasLt.so")
    return ctypes.CDLL(min(paths))


class CublasLt:
    """A handle, its workspace and what asks for products."""

    def __init__(self) -> None:
        self.library = loaded_library()
        self.handle = ctypes.c_void_p()
        self.call("cublasLtCreate", ctypes.byref(self.handle))
        self.workspace = torch.empty(WORKSPACE_BYTES, dtype=torch.uint8, device="cuda")

    def call(self, function: str, *arguments: Any) -> None:
        status = getattr(self.library, function)(*arguments)
        if status != 0:
            raise RuntimeError(f"{function}: status {status}")

    def layout(self, dtype: int, rows: int, columns: int) -> ctypes.c_void_p:
        made = ctypes.c_void_p()
        self.call("cublasLtMatrixLayoutCreate", ctypes.byref(made), dtype, ctypes.c_uint64(rows),
                  ctypes.c_uint64(columns), ctypes.c_int64(rows))
        return made

    def set(self, desc: ctypes.c_void_p, attribute: int, value: Any) -> None:
        self.call("cublasLtMatmulDescSetAttribute", desc, attribute, ctypes.byref(value),
                  ctypes.c_size_t(ctypes.sizeof(value)))


class Product:
    """out = a @ weight.t(): of fp8 times scales of rows and columns in bf16, of int8 in int32."""

    def __init__(self, lt: CublasLt, a: torch.Tensor, n: int, scale_a: torch.Tensor, scale_b: torch.Tensor,
                 fast: bool) -> None:
        self.lt, self.a = lt, a
        self.scales = (scale_a.contiguous(), scale_b.contiguous())
        m, k = a.shape
        integers = a.dtype == torch.int8
        self.out = torch.empty(m, n, dtype=torch.int32 if integers else torch.bfloat16, device="cuda")
        codes, out = (R_8I, R_32I) if integers else (R_8F_E4M3, R_16BF)
        self.desc = ctypes.c_void_p()
        lt.call("cublasLtMatmulDescCreate", ctypes.byref(self.desc), COMPUTE_32I if integers else COMPUTE_32F,
                R_32I if integers else R_32F)
        lt.set(self.desc, DESC_TRANSA, ctypes.c_int32(TRANSPOSED))
        if integers:
            self.factors = (ctypes.c_int32(1), ctypes.c_int32(0))
        else:
            self.factors = (ctypes.c_float(1), ctypes.c_float(0))
            lt.set(self.desc, DESC_FAST_ACCUM, ctypes.c_int8(int(fast)))
            for mode, pointer, scale in ((DESC_A_SCALE_MODE, DESC_A_SCALE_POINTER, self.scales[1]),
                                         (DESC_B_SCALE_MODE, DESC_B_SCALE_POINTER, self.scales[0])):
                lt.set(self.desc, mode, ctypes.c_int32(SCALE_OUTER_VECTOR))
                lt.set(self.desc, pointer, ctypes.c_void_p(scale.data_ptr()))
        self.layouts = (lt.layout(codes, k, n), lt.layout(codes, k, m), lt.layout(out, n, m))
        self.algorithms = self._algorithms()
        self.algorithm = self.algorithms[0]

    def _algorithms(self) -> list[Heuristic]:
        preference = ctypes.c_void_p()
        self.lt.call("cublasLtMatmulPreferenceCreate", ctypes.byref(preference))
        most = ctypes.c_size_t(WORKSPACE_BYTES)
        self.lt.call("cublasLtMatmulPreferenceSetAttribute", preference, PREFERENCE_MOST_WORKSPACE,
                     ctypes.byref(most), ctypes.c_size_t(ctypes.sizeof(most)))
        found = (Heuristic * MOST_ALGORITHMS)()
        count = ctypes.c_int()
        weight, a, out = self.layouts
        self.lt.call("cublasLtMatmulAlgoGetHeuristic", self.lt.handle, self.desc, weight, a, out, out, preference,
                     MOST_ALGORITHMS, found, ctypes.byref(count))
        if count.value == 0:
            raise RuntimeError("cuBLASLt has no algorithm for these types")
        return list(found)[:count.value]

    def run(self, weight: torch.Tensor) -> None:
        stream = torch.cuda.current_stream().cuda_stream
        layout_weight, layout_a, layout_out = self.layouts
        alpha, beta = self.factors
        self.lt.call("cublasLtMatmul", self.lt.handle, self.desc, ctypes.byref(alpha),
                     ctypes.c_void_p(weight.data_ptr()), layout_weight, ctypes.c_void_p(self.a.data_ptr()), layout_a,
                     ctypes.byref(beta), ctypes.c_void_p(self.out.data_ptr()), layout_out,
                     ctypes.c_void_p(self.out.data_ptr()), layout_out, ctypes.byref(self.algorithm.algorithm),
                     ctypes.c_void_p(self.lt.workspace.data_ptr()), ctypes.c_size_t(WORKSPACE_BYTES),
                     ctypes.c_void_p(stream))

    def choose(self, timed: Callable[[Callable[[torch.Tensor], None]], list[float]]) -> None:
        """Keeps the algorithm whose calls are the fastest by `timed`; those that refuse are left out."""
        times: list[tuple[float, int]] = []
        for index, algorithm in enumerate(self.algorithms):
            self.algorithm = algorithm
            try:
                times.append((statistics.median(timed(self.run)), index))
            except RuntimeError:
                continue
        if not times:
            raise RuntimeError(f"none of {len(self.algorithms)} algorithms of cuBLASLt runs")
        self.algorithm = self.algorithms[min(times)[1]]
