"""Elementwise functions, comparisons, reductions and sorting, called as scripts for PyTorch do."""

from typing import Any

import numpy as np
import pytest
from parity import (
    BINARY,
    FLOATING,
    INF,
    INTEGER,
    NAN,
    POSITIVE,
    SPECIAL,
    UNARY,
    UNIT,
    Row,
    bools,
    check,
    each,
    floats,
    ints,
    probabilities,
)

import tinytorch as torch

NO_BOOLEANS = {"boolean": "booleans are returned as they are, or computed as integers"}
AS_FLOATS = dict.fromkeys(
    ("integer", "int32 scalar", "uint8", "boolean"), "integers are computed in float32"
)
A_NUMBER = dict.fromkeys(
    ("number", "integer number", "integer and number", "integer and float"),
    "a number is as good as a tensor",
)
NAN_GRADIENT = {"special": "the gradient at NaN and infinity"}
NO_SPECIAL = {**FLOATING, **INTEGER}
NUMBERS = {name: x for name, x in UNARY.items() if name != "boolean"}


def unary(name: str, inputs: Any = UNARY, **options: Any) -> Row:
    """The function and the method."""
    return Row(
        name, lambda torch, x: (getattr(torch, name)(x), getattr(x, name)()), inputs, **options
    )


def binary(name: str, inputs: Any = BINARY, **options: Any) -> Row:
    return Row(
        name,
        lambda torch, x, y: (getattr(torch, name)(x, y), getattr(x, name)(y)),
        inputs,
        **options,
    )


ELEMENTWISE = [
    *(unary(name) for name in ("exp", "exp2", "expm1", "sin", "cos", "tanh", "sinh", "cosh")),
    *(unary(name) for name in ("atan", "sigmoid", "asinh", "square", "sign", "deg2rad")),
    *(unary(name) for name in ("rad2deg", "neg", "positive", "reciprocal", "nan_to_num")),
    *(unary(name) for name in ("isnan", "isinf", "isfinite", "isposinf", "isneginf")),
    *(unary(name) for name in ("logical_not", "signbit", "bitwise_not")),
    *(unary(name, more=NO_BOOLEANS) for name in ("ceil", "floor", "trunc", "round", "relu")),
    unary("abs", more=NO_BOOLEANS, differs=NAN_GRADIENT),
    unary("frac", more=AS_FLOATS),
    *(unary(name, POSITIVE) for name in ["log", "log2", "log10", "log1p", "sqrt", "rsqrt"]),
    *(unary(name, UNIT) for name in ["asin", "acos", "atanh", "tan"]),
    Row("acosh", lambda torch, x: (x + 1).acosh(), POSITIVE),
    Row("round to decimals", lambda torch, x: x.round(decimals=1), FLOATING),
    Row("round to tens", lambda torch, x: torch.round(100 * x, decimals=-1), FLOATING),
    Row("softmax", lambda torch, x: (x.softmax(-1), torch.softmax(x, dim=0)), FLOATING),
    Row("softmax of a dtype", lambda torch, x: x.softmax(dim=-1, dtype=torch.float64), UNARY),
    Row("log_softmax", lambda torch, x: (torch.log_softmax(x, 0), x.log_softmax(dim=-1)), FLOATING),
    Row("unary operators", lambda torch, x: (+x, -x, abs(x)), NUMBERS, differs=NAN_GRADIENT),
    Row("invert", lambda torch, x: ~x, UNARY),
    Row("scalar functions", lambda torch, x: (torch.add(x, 1), torch.mul(x, 2.5)), UNARY),
    Row("clamp", lambda torch, x: x.clamp(min=-0.5, max=1), UNARY),
    Row("clamp of integers", lambda torch, x: (torch.clamp(x, 0, 2), x.clamp(1)), UNARY),
    Row("clamp without limits", lambda torch, x: x.clamp(), UNARY),
    Row("clip", lambda torch, x: (torch.clip(x, max=1), x.clip(0.5)), UNARY),
    Row("clamp_min", lambda torch, x: (torch.clamp_min(x, 0), x.clamp_max(1)), UNARY),
    Row("reflected operators", lambda torch, x: (2 - x, 3 * x, 1.5 / x, 2**x), FLOATING),
    Row(
        "reflected rounding",
        lambda torch, x: (7 // x, 7 % x),
        {"integers": (np.maximum(ints(3, 4), 1),), "floats": (floats(3, 4),)},
        grad=False,
    ),
]

_LIMITS = {
    "plain": (floats(3, 4), floats(3, 4, seed=4) - 1, floats(3, 4, seed=5) + 1),
    "crossed": (floats(3, 4), floats(3, 4, seed=4), floats(3, 4, seed=5)),
    "broadcast": (floats(3, 4), floats(4, seed=4), floats(3, 1, seed=5)),
    "at the limit": (np.float32([1, 2, 3]), np.float32([1, 1, 3]), np.float32([2, 2, 3])),
    "nan": (np.float32([1, NAN, 3]), np.float32([NAN, 1, 0]), np.float32([2, 2, NAN])),
    "integers": (ints(3, 4), ints(3, 4, seed=6), ints(3, 4, seed=7)),
    "scalars": (floats(3, 4), np.float32(-0.5), np.float32(0.5)),
}
_THREE = {
    "plain": (floats(3, 4), floats(3, 4, seed=4), floats(3, 4, seed=5)),
    "broadcast": (floats(3, 4), floats(4, seed=4), floats(3, 1, seed=5)),
    "empty": (floats(0, 4), floats(4, seed=4), floats(1, seed=5)),
    "scalars": (floats(), floats(seed=4), floats(seed=5)),
    "integers": (ints(3, 4), ints(3, 4, seed=6), np.maximum(ints(3, 4, seed=7), 1)),
}
_CONDITIONS = {
    "plain": (bools(3, 4), floats(3, 4), floats(3, 4, seed=4)),
    "broadcast": (bools(4), floats(3, 1), floats(seed=4)),
    "numbers": (bools(3, 4), 1, 2.5),
    "integers": (bools(3, 4), 1, 0),
    "left number": (bools(3, 4), 0.0, floats(3, 4)),
    "right number": (bools(3, 4), floats(3, 4), -INF),
    "mixed": (bools(3, 4), ints(3, 4), floats(3, 4)),
    "integer condition": (ints(3, 4), floats(3, 4), floats(3, 4)),
}
_INT_PAIRS = {name: xs for name, xs in BINARY.items() if name not in ("special",)}

ARITHMETIC = [
    *(binary(name) for name in ("add", "mul", "div", "true_divide", "fmod")),
    binary("sub", more={"boolean and integer": "True counts as 1"}),
    binary("maximum", more=A_NUMBER),
    binary("minimum", more=A_NUMBER),
    binary("remainder", differs=NAN_GRADIENT),
    binary("floor_divide", grad=False),
    binary("atan2", more=A_NUMBER, differs=NAN_GRADIENT),
    Row(
        "pow",
        lambda torch, x, y: torch.pow(x.abs() + 1, y),
        BINARY,
        differs=NAN_GRADIENT,
        more=dict.fromkeys(("booleans", "boolean and integer"), "they have an absolute value"),
    ),
    Row("pow method", lambda torch, x: (x.pow(2), x.pow(3), x**0), NUMBERS),
    Row("pow of a number", lambda torch, x: torch.pow(2, x), FLOATING),
    Row("floor division", lambda torch, x, y: x // y, BINARY, grad=False),
    Row("modulo", lambda torch, x, y: x % y, BINARY, grad=False),
    Row(
        "modulo of negative",
        lambda torch, x: (x % 3, x % -3, x // 3, x // -3, 7 % x),
        {"floats": (np.float32([-5.5, -3, 2.5, 7]),), "integers": (np.array([-7, -3, 2, 7]),)},
        grad=False,
    ),
    Row(
        "division by integer 0",
        lambda torch, x: x // 0,
        {"integers": (ints(3),)},
        backends=("numpy",),
    ),
    Row(
        "modulo integer 0",
        lambda torch, x: x % torch.zeros(3, dtype=torch.int64),
        {"integers": (ints(3),)},
        backends=("numpy",),
    ),
    Row(
        "add with alpha",
        lambda torch, x, y: torch.add(x, y, alpha=2),
        BINARY,
        differs={"booleans": "2 * True is 2"},
    ),
    Row("sub with alpha", lambda torch, x, y: x.sub(y, alpha=0.5), BINARY),
    Row("div floor", lambda torch, x, y: torch.div(x, y, rounding_mode="floor"), BINARY),
    Row("div trunc", lambda torch, x, y: x.div(y, rounding_mode="trunc"), BINARY),
    Row(
        "div wrong mode",
        lambda torch, x, y: x.div(y, rounding_mode="up"),
        {"plain": BINARY["plain"]},
    ),
    Row(
        "lerp",
        lambda torch, x, y, w: torch.lerp(x, y, w),
        _THREE,
        more={"integers": "integers are computed in int64"},
    ),
    Row("lerp by a number", lambda torch, x, y: x.lerp(y, 0.25), {"plain": BINARY["plain"]}),
    Row(
        "addcmul", lambda torch, x, y, z: (torch.addcmul(x, y, z), x.addcmul(y, z, value=2)), _THREE
    ),
    Row(
        "addcdiv",
        lambda torch, x, y, z: (torch.addcdiv(x, y, z), x.addcdiv(y, z, value=0.5)),
        _THREE,
        more={"integers": "the quotient is float32"},
    ),
    Row(
        "clamp by tensors",
        lambda torch, x, a, b: torch.clamp(x, a, b),
        _LIMITS,
        differs={"nan": "its gradient"},
    ),
    Row(
        "clamp by one tensor",
        lambda torch, x, a, b: (x.clamp(min=a), x.clamp(max=b)),
        _LIMITS,
        differs={"nan": "its gradient"},
    ),
    Row("where", lambda torch, c, x, y: torch.where(c, x, y), _CONDITIONS),
    Row(
        "where of a method",
        lambda torch, c, x, y: x.where(c, y),
        {"plain": _CONDITIONS["plain"], "number": _CONDITIONS["right number"]},
    ),
    Row("where of a condition", lambda torch, x: torch.where(x > 0), FLOATING),
    Row("masked_fill", lambda torch, x: x.masked_fill(x > 0, float("-inf")), FLOATING),
    Row("masked_fill of integers", lambda torch, x: x.masked_fill(x == 0, 7), NUMBERS),
    Row(
        "masked_fill function",
        lambda torch, x, c: torch.masked_fill(x, c, 0.5),
        {"broadcast": (floats(3, 4), bools(4)), "mask has more axes": (floats(4), bools(3, 4))},
    ),
]

COMPARISONS = [
    *(binary(name) for name in ["eq", "ne", "lt", "le", "gt", "ge"]),
    *(binary(name, more=A_NUMBER) for name in ("logical_and", "logical_or", "logical_xor")),
    *(binary(name) for name in ["bitwise_and", "bitwise_or", "bitwise_xor"]),
    Row(
        "long names",
        lambda torch, x, y: (
            torch.not_equal(x, y),
            torch.greater(x, y),
            torch.less_equal(x, y),
            torch.less(x, y),
            torch.greater_equal(x, y),
        ),
        BINARY,
    ),
    Row("operators of bits", lambda torch, x, y: (x & y, x | y, x ^ y), BINARY),
    Row("shifts", lambda torch, x: (x << 2, x >> 1), INTEGER),
    Row("isclose", lambda torch, x: torch.isclose(x, x + 1e-6), FLOATING),
    Row(
        "isclose of specials",
        lambda torch, x: (torch.isclose(x, x), torch.isclose(x, x, equal_nan=True)),
        SPECIAL,
    ),
    Row(
        "allclose",
        lambda torch, x: (
            torch.allclose(x, x * 1.000001),
            x.allclose(x + 1),
            torch.allclose(x, x + 0.5, atol=1),
        ),
        UNARY,
    ),
    Row("allclose of two", lambda torch, x, y: torch.allclose(x, y), BINARY),
    Row(
        "equal",
        lambda torch, x, y: (torch.equal(x, y), x.equal(x)),
        {n: xs for n, xs in BINARY.items() if "number" not in n and n != "integer and float"},
    ),
    Row("isin", lambda torch, x: torch.isin(x, torch.tensor([1, 2, 3])), INTEGER, more=NO_BOOLEANS),
]

AXES = {name: x for name, x in UNARY.items() if name not in ("scalar", "int32 scalar", "vector")}
_FLOAT_AXES = {name: x for name, x in FLOATING.items() if name not in ("scalar", "vector")}
_TIES = {"ties": (np.float32([[1, 3, 3], [2, 2, 2], [0, -1, -1]]),)}
_PICKED = {**UNARY, **_TIES}
_FULL = {n: x for n, x in UNARY.items() if n != "empty"}

REDUCTIONS = [
    Row("sum", lambda torch, x: (x.sum(), torch.sum(x), x.sum(0), x.sum(-1, keepdim=True)), UNARY),
    Row("sum over dim", lambda torch, x: (x.sum(dim=0, keepdim=True), x.sum(dim=-1)), UNARY),
    Row("sum over dims", lambda torch, x: (x.sum((0, 1)), torch.sum(x, dim=(0, -1))), AXES),
    Row("sum over a list", lambda torch, x: x.sum([0]), AXES),
    Row("sum over no such dim", lambda torch, x: x.sum(2), {"plain": UNARY["plain"]}),
    Row(
        "sum in a dtype",
        lambda torch, x: (x.sum(dtype=torch.float64), torch.sum(x, 0, dtype=torch.int32)),
        UNARY,
        grad=False,
    ),
    Row(
        "mean",
        lambda torch, x: (x.mean(), torch.mean(x, 0), x.mean(-1, True)),
        UNARY,
        more=AS_FLOATS,
    ),
    Row("mean over dims", lambda torch, x: x.mean((0, 1), keepdim=True), AXES, more=AS_FLOATS),
    Row("mean in a dtype", lambda torch, x: x.mean(dtype=torch.float32), UNARY),
    Row(
        "prod",
        lambda torch, x: (x.prod(), torch.prod(x, 0), x.prod(-1, keepdim=True)),
        UNARY,
        differs=NAN_GRADIENT,
    ),
    Row(
        "prod in a dtype", lambda torch, x: x.prod(dtype=torch.float64), UNARY, differs=NAN_GRADIENT
    ),
    Row(
        "prod of zeros",
        lambda torch, x: (x.prod(), x.prod(1)),
        {"zeros": (np.float32([[2, 0, 3], [0, 0, 4], [1, 2, 3]]),)},
    ),
    Row(
        "var",
        lambda torch, x: (x.var(), torch.var(x, 0), x.var(-1, keepdim=True)),
        UNARY,
        more=AS_FLOATS,
    ),
    Row(
        "var of a population",
        lambda torch, x: (
            x.var(unbiased=False),
            x.var(False),
            x.var(0, False),
            x.var(-1, unbiased=False, keepdim=True),
            x.var(dim=0, correction=0),
            torch.var(x, dim=-1, unbiased=True),
            x.var(0, True, True),
        ),
        FLOATING,
    ),
    Row(
        "std",
        lambda torch, x: (x.std(), torch.std(x, 0), x.std(-1, keepdim=True)),
        UNARY,
        more=AS_FLOATS,
    ),
    Row(
        "std of a population",
        lambda torch, x: (
            x.std(unbiased=False),
            x.std(False),
            x.std(0, False),
            torch.std(x, dim=0, unbiased=False),
            x.std(dim=-1, correction=0),
        ),
        FLOATING,
    ),
    Row("std over dims", lambda torch, x: x.std((0, 1), keepdim=True), AXES, more=AS_FLOATS),
    Row(
        "std_mean",
        lambda torch, x: (
            torch.std_mean(x),
            torch.var_mean(x, dim=0),
            torch.var_mean(x, 0, unbiased=False),
        ),
        FLOATING,
    ),
    Row(
        "norm",
        lambda torch, x: (
            x.norm(),
            torch.norm(x),
            x.norm(2),
            x.norm(dim=0),
            x.norm(p=1, dim=-1, keepdim=True),
        ),
        UNARY,
    ),
    Row(
        "norm of other orders",
        lambda torch, x: (
            x.norm(1),
            x.norm(3),
            x.norm("fro"),
            torch.norm(x, p=float("inf")),
            x.norm(p=2, dim=(0, 1)),
            x.norm(0),
        ),
        _FLOAT_AXES,
    ),
    Row(
        "any and all",
        lambda torch, x: (
            x.any(),
            x.all(),
            torch.any(x, 0),
            x.all(dim=-1),
            x.any(-1, keepdim=True),
            torch.all(x),
        ),
        UNARY,
        differs={"uint8": "the result is boolean"},
    ),
    Row("any of a condition", lambda torch, x: ((x > 0).any(), (x > 0).all(1)), AXES),
    Row(
        "count_nonzero", lambda torch, x: (x.count_nonzero(), torch.count_nonzero(x, dim=0)), UNARY
    ),
    Row(
        "logsumexp",
        lambda torch, x: (x.logsumexp(0), torch.logsumexp(x, dim=-1, keepdim=True)),
        UNARY,
    ),
    Row("cumsum", lambda torch, x: (x.cumsum(0), torch.cumsum(x, dim=-1)), UNARY),
    Row("cumsum in a dtype", lambda torch, x: x.cumsum(0, dtype=torch.float64), UNARY),
    Row("cumprod", lambda torch, x: (x.cumprod(0), torch.cumprod(x, dim=-1)), UNARY),
    Row(
        "cumprod of zeros",
        lambda torch, x: x.cumprod(1),
        {"zeros": (np.float32([[2, 0, 3, 1], [0, 0, 4, 1], [1, 2, 3, 0]]),)},
    ),
    Row("nansum", lambda torch, x: (torch.nansum(x), x.nansum(0)), UNARY),
    Row(
        "nanmean",
        lambda torch, x: (torch.nanmean(x), x.nanmean(-1, keepdim=True)),
        UNARY,
        more=AS_FLOATS,
    ),
    Row("max", lambda torch, x: (x.max(), torch.max(x)), {**_PICKED}),
    Row("min", lambda torch, x: (x.min(), torch.min(x)), {**_PICKED}),
    Row(
        "max over dim",
        lambda torch, x: (
            x.max(0),
            x.max(dim=-1),
            torch.max(x, -1, keepdim=True),
            torch.max(x, 0, True),
        ),
        _PICKED,
    ),
    Row(
        "min over dim",
        lambda torch, x: (x.min(0), torch.min(x, dim=-1), x.min(-1, keepdim=True)),
        _PICKED,
    ),
    Row(
        "max fields",
        lambda torch, x: (x.max(0).values, x.max(0).indices, x.max(dim=0)[0], x.min(0)[1]),
        _FULL,
    ),
    Row("max over dims", lambda torch, x: x.max((0, 1)), AXES),
    Row(
        "max of two",
        lambda torch, x, y: (torch.max(x, y), x.min(y)),
        {n: xs for n, xs in BINARY.items() if "number" not in n and n != "integer and float"},
    ),
    Row(
        "amax",
        lambda torch, x: (x.amax(), torch.amax(x, 0), x.amin(-1, keepdim=True)),
        _PICKED,
        differs=NAN_GRADIENT,
    ),
    Row("amax over dims", lambda torch, x: (x.amax((0, 1)), torch.amin(x, dim=(0, -1))), AXES),
    Row(
        "aminmax",
        lambda torch, x: (x.aminmax(), torch.aminmax(x, dim=0)),
        _FULL,
        differs=NAN_GRADIENT,
    ),
    Row(
        "argmax",
        lambda torch, x: (x.argmax(), torch.argmax(x, 0), x.argmax(dim=-1, keepdim=True)),
        _PICKED,
        more=NO_BOOLEANS,
    ),
    Row(
        "argmin",
        lambda torch, x: (x.argmin(), torch.argmin(x, dim=0), x.argmin(-1, True)),
        _PICKED,
        more=NO_BOOLEANS,
    ),
]

_DISTINCT = {n: x for n, x in FLOATING.items() if n != "empty"}
_PROBABILITIES = {
    "vector": (probabilities(5),),
    "rows": (probabilities(3, 5),),
    "no rows": (probabilities(0, 5),),
    "float64": (probabilities(5).astype(np.float64),),
    "three axes": (probabilities(2, 3, 5),),
    "integers": (ints(5, low=1),),
    "negative": (-probabilities(5),),
    "zeros": (0 * probabilities(5),),
    "nan": (np.float32([NAN, 1]),),
    "few": (np.float32([0, 1, 1, 0, 0]),),
}

SORTING = [
    Row("sort", lambda torch, x: (x.sort(stable=True), torch.sort(x, dim=0, stable=True)), UNARY),
    Row(
        "sort descending",
        lambda torch, x: (torch.sort(x, descending=True, stable=True).values, x.sort(0, True)[0]),
        UNARY,
    ),
    Row(
        "argsort",
        lambda torch, x: (x.argsort(), torch.argsort(x, dim=0, descending=True)),
        FLOATING,
    ),
    Row("msort", lambda torch, x: torch.msort(x), FLOATING),
    Row(
        "topk",
        lambda torch, x: (torch.topk(x, 1), x.topk(2, dim=0), x.topk(1, largest=False)),
        {n: x for n, x in _DISTINCT.items() if n != "scalar"},
    ),
    Row("topk of a scalar", lambda torch, x: x.topk(1), {"scalar": (floats(),)}),
    Row("topk of too many", lambda torch, x: x.topk(5), {"plain": (floats(3, 4),)}),
    Row(
        "topk threshold",
        lambda torch, x: x < torch.topk(x, 2)[0][..., -1, None],
        {"plain": (floats(3, 4),)},
    ),
    Row(
        "kthvalue",
        lambda torch, x: (x.kthvalue(1), torch.kthvalue(x, 1, 0, keepdim=True)),
        _DISTINCT,
    ),
    Row("kthvalue out of range", lambda torch, x: x.kthvalue(9), _DISTINCT),
    Row(
        "median",
        lambda torch, x: (x.median(), torch.median(x), x.median(-1), x.median(dim=0, keepdim=True)),
        _DISTINCT,
    ),
    Row("median of integers", lambda torch, x: x.median(), INTEGER, more=NO_BOOLEANS),
    Row("median with NaN", lambda torch, x: (x.median(), x.nanmedian()), SPECIAL, grad=False),
    Row(
        "mode",
        lambda torch, x: (x.mode(), torch.mode(x, 0).values),
        {"integers": (np.array([[1, 2, 2], [3, 3, 1]]),), "floats": (floats(3, 4),)},
    ),
    Row(
        "quantile",
        lambda torch, x: (
            torch.quantile(x, 0.3),
            x.quantile(0.5, dim=0),
            x.quantile(torch.tensor([0.1, 0.75]).to(x.dtype), dim=-1, keepdim=True),
        ),
        _DISTINCT,
    ),
    Row(
        "quantile rounded",
        lambda torch, x: (
            x.quantile(0.3, interpolation="lower"),
            x.quantile(0.3, dim=0, interpolation="higher"),
            x.quantile(0.3, interpolation="midpoint"),
            x.quantile(0.3, interpolation="nearest"),
            x.quantile(0.5, keepdim=True),
        ),
        _DISTINCT,
    ),
    Row(
        "unique",
        lambda torch, x: (
            torch.unique(x),
            x.unique(return_counts=True),
            torch.unique(x, return_inverse=True, return_counts=True),
        ),
        INTEGER,
        grad=False,
    ),
    Row("unique of floats", lambda torch, x: x.unique(), FLOATING, grad=False),
    Row(
        "unique rows",
        lambda torch, x: torch.unique(x, dim=0, return_counts=True, return_inverse=True),
        {"integers": (np.array([[1, 2], [0, 1], [1, 2]]),)},
    ),
    Row(
        "unique_consecutive",
        lambda torch, x: torch.unique_consecutive(x, return_inverse=True, return_counts=True),
        {"integers": (np.array([1, 1, 2, 2, 2, 1]),)},
    ),
    Row(
        "bincount",
        lambda torch, x: (torch.bincount(x), x.bincount(minlength=9)),
        {
            "plain": (ints(9, low=0),),
            "empty": (ints(0),),
            "negative": (ints(9),),
            "matrix": (ints(3, 4, low=0),),
            "floats": (floats(3),),
            "uint8": (ints(9, low=0).astype(np.uint8),),
        },
    ),
    Row(
        "bincount of weights",
        lambda torch, x, w: torch.bincount(x, weights=w),
        {
            "plain": (ints(9, low=0), floats(9)),
            "float64": (ints(9, low=0), floats(9).astype("d")),
            "integers": (ints(9, low=0), ints(9)),
        },
        grad=False,
    ),
    Row(
        "histc",
        lambda torch, x: (torch.histc(x, bins=4, min=-1, max=1), x.histc(3)),
        FLOATING,
        grad=False,
    ),
    Row(
        "searchsorted",
        lambda torch, x, y: (
            torch.searchsorted(x, y),
            torch.searchsorted(x, y, right=True),
            torch.bucketize(y, x),
        ),
        {
            "floats": (np.float32([1, 2, 2, 5]), np.float32([[0, 2], [3, 9]])),
            "integers": (np.array([1, 2, 2, 5]), np.array([2, 5])),
        },
        grad=False,
    ),
    Row(
        "searchsorted in rows",
        lambda torch, x, y: torch.searchsorted(x, y),
        {"rows": (np.float32([[1, 2, 3], [4, 5, 6]]), np.float32([[2.5], [3]]))},
        grad=False,
    ),
    Row(
        "multinomial",
        lambda torch, x: (
            torch.multinomial(x, 2),
            x.multinomial(1),
            torch.multinomial(x, num_samples=7, replacement=True),
        ),
        _PROBABILITIES,
        values=False,
    ),
    Row(
        "multinomial of too many",
        lambda torch, x: torch.multinomial(x, 3),
        {"few": (np.float32([0, 1, 1, 0, 0]),)},
        values=False,
        differs={"few": "PyTorch draws an index of probability 0"},
    ),
    Row(
        "bernoulli",
        lambda torch, x: (torch.bernoulli(x), x.bernoulli(), x.bernoulli(0.25)),
        {
            "plain": (probabilities(3, 4),),
            "scalar": (probabilities(),),
            "large": (floats(3) * 9,),
            "integers": (ints(3),),
        },
        values=False,
        grad=False,
    ),
]


FLOATING_POSITIVE = {n: x for n, x in POSITIVE.items() if n != "integer"}
_EQUAL = {n: BINARY[n] for n in ("plain", "broadcast", "empty", "two scalars", "special")}
FURTHER = [
    binary("copysign", _EQUAL, grad=False),
    binary("heaviside", _EQUAL, grad=False),
    binary("fmax", _EQUAL, differs=NAN_GRADIENT),
    binary("fmin", _EQUAL, differs=NAN_GRADIENT),
    unary("sinc", FLOATING),
    Row("rsub", lambda torch, x: torch.rsub(x, 2), UNARY, more=NO_BOOLEANS),
    Row(
        "histogram",
        lambda torch, x: (
            torch.histogram(x, 4),
            x.histogram(bins=3, range=(-1, 1), density=True),
            torch.histogram(x, bins=5, density=True).hist,
        ),
        {"plain": (floats(3, 40),), "float64": (floats(90).astype("d"),)},
        grad=False,
    ),
    Row(
        "trapezoid",
        lambda torch, y, x: (
            torch.trapezoid(y),
            torch.trapz(y, x),
            torch.trapezoid(y, dx=0.5, dim=0),
        ),
        {"plain": (floats(3, 4), floats(4))},
    ),
    Row("poisson", lambda torch, x: torch.poisson(x), FLOATING_POSITIVE, values=False, grad=False),
    unary("erf"),
    unary("sgn", grad=False),
    unary("fix", more=NO_BOOLEANS),
    unary("logit", {"plain": (probabilities(3, 4),), "scalar": (probabilities(),)}),
    Row("logit of limited", lambda torch, x: torch.logit(x, eps=0.1), POSITIVE),
    binary("logaddexp", {n: BINARY[n] for n in ("plain", "broadcast", "empty", "two scalars")}),
    binary("hypot", {n: BINARY[n] for n in ("plain", "broadcast", "empty", "two scalars")}),
    Row(
        "logaddexp of infinities",
        lambda torch, x, y: torch.logaddexp(x, y),
        {"special": BINARY["special"]},
        grad=False,
    ),
    Row("float_power", lambda torch, x: (torch.float_power(x, 2), x.float_power(0.5)), POSITIVE),
    Row(
        "xlogy",
        lambda torch, x, y: (torch.xlogy(x, y.abs()), x.xlogy(2.0)),
        {"plain": BINARY["plain"], "zeros": (np.float32([0, 0, 1]), np.float32([0, 2, 0]))},
        grad=False,
    ),
    Row("cummax", lambda torch, x: (torch.cummax(x, 0), x.cummin(dim=-1)), {**UNARY, **_TIES}),
    Row("diff", lambda torch, x: (torch.diff(x), x.diff(dim=0), x.diff(n=2)), _FLOAT_AXES),
    Row(
        "dist",
        lambda torch, x, y: (torch.dist(x, y), x.dist(y, 1)),
        {n: BINARY[n] for n in ("plain", "broadcast", "two scalars")},
    ),
    Row(
        "cov",
        lambda torch, x: (torch.cov(x), torch.corrcoef(x), x.cov(correction=0)),
        {"plain": (floats(3, 5),), "vector": (floats(5),)},
    ),
]


@each(FURTHER)
def test_further_functions(row: Row, backend: str) -> None:
    check(row, backend)


@each(ELEMENTWISE)
def test_elementwise(row: Row, backend: str) -> None:
    check(row, backend)


@each(ARITHMETIC)
def test_arithmetic(row: Row, backend: str) -> None:
    check(row, backend)


@each(COMPARISONS)
def test_comparisons(row: Row, backend: str) -> None:
    check(row, backend)


@each(REDUCTIONS)
def test_reductions(row: Row, backend: str) -> None:
    check(row, backend)


@each(SORTING)
def test_sorting(row: Row, backend: str) -> None:
    check(row, backend)


def test_multinomial_draws_with_the_probabilities(backend: str) -> None:
    torch.manual_seed(1)
    p = torch.tensor([0.0, 1.0, 3.0], backend=backend)
    drawn = torch.multinomial(p, 4000, replacement=True)
    shares = torch.bincount(drawn, minlength=3).numpy() / 4000
    np.testing.assert_allclose(shares, [0, 0.25, 0.75], atol=0.03)
    first = torch.multinomial(p.expand(4000, 3), 2)
    assert sorted(set(first.numpy().reshape(-1).tolist())) == [1, 2]
    assert abs((first.numpy()[:, 0] == 2).mean() - 0.75) < 0.03


@pytest.mark.parametrize("value", [[1.0, 2.0], 2.5, np.float32([1, 2])])
def test_a_function_of_another_type_than_a_tensor_names_it(value: Any) -> None:
    calls = {
        "clamp": (0,), "max": (), "norm": (), "sort": (), "topk": (1,), "unique": (), "argmax": (),
        "bincount": (), "multinomial": (1,), "bernoulli": (), "isnan": (), "logical_and": (value,),
        "median": (), "quantile": (0.5,), "any": (), "mean": (), "exp": (), "softmax": (0,),
    }  # fmt: skip
    for name, more in calls.items():
        kind = type(value).__name__
        with pytest.raises(TypeError, match=rf"takes? (a )?tensors?, not .*({kind}|2\.5|1\.0)"):
            getattr(torch, name)(value, *more)


def test_the_tensor_may_be_given_as_input() -> None:
    x = torch.tensor([1.0, 3.0, 2.0])
    assert torch.max(input=x, dim=0).indices.item() == 1
    assert torch.clamp(input=x, max=2).tolist() == [1, 2, 2]
    assert torch.topk(input=x, k=1)[0].tolist() == [3]
    assert torch.multinomial(input=x, num_samples=2).shape == (2,)


def test_multinomial_uses_the_generator() -> None:
    p = torch.tensor([[0.5, 0.25, 0.25]] * 9)
    for replacement in (False, True):
        one, two = (
            torch.multinomial(p, 2, replacement, generator=torch.Generator().manual_seed(3))
            for _ in range(2)
        )
        assert one.tolist() == two.tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda torch, x: x if torch.__name__ == "torch" else x + 1e-3, "result is "),
        (lambda torch, x: x[:, :2] if torch.__name__ == "torch" else x, "PyTorch: float32"),
        (lambda torch, x: x.detach() if torch.__name__ == "torch" else x, "requires_grad"),
        (lambda torch, x: (x, x) if torch.__name__ == "torch" else x, "PyTorch: tuple"),
        (lambda torch, x: 1 if torch.__name__ == "torch" else 2, "PyTorch: int 1"),
        (lambda torch, x: 1 / 0 if torch.__name__ == "torch" else x, "no error"),
        (lambda torch, x: x if torch.__name__ == "torch" else x[9], "IndexError"),
        (lambda torch, x: x.nothing, "nothing"),
        (
            lambda torch, x: (
                x * (2 if torch.__name__ == "torch" else x.detach() * 0 + 2) * x
                if torch.__name__ == "torch"
                else x.detach() * 2 * x
            ),
            "gradient 0",
        ),
    ],
)
def test_the_comparison_detects_differences(call: Any, message: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=message):
        check(Row("wrong", call, {"plain": (floats(3, 4),)}), "numpy")
