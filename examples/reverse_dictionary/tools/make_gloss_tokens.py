#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Writes the token ids that the Python `tokenizers` package gives 300 of WordNet's definitions.
"""Usage: make_gloss_tokens.py MODEL_DIRECTORY > tests/examples/data/gloss_tokens.tsv

Needs tokenizers==0.23.3. One line per definition: its file (n, v, a, r), its record's number and
the ids. The definitions with the smallest SHA-256 are taken; their text stays in WordNet.
"""

import argparse
import hashlib
import re
from pathlib import Path

from tokenizers import Tokenizer

COUNT = 300


def definitions(directory):
    for name, letter in (("noun", "n"), ("verb", "v"), ("adj", "a"), ("adv", "r")):
        with open(directory / f"data.{name}", encoding="ascii") as records:
            for record in records:
                if not record.startswith(" "):
                    gloss = record.split("| ", 1)[1]
                    yield letter, int(record[:8]), re.split('[;:] *"', gloss)[0].strip(" ;:\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    options = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(options.model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    chosen = sorted(definitions(options.wordnet),
                    key=lambda entry: hashlib.sha256(entry[2].encode()).digest())[:COUNT]
    for letter, offset, text in sorted(chosen):
        print(letter, offset, " ".join(map(str, tokenizer.encode(text).ids)), sep="\t")


if __name__ == "__main__":
    main()
