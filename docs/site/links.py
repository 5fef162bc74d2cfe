# SPDX-License-Identifier: Apache-2.0
"""Links of the built site: each leads to a file of the site and to an anchor in it; what is loaded comes from the site."""

import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

LOADED = {("img", "src"), ("script", "src"), ("link", "href"), ("source", "srcset"), ("iframe", "src")}


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value)
            elif (tag, name) in LOADED:
                self.loaded.append(value)
            elif name == "href":
                self.links.append(value)


def read(site: Path) -> dict[Path, Page]:
    pages = {}
    for file in sorted(site.rglob("*.html")):
        pages[file.resolve()] = page = Page()
        page.feed(file.read_text(encoding="utf-8"))
    return pages


def count(site: Path) -> int:
    return sum(len(page.links) + len(page.loaded) for page in read(site).values())


def faults(site: Path) -> list[str]:
    pages, found = read(site), []
    for file, page in pages.items():
        here = file.relative_to(site.resolve())
        for link in page.links + page.loaded:
            url = urllib.parse.urlsplit(link)
            if url.scheme or url.netloc:
                if link in page.loaded and url.scheme != "data":
                    found.append(f"{here}: {link} must be a file of the site: pages are read without a network")
                continue
            target = (file.parent / urllib.parse.unquote(url.path)).resolve() if url.path else file
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                found.append(f"{here}: the link {link} must lead to a file of the site")
            elif url.fragment and target in pages and urllib.parse.unquote(url.fragment) not in pages[target].anchors:
                found.append(f"{here}: the link {link} must lead to an anchor of {target.relative_to(site.resolve())}")
    return sorted(set(found))
