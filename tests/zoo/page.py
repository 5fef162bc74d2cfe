#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/models.md from the results of tests/zoo/run.py.

usage: python tests/zoo/page.py RESULTS_FOLDER PAGE
"""

import collections
import re
import sys
from pathlib import Path

import transformers

from run import SCHEMES, rows
from classes import model_classes

SIGNS = {"good": "✓", "weights": "w", "refused": "–", "not built": "?", "FAILED": "✗"}
HEAD = """# Models of transformers in 8 bits

Every class of transformers {release} that a shrunk default configuration builds: a small random model goes through
`octavo quantize` and is loaded by transformers alone, Octavo not imported. `./dev zoo` makes this page.

- ✓: no name is missing or left over, every weight is bit for bit the dequantised one, and the outputs' cosine to the float model is
  at least 0.99, or at most 0.005 below that of the same weights with activations rounded by PyTorch's own arithmetic.
- w: the same without outputs, which the zoo has no inputs for.
- –: refused, with the reason. ?: the class needs a package or a configuration that is not there. ✗: fails.

{counts}

## A class of each kind, every way

Each scheme, each target of `octavo convert`, `save_pretrained`; folders read by transformers and by Octavo.

{ways}

## Refused

{refused}

## Classes

{classes}
"""


def main() -> None:
    folder, page = Path(sys.argv[1]), Path(sys.argv[2])
    found = [row for path in sorted(folder.glob("classes-*.jsonl")) for row in rows(path)]
    types = {name: cls.config_class.model_type or "-" for name, cls in model_classes().items()}
    page.write_text(HEAD.format(release=transformers.__version__, counts=_counts(found), ways=_ways(rows(folder / "ways.jsonl")),
                                refused=_refused(found), classes=_classes(found, types)))


def _counts(found):
    lines = ["| | " + " | ".join(SIGNS) + " |", "|---|" + "---:|" * len(SIGNS)]
    for scheme in SCHEMES:
        counted = collections.Counter(row["outcome"] for row in found if row["scheme"] == scheme)
        lines.append(f"| `{scheme}` | " + " | ".join(str(counted[outcome]) for outcome in SIGNS) + " |")
    return "\n".join(lines)


def _ways(found):
    classes = collections.defaultdict(collections.Counter)
    for row in found:
        classes[row["cls"]][row["outcome"]] += 1
    lines = ["| class | " + " | ".join(SIGNS) + " |", "|---|" + "---:|" * len(SIGNS)]
    return "\n".join([*lines, *(f"| `{name}` | " + " | ".join(str(counted[outcome]) for outcome in SIGNS) + " |"
                                for name, counted in sorted(classes.items()))])


def _refused(found):
    reasons = collections.defaultdict(set)
    for row in found:
        if row["outcome"] == "refused":
            text = row["said"].partition(": ")[2].partition("; got")[0].replace(row["cls"], "the class")
            text = re.sub(r"'[^' ]*'", "X", text)  # of a tensor, of a folder
            reasons[text].add(f"{row['cls']} ({row['scheme']})")
    lines = ["| sentence | classes |", "|---|---:|"]
    return "\n".join([*lines, *(f"| {text} | {len({name.split()[0] for name in names})} |" for text, names in sorted(reasons.items()))])


def _classes(found, types):
    by_type = collections.defaultdict(dict)
    for row in found:
        by_type[types.get(row["cls"], "-")].setdefault(row["cls"], {})[row["scheme"]] = SIGNS[row["outcome"]]
    lines = ["| model type | classes: `" + "`, `".join(SCHEMES) + "` |", "|---|---|"]
    for kind, classes in sorted(by_type.items()):
        cells = collections.defaultdict(list)
        for name, signs in classes.items():
            cells["".join(signs.get(scheme, " ") for scheme in SCHEMES)].append(name)
        lines.append(f"| {kind} | " + "; ".join(f"{signs} {', '.join(names)}" for signs, names in sorted(cells.items())) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
