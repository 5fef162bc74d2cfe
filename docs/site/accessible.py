# SPDX-License-Identifier: Apache-2.0
"""What the theme leaves out for keyboards and screen readers, put into the built pages.

Each change is one that axe-core asks for: names of landmarks, levels of headings, what scrolls can be reached by keys,
and lists of parameters that are no lists of definitions.
"""

import re
from pathlib import Path

CHANGES = [
    ('<p class="caption" role="heading">', '<p class="caption" role="heading" aria-level="2">'),
    ('<aside class="sidebar-drawer">', '<aside class="sidebar-drawer" aria-label="All pages">'),
    ('<aside class="toc-drawer', '<aside aria-label="This page" class="toc-drawer'),
    ("<pre>", '<pre tabindex="0">'),
    ('<div class="table-wrapper ', '<div tabindex="0" class="table-wrapper '),
]
PARAMETERS = re.compile(r"<dl>(.*?)</dl>", re.DOTALL)  # of a signature; other lists have a class


def parameters(found: re.Match[str]) -> str:
    rows = found[1].replace("<dd>", '<span class="parameter">').replace("</dd>", "</span>")
    return f'<span class="parameters">{rows}</span>'


def improve(site: Path) -> list[str]:
    """Changes all pages in place; a sentence for each change that no page took: the theme is another one then."""
    left = {old for old, _ in CHANGES}
    for file in site.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        for old, new in CHANGES:
            if old in text:
                left.discard(old)
                text = text.replace(old, new)
        file.write_text(PARAMETERS.sub(parameters, text), encoding="utf-8")
    return [f"docs/site/accessible.py: {old} must stand in a page" for old in sorted(left)]
