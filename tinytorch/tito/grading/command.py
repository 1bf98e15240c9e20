"""The command `tito grade`: find submissions, grade them in parallel, and write the results."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path

from .._optional import check
from ..lesson import PACKAGE, Lesson, LessonError, lessons, load
from . import report
from .base import HERE, Base
from .judge import MISSING, Grade, Mark, grade
from .report import Result
from .sandbox import Limits, Sandbox, StoppedError, stops_on_signals
from .submissions import Submission, find

OWN_TESTS = "those of the submission's own folder, which a student can change (see --lesson)"
Origin = tuple[Lesson, Path, str]  # a lesson, the folder of its tests, and a description of it


def run(
    paths: list[Path],
    lesson: str | None = None,
    limits: Limits | None = None,
    jobs: int | None = None,
    table: Path | None = None,
    details: Path | None = None,
    reports: Path | None = None,
    progress: Callable[[int, int, Result], None] = lambda done, of, result: None,
) -> tuple[list[Result], bool]:
    """Grade submissions, in parallel, and write the results after each.

    Args:
        paths: notebooks, released lessons, or folders of submissions.
        lesson: number of the lesson, or the folder of a released lesson with its tests. By default
            each notebook's own number, and the tests of the checkout that this package is part of;
            if there is none, those in the folder of the submission.
        limits: limits of each submission.
        jobs: number of submissions at the same time; by default one for each processor.
        table: a CSV file to write.
        details: a JSON file to write.
        reports: a folder for a report of each submission.
        progress: called after each submission.

    Returns:
        The results in the order of the submissions, and whether all were graded. If interrupted,
        those that were graded until then.

    Raises:
        LessonError: there is nothing to grade, or there are no tests for it.
    """
    check("pytest", "test")
    origins = _origins(paths, lesson)
    only = next(iter(origins)) if lesson is not None else None
    known = [origin[0] for origin in origins.values()]
    found = [s for path in paths for s in find(path, known, only)]
    if not found:
        where = ", ".join(map(str, paths))
        raise LessonError(f"there is no notebook in {where}")
    sandbox = Sandbox(limits or Limits())
    done: dict[int, Result] = {}
    taken: set[str] = set()
    with ExitStack() as stack:
        numbers = sorted({s.lesson for s in found if s.lesson is not None and not s.problem})
        bases = {n: stack.enter_context(Base(*origins[n][:2], HERE)) for n in numbers}
        pool = stack.enter_context(ThreadPoolExecutor(jobs or os.cpu_count() or 1))
        stack.enter_context(stops_on_signals(sandbox))
        futures = {
            pool.submit(_grade, s, origins.get(s.lesson or -1), bases, sandbox): index
            for index, s in enumerate(found)
        }
        for future in as_completed(futures):
            try:
                result = future.result()
            except StoppedError:
                continue
            done[futures[future]] = result
            if reports is not None:
                report.write_report(result, reports, taken)
            report.write(_ordered(done), table, details)
            progress(len(done), len(found), result)
    return _ordered(done), len(done) == len(found)


def _ordered(done: dict[int, Result]) -> list[Result]:
    return [done[index] for index in sorted(done)]


def _grade(
    submission: Submission, origin: Origin | None, bases: dict[int, Base], sandbox: Sandbox
) -> Result:
    """Grade one submission; no error of it may stop the others."""
    lesson, source = "", ""
    if origin is not None:
        lesson, source = f"{origin[0].number} {origin[0].name}", origin[2]
    if sandbox.stopped.is_set():
        raise StoppedError
    base = bases.get(submission.lesson or -1)
    own = Grade(_unmarked(origin), problem=submission.problem)
    if base is not None and not submission.problem:
        try:
            own = grade(base, submission.path, sandbox)
        except StoppedError:
            raise
        except Exception as error:
            own.problem = f"the grader itself has failed: {type(error).__name__}: {error}"
    return Result(submission, lesson, own, source)


def _origins(paths: list[Path], lesson: str | None) -> dict[int, Origin]:
    """Return the lessons that can be graded, with their tests, by their numbers."""
    for path in paths:
        if not path.exists() and not path.is_symlink():
            raise LessonError(f"{path} does not exist")
        if (path / "notebooks").is_dir() and (path / PACKAGE / "__init__.py").is_file():
            raise LessonError(f"{path} is a checkout of the course, not a folder of submissions")
    if lesson is not None and not lesson.isdecimal():
        found = _released(Path(lesson))
        if not found:
            raise LessonError(f"{lesson} is not a released lesson: it has no NAME_dev.py")
        return {own.number: (own, Path(lesson), f"those of {lesson}") for own in found[:1]}
    if lesson is not None:
        return {int(lesson): _of_checkout(int(lesson))}
    own = [(own, path) for path in paths if path.is_dir() for own in _released(path)]
    origins = {x.number: (x, path.resolve(), OWN_TESTS) for x, path in own}
    origins |= {number: _of_checkout(number) for number in lessons(HERE)}
    if not origins:
        raise LessonError("which tests? Give --lesson DIR, a folder written by tito release")
    return origins


def _of_checkout(number: int) -> Origin:
    if not lessons(HERE):
        raise LessonError(
            f"the tests of lesson {number} are not installed: give --lesson DIR, a folder written"
            " by tito release"
        )
    own = load(number, HERE)
    return own, HERE / "tests" / own.folder, f"those of {HERE}"


def _released(folder: Path) -> list[Lesson]:
    """Return the lessons in a folder written by `tito release`."""
    found = [Lesson(source, folder) for source in sorted(folder.resolve().glob("*_dev.py"))]
    for lesson in found:
        tests = folder / f"test_{lesson.name}_integration.py"
        if not tests.is_file():
            raise LessonError(f"{folder} is incomplete: {tests.name} is missing")
        if not any(cell.kind == "test" for cell in lesson.cells):
            raise LessonError(f"{lesson.source.name} contains no tests of exercises")
    return found


def _unmarked(origin: Origin | None) -> list[Mark]:
    """Return the marks of a notebook that cannot be graded."""
    if origin is None:
        return []
    points = {c.exercise: c.points for c in origin[0].cells if c.kind == "test"}
    return [Mark(e.number, e.names, points.get(e.number, 0), MISSING) for e in origin[0].exercises]
