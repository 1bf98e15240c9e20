"""Bar charts of measured figures, drawn by HTML and CSS from the numbers that the checkout holds.

A comment in a page, which a code host does not show, says what is drawn there:

    <!-- chart: file=2026-11-26-h200.json; section=training step; field=ms; title=... -->
    <!-- chart: table=next; columns=1,2; unit=ms; title=... -->

A file is one of tests/benchmarks/results/: `section` is an object of numbers, or of objects whose
`field` is an object of numbers; `without` is a name to leave out. A table is the next one of the
page: its first column names the groups, the given ones hold the bars; a row in which one of them is
not a single number is left out.
"""

import json
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

RESULTS = Path(__file__).parents[2] / "tests" / "benchmarks" / "results"
CHART = re.compile(r"^<!-- chart: (.+?) -->$", re.MULTILINE | re.DOTALL)
TABLE = re.compile(r"(?:^\|.*\|\n)+", re.MULTILINE)
Groups = dict[str, dict[str, float]]  # name of a group -> name of a bar -> length


def draw(page: str) -> str:
    """A page with its charts in HTML."""
    return CHART.sub(lambda found: chart(options(found[1]), page[found.end() :]), page)


def options(text: str) -> dict[str, str]:
    pairs = (option.partition("=") for option in " ".join(text.split()).split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def chart(options: Mapping[str, str], rest: str) -> str:
    if "file" in options:
        groups = from_file(options["file"], options["section"], options.get("field"))
        for group in groups.values():
            group.pop(options.get("without", ""), None)
    else:
        columns = [int(column) for column in options["columns"].split(",")]
        groups = from_table(rest, columns)
    if not groups:
        raise ExtensionError(f"no figures for the chart {options['title']!r}")
    return html(groups, options["title"], options.get("unit", ""))


def from_file(name: str, section: str, field: str | None) -> Groups:
    values = json.loads((RESULTS / name).read_text(encoding="utf-8"))[section]
    if field is not None:
        return {group: dict(own[field]) for group, own in values.items() if field in own}
    return {"": {name: v for name, v in values.items() if isinstance(v, int | float)}}


def from_table(text: str, columns: list[int]) -> Groups:
    found = TABLE.search(text)
    if found is None:
        return {}
    heading, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in found[0].splitlines()
    ]
    groups: Groups = {}
    for row in rows:
        numbers = [number(row[column]) for column in columns]
        if None not in numbers:
            bars = zip((heading[column] for column in columns), numbers, strict=True)
            groups[row[0]] = {name: value for name, value in bars if value is not None}
    return groups


def number(cell: str) -> float | None:
    """The number of a cell with one, such as `18.5 ms`."""
    found = re.fullmatch(r"([\d,]*\d(?:\.\d+)?)(?: [a-zA-Z/]+)?", cell)
    return float(found[1].replace(",", "")) if found else None


def html(groups: Groups, title: str, unit: str) -> str:
    """A figure: one line of HTML, which Markdown takes as it is."""
    longest = max(value for bars in groups.values() for value in bars.values())
    names = list(dict.fromkeys(name for bars in groups.values() for name in bars))
    several = len(groups) > 1 or "" not in groups
    parts = [f'<figure class="chart"><figcaption>{escape(title)}</figcaption>']
    for group, bars in groups.items():
        parts.append(f'<p class="group">{inline(group)}</p>' if group else "")
        for name, value in bars.items():
            series = names.index(name) % 4 if several else 0
            bar = f'<i style="--length:{value / longest:.4f}"></i><b>{rounded(value)} {unit}</b>'
            label = f"<span>{escape(name)}</span>"
            parts.append(f'<div class="bar series-{series}">{label}{bar}</div>')
    return "".join([*parts, "</figure>"])


def inline(text: str) -> str:
    """A cell of a table: its code in <code>."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def draw_charts(app: Sphinx, docname: str, content: list[str]) -> None:
    if "<!-- chart: " in content[0]:
        content[0] = draw(content[0])


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", draw_charts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
