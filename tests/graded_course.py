"""A checkout with the real package and one lesson of three exercises, to grade."""

import shutil
from pathlib import Path
from typing import Any

import nbformat
from example_lesson import make

from tinytorch.tito import weave
from tinytorch.tito.grading.sandbox import Events, Sandbox
from tinytorch.tito.lesson import Lesson

ROOT = Path(__file__).parents[1]

MODULE = '''"""A module."""

import math

import numpy as np

from .tensor import Tensor


def double(x):
    """Twice x."""
    return 2 * x


class Counter:
    """Counts."""

    def __init__(self):
        self.n = 0

    def step(self, by=1):
        """Add `by`, and return the sum."""
        self.n += by
        return self.n


def mean(values):
    """The mean of an array."""
    return np.asarray(values).sum() / len(values)
'''

SOURCE = """# %% setup=true
import math

import numpy as np

from tinytorch.tensor import Tensor
from tinytorch.tito.checks import Exercise

# %% exercise="77.1" points=2
from tinytorch.things import double

# double:
#   What is two times x?

# %% test="77.1" points=2
with Exercise("77.1", "double") as check:
    check.equal(lambda: double(3), 6, "twice 3", cause="2 * x")
    check.close(lambda: double(Tensor([1.5])), [3.0], "twice a tensor", cause="2 * x")

# %% exercise="77.2" points=3
from tinytorch.things import Counter

# Counter.step:
#   Add first.

# %% test="77.2" points=3
with Exercise("77.2", "Counter") as check:
    counter = Counter()
    check.equal(lambda: [counter.step(), counter.step(4)], [1, 5], "the sums", cause="add by")

# %% exercise="77.3" points=5
from tinytorch.things import mean

# mean:
#   The sum by the number.

# %% test="77.3" points=5
with Exercise("77.3", "mean") as check:
    check.close(lambda: mean(np.array([1.0, 2.0, 6.0])), 3.0, "the mean", cause="sum / number")
"""

TESTS = """
from tinytorch.things import Counter, double, mean


def test_the_double_of_a_mean():
    assert double(mean([1, 2])) == 3.0


def test_a_negative_number(backend):
    assert double(-7) == -14


def test_counting():
    assert Counter().step(9) == 9
"""


def make_course(root: Path) -> Lesson:
    """Create the checkout."""
    for name in ("tinytorch", "backends"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    init = (root / "tinytorch" / "__init__.py").read_bytes()
    lesson = make(root, SOURCE, MODULE)
    (root / "tinytorch" / "__init__.py").write_bytes(init)
    tests = root / "tests" / "77_things"
    tests.mkdir(parents=True)
    (tests / "test_things_integration.py").write_text(TESTS)
    shutil.copyfile(ROOT / "tests" / "conftest.py", root / "tests" / "conftest.py")
    return lesson


def submission(lesson: Lesson, exercise: str = "", code: str = "", added: str = "") -> Any:
    """A notebook with the solutions, except for one exercise; and with one more cell."""
    notebook = weave.solution(lesson)
    for cell in notebook.cells:
        mark = cell.metadata.get("tinytorch", {})
        if mark.get("kind") == "exercise" and mark.exercise == exercise:
            cell.source = code
    if added:
        notebook.cells.insert(0, nbformat.v4.new_code_cell(added))
    return notebook


class Passing(Sandbox):
    """Runs nothing: all tests pass."""

    def run(self, job: dict[str, Any], seconds: float) -> Events:
        ended = dict.fromkeys(["test", *(number for number, _ in job["inline"])])
        return Events(ended, ["test"], loaded=True)
