"""The checks of inline tests: what passes, what fails, and the messages for students."""

import ast
import linecache
from collections import Counter
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
        check.close(lambda: [1.0], [1.0], "what a function returns")
        check.true(True, "the truth")
        check.true(lambda: np.bool_(True), "what a function returns")
        assert check.call(lambda: (1, 2), "two results", count=2) == (1, 2)
        check.raises(ValueError, lambda: int("x"), "not a number", message="invalid literal")
    assert capsys.readouterr().out == "Exercise 12.1, mask: 7 checks passed\n"


def test_a_failure_shows_exercise_values_and_cause() -> None:
    message = failure(lambda c: c.equal([1, 2], [1, 3], "the mask", cause="off by one"))
    assert message == (
        "Exercise 12.1, mask: the mask\n  expected: [1, 3]\n  got:      [1, 2]\n"
        "  likely cause: off by one"
    )


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (
            lambda c: c.equal(lambda: [][0], 1, "x"),
            "expected: 1\n  got:      IndexError: list index",
        ),
        (lambda c: c.equal(lambda: 2, 1, "x"), "expected: 1\n  got:      2"),
        (lambda c: c.equal(blank, 1, "x"), "still blank"),
        (lambda c: c.close(Tensor([1.0]), [2.0], "x"), "expected: [2.]\n  got:      [1.]"),
        (lambda c: c.close(Tensor([1.0]), [[1.0]], "x"), "the shape of x\n  expected: (1, 1)"),
        (lambda c: c.close("text", [1.0], "x"), "got:      'text'"),
        (lambda c: c.close(np.nan, 1.0, "x"), "got:      nan"),
        (
            lambda c: c.close(1, lambda: [][0], "x", "y"),
            "x\n  expected: a value to compare with\n  got:  ",
        ),
        (
            lambda c: c.equal(1, lambda: [][0], "x", "y"),
            "x\n  expected: a value to compare with\n  got:  ",
        ),
        (lambda c: c.equal(1, lambda: 2, "x"), "expected: 2\n  got:      1"),
        (lambda c: c.close("1.0", 1.0, "x"), "got:      '1.0'"),
        (lambda c: c.close(lambda: [][0], [2.0], "x"), "expected: [2.]\n  got:      IndexError"),
        (lambda c: c.close(blank, 1, "x"), "still blank"),
        (lambda c: c.true(lambda: [][0], "x"), "expected: True\n  got:      IndexError: list"),
        (lambda c: c.true(1, "x"), "expected: True\n  got:      1"),
        (lambda c: c.true(blank, "x"), "still blank"),
        (
            lambda c: c.call(lambda: [][0], "x", "y"),
            "x\n  expected: a result\n  got:      IndexError: "
            "list index out of range\n  likely cause: y",
        ),
        (
            lambda c: c.call(lambda: (1, 2), "x", "y", 3),
            "expected: 3 results\n  got:      (1, 2)\n",
        ),
        (lambda c: c.call(lambda: None, "x", "y", 2), "expected: 2 results\n  got:      None\n"),
        (lambda c: c.call(blank, "x"), "still blank"),
        (
            lambda c: c.true(False, "rows sum to 1"),
            "rows sum to 1\n  expected: True\n  got:      False",
        ),
        (
            lambda c: c.raises(ValueError, lambda: 3, "x"),
            "expected: a ValueError\n  got:      no error",
        ),
        (lambda c: c.raises(ValueError, lambda: [][0], "x"), "got:      IndexError"),
        (lambda c: c.raises(ValueError, blank, "x"), "still blank"),
        (
            lambda c: c.raises(ValueError, lambda: int("x"), "x", message="odd"),
            "message contains 'odd'",
        ),
        (lambda c: blank(), "still blank (exercise 12.1: mask)"),
        (lambda c: [][0], "Exercise 12.1, mask: IndexError: list index out of range"),
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


def test_large_gradients_are_shown_unscaled() -> None:
    def wrong(x: Tensor) -> Tensor:
        return 100 * x + (50 * x).detach()

    message = failure(lambda c: c.gradient(wrong, Tensor([1.0], True, dtype="float64"), what="f"))
    assert "expected: [150.]\n  got:      [100.]" in message


class Liar:
    """An object that claims to equal everything, and to be whatever is asked for."""

    __class__ = list  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]
    __repr__ = lambda self: "[1, 2]"  # noqa: E731
    __bool__ = lambda self: True  # noqa: E731
    tolist = numpy = __iter__ = lambda self: [1, 2]
    __array__ = lambda self, *_, **__: np.array([1, 2])  # noqa: E731
    __len__ = lambda self: 2  # noqa: E731
    __getitem__ = lambda self, i: [1, 2][i]  # noqa: E731


class LyingList(list):  # type: ignore[type-arg]
    __eq__ = lambda self, other: True  # noqa: E731
    __ne__ = lambda self, other: False  # noqa: E731
    __hash__ = None  # type: ignore[assignment]
    __iter__ = lambda self: iter([1, 2])  # noqa: E731
    __len__ = lambda self: 2  # noqa: E731
    __getitem__ = lambda self, i: [1, 2][i]  # noqa: E731
    __repr__ = lambda self: "[1, 2]"  # noqa: E731


class LyingArray(np.ndarray):  # type: ignore[type-arg]
    __eq__ = lambda self, other: True  # type: ignore[assignment]  # noqa: E731
    __array__ = tolist = astype = lambda self, *_, **__: np.array([1, 2])  # type: ignore


class LyingInt(int):
    __eq__ = lambda self, other: True  # noqa: E731
    __hash__ = None  # type: ignore[assignment]
    __int__ = __index__ = lambda self: 1


class LyingText(str):
    __eq__ = lambda self, other: True  # noqa: E731
    __hash__ = str.__hash__
    __str__ = lambda self: "a"  # noqa: E731
    __contains__ = lambda self, part: True  # noqa: E731


LIARS = [Liar(), LyingList([9]), np.array([9, 9]).view(LyingArray), [LyingInt(9), LyingInt(9)]]


@pytest.mark.parametrize("liar", LIARS, ids=["object", "list", "array", "int"])
def test_objects_that_claim_to_be_equal_are_not(liar: Any) -> None:
    for value, expected in ((liar, [1, 2]), ([liar], [[1, 2]]), ({"a": liar}, {"a": [1, 2]})):
        message = failure(lambda c, v=value, e=expected: c.equal(lambda: v, e, "x"))
        assert "x\n  expected: " in message
    assert "x\n  expected: " in failure(lambda c: c.close(lambda: liar, [1, 2], "x"))
    assert "x\n  expected: True" in failure(lambda c: c.true(lambda: liar, "x"))
    two = failure(lambda c: c.call(lambda: liar, "x", count=3))
    assert "expected: 3 results" in two


def test_numbers_that_claim_to_be_others_are_not() -> None:
    assert "got:      9" in failure(lambda c: c.equal(lambda: LyingInt(9), 1, "x"))
    assert "got:      9" in failure(lambda c: c.close(lambda: LyingInt(9), 1, "x"))


def test_texts_and_keys_that_claim_to_be_equal_are_not() -> None:
    liar = LyingText("b")
    assert "got:      'b'" in failure(lambda c: c.equal(lambda: liar, "a", "x"))
    assert "got:      {'b': 1}" in failure(lambda c: c.equal(lambda: {liar: 1}, {"a": 1}, "x"))


class LyingError(Exception):
    __class__ = ValueError  # type: ignore[assignment]
    __str__ = lambda self: LyingText("anything")  # noqa: E731


class LyingMessageError(ValueError):
    __str__ = lambda self: LyingText("anything")  # noqa: E731


class UnprintableError(ValueError):
    def __str__(self) -> str:
        raise TypeError


def throw(error: Exception) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


def test_errors_that_claim_to_be_expected_are_not() -> None:
    wrong = failure(lambda c: c.raises(ValueError, throw(LyingError()), "x"))
    assert "expected: a ValueError\n  got:      LyingError: anything" in wrong
    wrong = failure(lambda c: c.raises(ValueError, throw(LyingMessageError()), "x", message="7"))
    assert "expected: a ValueError whose message contains '7'" in wrong
    assert "got:      UnprintableError: ..." in failure(
        lambda c: c.equal(throw(UnprintableError()), 1, "x")
    )
    with Exercise("1", "a") as check:
        check.raises(ValueError, throw(UnprintableError()), "x")
        check.raises(ArithmeticError, lambda: 1 / 0, "x", message="zero")


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        ((1, (2.0, True)), [1, [2, 1]]),
        ({(1, 2): [3]}, {(1, 2): (3,)}),
        (Counter("aab"), {"a": 2, "b": 1}),
        ({1, 2}, frozenset([2, 1])),
        (np.float32(0.5), 0.5),
        (np.array(["a"]), ["a"]),
        (np.array([[1], None], dtype=object), [[1], None]),
        (np.dtype("float32"), np.float32),
        (np.int64, "int64"),
        (bytearray(b"ab"), b"ab"),
        (range(3), range(3)),
        (None, None),
        (dict, dict),
    ],
    ids=str,
)
def test_equal_values_of_different_types_pass(got: Any, expected: Any) -> None:
    with Exercise("1", "a") as check:
        check.equal(got, expected, "x")
        check.equal([got], [expected], "x")


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        ([1, 2], [1, 2, 3]), ([1, 2, 3], [1, 2]), ([[1, 2]], [1, 2]), ({1: 2}, {1: 3}),
        ({1: 2}, {2: 2}), ({1: 2}, {}), ({1}, {1, 2}), ("1", 1), (None, 0), (b"a", "a"),
        (np.zeros((2, 0)), np.zeros((3, 0))), (np.nan, np.nan), (int, float),
        pytest.param(object(), object(), id="objects"),
        ("float32", np.float64),
    ],
    ids=str,
)  # fmt: skip
def test_different_values_fail(got: Any, expected: Any) -> None:
    assert "x\n  expected: " in failure(lambda c: c.equal(got, expected, "x"))


def test_a_value_that_contains_itself_fails() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert "got:      an object of list" in failure(lambda c: c.equal(endless, [1], "x"))


def test_rows_of_matrices_are_aligned() -> None:
    expected = (
        "Exercise 12.1, mask: x\n"
        "  expected: [[ True, False],\n"
        "             [ True,  True]]\n"
        "  got:      [[False,  True],\n"
        "             [False,  True]]\n"
        "  likely cause: y"
    )
    mine, wanted = [[False, True], [False, True]], [[True, False], [True, True]]
    assert failure(lambda c: c.equal(lambda: mine, wanted, "x", "y")) == expected
    assert failure(lambda c: c.equal(lambda: np.array(mine), wanted, "x", "y")) == expected


def test_numbers_are_shown_with_the_digits_in_which_they_differ() -> None:
    message = failure(lambda c: c.close([1.00003, 5], [1.0, 5], "x"))
    assert "expected: [1., 5.]\n  got:      [1.00003, 5.     ]" in message


def test_the_first_difference_of_long_values_is_shown() -> None:
    mine = np.zeros((10, 10))
    mine[7, 3] = 2
    message = failure(lambda c: c.close(mine, np.zeros((10, 10)), "x"))
    assert "\n            first difference at [7][3]: expected 0., got 2." in message
    long = list(range(1000))
    message = failure(lambda c: c.equal(long[:-1], long, "x"))
    assert "first difference at the end: expected '1000 elements', got '999 elements'" in message


def test_the_first_difference_is_larger_than_the_tolerance() -> None:
    mine = np.full((10, 10), 0.1, np.float32)  # not exactly 0.1
    mine[7, 3] = 2
    message = failure(lambda c: c.close(mine, np.full((10, 10), 0.1), "x"))
    assert "first difference at [7][3]: expected 0.1, got 2." in message


def test_objects_are_shown_by_their_class_and_not_by_their_own_words() -> None:
    class Cache:
        def __repr__(self) -> str:
            raise ValueError

    assert "got:      an object of Cache" in failure(lambda c: c.equal(Cache(), 1, "x"))
    assert "got:      a function" in failure(lambda c: c.equal(lambda: blank, 1, "x"))
    assert "got:      the class Cache" in failure(lambda c: c.equal(Cache, 1, "x"))


def test_jupyter_displays_the_message_alone() -> None:
    error = ExerciseError("one\n  two")
    assert error._render_traceback_() == ["one", "  two"]


def test_expected_values_that_are_not_numbers_are_an_error_of_the_lesson() -> None:
    for expected in ("1", lambda: "1"):
        assert "TypeError: x: expected values must be numbers, not '1'" in failure(
            lambda c, e=expected: c.close([1], e, "x")
        )


SETUP = """
import numpy as np
from tinytorch import Tensor
from tinytorch.ops.op import op
from tinytorch.tito.checks import Exercise
X = Tensor([1.0], True, dtype="float64")
"""


def notebook(*cells: str, scripted: bool = False) -> list[str]:
    """Run cells as a notebook does, and return the messages of the exercises that failed.

    Args:
        cells: the source texts.
        scripted: run them as one file, as a notebook converted to a script.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    if scripted:
        names["__file__"] = "script.py"
    messages = []
    for number, cell in enumerate((SETUP, *cells)):
        name = "script.py" if scripted else f"/cell/{number}.py"
        linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
        for node in ast.parse(cell).body:  # one by one, as IPython does
            code = compile(ast.Module([node], []), name, "exec")
            try:
                exec(code, names)
            except ExerciseError as error:
                messages.append(str(error))
    return messages


ADD = "def add(x, y):\n    return x + y\n"


@pytest.mark.parametrize("scripted", [False, True])
def test_the_place_of_an_error_is_a_line_of_the_notebook(scripted: bool) -> None:
    """Not of NumPy or of the package, where it was raised."""
    cells = (
        "def add(x, y):\n    return np.concatenate([x, y])\n",
        "def twice(x):\n    z = x\n    return add(z, 3)\n",
        'with Exercise("1.2", "twice") as check:\n'
        '    check.equal(lambda: twice([1]), [2], "x", "y")\n',
    )
    if scripted:
        cells = ("".join(cells),)
    (message,) = notebook(*cells, scripted=scripted)
    assert message.startswith("Exercise 1.2, twice: x\n  expected: [2]\n  got:      ValueError: ")
    assert (
        "\n  likely cause: y\n  at:       return np.concatenate([x, y])  (line 2, in add)"
        in message
    )
    assert len(message.splitlines()) == 5


@pytest.mark.parametrize(
    "check",
    [
        'check.true(lambda: add(1), "x", "y")',
        'check.close(lambda: add(1), [2.0], "x", "y")',
        'check.call(lambda: add(1), "x", "y")',
        'check.raises(ValueError, lambda: add(1), "x", "y")',
        'check.gradient(lambda x: add(x), X, what="x", cause="y")',
        'check.call(helper, "x", "y")',
    ],
)
def test_a_line_of_the_test_or_of_a_library_is_no_place(check: str) -> None:
    test = (
        f'def helper():\n    return add(1)\n\nwith Exercise("1.1", "add") as check:\n    {check}\n'
    )
    (message,) = notebook(ADD, test)
    assert "got:      TypeError: add() missing 1 required positional argument" in message
    assert "likely cause: y" in message
    assert "at:" not in message


def test_the_place_is_shown_by_raises_and_gradient_too() -> None:
    add = "def add(x, y):\n    return x.reshape(99)\n"
    for check in (
        'check.raises(TypeError, lambda: add(Tensor([1.0]), 1), "x", "y")',
        'check.gradient(lambda x: add(x, 1), X, what="x", cause="y")',
    ):
        (message,) = notebook(add, f'with Exercise("1.1", "add") as check:\n    {check}\n')
        assert message.endswith("\n  at:       return x.reshape(99)  (line 2, in add)")
        assert "likely cause: y" in message


@pytest.mark.parametrize("inputs", ["Tensor([[1.0, 2.0, 3.0]] * 2)", "Tensor(1.0), Tensor(2.0)"])
def test_shapes_that_do_not_fit_inside_of_an_op_are_named_with_the_line(inputs: str) -> None:
    centre = "@op\ndef centre(xp, *x):\n    return xp.ones((2, 3)) - xp.ones((2,)), ()\n"
    check = f'check.equal(lambda: centre({inputs}), 0, "x", "y")'
    test = f'with Exercise("1.1", "centre") as check:\n    {check}\n'
    (message,) = notebook(centre, test)
    assert "ShapeError: centre: operands could not be broadcast" in message
    assert "(2,3) (2,)" in message
    assert message.endswith(
        "  at:       return xp.ones((2, 3)) - xp.ones((2,)), ()  (line 3, in centre)"
    )


TWICE = """
class Adder:
    def __call__(self, x, y):
        return add(x, y)

def twice(x):
    return Adder()(x, x)
"""
TEST = """
with Exercise("1.{}", "{}") as check:
    check.equal(lambda: {}, 4, "x", "y")
"""
FIX = "\n  fix first: exercise 1.1, which has failed and is used here"


@pytest.mark.parametrize(
    "add",
    [
        ADD.replace("+", "-"),
        ADD.replace("+", "@"),
        f"@op\n{ADD.replace('x + y', 'x * y, None').replace('(x', '(xp, x')}",
    ],
)
def test_an_earlier_exercise_that_failed_is_to_be_fixed_first(add: str) -> None:
    messages = notebook(
        add, TEST.format(1, "add", "add(3, 1)"), TWICE, TEST.format(2, "twice", "twice(2) + 0.5"),
        "def other(x):\n    return 3", TEST.format(3, "other", "other(2)"),
        ADD, TEST.format(1, "add", "add(3, 1)"), TEST.format(2, "twice", "twice(2) + 0.5"),
    )  # fmt: skip
    assert [m[:12] for m in messages] == [
        "Exercise 1.1",
        "Exercise 1.2",
        "Exercise 1.3",
        "Exercise 1.2",
    ]
    assert messages[1].endswith(FIX)
    assert not any("fix first" in m for m in (messages[0], messages[2], messages[3]))


def test_a_blank_exercise_that_is_used_is_named() -> None:
    blank_add = 'def add(x, y):\n    raise NotImplementedError("exercise 1.1: add")'
    (message,) = notebook(blank_add, TWICE, TEST.format(2, "twice", "twice(2)"))
    assert message == (
        "Exercise 1.2, twice: it uses add, which is still blank\n  complete first: exercise 1.1"
    )


def test_all_earlier_exercises_that_failed_and_are_used_are_named() -> None:
    wrong = "def {}(x, y):\n    return 0\n"
    messages = notebook(
        wrong.format("add"), TEST.format(2, "add", "add(3, 1)"),
        wrong.format("one"), TEST.format(1, "one", "one(3, 1)"),
        wrong.format("last"), TEST.format(3, "last", "last(add(1, 1), one(1, 1))"),
    )  # fmt: skip
    assert messages[-1].endswith(
        "\n  fix first: exercises 1.1 and 1.2, which have failed and are used here"
    )


def test_a_later_exercise_is_not_named() -> None:
    messages = notebook(
        "def later(x):\n    return 1", TEST.format(12, "later", "later(2)"),
        ADD, TEST.format(2, "add", "add(1, 1) + later(1)"),
    )  # fmt: skip
    assert len(messages) == 2
    assert "fix first" not in messages[1]
