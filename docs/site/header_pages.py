# SPDX-License-Identifier: Apache-2.0
"""A page of the reference for each header of C++ and of C: its declarations in its order, with their examples."""

import re
from pathlib import Path

from declarations import Declaration, Headers
from examples import Examples

TITLES = {"cpp": "C++", "c": "C"}
CPP = {"function": "function", "variable": "var", "typedef": "type", "enum": "enum", "enum class": "enum-class", "enumvalue": "enumerator", "struct": "struct",
       "class": "class", "define": "c:macro"}
C = {"function": "function", "variable": "member", "typedef": "type", "enum": "enum", "enumvalue": "enumerator", "struct": "struct",
     "define": "macro"}


def write(headers: Headers, examples: Examples, folder: Path) -> None:
    """reference/cpp and reference/c: an index and the pages."""
    for language in TITLES:
        rows, names = [], []
        for file, declarations in headers.files.items():
            if file.endswith(".h") != (language == "c") or not declarations:
                continue
            page = file.removeprefix("octavo/").removeprefix("c/").replace(".hpp", "").replace(".h", "")
            text = header_page(file, headers.intros.get(file, []), declarations, language, examples)
            target = folder / "reference" / language / f"{page}.rst"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            names.append(page)
            intro = next((line for line in headers.intros.get(file, []) if line), "")
            rows += [f"   * - :doc:`{file} <{page}>`", f"     - {intro}"]
        title = f"{TITLES[language]} reference"
        index = [title, "=" * len(title), "", INTROS[language], "", ".. list-table::", "   :widths: 30 70", "", *rows, "",
                 ".. toctree::", "   :hidden:", "", *[f"   {name}" for name in names], ""]
        (folder / "reference" / language / "index.rst").write_text("\n".join(index), encoding="utf-8")


INTROS = {
    "cpp": "Headers of ``octavo::octavo`` and ``octavo::models``. ``#include <octavo/octavo.hpp>`` has the products. Start with the "
           ":doc:`guide </docs/guides/cpp>`.",
    "c": "``#include <octavo/octavo.h>`` has everything; C99. Conventions: :doc:`base.h <base>`; start with the :doc:`guide </docs/c-api>`."}


def header_page(file: str, intro: list[str], declarations: list[Declaration], language: str, examples: Examples) -> str:
    include = file.replace("octavo/c/", "octavo/octavo_") if language == "c" else file
    title = file.removeprefix("octavo/").removeprefix("c/")
    lines = [title, "=" * len(title), "", *intro, f"``#include <{include}>``", ""]
    if language == "cpp":
        spaces = sorted({d.name.rpartition("::")[0] for d in declarations if "::" in d.name})
        lines += [".. cpp:namespace:: " + spaces[0], ""] if len(spaces) == 1 else []
    return "\n".join(lines + rendered(declarations, language, examples, "")) + "\n"


def rendered(declarations: list[Declaration], language: str, examples: Examples, indent: str) -> list[str]:
    """Directives of declarations; those that share a comment stand in one."""
    lines: list[str] = []
    i = 0
    while i < len(declarations):
        first = declarations[i]
        group = [first]
        while i + len(group) < len(declarations) and declarations[i + len(group)].inherited and not first.children:
            group.append(declarations[i + len(group)])
        i += len(group)
        if first.kind == "typedef" and first.text.split()[-1] in first.text.split()[:-1]:
            continue  # typedef struct octavo_x octavo_x
        table = CPP if language == "cpp" else C
        directive = table[first.kind] if ":" in table[first.kind] else f"{language}:{table[first.kind]}"
        head = f"{indent}.. {directive}:: "
        texts = [signature(member, language) for member in group]
        lines += [head + texts[0], *[" " * len(head) + text for text in texts[1:]], ""]
        inner = indent + "   "
        lines += [inner + line if line else "" for line in first.doc]
        for member in group:
            lines += [inner + line if line else "" for line in examples.block(member.name, language)]
        lines += rendered(first.children, language, examples, inner)
    return lines


def signature(declaration: Declaration, language: str) -> str:
    """As the directive takes it: without storage, and without the scope that it stands in."""
    text = declaration.text.replace("< ", "<").replace(" >", ">")
    text = re.sub(r"^(using|typedef) |(?<== )typedef ", "", text)
    if declaration.kind in ("function", "variable"):
        text = re.sub(r"^((static|inline|constexpr|extern|explicit) )+", "", text)
    scope, _, last = declaration.name.rpartition("::")
    if language == "c" and declaration.kind == "enum":
        return "@" + text.lstrip("@")
    return re.sub(rf"\b{re.escape(scope.partition('<')[0])}(<[\w, ]*>)?::(?={re.escape(last)})", "", text, count=1) if scope else text
