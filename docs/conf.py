"""The documentation site: `python -m sphinx -W docs DIR` (see site.md)."""

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]  # the site's extensions; this checkout

with (HERE.parent / "pyproject.toml").open("rb") as file:
    release = tomllib.load(file)["project"]["version"]

project = "TinyTorch"
author = "The TinyTorch authors"
copyright = f"{author}, MIT licence"
html_title = "TinyTorch"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_nb",
    "checkout",  # pages from outside of docs/, links that leave it
    "docstrings",  # prose with backticks -> reST
    "public",  # the directives of api/
    "commands",
    "formulas",  # MathML, without a script
    "charts",
    "diagrams",
]
exclude_patterns = ["README.md", "_ext"]  # README.md is the index on a code host
templates_path = ["_templates"]

nb_execution_mode = "off"  # students' notebooks are woven without results
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False
python_maximum_signature_line_length = 120
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

smartquotes_action = "D"  # dashes only: a quote in prose may be a string of Python
pygments_dark_style = "github-dark"

html_math_renderer = "mathml"
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_show_sphinx = False
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/parts.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
