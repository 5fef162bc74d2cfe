# SPDX-License-Identifier: Apache-2.0
"""python -m octavo.evaluate: what quantising a folder cost, on a text."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .torch import evaluate

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command.

    Args:
        arguments: its words; None: the process's own.

    Returns:
        Its exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m octavo.evaluate", description=__doc__)
    parser.add_argument("folder", help="the quantised folder, of any dialect that Octavo reads")
    parser.add_argument("--against", required=True, metavar="DIR", help="the float folder")
    parser.add_argument("--text", required=True, metavar="FILE", help="UTF-8 text")
    parser.add_argument("--length", type=int, default=512, help="tokens at a time (default: 512)")
    parser.add_argument("--trust-remote-code", action="store_true", help="let Python code of the folders run (default: never)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well; -: print them alone, as one line")
    options = parser.parse_args(arguments)
    try:
        text = Path(options.text).read_text(encoding="utf-8")
        found = evaluate(options.folder, options.against, [text], length=options.length,
                         trust_remote_code=options.trust_remote_code)
        if options.json == "-":
            print(json.dumps({"type": "evaluation", **found.to_dict()}))
            return 0
        if options.json:
            Path(options.json).write_text(json.dumps(found.to_dict(), indent=1) + "\n", encoding="utf-8")
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
