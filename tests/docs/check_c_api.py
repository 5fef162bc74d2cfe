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
    shown = re.search(r"```c\n(.*?)```", page, re.DOTALL)
    real = re.search(r"/\* \[C-API\] \*/\n(.*?) */\* \[/C-API\] \*/", source, re.DOTALL)
    if shown and real and shown[1] == textwrap.dedent(real[1]):
        return 0
    print("docs/c-api.md: the C example must be that of examples/first_product.c; got another")
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
