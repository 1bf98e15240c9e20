"""Call one function with tinytorch and with PyTorch, and compare everything that a script can see.

A row is a call as a script writes it, with `torch` as an argument, so that the same line runs under
both libraries. Rows are in lists in `tests/ops/test_parity_*.py`, by family:

    from parity import BINARY, UNARY, Row, check, each

    ROWS = [
        Row("floor", lambda torch, x: torch.floor(x), UNARY),
        Row("add with alpha", lambda torch, x, y: torch.add(x, y, alpha=2), BINARY),
        Row("chunk", lambda torch, x: x.chunk(2, dim=-1), UNARY, differs={"scalar": "why"}),
        Row("zero_", lambda torch, x: x.zero_(), UNARY, grad=False),
        Row("my own", lambda torch, x, y: torch.foo(x, y), {"square": (floats(3, 3), ints(3))}),
    ]

    @each(ROWS)
    def test_parity(row: Row, backend: str) -> None:
        check(row, backend)

`UNARY` and `BINARY` name inputs of every kind: plain, empty, without axes, broadcast, not
contiguous, integers, booleans, NaN and infinities. For each of them `check` compares

- whether there is an error (of any type but AttributeError and NotImplementedError);
- the result's structure, a tuple for instance, and shape, dtype, values and `requires_grad` of each
  tensor in it; numbers and booleans are compared as they are;
- the inputs after the call, which in-place functions change;
- the gradients of a weighted sum of the floating results.

Run the rows of one function with ``pytest tests/ops/test_parity_math.py -k floor``.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from helpers import require

import tinytorch
from tinytorch import Tensor, backends
from tinytorch.backends import registry

Inputs = tuple[Any, ...]
NAN, INF = float("nan"), float("inf")


@dataclass(frozen=True)
class Row:
    """One call to compare.

    Attributes:
        name: the test's name, unique in its list.
        call: ``call(torch, *inputs)``, run once with each library.
        inputs: name -> NumPy arrays, which become tensors, or other values, passed as they are.
        differs: names of inputs for which PyTorch is different -> why; they are only run.
        more: names of inputs that PyTorch refuses and we compute -> why that is right.
        grad: whether floating inputs require a gradient.
        values: False for random results, of which shape and dtype are compared.
        backends: where the call can run; strict forbids reading values on the host.
        tolerance: relative and absolute, of float32.
    """

    name: str
    call: Callable[..., Any]
    inputs: Mapping[str, Inputs]
    differs: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)
    grad: bool = True
    values: bool = True
    backends: tuple[str, ...] = ("numpy", "strict", "cupy")
    tolerance: float = 2e-5


def floats(*shape: int, seed: int = 3) -> np.ndarray[Any, Any]:
    """Normal float32 numbers with a distance from 0 and from each other's halves."""
    numbers = np.random.default_rng(seed).standard_normal(shape)
    return np.asarray(np.sign(numbers) * (0.1 + np.abs(numbers)), np.float32)


def probabilities(*shape: int, seed: int = 3) -> np.ndarray[Any, Any]:
    """float32 numbers in (0, 1)."""
    return np.random.default_rng(seed).uniform(0.1, 0.9, shape).astype(np.float32)


def ints(*shape: int, low: int = -4, high: int = 5, seed: int = 5) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(low, high, shape)


def bools(*shape: int, seed: int = 7) -> np.ndarray[Any, Any]:
    return np.asarray(np.random.default_rng(seed).random(shape) < 0.5)


FLOATING: dict[str, Inputs] = {
    "plain": (floats(3, 4),),
    "float64": (floats(2, 3, 2).astype(np.float64),),
    "empty": (floats(0, 4),),
    "scalar": (floats(),),
    "vector": (floats(5),),
    "transposed": (floats(4, 3).T,),
    "strided": (floats(4, 6)[::2, ::-1],),
}
SPECIAL: dict[str, Inputs] = {"special": (np.float32([NAN, INF, -INF, 0.0, -0.0, 1, -1, 2.5]),)}
INTEGER: dict[str, Inputs] = {
    "integer": (ints(3, 4),),
    "int32 scalar": (ints().astype(np.int32),),
    "uint8": (ints(3, 4, low=0, high=255).astype(np.uint8),),
    "boolean": (bools(3, 4),),
}
UNARY = {**FLOATING, **SPECIAL, **INTEGER}
POSITIVE: dict[str, Inputs] = {
    name: (np.asarray(np.abs(x) + x.dtype.type(0.1 if x.dtype.kind == "f" else 1)),)
    for name, (x,) in {**FLOATING, "integer": INTEGER["integer"]}.items()
}
UNIT: dict[str, Inputs] = {  # in (-1, 1)
    name: (np.asarray(np.tanh(x)),) for name, (x,) in FLOATING.items()
}
BINARY: dict[str, Inputs] = {
    "plain": (floats(3, 4), floats(3, 4, seed=4)),
    "broadcast": (floats(3, 1, 4), floats(2, 1, seed=4)),
    "empty": (floats(0, 4), floats(1, 4)),
    "scalar": (floats(3, 4), floats(seed=4)),
    "two scalars": (floats(), floats(seed=4)),
    "transposed": (floats(4, 3).T, floats(3, 4, seed=4)),
    "do not broadcast": (floats(3, 4), floats(3, 5)),
    "number": (floats(3, 4), 1.5),
    "integer number": (floats(3, 4), 2),
    "float64": (floats(3, 4), floats(3, 4, seed=4).astype(np.float64)),
    "special": tuple(
        np.float32(a).reshape(-1) for a in np.meshgrid([NAN, INF, -INF, 0.0, 1], [NAN, INF, 0, -2])
    ),
    "integers": (ints(3, 4), np.maximum(ints(3, 4, seed=6), 1)),
    "integer and number": (ints(3, 4), 2),
    "integer and float": (ints(3, 4), 1.5),
    "integers and floats": (ints(3, 4), floats(3, 4)),
    "int32 and int64": (ints(3, 4).astype(np.int32), np.maximum(ints(4), 1)),
    "uint8": (ints(3, low=0).astype(np.uint8), ints(3, low=1, seed=6).astype(np.uint8)),
    "booleans": (bools(3, 4), bools(3, 4, seed=8)),
    "boolean and integer": (bools(3, 4), np.maximum(ints(4), 1)),
}


def each(rows: list[Row]) -> Callable[..., Any]:
    """Decorator: a test for each row, on the backends of the fixture `backend`."""
    assert len({row.name for row in rows}) == len(rows)
    return pytest.mark.parametrize(
        "row", [pytest.param(row, id=row.name.replace(" ", "_")) for row in rows]
    )


def check(row: Row, backend: str) -> None:
    """Compare all inputs of the row; the differences of all of them are reported at once."""
    if backend not in row.backends:
        pytest.skip("the call reads values on the host")
    torch = require("torch")
    failures = []
    with _default_backend(backend):
        for name, inputs in row.inputs.items():
            failures += [f"  {name}: {text}" for text in _compare(row, name, inputs, torch)]
    if failures:
        pytest.fail("\n".join([f"{row.name} on {backend}:", *failures]), pytrace=False)


class _default_backend:  # noqa: N801
    """Create tensors on this backend, in the call too."""

    def __init__(self, name: str) -> None:
        self.backend = backends.get(name)

    def __enter__(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(registry, "default", lambda: self.backend)

    def __exit__(self, *exception: Any) -> None:
        self.patch.undo()


def _compare(row: Row, name: str, inputs: Inputs, torch: Any) -> list[str]:
    ours_in = [_tensor(Tensor, value, row.grad) for value in inputs]
    theirs_in = [_tensor(torch.tensor, value, row.grad) for value in inputs]
    theirs, their_error = _run(row.call, torch, theirs_in)
    ours, our_error = _run(row.call, tinytorch, ours_in)
    if isinstance(our_error, AttributeError | NotImplementedError):
        return [f"{type(our_error).__name__}: {our_error}"]
    if name in row.differs:
        return []
    if their_error is not None:
        if our_error is None and name not in row.more:
            return [f"no error, but PyTorch has {type(their_error).__name__}: {their_error}"]
        return []
    if our_error is not None:
        return [f"{type(our_error).__name__}: {our_error}, PyTorch: {_short(theirs)}"]
    found = _differences(ours, theirs, row, "result")
    for i, (a, b) in enumerate(zip(ours_in, theirs_in, strict=True)):
        if isinstance(a, Tensor):
            found += _differences(a, b, row, f"input {i} after the call")
    if found or not row.grad or not row.values:
        return found
    return _gradient_differences(ours, theirs, ours_in, theirs_in, torch, row)


def _tensor(create: Any, value: Any, grad: bool) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    if create is Tensor:
        result = Tensor(value, value.dtype.kind == "f" and grad)
    elif value.ndim and min(value.strides, default=0) < 0:  # PyTorch has no negative strides
        return create(value.copy(), requires_grad=value.dtype.kind == "f" and grad)
    else:
        result = create(value, requires_grad=value.dtype.kind == "f" and grad)
    return result


def _run(call: Callable[..., Any], library: Any, inputs: list[Any]) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        if library is not tinytorch:  # PyTorch warns where a result is NaN
            warnings.simplefilter("ignore")
        try:
            return call(library, *inputs), None
        except Exception as error:
            return None, error


def _leaves(result: Any) -> list[Any]:
    """The parts of a result that are no tuples or lists."""
    if isinstance(result, tuple | list):
        return [leaf for part in result for leaf in _leaves(part)]
    return [result]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or type(value).__module__.partition(".")[0] == "torch"


def _numpy(tensor: Any) -> np.ndarray[Any, Any]:
    if isinstance(tensor, Tensor):
        return np.array(tensor._backend.to_numpy(tensor._array))
    return np.array(tensor.detach().numpy())


def _differences(ours: Any, theirs: Any, row: Row, what: str) -> list[str]:
    if isinstance(theirs, tuple | list):
        if not isinstance(ours, tuple | list) or len(ours) != len(theirs):
            return [f"{what} is {_short(ours)}, PyTorch: {_short(theirs)}"]
        fields = getattr(ours, "_fields", ())
        found = [f"{what} has a field {f}" for f in fields if not hasattr(theirs, f)]
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            found += _differences(a, b, row, f"{what}[{i}]")
        return found
    if not (isinstance(theirs, Tensor) or hasattr(theirs, "detach")):
        same = type(ours) is type(theirs) or {type(ours), type(theirs)} <= {int, type(ours)}
        if isinstance(theirs, float) and isinstance(ours, float):
            same = bool(np.isclose(ours, theirs, row.tolerance, row.tolerance, equal_nan=True))
        elif type(theirs).__module__.partition(".")[0] != "torch":
            same = same and ours == theirs
        return [] if same else [f"{what} is {_short(ours)}, PyTorch: {_short(theirs)}"]
    if not isinstance(ours, Tensor):
        return [f"{what} is {_short(ours)}, PyTorch: {_short(theirs)}"]
    a, b = _numpy(ours), _numpy(theirs)
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return [f"{what} is {a.dtype} {a.shape}, PyTorch: {b.dtype} {b.shape}"]
    if ours._requires_grad != theirs.requires_grad:
        return [f"{what}.requires_grad is {ours._requires_grad}"]
    if row.values and not _close(a, b, row.tolerance):
        return [f"{what} is {a.tolist()}, PyTorch: {b.tolist()}"]
    return []


def _close(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], tolerance: float) -> bool:
    if a.dtype.kind != "f":
        return bool((a == b).all())
    return bool(np.allclose(a, b, tolerance, tolerance, equal_nan=True))


def _gradient_differences(
    ours: Any, theirs: Any, ours_in: list[Any], theirs_in: list[Any], torch: Any, row: Row
) -> list[str]:
    rng, found = np.random.default_rng(11), []
    pairs = [
        (a, b)
        for a, b in zip(_leaves(ours), _leaves(theirs), strict=True)
        if isinstance(a, Tensor) and a._requires_grad
    ]
    for a, b in pairs:
        factor = rng.uniform(0.5, 1.5, tuple(b.shape)).astype(_numpy(b).dtype)
        (a * Tensor(factor)).sum().backward(retain_graph=True)
        (b * torch.tensor(factor)).sum().backward(retain_graph=True)
    for i, (a, b) in enumerate(zip(ours_in, theirs_in, strict=True)):
        if not isinstance(a, Tensor) or not pairs:
            continue
        expected = None if b.grad is None else b.grad
        if a._grad is None or expected is None:
            rest = a._grad if expected is None else expected
            if rest is not None and _numpy(rest).any():
                found.append(f"gradient {i} is {_short(a._grad)}, PyTorch: {_short(expected)}")
        else:
            found += _differences(a._grad, expected, row, f"gradient {i}")
    return found


def _short(value: Any) -> str:
    if _is_tensor(value):
        return f"tensor {_numpy(value).tolist()}"[:200]
    return f"{type(value).__name__} {value!r}"[:200]
