#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""python3 api: writes what follows from api/operations.toml. --check: fails where something is not of it.

Whole files are written, and in public headers what lies between `api: NAME` and `api: end`.
"""

import argparse
import difflib
import re
import sys

import capi
import headers
import module
import public
import pytorch
from table import ROOT, TABLE, read_table


def marked(text, name, lines):
    """`text` with `lines` between the marks of `name`."""
    pattern = rf"(^ *(?://|/\*) api: {re.escape(name)}\b[^\n]*\n).*?(^ *(?://|/\*) api: end)"
    text, count = re.subn(pattern, lambda m: m[1] + "\n".join(lines) + "\n" + m[2], text, flags=re.M | re.S)
    if count != 1:
        sys.exit(f"api: a header must mark {name} once; found {count}")
    return text


def files():
    """What every file has to be: {path: text}."""
    flags, by_name = read_table()
    operations = list(by_name.values())
    result = {}

    def mark(path, name, lines):
        result[path] = marked(result.get(path) or (ROOT / path).read_text(), name, lines)

    mark("include/octavo/c/base.h", "flags", headers.flag_enumerators(flags, by_name["matmul"]))
    for operation in operations:
        if "header" in operation.row:
            mark(operation.row["header"], operation.row["cpp"], headers.cpp_fields(operation))
        if "c_header" in operation.row:
            mark(operation.row["c_header"], operation.c, headers.c_fields(operation))

    def having(key):
        return [operation for operation in operations if key in operation.row]

    of_c, products = having("c_header"), having("gradients")
    return result | {
        "src/capi/options.hpp": capi.header(of_c),
        "src/capi/options.cpp": capi.source(flags, by_name, of_c),
        "tests/capi/options.hpp": capi.tests(of_c),
        "python/src/options.hpp": module.header(having("inputs"), by_name["activation"]),
        "python/octavo/_operations.py": public.module(having("positional")),
        "python/octavo/_kinds.py": public.kinds_module(having("positional")),
        "python/octavo/torch/operators/_schemas.py": pytorch.schemas(products),
        "python/octavo/torch/operators/_routes.py": pytorch.routes(products),
    }


def main():
    arguments = argparse.ArgumentParser(prog="python3 api", description=__doc__)
    arguments.add_argument("--check", action="store_true")
    check = arguments.parse_args().check
    wrong = 0
    for path, text in files().items():
        file = ROOT / path
        old = file.read_text() if file.exists() else ""
        if old == text:
            continue
        wrong += 1
        if check:
            sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), text.splitlines(True), path, TABLE))
        else:
            file.write_text(text)
            print(f"api: wrote {path}")
    if check and wrong:
        sys.exit(f"api: {wrong} files are not of {TABLE}; run: python3 api")


main()
