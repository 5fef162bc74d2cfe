# SPDX-License-Identifier: Apache-2.0
"""C++ and C as Sphinx has them, but search finds names, not each parameter of each function."""

from collections.abc import Iterator

from sphinx.application import Sphinx
from sphinx.domains.c import CDomain
from sphinx.domains.cpp import CPPDomain

Row = tuple[str, str, str, str, str, int]
PARAMETERS = {"functionParam", "templateParam", "templateTypeParam", "templateTemplateParam", "templateNonTypeParam"}


class Cpp(CPPDomain):
    def get_objects(self) -> Iterator[Row]:
        return (row for row in super().get_objects() if row[2] not in PARAMETERS)


class C(CDomain):
    def get_objects(self) -> Iterator[Row]:
        return (row for row in super().get_objects() if row[2] not in PARAMETERS)


def connect(app: Sphinx) -> None:
    app.add_domain(Cpp, override=True)
    app.add_domain(C, override=True)
