# SPDX-License-Identifier: Apache-2.0
"""Operators that autograd and torch.compile see: schemas, kernels, gradients, and the routes to them.

Sees octavo and PyTorch alone.
"""
