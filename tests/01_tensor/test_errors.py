"""What is no valid argument raises an error that names the function, the argument and the fix."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytorch
from tinytorch import (
    LayerNorm,
    Linear,
    Parameter,
    ReLU,
    Tensor,
    concat,
    no_grad,
    ones,
    relu,
    softmax,
    stack,
    where,
    zeros,
)
from tinytorch.backends import BackendError

BOX = zeros(2, 3, 4)
PAIR = Tensor([1.0, 2.0])
COUNT = Tensor([1, 2])
NAN = float("nan")

ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    # Positional arguments that are no flags
    "Tensor, dtype": (lambda: Tensor([1.0], "float64"), TypeError, r"dtype=.*|'float64'"),
    "Tensor, sizes": (lambda: Tensor(2, 3), TypeError, r"zeros\(2, 3\)"),
    "Parameter, dtype": (lambda: Parameter([1.0], "float64"), TypeError, "requires_grad must be"),
    "zeros, dtype": (lambda: zeros(2, "float64"), TypeError, "dtype='float64'"),
    "ones, dtype": (lambda: ones((2, 3), "float64"), TypeError, "keyword"),
    "requires_grad": (lambda: zeros(2, requires_grad=1), TypeError, "True or False"),
    "LayerNorm, flag": (lambda: LayerNorm(4, 1e-5, False), TypeError, "positional"),
    "no_grad": (lambda: no_grad(True), TypeError, "no arguments"),
    # Dtypes and backends
    "unknown dtype": (lambda: Tensor([1.0], dtype="foo"), TypeError, "unknown dtype 'foo'"),
    "class as dtype": (lambda: Tensor([1.0], dtype=list), TypeError, "unknown dtype"),
    "gpu": (lambda: PAIR.to("gpu"), BackendError, '"cpu" is numpy, "cuda" is cupy'),
    "second GPU": (lambda: Linear(1, 1).to("cuda:99"), BackendError, "last GPU is"),
    "second CPU": (lambda: zeros(1).to("cpu:1"), BackendError, "uses cpu:0 only"),
    "mps": (lambda: zeros(1, device="mps"), BackendError, '"cuda" for an NVIDIA GPU'),
    "bfloat16": (lambda: zeros(2, dtype=tinytorch.bfloat16), TypeError, "no backend has"),
    "option": (lambda: zeros(2, sizes=3), TypeError, r"zeros\(\) has no argument 'sizes'"),
    "out": (lambda: zeros(2, out=BOX), TypeError, "assign the result"),
    "arange": (lambda: tinytorch.arange(3, 1), ValueError, "does not lead to the end"),
    "randint, empty": (lambda: tinytorch.randint(3, 3, (2,)), ValueError, "which is empty"),
    "randint, size": (lambda: tinytorch.randint(0, 3, 2), TypeError, "must be a tuple"),
    "randn, dtype": (lambda: tinytorch.randn(2, dtype="int64"), TypeError, "use randint"),
    "default dtype": (lambda: tinytorch.set_default_dtype("int64"), TypeError, "a floating one"),
    "size": (lambda: BOX.size(3), IndexError, r"size\(3\): axis 3 does not exist"),
    # Shapes
    "float size": (lambda: BOX.reshape(2.0, 12), TypeError, "integers, not"),
    "size -2": (lambda: BOX.reshape(-2, 12), ValueError, r"reshaped to \(-2, 12\)"),
    "negative zeros": (lambda: zeros(2, -1), ValueError, r"zeros\(2, -1\)"),
    "flatten": (lambda: BOX.flatten(2, 1), ValueError, r"flatten\(2, 1\)"),
    "flatten, axis": (lambda: BOX.flatten(3), IndexError, "axis 3 does not exist"),
    "expand": (lambda: BOX.expand(2, 3, 5), ValueError, r"expanded to \(2, 3, 5\)"),
    "expand, size": (lambda: PAIR.expand(-2, 2), ValueError, "expanded"),
    "split 0": (lambda: BOX.split(0), ValueError, r"split\(0\)"),
    "split, axis": (lambda: BOX.split(1, 3), IndexError, "axis 3 does not exist"),
    "split a scalar": (lambda: Tensor(1.0).split(1), ValueError, "without axes"),
    "split sizes": (lambda: BOX.split([1, 5]), ValueError, "do not add up"),
    "squeeze": (lambda: BOX.squeeze(7), IndexError, "axis 7"),
    "unsqueeze": (lambda: BOX.unsqueeze(9), IndexError, "at 9"),
    "permute": (lambda: BOX.permute(0, 1), ValueError, "permutation"),
    # Numbers
    "complex": (lambda: Tensor([1 + 2j]), TypeError, "expected numbers"),
    "complex operand": (lambda: PAIR + 1j, TypeError, "add: expected numbers"),
    "compared with lists": (lambda: PAIR == [1, [2]], TypeError, "^==: expected numbers"),
    "order of complex": (lambda: np.array([1j]) > PAIR, TypeError, "^<: expected numbers"),
    "list to an op": (lambda: relu([1.0]), TypeError, "relu takes tensors, not list"),
    "list to a module": (lambda: ReLU()([1.0]), TypeError, "relu takes tensors, not list"),
    "array to an op": (
        lambda: softmax(np.ones(2)),
        TypeError,
        "softmax takes tensors, not ndarray",
    ),
    "no limits": (lambda: PAIR.clamp_(), ValueError, "clamp needs a minimum or a maximum"),
    "complex dtype": (lambda: PAIR.to(dtype="complex64"), TypeError, "no backend has"),
    "long double dtype": (lambda: PAIR.to(dtype="longdouble"), TypeError, "unknown dtype"),
    "long double": (lambda: Tensor(np.ones(2, np.longdouble)), TypeError, "expected numbers"),
    "too large": (lambda: Tensor([1, 300], dtype="uint8"), ValueError, "uint8 cannot hold"),
    "NaN as integer": (lambda: Tensor([NAN], dtype="int64"), ValueError, "int64 cannot hold"),
    "fill with NaN": (
        lambda: COUNT.masked_fill(COUNT > 1, NAN),
        ValueError,
        "int64 cannot hold .*nan",
    ),
    "clip, string": (lambda: PAIR.clip(max="1"), TypeError, "clamp needs numbers .* not '1'"),
    "where of None": (lambda: where(PAIR > 0, PAIR, None), TypeError, "where takes .* not None"),
    "plus None": (lambda: PAIR + None, TypeError, "add takes tensors and numbers, not None"),
    # Axes
    "sum, keepdims": (lambda: BOX.sum(True), TypeError, "integer, not True; pass keepdims by name"),
    "sum, float axis": (lambda: BOX.sum(1.0), TypeError, "axis must be an integer, not 1.0"),
    "argmax, axes": (lambda: BOX.argmax((0, 1)), TypeError, r"integer, not \(0, 1\)"),
    "cumsum, axis": (lambda: BOX.cumsum(None), TypeError, "integer, not None"),
    "softmax, axis": (lambda: softmax(BOX, axis=True), TypeError, "integer, not True"),
    "split, float axis": (lambda: BOX.split(1, 1.0), TypeError, "integer, not 1.0"),
    # Joining
    "concat of one": (lambda: concat(PAIR), TypeError, r"concat\(\[x, y\]\)"),
    "stack of one": (lambda: stack(PAIR), TypeError, r"stack\(\[x, y\]\)"),
    "concat of two": (lambda: concat(PAIR, PAIR), TypeError, r"concat\(\[x, y\]\)"),
    "concat, float axis": (lambda: concat([PAIR], 1.5), TypeError, r"\[x, y\], axis=0"),
    "concat of an array": (lambda: concat(np.ones(2)), TypeError, "list of tensors"),
    "concat of nothing": (lambda: concat([]), ValueError, "at least one"),
    "stack of nothing": (lambda: stack([]), ValueError, "at least one"),
    "concat of None": (lambda: concat([PAIR, None]), TypeError, "not None"),
    "concat, shapes": (lambda: concat([PAIR, BOX]), ValueError, r"\(2,\), \(2, 3, 4\)"),
    "concat, axis": (lambda: concat([PAIR, PAIR], 3), ValueError, "along axis 3"),
    "concat of scalars": (lambda: concat([Tensor(1.0)]), ValueError, r"shapes \(\)"),
    "stack, shapes": (lambda: stack([PAIR, BOX]), ValueError, "stack cannot join"),
    # Indices
    "out of range": (lambda: BOX[5], IndexError, r"shape \(2, 3, 4\): index 5 is out of bounds"),
    "too many": (lambda: BOX[0, 0, 0, 0], IndexError, "too many indices"),
    "scalar": (lambda: Tensor(1.0)[0], IndexError, r"shape \(\)"),
    "float": (lambda: BOX[1.5], IndexError, "with float 1.5"),
    "str": (lambda: BOX["a"], IndexError, "with str 'a'"),
    "set": (lambda: BOX[0, {1}], IndexError, "with set"),
    "huge": (lambda: BOX[10**30], IndexError, "shape"),
    "mask": (lambda: BOX[np.ones(3, bool)], IndexError, "boolean"),
    "float list": (lambda: BOX[[1.5]], IndexError, "integer or boolean dtype, not float64"),
    "str list": (lambda: BOX[["a"]], IndexError, "integer or boolean"),
    "irregular list": (lambda: BOX[[[1], [1, 2]]], IndexError, "irregular"),
    "float tensor": (lambda: BOX[PAIR], IndexError, "integer or boolean"),
    "write, range": (lambda: BOX.__setitem__(5, 1.0), IndexError, r"assign to x\[key\].*index 5"),
    "write, shape": (lambda: BOX.__setitem__(0, ones(5)), ValueError, "assign.*broadcast"),
    "write, key": (lambda: BOX.__setitem__("a", 1.0), IndexError, "with str"),
    "write, None": (lambda: BOX.__setitem__(0, None), TypeError, "None"),
    # Gradients and order
    "dtype of grad": (lambda: setattr(PAIR, "grad", Tensor([1, 2])), TypeError, "int64"),
    "order of None": (lambda: PAIR < None, TypeError, "not supported"),
    "np.exp": (lambda: np.exp(PAIR), TypeError, r"np.exp .*tensor.numpy\(\)"),
}


@pytest.mark.parametrize(("call", "error", "match"), ERRORS.values(), ids=ERRORS)
def test_wrong_arguments_raise(call: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        call()


def test_comparison_with_what_is_no_number_is_false_as_in_pytorch() -> None:
    for other in (None, "a", object(), {}, print):
        assert (other == PAIR) is False
        assert (other != PAIR) is True
        assert (other == PAIR) is False
    assert None not in [PAIR]
    assert [PAIR, None].count(None) == 1
    assert (PAIR == [1, 3]).tolist() == [True, False]
    assert 2.0 in PAIR
    assert np.float32(1) in PAIR
    for number in (np.float32(1), np.int64(1), np.bool_(True)):
        for equal in (PAIR.__eq__(number), number == PAIR):
            assert equal.tolist() == [True, False]
    assert 3 not in PAIR
    assert None not in PAIR


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (float, "float32"),
        (int, "int64"),
        (bool, "bool"),
        ("float", "float32"),
        ("double", "float64"),
        ("int", "int32"),
        ("long", "int64"),
        (np.float64, "float64"),
        (np.dtype("int32"), "int32"),
        ("uint8", "uint8"),
    ],
)
def test_dtypes_may_have_other_names(given: Any, name: str, backend: str) -> None:
    for tensor in (Tensor([1], dtype=given, backend=backend), Tensor([1], backend=backend)):
        assert str(tensor.to(given).dtype).rsplit(".", 1)[-1] == name


def test_numpy_integers_are_axes_sizes_and_indices(backend: str) -> None:
    one, x = np.int64(1), zeros(2, 3, 4, backend=backend)
    shapes = [
        (x.sum(one), (2, 4)),
        (x.mean((np.int64(0), one)), (4,)),
        (x.max(np.int32(-1)).values, (2, 3)),
        (x.max(axis=np.int32(-1)), (2, 3)),
        (x.argmax(one), (2, 4)),
        (x.std(one), (2, 4)),
        (x.reshape(one, -1), (1, 24)),
        (x.permute(one, 0, 2), (3, 2, 4)),
        (x.transpose(one, 2), (2, 4, 3)),
        (x.unsqueeze(one), (2, 1, 3, 4)),
        (x.flatten(one), (2, 12)),
        (x[one], (3, 4)),
        (x.split(one, one)[0], (2, 1, 4)),
        (concat([x, x], one), (2, 6, 4)),
        (stack([x, x], one), (2, 2, 3, 4)),
        (zeros(one, np.uint8(2)), (1, 2)),
    ]
    for tensor, shape in shapes:
        assert tensor.shape == shape


EMPTY: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "concat": (lambda x: concat([x, x]), (0, 3)),
    "concat with rows": (lambda x: concat([x, ones(2, 3, backend=x.backend)]), (2, 3)),
    "concat of columns": (lambda x: concat([x, x], 1), (0, 6)),
    "stack": (lambda x: stack([x, x]), (2, 0, 3)),
    "split": (lambda x: x.split(2)[0], (0, 3)),
    "split 0": (lambda x: x.split(0)[0], (0, 3)),
    "split columns": (lambda x: x.split(2, 1)[1], (0, 1)),
    "split sizes": (lambda x: x.split([0, 0])[1], (0, 3)),
    "expand": (lambda x: x.expand(2, 0, 3), (2, 0, 3)),
    "expand 1 to 0": (lambda x: x[:, :1].expand(0, 0), (0, 0)),
    "reshape": (lambda x: x.reshape(3, 0, 5), (3, 0, 5)),
    "reshape -1": (lambda x: x.reshape(-1), (0,)),
    "transpose": (lambda x: x.T, (3, 0)),
    "no rows": (lambda x: x[[]], (0, 3)),
    "mask": (lambda x: x[:, [True, False, True]], (0, 2)),
    "slice": (lambda x: x[5:], (0, 3)),
}


@pytest.mark.parametrize(("move", "shape"), EMPTY.values(), ids=EMPTY)
def test_axes_of_size_zero(move: Any, shape: Any, backend: str) -> None:
    x = zeros(0, 3, backend=backend, requires_grad=True)
    y = move(x)
    assert y.shape == shape
    y.sum().backward()
    assert x.grad.shape == (0, 3)


def test_a_value_of_one_element_fits_every_index(backend: str) -> None:
    x = zeros(2, 2, backend=backend)
    x[0, 0] = Tensor([1.0], backend=backend)
    x[1] = np.array([[2.0]])
    x[0, 1:] = [[3.0]]
    assert x.tolist() == [[1, 3], [2, 2]]
