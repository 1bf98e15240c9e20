"""Arithmetic and functions of each element."""

import builtins
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import DtypeError, shown
from ..autograd import Variable
from ..backends.arrays import Axis
from ..ops import elementwise, rounding, special, transcendental
from ..ops.op import OPS, Op
from ..ops.operators import same_backend
from ..ops.promotion import is_floating
from .comparison import signbit
from .conversion import host
from .names import accepts_dim, accepts_names
from .out import stored

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "abs",
    "absolute",
    "acos",
    "acosh",
    "add",
    "addcdiv",
    "addcmul",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "ceil",
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "copysign",
    "cos",
    "cosh",
    "deg2rad",
    "div",
    "divide",
    "erf",
    "exp",
    "exp2",
    "expm1",
    "fix",
    "float_power",
    "floor",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "frac",
    "heaviside",
    "hypot",
    "lerp",
    "log",
    "log1p",
    "log2",
    "log10",
    "log_softmax",
    "logaddexp",
    "logit",
    "masked_fill",
    "maximum",
    "minimum",
    "mul",
    "multiply",
    "nan_to_num",
    "neg",
    "negative",
    "positive",
    "pow",
    "rad2deg",
    "reciprocal",
    "relu",
    "remainder",
    "round",
    "rsqrt",
    "rsub",
    "sgn",
    "sigmoid",
    "sign",
    "sin",
    "sinc",
    "sinh",
    "softmax",
    "softplus",
    "sqrt",
    "square",
    "sub",
    "subtract",
    "tan",
    "tanh",
    "true_divide",
    "trunc",
    "where",
    "xlogy",
]


def _function_of(op: Op) -> "Callable[..., Tensor]":
    """An op of one tensor as a function, which, unlike an op, can be a method of a class."""

    def function(x: "Tensor", *, out: "Tensor | None" = None) -> "Tensor":
        return op(x) if out is None else stored(op(x), out)

    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = op.__doc__
    return function


def _binary_function_of(op: Op) -> "Callable[..., Tensor]":
    """An op of two tensors, or a tensor and a number, as a function."""

    def function(x: "Tensor", other: Any, *, out: "Tensor | None" = None) -> "Tensor":
        return op(x, other) if out is None else stored(op(x, other), out)

    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = op.__doc__
    return function


abs = absolute = _function_of(elementwise.abs)
acos = arccos = _function_of(transcendental.acos)
acosh = arccosh = _function_of(transcendental.acosh)
asin = arcsin = _function_of(transcendental.asin)
asinh = arcsinh = _function_of(transcendental.asinh)
atan = arctan = _function_of(transcendental.atan)
atanh = arctanh = _function_of(transcendental.atanh)
ceil = _function_of(rounding.ceil)
erf = _function_of(special.erf)
cos = _function_of(elementwise.cos)
cosh = _function_of(transcendental.cosh)
exp = _function_of(elementwise.exp)
exp2 = _function_of(transcendental.exp2)
expm1 = _function_of(transcendental.expm1)
floor = _function_of(rounding.floor)
log = _function_of(elementwise.log)
log10 = _function_of(transcendental.log10)
log1p = _function_of(transcendental.log1p)
log2 = _function_of(transcendental.log2)
neg = negative = _function_of(elementwise.negative)
reciprocal = _function_of(transcendental.reciprocal)
rsqrt = _function_of(transcendental.rsqrt)
sign = sgn = _function_of(rounding.sign)
sin = _function_of(elementwise.sin)
sinh = _function_of(transcendental.sinh)
sqrt = _function_of(elementwise.sqrt)
tan = _function_of(transcendental.tan)
trunc = fix = _function_of(rounding.trunc)

atan2 = arctan2 = _binary_function_of(transcendental.atan2)
maximum = _binary_function_of(elementwise.maximum)
minimum = _binary_function_of(elementwise.minimum)
mul = multiply = _binary_function_of(elementwise.multiply)


# Activations, which lesson 02 and 04 declare as ops


def relu(x: "Tensor") -> "Tensor":
    """max(x, 0)."""
    return OPS["relu"](x)


def sigmoid(x: "Tensor") -> "Tensor":
    """1 / (1 + exp(-x))."""
    return OPS["sigmoid"](x)


def tanh(x: "Tensor") -> "Tensor":
    """The hyperbolic tangent."""
    return OPS["tanh"](x)


def softplus(x: "Tensor") -> "Tensor":
    """log(1 + exp(x))."""
    return OPS["softplus"](x)


@accepts_dim
def softmax(x: "Tensor", axis: Axis = -1, dtype: Any = None) -> "Tensor":
    """exp(x) / sum(exp(x)) over `axis`, by default the last one.

    >>> from tinytorch import Tensor, softmax
    >>> softmax(Tensor([[0.0, 0.0]]), dim=1)
    Tensor([[0.5, 0.5]])
    """
    return OPS["softmax"](x if dtype is None else x.to(dtype), axis=axis)


@accepts_dim
def log_softmax(x: "Tensor", axis: Axis = -1, dtype: Any = None) -> "Tensor":
    """log(softmax(x)) over `axis`, by default the last one."""
    return OPS["log_softmax"](x if dtype is None else x.to(dtype), axis=axis)


# Arithmetic


def add(x: "Tensor", other: Any, *, alpha: float = 1, out: "Tensor | None" = None) -> "Tensor":
    """x + alpha * other."""
    return stored(elementwise.add(x, other if alpha == 1 else _times("add", x, other, alpha)), out)


def sub(x: "Tensor", other: Any, *, alpha: float = 1, out: "Tensor | None" = None) -> "Tensor":
    """x - alpha * other."""
    return stored(
        elementwise.subtract(x, other if alpha == 1 else _times("sub", x, other, alpha)), out
    )


def rsub(x: "Tensor", other: Any) -> "Tensor":
    """other - x."""
    return elementwise.subtract(other, x)


def _times(name: str, x: "Tensor", other: Any, alpha: float) -> Any:
    if isinstance(alpha, float) and not _is_floating(x) and not _is_floating(other):
        raise DtypeError(f"{name}: alpha must be an integer for integers, not {alpha}")
    return other * alpha


def _is_floating(value: Any) -> bool:
    if isinstance(value, Variable):
        return is_floating(value._array.dtype)
    return isinstance(value, float)


def div(
    x: "Tensor",
    other: Any,
    *,
    rounding_mode: str | None = None,
    out: "Tensor | None" = None,
) -> "Tensor":
    """x / other; rounded down with "floor", towards zero with "trunc".

    Raises:
        ValueError: another rounding mode.
        ZeroDivisionError: integers in host memory are divided by 0 with rounding.
    """
    if out is not None:
        return stored(div(x, other, rounding_mode=rounding_mode), out)
    if rounding_mode is None:
        return elementwise.divide(x, other)
    if rounding_mode == "floor":
        return floor_divide(x, other)
    if rounding_mode != "trunc":
        raise ValueError(
            f"div: rounding_mode must be None, 'trunc' or 'floor', not {shown(rounding_mode)}"
        )
    _check_divisor("div", x, other)
    return rounding.trunc_divide(x, other)


def true_divide(x: "Tensor", other: Any) -> "Tensor":
    """x / other."""
    return elementwise.divide(x, other)


def floor_divide(x: "Tensor", other: Any) -> "Tensor":
    """x / other, rounded down: ``x // other``."""
    _check_divisor("//", x, other)
    return rounding.floor_divide(x, other)


def rfloor_divide(x: "Tensor", other: Any) -> "Tensor":
    """other // x."""
    _check_divisor("//", other, x)
    return rounding.floor_divide(other, x)


def remainder(x: "Tensor", other: Any) -> "Tensor":
    """x modulo other, with the sign of `other`: ``x % other``."""
    _check_divisor("%", x, other)
    return rounding.remainder(x, other)


def rremainder(x: "Tensor", other: Any) -> "Tensor":
    """other % x."""
    _check_divisor("%", other, x)
    return rounding.remainder(other, x)


def fmod(x: "Tensor", other: Any) -> "Tensor":
    """x modulo other, with the sign of x."""
    _check_divisor("fmod", x, other)
    return rounding.fmod(x, other)


def _check_divisor(name: str, x: Any, other: Any) -> None:
    """Integers have no infinity; a device is not made to wait for the check."""
    if _is_floating(x) or _is_floating(other):
        return
    values: Any = other._array if isinstance(other, Variable) else other
    if isinstance(other, Variable) and not isinstance(values, np.ndarray):
        return
    if (values == 0).any() if hasattr(values, "any") else values == 0:
        raise ZeroDivisionError(f"{name}: division of integers by zero")


def pow(x: Any, exponent: Any) -> "Tensor":
    """x ** exponent."""
    return elementwise.power(x, exponent)


def square(x: "Tensor") -> "Tensor":
    """x * x."""
    return elementwise.power(x, 2)


def positive(x: "Tensor") -> "Tensor":
    """x itself."""
    if x.dtype == x._backend.xp.bool:
        raise DtypeError("+x needs numbers, not booleans")
    return x


def round(x: "Tensor", *, decimals: int = 0) -> "Tensor":
    """The number nearest to x with `decimals` decimals; halves are rounded to the even one."""
    if decimals == 0:
        return rounding.round(x)
    scale = 10.0 ** builtins.abs(decimals)
    if decimals > 0:
        return rounding.round(x * scale) / scale
    return rounding.round(x / scale) * scale


def float_power(x: Any, exponent: Any) -> "Tensor":
    """x ** exponent, computed in float64."""
    return elementwise.power(_float64(x), _float64(exponent))


def _float64(x: Any) -> Any:
    return elementwise.cast(x, dtype="float64") if isinstance(x, Variable) else x


def logaddexp(x: "Tensor", other: "Tensor") -> "Tensor":
    """log(exp(x) + exp(other)), computed without overflow."""
    largest = elementwise.maximum(x, other).detach()
    largest = elementwise.where(abs(largest) == math.inf, 0.0, largest)
    total = elementwise.exp(x - largest) + elementwise.exp(other - largest)
    return elementwise.log(total) + largest


def hypot(x: "Tensor", other: "Tensor") -> "Tensor":
    """sqrt(x**2 + other**2)."""
    return elementwise.sqrt(square(x) + square(other))


def xlogy(x: Any, other: Any) -> "Tensor":
    """x * log(other), 0 where x is 0."""
    like: Any = x if isinstance(x, Variable) else other
    x, other = same_backend(like, x), same_backend(like, other)
    skipped = (x == 0) & (other == other)
    return elementwise.multiply(x, elementwise.log(elementwise.where(skipped, 1.0, other)))


def logit(x: "Tensor", eps: float | None = None) -> "Tensor":
    """log(x / (1 - x)), the inverse of `sigmoid`; with `eps`, of x limited to [eps, 1 - eps]."""
    if eps is not None:
        x = clip(x, eps, 1 - eps)
    return elementwise.log(x / (1 - x))


def frac(x: "Tensor") -> "Tensor":
    """The fractional part of x, with the sign of x."""
    return elementwise.subtract(x, rounding.trunc(x))


def copysign(x: "Tensor", other: Any) -> "Tensor":
    """The absolute value of x with the sign of `other`; -0.0 is negative."""
    other = same_backend(x, other, "float32")
    negative = signbit(other)
    return elementwise.where(negative, -1.0, 1.0) * abs(x)


def heaviside(x: "Tensor", values: "Tensor") -> "Tensor":
    """0 where x is negative, 1 where it is positive, and `values` where it is 0."""
    step = elementwise.cast(x > 0, dtype=x.dtype)
    return elementwise.where(x == 0, values, step).detach()


def sinc(x: "Tensor") -> "Tensor":
    """sin(pi x) / (pi x), 1 at 0."""
    angle = elementwise.multiply(x, math.pi)
    zero = angle == 0
    return elementwise.where(zero, 1.0, sin(angle) / elementwise.where(zero, 1.0, angle))


def fmax(x: "Tensor", other: "Tensor") -> "Tensor":
    """The larger of x and `other`; the other one where one is NaN."""
    return elementwise.where((x >= other) | (other != other), x, other)


def fmin(x: "Tensor", other: "Tensor") -> "Tensor":
    """The smaller of x and `other`; the other one where one is NaN."""
    return elementwise.where((x <= other) | (other != other), x, other)


def deg2rad(x: "Tensor") -> "Tensor":
    """Degrees as radians."""
    return elementwise.multiply(x, math.pi / 180)


def rad2deg(x: "Tensor") -> "Tensor":
    """Radians as degrees."""
    return elementwise.multiply(x, 180 / math.pi)


def lerp(x: "Tensor", end: "Tensor", weight: Any) -> "Tensor":
    """x + weight * (end - x)."""
    return elementwise.add(x, weight * (end - x))


def addcmul(x: "Tensor", tensor1: "Tensor", tensor2: "Tensor", *, value: float = 1) -> "Tensor":
    """x + value * tensor1 * tensor2."""
    return add(x, tensor1 * tensor2, alpha=value)


def addcdiv(x: "Tensor", tensor1: "Tensor", tensor2: "Tensor", *, value: float = 1) -> "Tensor":
    """x + value * tensor1 / tensor2."""
    return add(x, tensor1 / tensor2, alpha=value)


# Limits and choices


@accepts_names()
def clamp(x: "Tensor", min: Any = None, max: Any = None) -> "Tensor":
    """Limit each element to [min, max], numbers or tensors.

    Integers with floating limits become float32. The gradient is 1 inside, bounds included.

    Raises:
        ValueError: there is neither a minimum nor a maximum.
    """
    if min is None and max is None:
        raise ValueError("clamp needs a minimum or a maximum")
    return _clamped(x, min, max)


@accepts_names()
def clip(x: "Tensor", min: Any = None, max: Any = None) -> "Tensor":
    """Limit each element to [min, max], numbers or tensors; `clamp` without limits is an error."""
    return _clamped(x, min, max)


def clamp_min(x: "Tensor", min: Any) -> "Tensor":
    """Limit each element to at least `min`."""
    return _clamped(x, min, None)


def clamp_max(x: "Tensor", max: Any) -> "Tensor":
    """Limit each element to at most `max`."""
    return _clamped(x, None, max)


def _clamped(x: "Tensor", min: Any, max: Any) -> "Tensor":
    low, high = _limit(min), _limit(max)
    if x._array.dtype == x._backend.xp.bool and not isinstance(low or high, bool | Variable):
        x = x.to("int64")
    if not isinstance(low, Variable) and not isinstance(high, Variable):
        if isinstance(low, float) or isinstance(high, float):
            x = x if is_floating(x._array.dtype) else x.to("float32")
        return elementwise.clip(x, min=low, max=high)
    if low is not None:  # NaN in a bound or in x stays NaN
        x = elementwise.where((x < low) | (low != low), low, x)
    if high is not None:
        x = elementwise.where((x > high) | (high != high), high, x)
    return x


def _limit(value: Any) -> Any:
    """A limit of clip as a Python number or a tensor."""
    if hasattr(value, "dtype") and not isinstance(value, Variable):
        value = value.item()
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)  # of a subclass too, such as that of x.size
    if value is None or isinstance(value, int | float | Variable):
        return value
    raise TypeError(f"clamp needs numbers or tensors as min and max, not {shown(value)}")


def where(condition: "Tensor", x: Any = None, other: Any = None) -> Any:
    """x where the boolean `condition` is true, else `other`, element by element.

    With the condition only: the indices of its true elements, a tuple with a tensor for each axis.

    >>> from tinytorch import Tensor, where
    >>> x = Tensor([-1.0, 2.0])
    >>> where(x > 0, x, 0.0)
    Tensor([0., 2.])
    """
    if x is None and other is None:
        indices = np.atleast_1d(host(condition)).nonzero()
        return tuple([same_backend(condition, i) for i in indices])
    return elementwise.where(condition, x, other)


def where_method(x: "Tensor", condition: "Tensor", other: Any) -> "Tensor":
    """This tensor where the boolean `condition` is true, else `other`."""
    return elementwise.where(condition, x, other)


def masked_fill(x: "Tensor", mask: "Tensor", value: float) -> "Tensor":
    """`value` where the boolean `mask` is true, this tensor elsewhere; the dtype stays."""
    if type(value) is float and is_floating(x._array.dtype):
        return elementwise.where(mask, value, x)
    fill = same_backend(x, value, x.dtype).to(x.dtype)
    return elementwise.where(mask, fill, x)


def nan_to_num(
    x: "Tensor", nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> "Tensor":
    """x with NaN replaced by `nan`, and infinities by numbers, by default the largest ones."""
    if not is_floating(x._array.dtype):
        return x.clone()
    limits = x._backend.xp.finfo(x.dtype)
    most = float(limits.max) if posinf is None else posinf
    least = float(limits.min) if neginf is None else neginf
    finite = elementwise.where(x != x, nan, x)
    finite = elementwise.where(finite == math.inf, most, finite)
    return elementwise.where(finite == -math.inf, least, finite)


divide, subtract = div, sub
