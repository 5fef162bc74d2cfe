#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Compares the reverse dictionary's token ids with those of the Python `tokenizers` package.
"""Usage: tokenizer_parity.py PROGRAM MODEL_DIRECTORY [--wordnet DIRECTORY]

Lines compared: every gloss of WordNet, with and without its quoted examples, and every Unicode
code point between two letters. Exit status 1 and the first line that differs, if one does.
"""

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path

from tokenizers import Tokenizer

CODE_POINTS_PER_LINE = 32


def glosses(directory):
    for part in ("noun", "verb", "adj", "adv"):
        with open(directory / f"data.{part}", encoding="ascii") as records:
            for record in records:
                if not record.startswith(" "):
                    gloss = record.split("| ", 1)[1].strip()
                    yield gloss
                    yield gloss.split('; "', 1)[0]


def code_points():
    """The lines that hold all code points but the line feed and the surrogates."""
    codes = (c for c in range(0x110000) if c != 0x0A and not 0xD800 <= c < 0xE000)
    while part := list(itertools.islice(codes, CODE_POINTS_PER_LINE)):
        yield " ".join(f"a{chr(code)}b" for code in part)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("model", type=Path, help="directory with tokenizer.json and vocab.txt")
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    options = parser.parse_args()

    tokenizer = Tokenizer.from_file(str(options.model / "tokenizer.json"))
    settings = json.loads((options.model / "sentence_bert_config.json").read_text())
    tokenizer.no_padding()
    tokenizer.enable_truncation(settings["max_seq_length"])

    of_glosses = list(glosses(options.wordnet))
    lines = of_glosses + list(code_points())
    text = "".join(f"{line}\n" for line in lines)
    run = subprocess.run(
        [options.program, "tokenize", "--vocab", options.model / "vocab.txt"],
        input=text.encode(), stdout=subprocess.PIPE, check=True)
    answers = run.stdout.decode().splitlines()
    if len(answers) != len(lines):
        print(f"{len(lines)} lines were asked, {len(answers)} answered")
        return 1
    for line, answer, encoding in zip(lines, answers, tokenizer.encode_batch(lines)):
        ids = [int(number) for number in answer.split()]
        if ids != encoding.ids:
            print(f"line:       {line!r}\nprogram:    {ids}\ntokenizers: {encoding.ids}")
            return 1
    print(f"{len(of_glosses) // 2} glosses, with and without examples, and "
          f"{len(lines) - len(of_glosses)} lines of code points: all token ids are equal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
