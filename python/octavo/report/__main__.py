# SPDX-License-Identifier: Apache-2.0
"""python -m octavo.report REPORT.json OUT.html"""

import argparse
import json
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m octavo.report", description="Make a page of a report.")
    parser.add_argument("report", type=Path, metavar="REPORT.json", help="what `octavo report` printed; -: standard input")
    parser.add_argument("out", type=Path, metavar="OUT.html", help="the page to write")
    parser.add_argument("--evaluation", type=Path, metavar="FILE",
                        help="what `python -m octavo.evaluate --json FILE` wrote of the model: each layer's error on text")
    arguments = parser.parse_args()
    try:
        from octavo.report import page

        read = [json.loads(sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8"))
                for path in (arguments.report, arguments.evaluation) if path]
        text = page(*read)
        arguments.out.write_text(text, encoding="utf-8")
    except (ImportError, OSError, ValueError) as error:
        print(f"octavo.report: {error}", file=sys.stderr)
        return 1
    return 0


sys.exit(main())
