"""The package in Pyodide gives the same results as here."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import run_python

TRAINING = Path(__file__).with_name("training.py").read_text(encoding="utf-8")

EXERCISE = """
import json

from tinytorch.browser.session import Session

outputs = []
session = Session(outputs.append)
cells = CELLS
print(json.dumps([session.run(cell) for cell in cells]))
print(json.dumps([output["text"] for output in outputs]))
"""


def assert_native(found: str) -> None:
    native, result = json.loads(run_python(TRAINING)), json.loads(found)
    np.testing.assert_allclose(result["losses"], native["losses"], rtol=2e-6)
    assert result["losses"][-1] < 0.9 * result["losses"][0]
    for name in ("generated", "dtypes", "repeated", "unsigned"):
        assert result[name] == native[name], name


@pytest.mark.slow
def test_training_in_pyodide_gives_native_losses(in_pyodide: Callable[..., str]) -> None:
    found = in_pyodide(TRAINING, "numpy,openblas")
    assert_native(found)
    assert json.loads(found)["openblas"]


@pytest.mark.slow
def test_an_inline_test_fails_and_passes_without_openblas_too(
    in_pyodide: Callable[..., str],
) -> None:
    from tinytorch.tito.lesson import find_root, load

    lesson = load(12, find_root(Path(__file__)))
    cells = {(c.kind, c.exercise): c for c in lesson.cells}
    right = lesson.solution(cells["exercise", "12.1"])
    test = cells["test", "12.1"].source
    wrong = right.replace(">=", ">")
    assert wrong != right
    sources = [lesson.cells[1].source, wrong, test, right, test]
    program = TRAINING + EXERCISE.replace("CELLS", repr(sources))
    losses, *_, ran, printed = in_pyodide(program, "numpy").splitlines()
    assert_native(losses)
    assert not json.loads(losses)["openblas"]
    assert json.loads(ran) == [True, True, False, True, True]
    (message,) = json.loads(printed)
    assert message.startswith("Exercise 12.1, create_causal_mask: the mask of 3 tokens\n")
    assert "a token sees itself and those before it" in message


ALL = """
import json, time
from tinytorch.browser.session import Session

for number, cells in LESSONS:
    outputs = []
    session = Session(outputs.append)
    for exercise, source in cells:
        start = time.perf_counter()
        passed = session.run(source)
        seconds = time.perf_counter() - start
        print(json.dumps([number, exercise, passed, round(seconds, 2), outputs[-1:]]))
        outputs.clear()
"""


@pytest.mark.nightly
def test_every_exercise_passes_in_pyodide(in_pyodide: Callable[..., str]) -> None:
    """With the solutions; prints the seconds of each test that takes more than one."""
    from tinytorch.tito.lesson import find_root, lessons, load

    course = []
    for lesson in (load(number, find_root(Path(__file__))) for number in lessons(find_root())):
        cells = [c for c in lesson.cells if c.kind in ("setup", "given", "exercise", "test")]
        parts = [(c.exercise if c.kind == "test" else "", lesson.code(c)) for c in cells]
        course.append((lesson.number, parts))
    found = [json.loads(line) for line in in_pyodide(ALL.replace("LESSONS", repr(course)))
             .splitlines() if line.startswith("[")]  # fmt: skip
    for _, exercise, _, seconds, _ in found:
        if exercise and seconds > 1:
            print(exercise, seconds)
    assert not [(exercise, outputs) for _, exercise, passed, _, outputs in found if not passed]
    assert len({exercise for _, exercise, *_ in found if exercise}) > 100
