"""tito, the command line of the course."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from .lesson import Lesson

app = typer.Typer(
    help="The course on TinyTorch: notebooks, their tests, and the package that they make.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
nbdev = typer.Typer(help="Notebooks as a whole.", no_args_is_help=True)
milestone = typer.Typer(help="Programs in which the lessons come together.", no_args_is_help=True)
app.add_typer(nbdev, name="nbdev")
app.add_typer(milestone, name="milestone")

MARKS = {"passed": "green", "failed": "red", "not run": "yellow"}

Number = Annotated[int, typer.Argument(help="The lesson: 10, 11, ...", show_default=False)]
OptionalNumber = Annotated[
    int | None, typer.Argument(help="The lesson; by default that of this folder.")
]


def main() -> None:
    """The program `tito`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a console that lacks a letter gets a "?"
            stream.reconfigure(errors="replace")
    app()


def _say(text: str, style: str = "") -> None:
    Console(soft_wrap=True, highlight=False).print(escape(text), style=style)


@contextmanager
def _clear_errors() -> Iterator[None]:
    """What a user can mend ends in a sentence, not in a traceback."""
    from ._needs import MissingPackageError
    from .export import ExportError
    from .lesson import LessonError

    try:
        yield
    except (LessonError, ExportError, MissingPackageError, OSError, ValueError) as error:
        _say(f"tito: {error}", "red")
        raise typer.Exit(1) from None


@app.command()
def doctor() -> None:
    """Look whether this machine has what the course needs."""
    from .doctor import diagnose

    table = Table("", "", "", show_header=False, box=None)
    wrong = 0
    for finding in diagnose():
        word = {True: "[green]ok[/]", False: "[red]wrong[/]", None: "[yellow]-[/]"}[finding.fine]
        wrong += finding.fine is False
        table.add_row(finding.what, word, escape(finding.says))
    Console(highlight=False).print(table)
    _say(f"{wrong} of these must be mended" if wrong else "all that the course needs is here")
    raise typer.Exit(min(wrong, 1))


@app.command()
def start(
    number: Number,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open it in Jupyter.")] = True,
) -> None:
    """Put a lesson's blank notebook into the workspace, and open it."""
    from . import workspace
    from .lesson import find_root, load

    with _clear_errors():
        lesson = load(number, find_root())
        path = workspace.notebook(lesson)
        if workspace.start(lesson):
            _say(f"lesson {number} is ready: {path}")
        else:
            _say(f"your work is kept as it is: {path}")
        if open_ and not workspace.open_jupyter(path):
            _say('JupyterLab is not installed: pip install -e ".[lessons]", or open it elsewhere')


@app.command("test")
def run_tests(number: OptionalNumber = None) -> None:
    """Test a lesson: the inline tests on your notebook, then tests/NN_name on your code."""
    from . import workspace
    from .lesson import find_root, load

    with _clear_errors():
        root = find_root()
        lesson = load(_number(number, root), root)
        path = workspace.notebook(lesson)
        if not path.exists():
            raise FileNotFoundError(
                f"lesson {lesson.number} is not begun: tito start {lesson.number}"
            )
        fine = _test(lesson, path, root / "tests" / lesson.folder)
    raise typer.Exit(0 if fine else 1)


@app.command()
def grade(folder: Annotated[Path, typer.Argument(help="What `tito release` made.")]) -> None:
    """Test a released lesson, as a class's grading does."""
    from .release import released

    with _clear_errors():
        lesson, notebook = released(folder)
        tests = folder.resolve() / f"test_{lesson.name}_integration.py"
        fine = _test(lesson, notebook.resolve(), tests)
    raise typer.Exit(0 if fine else 1)


def _test(lesson: "Lesson", notebook: Path, tests: Path) -> bool:
    """Print what passed and what did not; whether all did."""
    from . import inline, integration

    console = Console(highlight=False)
    outcomes = inline.run(lesson, notebook)
    table = Table("exercise", "", "points", box=None)
    for o in outcomes:
        points = f"{o.points if o.status == 'passed' else 0} of {o.points}"
        names = ", ".join(o.names)
        table.add_row(f"{o.exercise} {names}", f"[{MARKS[o.status]}]{o.status}[/]", points)
    _say(f"Inline tests, on the code of {notebook.name}")
    console.print(table)
    for outcome in outcomes:
        if outcome.message:
            _say(f"\n{outcome.message}")
    _say(f"\n{tests.name}, on the package with your code in it")
    report = integration.run(lesson, notebook, tests)
    _say(f"{report.status}\n{report.output}", MARKS[report.status])
    return report.status == "passed" and all(o.status == "passed" for o in outcomes)


@app.command()
def export(number: OptionalNumber = None) -> None:
    """Write the definitions of your notebook into the package."""
    from . import workspace
    from .export import export as write
    from .lesson import find_root, load

    with _clear_errors():
        root = find_root()
        lesson = load(_number(number, root), root)
        written = write(lesson, workspace.notebook(lesson))
    for line in written:
        _say(line)
    if written:
        _say(f"the package is now yours; tito reset {lesson.number} takes that back")
    else:
        _say("your definitions are those of the package already: nothing to write")


@app.command()
def reset(number: Number) -> None:
    """Take an export back: the package as it was before."""
    from .export import reset as restore
    from .lesson import find_root, load

    with _clear_errors():
        files = restore(load(number, find_root()))
    for name in files:
        _say(f"restored {name}")
    if not files:
        _say(f"lesson {number} has not been exported: nothing to take back")


@app.command()
def status() -> None:
    """How far you are in the course."""
    from .lesson import find_root
    from .workspace import progress

    with _clear_errors():
        table = Table("lesson", "started", "filled in", "exported", box=None)
        for p in progress(find_root()):
            name = f"{p.lesson.number} {p.lesson.name}"
            yes = {True: "yes", False: "-"}
            table.add_row(name, yes[p.started], f"{p.filled} of {p.exercises}", yes[p.exported])
    Console(highlight=False).print(table)


@app.command()
def solutions(
    number: Number,
    to: Annotated[Path, typer.Option(help="The folder to write into.")] = Path("solutions"),
) -> None:
    """Write a lesson's notebook with solutions; for instructors."""
    from .lesson import find_root
    from .release import solutions as write

    with _clear_errors():
        _say(f"wrote {write(number, find_root(), to)}")


@app.command()
def release(
    number: Number, to: Annotated[Path, typer.Option(help="The folder to write into.")]
) -> None:
    """Write a lesson for nbgrader or GitHub Classroom; for instructors."""
    from .lesson import find_root, load
    from .release import release as write

    with _clear_errors():
        lesson = load(number, find_root())
        for name in write(lesson, to):
            _say(f"{to / lesson.folder}: {name}")


@app.command()
def demo(
    fast: Annotated[bool, typer.Option("--fast", help="A rehearsal of a minute.")] = False,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Show the pictures.")] = True,
) -> None:
    """Check the machine, run the class demo, show its pictures; for instructors."""
    from .demo import demo as show
    from .lesson import find_root

    with _clear_errors():
        code = show(find_root(), fast, open_)
    raise typer.Exit(code)


@nbdev.command("build")
def nbdev_build(
    wheel: Annotated[bool, typer.Option("--wheel/--no-wheel", help="Build the wheel too.")] = True,
) -> None:
    """Weave every notebook, check that export and package agree, build the wheel."""
    from . import build
    from .lesson import find_root, lessons, load

    with _clear_errors():
        root = find_root()
        changed = list(build.weave_all(root))
        for path in changed:
            _say(f"wove {path.relative_to(root).as_posix()}")
        for number in lessons(root):
            build.check_round_trip(load(number, root))
        _say(f"{len(lessons(root))} lessons: export and package agree")
        if wheel:
            _say(f"built {build.build_wheel(root).relative_to(root).as_posix()}")


@milestone.command("list")
def milestone_list() -> None:
    """All milestones, and the modules that they need."""
    from .milestones import MILESTONES

    for m in MILESTONES:
        _say(f"{m.name:8} {m.says}\n         needs {', '.join(m.modules)}")


@milestone.command(
    "run", context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def milestone_run(context: typer.Context, name: str) -> None:
    """Run a milestone; what follows its name goes to its program."""
    from . import milestones
    from .lesson import find_root

    with _clear_errors():
        code = milestones.run(milestones.find(name), find_root(), context.args)
    raise typer.Exit(code)


def _number(number: int | None, root: Path) -> int:
    from .lesson import LessonError
    from .workspace import lesson_here

    number = lesson_here(root, Path.cwd()) if number is None else number
    if number is None:
        raise LessonError("which lesson? Give its number, or go to its folder in workspace/")
    return number
