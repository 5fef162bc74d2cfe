# SPDX-License-Identifier: Apache-2.0
"""Examples of C++ and C names: sections of the programs in examples/reference, which the tests compile and run.

A section begins with `// [name]` and ends with `// [/name]`; its name is a row of names.txt, and every row has a section.
"""

import re
import textwrap
from pathlib import Path

SECTION = re.compile(r"^ *(?://|/\*) \[(\w[^\]\s]*)\](?: \*/)?\n(.*?)^ *(?://|/\*) \[/\1\](?: \*/)?\n", re.MULTILINE | re.DOTALL)


class Examples:
    def __init__(self, folder: Path):
        names = (folder / "names.txt").read_text(encoding="utf-8").split("\n")
        self.names = [name for name in names if name and not name.startswith("#")]
        self.sections: dict[str, str] = {}
        for file in sorted(folder.glob("*.c*")):
            for name, body in SECTION.findall(file.read_text(encoding="utf-8")):
                self.sections[name] = textwrap.dedent(body)
        self.used: set[str] = set()

    def block(self, name: str, language: str) -> list[str]:
        """The example of a declaration as lines, if it has one; of overloads the first shows it."""
        if name not in self.sections or name in self.used:
            return []
        self.used.add(name)
        return ["**Example.**", "", f".. code-block:: {language}", "", *["   " + line for line in self.sections[name].rstrip().split("\n")], ""]

    def faults(self) -> list[str]:
        wrong = [f"examples/reference: {name} of names.txt must have a section" for name in self.names if name not in self.sections]
        wrong += [f"examples/reference: the section {name} must have a row of names.txt" for name in self.sections if name not in self.names]
        return wrong + [f"examples/reference: {name} must be a public declaration" for name in self.sections if name not in self.used]
