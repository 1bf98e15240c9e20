"""`tito`, the command line of the course."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from .lesson import Lesson

app = typer.Typer(
    help="The TinyTorch course: start lessons, test your code, export it to the package.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
nbdev = typer.Typer(help="For authors of lessons: build the notebooks.", no_args_is_help=True)
milestone = typer.Typer(help="Programs that combine the lessons.", no_args_is_help=True)
app.add_typer(nbdev, name="nbdev")
app.add_typer(milestone, name="milestone")

STYLES = {"passed": "green", "failed": "red", "not run": "yellow"}

Number = Annotated[
    int, typer.Argument(help="Number of the lesson: 10, 11, ...", show_default=False)
]
OptionalNumber = Annotated[
    int | None, typer.Argument(help="Number of the lesson; by default that of this folder.")
]


def main() -> None:
    """Run the program `tito`."""
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


def _print(text: str, style: str = "") -> None:
    Console(soft_wrap=True, highlight=False).print(escape(text), style=style)


@contextmanager
def _errors_as_messages() -> Iterator[None]:
    """Print user errors as one sentence instead of a traceback, and exit with code 1."""
    from ._optional import MissingPackageError
    from .export import ExportError
    from .lesson import LessonError

    try:
        yield
    except (LessonError, ExportError, MissingPackageError, OSError, ValueError) as error:
        _print(f"tito: {error}", "red")
        raise typer.Exit(1) from None


@app.command()
def doctor() -> None:
    """Check that everything the course needs is installed."""
    from .doctor import diagnose

    table = Table("", "", "", show_header=False, box=None)
    problems = 0
    for finding in diagnose():
        word = {True: "[green]ok[/]", False: "[red]problem[/]", None: "[yellow]-[/]"}[finding.ok]
        problems += finding.ok is False
        table.add_row(finding.what, word, escape(finding.message))
    Console(highlight=False).print(table)
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
) -> None:
    """Create a lesson's blank notebook in the workspace, and open it."""
    from . import workspace
    from .lesson import find_root, load

    with _errors_as_messages():
        lesson = load(number, find_root())
        path = workspace.notebook(lesson)
        if workspace.start(lesson):
            _print(f"lesson {number} is ready: {path}")
        else:
            _print(f"lesson {number} is already started, your work is kept: {path}")
        if open_ and not workspace.open_jupyter(path):
            _print(
                'JupyterLab is not installed: pip install -e ".[lessons]",'
                " or open the notebook in another editor"
            )


@app.command("test")
def run_tests(number: OptionalNumber = None) -> None:
    """Test a lesson: the inline tests, then tests/NN_name, on the code in your notebook."""
    from . import workspace
    from .lesson import find_root, load

    with _errors_as_messages():
        root = find_root()
        lesson = load(_number(number, root), root)
        passed = _test(lesson, workspace.started_notebook(lesson), root / "tests" / lesson.folder)
    raise typer.Exit(0 if passed else 1)


@app.command()
def grade(
    folder: Annotated[Path, typer.Argument(help="Folder written by `tito release`.")],
) -> None:
    """Test a released lesson, as automatic grading does."""
    from .release import released

    with _errors_as_messages():
        passed = [
            _test(lesson, notebook, notebook.parent / f"test_{lesson.name}_integration.py")
            for lesson, notebook in released(folder)
        ]
    raise typer.Exit(0 if all(passed) else 1)


def _test(lesson: "Lesson", notebook: Path, tests: Path) -> bool:
    """Run all tests, print the results, and return whether all have passed."""
    from . import inline, integration
    from .process import exit_on_signals

    console = Console(highlight=False)
    with exit_on_signals():
        outcomes = inline.run(lesson, notebook)
    table = Table("exercise", "", "points", box=None)
    for o in outcomes:
        points = f"{o.points if o.status == 'passed' else 0} of {o.points}"
        names = ", ".join(o.names)
        table.add_row(f"{o.exercise} {names}", f"[{STYLES[o.status]}]{o.status}[/]", points)
    _print(f"Inline tests, on the code in {notebook.name}")
    console.print(table)
    for outcome in outcomes:
        if outcome.message:
            _print(f"\n{outcome.message}")
    _print(f"\n{tests.name}, on a copy of the package with your code")
    with exit_on_signals():
        report = integration.run(lesson, notebook, tests)
    _print(f"{report.status}\n{report.output}", STYLES[report.status])
    return report.status == "passed" and all(o.status == "passed" for o in outcomes)


@app.command()
def export(number: OptionalNumber = None) -> None:
    """Replace the package's definitions with those of your notebook."""
    from . import workspace
    from .export import export as write
    from .lesson import find_root, load

    with _errors_as_messages():
        root = find_root()
        lesson = load(_number(number, root), root)
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
    from .lesson import find_root, load

    with _errors_as_messages():
        root = find_root()
        files = restore(load(number, root))
        for name in files:
            _print(f"restored {name}")
        if not files:
            _print(f"lesson {number} is not exported: nothing to undo")
        importable = _check_package(root)
    raise typer.Exit(0 if importable else 1)


@app.command()
def status() -> None:
    """Show your progress in the course."""
    from .lesson import find_root
    from .workspace import progress

    with _errors_as_messages():
        root = find_root()
        table = Table("lesson", "started", "filled in", "exported", box=None)
        found = progress(root)
        for p in found:
            name = f"{p.lesson.number} {p.lesson.name}"
            yes = {True: "yes", False: "-"}
            filled = f"{p.filled} of {p.exercises}" if not p.problem else "?"
            table.add_row(name, yes[p.started], filled, yes[p.exported])
        Console(highlight=False).print(table)
        for p in found:
            if p.problem:
                _print(f"lesson {p.lesson.number}: {p.problem}", "red")
        _check_package(root)


@app.command()
def solutions(
    number: Number,
    to: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("solutions"),
) -> None:
    """For instructors: write a lesson's notebook with solutions."""
    from .lesson import find_root
    from .release import solutions as write

    with _errors_as_messages():
        _print(f"wrote {write(number, find_root(), to)}")


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
    from .lesson import find_root, load
    from .release import package_at
    from .release import release as write

    with _errors_as_messages(), tempfile.TemporaryDirectory(prefix="tito") as scratch:
        root = find_root()
        lesson = load(number, root)
        address = package or weave.repository(root)
        installs = package_at(address) if address else build_wheel(root, Path(scratch))
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


@nbdev.command("build")
def nbdev_build(
    wheel: Annotated[bool, typer.Option("--wheel/--no-wheel", help="Build the wheel, too.")] = True,
) -> None:
    """Build all notebooks from notebooks/*/*_dev.py, and the wheel.

    Checks that exporting the notebooks with solutions leaves the package unchanged.

    The command is named after nbdev, an older tool, but does not use it.
    """
    from . import build
    from .lesson import find_root, lessons, load

    with _errors_as_messages():
        root = find_root()
        changed = list(build.weave_all(root))
        for path in changed:
            _print(f"wrote {path.relative_to(root).as_posix()}")
        for number in lessons(root):
            build.check_round_trip(load(number, root))
        _print(f"checked {len(lessons(root))} lessons: exporting the solutions changes nothing")
        if wheel:
            _print(f"built {build.build_wheel(root, root / 'dist').relative_to(root).as_posix()}")


@milestone.command("list")
def milestone_list() -> None:
    """List the milestones and the modules that they use."""
    from .milestones import MILESTONES

    for m in MILESTONES:
        _print(f"{m.name:8} {m.description}\n         uses {', '.join(m.modules)}")


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


def _number(number: int | None, root: Path) -> int:
    from .lesson import LessonError
    from .workspace import lesson_here

    number = lesson_here(root, Path.cwd()) if number is None else number
    if number is None:
        raise LessonError("which lesson? Give its number, or change to its folder in workspace/")
    return number
