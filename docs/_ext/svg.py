"""Parts of diagrams in SVG; the colours are the theme's, in site.css."""

from collections.abc import Sequence
from html import escape

LINE, CHARACTER = 18.0, 6.8  # height of a line of text, width of a character, in units
ARROW = (
    '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" '
    'markerHeight="8" orient="auto-start-reverse"><path d="M0 0L10 5L0 10z"/></marker></defs>'
)


def size(lines: Sequence[str]) -> tuple[float, float]:
    """Width and height of a text."""
    return max(map(len, lines)) * CHARACTER, len(lines) * LINE


def text(lines: Sequence[str], x: float, y: float, kind: str = "") -> str:
    """Lines of text around x, the first with its middle at y."""
    spans = "".join(
        f'<tspan x="{x:.0f}" y="{y + i * LINE:.0f}">{escape(line)}</tspan>'
        for i, line in enumerate(lines)
    )
    return f'<text class="{kind}">{spans}</text>'


def box(x: float, y: float, width: float, height: float, kind: str) -> str:
    place = f'x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return f'<rect class="{kind}" {place} rx="6"/>'


def arrow(path: str, both: bool = False, dashed: bool = False) -> str:
    start = ' marker-start="url(#arrow)"' if both else ""
    kind = "dashed" if dashed else ""
    return f'<path class="edge {kind}" d="{path}" marker-end="url(#arrow)"{start}/>'


def picture(width: float, height: float, parts: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" '
        f'aria-label="{escape(label)}">{ARROW}{"".join(parts)}</svg>'
    )
