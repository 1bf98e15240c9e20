"""The rules that the inline tests and exercises of every lesson keep."""

import re
from pathlib import Path

import pytest
from lesson_rules import checks_without_cause, uses_outside_of_checks

from tinytorch.tito import weave
from tinytorch.tito.lesson import Lesson, lessons, load

ROOT = Path(__file__).parents[2]
LESSONS = [load(number, ROOT) for number in lessons(ROOT)]
EACH = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
LONGEST = 60  # lines of an exercise's cell


@EACH
def test_every_check_has_a_cause(lesson: Lesson) -> None:
    tests = [cell for cell in lesson.cells if cell.kind == "test"]
    found = [f"{t.exercise}, {text}" for t in tests for text in checks_without_cause(t.source)]
    assert not found, "\n".join(found)


@EACH
def test_the_code_of_students_runs_only_inside_of_checks(lesson: Lesson) -> None:
    names: set[str] = set()
    found = []
    for cell in lesson.cells:
        if cell.kind in ("given", "exercise"):
            names |= set(lesson.exercise(cell).names)
        elif cell.kind == "test":
            uses = uses_outside_of_checks(cell.source, names)
            found += [f"{cell.exercise}, {text}" for text in uses]
    assert not found, "\n".join(found)


@EACH
def test_exercises_are_short(lesson: Lesson) -> None:
    cells = [c for c in weave.student(lesson).cells if c.metadata.get("tinytorch")]
    lengths = {
        c.metadata.tinytorch.exercise: len(c.source.splitlines())
        for c in cells
        if c.metadata.tinytorch.kind == "exercise"
    }
    assert {number: n for number, n in lengths.items() if n > LONGEST} == {}


@EACH
def test_the_first_cell_has_goals_prerequisites_and_time(lesson: Lesson) -> None:
    head = lesson.cells[0].source
    goals = re.search(r"\*\*You will learn\*\*.*?\n\n((?:- .*\n(?: .*\n)*)+)", head)
    assert goals is not None, head
    assert 3 <= len(re.findall(r"(?m)^- ", goals[1])) <= 5
    assert re.search(r"\*\*(You need|Before you start)\*\*", head)
    assert re.search(r"\*\*Time\*\*.*(minutes|hours)", head)


@EACH
def test_instructors_have_answers_to_all_questions(lesson: Lesson) -> None:
    prose = [cell for cell in lesson.cells if cell.kind == "markdown"]
    (questions,) = (c.source for c in prose if "## Questions" in c.source)
    answers = "\n".join(c.source for c in lesson.cells if c.kind == "instructor")
    numbers = re.findall(r"(?m)^\d+\. ", questions[questions.index("## Questions") :])
    assert len(numbers) >= 3
    assert [n for n in numbers if n in re.findall(r"(?m)^\d+\. ", answers)] == numbers


CHECK = 'with Exercise("1.1", "f") as check:\n    '


@pytest.mark.parametrize(
    ("check", "ok"),
    [
        ('check.equal(lambda: 1, 2, "x", "y")', True),
        ('check.close(1, 2, "x", cause="y", tolerance=1)', True),
        ('check.true(lambda: 1, "x", f"y")', True),
        ('check.call(f, "x", "y", 2)', True),
        ('check.gradient(f, x, what="x", cause="y")', True),
        ('check.equal(lambda: 1, 2, "x")', False),
        ('check.equal(lambda: 1, 2, "x", "")', False),
        ('check.equal(lambda: 1, 2, "x", cause="")', False),
        ('check.true(lambda: 1, "x")', False),
        ('check.call(f, "x")', False),
        ('check.raises(ValueError, f, "x", message="y")', False),
        ('check.gradient(f, x, y, z, what="x")', False),
        ('[check.equal(lambda: 1, 2, "x") for _ in "ab"]', False),
    ],
)
def test_checks_without_a_cause_are_found(check: str, ok: bool) -> None:
    assert bool(list(checks_without_cause(CHECK + check))) != ok


@pytest.mark.parametrize(
    "test",
    [
        'check.equal(lambda: f(1).shape, (2, 3), "x", "y")',
        'check.call(f, "x", "y")',
        'got = check.call(lambda: f(1), "x", "y")\n    check.close(got, [1], "x", "y")',
        'a, b = check.call(lambda: f(1), "x", "y", count=2)\n    check.close(a, [1], "x", "y")',
        'g = lambda: f(1)\n    check.equal(g, 2, "x", "y")',
        'check.equal(lambda: f(1), lambda: f(2) + 1, "x", "y")',
        'a, b = (check.call(lambda n=n: f(n), "x", "y") for n in range(2))',
        'a = [check.call(lambda n=n: f(n), "x", "y") for n in range(2)]',
        'def g():\n        return f(1)\n    check.equal(g, 2, "x", "y")',
        'def g(x):\n        return f(x)\n    check.equal(lambda: g(1), 2, "x", "y")',
        'for i in range(3):\n        check.equal(lambda i=i: f(i), 2, f"x {i}", "y")',
        'for n, g in (("a", f), ("b", lambda: f(2))):\n        check.equal(g, 2, f"{n}", "y")',
        'for n, g in zip("ab", [f, f]):\n        check.equal(g, 2, n + "x", "y")',
        'for i, g in enumerate([f, f]):\n        check.equal(g, 2, str(i), "y")',
        'f = 3\n    check.equal(f + 1, 2, "x", "y")',
        'got = check.call(f, "x", "y")\n    got = 3\n    check.equal(got + 1, 2, "x", "y")',
        'x = Tensor([1])\n    check.equal(x.sum(), 2, "x", "y")',
        'def both(g, what):\n        check.equal(lambda: g(1), 2, what, "y")\n    both(f, "x")',
    ],
)
def test_code_inside_of_checks_is_accepted(test: str) -> None:
    assert uses_outside_of_checks(CHECK + test, {"f", "Model"}) == []


@pytest.mark.parametrize(
    "test",
    [
        'check.equal(f(1), 2, "x", "y")',
        'check.equal(f(1).shape, 2, "x", "y")',
        'check.equal([f(1)], 2, "x", "y")',
        'check.equal(lambda: 1, f(1), "x", "y")',
        'check.equal(lambda x=f(1): x, 2, "x", "y")',
        'check.close(f(1) - 2, 0, "x", "y")',
        "got = f(1)",
        "got: int = f(1)",
        'got = check.call(f, "x", "y")\n    check.equal(got.shape, 2, "x", "y")',
        'got = check.call(f, "x", "y")\n    check.equal(got[0], 2, "x", "y")',
        'got = check.call(f, "x", "y")\n    got.data = 3',
        'got = check.call(f, "x", "y")\n    got[0] = 3',
        'got = check.call(f, "x", "y")\n    for p in got.parameters():\n        pass',
        'a, b = check.call(f, "x", "y")',
        'model = check.call(lambda: Model(1), "x", "y")\n    model.train()',
        'g = lambda: f(1)\n    check.equal(g(), 2, "x", "y")',
        'def g():\n        return f(1)\n    check.equal(g(), 2, "x", "y")',
        "def g():\n        return f(1)\n    h = [g() for _ in range(3)]",
        "seconds(lambda: f(1))",
        "a = [f(n) for n in range(2)]",
        "a = [n for n in f(2)]",
        "a = [n for n in range(2) if f(n)]",
        'a, b = (check.call(f, "x", "y") for n in range(2))\n    a + 1',
        "sorted([1], key=f)",
        "with g(f(1)):\n        pass",
        "if f(1):\n        pass",
        "while f(1):\n        pass",
        "for _ in f(1):\n        pass",
        "x = 1\n    x += f(1)",
        "assert f(1)",
        'def both(g, what):\n        check.equal(g(1), 2, what, "y")\n    both(f, "x")',
        'def both(g, what):\n        check.equal(lambda: g(1), 2, what, "y")\n    both(f(1), "x")',
        "class Mine(Model):\n        pass\n    Mine()",
        "try:\n        f(1)\n    except ValueError:\n        pass",
    ],
)
def test_code_outside_of_checks_is_found(test: str) -> None:
    assert uses_outside_of_checks(CHECK + test, {"f", "Model"})
