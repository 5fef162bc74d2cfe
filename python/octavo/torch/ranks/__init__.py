# SPDX-License-Identifier: Apache-2.0
"""Layers whose weights lie on several ranks of torch.distributed.

Sees operators, layers and moe.
"""
