# SPDX-License-Identifier: Apache-2.0
"""A page's own contents list every name of it; the navigation, which every page repeats, takes titles alone.

Sphinx makes both of one tree, and copies that of every page for every page: of all names that takes most of a build.
"""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment.adapters.toctree import document_toc


class Contents:
    def __init__(self) -> None:
        self.whole: dict[str, nodes.bullet_list] = {}

    def keep_titles(self, _app: Sphinx, env: Any) -> None:
        """After reading: of the reference's pages, which have no pages of their own below them, the title is left."""
        for name, toc in env.tocs.items():
            if name.startswith("reference/") and not name.endswith("/index"):
                self.whole[name] = toc.deepcopy()
                for item in toc.children:
                    for names in [child for child in item.children if isinstance(child, nodes.bullet_list)]:
                        item.remove(names)

    def show_whole(self, app: Sphinx, name: str, _template: str, context: dict[str, Any], _tree: object) -> None:
        """Before a page is written: its contents with all names."""
        if name in self.whole:
            env = app.env
            titles, env.tocs[name] = env.tocs[name], self.whole[name]
            context["toc"] = app.builder.render_partial(document_toc(env, name, app.tags))["fragment"]  # type: ignore[attr-defined]
            env.tocs[name] = titles

    def connect(self, app: Sphinx) -> None:
        app.connect("env-updated", self.keep_titles)
        app.connect("html-page-context", self.show_whole, priority=400)  # before the theme's
