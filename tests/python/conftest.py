# SPDX-License-Identifier: Apache-2.0
import signal

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def interruptible():
    """SIGINT raises KeyboardInterrupt, even where this process was started to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
