# SPDX-License-Identifier: Apache-2.0
"""bitsandbytes.optim, which is not here: importing it says so."""

from ._absent import refuse_import

refuse_import("optim")
