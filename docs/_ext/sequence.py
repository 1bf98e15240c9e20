"""Sequence diagrams of Mermaid: `participant A as text`, `A->>B: text`, `A-->>B: text`."""

import re
import textwrap
from itertools import pairwise

import svg

STEP, MARGIN, GAP, WRAP = 48.0, 10.0, 22.0, 26  # the last in characters
PARTICIPANT = re.compile(r"participant (\w+) as (.+)")
MESSAGE = re.compile(r"(\w+)(-?-)>>(\w+): (.+)")


def draw(lines: list[str]) -> str:
    names: dict[str, str] = {}
    messages: list[tuple[str, bool, str, str]] = []
    for line in lines:
        if found := PARTICIPANT.fullmatch(line):
            names[found[1]] = found[2]
        elif found := MESSAGE.fullmatch(line):
            messages.append((found[1], found[2] == "--", found[3], found[4]))
        else:
            raise ValueError(f"not a line of a sequence diagram that is drawn here: {line!r}")
    places = columns(list(names), names, messages)
    top = svg.LINE + 2 * MARGIN
    height = top + STEP * (len(messages) + 0.6)
    parts = []
    for name, label in names.items():
        x, width = places[name], svg.size([label])[0] + 2 * MARGIN
        parts.append(f'<path class="life" d="M{x:.0f} {top:.0f}V{height:.0f}"/>')
        parts.append(svg.box(x - width / 2, 0, width, top, "node"))
        parts.append(svg.text([label], x, top / 2))
    for i, (start, dashed, end, label) in enumerate(messages):
        y = top + STEP * (i + 0.9)
        a, b = places[start], places[end]
        shift = (len(wrapped(label)) - 1) * svg.LINE / 2
        if start == end:
            parts.append(svg.arrow(f"M{a:.0f} {y - 8:.0f}h30v16h-28", dashed=dashed))
            middle = a + 36 + svg.size(wrapped(label))[0] / 2
            parts.append(svg.text(wrapped(label), middle, y - shift, "message"))
        else:
            parts.append(svg.arrow(f"M{a:.0f} {y:.0f}H{b:.0f}", dashed=dashed))
            parts.append(svg.text(wrapped(label), (a + b) / 2, y - 12 - 2 * shift, "message"))
    last = max(places.values())
    width = last + max(
        svg.size([names[list(names)[-1]]])[0] / 2 + MARGIN, own_room(messages, names)
    )
    return svg.picture(width, height, parts, "Sequence: " + ", ".join(names.values()))


def columns(
    order: list[str], names: dict[str, str], messages: list[tuple[str, bool, str, str]]
) -> dict[str, float]:
    """The middle of each participant's column, far enough apart for the texts between them."""
    half = {name: svg.size([names[name]])[0] / 2 + MARGIN for name in order}
    places = {order[0]: half[order[0]]}
    for i, (left, right) in enumerate(pairwise(order)):
        distance = half[left] + half[right] + GAP
        for start, _, end, label in messages:
            low, high = sorted((order.index(start), order.index(end)))
            room = svg.size(wrapped(label))[0] + GAP
            if (low, high) == (i, i + 1):
                distance = max(distance, room)
            elif low == high == i:
                distance = max(distance, room + 36)
        places[right] = places[left] + distance
    return places


def own_room(messages: list[tuple[str, bool, str, str]], names: dict[str, str]) -> float:
    """The room to the right of the last participant for messages to itself."""
    last = list(names)[-1]
    texts = [label for start, _, end, label in messages if start == end == last]
    return max([svg.size(wrapped(label))[0] + 40 for label in texts], default=0.0)


def wrapped(label: str) -> list[str]:
    return textwrap.wrap(label, WRAP)
