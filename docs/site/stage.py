# SPDX-License-Identifier: Apache-2.0
"""Copies the repository's pages for Sphinx, in the repository's layout: README.md becomes index.md.

Links stay relative. A link to a file that is no page leads to a listing of it, a link to a folder to a list of its files.
"""

import posixpath
import re
import shutil
import subprocess
from pathlib import Path

FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
IMAGES = {".png", ".svg"}
LANGUAGES = {".py": "python", ".cpp": "cpp", ".hpp": "cpp", ".h": "c", ".c": "c", ".toml": "toml", ".json": "json", ".sh": "bash",
             ".ipynb": "json"}


class Stage:
    """Pages to be written below `folder`, and what they lead to."""

    def __init__(self, root: Path, folder: Path):
        self.root, self.folder = root, folder
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True).stdout
        self.tracked = {path for path in listed.split("\0") if path and (root / path).exists()}
        self.folders = {posixpath.dirname(path) for path in self.tracked} - {""}
        self.folders |= {parent.as_posix() for folder in self.folders for parent in Path(folder).parents if parent != Path(".")}
        self.pages = {path: self.docname(path) for path in self.tracked if path.endswith(".md")}
        self.listings: dict[str, str] = {}
        self.broken: list[str] = []

    @staticmethod
    def docname(path: str) -> str:
        return "index" if path == "README.md" else path.removesuffix(".md")

    def copy_pages(self) -> list[str]:
        """Writes every page and every listing; the docnames of the pages."""
        for path, docname in self.pages.items():
            self.write(docname, self.with_links((self.root / path).read_text(encoding="utf-8"), path))
        for path, docname in sorted(self.listings.items()):
            self.write(docname, self.folder_listing(path) if path in self.folders else self.file_listing(path))
        return sorted(self.pages.values())

    def write(self, docname: str, text: str) -> None:
        file = self.folder / f"{docname}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def with_links(self, text: str, path: str) -> str:
        """Links of a page, outside its blocks of code, as links of the site."""
        fence, lines = None, []
        for line in text.split("\n"):
            if mark := FENCE.match(line):
                if fence is None:
                    fence = mark[1]
                elif line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                    fence = None
            elif fence is None:
                line = LINK.sub(lambda link: f"{link[1]}[{self.relabel(link[2], path)}]({self.target(link[3], path)})", line)
            lines.append(line)
        return "\n".join(lines)

    def relabel(self, label: str, path: str) -> str:
        """A label may hold an image."""
        return LINK.sub(lambda link: f"{link[1]}[{link[2]}]({self.target(link[3], path)})", label)

    def target(self, link: str, path: str) -> str:
        if re.match(r"[a-z]+:", link) or link.startswith("#"):
            return link
        file, hash_, anchor = link.partition("#")
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(path), file))
        if Path(wanted).suffix in IMAGES and wanted in self.tracked:
            (self.folder / wanted).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.root / wanted, self.folder / wanted)
            return link
        if wanted in self.pages:
            docname = self.pages[wanted]
        elif wanted in self.tracked or wanted in self.folders:
            docname = self.listings[wanted] = f"source/{wanted}"
        else:
            self.broken.append(f"{path}: the link {link} must lead to a tracked file or folder")
            return link
        start = posixpath.dirname(self.docname(path)) or "."
        return posixpath.relpath(f"{docname}.md", start) + hash_ + anchor

    def file_listing(self, path: str) -> str:
        text = (self.root / path).read_text(encoding="utf-8")
        fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
        return f"---\norphan: true\n---\n# {path}\n\n{fence}{LANGUAGES.get(Path(path).suffix, 'text')}\n{text}{fence}\n"

    def folder_listing(self, path: str) -> str:
        here = f"source/{posixpath.dirname(path)}"
        entries = sorted({file.removeprefix(f"{path}/").split("/")[0] for file in self.tracked if file.startswith(f"{path}/")})
        rows = []
        for entry in entries:
            docname = self.pages.get(f"{path}/{entry}")
            rows.append(f"- [{entry}]({posixpath.relpath(docname, here)}.md)" if docname else f"- `{entry}`")
        return f"---\norphan: true\n---\n# {path}\n\n" + "\n".join(rows) + "\n"
