"""The table of all ops: samples and PyTorch's function for each, which `tests/ops` tests."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tinytorch.nn
import tinytorch.optim  # noqa: F401  both declare ops of what no lesson builds
from tinytorch.backends.base import Array
from tinytorch.ops.window_arguments import window_of
from tinytorch.ops.windows import Window

Rng = np.random.Generator
Inputs = tuple[Any, ...]


@dataclass(frozen=True)
class Sample:
    """Arguments of one call to test.

    Attributes:
        name: short description.
        draw: ``draw(rng)`` returns the inputs: float64 arrays, integer arrays, masks or scalars.
        settings: the keyword arguments.
    """

    name: str
    draw: Callable[[Rng], Inputs]
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OpInfo:
    """How to test one op.

    Attributes:
        samples: the calls to test.
        torch_function: the same computation in PyTorch, ``(torch, *tensors, **settings)`` -> tensor
            or tuple of tensors; None if it is tested elsewhere.
    """

    samples: list[Sample]
    torch_function: Callable[..., Any] | None


def normal(*shapes: tuple[int, ...]) -> Callable[[Rng], Inputs]:
    return lambda rng: tuple(np.asarray(rng.standard_normal(shape)) for shape in shapes)


def away_from_zero(*shapes: tuple[int, ...]) -> Callable[[Rng], Inputs]:
    """For ops whose derivative jumps at zero, where finite differences would be wrong."""

    def draw(rng: Rng) -> Inputs:
        arrays = [rng.standard_normal(shape) for shape in shapes]
        return tuple(np.asarray(np.sign(a) * (0.1 + np.abs(a))) for a in arrays)

    return draw


def positive(*shapes: tuple[int, ...]) -> Callable[[Rng], Inputs]:
    return lambda rng: tuple(np.asarray(rng.uniform(0.5, 2.0, shape)) for shape in shapes)


def transposed(draw: Callable[[Rng], Inputs]) -> Callable[[Rng], Inputs]:
    """The same values with the strides of a transpose."""

    def strided(rng: Rng) -> Inputs:
        return tuple(
            np.swapaxes(np.ascontiguousarray(np.swapaxes(a, 0, -1)), 0, -1)
            if isinstance(a, np.ndarray) and a.ndim > 1
            else a
            for a in draw(rng)
        )

    return strided


def with_values(draw: Callable[[Rng], Inputs], *more: Any) -> Callable[[Rng], Inputs]:
    return lambda rng: (*draw(rng), *(m(rng) if callable(m) else m for m in more))


def unary(torch_function: Callable[..., Any], draw: Any = normal) -> OpInfo:
    return OpInfo(
        [
            Sample("plain", draw((3, 4))),
            Sample("transposed", transposed(draw((3, 5)))),
            Sample("empty", draw((0, 4))),
            Sample("scalar", draw(())),
            Sample("large", draw((700, 130))),
        ],
        torch_function,
    )


def binary(torch_function: Callable[..., Any], draw: Any = normal) -> OpInfo:
    return OpInfo(
        [
            Sample("plain", draw((3, 4), (3, 4))),
            Sample("broadcast", draw((3, 1, 4), (2, 1))),
            Sample("empty", draw((0, 4), (1, 4))),
            Sample("right number", with_values(draw((3, 4)), 1.5)),
            Sample("left number", lambda rng: (1.5, *draw((3, 4))(rng))),
        ],
        torch_function,
    )


def reduction(torch_function: Callable[..., Any], draw: Any = normal, **settings: Any) -> OpInfo:
    return OpInfo(
        [
            Sample("all", draw((3, 4)), {**settings}),
            Sample("one axis", draw((3, 4, 2)), {**settings, "axis": 1}),
            Sample("keepdims", draw((3, 4, 2)), {**settings, "axis": -1, "keepdims": True}),
            Sample("two axes", transposed(draw((3, 4, 2))), {**settings, "axis": (0, 2)}),
        ],
        torch_function,
    )


def _axes(x: Any, axis: Any) -> tuple[int, ...]:
    return tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)


def _ids(shape: tuple[int, ...], high: int) -> Callable[[Rng], Array]:
    return lambda rng: rng.integers(0, high, shape)


def _int8(shape: tuple[int, ...]) -> Callable[[Rng], Array]:
    return lambda rng: rng.integers(-127, 128, shape).astype(np.int8)


def _scale(size: int) -> Callable[[Rng], Array]:
    """Numbers without a gradient."""
    return lambda rng: rng.uniform(0.01, 0.02, size)


def _mask(*shape: int) -> Callable[[Rng], Array]:
    """A random boolean mask in which each query may attend to at least the first key."""

    def draw(rng: Rng) -> Array:
        mask = rng.random(shape) < 0.6
        mask[..., 0] = True
        return mask

    return draw


def _some_ignored(rng: Rng) -> Array:
    targets = rng.integers(0, 5, (4, 3))
    targets[0, :2] = -100
    return targets


def _causal(queries: int, keys: int | None = None, offset: int = 0) -> Callable[[Rng], Array]:
    """A mask in which query i may attend to the first i + 1 + offset keys."""
    return lambda rng: np.tri(queries, keys, offset, dtype=bool)


def _torch_attention_weights(torch: Any, q: Any, k: Any, mask: Any = None, *, scale: float) -> Any:
    scores = q @ k.mT * scale
    if mask is not None:
        is_bool = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, -torch.inf) if is_bool else scores + mask
    return torch.softmax(scores, dim=-1)


def _torch_split_heads(torch: Any, qkv: Any, *, num_heads: int) -> Any:
    B, T, C3 = qkv.shape
    shape = (B, T, num_heads, C3 // 3 // num_heads)
    return tuple(part.reshape(shape).transpose(1, 2) for part in qkv.split(C3 // 3, dim=2))


def _torch_recurrent(
    name: str, torch: Any, x: Any, *inputs: Any, reverse: bool = False, nonlinearity: str = "tanh"
) -> Any:
    """A layer without weights of its own: x is multiplied by the identity."""
    states = inputs[: 2 if name == "LSTM" else 1]
    weight, *bias = inputs[len(states) :]
    x = x.flip(0) if reverse else x
    kind = {"nonlinearity": nonlinearity} if name == "RNN" else {}
    layer = getattr(torch.nn, name)(x.shape[2], weight.shape[1], **kind).double()
    zeros = torch.zeros(x.shape[2], dtype=torch.float64)
    weights = {"weight_ih_l0": torch.eye(x.shape[2], dtype=torch.float64), "bias_ih_l0": zeros}
    weights |= {"weight_hh_l0": weight, "bias_hh_l0": bias[0] if bias else zeros}
    initial = tuple(state[None] for state in states)
    inputs = (x, initial if name == "LSTM" else initial[0])
    y, final = torch.func.functional_call(layer, weights, inputs)
    final = final if name == "LSTM" else (final,)
    return (y.flip(0) if reverse else y, *(state[0] for state in final))


def _torch_rotary(torch: Any, x: Any, cos: Any, sin: Any) -> Any:
    pairs = torch.complex(*x.chunk(2, dim=-1)) * torch.complex(cos, sin).detach()
    return torch.cat([pairs.real, pairs.imag], dim=-1)


def _torch_dropout(torch: Any, x: Any, *, p: float, seed: int) -> Any:
    # PyTorch draws a different mask, so this uses ours.
    from tinytorch import Tensor
    from tinytorch.layers import dropout

    kept = dropout(Tensor(np.ones(tuple(x.shape))), p=p, seed=seed).numpy() != 0
    return x * torch.from_numpy(kept) / (1 - p)


def _torch_where(torch: Any, condition: Any, x: Any, y: Any) -> Any:
    return torch.where(condition, x, y)


def _invertible(*shape: int) -> Callable[[Rng], Inputs]:
    """Square matrices with distinct singular values, far from singular."""
    n = shape[-1]
    return lambda rng: (np.diag(np.arange(2.0, n + 2)) + 0.2 * rng.normal(size=(*shape, n)),)


def _symmetric(*shape: int) -> Callable[[Rng], Inputs]:
    """Symmetric positive definite matrices with distinct eigenvalues."""

    def draw(rng: Rng) -> Inputs:
        (x,) = _invertible(*shape)(rng)
        return (x + np.swapaxes(x, -2, -1),)

    return draw


def _torch_index_put(torch: Any, x: Any, values: Any, *, key: Any, accumulate: bool = False) -> Any:
    out = x.clone()
    out[key] = out[key] + values if accumulate else values
    return out


def _triangle(torch_function: Callable[..., Any]) -> OpInfo:
    return OpInfo(
        [
            Sample("square", normal((4, 4))),
            Sample("below", normal((3, 5)), {"diagonal": -1}),
            Sample("above, stack", transposed(normal((2, 5, 3))), {"diagonal": 1}),
            Sample("empty", normal((0, 3))),
        ],
        torch_function,
    )


def _torch_divide(torch: Any, x: Any, y: Any, mode: str) -> Any:
    return torch.div(torch.as_tensor(x, dtype=torch.float64), y, rounding_mode=mode)


def _torch_prod(x: Any, axis: Any, keepdims: bool) -> Any:
    for a in sorted(_axes(x, axis), reverse=True, key=lambda a: a % x.ndim):
        x = x.prod(a, keepdims)
    return x


def _within(low: float, high: float) -> Callable[..., Callable[[Rng], Inputs]]:
    """Uniform numbers in [low, high)."""

    def draw(*shapes: tuple[int, ...]) -> Callable[[Rng], Inputs]:
        return lambda rng: tuple(np.asarray(rng.uniform(low, high, shape)) for shape in shapes)

    return draw


def _places(shape: tuple[int, ...], size: int, axis: int) -> Callable[[Rng], Array]:
    """Different indices below `size` along `axis`."""

    def draw(rng: Rng) -> Array:
        order = np.argsort(rng.random([size if n == shape[axis] else n for n in shape]), axis=axis)
        return np.take(order, range(shape[axis]), axis)

    return draw


def _angles(rng: Rng) -> Inputs:
    angle = rng.standard_normal((5, 3))
    return rng.standard_normal((2, 2, 5, 6)), np.cos(angle), np.sin(angle)


def _window(*image: int, **settings: Any) -> dict[str, Any]:
    return {"window": window_of("window", image, **settings)}


def _torch_conv(
    torch: Any, x: Any, weight: Any, *bias: Any, window: Window, groups: int = 1
) -> Any:
    _, _, stride, padding, dilation, _ = window
    bias = bias or (None,)
    return torch.nn.functional.conv2d(x, weight, *bias, stride, padding, dilation, groups)


def _torch_conv_transpose(
    torch: Any, x: Any, weight: Any, *bias: Any, window: Window, groups: int = 1
) -> Any:
    image, kernel, stride, padding, dilation, output = window
    given = (output, stride, padding, dilation, kernel, image)
    more = [
        size - ((n - 1) * s - 2 * p + d * (k - 1) + 1)
        for n, s, p, d, k, size in zip(*given, strict=True)
    ]
    bias = bias or (None,)
    return torch.nn.functional.conv_transpose2d(
        x, weight, *bias, stride, padding, more, groups, dilation
    )


def _covers_end(window: Window) -> bool:
    """Whether the last position of a kernel begins so late that only `ceil_mode` allows it."""
    sizes = zip(*window, strict=True)
    return any((o - 1) * s + d * (k - 1) + 1 > n + 2 * p for n, k, s, p, d, o in sizes)


def _torch_max_pool(torch: Any, x: Any, *, window: Window) -> Any:
    _, kernel, stride, padding, dilation, _ = window
    ceil = _covers_end(window)
    return torch.nn.functional.max_pool2d(x, kernel, stride, padding, dilation, ceil)


def _torch_avg_pool(
    torch: Any, x: Any, *, window: Window, count_include_pad: bool = True, divisor: Any = None
) -> Any:
    _, kernel, stride, padding, _, _ = window
    ceil = _covers_end(window)
    return torch.nn.functional.avg_pool2d(
        x, kernel, stride, padding, ceil, count_include_pad, divisor
    )


def _torch_batch_norm(torch: Any, x: Any, *wb: Any, eps: float) -> Any:
    axes = (0, *range(2, x.ndim))
    y = torch.nn.functional.batch_norm(x, None, None, *wb, training=True, eps=eps)
    return y, x.mean(axes), x.var(axes, correction=0)


_ADAM = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1, "step": 3}
_RMSPROP = {"lr": 0.1, "alpha": 0.9, "eps": 1e-8, "weight_decay": 0.1, "momentum": 0.0}


def _positive(rng: np.random.Generator) -> Any:
    return rng.uniform(0, 1, (3, 4))


_MOMENTS = with_values(normal((3, 4), (3, 4), (3, 4)), _positive)
_SQUARES = with_values(normal((3, 4), (3, 4)), _positive)  # parameter, gradient, second moment
_TWO_SQUARES = with_values(_SQUARES, _positive)
_THREE_MOMENTS = with_values(_MOMENTS, _positive)
_CENTERED = with_values(
    with_values(with_values(normal((3, 4), (3, 4)), lambda rng: 9 + _positive(rng)), _positive),
    _positive,
)

OP_INFOS: dict[str, OpInfo] = {
    # elementwise
    "add": binary(lambda torch, x, y: x + y),
    "subtract": binary(lambda torch, x, y: x - y),
    "multiply": binary(lambda torch, x, y: x * y),
    "divide": binary(lambda torch, x, y: x / y, positive),
    "power": OpInfo(
        [
            *binary(lambda torch, x, y: x**y, positive).samples,
            Sample("square", with_values(normal((3, 4)), 2)),
            Sample("cube", with_values(normal((3, 4)), 3)),
            Sample("exponent 0", with_values(normal((3, 4)), 0)),
        ],
        lambda torch, x, y: x**y,
    ),
    "negative": unary(lambda torch, x: -x),
    "exp": unary(lambda torch, x: x.exp()),
    "log": unary(lambda torch, x: x.log(), positive),
    "sqrt": unary(lambda torch, x: x.sqrt(), positive),
    "abs": unary(lambda torch, x: x.abs(), away_from_zero),
    "sin": unary(lambda torch, x: x.sin()),
    "cos": unary(lambda torch, x: x.cos()),
    "maximum": OpInfo(
        binary(lambda torch, x, y: x, normal).samples[:3],
        lambda torch, x, y: torch.maximum(x, y),
    ),
    "minimum": OpInfo(
        binary(lambda torch, x, y: x, normal).samples[:3],
        lambda torch, x, y: torch.minimum(x, y),
    ),
    "clip": OpInfo(
        [
            Sample("min and max", normal((3, 4)), {"min": -0.5, "max": 0.5}),
            Sample("min only", transposed(normal((3, 4))), {"min": -0.5}),
            Sample("max only", normal((0, 4)), {"max": 0.5}),
        ],
        lambda torch, x, **s: x.clip(**s),
    ),
    "where": OpInfo(
        [
            Sample("plain", lambda rng: (rng.random((3, 4)) < 0.5, *normal((3, 4), (3, 4))(rng))),
            Sample("broadcast", lambda rng: (rng.random(4) < 0.5, *normal((3, 1), (1, 4))(rng))),
        ],
        _torch_where,
    ),
    "cast": OpInfo([Sample("same", normal((3, 4)), {"dtype": "float64"})], None),
    "copy": unary(lambda torch, x: x.clone()),
    # rounding: finite differences of the values of these distributions are far from jumps
    "floor": unary(lambda torch, x: x.floor()),
    "ceil": unary(lambda torch, x: x.ceil()),
    "trunc": unary(lambda torch, x: x.trunc()),
    "round": unary(lambda torch, x: x.round()),
    "sign": unary(lambda torch, x: x.sign(), away_from_zero),
    "trunc_divide": binary(lambda torch, x, y: _torch_divide(torch, x, y, "trunc"), positive),
    "floor_divide": binary(lambda torch, x, y: _torch_divide(torch, x, y, "floor"), positive),
    "remainder": OpInfo(
        binary(None, positive).samples[:4], lambda torch, x, y: torch.remainder(x, y)
    ),
    "fmod": OpInfo(binary(None, positive).samples[:4], lambda torch, x, y: torch.fmod(x, y)),
    # transcendental functions
    "reciprocal": unary(lambda torch, x: x.reciprocal(), away_from_zero),
    "rsqrt": unary(lambda torch, x: x.rsqrt(), positive),
    "exp2": unary(lambda torch, x: x.exp2()),
    "expm1": unary(lambda torch, x: x.expm1()),
    "log1p": unary(lambda torch, x: x.log1p(), positive),
    "log2": unary(lambda torch, x: x.log2(), positive),
    "log10": unary(lambda torch, x: x.log10(), positive),
    "tan": unary(lambda torch, x: x.tan(), _within(-1.0, 1.0)),
    "asin": unary(lambda torch, x: x.asin(), _within(-0.9, 0.9)),
    "acos": unary(lambda torch, x: x.acos(), _within(-0.9, 0.9)),
    "atan": unary(lambda torch, x: x.atan()),
    "atan2": OpInfo(
        binary(None, positive).samples[:4],
        lambda torch, y, x: torch.atan2(y, torch.as_tensor(x, dtype=y.dtype)),
    ),
    "sinh": unary(lambda torch, x: x.sinh()),
    "cosh": unary(lambda torch, x: x.cosh()),
    "asinh": unary(lambda torch, x: x.asinh()),
    "acosh": unary(lambda torch, x: x.acosh(), _within(1.1, 3.0)),
    "atanh": unary(lambda torch, x: x.atanh(), _within(-0.9, 0.9)),
    # sorting
    "pick": OpInfo(
        [
            Sample("last", with_values(normal((3, 5)), _places((3, 2), 5, -1)), {"axis": 1}),
            Sample("first", with_values(normal((5, 3)), _places((2, 3), 5, 0)), {"axis": 0}),
            Sample("empty", with_values(normal((0, 5)), _places((0, 2), 5, -1)), {"axis": 1}),
        ],
        lambda torch, x, indices, axis: x.gather(axis, indices),
    ),
    # reductions
    "prod": OpInfo(
        [
            *reduction(None).samples,
            Sample("zeros", lambda rng: (np.float64([[2, 0, 3], [0, 0, 4], [1, 2, 3]]),),
                   {"axis": 1}),
        ],
        lambda torch, x, axis=None, keepdims=False: _torch_prod(x, axis, keepdims),
    ),
    "cumprod": OpInfo(
        [
            Sample("first", normal((3, 4)), {"axis": 0}),
            Sample("last", transposed(normal((2, 3, 4))), {"axis": -1}),
            Sample("empty", normal((0, 4)), {"axis": 0}),
            Sample("zeros", lambda rng: (np.float64([[2, 0, 3, 4], [0, 0, 4, 1], [1, 2, 3, 0]]),),
                   {"axis": 1}),
        ],
        lambda torch, x, axis: torch.cumprod(x, axis),
    ),
    "vector_norm": OpInfo(
        [
            *reduction(None).samples,
            Sample("sum", away_from_zero((3, 4)), {"axis": 1, "p": 1}),
            Sample("largest", normal((3, 4)), {"axis": 0, "p": float("inf")}),
            Sample("smallest", normal((3, 4)), {"axis": 0, "p": -float("inf"), "keepdims": True}),
            Sample("cubes", away_from_zero((3, 4)), {"p": 3}),
            Sample("roots", positive((3, 4)), {"axis": 1, "p": 0.5}),
            Sample("count", normal((3, 4)), {"axis": 1, "p": 0}),
        ],
        lambda torch, x, p=2, axis=None, keepdims=False: torch.linalg.vector_norm(
            x, p, axis, keepdims
        ),
    ),
    "sum": reduction(lambda torch, x, axis=None, keepdims=False: x.sum(axis, keepdims)),
    "mean": reduction(lambda torch, x, axis=None, keepdims=False: x.mean(axis, keepdims)),
    "var": OpInfo(
        [
            *reduction(None).samples,
            Sample("population", normal((3, 4)), {"axis": 1, "correction": 0}),
        ],
        lambda torch, x, axis=None, correction=1, keepdims=False: x.var(
            axis, correction=correction, keepdim=keepdims
        ),
    ),
    "std": OpInfo(
        [
            *reduction(None).samples,
            Sample("population", normal((3, 4)), {"axis": 1, "correction": 0}),
        ],
        lambda torch, x, axis=None, correction=1, keepdims=False: x.std(
            axis, correction=correction, keepdim=keepdims
        ),
    ),
    "max": reduction(
        lambda torch, x, axis=None, keepdims=False: x.amax(_axes(x, axis), keepdims)
    ),
    "min": reduction(
        lambda torch, x, axis=None, keepdims=False: x.amin(_axes(x, axis), keepdims)
    ),
    "logsumexp": reduction(
        lambda torch, x, axis=None, keepdims=False: x.logsumexp(_axes(x, axis), keepdims)
    ),
    "cumsum": OpInfo(
        [
            Sample("first", normal((3, 4)), {"axis": 0}),
            Sample("last", normal((2, 3, 4)), {"axis": -1}),
            Sample("middle", transposed(normal((2, 3, 4))), {"axis": 1}),
            Sample("empty", normal((0, 4)), {"axis": 1}),
            Sample("empty axis", normal((0, 4)), {"axis": 0}),
            Sample("large values", lambda rng: (1000 * rng.normal(size=(3, 4)),), {"axis": 1}),
            Sample("large", normal((130, 70)), {"axis": 0}),
        ],
        lambda torch, x, axis: torch.cumsum(x, axis),
    ),
    # shape
    "reshape": OpInfo(
        [
            Sample("plain", normal((3, 4)), {"shape": (2, 6)}),
            Sample("inferred", transposed(normal((3, 4))), {"shape": (-1, 2)}),
            Sample("empty", normal((0, 4)), {"shape": (2, 0)}),
        ],
        lambda torch, x, shape: x.reshape(shape),
    ),
    "permute": OpInfo(
        [Sample("plain", normal((2, 3, 4)), {"axes": (2, 0, -2)})],
        lambda torch, x, axes: x.permute(axes),
    ),
    "broadcast_to": OpInfo(
        [
            Sample("more axes", normal((3, 1)), {"shape": (2, 3, 4)}),
            Sample("same", normal((3, 4)), {"shape": (3, 4)}),
        ],
        lambda torch, x, shape: x.broadcast_to(shape),
    ),
    "getitem": OpInfo(
        [
            Sample("slices", normal((5, 6)), {"key": (slice(1, 4), slice(None, None, 2))}),
            Sample("integer", normal((5, 6)), {"key": -1}),
            Sample("ellipsis", normal((2, 3, 4)), {"key": (..., None, 0)}),
        ],
        lambda torch, x, key: x[key],
    ),
    "index_put": OpInfo(
        [
            Sample("slice", normal((5, 6), (2, 6)), {"key": slice(1, 3)}),
            Sample("broadcast", normal((5, 6), (3, 1)), {"key": (slice(1, 4), slice(None))}),
            Sample("more axes", normal((5, 6), (1, 1, 6)), {"key": 2}),
            Sample("added", normal((5, 6), (2, 6)), {"key": slice(1, 3), "accumulate": True}),
            Sample("number", with_values(normal((5, 6)), 2.0), {"key": (..., 0)}),
        ],
        _torch_index_put,
    ),
    "flip": OpInfo(
        [
            Sample("one axis", normal((2, 3, 4)), {"axes": (1,)}),
            Sample("two axes", transposed(normal((3, 4))), {"axes": (0, 1)}),
            Sample("no axes", normal((3, 4)), {"axes": ()}),
        ],
        lambda torch, x, axes: x.flip(axes),
    ),
    "roll": OpInfo(
        [
            Sample("one axis", normal((2, 3, 4)), {"shifts": (1,), "axes": (1,)}),
            Sample("two axes", normal((3, 4)), {"shifts": (-1, 6), "axes": (1, 0)}),
            Sample("empty", normal((0, 4)), {"shifts": (1,), "axes": (0,)}),
        ],
        lambda torch, x, shifts, axes: x.roll(shifts, axes),
    ),
    "tril": _triangle(lambda torch, x, diagonal=0: x.tril(diagonal)),
    "triu": _triangle(lambda torch, x, diagonal=0: x.triu(diagonal)),
    "concat": OpInfo(
        [
            Sample("rows", normal((2, 3), (1, 3), (4, 3)), {"axis": 0}),
            Sample("columns", transposed(normal((3, 2), (3, 0), (3, 4))), {"axis": -1}),
        ],
        lambda torch, *xs, axis: torch.cat(xs, dim=axis),
    ),
    "split": OpInfo(
        [
            Sample("columns", normal((3, 6)), {"sizes": (1, 2, 3), "axis": -1}),
            Sample("rows", transposed(normal((4, 2))), {"sizes": (4, 0), "axis": 0}),
        ],
        lambda torch, x, sizes, axis: x.split(sizes, dim=axis),
    ),
    "stack": OpInfo(
        [
            Sample("first", normal((2, 3), (2, 3)), {"axis": 0}),
            Sample("last", normal((2, 3), (2, 3), (2, 3)), {"axis": -1}),
        ],
        lambda torch, *xs, axis: torch.stack(xs, dim=axis),
    ),
    "matmul": OpInfo(
        [
            Sample("matrices", normal((3, 4), (4, 5))),
            Sample("transposed", transposed(normal((3, 4), (4, 5)))),
            Sample("batch and matrix", normal((2, 3, 4), (4, 5))),
            Sample("batches", normal((2, 3, 4), (2, 4, 5))),
            Sample("broadcast batches", normal((2, 1, 3, 4), (3, 4, 5))),
            Sample("large batches", normal((40, 70, 65), (40, 65, 33))),
            Sample("vectors", normal((4,), (4,))),
            Sample("vector left", normal((4,), (4, 5))),
            Sample("vector left of batch", normal((4,), (2, 4, 5))),
            Sample("vector right", normal((3, 4), (4,))),
            Sample("vector right of batch", normal((2, 3, 4), (4,))),
            Sample("empty", normal((0, 4), (4, 5))),
        ],
        lambda torch, x, y: x @ y,
    ),
    "inverse": OpInfo(
        [Sample("matrix", _invertible(3)), Sample("stack", _invertible(2, 3))],
        lambda torch, x: x.inverse(),
    ),
    "solve": OpInfo(
        [
            Sample("matrices", with_values(_invertible(3), lambda rng: rng.normal(size=(3, 2)))),
            Sample("stack", with_values(_invertible(2, 3), lambda rng: rng.normal(size=(2, 3, 1)))),
        ],
        lambda torch, a, b: torch.linalg.solve(a, b),
    ),
    "det": OpInfo(
        [Sample("matrix", _invertible(3)), Sample("stack", _invertible(2, 3))],
        lambda torch, x: torch.linalg.det(x),
    ),
    "slogdet": OpInfo(
        [Sample("matrix", _invertible(3)), Sample("stack", _invertible(2, 3))],
        lambda torch, x: tuple(torch.linalg.slogdet(x)),
    ),
    "cholesky": OpInfo(
        [Sample("matrix", _symmetric(3)), Sample("stack", _symmetric(2, 3))],
        lambda torch, x: torch.linalg.cholesky(x),
    ),
    # The signs of eigenvectors are free: see tests/ops/test_linear_algebra.py.
    "eigh": OpInfo([Sample("matrix", _symmetric(3)), Sample("stack", _symmetric(2, 3))], None),
    "svd": OpInfo(
        [
            Sample("square", _invertible(3)),
            Sample("tall", lambda rng: (np.vstack([*_invertible(3)(rng), np.ones((1, 3))]),)),
            Sample("wide", lambda rng: (np.vstack([*_invertible(3)(rng), np.ones((1, 3))]).T,)),
        ],
        None,
    ),
    "qr": OpInfo(
        [
            Sample("square", _invertible(3)),
            Sample("tall", lambda rng: (np.vstack([*_invertible(3)(rng), np.ones((1, 3))]),)),
        ],
        None,
    ),
    # activations
    "relu": unary(lambda torch, x: x.relu(), away_from_zero),
    "squared_relu": unary(lambda torch, x: x.relu() ** 2, away_from_zero),
    "sigmoid": unary(lambda torch, x: x.sigmoid()),
    "tanh": unary(lambda torch, x: x.tanh()),
    "gelu": unary(lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh")),
    "softplus": OpInfo(
        [
            *unary(None).samples,
            Sample("large values", lambda rng: (rng.choice([-1000.0, 1000.0], (3, 4)),)),
        ],
        lambda torch, x: torch.nn.functional.softplus(x),
    ),
    "softmax": OpInfo(
        [
            Sample("last", normal((3, 4))),
            Sample("first", transposed(normal((3, 4))), {"axis": 0}),
        ],
        lambda torch, x, axis=-1: x.softmax(axis),
    ),
    "erf": OpInfo(
        [
            *unary(None).samples,
            Sample("large values", lambda rng: (rng.uniform(-8, 8, (30, 40)),)),
        ],
        lambda torch, x: x.erf(),
    ),
    "gelu_erf": unary(lambda torch, x: torch.nn.functional.gelu(x)),
    "silu": unary(lambda torch, x: torch.nn.functional.silu(x)),
    "swiglu": OpInfo(
        [
            Sample("plain", normal((3, 4), (3, 4))),
            Sample("broadcast", normal((3, 1, 4), (2, 1))),
            Sample("empty", normal((0, 4), (1, 4))),
            Sample("number", with_values(normal((3, 4)), 1.5)),
            Sample("number as gate", lambda rng: (1.5, *normal((3, 4))(rng))),
            Sample("strided", transposed(normal((3, 5), (3, 5)))),
            Sample("large", normal((700, 130), (700, 130))),
        ],
        lambda torch, gate, x: torch.nn.functional.silu(
            torch.tensor(gate, dtype=torch.float64) if isinstance(gate, float) else gate
        ) * x,
    ),
    "leaky_relu": OpInfo(
        [
            Sample("plain", away_from_zero((3, 4)), {"negative_slope": 0.1}),
            Sample("negative", away_from_zero((3, 4)), {"negative_slope": -0.5}),
        ],
        lambda torch, x, negative_slope: torch.nn.functional.leaky_relu(x, negative_slope),
    ),
    "elu": OpInfo(
        [
            Sample("elu", away_from_zero((3, 4)), {"alpha": 0.7}),
            Sample("all settings", away_from_zero((3, 4)),
                   {"alpha": 0.7, "scale": 1.2, "rate": 2.0}),
        ],
        lambda torch, x, alpha, scale=1.0, rate=1.0: scale * torch.where(
            x > 0, x, alpha * torch.expm1(rate * x)
        ),
    ),
    "hardtanh": OpInfo(
        [Sample("plain", normal((30, 4)), {"low": -0.5, "high": 0.7})],
        lambda torch, x, low, high: torch.nn.functional.hardtanh(x, low, high),
    ),
    "hardswish": OpInfo(
        [Sample("plain", lambda rng: (rng.uniform(-5, 5, (30, 4)),))],
        lambda torch, x: torch.nn.functional.hardswish(x),
    ),
    # layers
    "linear": OpInfo(
        [
            Sample("bias", normal((2, 3, 4), (5, 4), (5,))),
            Sample("no bias", normal((3, 4), (5, 4))),
            Sample("bias None", with_values(normal((3, 4), (5, 4)), None)),
            Sample("vector", normal((4,), (5, 4), (5,))),
            Sample("transposed", transposed(normal((2, 3, 4), (5, 4)))),
            Sample("empty", normal((0, 4), (5, 4), (5,))),
        ],
        lambda torch, *xs: torch.nn.functional.linear(*xs),
    ),
    "dropout": OpInfo(
        [Sample("half", normal((30, 40)), {"p": 0.5, "seed": 2**40 + 3})], _torch_dropout
    ),
    "layer_norm": OpInfo(
        [
            Sample("bias", normal((2, 3, 8), (8,), (8,))),
            Sample("no bias", transposed(normal((3, 8), (8,)))),
            Sample("vector", normal((8,), (8,), (8,))),
            Sample("empty", normal((0, 8), (8,))),
            Sample("large", normal((900, 130), (130,), (130,))),
            Sample("large without bias", normal((900, 130), (130,))),
            Sample("wide", normal((20, 516), (516,), (516,))),
            Sample("zero in weight", with_values(normal((2000, 3)), np.float64([0, 1e-9, 1]))),
        ],
        lambda torch, x, *wb: torch.nn.functional.layer_norm(x, x.shape[-1:], *wb),
    ),
    "standardize": OpInfo(
        [
            Sample("last", normal((2, 3, 8)), {"axes": (2,), "eps": 1e-5}),
            Sample("two axes", transposed(normal((4, 3, 5))), {"axes": (0, 2), "eps": 1e-5}),
        ],
        lambda torch, x, axes, eps: (x - x.mean(axes, keepdim=True))
        / (x.var(axes, correction=0, keepdim=True) + eps).sqrt(),
    ),
    "rms_norm": OpInfo(
        [
            Sample("weight", normal((2, 3, 8), (8,)), {"eps": 1e-5}),
            Sample("no weight", transposed(normal((3, 8))), {"eps": 1e-2}),
            Sample("empty", normal((0, 8), (8,)), {"eps": 1e-5}),
            Sample("many rows", normal((700, 130), (130,)), {"eps": 1e-5}),
            Sample("one weight for all", normal((3, 8), (1,)), {"eps": 1e-5}),
        ],
        lambda torch, x, *w, eps: torch.nn.functional.rms_norm(
            x, x.shape[-1:], *(v.expand(x.shape[-1]) for v in w), eps=eps
        ),
    ),
    "group_normalization": OpInfo(
        [
            Sample("bias", normal((3, 4, 5), (4,), (4,)), {"num_groups": 2, "eps": 1e-5}),
            Sample("no bias", transposed(normal((2, 6, 3, 4), (6,))),
                   {"num_groups": 3, "eps": 1e-3}),
            Sample("no weight", with_values(normal((3, 4), (4,)), None),
                   {"num_groups": 1, "eps": 1e-5}),
            Sample("empty", normal((0, 4, 5), (4,), (4,)), {"num_groups": 2, "eps": 1e-5}),
            Sample("large", normal((20, 8, 30, 31), (8,), (8,)), {"num_groups": 4, "eps": 1e-5}),
        ],
        lambda torch, x, *wb, num_groups, eps: torch.nn.functional.group_norm(
            x, num_groups, *wb, eps=eps
        ),
    ),
    # images
    "convolution": OpInfo(
        [
            Sample("plain", normal((2, 3, 6, 5), (4, 3, 3, 2)), _window(6, 5, kernel=(3, 2),
                   stride=1)),
            Sample("padding and bias", normal((2, 3, 5, 6), (4, 3, 3, 3), (4,)),
                   _window(5, 6, kernel=3, stride=1, padding=1)),
            Sample("stride", normal((2, 3, 8, 7), (4, 3, 3, 3), (4,)),
                   _window(8, 7, kernel=3, stride=(2, 3), padding=(1, 2))),
            Sample("dilation", normal((2, 2, 9, 8), (3, 2, 3, 2), (3,)),
                   _window(9, 8, kernel=(3, 2), stride=(1, 2), dilation=(2, 3), padding=1)),
            Sample("groups", normal((2, 4, 5, 5), (6, 2, 3, 3), (6,)),
                   {**_window(5, 5, kernel=3, stride=1, padding=1), "groups": 2}),
            Sample("depthwise", normal((2, 3, 5, 5), (3, 1, 3, 3)),
                   {**_window(5, 5, kernel=3, stride=2, padding=1), "groups": 3}),
            Sample("one pixel", normal((2, 3, 4, 5), (4, 3, 1, 1), (4,)),
                   _window(4, 5, kernel=1, stride=1)),
            Sample("one pixel, stride", normal((2, 3, 4, 5), (4, 3, 1, 1), (4,)),
                   _window(4, 5, kernel=1, stride=2)),
            Sample("transposed", transposed(normal((2, 3, 5, 6), (4, 3, 3, 3), (4,))),
                   _window(5, 6, kernel=3, stride=1, padding=1)),
            Sample("one output", normal((3, 2, 4, 4), (5, 2, 4, 4), (5,)),
                   _window(4, 4, kernel=4, stride=1)),
            Sample("wide padding", normal((2, 2, 3, 3), (2, 2, 3, 3)),
                   _window(3, 3, kernel=3, stride=1, padding=4)),
            Sample("empty", normal((0, 3, 5, 5), (4, 3, 3, 3), (4,)),
                   _window(5, 5, kernel=3, stride=1)),
            Sample("many images", normal((40, 1, 14, 14), (6, 1, 5, 5), (6,)),
                   _window(14, 14, kernel=5, stride=1, padding=2)),
            Sample("many channels", normal((5, 16, 12, 12), (24, 16, 3, 3)),
                   _window(12, 12, kernel=3, stride=1, padding=1)),
            Sample("many channels, stride", normal((5, 16, 12, 12), (24, 16, 3, 3), (24,)),
                   _window(12, 12, kernel=3, stride=2, padding=1)),
            Sample("bias None", with_values(normal((2, 3, 5, 6), (4, 3, 3, 3)), None),
                   _window(5, 6, kernel=3, stride=1, padding=1)),
        ],
        _torch_conv,
    ),
    "transposed_convolution": OpInfo(
        [
            Sample("plain", normal((2, 3, 4, 5), (3, 4, 3, 2)),
                   _window(6, 6, kernel=(3, 2), stride=1)),
            Sample("stride and bias", normal((2, 3, 4, 3), (3, 4, 3, 3), (4,)),
                   _window(8, 5, kernel=3, stride=2, padding=1)),
            Sample("no overlap", normal((2, 3, 4, 3), (3, 4, 2, 2), (4,)),
                   _window(8, 6, kernel=2, stride=2)),
            Sample("dilation", normal((2, 2, 4, 3), (2, 3, 2, 3), (3,)),
                   _window(8, 9, kernel=(2, 3), stride=(2, 1), dilation=(1, 3), padding=0)),
            Sample("groups", normal((2, 6, 5, 5), (6, 2, 3, 3), (4,)),
                   {**_window(5, 5, kernel=3, stride=1, padding=1), "groups": 2}),
            Sample("transposed", transposed(normal((2, 3, 4, 5), (3, 4, 3, 3))),
                   _window(4, 5, kernel=3, stride=1, padding=1)),
            Sample("empty", normal((0, 3, 3, 3), (3, 4, 3, 3), (4,)),
                   _window(5, 5, kernel=3, stride=1)),
            Sample("many channels", normal((5, 16, 12, 12), (16, 24, 3, 3), (24,)),
                   _window(24, 24, kernel=3, stride=2, padding=1)),
        ],
        _torch_conv_transpose,
    ),
    "max_pooling": OpInfo(
        [
            Sample("plain", normal((2, 3, 6, 4)), _window(6, 4, kernel=2, stride=2)),
            Sample("odd", normal((2, 3, 7, 5)), _window(7, 5, kernel=2, stride=2)),
            Sample("overlap", normal((2, 3, 6, 7)),
                   _window(6, 7, kernel=3, stride=(1, 2), padding=1)),
            Sample("dilation", normal((2, 3, 8, 9)),
                   _window(8, 9, kernel=(2, 3), stride=2, padding=1, dilation=(2, 3))),
            Sample("ceil", normal((2, 3, 7, 8)),
                   _window(7, 8, kernel=3, stride=3, padding=1, ceil_mode=True)),
            Sample("transposed", transposed(normal((2, 3, 6, 4))),
                   _window(6, 4, kernel=2, stride=2)),
            Sample("empty", normal((0, 3, 6, 4)), _window(6, 4, kernel=2, stride=2)),
            Sample("one pixel", normal((2, 3, 4, 4)), _window(4, 4, kernel=1, stride=1)),
            Sample("large", normal((30, 7, 20, 24)), _window(20, 24, kernel=2, stride=2)),
            Sample("large, overlap", normal((30, 7, 20, 24)),
                   _window(20, 24, kernel=3, stride=2, padding=1)),
        ],
        _torch_max_pool,
    ),
    "average_pooling": OpInfo(
        [
            Sample("plain", normal((2, 3, 6, 4)), _window(6, 4, kernel=2, stride=2)),
            Sample("odd", normal((2, 3, 7, 5)), _window(7, 5, kernel=2, stride=2)),
            Sample("overlap", normal((2, 3, 6, 7)),
                   _window(6, 7, kernel=3, stride=(1, 2), padding=1)),
            Sample("padding excluded", normal((2, 3, 6, 7)),
                   {**_window(6, 7, kernel=3, stride=2, padding=1), "count_include_pad": False}),
            Sample("ceil", normal((2, 3, 7, 8)),
                   _window(7, 8, kernel=3, stride=3, padding=1, ceil_mode=True)),
            Sample("ceil, excluded", normal((2, 3, 8, 8)),
                   {**_window(8, 8, kernel=3, stride=2, padding=1, ceil_mode=True),
                    "count_include_pad": False}),
            Sample("divisor", normal((2, 3, 6, 4)),
                   {**_window(6, 4, kernel=2, stride=2), "divisor": 3}),
            Sample("transposed", transposed(normal((2, 3, 6, 4))),
                   _window(6, 4, kernel=2, stride=2)),
            Sample("empty", normal((0, 3, 6, 4)), _window(6, 4, kernel=2, stride=2)),
            Sample("large", normal((30, 7, 20, 24)), _window(20, 24, kernel=2, stride=2)),
        ],
        _torch_avg_pool,
    ),
    "adaptive_average_pooling": OpInfo(
        [
            Sample("overlap", normal((2, 3, 7, 5)), {"output": (3, 2)}),
            Sample("larger", transposed(normal((2, 3, 4, 3))), {"output": (6, 3)}),
            Sample("empty", normal((0, 3, 7, 5)), {"output": (3, 2)}),
        ],
        lambda torch, x, output: torch.nn.functional.adaptive_avg_pool2d(x, output),
    ),
    "batch_normalization": OpInfo(
        [
            Sample("images", normal((4, 3, 5, 6), (3,), (3,)), {"eps": 1e-5}),
            Sample("rows", normal((6, 5), (5,), (5,)), {"eps": 1e-5}),
            Sample("sequences", transposed(normal((4, 3, 5), (3,))), {"eps": 1e-2}),
            Sample("no weight", normal((4, 3, 5, 6)), {"eps": 1e-5}),
            Sample("large mean", lambda rng: (rng.normal(50, 1, (4, 3, 5, 5)), np.ones(3)),
                   {"eps": 1e-5}),
            Sample("large", normal((20, 5, 30, 31), (5,), (5,)), {"eps": 1e-5}),
        ],
        _torch_batch_norm,
    ),
    # losses
    "log_softmax": OpInfo(
        [
            Sample("last", normal((3, 4))),
            Sample("first", transposed(normal((3, 4))), {"axis": 0}),
        ],
        lambda torch, x, axis=-1: x.log_softmax(axis),
    ),
    "cross_entropy": OpInfo(
        [
            Sample("rows", with_values(normal((6, 5)), _ids((6,), 5))),
            Sample("sequences", with_values(normal((2, 3, 5)), _ids((2, 3), 5))),
            Sample("some ignored", with_values(normal((4, 3, 5)), _some_ignored)),
            Sample("many rows", with_values(normal((1100, 3)), _ids((1100,), 3))),
            Sample("many classes", with_values(normal((3, 100)), _ids((3,), 100))),
            Sample("transposed", with_values(transposed(normal((6, 5))), _ids((6,), 5))),
        ],
        lambda torch, x, y: torch.nn.functional.cross_entropy(x.flatten(0, -2), y.flatten()),
    ),
    "pick_classes": OpInfo(
        [
            Sample("rows", with_values(normal((6, 5)), _ids((6,), 5)), {"ignore_index": 2}),
            Sample("sequences", with_values(normal((4, 3, 5)), _some_ignored),
                   {"ignore_index": -100}),
        ],
        lambda torch, x, y, ignore_index: x.gather(-1, y.clip(min=0)[..., None])[..., 0]
        * (y != ignore_index),
    ),
    "binary_cross_entropy_terms": OpInfo(
        [
            Sample("probabilities", lambda rng: (rng.uniform(0.1, 0.9, (3, 4)),
                                                 rng.integers(0, 2, (3, 4)).astype(bool) * 1.0)),
        ],
        lambda torch, p, t: torch.nn.functional.binary_cross_entropy(
            p, t.detach(), reduction="none"
        ),
    ),
    "binary_cross_entropy": OpInfo(
        [
            Sample("probabilities", lambda rng: (rng.uniform(0.1, 0.9, (3, 4)),
                                                 rng.integers(0, 2, (3, 4)).astype(bool) * 1.0)),
        ],
        lambda torch, p, t: torch.nn.functional.binary_cross_entropy(p, t.detach()),
    ),
    "int8_linear": OpInfo(
        [
            Sample("bias", with_values(normal((2, 3, 8)), _int8((5, 8)), _scale(5), _scale(5))),
            Sample("no bias", with_values(normal((8,)), _int8((5, 8)), _scale(5))),
            Sample("empty", with_values(normal((0, 8)), _int8((5, 8)), _scale(5))),
            Sample("large", with_values(normal((9, 130)), _int8((3000, 130)), _scale(3000))),
        ],
        lambda torch, x, w, scale, bias=None: torch.nn.functional.linear(
            x, w.to(x.dtype) * scale.detach()[:, None], bias
        ),
    ),
    # embeddings, attention
    "embedding": OpInfo(
        [
            Sample("sequences", with_values(normal((5, 3)), _ids((2, 7), 5))),
            Sample("many rows", with_values(normal((300, 3)), _ids((50,), 300))),
            Sample("empty", with_values(normal((5, 3)), _ids((0,), 5))),
        ],
        lambda torch, w, ids: torch.nn.functional.embedding(ids, w),
    ),
    "rotary": OpInfo([Sample("heads", _angles)], _torch_rotary),
    "split_heads": OpInfo(
        [
            Sample("two heads", normal((2, 3, 12)), {"num_heads": 2}),
            Sample("transposed", transposed(normal((2, 3, 12))), {"num_heads": 1}),
        ],
        _torch_split_heads,
    ),
    "merge_heads": OpInfo(
        [
            Sample("heads", normal((2, 3, 5, 4))),
            Sample("one token", normal((2, 3, 1, 4))),
            Sample("strided", transposed(normal((2, 3, 5, 4)))),
            Sample("empty", normal((0, 3, 5, 4))),
        ],
        lambda torch, y: y.transpose(1, 2).flatten(2),
    ),
    "attention_weights": OpInfo(
        [
            Sample("no mask", normal((2, 2, 5, 3), (2, 2, 5, 3)), {"scale": 0.5}),
            Sample("mask None", with_values(normal((2, 2, 5, 3), (2, 2, 5, 3)), None),
                   {"scale": 0.5}),
            Sample("mask", with_values(normal((2, 2, 5, 3), (2, 2, 6, 3)), _mask(5, 6)),
                   {"scale": 0.5}),
            Sample("padding", with_values(normal((3, 2, 5, 3), (3, 2, 6, 3)), _mask(3, 1, 1, 6)),
                   {"scale": 0.5}),
            Sample("additive", normal((2, 2, 5, 3), (2, 2, 6, 3), (2, 5, 6)), {"scale": 1.0}),
            Sample("strided", with_values(transposed(normal((2, 2, 5, 3), (2, 2, 6, 3))),
                                          _mask(2, 2, 5, 6)), {"scale": 0.5}),
            Sample("large", with_values(normal((9, 4, 65, 8), (9, 4, 65, 8)), _mask(65, 65)),
                   {"scale": 0.3}),
            Sample("causal", with_values(normal((3, 2, 150, 4), (3, 2, 150, 4)), _causal(150)),
                   {"scale": 0.3}),
            Sample("causal, earlier keys",
                   with_values(normal((2, 130, 4), (2, 140, 4)), _causal(130, 140, 10)),
                   {"scale": 0.3}),
            Sample("one query", normal((2, 2, 1, 3), (2, 2, 6, 3)), {"scale": 0.5}),
            Sample("shared keys", normal((2, 2, 1, 3), (1, 2, 6, 3)), {"scale": 0.5}),
            Sample("matrices", normal((5, 3), (6, 3)), {"scale": 0.5}),
            Sample("empty", normal((0, 2, 5, 3), (0, 2, 6, 3)), {"scale": 0.5}),
        ],
        _torch_attention_weights,
    ),
    # recurrent layers
    "rnn": OpInfo(
        [
            Sample("tanh", normal((5, 3, 4), (3, 4), (4, 4))),
            Sample("relu", normal((5, 3, 4), (3, 4), (4, 4)), {"nonlinearity": "relu"}),
            Sample("reverse", transposed(normal((5, 3, 4), (3, 4), (4, 4))), {"reverse": True}),
            Sample("one step", normal((1, 3, 4), (3, 4), (4, 4))),
        ],
        functools.partial(_torch_recurrent, "RNN"),
    ),
    "lstm": OpInfo(
        [
            Sample("plain", normal((5, 3, 8), (3, 2), (3, 2), (8, 2))),
            Sample("reverse", transposed(normal((5, 3, 8), (3, 2), (3, 2), (8, 2))),
                   {"reverse": True}),
            Sample("one step", normal((1, 3, 8), (3, 2), (3, 2), (8, 2))),
        ],
        functools.partial(_torch_recurrent, "LSTM"),
    ),
    "gru": OpInfo(
        [
            Sample("bias", normal((5, 3, 6), (3, 2), (6, 2), (6,))),
            Sample("no bias", normal((5, 3, 6), (3, 2), (6, 2))),
            Sample("reverse", transposed(normal((5, 3, 6), (3, 2), (6, 2))), {"reverse": True}),
            Sample("one step", normal((1, 3, 6), (3, 2), (6, 2), (6,))),
        ],
        functools.partial(_torch_recurrent, "GRU"),
    ),
    # training: clip_grad_norm is compared with PyTorch's in tests/08_training
    "clip_gradients": OpInfo(
        [
            Sample("clipped", normal((3, 4), (5,), ()), {"max_norm": 0.5}),
            Sample("not clipped", normal((3, 4), (5,), ()), {"max_norm": 100.0}),
            Sample("some empty", normal((0, 4), (5,)), {"max_norm": 0.5}),
            Sample("transposed", transposed(normal((3, 4), (4, 2))), {"max_norm": 0.5}),
            Sample("large", normal((300, 130), (130,)), {"max_norm": 1.0}),
        ],
        None,
    ),
    # optimizers: compared with PyTorch's over many steps in tests/07_optimizers
    "sgd_update": OpInfo(
        [
            Sample("momentum", normal((3, 4), (3, 4), (3, 4)),
                   {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True}),
            Sample("plain", normal((3, 4), (3, 4)),
                   {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "nesterov": False}),
            Sample("dampening", normal((3, 4), (3, 4), (3, 4)),
                   {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "nesterov": False,
                    "dampening": 0.3, "step": 2}),
        ],
        None,
    ),
    "adam_update": OpInfo(
        [
            Sample("decoupled", _MOMENTS, {**_ADAM, "decoupled": True}),
            Sample("coupled", _MOMENTS, {**_ADAM, "decoupled": False}),
        ],
        None,
    ),
    "amsgrad_update": OpInfo(
        [
            Sample("decoupled", _THREE_MOMENTS, {**_ADAM, "decoupled": True}),
            Sample("coupled", _THREE_MOMENTS, {**_ADAM, "decoupled": False}),
        ],
        None,
    ),
    "rmsprop_update": OpInfo(
        [
            Sample("plain", _SQUARES, {**_RMSPROP, "centered": False}),
            Sample("all", _CENTERED,
                   {**_RMSPROP, "momentum": 0.9, "centered": True}),
        ],
        None,
    ),
    "adagrad_update": OpInfo(
        [
            Sample("decay", _SQUARES,
                   {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "eps": 1e-10, "step": 3}),
        ],
        None,
    ),
    "adadelta_update": OpInfo(
        [
            Sample("decay", _TWO_SQUARES,
                   {"lr": 0.1, "rho": 0.9, "eps": 1e-6, "weight_decay": 0.1}),
        ],
        None,
    ),
    "adamax_update": OpInfo(
        [Sample("decay", _MOMENTS, {**_ADAM})],
        None,
    ),
    "muon_update": OpInfo(
        [
            Sample("wide", normal((3, 5), (3, 5), (3, 5)),
                   {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
            Sample("large", normal((100, 130), (100, 130), (100, 130)),
                   {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
            Sample("tall", normal((5, 3), (5, 3), (5, 3)),
                   {"lr": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0}),
        ],
        None,
    ),
}  # fmt: skip
