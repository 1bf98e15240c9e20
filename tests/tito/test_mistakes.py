"""Mutation tests of the lessons: the inline tests find wrong solutions, and accept right ones.

`python tests/tito/mutation.py 12` prints what the tests of lesson 12 do not find. Generated mutants
are tested nightly: `pytest -m nightly tests/tito/test_mistakes.py`.
"""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from helpers import load_module
from mistake import Change, Mistake

from tinytorch.tito.lesson import lessons

mutation = load_module(Path(__file__).with_name("mutation.py"))
mutants = load_module(Path(__file__).with_name("mutants.py"))

NUMBERS = lessons(mutation.ROOT)
EXERCISES = [
    exercise
    for source in sorted((mutation.ROOT / "notebooks").glob("*_*/*_dev.py"))
    for exercise in re.findall(r'(?m)^# %% exercise="([\d.]+)"', source.read_text("utf-8"))
]


@pytest.mark.parametrize("exercise", EXERCISES)
def test_correct_code_passes(exercise: str) -> None:
    assert mutation.runner(exercise).missed is None


@pytest.mark.parametrize("number", NUMBERS)
def test_every_exercise_has_a_test_and_mistakes(number: int) -> None:
    programs, known = mutation.programs(number), mutation.mistakes(number)
    exercises = [exercise for kind, exercise, _ in programs if kind == "exercise"]
    assert [exercise for kind, exercise, _ in programs if kind == "test"] == exercises
    assert {m.exercise for m in known} == set(exercises)
    assert len({(m.exercise, m.name) for m in known}) == len(known)
    sources = {(m.exercise, ast.dump(ast.parse(mutation.changed(m)))) for m in known}
    assert len(sources) == len(known)  # no two are the same


@pytest.mark.parametrize("exercise", EXERCISES)
def test_mistakes_are_found(exercise: str) -> None:
    run, known = mutation.runner(exercise), mutation.mistakes(mutation.number_of(exercise))
    found = [run.outcome(m.name, mutation.changed(m)) for m in known if m.exercise == exercise]
    assert [(o.name, o.message) for o in found if not o.caught] == []


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("exercise", EXERCISES)
def test_generated_mutants_are_found(exercise: str) -> None:
    _, found = mutation.outcomes(exercise)
    assert [(o.name, o.line, o.message) for o in found if not o.caught] == []


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("exercise", EXERCISES)
def test_equivalent_mutants_pass(exercise: str) -> None:
    """Each id in EQUIVALENT is a mutant, has a reason, and is indeed not found."""
    same = mutation.equivalent(mutation.number_of(exercise))
    known = {m.id: m for m in mutation.mutants(exercise)}
    own = {name: why for name, why in same.items() if name.split(" ")[0] == exercise}
    assert set(own) <= set(known)
    assert all(own.values())
    run = mutation.runner(exercise)
    assert {name: m for name in own if (m := run.run(known[name].source))} == {}


@pytest.mark.parametrize("number", NUMBERS)
def test_there_are_enough_wrong_and_right_solutions(number: int) -> None:
    assert len(mutation.mistakes(number)) >= 18
    assert len(mutation.alternatives(number)) >= 20


@pytest.mark.parametrize("exercise", EXERCISES)
def test_alternatives_are_accepted(exercise: str) -> None:
    known = [
        a for a in mutation.alternatives(mutation.number_of(exercise)) if a.exercise == exercise
    ]
    assert len({a.name for a in known}) == len(known)
    messages = {a.name: mutation.runner(exercise).run(mutation.changed(a)) for a in known}
    assert {name: message for name, message in messages.items() if message} == {}


# Mistakes -----------------------------------------------------------------------------------------


def test_a_mistake_that_does_not_apply_is_an_error() -> None:
    first = NUMBERS[0]
    for mistake in (
        Mistake("renamed since", f"{first}.1", "old_name(", "new_name("),
        Mistake("occurs more often", f"{first}.1", "\n", ""),
        Mistake("another function", f"{first}.1", new="def something(): ..."),
        Mistake("no such class", f"{first}.1", new="def encode(): ...", within="Tokenizers"),
    ):
        with pytest.raises(ValueError, match=mistake.name):
            mutation.changed(mistake)


SOURCE = '''@op
def double(x):
    """Twice x."""
    return 2 * x


class Counter:
    def step(self):
        self.n += 1

    @property
    def bare(self):
        return self.n
'''


def test_a_change_replaces_whole_functions_and_keeps_decorators() -> None:
    new = "import math\n\ndef helper(x):\n    return x\n\ndef double(x):\n    return helper(x)\n"
    changed = Change("other code", "77.1", new=new).in_source(SOURCE)
    assert changed.startswith("import math\ndef helper(x):\n    return x\n@op\ndef double(x):\n")
    assert "2 * x" not in changed
    assert changed.endswith(SOURCE[SOURCE.index("\n\nclass") :])


def test_a_change_replaces_methods() -> None:
    new = "def bare(self):\n    if self:\n        return 0\n"
    changed = Change("other code", "77.1", new=new, within="Counter").in_source(SOURCE)
    end = "    @property\n    def bare(self):\n        if self:\n            return 0\n"
    assert changed == SOURCE.replace(SOURCE[SOURCE.index("    @property") :], end)


# Mutants ------------------------------------------------------------------------------------------


def ids(source: str, *written: str) -> list[str]:
    return [m.id for m in mutants.mutants("77.1", source, written)]


def test_mutants_change_only_what_the_student_writes() -> None:
    assert ids(SOURCE) == []
    assert ids(SOURCE, "Counter.step") == [
        '77.1 Counter.step: dropped in "self.n += 1"',
        '77.1 Counter.step: += -> = in "self.n += 1"',
        '77.1 Counter.step: += -> -= in "self.n += 1"',
        '77.1 Counter.step: 1 -> 2 in "self.n += 1"',
        '77.1 Counter.step: 1 -> 0 in "self.n += 1"',
    ]


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("return a * b", 'a / b'),
        ("return a * b", 'b'),
        ("return a - b", "(b) - (a)"),
        ("return a < b", "a <= b"),
        ("return a < b", "b < b"),
        ("return f(a, axis=-1)", "axis=-2"),
        ("return f(a, axis=-1)", "f(a)"),
        ("return f(a, b)", "f(b, a)"),
        ("return f(a, b)", "return (a)"),
        ("return (a, 1, b)", "(a, b, 1)"),
        ("return f(a, (2, 0, 1))", "(2, 1, 0)"),
        ("return a[1:b]", "1 : b + 1"),
        ("return a[1:b]", "2:b"),
        ("return a[1:b]", " : b"),
        ("if a and b: a = 1\nreturn a", "if (a): a = 1"),
        ("if a and b: a = 1\nreturn a", "if not (a and b): a = 1"),
        ("if a and b: a = 1\nreturn a", "pass"),
        ("a.x, a.y = b, 1", "_, a.y = b, 1"),
        ("a.x = b", "pass"),
        ("for c in a: b.append(c)", "for c in list(a)[1:]:"),
        ("while a: b = 1", "while False: b = 1"),
        ("raise ValueError(f'{a}')", "raise ValueError()"),
        ("return [c for c in a if b]", "if True"),
        ("return a if b else 0", "return (a)"),
        ("return not a", "return (a)"),
        ("with a: return b", "nullcontext(): return b"),
        ("return np.zeros(a)", "np.ones(a)"),
        ("return True", "False"),
    ],
)  # fmt: skip
def test_kinds_of_mutants(code: str, change: str) -> None:
    body = "\n".join(f"    {line}" for line in code.split("\n"))
    known = mutants.mutants("77.1", f"def f(a: int, b: int):\n{body}\n", ["f"])
    fitting = [m for m in known if change.replace(" ", "") in plain(m.source)]
    assert fitting, [m.source for m in known]


def plain(source: str) -> str:
    """A source text without blanks, also with the brackets around operands removed."""
    return source.replace(" ", "") + re.sub(r"\((\w)\)", r"\1", source).replace(" ", "")


def test_ids_do_not_depend_on_other_lines() -> None:
    before = ids(SOURCE, "double")
    longer = "import math\n\n" + SOURCE.replace("    return 2", "    x = 1\n    return 2")
    assert len(before) > 3
    assert ids(longer, "double")[-len(before) :] == before


def test_equal_changes_in_one_function_are_numbered() -> None:
    found = ids("def f(x):\n    g(-1)\n    g(-1)\n", "f")
    assert '77.1 f: dropped in "g(-1)"' in found
    assert '77.1 f: dropped in "g(-1)" #2' in found


# The runner ---------------------------------------------------------------------------------------


def changed_loop(new: str) -> Any:
    return mutation.runner("10.4").run(f"def merge_pair(ids, pair, merged):\n{new}\n")


def test_endless_loops_are_cut_off() -> None:
    assert "EndlessLoopError" in changed_loop("    while True:\n        pass")
    assert "EndlessLoopError" in changed_loop(
        "    i = 0\n    while i < len(ids): continue\n    return ids"
    )


def test_a_mutant_cannot_fill_the_memory() -> None:
    require_limit = Path("/proc/self/statm")
    if not require_limit.exists():
        pytest.skip("the limit of memory is for Linux")
    message = changed_loop("    result = [0]\n    for _ in range(60): result = result + result\n")
    assert "MemoryError" in message


def test_a_warning_is_not_an_error_as_in_a_notebook() -> None:
    solution = mutation.runner("10.4").solution
    warning = "    import warnings\n    warnings.warn('careful')\n    result = []"
    assert mutation.runner("10.4").run(solution.replace("    result = []", warning)) is None


def test_a_run_leaves_nothing_behind() -> None:
    run = mutation.runner("10.4")
    before = dict(run.names)
    assert run.run("left = 1\n" + run.solution) is None
    assert run.names == before


@pytest.mark.parametrize("number", NUMBERS)
def test_names_that_exercises_use_are_defined(number: int) -> None:
    """All names that a definition uses are defined in the setup or in an earlier exercise."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for kind, exercise, source in mutation.programs(number):
        if kind in ("setup", "given"):
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
