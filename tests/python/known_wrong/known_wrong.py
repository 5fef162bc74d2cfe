# SPDX-License-Identifier: Apache-2.0
"""The rows of docs/known-wrong.md: what PyTorch, vLLM or bitsandbytes gives beside what Octavo gives, as the tests found it.

    python tests/python/known_wrong/test_known_wrong_page.py     writes the page's tables anew
"""

import functools
import re
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

F = torch.nn.functional
Kind = F.ScalingType
FP8, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
BF16, F32 = torch.bfloat16, torch.float32
ONE = torch.ones(())
PAGE = Path(__file__).resolve().parents[3] / "docs" / "known-wrong.md"
ISSUES = {"": "pytorch/pytorch", "ao": "pytorch/ao", "vllm": "vllm-project/vllm", "torch-mlir": "llvm/torch-mlir",
          "vllm-omni": "vllm-project/vllm-omni", "bnb": "bitsandbytes-foundation/bitsandbytes"}
PEERS = {"vllm": "vLLM", "bnb": "bitsandbytes"}  # whom a section is about, by the first word of its name; PyTorch without one


class Found(NamedTuple):
    """What one test saw. The test itself has asserted Octavo's half."""

    wrong: bool  # whether the peer still is
    theirs: str
    octavo: str


class Row(NamedTuple):
    section: str
    issues: str  # "190449 ao#1912"
    what: str
    test: str
    look: object


ROWS = []


@functools.cache
def outcome(row):
    return row.look()


def defect(section, what, issues=""):
    """Makes a test of a function that asserts Octavo's half and returns what it found.

    A newer PyTorch that is right is no failure: the test says so and is skipped. Where PyTorch is the
    page's the row there must be what was found.
    """

    def decorate(look):
        row = Row(section, issues, what, look.__name__, look)
        ROWS.append(row)

        def test():
            found = outcome(row)
            if section != "right" and not found.wrong:
                pytest.skip(f"mended in torch {torch.__version__}, or right on this CPU")
            if section == "right" and found.wrong:
                pytest.skip(f"wrong with torch {torch.__version__} on this CPU")
            if on_the_pages_machine():
                assert line(row) in PAGE.read_text().splitlines()

        test.__name__ = look.__name__
        test.__doc__ = look.__doc__
        return test

    return decorate


def on_the_pages_machine():
    """Whether PyTorch's half must be the page's: its version, and a CPU where it takes the same paths."""
    version = re.search(r"PyTorch (\S+) on", PAGE.read_text())[1]
    return (torch.__version__ == version and torch.backends.cpu.get_cpu_capability() == "AVX512"
            and not torch.cpu._is_amx_tile_supported())


def line(row):
    found = outcome(row)
    return f"| {row.what} | {links(row.issues)} | {found.theirs} | {found.octavo} | `{row.test}` |"


def links(issues):
    return ", ".join(_link(name) for name in issues.split())


def _link(name):
    prefix, _, number = name.rpartition("#")
    return f"[{name if prefix else '#' + name}](https://github.com/{ISSUES[prefix]}/issues/{number})"


def table(section):
    peer = PEERS.get(section.partition("_")[0], "PyTorch")
    head = f"| what is wrong | issue | {peer} | Octavo | test |\n|---|---|---|---|---|\n"
    return head + "".join(line(row) + "\n" for row in ROWS if row.section == section)


def write_page():
    """Replaces the table under each `<!-- section -->` of the page."""
    text = PAGE.read_text()
    for section in dict.fromkeys(row.section for row in ROWS):
        text = re.sub(rf"(<!-- {section} -->\n)(?:\|.*\n)*", lambda m: m[1] + table(section), text)
    PAGE.write_text(text)


def refusal(call):
    """The first sentence of the error of a call, or None if it has none."""
    try:
        call()
    except Exception as error:
        sentence = re.split(r"\n|\. (?=[A-Z])|(?<=');", str(error))[0]
        return f"`{type(error).__name__}: {sentence[:90].rstrip('. ')}{' ...' if len(sentence) > 90 else ''}`"
    return None


def code(value):
    return f"`{value}`"


# ---- operands and results ---------------------------------------------------------------------------


def small(*shape, seed=1, dtype=FP8):
    """Small integers, whose sums are exact in every type here."""
    return torch.randint(-4, 5, shape, generator=torch.Generator().manual_seed(seed)).to(F32).to(dtype)


def full(rows, cols, value, dtype=FP8):
    return torch.full((rows, cols), value).to(dtype)


def exact(a, b):
    return a.double() @ b.double()


def corner(y):
    return y[0, 0].double().item()


def number(y):
    return code(f"{corner(y):g}")
