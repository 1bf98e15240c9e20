"""Flowcharts of Mermaid, from top to bottom, with boxes in boxes.

In each box, an item (a node or a box) is placed below all that point to it, and the items of one
rank stand side by side. An edge between items of different boxes counts where the boxes meet.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import svg

PAD, GAP, RISE = 14.0, 26.0, 40.0  # within boxes, between neighbours, between ranks
NODE = r'(\w+)(?:\["([^"]+)"\])?'
EDGE = re.compile(rf"{NODE} (<?-->) {NODE}")
SUBGRAPH = re.compile(r'subgraph (\w+)\["([^"]+)"\]')


@dataclass(eq=False)
class Item:
    """A node, or a box with items; x, y is the upper left corner."""

    name: str
    label: list[str] = field(default_factory=list)
    items: list["Item"] = field(default_factory=list)
    parent: "Item | None" = None
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0

    def path(self) -> list["Item"]:
        """The boxes from the outermost to this item."""
        return [*(self.parent.path() if self.parent else []), self]

    def all(self) -> Iterator["Item"]:
        yield self
        for item in self.items:
            yield from item.all()


Edge = tuple[Item, Item, bool]


def draw(lines: list[str]) -> str:
    root, edges = parse(lines)
    arrange(root, edges)
    move(root, -PAD + 2, -PAD + 2)
    inner = [item for item in root.all() if item is not root]
    boxes = [svg.box(i.x, i.y, i.width, i.height, "box") for i in inner if i.items]
    nodes = [shape for item in inner for shape in drawn(item)]  # above arrows that pass
    arrows = [arrow(*edge) for edge in edges]
    label = "Flowchart: " + ", ".join(item.label[0] for item in root.all() if item.label)
    return svg.picture(
        root.width - 2 * PAD + 4, root.height - 2 * PAD + 4, boxes + arrows + nodes, label
    )


def parse(lines: list[str]) -> tuple[Item, list[Edge]]:
    root = Item("")
    known: dict[str, Item] = {}
    edges: list[Edge] = []
    box = root

    def node(name: str, label: str | None) -> Item:
        if label is not None or name not in known:
            item = known.setdefault(name, Item(name))
            if label is not None:  # a node belongs to the box where its text stands
                item.label = label.split("<br>")
                item.parent = box
                box.items.append(item)
        return known[name]

    for line in lines:
        if found := SUBGRAPH.fullmatch(line):
            inner = Item(found[1], [found[2]], parent=box)
            box.items.append(inner)
            box = inner
        elif line == "end":
            box = box.parent or root
        elif found := EDGE.fullmatch(line):
            a, b = node(found[1], found[2]), node(found[4], found[5])
            edges.append((a, b, found[3] == "<-->"))
        elif found := re.fullmatch(NODE, line):
            node(found[1], found[2])
        elif line != "direction TB":
            raise ValueError(f"not a line of a flowchart that is drawn here: {line!r}")
    unknown = [name for name, item in known.items() if item.parent is None]
    if unknown:
        raise ValueError(f"nodes of a flowchart without a text: {', '.join(unknown)}")
    return root, edges


def arrange(box: Item, edges: list[Edge]) -> None:
    """Place the items of a box relative to its corner, and set its size."""
    if not box.items:
        width, height = svg.size(box.label)
        box.width, box.height = width + 2 * PAD, height + PAD
        return
    for item in box.items:
        arrange(item, edges)
    y = PAD + (svg.LINE + 4 if box.label else 0.0)
    rows = ranks(box, edges)
    inner = max(sum(i.width for i in row) + GAP * (len(row) - 1) for row in rows)
    for row in rows:
        x = PAD + (inner - sum(i.width for i in row) - GAP * (len(row) - 1)) / 2
        for item in row:
            move(item, x, y)
            x += item.width + GAP
        y += max(item.height for item in row) + RISE
    box.width, box.height = inner + 2 * PAD, y - RISE + PAD


def ranks(box: Item, edges: list[Edge]) -> list[list[Item]]:
    """The items of a box in rows: each below those that point to it, or else above its target."""
    within = {
        (a.path()[depth], b.path()[depth])
        for a, b, _ in edges
        for depth in [len(box.path())]
        if a.path()[:depth] == b.path()[:depth] == box.path() and a is not b
    }
    within = {(a, b) for a, b in within if a is not b}
    rank = {item.name: 0 for item in box.items}
    for _ in box.items:
        for a, b in within:
            rank[b.name] = max(rank[b.name], rank[a.name] + 1)
    for item in box.items:
        below = [rank[b.name] for a, b in within if a is item]
        if below and all(b is not item for _, b in within):
            rank[item.name] = min(below) - 1
    rows = [[i for i in box.items if rank[i.name] == r] for r in range(max(rank.values()) + 1)]
    return [row for row in rows if row]


def move(item: Item, dx: float, dy: float) -> None:
    for own in item.all():
        own.x += dx
        own.y += dy


def drawn(item: Item) -> Iterator[str]:
    middle = item.x + item.width / 2
    if item.items:
        yield svg.text(item.label, middle, item.y + PAD, "title")
    else:
        yield svg.box(item.x, item.y, item.width, item.height, "node")
        top = item.y + (item.height - (len(item.label) - 1) * svg.LINE) / 2
        yield svg.text(item.label, middle, top)


def arrow(a: Item, b: Item, both: bool) -> str:
    """A curve from the bottom of one node to the top of another."""
    x1, y1, x2, y2 = a.x + a.width / 2, a.y + a.height, b.x + b.width / 2, b.y
    if y2 < y1:  # side by side
        y1, y2 = a.y + a.height / 2, b.y + b.height / 2
        right = a.x < b.x
        x1, x2 = (a.x + a.width, b.x) if right else (a.x, b.x + b.width)
        return svg.arrow(f"M{x1:.0f} {y1:.0f}L{x2:.0f} {y2:.0f}", both)
    bend = (y2 - y1) / 2
    curve = f"C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2:.0f}"
    return svg.arrow(f"M{x1:.0f} {y1:.0f}{curve}", both)
