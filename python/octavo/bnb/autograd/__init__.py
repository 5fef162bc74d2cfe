# SPDX-License-Identifier: Apache-2.0
"""bitsandbytes.autograd: the differentiable products."""

from ._functions import GlobalOutlierPooler, MatMul8bitFp, MatMul8bitLt, MatmulLtState, matmul

__all__ = ["GlobalOutlierPooler", "MatMul8bitFp", "MatMul8bitLt", "MatmulLtState", "matmul"]
