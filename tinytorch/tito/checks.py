"""Assertions for the inline tests of lessons, with failure messages written for students.

>>> from tinytorch import create_causal_mask
>>> from tinytorch.tito.checks import Exercise
>>> with Exercise("12.1", "create_causal_mask") as check:
...     check.equal(lambda: create_causal_mask(2), [[True, False], [True, True]],
...                 "the mask of two tokens", cause="a token attends to itself too: use >=, not >")
Exercise 12.1, create_causal_mask: 1 check passed
"""

import re
import sys
from collections.abc import Callable
from types import FunctionType, TracebackType
from typing import Any, NoReturn, Self

import numpy as np

from ..tensor import Tensor
from .frames import TestCell
from .values import difference, format_value, numbers, plain, same, show

FAILED = "__failed_exercises__"  # a notebook's variable: the names of each exercise that failed


class ExerciseError(AssertionError):
    """An exercise is blank or wrong; the message names it and the likely cause."""

    def _render_traceback_(self) -> list[str]:
        """Return what Jupyter displays: the message alone."""
        return str(self).split("\n")


class Exercise:
    """Context manager for the checks of one exercise.

    Every error of the tested code is reported as an `ExerciseError` that names the exercise. On
    success, the number of passed checks is printed; it is an error if nothing was checked.

    The result to check, `got`, is best passed as a function without arguments: an error that it
    raises is then reported as its result, together with the likely cause.

    Args:
        number: number of the exercise, "12.1".
        name: name of the function or class that the student writes, "create_causal_mask".
    """

    def __init__(self, number: str, name: str) -> None:
        self.number, self.name = number, name
        self.title = f"Exercise {number}, {name}"
        self.passed = 0

    def __enter__(self) -> Self:
        frame = sys._getframe(1)
        self._cell = TestCell(frame.f_code, frame.f_globals)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self.passed:
            checks = "1 check" if self.passed == 1 else f"{self.passed} checks"
            print(f"{self.title}: {checks} passed")
            self._failures().pop(self.number, None)
            return
        if error is not None and not isinstance(error, Exception):
            return  # not an error of the code (Ctrl-C)
        self._failures()[self.number] = self._cell.own(re.findall(r"\w+", self.name))
        if error is None:
            raise ExerciseError(f"{self.title}: nothing was checked")
        if not isinstance(error, ExerciseError):
            raise ExerciseError(self._explain(error)) from error

    def equal(self, got: Any, expected: Any, what: str, cause: str = "") -> None:
        """Check that `got` equals `expected`; lists, tuples, arrays and tensors by their elements.

        Only numbers, text, and collections of them can be equal. An object of any other class is
        equal only to itself, whatever its `__eq__` returns.

        Args:
            got: the result, or a function without arguments that returns it.
            expected: numbers, text, lists, dicts, sets, arrays or tensors, or a function without
                arguments that computes it with other code of the student.
            what: description of the result, "the mask of two tokens".
            cause: the most likely mistake.
        """
        wanted = plain(self._result(expected, "a value to compare with", what, cause))
        mine = plain(self._result(got, format_value(wanted), what, cause))
        if not same(mine, wanted):
            self._differ(wanted, mine, what, cause)
        self.passed += 1

    def close(
        self, got: Any, expected: Any, what: str, cause: str = "", tolerance: float = 1e-5
    ) -> None:
        """Check that `got` has the shape of `expected`, and its values up to `tolerance`."""
        self._close(got, expected, what, cause, tolerance, tolerance)

    def _close(
        self, got: Any, expected: Any, what: str, cause: str, relative: float, absolute: float
    ) -> None:
        def near(mine: Any, wanted: Any) -> bool:
            return np.allclose(mine, wanted, rtol=relative, atol=absolute)

        value = plain(self._result(expected, "a value to compare with", what, cause))
        wanted = numbers(value)
        if wanted is None:
            raise TypeError(f"{what}: expected values must be numbers, not {format_value(value)}")
        result = plain(self._result(got, format_value(wanted), what, cause))
        mine = numbers(result)
        if mine is None:
            self._differ(wanted, result, what, cause)
        elif mine.shape != wanted.shape:
            self._differ(wanted.shape, mine.shape, f"the shape of {what}", cause)
        elif not near(mine, wanted):
            self._differ(wanted, mine, what, cause, near)
        self.passed += 1

    def true(self, got: Any, what: str, cause: str = "") -> None:
        """Check that `got` is True; `what` describes it, as in "every row sums to 1"."""
        result = plain(self._result(got, "True", what, cause))
        if result is not True:
            self._differ(True, result, what, cause)
        self.passed += 1

    def call(
        self, function: Callable[[], Any], what: str, cause: str = "", count: int | None = None
    ) -> Any:
        """Return the result of `function()`, for several checks; an error of it is a failure.

        Args:
            function: a function without arguments.
            what: description of the result, as in "the output and the weights".
            cause: the most likely mistake.
            count: the number of results, if it must be a tuple or a list.
        """
        expected = "a result" if count is None else f"{count} results"
        result = self._result(function, expected, what, cause)
        if count is not None:
            results = plain(result)
            if type(results) not in (list, tuple) or len(results) != count:
                self.fail(what, expected, format_value(results), cause)
        return result

    def raises(
        self,
        error: type[Exception],
        function: Callable[[], Any],
        what: str,
        cause: str = "",
        message: str = "",
    ) -> None:
        """Check that `function()` raises `error`.

        Args:
            error: the expected type.
            function: a function without arguments.
            what: description of the invalid input, as in "an unknown activation".
            cause: the most likely mistake.
            message: text that the error message must contain.
        """
        expected = f"{_article(error)} {error.__name__}"
        try:
            got = function()
        except Exception as raised:
            self._check_written(raised)
            if not issubclass(type(raised), error):
                self.fail(what, expected, _describe(raised), cause, raised)
            if message not in _message(raised):
                expected += f" whose message contains {message!r}"
                self.fail(what, expected, _describe(raised), cause, raised)
            self.passed += 1
        else:
            self.fail(what, expected, f"no error, but {format_value(plain(got))}", cause)

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
        title = f"the gradient of {what}"
        for x in inputs:
            x.zero_grad()
        output = self._result(lambda: function(*inputs), "a tensor", what, cause)
        if not issubclass(type(output), Tensor):
            self.fail(what, "a tensor", format_value(plain(output)), cause)
        if not output.requires_grad:
            self.fail(title, "an output that requires a gradient",
                      "one that does not: the computation left the graph", cause)  # fmt: skip
        weights = np.cos(np.arange(output.size)).reshape(output.shape)
        given = Tensor(weights, dtype=output.dtype, backend=output.backend)
        self._result(lambda: output.backward(given), "gradients", title, cause)
        for position, x in enumerate(inputs):
            name = f"{title} with respect to input {position + 1}"
            if x.grad is None:
                self.fail(name, "a gradient", "None: no gradient was computed", cause)
            wanted = self._result(
                lambda i=position: _numeric_gradient(function, inputs, i, weights),
                "a tensor", what, cause,
            )  # fmt: skip
            scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
            self._close(x.grad, wanted, name, cause, tolerance, tolerance * scale)

    def fail(
        self, what: str, expected: str, got: str, cause: str = "", error: Exception | None = None
    ) -> NoReturn:
        """Raise `ExerciseError` with expected and actual values, and the likely cause.

        Args:
            what: description of the result.
            expected, got: what it is, as text. Further lines are aligned with the first.
            cause: the most likely mistake.
            error: what the student's code raised; the message shows the line.
        """
        entries = [("expected:", expected), ("got:", got), ("likely cause:", cause)]
        text = f"{self.title}: {what}" + "".join(_entry(*e) for e in entries)
        raise ExerciseError(text + self._context(error)) from None

    def _differ(
        self,
        wanted: Any,
        mine: Any,
        what: str,
        cause: str,
        equal: Callable[[Any, Any], bool] = same,
    ) -> NoReturn:
        expected, got = show(wanted, mine)
        first = difference(wanted, mine, equal)
        self.fail(what, expected, got + (f"\nfirst difference {first}" if first else ""), cause)

    def _result(self, got: Any, expected: str, what: str, cause: str) -> Any:
        """Return a result; call it if it is a function."""
        if not isinstance(got, FunctionType):
            return got
        try:
            return got()
        except Exception as error:
            self._check_written(error)
            self.fail(what, expected, _describe(error), cause, error)

    def _check_written(self, error: Exception) -> None:
        """Re-raise the error of a blank exercise, or of a check within a check.

        Jupyter's error for `input()` is a subclass of NotImplementedError.
        """
        if isinstance(error, ExerciseError) or type(error) is NotImplementedError:
            raise error

    def _explain(self, error: Exception) -> str:
        """Return the message for an error that was raised outside of a check."""
        if type(error) is not NotImplementedError:
            return f"{self.title}: {_describe(error)}{self._context(error)}"
        reason = str(error) or "its body raises NotImplementedError"
        other = re.match(r"exercise ([\d.]+): ([\w.]+)", reason)
        if other is None or other[1] == self.number:
            return f"{self.title}: still blank ({reason})"
        return (
            f"{self.title}: it uses {other[2]}, which is still blank\n"
            f"  complete first: exercise {other[1]}"
        )

    def _context(self, error: Exception | None) -> str:
        """Return the place of an error, and the earlier exercises that failed and are used here."""
        place = _entry("at:", self._cell.place(error)) if error else ""
        uses = self._cell.uses() if self._failures() else set()
        earlier = [n for n, own in self._failures().items() if _order(n) < _order(self.number)
                   and own & uses]  # fmt: skip
        if not earlier:
            return place
        which = " and ".join(sorted(earlier, key=_order))
        one = len(earlier) == 1
        failed = "which has failed and is" if one else "which have failed and are"
        return f"{place}\n  fix first: exercise{'' if one else 's'} {which}, {failed} used here"

    def _failures(self) -> dict[str, set[str]]:
        failures: dict[str, set[str]] = self._cell.names.setdefault(FAILED, {})
        return failures


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


def _entry(label: str, text: str) -> str:
    """Format an entry of a message, "" without a text; all lines of values start in one column."""
    if not text:
        return ""
    label = f"\n  {label:<9} "
    return label + text.replace("\n", "\n" + " " * (len(label) - 1))


def _order(number: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", number))


def _article(error: type[Exception]) -> str:
    return "an" if error.__name__[0] in "AEIOU" else "a"


def _describe(error: Exception) -> str:
    """Format the type of an error and the start of its message."""
    message = _message(error)
    message = message if len(message) <= 300 else f"{message[:300]}..."
    return f"{type(error).__name__}: {message}".removesuffix(": ")


def _message(error: Exception) -> str:
    try:
        return str(plain(str(error)))
    except Exception:  # of a student's class
        return "..."
