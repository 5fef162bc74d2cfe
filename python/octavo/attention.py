# SPDX-License-Identifier: Apache-2.0
"""Attention over keys and values in 8 bits."""

from ._operations import attention

__all__ = ["attention"]
