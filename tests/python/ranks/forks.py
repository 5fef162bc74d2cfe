# SPDX-License-Identifier: Apache-2.0
"""Ranks as forks of this process, which has imported what they need."""

import os
import sys
import traceback


def forked(size, name, body):
    """Starts body(rank) on that many ranks. Returns their processes, for `ended`; what one raises is on stderr."""
    ranks = []
    for rank in range(size):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                body(rank)
                code = 0
            except BaseException:
                print(f"{name}, rank {rank} of {size}: {traceback.format_exc()}", file=sys.stderr, flush=True)
            finally:
                os._exit(code)
        ranks.append(child)
    return ranks


def ended(ranks):
    """Whether all of them ended with 0."""
    return all([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 for child in ranks])
