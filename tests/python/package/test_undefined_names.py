# SPDX-License-Identifier: Apache-2.0
"""Names that no module defines: Python finds them when their line runs, which may be on four ranks alone."""

import ast
from pathlib import Path

import pytest

checker = pytest.importorskip("pyflakes.checker")

ROOT = Path(__file__).resolve().parent.parent.parent.parent
FOLDERS = ("api", "bench", "examples", "python", "scripts", "tests", "tools")


def undefined(source, name):
    found = checker.Checker(ast.parse(source, name), name).messages
    return [str(message) for message in found if type(message).__name__.startswith("Undefined")]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_name_is_defined(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert [sentence for file in files for sentence in undefined(file.read_text(), str(file))] == []


def test_one_that_is_not_is_found():
    assert len(undefined("from os import path\n\n\ndef f():\n    return paths\n", "example.py")) == 1
