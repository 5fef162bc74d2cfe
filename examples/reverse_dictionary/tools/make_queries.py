#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Picks words that WordNet has and writes how another dictionary, GCIDE, defines them.
"""Usage: make_queries.py > queries.tsv   (Debian packages wordnet-base and dict-gcide)

A headword counts if WordNet has it in lower case, and if the first sense of one of its GCIDE
entries can stand alone: current language, 4 to 40 words, plain ASCII, no mere reference, without
the headword itself. Entries tagged as taken from WordNet are left out. Of the words that count,
those with the smallest SHA-256 are taken, so the choice depends on nobody's taste.

GCIDE is under the GNU GPL: its definitions are written at run time and never committed.
"""

import argparse
import gzip
import hashlib
import re
import sys
from pathlib import Path

DIGITS = {c: i for i, c in enumerate(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}
HEADWORD = re.compile(r"[a-z]{3,}")
FIRST_SENSE = re.compile(r"^ +1\. ", re.MULTILINE)
SOURCE_TAG = re.compile(r"^ *\[[^\]]*(?:Webster|PJC|AS|Century)[^\]]*\]", re.MULTILINE)
OUTDATED = re.compile(r"\[(?:Obs|R\.|Archaic|Rare|Prov|Scot|Poetic)")
REFERENCE = re.compile(r"(?:See|Same as|Alt\. of|The same|A variant|Of or pertaining)\b")


def base64_number(text):
    value = 0
    for char in text:
        value = value * 64 + DIGITS[char]
    return value


def wordnet_lemmas(directory):
    lemmas = set()
    for part in ("noun", "verb", "adj", "adv"):
        with open(directory / f"index.{part}", encoding="ascii") as lines:
            lemmas.update(line.split(" ", 1)[0] for line in lines if not line.startswith(" "))
    return {lemma for lemma in lemmas if HEADWORD.fullmatch(lemma)}


def dictionary_entries(directory):
    """Yields (headword in lower case, entry) in the index's order."""
    with gzip.open(directory / "gcide.dict.dz") as compressed:
        data = compressed.read()
    with open(directory / "gcide.index", encoding="utf-8") as lines:
        for line in lines:
            headword, offset, length = line.rstrip("\n").split("\t")
            start = base64_number(offset)
            entry = data[start : start + base64_number(length)]
            yield headword.lower(), entry.decode("utf-8", "replace")


def after_header(paragraph):
    """What follows the headword's line(s): pronunciation, part of speech, forms and origin."""
    header = ""
    lines = paragraph.split("\n")
    for number, line in enumerate(lines):
        header += line
        closed = header.count("[") == header.count("]") and header.count("(") == header.count(")")
        if closed and header.rstrip().endswith((".", "]", ")")):
            return "\n".join(lines[number + 1 :])
    return ""


def first_sense(entry):
    """The first sense as running text, without subject labels, illustrations and cross marks."""
    numbered = FIRST_SENSE.search(entry)
    text = entry[numbered.end() :] if numbered else after_header(entry.split("\n\n")[0])
    text = SOURCE_TAG.split(text)[0].split("\n\n")[0]
    text = re.sub(r"\s+", " ", text).strip()
    if OUTDATED.search(text):
        return ""
    text = re.sub(r"^(?:\([A-Z][^)]*\) ?|Specifically:? ?|Hence,? )+", "", text)
    text = re.split(r"; as,| -- |--[A-Z]|; called also|, as,|: as,", text)[0]
    text = re.sub(r"\[[^\]]*\]|[{}]", "", text)
    text = re.split(r"(?<=[a-z]{3}\.) (?=[A-Z])", text)[0]
    return re.sub(r",? (?:esp|etc)$", "", text.strip(" ;:,.")).strip(" ;:,")


def decent(headword, sense):
    words = re.findall(r"[a-z]+", sense.lower())
    stem = headword[: max(4, (len(headword) + 1) // 2)]
    return (
        4 <= len(words) <= 40
        and re.fullmatch(r"[A-Z][A-Za-z ,;:'()\-]*", sense)
        and not REFERENCE.match(sense)
        and not any(word.startswith(stem) for word in words)
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--gcide", type=Path, default=Path("/usr/share/dictd"))
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args()

    lemmas = wordnet_lemmas(options.wordnet)
    senses = {}
    for headword, entry in dictionary_entries(options.gcide):
        if headword in senses or headword not in lemmas or "WordNet" in entry:
            continue
        if not entry.lower().startswith(headword + " \\"):
            continue  # found under a form or compound of another headword
        sense = first_sense(entry)
        if decent(headword, sense):
            senses[headword] = sense
    chosen = sorted(senses, key=lambda word: hashlib.sha256(word.encode()).digest())
    print(f"# {options.count} of {len(senses)} words by the SHA-256 of the word; "
          "definitions from GCIDE (GNU GPL)")
    for word in chosen[: options.count]:
        print(f"{word}\t{senses[word]}")
    return 0 if len(chosen) >= options.count else 3


if __name__ == "__main__":
    sys.exit(main())
