# SPDX-License-Identifier: Apache-2.0
"""The order of pages in the site's navigation. A page of docs/ that no row names stands in the last group."""

# Groups of docnames of the site; a star stands for the rest of a folder.
GROUPS = {
    "Start": ["docs/install", "docs/quickstart", "docs/schemes", "docs/faq", "docs/index"],
    "Guides": ["docs/guides/*", "docs/llm-int8", "docs/calibration", "examples/*"],
    "Reference": ["reference/python/index", "reference/cpp/index", "reference/c/index", "reference/command/index", "docs/python",
                  "docs/cli", "docs/c-api", "docs/checkpoints", "docs/environment", "docs/glossary", "docs/specification"],
    "Evidence": ["docs/performance", "docs/accuracy", "docs/support", "docs/models", "docs/compare", "docs/known-wrong",
                 "bench/*"],
    "Project": ["DESIGN", "docs/design/*", "docs/versioning", "CHANGELOG", "CONTRIBUTING", "SECURITY", "*"],
}


def order(docnames: list[str]) -> dict[str, list[str]]:
    """Every docname once: at the first row that names it, before the stars."""
    named = {row for rows in GROUPS.values() for row in rows}
    left = sorted(set(docnames) - named)
    groups: dict[str, list[str]] = {}
    for group, rows in GROUPS.items():
        groups[group] = []
        for row in rows:
            if row.endswith("*"):
                found = [name for name in left if name.startswith(row[:-1])]
                left = [name for name in left if name not in found]
            else:
                found = [row] if row in docnames else []
            groups[group] += found
    return groups
