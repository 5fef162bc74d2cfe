# SPDX-License-Identifier: Apache-2.0
"""calibrate, smooth_ and evaluate: models on real data.

Sees everything else.
"""
