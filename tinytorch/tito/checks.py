"""Assertions for the inline tests of lessons, with failure messages written for students.

>>> from tinytorch import create_causal_mask
>>> from tinytorch.tito.checks import Exercise
>>> with Exercise("12.1", "create_causal_mask") as check:
...     check.equal(create_causal_mask(2), [[True, False], [True, True]],
...                 "the mask of two tokens", cause="a token attends to itself too: use >=, not >")
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
    """An exercise is blank or wrong; the message names it and the likely cause."""


class Exercise:
    """Context manager for the checks of one exercise.

    Every error of the tested code is reported as an `ExerciseError` that names the exercise. On
    success, the number of passed checks is printed; it is an error if nothing was checked.

    Args:
        number: number of the exercise, "12.1".
        name: name of the function or class that the student writes, "create_causal_mask".
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
            return  # already complete, or not an error of the code (Ctrl-C)
        elif type(error) is NotImplementedError:  # Jupyter's error for input() is a subclass
            reason = str(error) or "its body raises NotImplementedError"
            raise ExerciseError(f"{self.title}: still blank ({reason})") from None
        else:
            raise ExerciseError(f"{self.title}: {_describe(error)}") from error

    def equal(self, got: Any, expected: Any, what: str, cause: str = "") -> None:
        """Check that `got` equals `expected`; arrays and tensors are compared as lists.

        Args:
            got: the result, or a function without arguments that returns it. An error raised by
                the function is reported as its result.
            expected: numbers, text, lists, arrays or tensors.
            what: description of the result, "the mask of two tokens".
            cause: the most likely mistake.
        """
        if isinstance(got, FunctionType):
            try:
                got = got()
            except NotImplementedError:
                raise
            except Exception as error:
                self.fail(what, _format(expected), f"{type(error).__name__}: {error}", cause)
        if _as_lists(got) != _as_lists(expected):
            self.fail(what, _format(expected), _format(got), cause)
        self.passed += 1

    def close(
        self, got: Any, expected: Any, what: str, cause: str = "", tolerance: float = 1e-5
    ) -> None:
        """Check that `got` has the shape of `expected`, and its values up to `tolerance`."""
        mine, wanted = _as_array(got), _as_array(expected)
        if mine is None or wanted is None:
            self.fail(what, _format(expected), _format(got), cause)
        elif mine.shape != wanted.shape:
            self.fail(f"the shape of {what}", _format(wanted.shape), _format(mine.shape), cause)
        elif not np.allclose(mine, wanted, rtol=tolerance, atol=tolerance):
            self.fail(what, _format(wanted), _format(mine), cause)
        self.passed += 1

    def true(self, condition: Any, what: str, cause: str = "") -> None:
        """Check that `condition` holds; `what` describes it, as in "every row sums to 1"."""
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
        """Check that `call()` raises `error`.

        Args:
            error: the expected type.
            call: a function without arguments.
            what: description of the invalid input, as in "an unknown activation".
            cause: the most likely mistake.
            message: text that the error message must contain.
        """
        try:
            got = call()
        except NotImplementedError:
            raise
        except error as expected_error:
            if message not in str(expected_error):
                expected = f"a {error.__name__} whose message contains {message!r}"
                self.fail(
                    what, expected, f"{type(expected_error).__name__}: {expected_error}", cause
                )
            self.passed += 1
        except Exception as other:
            self.fail(what, f"a {error.__name__}", f"{type(other).__name__}: {other}", cause)
        else:
            self.fail(what, f"a {error.__name__}", f"no error, but {_format(got)}", cause)

    def gradient(
        self,
        function: Callable[..., Any],
        *inputs: Tensor,
        what: str,
        cause: str = "",
        tolerance: float = 1e-5,
    ) -> None:
        """Compare the gradients of sum(function(*inputs) * weights) with finite differences.

        Args:
            function: function of tensors that returns a tensor.
            inputs: float64 leaves that require a gradient.
            what: name of the function, as in "attention_weights".
            cause: the most likely mistake.
            tolerance: relative to the largest gradient.
        """
        for x in inputs:
            x.zero_grad()
        output = function(*inputs)
        weights = np.cos(np.arange(output.size)).reshape(output.shape)
        if not output.requires_grad:
            self.fail(f"the gradient of {what}", "an output that requires a gradient",
                      "one that does not: the computation left the graph", cause)  # fmt: skip
        output.backward(Tensor(weights, dtype=output.dtype, backend=output.backend))
        for position, x in enumerate(inputs):
            name = f"the gradient of {what} with respect to input {position + 1}"
            if x.grad is None:
                self.fail(name, "a gradient", "None: no gradient was computed", cause)
            wanted = _numeric_gradient(function, inputs, position, weights)
            scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
            self.close(x.grad.numpy() / scale, wanted / scale, name, cause, tolerance)

    def fail(self, what: str, expected: str, got: str, cause: str = "") -> NoReturn:
        """Raise `ExerciseError` with expected and actual values and the likely cause."""
        lines = [f"{self.title}: {what}", f"  expected: {expected}", f"  got: {got}"]
        if cause:
            lines.append(f"  likely cause: {cause}")
        raise ExerciseError("\n".join(lines))


def _numeric_gradient(
    function: Callable[..., Any], inputs: tuple[Tensor, ...], position: int, weights: Any
) -> Any:
    """Return the gradient with respect to one input, by central differences."""
    step = 1e-5
    base = inputs[position].numpy().copy()
    gradient = np.zeros_like(base)
    for index in np.ndindex(base.shape):
        values = []
        for sign in (1, -1):
            moved = base.copy()
            moved[index] += sign * step
            arguments = [Tensor(moved) if i == position else x for i, x in enumerate(inputs)]
            values.append(float((function(*arguments).numpy() * weights).sum()))
        gradient[index] = (values[0] - values[1]) / (2 * step)
    return gradient


def _as_lists(value: Any) -> Any:
    """Convert arrays, tensors and tuples to lists, also nested ones, for comparison by ==."""
    if isinstance(value, Variable | np.ndarray | np.generic):
        return value.tolist()  # type: ignore[union-attr]
    if isinstance(value, list | tuple):
        return [_as_lists(v) for v in value]
    return value


def _as_array(value: Any) -> Any:
    """Convert to a float64 array; None if the value is not numeric."""
    try:
        return np.asarray(value.numpy() if isinstance(value, Tensor) else value, dtype=np.float64)
    except (TypeError, ValueError):
        return None


def _format(value: Any) -> str:
    """Format a value on one line, or a small matrix on several."""
    if isinstance(value, Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        text = np.array2string(value, precision=4, suppress_small=True, threshold=40, separator=" ")
        return text.replace("\n", "\n            ")
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}..."


def _describe(error: Exception) -> str:
    """Format an unexpected error, with the line of the student's code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    line = next((f.line for f in reversed(frames) if "tinytorch" not in f.filename and f.line), "")
    location = f"\n  at: {line}" if line else ""
    return f"{type(error).__name__}: {error}{location}"
