# SPDX-License-Identifier: Apache-2.0
"""English prose from Debian's packages: what models are measured on, and other text that calibrates them."""

import gzip
from pathlib import Path
from typing import Any

import torch

WINDOW = 512

# Files of unpacked packages. No document is in both lists.
MEASURED = ("usr/share/doc/debian-history/docs/project-history.en.txt.gz", "usr/share/doc/debian/FAQ/debian-faq.en.txt.gz")
CALIBRATED = ("usr/share/developers-reference/developers-reference.txt.gz",)


def windows(root: Path, files: tuple[str, ...], tokenizer: Any, tokens: int) -> torch.Tensor:
    """Token ids [tokens / WINDOW, WINDOW]: as many windows of each document, evenly spaced over the whole of it.

    root: where the packages were unpacked. Raises: OSError, ValueError (too little text).
    """
    share, rows = tokens // WINDOW // len(files), []
    for file in files:
        text = gzip.decompress((root / file).read_bytes()).decode("utf-8")
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        whole = len(ids) // WINDOW
        if not 0 < share <= whole:
            raise ValueError(f"accuracy: tokens must be {len(files) * WINDOW} to {whole * len(files) * WINDOW} for {file}, "
                             f"which has {len(ids)}; got {tokens}")
        places = [window * whole // share for window in range(share)]
        rows.append(torch.tensor(ids[:whole * WINDOW]).view(whole, WINDOW)[places])
    return torch.cat(rows)
