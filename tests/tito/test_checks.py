"""The checks of inline tests: what passes, what fails, and the messages for students."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinytorch import Tensor
from tinytorch.tito.checks import Exercise, ExerciseError


def failure(check: Callable[[Exercise], Any]) -> str:
    """Message of a failing check."""
    with pytest.raises(ExerciseError) as caught, Exercise("12.1", "mask") as exercise:
        check(exercise)
    return str(caught.value)


def blank() -> None:
    raise NotImplementedError("exercise 12.1: mask")


def test_passed_checks_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    with Exercise("12.1", "mask") as check:
        check.equal((1, [Tensor([2.0])]), [1, [[2.0]]], "lists and tensors")
        check.equal(lambda: [1], [1], "what a function returns")
        check.close(Tensor([1.0, 2.0]), np.array([1.0, 2.000001]), "values")
        check.true(True, "the truth")
        check.raises(ValueError, lambda: int("x"), "not a number", message="invalid literal")
    assert capsys.readouterr().out == "Exercise 12.1, mask: 5 checks passed\n"


def test_a_failure_shows_exercise_values_and_cause() -> None:
    message = failure(lambda c: c.equal([1, 2], [1, 3], "the mask", cause="off by one"))
    assert message == (
        "Exercise 12.1, mask: the mask\n  expected: [1, 3]\n  got: [1, 2]\n"
        "  likely cause: off by one"
    )


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (lambda c: c.equal(lambda: [][0], 1, "x"), "expected: 1\n  got: IndexError: list index"),
        (lambda c: c.equal(lambda: 2, 1, "x"), "expected: 1\n  got: 2"),
        (lambda c: c.equal(blank, 1, "x"), "still blank"),
        (lambda c: c.close(Tensor([1.0]), [2.0], "x"), "expected: [2.]\n  got: [1.]"),
        (lambda c: c.close(Tensor([1.0]), [[1.0]], "x"), "the shape of x\n  expected: (1, 1)"),
        (lambda c: c.close("text", [1.0], "x"), "got: 'text'"),
        (lambda c: c.close(np.nan, 1.0, "x"), "got: nan"),
        (lambda c: c.true(False, "rows sum to 1"), "rows sum to 1\n  expected: true"),
        (lambda c: c.raises(ValueError, lambda: 3, "x"), "expected: a ValueError\n  got: no error"),
        (lambda c: c.raises(ValueError, lambda: [][0], "x"), "got: IndexError"),
        (lambda c: c.raises(ValueError, blank, "x"), "still blank"),
        (
            lambda c: c.raises(ValueError, lambda: int("x"), "x", message="odd"),
            "message contains 'odd'",
        ),
        (lambda c: blank(), "still blank (exercise 12.1: mask)"),
        (lambda c: [][0], "IndexError: list index out of range\n  at: "),
        (lambda c: None, "nothing was checked"),
    ],
)
def test_failure_messages(check: Any, expected: str) -> None:
    assert expected in failure(check)


def test_ctrl_c_passes_through() -> None:
    with pytest.raises(KeyboardInterrupt), Exercise("1", "a"):
        raise KeyboardInterrupt


def test_gradients_are_compared_with_finite_differences() -> None:
    x = Tensor([1.0, 2.0], True, dtype="float64")
    y = Tensor([3.0, 4.0], True, dtype="float64")
    with Exercise("1.1", "product") as check:
        check.gradient(lambda a, b: a * b, x, y, what="the product")
    wrong = failure(lambda c: c.gradient(lambda a, b: a * b.detach() + b, x, y, what="f"))
    assert "the gradient of f with respect to input 2" in wrong
    assert "left the graph" in failure(
        lambda c: c.gradient(lambda a: Tensor(a.numpy()), x, what="f")
    )
    assert "None: no gradient was computed" in failure(
        lambda c: c.gradient(lambda a, b: a * 1, x, y, what="f")
    )
