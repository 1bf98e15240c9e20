"""Check the arguments of functions, and show values in error messages."""

import math
import sys
import warnings
from numbers import Real
from operator import index
from types import NoneType
from typing import Any

import numpy as np


class ShapeError(ValueError, RuntimeError):
    """Shapes that do not fit together: a ValueError as in NumPy, and a RuntimeError as in PyTorch.

    >>> from tinytorch import ones
    >>> try:
    ...     ones(2, 3) @ ones(2, 3)
    ... except RuntimeError as error:
    ...     print(error)
    matmul cannot multiply (2, 3) by (2, 3): 3 != 2
    """


class DtypeError(TypeError, RuntimeError):
    """A dtype that an operation does not support: also a RuntimeError, as in PyTorch."""


def check_integer(name: str, value: Any, least: int = 0, most: float = math.inf) -> int:
    """An integer of any kind in [least, most], as a Python integer.

    Raises:
        TypeError: `value` is not an integer; booleans are none.
        ValueError: it is out of range.

    >>> from tinytorch.arguments import check_integer
    >>> check_integer("batch_size", 0, least=1)
    Traceback (most recent call last):
    ValueError: batch_size must be at least 1, not 0
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = index(value)
    except (TypeError, ValueError):  # ValueError: a tensor of several elements
        raise TypeError(f"{name} must be an integer, not {shown(value)}") from None
    _check_range(name, number, least, most)
    return number


def check_number(name: str, value: Any, least: float = 0, most: float = math.inf) -> Any:
    """A number of any kind in [least, most], as a Python number.

    A 0-d tensor is read on the host.

    Raises:
        TypeError: `value` is not a number; booleans are none.
        ValueError: it is out of range or NaN.
    """
    given, value = value, python_number(value)
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number:
        raise TypeError(f"{name} must be a number, not {shown(given)}")
    if isinstance(value, int) and abs(value) > 2**53:
        raise ValueError(f"{name} is too large: it has {value.bit_length()} bits")
    number = value if isinstance(value, int | float) else float(value)
    _check_range(name, number, least, most)
    return number


def check_flag(name: str, value: Any) -> bool:
    """A boolean; raises TypeError for anything else, such as a dtype passed in its place."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, not {shown(value)}")
    return bool(value)


def check_like(name: str, value: Any, example: Any) -> Any:
    """A value of the same kind as `example`, with NumPy scalars and 0-d tensors as Python numbers.

    The kinds are a boolean, a number of at least 0, and a tuple of such numbers, of one length. An
    example of another kind allows any value.

    Raises:
        TypeError: `value` is of another kind.
        ValueError: a number is negative or NaN.
    """
    if isinstance(example, bool):
        return check_flag(name, value)
    if isinstance(example, int | float):
        return check_number(name, value)
    value = python_number(value)
    if isinstance(example, tuple):
        if not isinstance(value, tuple) or len(value) != len(example):
            raise TypeError(f"{name} must be a tuple of {len(example)} numbers, not {shown(value)}")
        return tuple([check_number(name, number) for number in value])
    return value


def check_type(name: str, value: Any, kind: Any, what: str) -> None:
    """Check the type of an argument; raises TypeError with `what`, the expected value in words."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {what}, not {shown(value)}")


def python_number(value: Any) -> Any:
    """NumPy scalars and 0-d tensors as Python numbers, which keep the dtype of arrays.

    Those in a tuple or a list are converted too; a list becomes a tuple.
    """
    if isinstance(value, tuple | list):
        return tuple(map(python_number, value))
    if isinstance(value, np.generic):
        return value.item()
    # Arrays on a device, such as the rates of a captured step, are not read on the host.
    is_tensor = isinstance(value, np.ndarray) or hasattr(value, "numpy")
    return value.item() if is_tensor and value.ndim == 0 else value


_PLAIN = (int, float, complex, str, bytes, np.generic, NoneType)


def shown(value: Any, longest: int = 60) -> str:
    """A value in an error message: plain ones as they are, cut if long, others by type and size."""
    name, module = type(value).__name__, type(value).__module__
    if name == "Tensor" and module.partition(".")[0] != __name__.partition(".")[0]:
        name = f"{module}.{name}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    short = isinstance(value, tuple | list) and len(value) < 10
    if isinstance(value, _PLAIN) or (short and all(isinstance(v, _PLAIN) for v in value)):
        try:
            text = repr(value.item() if isinstance(value, np.generic) else value)
        except ValueError:  # an int of more than 4300 digits
            return f"a huge {name}"
        return text if len(text) <= longest else f"{text[:longest]}..."
    if isinstance(getattr(value, "shape", None), tuple):
        return f"{name} of shape {value.shape}"
    return f"{name} of length {len(value)}" if isinstance(value, tuple | list | dict) else name


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of code outside of this package that called into it."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(_INNER):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


_INNER = (__name__.partition(".")[0] + ".", "contextlib")  # contextlib: decorators such as no_grad


def _check_range(name: str, number: float, least: float, most: float) -> None:
    if not least <= number <= most:
        needed = f"at least {least}" if most == math.inf else f"in [{least}, {most}]"
        raise ValueError(f"{name} must be {needed}, not {shown(number)}")


def check_shape(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """The sizes of ``f(2, 3)`` or of ``f((2, 3))``."""
    if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
        sizes = tuple(sizes[0])
    try:
        return tuple(map(index, sizes))
    except TypeError:
        raise TypeError(
            f"a shape consists of integers, not {shown(sizes)}; dtype and backend are given by"
            " keyword, as in zeros(2, 3, dtype='float64')"
        ) from None
