#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/checkpoint/models/architectures.inc: what the modules of every class of the installed transformers are.

usage: python scripts/architectures/make.py [--only NAME ...]
"""

import argparse
import sys
import warnings
from pathlib import Path

import transformers

from classes import model_classes, on_meta
from kinds import KINDS, parameters
from names import moves, pair, remakes, shortened, starred, stored, ties
from table import Trees, tree_of

OUT = Path(__file__).parents[2] / "src/checkpoint/models/architectures.inc"
PIECE = 16000  # characters of a literal: what every compiler takes


class Rows:
    """The table's text: trees, words that several classes have, and a row for each class."""

    def __init__(self):
        self._trees, self._words, self._rows = Trees(), {}, {}

    def add(self, model):
        """A class, by a model of it."""
        modules = dict(parameters(model))
        if not modules:
            return
        tied = ties(model)
        shared = {starred(name) for names in tied for name in names}
        modules = {name: "K" if kind in "LWF" and starred(name) in shared else kind  # readers tie weights, not scales
                   for name, kind in modules.items()}
        files = stored(model, modules)
        kept = {each.module for each in files.values() if each.kind != "M"} if files else set(modules)
        modules = {name: "M" if kind in "LWF" and name not in kept else kind for name, kind in modules.items()}
        row = [type(model).__name__, str(self._trees.number(tree_of(modules)))]
        if files:
            row.append(f"f{self._trees.number(tree_of({name: each.kind for name, each in files.items()}))}")
        words = [f"m:{pair(a, b)}" for a, b in sorted(moves(files).items())]
        words += [f"t:{pair(*each)}" for each in shortened(tied, modules)]
        words += sorted(remakes(model))
        words += [f"u:{p}" for p in sorted(model._keys_to_ignore_on_load_unexpected or ())]
        words += [f"x:{p}" for p in sorted(model._keys_to_ignore_on_load_missing or ())]
        if any(" " in word for word in words):
            raise ValueError("a word of its row must have no space")
        row += [str(self._words.setdefault(word, len(self._words))) for word in words]
        of = f"= {model.config.model_type or '-'} {model.base_model_prefix or '-'}"
        self._rows.setdefault(of, []).append(" ".join(row))

    def __len__(self):
        return sum(map(len, self._rows.values()))

    def text(self):
        rows = [line for of, group in sorted(self._rows.items()) for line in (of, *group)]
        return "\n".join([f"transformers {transformers.__version__}", *self._trees.lines(), "", *self._words, "", *rows]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*")
    only = parser.parse_args().only
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity(100)
    rows, failed = Rows(), []
    for name, cls in model_classes().items():
        if only and name not in only:
            continue
        try:
            rows.add(on_meta(cls))
        except Exception as error:  # a class that its own default configuration does not build
            failed.append(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:100]}")
            continue
    text = rows.text()
    if only:
        print(text)
    else:
        OUT.parent.mkdir(exist_ok=True)
        OUT.write_text(literal(text))
    print(f"{len(rows)} classes, {len(text)} bytes; not built: {len(failed)}", *failed, sep="\n  ", file=sys.stderr)


def literal(text):
    """The text as rows of a C++ array of literals."""
    head = ["// Written by scripts/architectures/make.py. Three parts with an empty line between them: trees (names of modules,",
            "// each with a kind or a tree's number), words that rows share, and rows: \"= model_type prefix\", then a class with its",
            "// tree of modules, of files (f) where that is another, and the numbers of its words. Kinds:"]
    head += [f"//   {kind}  {what}" for kind, what in KINDS.items()]
    pieces, piece = [], ""
    for line in text.splitlines(keepends=True):
        if len(piece) + len(line) > PIECE:
            pieces.append(piece)
            piece = ""
        piece += line
    return "\n".join(head) + "\n" + ",\n".join(f'R"octavo({each})octavo"' for each in [*pieces, piece]) + "\n"


if __name__ == "__main__":
    main()
