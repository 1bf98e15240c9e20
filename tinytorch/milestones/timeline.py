"""Draw the milestones on a time axis, and the lessons that each needs.

python -m tinytorch.milestones.timeline milestones/timeline.png
"""

import sys
import textwrap
from pathlib import Path

from ..tinygpt.report import new_figure, save_figure
from ..tito.milestones import LESSONS, MILESTONES

WINTER = (1970, 1985)  # years in which few believed in neural networks
COLORS = ("tab:blue", "tab:red", "tab:green", "tab:purple", "tab:orange")


def plot_timeline(path: Path) -> None:
    """Plot the milestones that have a year, and a table of their lessons."""
    dated = [m for m in MILESTONES if m.name.isdecimal()]
    figure, (axes, table) = new_figure(11, 7.2, 2, 1)
    axes.plot([1950, 2025], [0, 0], color="black", linewidth=1)
    axes.axvspan(*WINTER, ymin=0.44, ymax=0.56, color="tab:blue", alpha=0.15)
    axes.text(sum(WINTER) / 2, -0.42, "a winter", ha="center", color="tab:blue")
    for number, milestone in enumerate(dated):
        year = int(milestone.year)
        height, color = (1.0, -1.0)[number % 2], COLORS[number % len(COLORS)]
        axes.plot([year] * 2, [0, height * 0.7], color=color)
        axes.plot(year, 0, "o", color=color, markersize=10)
        text = f"{milestone.name}   {year}\n{textwrap.fill(milestone.description, 24)}"
        side = "bottom" if height > 0 else "top"
        axes.text(year, height * 0.75, text, ha="center", va=side, color=color)
    axes.set(xlim=(1948, 2027), ylim=(-2, 2))
    axes.axis("off")

    for row, milestone in enumerate(dated):
        color = COLORS[row % len(COLORS)]
        for column, lesson in enumerate(LESSONS):
            used = lesson in milestone.modules
            size = 160 if used else 15
            table.scatter(column, -row, s=size, marker="s", color=color if used else "lightgray")
        title = f"{milestone.name}   {milestone.year}"
        table.text(-0.8, -row, title, ha="right", va="center", color=color)
    names = [f"{number:02} {name}" for number, name in enumerate(LESSONS, 1)]
    table.set_xticks(range(len(LESSONS)), names, rotation=40, ha="right")
    table.tick_params(length=0)
    table.set(yticks=[], xlim=(-2.5, len(LESSONS)), ylim=(-len(dated) + 0.4, 0.6))
    table.set_title("the lessons that each milestone runs on", fontsize=10)
    for side in ("top", "left", "right", "bottom"):
        table.spines[side].set_visible(False)
    save_figure(figure, path)


if __name__ == "__main__":
    plot_timeline(Path(sys.argv[1]))
