# SPDX-License-Identifier: Apache-2.0
"""Octavo inside transformers: loading, saving, registering.

Sees everything but calibration.
"""
