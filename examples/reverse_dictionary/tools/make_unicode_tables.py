#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Writes unicode_tables.inc: what the `tokenizers` package does with each Unicode code point.
"""Usage: make_unicode_tables.py > unicode_tables.inc   (needs tokenizers==0.23.3)

The package mixes several Unicode versions (its accent, category and case tables have different
ages), so the tables record its observed behaviour per code point instead of Unicode's own data.
"""

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

SURROGATES = range(0xD800, 0xE000)
HANGUL = range(0xAC00, 0xD7A4)  # decomposed by arithmetic in unicode.cpp
COMPATIBILITY = [range(0xF900, 0xFADA), range(0x2F800, 0x2FA1E)]
LINE = 98


def observe():
    """Returns (dropped, spaces, spaced, punctuation) code points and the mapping of the others."""
    normalizer = BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True
    )
    splitter = BertPreTokenizer()
    dropped, spaces, spaced, punctuation, mapped = [], [], [], [], {}
    for code in range(0x110000):
        if code in SURROGATES or code in HANGUL:
            continue
        char = chr(code)
        if [part for part, _ in splitter.pre_tokenize_str(f"a{char}b")] == ["a", char, "b"]:
            punctuation.append(code)
        text = normalizer.normalize_str(char)
        if text == "":
            dropped.append(code)
        elif text == " ":
            spaces.append(code)
        else:
            if len(text) > 1 and text[0] == text[-1] == " ":
                spaced.append(code)
                text = text[1:-1]
            if text != char:
                mapped[code] = [ord(c) for c in text]
    return dropped, spaces, spaced, punctuation, mapped


def ranges(codes):
    """Joins ascending code points to inclusive ranges."""
    joined = []
    for code in codes:
        if joined and joined[-1][1] == code - 1:
            joined[-1][1] = code
        else:
            joined.append([code, code])
    return joined


def runs(pairs):
    """Joins (from, to) pairs of equal distance at even steps to {first, last, step, delta}."""
    joined = []
    for code, target in pairs:
        last = joined[-1] if joined else None
        if last and last[3] == target - code:
            gap = code - last[1]
            if (last[0] == last[1] and gap <= 2) or gap == last[2]:
                last[1], last[2] = code, gap
                continue
        joined.append([code, code, 1, target - code])
    return joined


def emit(declaration, items):
    print(f"inline constexpr {declaration}[] = {{")
    line = ""
    for item in items:
        text = "{" + ",".join(map(str, item)) + "}," if isinstance(item, list) else f"{item},"
        if len(line) + len(text) > LINE:
            print(" " + line)
            line = ""
        line += text
    print(" " + line)
    print("};")


def main():
    dropped, spaces, spaced, punctuation, mapped = observe()
    print("// SPDX-License-Identifier: Apache-2.0")
    print("// Code point tables of unicode.cpp; written by tools/make_unicode_tables.py.")
    emit("CodeRange kDropped", ranges(dropped))
    emit("CodeRange kSpaces", ranges(spaces))
    emit("CodeRange kSpaced", ranges(spaced))
    emit("CodeRange kPunctuation", ranges(punctuation))
    compatible = [code for part in COMPATIBILITY for code in part]
    emit("CodeRange kCompatibility", [[part[0], part[-1]] for part in COMPATIBILITY])
    emit("char32_t kCompatibilityTarget", [mapped.pop(code, [code])[0] for code in compatible])
    single = [(code, to[0]) for code, to in sorted(mapped.items()) if len(to) == 1]
    emit("FoldRun kFolds", runs(single))
    several = [
        [code, "{" + ",".join(map(str, to + [0] * (3 - len(to)))) + "}"]
        for code, to in sorted(mapped.items())
        if len(to) > 1
    ]
    emit("FoldSequence kFoldSequences", several)


if __name__ == "__main__":
    main()
