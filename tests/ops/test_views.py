"""CUDA kernels with 16-byte accesses on views that are not aligned to 16 bytes."""

from typing import Any

import numpy as np
import pytest
from op_checks import REFERENCE, tensors

import tinytorch  # noqa: F401  declares all ops
from tinytorch import Tensor, backends
from tinytorch.backends.base import Array
from tinytorch.ops.op import OPS

DTYPES = ["float32", "float64"]
COUNTS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 61, 2047, 2048, 2055, 4097]
# Op -> number of array arguments, settings.
ELEMENTWISE: dict[str, tuple[int, dict[str, Any]]] = {
    "gelu": (1, {}),
    "squared_relu": (1, {}),
    "dropout": (1, {"p": 0.3, "seed": 2**33 + 5}),
    "add": (2, {}),
}
EXTREMES = [0.0, -0.0, 1e-30, -1e-30, 1e-5, 0.3, -0.3, 3.0, -3.0, 5.0, -5.0, 9.0, -9.0, 20.0,
            -20.0, 100.0, -100.0, 1e30, -1e30, np.inf, -np.inf, np.nan]  # fmt: skip


def numbers(shape: Any, dtype: str, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def shifted(array: np.ndarray, by: int, backend: Any) -> Array:
    """The array as a view into a longer one, at an offset of `by` elements."""
    longer = np.concatenate([np.full(by, 99.0), array.reshape(-1), np.full(9, 99.0)])
    on_device = backends.get(backend).asarray(longer.astype(array.dtype))
    return on_device[by : by + array.size].reshape(array.shape)


def check(name: str, arrays: list[Array], host: list[np.ndarray], settings: Any) -> None:
    """Compare the kernel's result and gradients for `arrays` with the reference for `host`."""
    dtype = str(host[0].dtype)
    cupy_backend, op = backends.get("cupy"), OPS[name]
    for array in arrays:
        assert array.flags.c_contiguous
    kernel, reference = cupy_backend.kernels[name], op.reference
    y, saved = kernel.forward(cupy_backend.xp, *arrays, **settings)
    expected, kept = reference.forward(REFERENCE.xp, *host, **settings)
    g = numbers(expected.shape, dtype, 5)
    view = shifted(g, arrays[0].size % 3, cupy_backend)
    assert kernel.gradient is not None
    assert reference.gradient is not None
    gradients = kernel.gradient(cupy_backend.xp, view, *saved)
    wanted = reference.gradient(REFERENCE.xp, g, *kept)
    gradients, wanted = (
        list(a)[: len(host)] if isinstance(a, tuple) else [a] for a in (gradients, wanted)
    )
    tolerance = {"rtol": 3e-4, "atol": 3e-5} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-9}
    for ours, theirs in zip([y, *gradients], [expected, *wanted], strict=True):
        ours, theirs = (a() if callable(a) else a for a in (ours, theirs))
        assert ours.dtype == theirs.dtype
        if ours.shape != theirs.shape:  # autograd would sum it
            theirs = theirs.reshape(-1, *ours.shape).sum(axis=0)
        np.testing.assert_allclose(cupy_backend.to_numpy(ours), theirs, **tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_kernels_at_any_offset(name: str, count: int, dtype: str, cupy: str) -> None:
    number, settings = ELEMENTWISE[name]
    host = [numbers(count, dtype, i) for i in range(number)]
    for by in range(5):
        check(name, [shifted(a, by * (i + 1), cupy) for i, a in enumerate(host)], host, settings)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 8, 33, 64, 128, 130, 384, 512, 516, 1024, 1032])
def test_row_kernels_at_any_offset(size: int, dtype: str, cupy_fp32: str) -> None:
    host = [numbers((5, size), dtype), numbers(size, dtype, 1), numbers(size, dtype, 2)]
    weight = [host[0], numbers((size, size), dtype, 3)[:7], numbers(7, dtype, 4)[:size]]
    for by in ([0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [4, 4, 8], [2, 2, 2]):
        for some in (host, host[:2]):
            views = [shifted(a, b, cupy_fp32) for a, b in zip(some, by, strict=False)]
            check("layer_norm", views, some, {})
        views = [shifted(a, b, cupy_fp32) for a, b in zip(weight, by, strict=False)]
        check("linear", views, weight, {})


@pytest.mark.parametrize("rows", [0, 1, 31, 64, 100, 2048, 9000])
@pytest.mark.parametrize("size", [1, 4, 65, 132])
def test_column_sums_at_any_offset(size: int, rows: int, cupy: str) -> None:
    cupy_backend, x = backends.get(cupy), numbers((rows, size), "float64")
    from tinytorch.backends.cupy.reductions import column_sums

    for by in (0, 1):
        view = shifted(x, by, cupy)
        np.testing.assert_allclose(cupy_backend.to_numpy(column_sums(view)), x.sum(0), atol=1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["gelu", "squared_relu", "dropout"])
def test_extreme_values(name: str, dtype: str, cupy: str) -> None:
    x = np.array(EXTREMES, dtype)
    if name == "squared_relu":  # the kernel returns NaN, as PyTorch does; the reference returns 0
        x = x[:-1]
    with np.errstate(all="ignore"):
        check(name, [backends.get(cupy).asarray(x)], [x], ELEMENTWISE[name][1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_gelu_is_accurate_to_a_few_units_in_the_last_place(dtype: str, cupy: str) -> None:
    """Including inputs at which 1 + tanh(u) would cancel."""
    cupy_backend, x = backends.get(cupy), np.linspace(-4, 4, 4001).astype(dtype)
    gelu = cupy_backend.kernels["gelu"].forward
    y = cupy_backend.to_numpy(gelu(cupy_backend.xp, cupy_backend.asarray(x))[0])
    wide = x.astype(np.longdouble)
    inner = np.sqrt(np.longdouble(2) / np.pi) * (wide + np.longdouble(0.044715) * wide**3)
    expected = wide / (1 + np.exp(-2 * inner))
    eps = np.finfo(dtype).eps
    error = np.abs(y - expected) / np.maximum(np.abs(expected), eps)
    assert error.max() < 3e-6 if dtype == "float32" else error.max() < 1e-14


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (numbers((3, 4), "float32"), numbers((4,), "float32")),  # broadcast
        (numbers((4, 3), "float32").T, numbers((3, 4), "float32")),  # strided
        (numbers((3, 4), "float32"), numbers((3, 4), "float64")),  # different dtypes
        (np.arange(4), np.arange(4)),  # integers
        (numbers((3, 4), "float16"), numbers((3, 4), "float16")),
        (numbers((), "float32"), 2.0),
        (2.0, numbers((2,), "float64")),
        (numbers((), "float32"), numbers((), "float32")),
        (numbers((0, 3), "float32"), numbers((0, 3), "float32")),
    ],
)
def test_add_of_broadcast_strided_and_mixed_operands(left: Any, right: Any, cupy: str) -> None:
    ours = OPS["add"](*tensors((left, right), cupy))
    assert isinstance(ours, Tensor)
    expected = left + right
    assert ours.numpy().dtype == np.asarray(expected).dtype
    np.testing.assert_array_equal(ours.numpy(), expected)
