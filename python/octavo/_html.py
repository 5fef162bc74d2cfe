# SPDX-License-Identifier: Apache-2.0
"""Tables of text in notebooks."""

import html


class ShownAsText:
    """An object whose text (`__str__`) is a table: shells show it as it is, notebooks in letters of one width."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"
