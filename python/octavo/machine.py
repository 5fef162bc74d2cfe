# SPDX-License-Identifier: Apache-2.0
"""The machine that this Octavo runs on: processor, backends, threads."""

from ._octavo import backends, cpu_features, cpu_name, get_num_threads, threads_reason

__all__ = ["backends", "cpu_features", "cpu_name", "get_num_threads", "threads_reason"]
