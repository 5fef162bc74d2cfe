# SPDX-License-Identifier: Apache-2.0
"""What a layer in 8 bits is made of: its weight, what others read of it, products that layers share.

Sees operators.
"""
