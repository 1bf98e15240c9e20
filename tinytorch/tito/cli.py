"""`tito`, the command line of the course."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from .course_map import Entry
    from .lesson import Lesson
    from .workspace import Progress

app = typer.Typer(
    help="The TinyTorch course: start lessons, test your code, export it to the package.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
nbdev = typer.Typer(help="For authors of lessons: build the notebooks.", no_args_is_help=True)
milestone = typer.Typer(help="Programs that combine the lessons.", no_args_is_help=True)
site = typer.Typer(help="Lessons and glass model in a browser, no install.", no_args_is_help=True)
app.add_typer(nbdev, name="nbdev")
app.add_typer(site, name="site")
app.add_typer(milestone, name="milestone")

STYLES = {"passed": "green", "failed": "red", "not run": "yellow"}

NARROW = 60  # columns of a terminal in which tables and boxes are hard to read
WIDE = 90  # columns that all of the course map needs

# Text, because the command line's own message for a word that is no number is not clear.
Number = Annotated[
    str,
    typer.Argument(help="Number of the lesson, such as 1.", metavar="LESSON", show_default=False),
]
OptionalNumber = Annotated[
    str | None, typer.Argument(help="Lesson; by default that of this folder.", metavar="LESSON")
]


def main() -> None:
    """Run the program `tito`."""
    if shutil.get_terminal_size().columns < NARROW:
        _without_boxes()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # print "?" for what the console cannot encode
            stream.reconfigure(errors="replace")
    try:
        app()
    except OSError as error:  # of print: a full disk, for example
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            print(f"tito: the output cannot be written: {error}", file=sys.stderr)
        sys.exit(1)


def _without_boxes() -> None:
    """Print help as plain text, with descriptions that are wrapped instead of cut."""
    app.rich_markup_mode = None
    for group in app.registered_groups:
        group.short_help = group.typer_instance.info.help if group.typer_instance else None
    for typed in (app, nbdev, milestone, site):
        for command in typed.registered_commands:
            command.short_help = str(getattr(command.callback, "__doc__", "")).splitlines()[0]


def _show_version(wanted: bool) -> None:
    if wanted:
        version = sys.modules["tinytorch"].__version__
        _print(f"tito {version}, of tinytorch in {Path(__file__).resolve().parents[2]}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """The TinyTorch course: start lessons, test your code, export it to the package."""


def _print_table(headings: list[str], rows: list[list[str]]) -> None:
    """Print rows of markup as a table; in a narrow terminal, the cells of a row in lines."""
    console = Console(highlight=False)
    if console.width >= NARROW:
        table = Table(*headings, box=None, padding=(0, 1, 0, 0), show_header=any(headings))
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    for first, *rest in rows:
        console.print(first, overflow="fold")
        named = zip(headings[1:], rest, strict=True)
        lines = [f"{heading}: {cell}" if heading else cell for heading, cell in named if cell]
        for line in lines if any(headings) else [" ".join(rest)]:
            console.print(Padding(Text.from_markup(line, overflow="fold"), (0, 0, 0, 2)))


def _print(text: str, style: str = "") -> None:
    Console(soft_wrap=True, highlight=False).print(escape(text), style=style)


@contextmanager
def _errors_as_messages(code: int = 1) -> Iterator[None]:
    """Print user errors as one sentence instead of a traceback, and exit with `code`."""
    from ._optional import MissingPackageError
    from .export import ExportError
    from .lesson import LessonError

    try:
        yield
    except (LessonError, ExportError, MissingPackageError, OSError, ValueError) as error:
        _print(f"tito: {error}", "red")
        raise typer.Exit(code) from None


@app.command()
def doctor() -> None:
    """Check that everything the course needs is installed."""
    from .doctor import diagnose

    rows = []
    problems = 0
    for finding in diagnose():
        word = {True: "[green]ok[/]", False: "[red]problem[/]", None: "[yellow]-[/]"}[finding.ok]
        problems += finding.ok is False
        rows.append([escape(finding.what), word, escape(finding.message)])
    _print_table(["", "", ""], rows)
    if problems:
        _print(f"{problems} problems to fix" if problems > 1 else "1 problem to fix")
    else:
        _print("everything that the course needs is installed")
    raise typer.Exit(min(problems, 1))


@app.command()
def start(
    number: Number,
    open_: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the notebook in JupyterLab.")
    ] = True,
    again: Annotated[
        bool,
        typer.Option("--again", help="Start with a blank notebook; an earlier one is kept."),
    ] = False,
) -> None:
    """Create a lesson's blank notebook in the workspace, and open it."""
    from . import workspace

    with _errors_as_messages():
        lesson = _load(number)
        path = workspace.notebook(lesson)
        kept = workspace.start_again(lesson) if again else None
        if kept is not None:
            _print(f"your earlier notebook is now {kept}")
            _print("(if it is open in Jupyter, close it there without saving)")
        if again or workspace.start(lesson):
            _print(f"lesson {lesson.number} is ready: {path}")
        else:
            _print(f"lesson {lesson.number} is already started, your work is kept: {path}")
        if open_ and not workspace.open_jupyter(path):
            _print(
                'JupyterLab is not installed: pip install -e ".[lessons]",'
                " or open the notebook in another editor"
            )


@app.command("test")
def run_tests(number: OptionalNumber = None) -> None:
    """Test a lesson: the inline tests, then tests/NN_name, on the code in your notebook."""
    from . import workspace

    with _errors_as_messages():
        lesson = _load(number)
        tests = lesson.root / "tests" / lesson.folder
        passed = _test(lesson, workspace.started_notebook(lesson), tests)
    raise typer.Exit(0 if passed else 1)


@app.command()
def grade(
    paths: Annotated[
        list[Path], typer.Argument(help="Notebooks, or folders: of a lesson, or of a class.")
    ],
    lesson: Annotated[
        str | None,
        typer.Option(help="Number of the lesson, or a folder of `tito release` with its tests."),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write a table of the points.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write all details.")] = None,
    reports: Annotated[Path | None, typer.Option(help="Write a report for each student.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Notebooks at the same time.", min=1)] = None,
    timeout: Annotated[float, typer.Option(help="Seconds for each test.", min=1)] = 60,
) -> None:
    """Grade notebooks: points for exercises that pass, in a process that they cannot influence.

    Exits with 0 if everything has passed, 1 if not, 2 if nothing can be graded, and 130 if
    interrupted; the results until then are kept. See docs/grading.md.
    """
    from .grading import command, console
    from .grading.sandbox import Limits

    with _errors_as_messages(code=2):
        results, complete = command.run(
            paths, lesson, Limits(test=timeout), jobs, csv, json, reports, console.progress
        )
    console.show(results)
    passed = all(result.status == "passed" for result in results)
    raise typer.Exit(130 if not complete else 0 if passed else 1)


def _test(lesson: "Lesson", notebook: Path, tests: Path) -> bool:
    """Run all tests, print the results, and return whether all have passed."""
    from . import inline, integration
    from .process import exit_on_signals

    with exit_on_signals():
        outcomes = inline.run(lesson, notebook)
    rows = []
    for o in outcomes:
        points = f"{o.points if o.status == 'passed' else 0} of {o.points}"
        names = ", ".join(o.names)
        rows.append([f"{o.exercise} {names}", f"[{STYLES[o.status]}]{o.status}[/]", points])
    _print(f"Inline tests, on the code in {notebook.name}")
    _print_table(["exercise", "", "points"], rows)
    for outcome in outcomes:
        if outcome.message:
            _print(f"\n{outcome.message}")
    _print(f"\n{tests.name}, on a copy of the package with your code")
    with exit_on_signals():
        report = integration.run(lesson, notebook, tests)
    _print(f"{report.status}\n{report.output}", STYLES[report.status])
    if earlier := _blank_before(lesson.number, report.output):
        _print(
            f"The tests need {earlier} in the package, and it is blank there: tito export first."
        )
    if report.status == "not run" and all(o.status == "passed" for o in outcomes):
        _print(
            "Your code passes the inline tests, but these tests need it in the package: change"
            " the notebook as the message says, and run this again."
        )
    return report.status == "passed" and all(o.status == "passed" for o in outcomes)


def _blank_before(number: int, output: str) -> str:
    """Return the earlier lessons whose blank exercises the tests of a lesson have met."""
    from .written import lessons_named

    return " and ".join(f"lesson {n}" for n in sorted(lessons_named(output)) if n < number)


@app.command()
def export(number: OptionalNumber = None) -> None:
    """Replace the package's definitions with those of your notebook."""
    from . import workspace
    from .export import export as write

    with _errors_as_messages():
        lesson = _load(number)
        written = write(lesson, workspace.started_notebook(lesson))
    for line in written:
        _print(line)
    if written:
        _print(f"the package now uses your code; undo with tito reset {lesson.number}")
    else:
        _print("your definitions equal those of the package: nothing to write")


@app.command()
def reset(number: Number) -> None:
    """Undo the export of a lesson: restore the package's own code."""
    from .export import reset as restore

    with _errors_as_messages():
        lesson = _load(number)
        files = restore(lesson)
        for name in files:
            _print(f"restored {name}")
        if not files:
            _print(f"lesson {lesson.number} is not exported: nothing to undo")
        importable = _check_package(lesson.root)
    raise typer.Exit(0 if importable else 1)


@app.command()
def status() -> None:
    """Show the course map: what each lesson builds, needs and takes, and your progress in it."""
    from .course_map import known_entry, ranges
    from .lesson import PACKAGE, find_root
    from .workspace import progress

    with _errors_as_messages():
        root = find_root()
        rows = []
        found = list(progress(root))
        for p in found:
            own = known_entry(p.lesson)
            row = [f"{own.number:02} {own.name}", own.builds, ranges(own.needs, short=True)]
            rows.append(row + _progress(own, p))
        headings = ["lesson", "you build", "needs", "time", "notebook", "package", "lines"]
        shown = len(headings) if Console().width >= WIDE else -1
        _print_table(headings[:shown], [row[:shown] for row in rows])
        shares = [p.share for p in found]
        functions, lines = sum(s.written for s in shares), sum(s.lines for s in shares)
        Console(highlight=False).print(
            f"yours in {PACKAGE}/: {functions} of {sum(s.functions for s in shares)} functions,"
            f" {lines} lines"
        )
        for p in found:
            if p.problem:
                _print(f"lesson {p.lesson.number}: {p.problem}", "red")
        _check_package(root)


def _progress(own: "Entry", p: "Progress") -> list[str]:
    """Return a lesson's time, and what the student has done: exercises, functions, lines."""
    filled = "?" if p.problem else f"{p.filled}/{p.exercises}" if p.started else "-"
    return [own.time, filled, _bar(p.share.written, p.share.functions), str(p.share.lines)]


def _bar(part: int, whole: int) -> str:
    """Return a bar in text, and the numbers: "#####--- 5/8"; no bar if there is no room."""
    width = 8 if Console().width >= NARROW else 0
    full = width * part // max(1, whole)
    return f"{'#' * full}{'-' * (width - full)} {part}/{whole}".strip()


@app.command()
def new(folder: Annotated[Path, typer.Argument(help="Folder to create.")]) -> None:
    """For instructors: create a course folder, with a package whose exercises are blank."""
    from .course import new as create
    from .lesson import find_root

    with _errors_as_messages():
        course = create(find_root(), folder)
    _print(f"{folder}: a blank package, and {len(course)} lessons")


@app.command()
def solutions(
    number: Number,
    to: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("solutions"),
) -> None:
    """For instructors: write a lesson's notebook with solutions."""
    from .release import solutions as write

    with _errors_as_messages():
        _print(f"wrote {write(_load(number), to)}")


@app.command()
def release(
    number: Number,
    to: Annotated[Path, typer.Option(help="Folder to write to.")],
    package: Annotated[
        str,
        typer.Option(
            help="What requirements.txt installs: a URL or a wheel. By default the repository that"
            " pyproject.toml names, or else a wheel of this checkout, copied into the release.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """For instructors: write a lesson as a folder for nbgrader or GitHub Classroom."""
    from . import weave
    from .build import build_wheel
    from .release import package_at
    from .release import release as write

    with _errors_as_messages(), tempfile.TemporaryDirectory(prefix="tito") as scratch:
        lesson = _load(number)
        address = package or weave.repository(lesson.root)
        installs = package_at(address) if address else build_wheel(lesson.root, Path(scratch))
        for name in write(lesson, to, installs):
            _print(f"wrote {to / name}")
        _print(f"{to / 'INSTRUCTOR.md'} says what to do with each")


@app.command()
def demo(
    fast: Annotated[
        bool, typer.Option("--fast", help="Train for one epoch, about a minute.")
    ] = False,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open the plots.")] = True,
) -> None:
    """For instructors: check the machine, run the class demo, open its plots."""
    from .demo import demo as run_demo
    from .lesson import find_root

    with _errors_as_messages():
        code = run_demo(find_root(), fast, open_)
    raise typer.Exit(code)


@app.command()
def look(
    path: Annotated[
        Path, typer.Argument(help="Folder of a run of TinyGPT, or a checkpoint.")
    ] = Path("runs/tinygpt"),
    port: Annotated[int, typer.Option(help="Port; 0 for a free one.", min=0, max=65535)] = 0,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open the page.")] = True,
    to: Annotated[
        Path | None,
        typer.Option(
            help="Write the page into this folder instead, for any web server: the model then runs"
            " in the browser.",
            show_default=False,
        ),
    ] = None,
    pyodide: Annotated[
        Path | None,
        typer.Option(
            help="With --to: a folder with Pyodide to copy. By default the page loads it from its"
            " public CDN.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Look into a trained model: probabilities, attention, logit lens, heads, embeddings."""
    from .look import look as serve
    from .look import write

    with _errors_as_messages():
        if to is None:
            serve(path, port, open_, _print)
        else:
            write(path, to, pyodide, _print)


@nbdev.command("build")
def nbdev_build(
    wheel: Annotated[bool, typer.Option("--wheel/--no-wheel", help="Build the wheel, too.")] = True,
) -> None:
    """Build all notebooks from notebooks/*/*_dev.py, the course map, and the wheel.

    Checks that exporting the notebooks with solutions leaves the package unchanged.

    The command is named after nbdev, an older tool, but does not use it.
    """
    from . import build, pages
    from .lesson import find_root, lessons, load

    with _errors_as_messages():
        root = find_root()
        for path in (*build.weave_all(root), *pages.write(root)):
            _print(f"wrote {path.relative_to(root).as_posix()}")
        for number in lessons(root):
            build.check_round_trip(load(number, root))
        _print(f"checked {len(lessons(root))} lessons: exporting the solutions changes nothing")
        if wheel:
            _print(f"built {build.build_wheel(root, root / 'dist').relative_to(root).as_posix()}")


@site.command("build")
def site_build(
    to: Annotated[Path, typer.Option(help="Folder to write; an earlier site is replaced.")],
    pyodide: Annotated[
        Path | None,
        typer.Option(
            help="Folder with Pyodide, to be copied into the site. By default pages load it from"
            " its public CDN.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint for the glass model, or folder of a run. By default a small model is"
            " trained for it.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Training steps of that model.", min=1)] = 1000,
    lessons_only: Annotated[
        bool, typer.Option("--lessons-only", help="Leave out the glass model.")
    ] = False,
) -> None:
    """Write a static site with the lessons and the glass model: see docs/browser.md."""
    from .lesson import find_root
    from .site import build, build_with_own_model

    with _errors_as_messages():
        if model is None and not lessons_only:
            build_with_own_model(find_root(), to, pyodide, steps, _print)
        else:
            build(find_root(), to, pyodide, None if lessons_only else model, _print)


@milestone.command("list")
def milestone_list() -> None:
    """Show the milestones on a time axis, the lessons that each needs, and which are done."""
    from .lesson import find_root
    from .milestone_map import picture, progress

    console, columns = Console(), shutil.get_terminal_size().columns
    encoding = "ascii" if console.is_dumb_terminal else console.encoding
    with _errors_as_messages():
        for line, style in picture(progress(find_root()), columns, encoding):
            _print(line, style)


@milestone.command(
    "run", context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def milestone_run(context: typer.Context, name: str) -> None:
    """Run a milestone; further arguments are passed to its program."""
    from . import milestones
    from .lesson import find_root

    with _errors_as_messages():
        code = milestones.run(milestones.find(name), find_root(), context.args)
    raise typer.Exit(code)


def _check_package(root: Path) -> bool:
    """Return whether the package can be imported; if not, print why and how to repair it."""
    from .export import repair_advice
    from .package import import_problem

    problem = import_problem(root)
    if problem is not None:
        _print(f"the package cannot be imported: {problem}", "red")
        _print(repair_advice(root, problem))
    return problem is None


def _load(number: str | None) -> "Lesson":
    """Return the lesson with this number or name, or by default that of the current folder."""
    from .lesson import LessonError, find_root, lessons, load
    from .workspace import lesson_here

    root = find_root()
    if number is None:
        here = lesson_here(root, Path.cwd())
        if here is None:
            raise LessonError(
                "which lesson? Give its number, or change to its folder in workspace/"
            )
        return load(here, root)
    if number.isascii() and number.isdecimal() and len(number) < 10:
        return load(int(number), root)
    known = [load(n, root) for n in lessons(root)]
    for lesson in known:
        if number in (lesson.name, lesson.folder):
            return lesson
    choice = ", ".join(str(lesson.number) for lesson in known) or "none"
    raise LessonError(f"{number!r:.60} is not the number of a lesson; choose from {choice}")
