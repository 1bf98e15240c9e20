"""Mutation tests of the lessons: the inline tests find the typical mistakes of students."""

import contextlib
import io
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from mistake import Mistake

from tinytorch.tito.checks import ExerciseError
from tinytorch.tito.lesson import Lesson, lessons, load

ROOT = Path(__file__).parents[2]
NUMBERS = lessons(ROOT)


def mistakes(number: int) -> list[Mistake]:
    """The mistakes in `tests/NN_name/mistakes.py`."""
    path = ROOT / "tests" / lesson(number).folder / "mistakes.py"
    spec = spec_from_file_location(f"mistakes_{number}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.MISTAKES)


@cache
def lesson(number: int) -> Lesson:
    return load(number, ROOT)


@cache
def programs(number: int) -> list[tuple[str, str, str]]:
    """Kind, exercise and source of all cells that the inline tests need."""
    own = lesson(number)
    return [
        (c.kind, c.exercise, own.solution(c) if c.kind == "exercise" else c.source)
        for c in own.cells
        if c.kind in ("setup", "exercise", "test")
    ]


def run(number: int, until: str, changed: str | None = None) -> None:
    """Run setup, exercises and the test of the exercise `until`, as a notebook would.

    `changed` replaces the source of that exercise.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    for kind, exercise, source in programs(number):
        if changed is not None and (kind, exercise) == ("exercise", until):
            source = changed
        if kind != "test" or exercise == until:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(source, f"{kind} {exercise}", "exec"), names)
        if kind == "test" and exercise == until:
            return
    raise AssertionError(f"there is no test {until}")


def changed_source(number: int, mistake: Mistake) -> str:
    """The exercise's source with the mistake.

    Raises:
        ValueError: the mistake does not apply, because the code has changed since.
    """
    sources = {e: source for kind, e, source in programs(number) if kind == "exercise"}
    return mistake.in_source(sources[mistake.exercise])


def missed(number: int, mistake: Mistake, changed: str) -> str:
    """Description of a mistake that the exercise's own test misses; empty if it detects it."""
    try:
        run(number, mistake.exercise, changed)
    except ExerciseError as error:
        right = str(error).startswith(f"Exercise {mistake.exercise}")
        return "" if right else f"{mistake.name}: {error}"
    except Exception as error:
        return f"{mistake.name}: outside of the test, {type(error).__name__}: {error}"
    return f"{mistake.name} (exercise {mistake.exercise}) is not found"


@pytest.mark.parametrize("number", NUMBERS)
def test_correct_code_passes(number: int) -> None:
    tests = [exercise for kind, exercise, _ in programs(number) if kind == "test"]
    assert tests == [exercise for kind, exercise, _ in programs(number) if kind == "exercise"]
    for exercise in tests:
        run(number, exercise)


@pytest.mark.parametrize("number", NUMBERS)
def test_typical_mistakes_are_found(number: int) -> None:
    """There are at least 18 per lesson, all apply, and the tests detect at least 95% of them."""
    known = mistakes(number)
    assert len(known) >= 18
    assert len({m.name for m in known}) == len(known)
    assert {m.exercise for m in known} == {e.number for e in lesson(number).exercises}
    changed = [changed_source(number, m) for m in known]
    problems = [p for m, c in zip(known, changed, strict=True) if (p := missed(number, m, c))]
    assert len(problems) <= 0.05 * len(known), "\n".join(problems)


def test_a_mistake_that_does_not_apply_is_an_error() -> None:
    first = NUMBERS[0]
    for mistake in (
        Mistake("renamed since", f"{first}.1", "old_name(", "new_name("),
        Mistake("occurs more often", f"{first}.1", "\n", ""),
    ):
        with pytest.raises(ValueError, match=f"{mistake.name}: .* occurs"):
            changed_source(first, mistake)


@pytest.mark.parametrize("number", NUMBERS)
def test_names_that_exercises_use_are_defined(number: int) -> None:
    """All names that a definition uses are defined in the setup or in an earlier exercise."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for kind, exercise, source in programs(number):
        if kind == "setup":
            exec(source, names)
        elif kind == "exercise":
            code = compile(source, exercise, "exec")
            exec(code, names)
            missing = {n for n in _globals(code) if n not in names and n not in _builtins()}
            assert not missing, f"lesson {number}, exercise {exercise}: {missing} in a setup cell"


def _globals(code: Any) -> set[str]:
    import dis

    used = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            used |= _globals(constant)
    return used


def _builtins() -> set[str]:
    import builtins

    return set(dir(builtins))
