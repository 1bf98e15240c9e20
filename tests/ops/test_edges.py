"""Edge cases of every op and of every differentiable method, compared with PyTorch.

Axes of size zero, tensors without axes, strided views, integers, booleans, NaN, infinities and
float16: values and gradients, on every backend, without warnings.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from helpers import require

import tinytorch as tt
from tinytorch import Tensor, nn
from tinytorch.attention import attention_weights, merge_heads, split_heads
from tinytorch.backends import Trace, float_errors
from tinytorch.embeddings import embedding, rotary
from tinytorch.generation.int8 import int8_linear
from tinytorch.ops import recurrent
from tinytorch.ops.activations import swiglu
from tinytorch.ops.op import OPS

NAN, INF = float("nan"), float("inf")
SPECIAL = np.array([NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 1e30, -1e30, 0.5, 100.0, -100.0])


@dataclass(frozen=True)
class Case:
    """One function: ours and PyTorch's, of the same number of tensors.

    Attributes:
        kinds: the kinds of inputs of `INPUTS` to test it with.
    """

    ours: Callable[..., Any]
    theirs: Callable[..., Any]  # of torch, then the tensors
    kinds: tuple[str, ...]


def elements(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).uniform(0.25, 0.75, shape)


INPUTS: dict[str, list[tuple[np.ndarray, ...]]] = {
    # one tensor of any shape
    "empty": [(np.zeros(s),) for s in ((0,), (0, 3), (3, 0), (2, 0, 4))],
    "scalar": [(np.array(0.5),), (np.array(-2.0),)],
    "strided": [(elements(4, 3).T,), (elements(4, 6)[::2, ::-2],), (elements(3, 1, 2)[:, 0],)],
    "special": [(SPECIAL,), (SPECIAL.reshape(3, 4),), (np.array(NAN),), (np.array([-INF, -INF]),)],
    "large special": [(np.concatenate([np.tile(SPECIAL, 500), np.zeros(24)]).reshape(-1, 24),)],
    "one value": [(np.ones((3, 1)),), (np.full((2, 3), 2.0),)],
    "float16": [(elements(3, 4).astype(np.float16),), (np.float16([[60, -60, 0, 1]]),)],
    "wide float16": [
        (elements(4, 5).astype(np.float16) * 1000 - 500,),  # squares overflow float16
        (np.ones((5000, 2), np.float16),),  # sums in float16 would end at 2048
        (np.float16([[2e4, 3.0, -2e4], [300, 20, 1]]),),
    ],
    "denormal": [(np.array(x).astype(dtype),) for dtype in ("float32", "float64")
                 for x in ([[1e-45, -4e-45, 1.0]], np.full((90, 60), 3e-42), [5e-324, -1e-320])],
    "integer": [(np.arange(12).reshape(3, 4) - 2,), (np.array([], np.int64),), (np.array(3),)],
    "boolean": [(np.array([[True, False, True]]),), (np.array(True),)],
    # two tensors that broadcast
    "two empty": [
        (np.zeros(a), np.ones(b))
        for a, b in [((0, 3), (3,)), ((2, 0), (2, 1)), ((), (0,)), ((0,), (0,)), ((0, 1), (1, 3))]
    ],
    "two scalars": [(np.array(0.5), np.array(2.0)), (np.array(0.5), elements(2, 3))],
    "two strided": [(elements(4, 3).T, elements(3, 8)[:, ::-2])],
    "two special": [tuple(np.meshgrid(SPECIAL, SPECIAL))],
    "two far": [
        (np.float32([1e25, 1e-25, 1e-30, 3.0]), np.float32([1e25, 1e-25, 1e-30, 1e20])),
        (np.float64([1e200, 1e-200]), np.float64([1e200, 1e-200])),
    ],
    "two far, float16": [
        (np.array([1, 2, 3]), np.float16([6e4, 300, 6e-8])),
        (np.array([2**31, 5]), np.float16([1.0, 2.0])),
    ],
    "two float16": [(elements(3, 4).astype(np.float16), np.float16([2, 1, 0.5, 3]))],
    # images (N, C, H, W)
    "images": [
        (elements(2, 4, 6, 6),),
        (elements(2, 6, 4, 12).transpose(0, 2, 1, 3)[..., ::-2],),
    ],
    "float16 images": [(elements(2, 4, 6, 6).astype(np.float16),)],
    "special images": [(np.resize(SPECIAL, (1, 1, 5, 5)),), (np.full((1, 2, 4, 4), -INF),)],
    # images and kernels (O, C, KH, KW)
    "images and kernels": [
        (elements(2, 4, 6, 6), elements(4, 4, 3, 3)),
        (elements(0, 4, 6, 6), elements(4, 4, 3, 3)),
        (elements(2, 6, 4, 12).transpose(0, 2, 1, 3)[..., ::-2], elements(3, 3, 4, 4).T),
    ],
    # matrix products
    "matrices": [
        (elements(*a), elements(*b))
        for a, b in [
            ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((2, 3), (3, 0)), ((0,), (0,)), ((0,), (0, 2)),
            ((2, 0), (0,)), ((2, 3, 0), (0, 4)), ((2, 3, 4), (4, 0)), ((2, 0, 3), (3, 4)),
            ((0, 2, 3), (3, 4)), ((2, 3, 0), (2, 0, 4)), ((0, 2, 3), (0, 3, 4)), ((3,), (2, 3, 0)),
            ((1, 2, 3), (4, 3, 2)), ((2, 3, 4), (4,)),
        ]
    ] + [(elements(4, 3).T, elements(5, 8)[:, ::-2].T)],
    "rows and weight": [
        (elements(*a), elements(*b))
        for a, b in [((2, 0), (0, 3)), ((0, 3), (3, 2)), ((2, 3), (3, 0)), ((2, 3, 0), (0, 4)),
                     ((2, 3, 4), (4, 0)), ((2, 0, 3), (3, 4)), ((3,), (3, 0)), ((0,), (0, 2))]
    ] + [(elements(4, 3).T, elements(4, 8)[:, ::-2])],
    "ids": [
        (np.zeros((5, 0)), np.array([4, 0])),
        (np.zeros((5, 3)), np.zeros((0, 2), np.int64)),
        (np.zeros((0, 3)), np.zeros(0, np.int64)),
        (elements(5, 3).T, np.array(2)),
        (SPECIAL.reshape(4, 3), np.array([[0, 1, 0]])),
        (SPECIAL.reshape(4, 3), np.array([3, 0, 3], np.int32)),
    ],
    "targets": [
        (np.zeros((0, 3)), np.zeros(0, np.int64)),
        (np.zeros((2, 3)), np.array([-100, -100])),
        (elements(3, 4).T, np.array([0, -100, 2, 1])),
        (elements(2, 3), np.array([0, 2], np.uint8)),
        (np.array([[NAN, 1, 2], [0, 1, 2]]), np.array([0, 2])),
        (np.array([[-INF, 1, 2], [0, 1, 2]]), np.array([1, 2])),
        (np.array([[-INF, 1, 2], [0, 1, 2]]), np.array([0, 2])),
        (np.array([[INF, 1, 2], [0, 1, 2]]), np.array([0, 2])),
    ],
    "float16 targets": [(elements(2, 3).astype(np.float16), np.array([0, 2]))],
    "probabilities": [
        (np.array([0.0, 1.0, 0.0, 1.0, 0.5]), np.array([0.0, 1.0, 1.0, 0.0, 0.25])),
        (elements(4, 3).T, elements(3, 4)),
    ],
    "heads": [(elements(*s),) for s in ((2, 3, 12), (0, 3, 12), (2, 0, 12))],
    "steps": [(elements(*s),) for s in ((5, 3, 12), (1, 2, 12), (2, 0, 12))]
    + [(elements(12, 3, 4).T,)],
    "tokens": [(elements(*s),) for s in ((2, 3, 4), (0, 3, 4), (2, 0, 4), (2, 3, 0))],
    "square matrices": [(elements(*s),) for s in ((3, 3), (2, 3, 3), (0, 2, 2), (1, 1))]
    + [(elements(3, 3).T,)],
    "special matrices": [(SPECIAL.reshape(3, 4), elements(4, 2)), (SPECIAL, np.ones(12))],
}  # fmt: skip

ALL = ("empty", "scalar", "strided", "special", "large special", "float16")
HALF = ("wide float16", "denormal")
FAR = ("two far", "two far, float16")
NUMBERS = (*ALL, "integer")
TWO = ("two empty", "two scalars", "two strided", "two special", "two float16")


def functional(name: str, **settings: Any) -> Callable[..., Any]:
    return lambda torch, *xs: getattr(torch.nn.functional, name)(*xs, **settings)


def torch_rotary(torch: Any, x: Any, cos: Any, sin: Any) -> Any:
    first, second = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def torch_max(torch: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return x.max() if axis is None else x.amax(axis, keepdims)


def torch_min(torch: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return x.min() if axis is None else x.amin(axis, keepdims)


def states_and_weight(x: Any, gates: int, states: int) -> list[Any]:
    """Initial states of 0, and a weight of 0.1, for inputs x (T, B, gates H)."""
    H = x.shape[2] // gates
    sizes = [(x.shape[1], H)] * states
    zeros = [tt.zeros(size, dtype="float64", backend=x.backend) for size in sizes]
    return [*zeros, tt.zeros(gates * H, H, dtype="float64", backend=x.backend) + 0.1]


def torch_recurrent(torch: Any, name: str, x: Any, gates: int) -> Any:
    """The layer whose inputs are multiplied by the identity."""
    layer = getattr(torch.nn, name)(x.shape[2], x.shape[2] // gates, bias=False).double()
    layer.weight_ih_l0.data = torch.eye(x.shape[2], dtype=torch.float64)
    layer.weight_hh_l0.data.fill_(0.1)
    return layer(x)[0]


def with_zeros(x: Any) -> Any:
    """The elements in a row, all but the first set to 0 in place."""
    result = x.reshape(-1).clone()
    result[1:] = 0
    return result


def decomposed(linalg: Any, name: str, part: int | None, x: Any) -> Any:
    """One result of a function of `linalg`, for a positive definite matrix made from x."""
    ones = x.detach() * 0 + 1
    matrix = x @ x.mT + ones.tril() * ones.triu()  # the identity
    result = getattr(linalg, name)(*((matrix, x) if name == "solve" else (matrix,)))
    return result if part is None else result[part]


def int8_weight(x: Any) -> list[Any]:
    """The weight, of rows [1, 1, ...] and [-3, -3, ...], and its scale: both rows by 0.5."""
    weight = np.full((2, x.shape[-1]), [[1], [-3]], np.int8)
    return [Tensor(a, backend=x.backend) for a in (weight, np.full(2, 0.5, name_of(x.dtype)))]


def last(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: function(x, axis=-1)


CASES: dict[str, Case] = {
    # elementwise
    "negative": Case(lambda x: -x, lambda torch, x: -x, NUMBERS),
    "exp": Case(lambda x: x.exp(), lambda torch, x: x.exp(), (*NUMBERS, "boolean")),
    "log": Case(lambda x: x.log(), lambda torch, x: x.log(), (*NUMBERS, "boolean")),
    "sqrt": Case(lambda x: x.sqrt(), lambda torch, x: x.sqrt(), (*NUMBERS, "boolean")),
    "sin": Case(lambda x: x.sin(), lambda torch, x: x.sin(), (*NUMBERS, "boolean")),
    "cos": Case(lambda x: x.cos(), lambda torch, x: x.cos(), (*NUMBERS, "boolean")),
    "abs": Case(abs, lambda torch, x: x.abs(), NUMBERS),
    "clip": Case(
        lambda x: x.clip(-0.5, 1.0), lambda torch, x: x.clip(-0.5, 1.0), (*NUMBERS, "boolean")
    ),
    "clip below": Case(lambda x: x.clip(min=0), lambda torch, x: x.clip(min=0), NUMBERS),
    "cast": Case(lambda x: x.to("float64"), lambda torch, x: x.double(), (*NUMBERS, "boolean")),
    "copy": Case(lambda x: x.clone(), lambda torch, x: x.clone(), (*NUMBERS, "boolean")),
    "square": Case(lambda x: x**2, lambda torch, x: x**2, (*NUMBERS, "boolean")),
    "power 0": Case(lambda x: x**0, lambda torch, x: x**0, NUMBERS),
    "power 3": Case(lambda x: x**3, lambda torch, x: x**3, NUMBERS),
    "root": Case(lambda x: x**0.5, lambda torch, x: x**0.5, NUMBERS),
    "inverse": Case(lambda x: x**-1.0, lambda torch, x: x**-1.0, NUMBERS),
    "power of 2": Case(lambda x: 2.0**x, lambda torch, x: 2.0**x, NUMBERS),
    "power of 0": Case(lambda x: 0.0**x, lambda torch, x: 0.0**x, NUMBERS),
    "power of -2": Case(lambda x: (-2.0) ** x, lambda torch, x: (-2.0) ** x, NUMBERS),
    "divide by 0": Case(lambda x: x / 0, lambda torch, x: x / 0, (*NUMBERS, "boolean")),
    "divide 1": Case(lambda x: 1 / x, lambda torch, x: 1 / x, (*NUMBERS, "boolean")),
    "add": Case(lambda x, y: x + y, lambda torch, x, y: x + y, TWO),
    "subtract": Case(lambda x, y: x - y, lambda torch, x, y: x - y, TWO),
    "multiply": Case(lambda x, y: x * y, lambda torch, x, y: x * y, TWO),
    "divide": Case(lambda x, y: x / y, lambda torch, x, y: x / y, (*TWO, *FAR)),
    "power": Case(lambda x, y: x**y, lambda torch, x, y: x**y, TWO),
    "maximum": Case(tt.maximum, lambda torch, x, y: torch.maximum(x, y), TWO),
    "minimum": Case(tt.minimum, lambda torch, x, y: torch.minimum(x, y), TWO),
    "where": Case(
        lambda x, y: tt.where(x > y, x, y), lambda torch, x, y: torch.where(x > y, x, y), TWO
    ),
    "masked_fill": Case(
        lambda x: x.masked_fill(x > 0, 7.5), lambda torch, x: x.masked_fill(x > 0, 7.5), NUMBERS
    ),
    # activations
    "relu": Case(tt.relu, lambda torch, x: x.relu(), NUMBERS),
    "squared_relu": Case(tt.SquaredReLU(), lambda torch, x: x.relu() ** 2, ALL),
    "sigmoid": Case(tt.Sigmoid(), lambda torch, x: x.sigmoid(), (*NUMBERS, *HALF, "boolean")),
    "tanh": Case(tt.Tanh(), lambda torch, x: x.tanh(), (*NUMBERS, "boolean")),
    "gelu": Case(tt.gelu, functional("gelu", approximate="tanh"), (*ALL, *HALF)),
    "softplus": Case(tt.softplus, functional("softplus"), (*ALL, *HALF)),
    "softmax": Case(tt.softmax, lambda torch, x: x.softmax(-1), (*ALL, "one value")),
    "softmax, first": Case(
        lambda x: tt.softmax(x, axis=0), lambda torch, x: x.softmax(0), (*ALL, "one value")
    ),
    "log_softmax": Case(tt.log_softmax, lambda torch, x: x.log_softmax(-1), (*ALL, "one value")),
    # layers and losses
    "linear": Case(
        lambda x, w: tt.layers.linear(x, w.mT),
        lambda torch, x, w: torch.nn.functional.linear(x, w.mT),
        ("rows and weight",),
    ),
    "layer_norm": Case(
        lambda x: tt.LayerNorm(x.shape[-1], backend=x.backend).to(x.dtype)(x),
        lambda torch, x: torch.nn.functional.layer_norm(x, x.shape[-1:]),
        ("empty", "strided", "float16", "wide float16", "one value"),
    ),
    "dropout": Case(
        lambda x: tt.layers.dropout(x, p=0.0, seed=3), lambda torch, x: x * 1.0, ALL
    ),
    "mse": Case(lambda x, y: tt.MSELoss()(*same(x, y)), functional("mse_loss"),
                ("two strided", "two special")),
    "mse, empty": Case(lambda x: tt.MSELoss()(x, x * 2),
                       lambda torch, x: torch.nn.functional.mse_loss(x, x * 2), ("empty",)),
    "binary_cross_entropy, empty": Case(
        lambda x: tt.BinaryCrossEntropyLoss()(x, x),
        lambda torch, x: torch.nn.functional.binary_cross_entropy(x, x),
        ("empty", "strided"),
    ),
    "binary_cross_entropy": Case(
        tt.BinaryCrossEntropyLoss(), functional("binary_cross_entropy"), ("probabilities",)
    ),
    "cross_entropy": Case(
        tt.CrossEntropyLoss(), functional("cross_entropy"), ("targets", "float16 targets")
    ),
    # embeddings and attention
    "embedding": Case(embedding, lambda torch, w, i: w[i.long()], ("ids",)),
    "rotary": Case(
        lambda x: rotary(x, x[0, :, :2].detach(), x[0, :, 2:].detach()),
        lambda torch, x: torch_rotary(torch, x, x[0, :, :2].detach(), x[0, :, 2:].detach()),
        ("tokens",),
    ),
    "heads": Case(
        lambda x: merge_heads(split_heads(x, num_heads=2)[1]),
        lambda torch, x: x.split(x.shape[-1] // 3, -1)[1],
        ("heads",),
    ),
    "attention": Case(
        lambda x: attention_weights(x, x * 2, scale=0.5),
        lambda torch, x: (x @ (x * 2).mT * 0.5).softmax(-1),
        ("tokens",),
    ),
    # recurrent layers
    "rnn": Case(
        lambda x: recurrent.rnn(x, *states_and_weight(x, 1, 1))[0],
        lambda torch, x: torch_recurrent(torch, "RNN", x, 1),
        ("steps",),
    ),
    "lstm": Case(
        lambda x: recurrent.lstm(x, *states_and_weight(x, 4, 2))[0],
        lambda torch, x: torch_recurrent(torch, "LSTM", x, 4),
        ("steps",),
    ),
    "gru": Case(
        lambda x: recurrent.gru(x, *states_and_weight(x, 3, 1))[0],
        lambda torch, x: torch_recurrent(torch, "GRU", x, 3),
        ("steps",),
    ),
    # matrix products
    "matmul": Case(
        lambda x, y: x @ y, lambda torch, x, y: x @ y, ("matrices", "special matrices")
    ),
    # movement
    "reshape": Case(lambda x: x.reshape(x.size), lambda torch, x: x.reshape(x.numel()),
                    (*NUMBERS, "boolean")),
    "flatten": Case(lambda x: x.flatten(), lambda torch, x: x.flatten(), (*NUMBERS, "boolean")),
    "T": Case(lambda x: x.T, lambda torch, x: x.permute(tuple(reversed(range(x.ndim)))),
              (*NUMBERS, "boolean")),
    "unsqueeze": Case(lambda x: x.unsqueeze(-1), lambda torch, x: x.unsqueeze(-1), NUMBERS),
    "squeeze": Case(lambda x: x.squeeze(), lambda torch, x: x.squeeze(),
                    (*NUMBERS, "one value")),
    "expand": Case(lambda x: x.expand(2, *x.shape), lambda torch, x: x.expand(2, *x.shape),
                   NUMBERS),
    "getitem": Case(lambda x: x[None, ..., None], lambda torch, x: x[None, ..., None], NUMBERS),
    "concat": Case(
        lambda x: tt.concat([x.flatten(), x.flatten()[:0], x.flatten()]),
        lambda torch, x: torch.cat([x.flatten(), x.flatten()[:0], x.flatten()]),
        (*NUMBERS, "boolean"),
    ),
    "split": Case(lambda x: x.flatten().split([x.size, 0])[0] * 1, lambda torch, x: x.flatten() * 1,
                  (*NUMBERS, "boolean")),
    "stack": Case(lambda x: tt.stack([x, x], axis=-1), lambda torch, x: torch.stack([x, x], -1),
                  (*NUMBERS, "boolean")),
}  # fmt: skip

# Methods that are called in the same way in both libraries
for _name in [
    "floor",
    "ceil",
    "trunc",
    "sign",
    "reciprocal",
    "rsqrt",
    "exp2",
    "expm1",
    "log1p",
    "log2",
    "log10",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "asinh",
    "acosh",
    "atanh",
]:
    CASES[_name] = Case(
        lambda x, name=_name: getattr(x, name)(),
        lambda torch, x, name=_name: getattr(x, name)(),
        NUMBERS,
    )
for _name in ("erf", "tril", "triu"):
    CASES[_name] = Case(
        lambda x, name=_name: getattr(tt, name)(x if name == "erf" else x.unsqueeze(-1)),
        lambda torch, x, name=_name: getattr(torch, name)(x if name == "erf" else x[..., None]),
        NUMBERS,
    )
for _name in ("elu", "gelu", "hardswish", "hardtanh", "leaky_relu", "silu"):
    CASES[f"F.{_name}"] = Case(
        lambda x, name=_name: getattr(nn.functional, name)(x),
        functional(_name),
        ("empty", "scalar", "strided"),
    )
CASES["swiglu"] = Case(swiglu, lambda torch, x, y: torch.nn.functional.silu(x) * y, TWO)
CASES["int8_linear"] = Case(
    lambda x: int8_linear(x, *int8_weight(x)),
    lambda torch, x: (x / 2).sum(-1, keepdim=True) * torch.tensor([1, -3], dtype=x.dtype),
    ("tokens", "strided", "float16"),
)
CASES["F.rms_norm"] = Case(
    lambda x: nn.functional.rms_norm(x, x.shape[-1:], eps=1e-6),
    lambda torch, x: torch.nn.functional.rms_norm(x, x.shape[-1:], eps=1e-6),
    ("strided", "one value"),
)
CASES["F.layer_norm"] = Case(
    lambda x: nn.functional.layer_norm(x, x.shape),
    lambda torch, x: torch.nn.functional.layer_norm(x, x.shape),
    ("strided", "one value"),
)
CASES["F.binary_cross_entropy"] = Case(
    lambda x, y: nn.functional.binary_cross_entropy(x, y.detach(), reduction="sum"),
    lambda torch, x, y: torch.nn.functional.binary_cross_entropy(x, y.detach(), reduction="sum"),
    ("probabilities",),
)
CASES["F.binary_cross_entropy_with_logits"] = Case(
    lambda x, y: nn.functional.binary_cross_entropy_with_logits(x, y.detach()),
    lambda torch, x, y: torch.nn.functional.binary_cross_entropy_with_logits(x, y.detach()),
    ("probabilities",),
)
CASES["F.nll_loss"] = Case(
    lambda x, y: nn.functional.nll_loss(
        nn.functional.log_softmax(x, -1), y.to("int64"), reduction="sum"
    ),
    lambda torch, x, y: torch.nn.functional.nll_loss(x.log_softmax(-1), y.long(), reduction="sum"),
    ("targets",),
)
for _name, _settings in {
    "max_pool2d": {"kernel_size": 3, "stride": 2, "padding": 1},
    "avg_pool2d": {"kernel_size": 3, "stride": 2, "padding": 1},
    "adaptive_avg_pool2d": {"output_size": 3},
    "group_norm": {"num_groups": 2},
    "batch_norm": {"running_mean": None, "running_var": None, "training": True},
}.items():
    CASES[f"F.{_name}"] = Case(
        lambda x, name=_name, settings=_settings: getattr(nn.functional, name)(x, **settings),
        lambda torch, x, name=_name, settings=_settings: getattr(torch.nn.functional, name)(
            x, **settings
        ),
        ("images", "float16 images", *(["special images"] if _name.endswith("pool2d") else [])),
    )
for _name in "conv2d", "conv_transpose2d":
    CASES[f"F.{_name}"] = Case(
        lambda x, w, name=_name: getattr(nn.functional, name)(x, w, stride=2, padding=1),
        lambda torch, x, w, name=_name: getattr(torch.nn.functional, name)(
            x, w, stride=2, padding=1
        ),
        ("images and kernels",),
    )
CASES["flip"] = Case(
    lambda x: x.reshape(-1).flip(0), lambda torch, x: x.reshape(-1).flip(0), NUMBERS
)
CASES["roll"] = Case(lambda x: x.roll(1), lambda torch, x: x.roll(1), NUMBERS)
CASES["index assignment"] = Case(with_zeros, lambda torch, x: with_zeros(x), NUMBERS)
for _name, _part in {
    "det": None,
    "slogdet": 1,
    "inv": None,
    "cholesky": None,
    "eigh": 0,
    "svd": 1,
    "qr": 1,
    "solve": None,
}.items():
    CASES[_name] = Case(
        lambda x, name=_name, part=_part: decomposed(tt.linalg, name, part, x),
        lambda torch, x, name=_name, part=_part: decomposed(torch.linalg, name, part, x),
        ("square matrices",),
    )
CASES["round"] = Case(lambda x: x.round(), lambda torch, x: x.round(), (*ALL, "integer"))
for _name in "remainder", "fmod", "atan2":
    CASES[_name] = Case(
        lambda x, y, name=_name: getattr(x, name)(y),
        lambda torch, x, y, name=_name: getattr(x.double(), name)(y.double()).to(x.dtype),
        ("two empty", "two scalars", "two strided", "two float16"),
    )
for _mode in "trunc", "floor":
    CASES[f"divide, {_mode}"] = Case(
        lambda x, y, mode=_mode: x.div(y, rounding_mode=mode),
        lambda torch, x, y, mode=_mode: torch.div(x, y, rounding_mode=mode),
        TWO,
    )
CASES["sort"] = Case(
    lambda x: x.sort().values, lambda torch, x: x.sort(stable=True).values, NUMBERS
)

_REDUCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[str, ...]]] = {
    "sum": (Tensor.sum, lambda torch, x, *a: x.sum(*a), (*NUMBERS, *HALF, "boolean")),
    "mean": (Tensor.mean, lambda torch, x, *a: x.mean(*a), (*ALL, *HALF)),
    "var": (Tensor.var, lambda torch, x, *a: x.var(*a), ALL),
    "std": (Tensor.std, lambda torch, x, *a: x.std(*a), (*ALL, "wide float16")),
    "max": (Tensor.max, torch_max, (*NUMBERS, "boolean")),
    "min": (Tensor.min, torch_min, (*NUMBERS, "boolean")),
    "logsumexp": (Tensor.logsumexp, lambda torch, x, *a: x.logsumexp(*(a or (axes_of(x),))), ALL),
    "argmax": (Tensor.argmax, lambda torch, x, *a: x.argmax(*a), NUMBERS),
    "argmin": (Tensor.argmin, lambda torch, x, *a: x.argmin(*a), NUMBERS),
    "any": (Tensor.any, lambda torch, x, *a: x.any(*a), (*NUMBERS, "boolean")),
    "all": (Tensor.all, lambda torch, x, *a: x.all(*a), (*NUMBERS, "boolean")),
    "norm": (lambda x, axis=None: x.norm(2, axis), lambda torch, x, *a: x.norm(2, *a), ALL),
    "prod": (Tensor.prod, lambda torch, x, *a: x.prod(*a),
             ("empty", "scalar", "strided", "float16", "integer", "boolean")),
    "cumprod": (lambda x, axis=0: x.cumprod(axis), lambda torch, x, a=0: x.cumprod(a),
                ("empty", "scalar", "strided", "integer", "boolean")),
    "cumsum": (lambda x, axis=0: x.cumsum(axis), lambda torch, x, a=0: x.cumsum(a),
               (*NUMBERS, "boolean")),
}  # fmt: skip
for _name, (_ours, _theirs, _kinds) in _REDUCTIONS.items():
    CASES[_name] = Case(_ours, _theirs, (*_kinds, "one value"))
    for _axis in (0, -1):
        CASES[f"{_name}, axis {_axis}"] = Case(
            lambda x, f=_ours, a=_axis: f(x, axis=a),
            lambda torch, x, f=_theirs, a=_axis: f(torch, x, a),
            (*_kinds, "one value"),
        )


def axes_of(x: Any) -> tuple[int, ...]:
    return tuple(range(x.ndim))


def same(x: Any, y: Any) -> tuple[Any, Any]:
    return x, y


# Where this package does not do what PyTorch does: a part of the test's name, and the reason.
DIFFERENCES = {
    "abs-special": "the gradient at NaN is NaN, not 0",
    "abs-large special": "the gradient at NaN is NaN, not 0",
    "root-special": "the gradient at -inf is 0 and at -0.0 inf; PyTorch computes it with sqrt",
    "root-large special": "the gradient at -inf is 0 and at -0.0 inf",
    "softmax-special": "a row of only -inf gives zeros, not NaN: a query that sees no key",
    "softmax, first-special": "a row of only -inf gives zeros, not NaN",
    "var-special": "the variance of infinities is NaN; PyTorch's algorithm gives inf",
    "var, axis 0-special": "the variance of infinities is NaN",
    "var, axis -1-special": "the variance of infinities is NaN",
    **{
        f"{name}, axis {axis}-{kind}": "the gradient goes to the NaN, as for all axes"
        for name in ("max", "min")
        for axis in (0, -1)
        for kind in ("special", "large special")
    },
}


def name_of(dtype: Any) -> str:
    return str(dtype).rsplit(".", 1)[-1]


def run_ours(case: Case, arrays: tuple[np.ndarray, ...], backend: str) -> Any:
    """(value, gradients) as arrays, or the exception."""
    xs = [Tensor(a, a.dtype.kind == "f", backend=backend) for a in arrays]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            y = case.ours(*xs)
            if y.requires_grad:
                y.backward(Tensor(ramp(y.shape, name_of(y.dtype)), backend=backend))
        except (TypeError, ValueError, IndexError, RuntimeError) as error:
            if isinstance(error, RuntimeWarning):
                raise
            return error
    return name_of(y.dtype), y.numpy(), [None if x.grad is None else x.grad.numpy() for x in xs]


def run_theirs(torch: Any, case: Case, arrays: tuple[np.ndarray, ...]) -> Any:
    xs = [torch.tensor(np.ascontiguousarray(a).reshape(a.shape)) for a in arrays]
    for x in xs:
        x.requires_grad_(x.is_floating_point())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            y = case.theirs(torch, *xs)
            if y.requires_grad:
                y.backward(torch.tensor(ramp(tuple(y.shape), name_of(y.dtype))))
        except (RuntimeError, IndexError, TypeError) as error:
            return error
    grads = [None if x.grad is None else x.grad.numpy() for x in xs]
    return name_of(y.dtype), y.detach().numpy(), grads


def ramp(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """A gradient with different elements."""
    return (1 + np.arange(np.prod(shape, dtype=int)) % 5).reshape(shape).astype(dtype)


TOLERANCE = {"float16": {"rtol": 2e-2, "atol": 5e-2}, "float32": {"rtol": 1e-5, "atol": 1e-6}}


def assert_same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, Exception):
        assert isinstance(ours, Exception), f"{ours}, PyTorch: {theirs}"
        return
    assert not isinstance(ours, Exception), f"{ours!r}, PyTorch: {theirs}"
    assert ours[0] == theirs[0]
    tolerance = TOLERANCE.get(theirs[0], {"rtol": 1e-8, "atol": 1e-10})
    for a, b in zip((ours[1], *ours[2]), (theirs[1], *theirs[2]), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, **tolerance)


@pytest.mark.parametrize("name", CASES)
def test_edges_equal_pytorch(name: str, backend: str) -> None:
    torch = require("torch")
    for kind in CASES[name].kinds:
        if f"{name}-{kind}" in DIFFERENCES or ("float16" in kind and backend != "numpy"):
            continue  # the standard and the CUDA kernels have no float16
        for arrays in INPUTS[kind]:
            theirs = run_theirs(torch, CASES[name], arrays)
            for where in (backend, "reference") if backend == "numpy" else (backend,):
                try:
                    assert_same(run_ours(CASES[name], arrays, where), theirs)
                except Exception as error:
                    error.add_note(f"{kind}, on {where}: {arrays}")
                    raise


def test_every_difference_is_one() -> None:
    torch = require("torch")
    for key in DIFFERENCES:
        name, _, kind = key.rpartition("-")
        pairs = [
            (run_ours(CASES[name], arrays, "numpy"), run_theirs(torch, CASES[name], arrays))
            for arrays in INPUTS[kind]
        ]
        assert not all(map(is_same, *zip(*pairs, strict=True))), key


def is_same(ours: Any, theirs: Any) -> bool:
    try:
        assert_same(ours, theirs)
    except AssertionError:
        return False
    return True


def test_every_differentiable_op_has_an_edge_case() -> None:
    with Trace() as trace:
        for case in CASES.values():
            for kind in case.kinds:
                for arrays in INPUTS[kind]:
                    run_ours(case, arrays, "reference")
    differentiable = {name for name, op in OPS.items() if op.reference.gradient}
    assert differentiable - {name for name, _, _ in trace.rows} == set()


def test_large_arrays_of_special_values_give_no_warnings() -> None:
    """Kernels process them in other threads, which do not inherit NumPy's settings."""
    values = np.tile(SPECIAL, (3000, 40)).astype(np.float32)
    before = np.geterr()
    for function in (
        tt.gelu,
        tt.SquaredReLU(),
        tt.softmax,
        tt.LayerNorm(480),
        tt.Linear(480, 8),
        lambda x: x.exp(),
        lambda x: tt.CrossEntropyLoss()(x, [0] * 3000),
    ):
        x = Tensor(values, True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            function(x).sum().backward()
    assert np.geterr() == before


def test_writes_and_updates_of_special_values_give_no_warnings(backend: str) -> None:
    parameter = tt.Parameter(np.ones(12, np.float32), backend=backend)
    parameter.grad = Tensor(SPECIAL.astype(np.float32), backend=backend)
    integers = Tensor([1, 2], backend=backend)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for optimizer in (tt.SGD, tt.Adam, tt.AdamW):
            optimizer([parameter], lr=1e30).step()
        integers[0] = Tensor(NAN, backend=backend)
        Tensor(NAN, backend=backend).to("int32")


def test_warnings_of_other_code_stay() -> None:
    tt.relu(Tensor([1.0]))
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        np.ones(1) / np.zeros(1)
    with np.errstate(all="raise"):
        (Tensor([0.0]) / 0).exp()
        with pytest.raises(FloatingPointError):
            np.ones(1) / np.zeros(1)


@pytest.mark.parametrize(
    ("ignore", "restore"),
    [
        (float_errors.ignore, float_errors.restore),
        (float_errors._enter, float_errors._exit),  # for a NumPy without the private names
    ],
)
def test_both_ways_to_switch_warnings_off(ignore: Any, restore: Any) -> None:
    before = np.geterr()
    outer = ignore()
    inner = ignore()
    np.ones(1) / np.zeros(1)
    restore(inner)
    np.ones(1) / np.zeros(1)
    restore(outer)
    assert np.geterr() == before
    with float_errors.ignored():
        np.ones(1) / np.zeros(1)
    with pytest.raises(KeyError), float_errors.ignored():
        raise KeyError
    assert np.geterr() == before
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        np.ones(1) / np.zeros(1)
