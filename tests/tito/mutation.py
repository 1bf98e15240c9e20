"""Mutation tests of the lessons' inline tests.

    python tests/tito/mutation.py 12            # all mistakes and mutants of lesson 12
    python tests/tito/mutation.py 12.3 12.4     # of two exercises
    python tests/tito/mutation.py 12 --grade    # also what the other tests make of the survivors

prints the survivors, that is, the wrong solutions that the exercise's own inline test accepts, and
how many of each kind there were. `tests/NN_name/mistakes.py` holds the mistakes written by hand,
MISTAKES, and the ids of mutants that compute the same, EQUIVALENT, each with the reason;
`alternatives.py` holds right solutions, ALTERNATIVES, which must pass.
"""

import argparse
import ast
import contextlib
import io
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "tito")]

from helpers import load_module  # noqa: E402
from mistake import Alternative, Change, Mistake  # noqa: E402

import tinytorch  # noqa: E402
from tinytorch.tito.checks import ExerciseError  # noqa: E402
from tinytorch.tito.lesson import Lesson, definitions, lines_of, load  # noqa: E402
from tinytorch.tito.package import copy_package, environment_for  # noqa: E402

mutants_of = load_module(Path(__file__).with_name("mutants.py")).mutants
MEMORY = 2**31  # bytes that a wrong solution may allocate


class EndlessLoopError(Exception):
    """The code runs through many more rounds of its loops than the solution does."""


@dataclass(frozen=True)
class Outcome:
    """What the inline test of an exercise says to a changed solution.

    Attributes:
        name: the mistake, or the mutant's id.
        exercise: the exercise's number.
        source: the changed source of the exercise.
        line: the changed line of a mutant.
        caught: whether the exercise's own test failed, with a message that names the exercise.
        message: its message; of an error outside of the test, its type and text.
    """

    name: str
    exercise: str
    source: str
    line: str
    caught: bool
    message: str

    @property
    def explained(self) -> bool:
        """Whether the message says what to do: a likely cause, a blank body, a line of code."""
        return self.caught and any(
            mark in self.message for mark in ("likely cause:", "still blank", "\n  at: ")
        )


class Runner:
    """Runs one exercise and its test many times, each with another solution.

    The setup and the exercises before it run once.
    """

    def __init__(self, number: int, exercise: str) -> None:
        self.exercise, self.rounds, self.limit = exercise, 0, 10**9
        self.names: dict[str, Any] = {"__name__": "__main__", "_tick": self._tick}
        for kind, number_of, source in programs(number):
            if (kind, number_of) == ("exercise", exercise):
                self.solution = source
            elif (kind, number_of) == ("test", exercise):
                self.test = compile(source, f"test {exercise}", "exec")
                break
            elif kind != "test":
                exec(_counted(source, f"{kind} {number_of}"), self.names)
        self._before = dict(self.names)
        self.missed = self.run(self.solution)
        self.limit = 1000 + 10 * self.rounds

    def run(self, source: str) -> str | None:
        """Return the message of the exercise's test for a solution; None if it passes."""
        self.rounds = 0
        tinytorch.manual_seed(1234)
        try:
            with (
                contextlib.redirect_stdout(io.StringIO()),
                warnings.catch_warnings(),
                _limited_memory(),
            ):
                warnings.simplefilter("ignore")  # a notebook shows warnings and goes on
                code = _counted(source, f"exercise {self.exercise}")
                exec(code, self.names)
                exec(self.test, self.names)
        except ExerciseError as error:
            return str(error)
        except Exception as error:
            return f"outside of the test, {type(error).__name__}: {error}"
        finally:
            self.names.clear()
            self.names.update(self._before)
        return None

    def outcome(self, name: str, source: str, line: str = "") -> Outcome:
        message = self.run(source)
        caught = message is not None and message.startswith(f"Exercise {self.exercise},")
        return Outcome(name, self.exercise, source, line, caught, message or "")

    def _tick(self) -> None:
        """Count a round of a loop, or a call of a function of the student."""
        self.rounds += 1
        if self.rounds > self.limit:
            raise EndlessLoopError(f"more than {self.limit} rounds")


class _Counted(ast.NodeTransformer):
    """Call `_tick` at the start of each round of a loop and of each call of a function."""

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node, ast.While | ast.For | ast.FunctionDef):
            call = ast.Expr(ast.Call(ast.Name("_tick", ast.Load()), [], []))
            documented = isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None
            node.body.insert(
                int(documented), ast.fix_missing_locations(ast.copy_location(call, node))
            )
        return node


def _counted(source: str, name: str) -> Any:
    """Compile a source text so that its loops can be cut off."""
    import linecache

    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return compile(_Counted().visit(ast.parse(source)), name, "exec")


@contextlib.contextmanager
def _limited_memory() -> Iterator[None]:
    """Raise MemoryError, where the system can, instead of filling the machine's memory."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError):
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@cache
def lesson(number: int) -> Lesson:
    return load(number, ROOT)


@cache
def programs(number: int) -> list[tuple[str, str, str]]:
    """Kind, exercise and source of all cells that the inline tests need."""
    own = lesson(number)
    return [
        (c.kind, c.exercise, own.solution(c) if c.kind in ("exercise", "given") else c.source)
        for c in own.cells
        if c.kind in ("setup", "given", "exercise", "test")
    ]


@cache
def runner(exercise: str) -> Runner:
    return Runner(number_of(exercise), exercise)


@cache
def _file(number: int, name: str) -> ModuleType | None:
    path = ROOT / "tests" / lesson(number).folder / f"{name}.py"
    return load_module(path) if path.exists() else None


def number_of(exercise: str) -> int:
    return int(exercise.partition(".")[0])


def mistakes(number: int) -> list[Mistake]:
    """The mistakes in `tests/NN_name/mistakes.py` and `more_mistakes.py`."""
    files = [_file(number, name) for name in ("mistakes", "more_mistakes")]
    return [mistake for file in files for mistake in getattr(file, "MISTAKES", [])]


def alternatives(number: int) -> list[Alternative]:
    """The right solutions in `tests/NN_name/alternatives.py`."""
    return list(getattr(_file(number, "alternatives"), "ALTERNATIVES", []))


def equivalent(number: int) -> dict[str, str]:
    """The ids of mutants that compute the same, and why."""
    return dict(getattr(_file(number, "mistakes"), "EQUIVALENT", {}))


@cache
def mutants(exercise: str) -> list[Any]:
    """The generated mutants of an exercise."""
    own = next(e for e in lesson(number_of(exercise)).exercises if e.number == exercise)
    return list(mutants_of(exercise, runner(exercise).solution, own.hints))


def changed(change: Change) -> str:
    """The source of an exercise with a change.

    Raises:
        ValueError: the change does not apply, because the code has changed since.
    """
    sources = {e: s for kind, e, s in programs(number_of(change.exercise)) if kind == "exercise"}
    return change.in_source(sources[change.exercise])


def outcomes(exercise: str) -> tuple[list[Outcome], list[Outcome]]:
    """Run the mistakes and the mutants of an exercise; equivalent mutants are left out."""
    run, same = runner(exercise).outcome, equivalent(number_of(exercise))
    own = [m for m in mistakes(number_of(exercise)) if m.exercise == exercise]
    generated = [m for m in mutants(exercise) if m.id not in same]
    return (
        [run(m.name, changed(m)) for m in own],
        [run(m.id, m.source, m.line) for m in generated],
    )


def accepted(exercise: str) -> list[Outcome]:
    """Run the mutants of an exercise that compute the same."""
    run, same = runner(exercise).outcome, equivalent(number_of(exercise))
    return [run(m.id, m.source, m.line) for m in mutants(exercise) if m.id in same]


# The command --------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Mutation tests of the lessons' inline tests.")
    parser.add_argument("what", nargs="+", help="lessons, 12, or exercises, 12.3")
    parser.add_argument(
        "--grade", action="store_true", help="run the other tests on what the inline tests accept"
    )
    parser.add_argument("--unexplained", action="store_true",
                        help="print also the messages that name no cause")  # fmt: skip
    options = parser.parse_args(arguments)
    table, totals = [_row("", "", ("tried", "caught", "cause named"))], Counter[tuple[int, str]]()
    for exercise in _exercises(options.what):
        for kind, found in zip(("mistakes", "mutants"), outcomes(exercise), strict=True):
            caught = [o for o in found if o.caught]
            counts = (len(found), len(caught), sum(o.explained for o in caught))
            table.append(_row(exercise, kind, counts))
            totals.update({(column, kind): n for column, n in enumerate(counts)})
            for o in found:
                if not o.caught:
                    print(_described(o) + (f"\n    {graded(o)}" if options.grade else ""))
                elif options.unexplained and not o.explained:
                    print(f"no cause: {_described(o)}")
        if options.grade:
            for o in accepted(exercise):
                print(f"equivalent: {_described(o)}\n    {graded(o)}")
    table += [
        _row("all", kind, [totals[i, kind] for i in range(3)]) for kind in ("mistakes", "mutants")
    ]
    print("\n".join(table))


def _row(exercise: str, kind: str, columns: Iterable[object]) -> str:
    tried, caught, explained = columns
    return f"{exercise:>8}  {kind:<9} {tried:>5} {caught:>6} {explained:>11}"


def _described(outcome: Outcome) -> str:
    return "\n    ".join(filter(None, (outcome.name, outcome.line, outcome.message)))


def _exercises(what: list[str]) -> list[str]:
    known = [e.number for text in what for e in lesson(number_of(text)).exercises]
    return [e for e in dict.fromkeys(known) if e in what or e.partition(".")[0] in what]


def graded(outcome: Outcome) -> str:
    """Run a lesson's other tests on the package with a wrong solution.

    Returns:
        Which of them fail: those that `tito grade` runs, or those that only `tito test` runs.
    """
    own = lesson(number_of(outcome.exercise))
    exercise = next(e for e in own.exercises if e.number == outcome.exercise)
    folder = ROOT / "tests" / own.folder
    with tempfile.TemporaryDirectory(prefix="mutant") as name:
        scratch = Path(name)
        copy_package(ROOT, scratch)
        path = scratch.joinpath(*exercise.module.split(".")).with_suffix(".py")
        path.write_text(_inserted(path.read_text("utf-8"), outcome.source), encoding="utf-8")
        for path in (folder / f"test_{own.name}_integration.py", folder):
            if problem := _tested(path, scratch):
                return f"{'grade' if path.is_file() else 'test'}: {problem}"
    return "no test fails"


def _inserted(module: str, source: str) -> str:
    """Replace the definitions of a module by those of an exercise's source."""
    lines, own = lines_of(module), lines_of(source)
    theirs, mine = definitions(module), definitions(source)
    first = min(theirs[name].start for name in mine if name in theirs)
    edits = [
        (theirs[name].start, theirs[name].stop, own[d.start : d.stop])
        if name in theirs
        else (first, first, [*own[d.start : d.stop], ""])
        for name, d in mine.items()
    ]
    for start, stop, text in sorted(edits, key=lambda edit: edit[:2], reverse=True):
        lines[start:stop] = text
    return "\n".join(lines) + "\n"


def _tested(path: Path, scratch: Path) -> str:
    """Return the first test that fails on the package in `scratch`; empty if all pass."""
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += ["-k", "not cupy and not strict", "--import-mode=importlib", "--tb=no", str(path)]
    done = subprocess.run(
        command, cwd=scratch, env=environment_for(scratch), capture_output=True, text=True,
        timeout=900,
    )  # fmt: skip
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].partition("/tests/")[2] or failed[0] if failed else ""


if __name__ == "__main__":
    main()
