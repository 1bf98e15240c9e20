"""The site with the lessons: an index, and a page for each lesson."""

import html
import json
from pathlib import Path
from typing import Any

from ..tito import course_map, weave
from ..tito.lesson import Lesson, lessons, load
from . import markdown


def write(root: Path, site: Path, model: str = "") -> list[str]:
    """Write the pages into the folder of a site, and return their names.

    Args:
        root: the checkout with the lessons.
        site: the folder, in which `write_runtime` has put what the pages run.
        model: the address of the glass model, to which the index has a link; or "".

    Raises:
        LessonError: a lesson's source is invalid.
        MissingPackageError: a package that makes HTML of Markdown is not installed.
    """
    course = [load(number, root) for number in lessons(root)]
    pages = {"index.html": index(course, model)} | {name(o): page(o, course) for o in course}
    for file, text in pages.items():
        (site / file).write_text(text, encoding="utf-8")
    return list(pages)


def name(lesson: Lesson) -> str:
    """Return the name of a lesson's page."""
    return f"{lesson.folder}.html"


def index(course: list[Lesson], model: str = "") -> str:
    """Return the page with the list of all lessons, and a link to the glass model."""
    rows = []
    for lesson in course:
        entry = course_map.known_entry(lesson)
        rows.append(
            f'<li data-lesson="{lesson.folder}"><a href="{name(lesson)}">'
            f"<strong>{lesson.number:02} {_text(lesson.title)}</strong></a>"
            f"<p>{_text(entry.builds)}</p><small>{_text(entry.time)}"
            f'<span class="done" data-of="{len(lesson.exercises)}"></span></small></li>'
        )
    return _page(
        "TinyTorch: the lessons",
        INDEX.format(rows="\n".join(rows), model=MODEL.format(model) if model else ""),
    )


def page(lesson: Lesson, course: list[Lesson]) -> str:
    """Return the page of a lesson."""
    notebook: Any = weave.student(lesson)
    cells = [
        markdown.html(cell.source) if cell.cell_type == "markdown" else None
        for cell in notebook.cells
    ]
    data = {
        "folder": lesson.folder, "html": cells, "name": lesson.name, "notebook": notebook,
        "number": lesson.number,
    }  # fmt: skip
    following = next((o for o in course if o.number == lesson.number + 1), None)
    link = f'<a href="{name(following)}">Next: {_text(following.title)}</a>' if following else ""
    content = LESSON.format(
        title=_text(f"{lesson.number:02} {lesson.title}"), next=link,
        data=json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"),
    )  # fmt: skip
    return _page(f"Lesson {lesson.number}: {lesson.title}", content)


def _page(title: str, content: str) -> str:
    return PAGE.format(title=_text(title), content=content)


def _text(value: str) -> str:
    return html.escape(value)


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="static/icon.svg">
<link rel="stylesheet" href="static/style.css">
</head>
<body>
{content}
</body>
</html>
"""

INDEX = """<main>
<h1>TinyTorch: the lessons</h1>
<p>Build a small deep-learning library, lesson by lesson, in this browser: nothing to install. Each
lesson explains, lets you write the code, and checks it at once. Python is loaded when you open a
lesson, about 10 MB; from then on the site also works without a network.</p>
<p>Your work stays in this browser. Download the notebook of a lesson to keep it, to hand it in, or
to go on in Jupyter; <code>tito test</code> and <code>tito grade</code> take the same file.</p>
<ol class="lessons">
{rows}
</ol>{model}
</main>
<script type="module" src="static/index.js"></script>"""

MODEL = """
<p><a href="{}"><strong>The glass model</strong></a>: look into a small GPT while it reads and
writes, and train one on your own text.</p>"""

LESSON = """<header>
<nav><a href="./">All lessons</a> <span class="title">{title}</span>
<span id="progress"></span></nav>
<div class="tools">
<button type="button" id="all">Run all</button>
<button type="button" id="stop" disabled>Stop Python</button>
<button type="button" id="download">Download</button>
<button type="button" id="upload">Upload</button>
<button type="button" id="again">Start again</button>
<input type="file" id="file" accept=".ipynb" hidden aria-label="notebook">
<output id="status" role="status">Loading Python</output>
</div>
<p id="message" role="alert"></p>
</header>
<main id="cells"></main>
<footer>{next}</footer>
<script type="application/json" id="lesson">{data}</script>
<script type="module" src="static/lesson.js"></script>"""
