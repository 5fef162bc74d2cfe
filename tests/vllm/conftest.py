# SPDX-License-Identifier: Apache-2.0
"""Where models lie: OCTAVO_VLLM_MODELS, which keeps them for the next run, or a folder of this run."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    kept = os.environ.get("OCTAVO_VLLM_MODELS")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("models")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
