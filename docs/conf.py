"""How Sphinx makes the documentation: `scripts/docs`. Nothing is fetched, nothing points outside but links."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import mirror

project = "jsoc-mirror"
author = "the jsoc-mirror developers"
copyright = author  # noqa: A001  (Sphinx's name for it)
version = release = mirror.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "docs.ext.generated"]
exclude_patterns = ["_build"]
root_doc = "index"
nitpicky = False
nb_execution_mode = "off"  # notebooks are kept with what they showed: docs/make_notebooks.py
suppress_warnings = ["myst.header"]  # the README's headings begin where the page has them begin

myst_enable_extensions = ["attrs_block", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"

html_theme = "pydata_sphinx_theme"
html_title = "jsoc-mirror"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "jsoc-mirror"},
    "navbar_align": "left",
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
