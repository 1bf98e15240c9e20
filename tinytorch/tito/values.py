"""Plain values: compare and display results without calling methods of their classes.

A student's class can define `__eq__`, `tolist`, `__array__` or `__repr__`. So results are first
converted to Python's and NumPy's own types, using the methods of those types only.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..autograd import Variable
from ..functions.conversion import host

LONGEST = 300  # characters of a value on one line
LARGEST = 40  # elements of an array that is displayed in full


class Other:
    """A value of any other class: equal only to itself, and displayed by the name of its class."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return type(other) is Other and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)

    def __repr__(self) -> str:
        if issubclass(type(self.value), type):
            return f"the class {self.value.__name__}"
        name = type(self.value).__name__
        return f"a {name}" if name in ("function", "generator", "Op") else f"an object of {name}"


def plain(value: Any) -> Any:
    """Convert to None, numbers, text, lists, tuples, dicts, sets and arrays; else to `Other`.

    Subclasses become their base class, tensors become arrays, and dtypes become their names.
    """
    try:
        return _plain(value)
    except (TypeError, ValueError, RecursionError):  # not hashable, or nested too deeply
        return Other(value)


def same(mine: Any, other: Any) -> bool:
    """Whether two plain values are equal: lists, tuples and arrays by their elements."""
    mine, other = _listed(mine), _listed(other)
    if type(mine) is list and type(other) is list:
        pairs = zip(mine, other, strict=False)
        return len(mine) == len(other) and all(same(a, b) for a, b in pairs)
    if type(mine) is dict and type(other) is dict:
        return mine.keys() == other.keys() and all(same(v, other[k]) for k, v in mine.items())
    return bool(mine == other)


def numbers(value: Any) -> Any:
    """Convert a plain value to a float64 array; None if it contains anything but numbers."""
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        return None
    return array.astype(np.float64) if array.dtype.kind in "biuf" else None


def format_value(value: Any, precision: int = 4) -> str:
    """Format a plain value on one line, or a matrix on one line per row."""
    array = _as_matrix(value)
    if array is None:
        text = repr(value)
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return np.array2string(
        array, precision=precision, suppress_small=True, threshold=LARGEST, separator=", "
    )


def show(expected: Any, got: Any) -> tuple[str, str]:
    """Format two plain values; numbers with as many digits as are needed to tell them apart."""
    for precision in (4, 6, 9, 17):
        texts = format_value(expected, precision), format_value(got, precision)
        if texts[0] != texts[1]:
            break
    return texts


def difference(expected: Any, got: Any, equal: Callable[[Any, Any], bool]) -> str:
    """Describe the first element in which two long plain values differ; "" for short ones."""
    texts = show(expected, got)
    if not any("..." in text for text in texts):
        return ""
    for index, a, b in _pairs(expected, got):
        if not equal(b, a):
            a_text, b_text = show(a, b)
            return f"at {index}: expected {a_text}, got {b_text}"
    return ""


def _plain(value: Any) -> Any:
    kind = type(value)  # isinstance would also ask value.__class__
    if value is None or kind in (bool, int, float, complex, str, bytes, range, slice):
        return value
    if issubclass(kind, Variable):
        value = host(value)
        kind = type(value)
    if issubclass(kind, np.ndarray):
        array = np.array(value, subok=False)
        return _plain(np.ndarray.tolist(array)) if array.dtype.hasobject else array
    for base, convert in _CONVERT.items():
        if issubclass(kind, base):
            return convert(value)
    if issubclass(kind, type) and issubclass(value, np.generic):
        return np.dtype(value).name
    return Other(value)


_CONVERT: dict[type, Any] = {
    list: lambda v: [_plain(x) for x in list.__iter__(v)],
    tuple: lambda v: tuple(_plain(x) for x in tuple.__iter__(v)),
    dict: lambda v: {_plain(key): _plain(x) for key, x in dict.items(v)},
    set: lambda v: {_plain(x) for x in set.__iter__(v)},
    frozenset: lambda v: {_plain(x) for x in frozenset.__iter__(v)},
    np.dtype: lambda v: str(v),
    np.bool_: lambda v: bool(np.generic.item(v)),
    np.integer: lambda v: int(np.generic.item(v)),
    np.floating: lambda v: float(np.generic.item(v)),
    np.str_: lambda v: str.__str__(v),
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    bytes: lambda v: bytes(memoryview(v)),
    bytearray: lambda v: bytes(memoryview(v)),
}


def _listed(value: Any) -> Any:
    if type(value) is np.ndarray:
        return value.tolist()
    return list(value) if type(value) is tuple else value


def _pairs(expected: Any, got: Any, index: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield index, expected and actual value of the elements of two nested lists, in order."""
    expected, got = _listed(expected), _listed(got)
    if type(expected) is not list or type(got) is not list:
        yield index, expected, got
        return
    for i, (a, b) in enumerate(zip(expected, got, strict=False)):
        yield from _pairs(a, b, f"{index}[{i}]")
    if len(expected) != len(got):
        yield f"{index or 'the end'}", f"{len(expected)} elements", f"{len(got)} elements"


def _as_matrix(value: Any) -> Any:
    """Return an array, or a nested list that is a matrix of numbers of one type; else None."""
    if type(value) is np.ndarray:
        return value
    if type(value) is float:
        return np.asarray(value)
    rows = type(value) in (list, tuple) and value and all(type(row) is list for row in value)
    if not rows or len(_types(value)) != 1:
        return None
    try:
        array = np.asarray(value)
    except ValueError:
        return None
    return array if array.dtype.kind in "biuf" and array.size else None


def _types(value: Any) -> set[type]:
    """Return the types of the elements of a nested list."""
    if type(value) in (list, tuple):
        return {kind for element in value for kind in _types(element)}
    return {type(value)}
