#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds the site: build.py OCTAVO WORK SITE. Says what is wrong and ends with 1 if anything is."""

import argparse
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import accessible  # noqa: E402
import command_pages  # noqa: E402
import header_pages  # noqa: E402
import links  # noqa: E402
import navigation  # noqa: E402
import python_pages  # noqa: E402
from declarations import Headers  # noqa: E402
from examples import Examples  # noqa: E402
from stage import Stage  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def toctree(pages: list[str]) -> str:
    """The navigation, below the README on the first page."""
    generated = [f"reference/{part}/index" for part in ("python", "cpp", "c", "command")]
    groups = navigation.order([page for page in pages if page != "index"] + generated)
    return "".join(f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(names) + "\n```\n"
                   for caption, names in groups.items() if names)


def sphinx(source: Path, site: Path, work: Path) -> int:
    from sphinx.cmd.build import build_main

    # Sphinx's warnings are faults: -W, all of them (--keep-going). One process: the pages are few.
    return build_main(["-q", "-b", "html", "-c", str(Path(__file__).parent), "-d", str(work / "doctrees"), "-W", "--keep-going", str(source),
                       str(site)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("octavo", help="the command, whose help is the reference of the command")
    parser.add_argument("work", type=Path, help="folder for what the site is made of")
    parser.add_argument("site", type=Path, help="folder of the site")
    arguments = parser.parse_args()
    begin = time.monotonic()
    source = arguments.work / "source"
    for folder in (source, arguments.site, arguments.work / "doctrees"):
        shutil.rmtree(folder, ignore_errors=True)
    source.mkdir(parents=True)

    stage = Stage(ROOT, source)
    pages = stage.copy_pages()
    with (source / "index.md").open("a", encoding="utf-8") as index:
        index.write(toctree(pages))
    headers = Headers(ROOT / "include", arguments.work / "doxygen")
    examples = Examples(ROOT / "examples/reference")
    header_pages.write(headers, examples, source)
    python_pages.write(source)
    command_pages.write(arguments.octavo, source)
    failed = sphinx(source, arguments.site, arguments.work) != 0
    theme = accessible.improve(arguments.site)
    faults = [*theme, *stage.broken, *headers.warnings, *headers.undocumented(), *headers.broken_tables(), *examples.faults(), *links.faults(arguments.site)]
    for fault in faults:
        print(fault, file=sys.stderr)
    size = sum(file.stat().st_size for file in arguments.site.rglob("*") if file.is_file())
    print(f"{arguments.site}: {len(list(arguments.site.rglob('*.html')))} pages, {size / 2**20:.1f} MiB, "
          f"{time.monotonic() - begin:.0f} s; {len(faults)} faults")
    return int(failed or bool(faults))


if __name__ == "__main__":
    sys.exit(main())
