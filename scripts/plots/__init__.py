# SPDX-License-Identifier: Apache-2.0
"""Pictures of docs/plots, drawn of committed figures."""
