# SPDX-License-Identifier: Apache-2.0
"""PyTorch's own products on Octavo's kernels, while a handle is active.

Sees operators and functional.
"""
