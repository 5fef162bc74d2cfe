#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: check_c_api.py REPOSITORY

The code that docs/c-api.md shows is the code of examples/first_product.c, which is compiled and run.
"""

import re
import sys
import textwrap
from pathlib import Path


def main(repository: Path) -> int:
    page = (repository / "docs" / "c-api.md").read_text()
    source = (repository / "examples" / "first_product.c").read_text()
    shown = re.findall(r"```c\n(.*?)```", page, re.DOTALL)
    real = re.findall(r"/\* \[C-API\] \*/\n(.*?) */\* \[/C-API\] \*/", source, re.DOTALL)
    if shown and shown == [textwrap.dedent(part) for part in real]:
        return 0
    print("docs/c-api.md: the C code must be that of examples/first_product.c; got another")
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
