"""Mermaid diagrams as SVG, without a script: flowcharts and sequence diagrams.

A code host draws ```` ```mermaid ```` blocks itself; here the parts of the language that the pages
use are drawn when the site is built. A line that is not understood stops the build.
"""

import re
from typing import Any

import flowchart
import sequence
from sphinx.application import Sphinx

BLOCK = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def draw(source: str) -> str:
    """A diagram as one line of HTML."""
    first, *lines = [line.strip() for line in source.splitlines() if line.strip()]
    kinds = {"flowchart TD": flowchart.draw, "sequenceDiagram": sequence.draw}
    if first not in kinds:
        raise ValueError(f"diagrams draws {' and '.join(kinds)}, not {first!r}")
    return f'<div class="diagram">{kinds[first](lines)}</div>'


def draw_diagrams(app: Sphinx, docname: str, content: list[str]) -> None:
    content[0] = BLOCK.sub(lambda found: draw(found[1]), content[0])


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", draw_diagrams)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
