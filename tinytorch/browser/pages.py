"""The site with the lessons: an index, and a page for each lesson."""

import hashlib
import html
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ..tito import course_map, weave
from ..tito.lesson import Lesson, LessonError, lessons, load
from . import markdown, pyodide
from .site import STATIC, write_runtime

WORKER = "service-worker.js"  # has to be in the folder of the pages that it serves


def build(root: Path, to: Path, folder: Path | None = None) -> list[str]:
    """Write the site, and return the names of its pages.

    Args:
        root: the checkout with the lessons.
        to: the folder to write; one that was written before is replaced.
        folder: a folder with Pyodide, which is copied into the site; None for its public CDN.

    Raises:
        LessonError: the folder holds something else.
        PyodideError: `folder` lacks a file of Pyodide.
        MissingPackageError: a package that makes HTML of Markdown is not installed.
    """
    if to.exists() and (not to.is_dir() or (any(to.iterdir()) and not (to / WORKER).is_file())):
        raise LessonError(f"{to} holds something else than a site; choose another folder")
    to.parent.mkdir(parents=True, exist_ok=True)
    course = [load(number, root) for number in lessons(root)]
    # Complete or absent: it is renamed when it is complete.
    with tempfile.TemporaryDirectory(prefix=f".{to.name}", dir=to.parent) as scratch:
        site = Path(scratch, to.name)
        write_runtime(site, folder)
        pages = {"index.html": index(course)} | {name(o): page(o, course) for o in course}
        for file, text in pages.items():
            (site / file).write_text(text, encoding="utf-8")
        _write_service_worker(site)
        if to.is_dir():
            shutil.rmtree(to)
        site.rename(to)
    return list(pages)


def name(lesson: Lesson) -> str:
    """Return the name of a lesson's page."""
    return f"{lesson.folder}.html"


def index(course: list[Lesson]) -> str:
    """Return the page with the list of all lessons."""
    rows = []
    for lesson in course:
        entry = course_map.known_entry(lesson)
        rows.append(
            f'<li data-lesson="{lesson.folder}"><a href="{name(lesson)}">'
            f"<strong>{lesson.number:02} {_text(lesson.title)}</strong></a>"
            f"<p>{_text(entry.builds)}</p><small>{_text(entry.time)}"
            f'<span class="done" data-of="{len(lesson.exercises)}"></span></small></li>'
        )
    return _page("TinyTorch: the lessons", INDEX.format(rows="\n".join(rows)))


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


def _write_service_worker(site: Path) -> None:
    """Write the worker that keeps the site's files, with a version that names their contents."""
    (site / "static" / WORKER).unlink()
    settings = json.loads((site / "site.json").read_text(encoding="utf-8"))
    is_copy = not settings["pyodide"]["url"].startswith("http")
    files = sorted(
        path.relative_to(site).as_posix()
        for path in site.rglob("*")
        if path.is_file() and not (is_copy and (site / "pyodide") in path.parents)
    )
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.encode() + (site / file).read_bytes())
    hashes = json.dumps(settings["pyodide"]["hashes"]).encode()
    known = {
        "version": digest.hexdigest()[:12],
        "pyodide": f"{pyodide.VERSION}-{hashlib.sha256(hashes).hexdigest()[:8]}",
        "url": settings["pyodide"]["url"],
        "files": ["./", *files],
    }
    code = (STATIC / WORKER).read_text(encoding="utf-8")
    (site / WORKER).write_text(f"const SITE = {json.dumps(known)};\n{code}", encoding="utf-8")


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
</ol>
</main>
<script type="module" src="static/index.js"></script>"""

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
</header>
<main id="cells"></main>
<footer>{next}</footer>
<script type="application/json" id="lesson">{data}</script>
<script type="module" src="static/lesson.js"></script>"""
