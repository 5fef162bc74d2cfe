# SPDX-License-Identifier: Apache-2.0
"""Sphinx's settings for the site; build.py calls Sphinx."""

import os
import sys
from importlib import metadata

sys.path.insert(0, os.path.dirname(__file__))
import domains  # noqa: E402
from contents import Contents  # noqa: E402
from docstrings import Docstrings  # noqa: E402

project = "Octavo"
author = "The Octavo authors"
release = metadata.version("octavo")
root_doc = "index"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

html_theme = "furo"
html_title = f"Octavo {release}"
html_static_path = [os.path.join(os.path.dirname(__file__), "static")]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False
templates_path: list[str] = []
exclude_patterns: list[str] = []
html_theme_options: dict[str, list[str]] = {"top_of_page_buttons": []}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"

# A forge's anchors: headings of every page can be linked to.
myst_heading_anchors = 6
myst_enable_extensions = ["deflist"]
myst_links_external_new_tab = False

# Examples in docstrings are doctests; options and types stand in Args.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_preprocess_types = False
napoleon_use_ivar = True
maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
smartquotes = False  # options of the command keep their dashes


def setup(app) -> None:  # type: ignore[no-untyped-def]
    Contents().connect(app)
    domains.connect(app)
    Docstrings().connect(app)
