"""What a lesson's inline tests are written with: checks whose failures tell a student what to do.

>>> with Exercise("12.1", "create_causal_mask") as check:
...     check.equal(create_causal_mask(2).tolist(), [[True, False], [True, True]],
...                 "the mask of two tokens", cause="a token sees itself too: use >=, not >")
Exercise 12.1, create_causal_mask: 1 check passed
"""

import traceback
from collections.abc import Callable
from types import FunctionType, TracebackType
from typing import Any, NoReturn, Self

import numpy as np

from ..autograd import Variable
from ..tensor import Tensor


class ExerciseError(AssertionError):
    """An exercise is blank or wrong; the message names it and says what to look at."""


class Exercise:
    """The checks of one exercise.

    Within it every error of the code under test becomes an `ExerciseError` that names the
    exercise. At its end it prints how many checks passed; that there were none is an error.

    Args:
        number: as in the lesson, "12.1".
        name: what the student writes, "create_causal_mask".
    """

    def __init__(self, number: str, name: str) -> None:
        self.title = f"Exercise {number}, {name}"
        self.passed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            if not self.passed:
                raise ExerciseError(f"{self.title}: nothing was checked")
            checks = "1 check" if self.passed == 1 else f"{self.passed} checks"
            print(f"{self.title}: {checks} passed")
        elif isinstance(error, ExerciseError) or not isinstance(error, Exception):
            return  # it says all that there is to say; or Ctrl-C
        elif isinstance(error, NotImplementedError):
            reason = str(error) or "its body still raises NotImplementedError"
            raise ExerciseError(f"{self.title}: still blank ({reason})") from None
        else:
            raise ExerciseError(f"{self.title}: {_where(error)}") from error

    def equal(self, got: Any, expected: Any, what: str, cause: str = "") -> None:
        """`got` must be `expected`: numbers, text, lists, shapes; arrays and tensors by value.

        Where a mistake would raise an error, `got` may be a function without arguments: then the
        error is reported as what came instead.
        """
        if isinstance(got, FunctionType):
            try:
                got = got()
            except NotImplementedError:
                raise
            except Exception as error:
                self.fail(what, _show(expected), f"{type(error).__name__}: {error}", cause)
        if _plain(got) != _plain(expected):
            self.fail(what, _show(expected), _show(got), cause)
        self.passed += 1

    def close(
        self, got: Any, expected: Any, what: str, cause: str = "", tolerance: float = 1e-5
    ) -> None:
        """`got` must have the shape of `expected`, and its values but for `tolerance`."""
        mine, wanted = _array(got), _array(expected)
        if mine is None or wanted is None:
            self.fail(what, _show(expected), _show(got), cause)
        elif mine.shape != wanted.shape:
            self.fail(f"the shape of {what}", _show(wanted.shape), _show(mine.shape), cause)
        elif not np.allclose(mine, wanted, rtol=tolerance, atol=tolerance):
            self.fail(what, _show(wanted), _show(mine), cause)
        self.passed += 1

    def true(self, condition: Any, what: str, cause: str = "") -> None:
        """`condition` must hold; `what` states it, as in "every row sums to 1"."""
        if not bool(condition):
            self.fail(what, "true", "false", cause)
        self.passed += 1

    def raises(
        self,
        error: type[Exception],
        call: Callable[[], Any],
        what: str,
        cause: str = "",
        message: str = "",
    ) -> None:
        """`call()`, in which `what` is wrong, must raise `error`, with `message` in its text."""
        try:
            got = call()
        except NotImplementedError:
            raise
        except error as right:
            if message not in str(right):
                expected = f"a {error.__name__} that says {message!r}"
                self.fail(what, expected, f"{type(right).__name__}: {right}", cause)
            self.passed += 1
        except Exception as other:
            self.fail(what, f"a {error.__name__}", f"{type(other).__name__}: {other}", cause)
        else:
            self.fail(what, f"a {error.__name__}", f"no error, but {_show(got)}", cause)

    def gradient(
        self,
        function: Callable[..., Any],
        *inputs: Tensor,
        what: str,
        cause: str = "",
        tolerance: float = 1e-5,
    ) -> None:
        """The gradients of sum(function(*inputs) * weights) must be those of finite differences.

        Args:
            function: of the tensors, to a tensor.
            inputs: float64 leaves that require a gradient.
            what: is differentiated, as in "attention_weights".
            cause: the likeliest mistake.
            tolerance: relative to the largest gradient.
        """
        for x in inputs:
            x.zero_grad()
        output = function(*inputs)
        weights = np.cos(np.arange(output.size)).reshape(output.shape)
        if not output.requires_grad:
            self.fail(f"the gradient of {what}", "an output that requires a gradient",
                      "one that does not: the tape was lost on the way", cause)  # fmt: skip
        output.backward(Tensor(weights, dtype=output.dtype, backend=output.backend))
        for position, x in enumerate(inputs):
            name = f"the gradient of {what} with respect to input {position + 1}"
            if x.grad is None:
                self.fail(name, "a gradient", "None: nothing arrived", cause)
            wanted = _numeric_gradient(function, inputs, position, weights)
            scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
            self.close(x.grad.numpy() / scale, wanted / scale, name, cause, tolerance)

    def fail(self, what: str, expected: str, got: str, cause: str = "") -> NoReturn:
        """Raise `ExerciseError` with all that a student needs."""
        lines = [f"{self.title}: {what}", f"  expected: {expected}", f"  got: {got}"]
        if cause:
            lines.append(f"  likely cause: {cause}")
        raise ExerciseError("\n".join(lines))


def _numeric_gradient(
    function: Callable[..., Any], inputs: tuple[Tensor, ...], position: int, weights: Any
) -> Any:
    """The derivative for each element of one input, by central differences."""
    step = 1e-5
    base = inputs[position].numpy().copy()
    gradient = np.zeros_like(base)
    for place in np.ndindex(base.shape):
        ends = []
        for sign in (1, -1):
            moved = base.copy()
            moved[place] += sign * step
            arguments = [Tensor(moved) if i == position else x for i, x in enumerate(inputs)]
            ends.append(float((function(*arguments).numpy() * weights).sum()))
        gradient[place] = (ends[0] - ends[1]) / (2 * step)
    return gradient


def _plain(value: Any) -> Any:
    """Arrays and tensors as lists, everything within lists and tuples too, to compare by ==."""
    if isinstance(value, Variable | np.ndarray | np.generic):
        return value.tolist()  # type: ignore[union-attr]
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _array(value: Any) -> Any:
    """A float64 array, or None for what is not made of numbers."""
    try:
        return np.asarray(value.numpy() if isinstance(value, Tensor) else value, dtype=np.float64)
    except (TypeError, ValueError):
        return None


def _show(value: Any) -> str:
    """A value on one line, or on a few for a small matrix."""
    if isinstance(value, Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        text = np.array2string(value, precision=4, suppress_small=True, threshold=40, separator=" ")
        return text.replace("\n", "\n            ")
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}..."


def _where(error: Exception) -> str:
    """An unexpected error, with the line of the student's code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    line = next((f.line for f in reversed(frames) if "tinytorch" not in f.filename and f.line), "")
    place = f"\n  at: {line}" if line else ""
    return f"{type(error).__name__}: {error}{place}"
