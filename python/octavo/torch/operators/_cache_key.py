# SPDX-License-Identifier: Apache-2.0
"""What inductor keeps on the disk is another version's where Octavo's is another: its operators' shapes are in there."""

import torch.compiler.config as config

from ... import __version__


def tag_caches() -> None:
    """Octavo's version becomes a part of the key of torch.compile's caches."""
    tag = f"octavo-{__version__}"
    before = getattr(config, "cache_key_tag", None)  # None: a PyTorch that has no tag
    if before is not None and tag not in before.split():
        config.cache_key_tag = f"{before} {tag}".strip()
