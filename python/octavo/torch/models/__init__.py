# SPDX-License-Identifier: Apache-2.0
"""Models: which modules are linear layers or experts, and quantize_, which swaps them.

Sees operators, layers, nn and moe.
"""
