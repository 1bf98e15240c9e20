"""Grade one notebook: which exercises pass, and how many points that gives."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from .. import notebook as notebooks
from ..export import ExportError, imports_of
from ..lesson import LessonError
from .base import Base
from .sandbox import Events, Sandbox

PASSED, FAILED, BLANK, MISSING, REFUSED = "passed", "failed", "blank", "missing", "refused"


@dataclass
class Mark:
    """The result of one exercise.

    Attributes:
        exercise: its number, "12.1".
        names: what the student defines.
        of: points for passing.
        status: one of the constants above.
        message: why it did not pass.
    """

    exercise: str
    names: tuple[str, ...]
    of: int
    status: str = ""
    message: str = ""

    @property
    def points(self) -> int:
        return self.of if self.status == PASSED else 0


@dataclass
class Grade:
    """The result of one notebook.

    Attributes:
        marks: one for each exercise.
        integration: "passed", "failed" or "not run": the integration tests, on the exercises that
            have passed their own tests.
        problem: why the notebook could not be graded, or what the teacher should look at.
    """

    marks: list[Mark] = field(default_factory=list)
    integration: str = "not run"
    problem: str = ""

    @property
    def points(self) -> int:
        return sum(mark.points for mark in self.marks)

    @property
    def of(self) -> int:
        return sum(mark.of for mark in self.marks)

    @property
    def passed(self) -> bool:
        """Whether all exercises and all integration tests have passed."""
        complete = bool(self.marks) and all(mark.status == PASSED for mark in self.marks)
        return complete and self.integration != "failed" and not self.problem


def grade(base: Base, notebook: Path, sandbox: Sandbox) -> Grade:
    """Grade a notebook; whatever is in it, the result is a grade and not an error.

    Raises:
        StoppedError: grading was interrupted.
    """
    marks = [Mark(e.number, e.names, base.points.get(e.number, 0)) for e in base.exercises]
    judge = _Judge(base, sandbox, {mark.exercise: mark for mark in marks})
    try:
        cells = notebooks.read(notebook)
    except (OSError, ValueError) as error:
        for mark in marks:
            mark.status = MISSING
        return Grade(marks, problem=str(error))
    judge.read(cells)
    judge.run_inline()
    judge.run_integration()
    return Grade(marks, judge.integration, judge.problem)


class _Judge:
    """The state of grading one notebook."""

    def __init__(self, base: Base, sandbox: Sandbox, marks: dict[str, Mark]) -> None:
        self.base, self.sandbox, self.marks = base, sandbox, marks
        self.texts = dict(base.blanks)
        self.sources: dict[str, str] = {}
        self.known: dict[str, str] = {}  # the import statement behind each name of the notebook
        self.accepted: list[str] = []  # exercises that are in the texts
        self.integration, self.problem = "not run", ""
        self.end = time.monotonic() + sandbox.limits.total
        self.complete = False  # whether the integration tests have run in the first process

    def read(self, cells: list[notebooks.StudentCell]) -> None:
        """Insert the exercises of the notebook that can be tested into the package."""
        found = notebooks.exercise_cells(cells, self.base.exercises)
        sources = {number: notebooks.source_of(own) for number, own in found.items()}
        known = self.base.notebook_imports | imports_of(sources.values())
        self.sources, self.known = sources, known
        for exercise in self.base.exercises:
            mark = self.marks[exercise.number]
            if not found[exercise.number]:
                mark.status = MISSING
                mark.message = notebooks.no_cell(cells, exercise.number)
                continue
            source = sources[exercise.number]
            try:
                texts = self.base.insert(exercise, self.texts, source, known)
                violations = self.base.violations(exercise, source, known)
            except (ExportError, LessonError) as error:
                mark.message = str(error)
                mark.status = BLANK if "still blank" in mark.message else FAILED
            except SyntaxError as error:  # found by the compiler, though the code parses
                mark.status = FAILED
                mark.message = f"it does not compile: {error.msg}, line {error.lineno}"
            except (RecursionError, MemoryError, ValueError):
                mark.status, mark.message = FAILED, "the code is nested too deeply"
            else:
                if violations:
                    mark.status = REFUSED
                    mark.message = "\n".join(map(str, violations[:5]))
                else:
                    self.texts = texts
                    self.accepted.append(exercise.number)

    def run_inline(self) -> None:
        """Run the test of each exercise; a process that ends early is followed by another."""
        todo = list(self.accepted)
        everything = len(todo) == len(self.marks)
        while todo:
            files = self.base.integration if everything else []
            events = self._run(self.texts, todo, files)
            if not events.loaded:
                if not self._leave_out_unimportable():
                    for number in todo:
                        self._mark(number, events.reason)
                    return
                todo = [number for number in self.accepted if not self.marks[number].status]
                everything = False
                continue
            for number in todo:
                if number in events.ended:
                    self._mark(number, events.ended[number])
            if events.running in todo:
                self._mark(events.running, events.reason or "the result of its test was lost")
            if everything and all(m.status == PASSED for m in self.marks.values()):
                self._integrated(events)
                return
            everything = False
            left = [number for number in todo if not self.marks[number].status]
            if len(left) == len(todo):  # no progress
                for number in left:
                    self._mark(number, events.reason or "it was not tested")
            todo = [number for number in left if not self.marks[number].status]

    def run_integration(self) -> None:
        """Run the integration tests on the exercises that have passed; the others are solutions."""
        passed = [number for number, mark in self.marks.items() if mark.status == PASSED]
        if self.complete or not passed or not self.base.integration:
            return
        texts = self.base.with_solutions(self.texts, passed)
        self._integrated(self._run(texts, [], self.base.integration))

    def _integrated(self, events: Events) -> None:
        """Judge the integration tests; if some fail, find the exercises to blame."""
        self.complete = True
        names = events.collected
        errors = {n: e for n, e in events.ended.items() if e is not None and n not in self.marks}
        missing = [n for n in names if n not in events.ended]
        if missing:
            errors[events.running or missing[0]] = events.reason or "it has ended the tests"
        if not names and not errors:
            errors["the integration tests"] = events.reason or "no test was found"
        if not errors:
            self.integration = PASSED
            return
        self.integration = FAILED
        passed = [number for number, mark in self.marks.items() if mark.status == PASSED]
        first, message = next(iter(errors.items()))
        tests = [str(self.base.root / "tests" / n) for n in errors if "::" in n]
        blamed = passed if len(passed) == 1 else []
        for number in passed if tests and not blamed else ():
            alone = self.base.with_solutions(self.texts, [number])
            again = self._run(alone, [], tests)
            if again.reason or len(again.ended) < len(tests) or any(again.ended.values()):
                blamed.append(number)
        for number in blamed:
            what = "the exercise passes its own test, but not an integration test"
            self._mark(number, f"{what}: {first}\n{message}")
        if not blamed:
            self.problem = (
                "integration tests fail, though each exercise passes them by itself: the points"
                f" are those of the exercises; please look at {first}\n{message}"
            )

    def _assemble(self, numbers: list[str]) -> dict[str, str]:
        """Return the modules with these exercises; one that depends on another may fail here."""
        texts = dict(self.base.blanks)
        for exercise in self.base.exercises:
            if exercise.number in numbers:
                try:
                    source = self.sources[exercise.number]
                    texts = self.base.insert(exercise, texts, source, self.known)
                except ExportError as error:
                    self._mark(exercise.number, str(error))
        return texts

    def _leave_out_unimportable(self) -> bool:
        """Leave out each exercise with which the package cannot be imported, if there is one."""
        good: list[str] = []
        for number in self.accepted:
            events = self._run(self._assemble([*good, number]), [], [])
            if events.loaded:
                good.append(number)
            else:
                self._mark(number, f"the package cannot be imported with it: {events.reason}")
        found = len(good) < len(self.accepted)
        self.accepted, self.texts = good, self._assemble(good)
        return found

    def _mark(self, number: str, error: str | None) -> None:
        mark = self.marks[number]
        mark.status = PASSED if error is None else FAILED
        mark.message = error or ""

    def _run(self, texts: dict[str, str], inline: list[str], integration: list[str]) -> Events:
        left = self.end - time.monotonic()
        if left <= 0:
            return Events(reason="the time for the whole notebook was over", loaded=True)
        return self.sandbox.run(self.base.job(texts, inline, integration), left)
