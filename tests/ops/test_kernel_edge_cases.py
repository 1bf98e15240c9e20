"""Kernels at the edges: zero-size axes, NaN and infinity, float16, mixed dtypes, odd strides."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from helpers import require
from op_checks import REFERENCE, outputs, run, weights
from op_checks import draw as sample_inputs
from op_table import OP_INFOS

from tinytorch import GPT, CrossEntropyLoss, Tensor, backends, create_causal_mask
from tinytorch.attention import attention
from tinytorch.backends.random_bits import Seed
from tinytorch.ops.op import OPS

SIZES = {"B": 2, "N": 5, "T": 3, "S": 4, "h": 2, "s": 4, "C": 6, "O": 3, "V": 7}

# Op, its inputs as axes of SIZES ("ids": integers below V; "mask": booleans), and settings.
SHAPES: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
    ("add", ("B T C", "B T C"), {}),
    ("gelu", ("B T C",), {}),
    ("squared_relu", ("B T C",), {}),
    ("layer_norm", ("B T C", "C", "C"), {}),
    ("layer_norm", ("B T C", "C"), {}),
    ("linear", ("B T C", "O C", "O"), {}),
    ("linear", ("B T C", "O C"), {}),
    ("matmul", ("B T C", "B C O"), {}),
    ("matmul", ("B T C", "C O"), {}),
    ("matmul", ("T C", "C O"), {}),
    ("matmul", ("C", "B C O"), {}),
    ("matmul", ("B T C", "C"), {}),
    ("matmul", ("C", "C"), {}),
    ("attention_weights", ("B h T s", "B h S s"), {"scale": 0.5}),
    ("attention_weights", ("B h T s", "h S s"), {"scale": 0.5}),
    ("attention_weights", ("B h T s", "B h S s", "mask T S"), {"scale": 0.5}),
    ("attention_weights", ("B h T s", "B h S s", "mask B h T S"), {"scale": 0.5}),
    ("attention_weights", ("B h T s", "B h S s", "T S"), {"scale": 0.5}),
    ("cross_entropy", ("N V", "ids N"), {}),
    ("embedding", ("V C", "ids B T"), {}),
    ("rotary", ("B h T s", "T s/2", "T s/2"), {}),
    ("split_heads", ("B T C",), {"num_heads": 2}),
    ("merge_heads", ("B h T s",), {}),
]  # fmt: skip


def axes(inputs: tuple[str, ...]) -> list[str]:
    found = {axis.removesuffix("/2") for text in inputs for axis in text.split()}
    return sorted(found - {"ids", "mask"})


def draw(inputs: tuple[str, ...], sizes: dict[str, int], rng: Any) -> tuple[Any, ...]:
    """Arrays with these axes: float64, integers or booleans."""
    arrays = []
    for text in inputs:
        kind, names = text.split()[0], [a for a in text.split() if a not in ("ids", "mask")]
        shape = tuple(sizes[a[0]] // 2 if "/" in a else sizes[a] for a in names)
        if kind == "ids":
            arrays.append(rng.integers(0, max(1, sizes["V"]), shape))
        elif kind == "mask":
            arrays.append(rng.random(shape) < 0.7)
        else:
            arrays.append(rng.standard_normal(shape))
    return tuple(arrays)


ZERO_SIZE = [
    pytest.param(name, inputs, settings, axis, id=f"{name}({'; '.join(inputs)})-{axis}=0")
    for name, inputs, settings in SHAPES
    for axis in axes(inputs)
    # An id needs a table or classes; PyTorch's `split` does not split an empty axis.
    if not (axis == "V" and any("ids" in text for text in inputs))
    and (name, axis) != ("split_heads", "C")
]


def pytorch(name: str, inputs: tuple[Any, ...], settings: Any) -> tuple[list[Any], list[Any]]:
    """The outputs and gradients of PyTorch's function for an op."""
    torch = require("torch")
    given = [torch.from_numpy(a).requires_grad_(a.dtype.kind == "f") for a in inputs]
    torch_function = OP_INFOS[name].torch_function
    assert torch_function is not None
    theirs = outputs(torch_function(torch, *given, **settings))
    factors = weights([tuple(t.shape) for t in theirs], np.float64)
    loss = sum((t * torch.from_numpy(f)).sum() for t, f in zip(theirs, factors, strict=True))
    leaves = [t for t in given if t.requires_grad]
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    return [t.detach().numpy() for t in theirs], [
        None if g is None else g.numpy() for g in gradients
    ]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "inputs", "settings", "axis"), ZERO_SIZE)
@pytest.mark.parametrize("backend", ["numpy", "cupy"], indirect=True)
def test_kernels_accept_zero_size_axes(
    name: str, inputs: tuple[str, ...], settings: Any, axis: str, backend: str
) -> None:
    if name not in backends.get(backend).kernels:
        pytest.skip("not a kernel")
    arrays = draw(inputs, {**SIZES, axis: 0}, np.random.default_rng(1))
    values, gradients = run(OPS[name], arrays, settings, backend)
    expected, expected_gradients = pytorch(name, arrays, settings)
    for ours, theirs in zip([*values, *gradients], [*expected, *expected_gradients], strict=True):
        if theirs is not None:
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)


def test_empty_heads_are_split(backend: str) -> None:
    x = Tensor(np.zeros((2, 3, 0), np.float32), True, backend=backend)
    parts = OPS["split_heads"](x, num_heads=2)
    assert [part.shape for part in parts] == [(2, 2, 3, 0)] * 3


# Unusual values. Rows (N, C) of x; kernels treat rows of one block together, so a bad row must not
# change the others.

NAN, INF = float("nan"), float("inf")
ROWS = {
    "far apart": [[1.0, 2, 3, 4], [-1000, -999, -998, -1001], [500, 501, 502, 503]],
    "wide": [[-500.0, 500, 0, 1], [0, 0, 0, 0], [1, 2, 3, 4]],
    "huge": [[1e30, -1e30, 1e29, 0], [1, 2, 3, 4], [1e13, -1e13, 1e10, -1e10]],
    "tiny": [[1e-30, -1e-30, 0, -0.0], [1e-10, 2e-10, 0, 3e-10], [-0.0, 0, -0.0, 0]],
    "nan": [[1.0, NAN, 3, 4], [1, 2, 3, 4], [-90, -1, 0, 90]],
    "inf": [[1.0, INF, 3, 4], [1, 2, 3, 4], [-90, -1, 0, 90]],
    "-inf": [[1.0, -INF, 3, 4], [1, 2, 3, 4], [-90, -1, 0, 90]],
    "-inf row": [[-INF] * 4, [1, 2, 3, 4], [-90, -1, 0, 90]],
    "equal": [[1e6] * 4, [3e-3] * 4, [-7] * 4],
}
ONES = np.ones(4)
MASK = np.array([[True, False, True, True], [False, False, True, False]])


def scores(queries: int, *more: Any) -> Any:
    """Inputs of `attention_weights` whose scores, (N, queries, 4), are the rows of x."""
    return lambda x: (np.ones((len(x), queries, 1)), x[:, :, None], *more)


# Name -> op, function from x to its inputs, and settings.
VALUE_CASES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "gelu": ("gelu", lambda x: (x,), {}),
    "squared_relu": ("squared_relu", lambda x: (x,), {}),
    "layer_norm": ("layer_norm", lambda x: (x, ONES * 2, ONES), {}),
    "layer_norm without bias": ("layer_norm", lambda x: (x, ONES * 2), {}),
    "layer_norm of a row": ("layer_norm", lambda x: (x[:1], ONES * 2, ONES), {}),
    "cross_entropy": ("cross_entropy", lambda x: (x, np.arange(len(x)) % 4), {}),
    "attention": ("attention_weights", scores(2), {"scale": 1.0}),
    "attention, one query": ("attention_weights", scores(1), {"scale": 1.0}),
    "attention, mask": ("attention_weights", scores(2, MASK), {"scale": 1.0}),
    "attention, floating mask": (
        "attention_weights", scores(2, np.where(MASK, 0.5, -np.inf)), {"scale": 1.0}),
}  # fmt: skip

DTYPES = {"float16": (2e-3, 1e-3), "float32": (2e-5, 2e-6), "float64": (1e-10, 1e-12)}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("case", VALUE_CASES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", ["numpy", "cupy"], indirect=True)
def test_kernels_equal_the_references_for_unusual_values(
    dtype: str, case: str, backend: str
) -> None:
    name, inputs, settings = VALUE_CASES[case]
    rtol, atol = DTYPES[dtype]
    # From 4096 elements NumPy's kernels take other paths.
    for rows, repeats in itertools.product(ROWS, (1, 700) if backend == "numpy" else (1,)):
        x = np.tile(np.array(ROWS[rows]), (repeats, 1))
        arrays = tuple(a.astype(dtype) if a.dtype.kind == "f" else a for a in inputs(x))
        found, expected = (run(OPS[name], arrays, settings, b) for b in (backend, REFERENCE))
        pairs = [zip(*both, strict=True) for both in zip(found, expected, strict=True)]
        for ours, theirs in itertools.chain(*pairs):
            message = f"{rows}, {len(x)} rows"
            assert ours.dtype == theirs.dtype == dtype, message
            finite = [a[np.isfinite(a)] for a in (x, theirs)]
            size = max(1.0, *(float(np.abs(a).max(initial=0)) for a in finite))
            np.testing.assert_allclose(ours, theirs, rtol, atol * size, err_msg=message)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("backend", ["numpy", "cupy"], indirect=True)
def test_an_ignored_row_changes_neither_loss_nor_gradient(bad: float, backend: str) -> None:
    x = np.random.default_rng(0).standard_normal((5, 4))
    x[1], targets = bad, np.array([0, -100, 2, 3, 1])
    values, (gradient,) = run(OPS["cross_entropy"], (x, targets), {}, backend)
    expected, (clean,) = run(OPS["cross_entropy"], (x[[0, 2, 3, 4]], targets[[0, 2, 3, 4]]), {},
                             backend)  # fmt: skip
    np.testing.assert_allclose(values[0], expected[0], rtol=1e-12)
    np.testing.assert_allclose(gradient[[0, 2, 3, 4]], clean, rtol=1e-12)
    assert not gradient[1].any()


@pytest.mark.parametrize("mask", [None, "causal"])
@pytest.mark.parametrize("bad", [NAN, INF])
def test_a_bad_query_does_not_change_other_queries_of_the_fused_kernel(
    bad: float, mask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the scores of other queries are too large for exp without a shift."""
    monkeypatch.setattr("tinytorch.backends.numpy.attention.MIN_WEIGHTS", 0)
    rng, results = np.random.default_rng(0), []
    arrays = [rng.standard_normal((1, 2, 70, 4)) for _ in range(3)]
    arrays[0][:, :, 3] = bad
    arrays[0][:, :, 5] *= 1e4
    for backend in ("numpy", REFERENCE):
        given = [Tensor(a, backend=backend) for a in arrays]
        visible = None if mask is None else create_causal_mask(70, backend=backend)
        with np.errstate(invalid="ignore"):
            results.append(attention(*given, visible).numpy())
    np.testing.assert_allclose(*results, rtol=1e-9, atol=1e-10)
    assert np.isnan(results[0][:, :, 3]).all()
    assert np.isfinite(np.delete(results[0], 3, axis=2)).all()


def test_a_masked_key_with_nan_is_hidden() -> None:
    """PyTorch adds -inf to NaN; here a hidden score is never read, whatever the kernel."""
    x = np.array(ROWS["nan"])
    for queries in (1, 2):
        arrays = scores(queries, np.array([True, False, True, True]))(x)
        (weights,), _ = run(OPS["attention_weights"], arrays, {"scale": 1.0}, "numpy")
        assert np.isfinite(weights).all()


# float16


@pytest.mark.parametrize("backend", ["numpy", "cupy"], indirect=True)  # strict has no float16
def test_float16_rows_that_are_far_apart_stay_finite(backend: str) -> None:
    x = np.array([[1.0, 2, 3, 4], [59, 60, 61, 62]], np.float16)
    for array in (x, np.tile(x, (1100, 1)), np.tile(x, (1, 1100))):
        ids = np.arange(len(array)) % 4
        values, gradients = run(OPS["cross_entropy"], (array, ids), {}, backend)
        assert np.isfinite(values[0])
        assert np.isfinite(gradients[0]).all()
    given = scores(2)(np.tile(x, (1100, 1)))
    (weights,), gradients = run(
        OPS["attention_weights"],
        tuple(a.astype(np.float16) for a in given),
        {"scale": 1.0},
        backend,
    )
    np.testing.assert_allclose(weights.sum(axis=-1, dtype=float), 1, atol=2e-3)
    assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("name", sorted({name for name, _, _ in SHAPES} | {"dropout"}))
def test_cuda_runs_float16_as_written(name: str, cupy: str) -> None:
    """Its kernels are compiled for float32 and float64 only."""
    for sample in OP_INFOS[name].samples:
        if "large" in sample.name or "many" in sample.name:
            continue
        inputs = sample_inputs(sample, "float16")
        found, expected = (run(OPS[name], inputs, sample.settings, b) for b in (cupy, REFERENCE))
        pairs = [zip(*both, strict=True) for both in zip(found, expected, strict=True)]
        for ours, theirs in itertools.chain(*pairs):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                assert ours.dtype == theirs.dtype == np.float16
                np.testing.assert_allclose(ours, theirs, rtol=2e-2, atol=2e-2)


# LayerNorm


def normalised(x: np.ndarray, backend: Any, bias: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """LayerNorm of x with weight 1 and bias 0, and the gradient of a random weighted sum."""
    C = x.shape[-1]
    given = (x, *(np.full(C, n, x.dtype) for n in ((1, 0) if bias else (1,))))
    values, gradients = run(OPS["layer_norm"], given, {}, backend)
    return values[0], gradients[0]


LAYER_NORM_SHAPES = [(96,), (7, 96), (500, 96), (300, 384), (100, 768), (3, 769)]


@pytest.mark.parametrize("value", [1e6, 3e-3, -7.7, 0.1, 1e20, 3e-30])
@pytest.mark.parametrize("shape", LAYER_NORM_SHAPES, ids=str)
@pytest.mark.parametrize("backend", ["numpy", "cupy"], indirect=True)
def test_layer_norm_of_equal_values_is_0(
    shape: tuple[int, ...], value: float, backend: str
) -> None:
    for bias in (True, False):
        y, gradient = normalised(np.full(shape, value, np.float32), backend, bias)
        assert not y.any()
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("mean", [0, 3, 30, 1e3, 1e6, -1e6])
@pytest.mark.parametrize("shape", LAYER_NORM_SHAPES, ids=str)
@pytest.mark.parametrize("backend", ["numpy", "cupy"], indirect=True)
def test_layer_norm_of_large_means_is_as_accurate_as_pytorch(
    shape: tuple[int, ...], mean: float, backend: str
) -> None:
    torch = require("torch")
    x = (np.random.default_rng(0).standard_normal(shape) + mean).astype(np.float32)
    exact, exact_gradient = normalised(x.astype(np.float64), REFERENCE)
    given = torch.from_numpy(x).requires_grad_()
    theirs = torch.nn.functional.layer_norm(given, x.shape[-1:])
    theirs.backward(torch.from_numpy(weights([x.shape], np.float32)[0]))
    y, gradient = normalised(x, backend)
    for ours, other, truth in (
        (y, theirs.detach().numpy(), exact), (gradient, given.grad.numpy(), exact_gradient)
    ):  # fmt: skip
        error, allowed = np.abs(ours - truth).max(), np.abs(other - truth).max()
        assert error <= max(1.5 * allowed, 3e-6)


# Memory layouts: the inputs are views of larger tensors

VIEWS: dict[str, Any] = {
    "reversed": lambda t: t[(slice(None, None, -1),) * t.ndim],
    "every second": lambda t: t[(slice(None, None, 2),) * t.ndim],
    "shifted": lambda t: t[(slice(1, None),) * t.ndim],
    "permuted": lambda t: t.permute(*reversed(range(t.ndim))),
    "expanded": lambda t: t[:1].expand(*t.shape),
}


def base_of(array: np.ndarray, view: str) -> np.ndarray:
    """An array whose view has the values of `array`, up to the order of its axes or elements."""
    if view == "every second":
        return (
            np.repeat(array, 2) if array.ndim == 0 else np.kron(array, np.ones((2,) * array.ndim))
        )
    if view == "shifted":
        return np.pad(array, [(1, 0)] * array.ndim)
    return np.ascontiguousarray(array.T) if view == "permuted" else array


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    ("name", "inputs", "settings"), SHAPES, ids=[f"{n}({'; '.join(i)})" for n, i, _ in SHAPES]
)
@pytest.mark.parametrize("backend", ["numpy", "cupy"], indirect=True)
def test_kernels_read_views(
    name: str, inputs: tuple[str, ...], settings: Any, view: str, backend: str
) -> None:
    arrays, results = draw(inputs, SIZES, np.random.default_rng(1)), []
    for home in (backend, REFERENCE):
        leaves: list[Tensor] = []
        given: list[Tensor] = []
        for array in arrays:
            floating = array.dtype.kind == "f"
            base = base_of(array, view).astype(array.dtype) if floating else array
            leaves.append(Tensor(base, floating, backend=home))
            given.append(VIEWS[view](leaves[-1]) if floating else leaves[-1])
        for tensor, array in zip(given, arrays, strict=True):
            assert tensor.shape == array.shape
        values = outputs(OPS[name](*given, **settings))
        factors = weights([v.shape for v in values], np.float64)
        loss: Any = 0.0
        for value, factor in zip(values, factors, strict=True):
            loss = (value * Tensor(factor, backend=home)).sum() + loss
        loss.backward()
        results.append([*values, *(t.grad for t in leaves if t.requires_grad)])
    for ours, theirs in zip(*results, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-9, atol=1e-11)


# Threads


def gradients_of_a_model(seed: int) -> list[np.ndarray]:
    """The loss and all gradients of a GPT with random sizes and weights, for a random batch."""
    rng = np.random.default_rng(seed)
    model = GPT(50, 32 * int(rng.integers(1, 4)), 2, 2, 64, bias=bool(seed % 2)).eval()
    for parameter in model.parameters():
        parameter.data = (rng.standard_normal(parameter.shape) * 0.1).astype(np.float32)
    ids = rng.integers(0, 50, (int(rng.integers(1, 12)), 65))
    loss = CrossEntropyLoss()(model(Tensor(ids[:, :-1])), Tensor(ids[:, 1:]))
    loss.backward()
    return [loss.numpy(), *(p.grad.numpy() for p in model.parameters() if p.grad is not None)]


def test_eight_threads_compute_what_each_computes_alone() -> None:
    """To the last bit: kernels share no memory, and caches are read-only."""
    seeds = range(16)
    alone = [gradients_of_a_model(seed) for seed in seeds]
    with ThreadPoolExecutor(8) as pool:
        together = [*pool.map(gradients_of_a_model, seeds)]
    for found, expected in zip(together, alone, strict=True):
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


# Settings


@pytest.mark.parametrize("number", [float, np.float64, np.float32])
@pytest.mark.parametrize("rows", [1, 3, 4000])
@pytest.mark.parametrize("backend", ["numpy", "cupy"], indirect=True)
def test_settings_that_are_numpy_numbers_keep_float32(rows: int, number: Any, backend: str) -> None:
    x, one = np.random.default_rng(0).standard_normal((rows, 4)).astype(np.float32), ONES
    one = one.astype(np.float32)
    for name, arrays, settings in (
        ("layer_norm", (x, one, one), {"eps": number(1e-5)}),
        ("attention_weights", (x[:, None], x[:4][None] if rows > 3 else x[:1][None]),
         {"scale": number(0.5)}),
        ("dropout", (x,), {"p": number(0.5), "seed": 3}),
    ):  # fmt: skip
        if name not in backends.get(backend).kernels:
            continue
        values, gradients = run(OPS[name], arrays, settings, backend)
        assert {a.dtype for a in (*values, *gradients)} == {np.dtype(np.float32)}, name


@pytest.mark.parametrize("key", [0, 5, -1, -(2**63), 2**63, 2**64 - 1, 2**64 + 5, 2**70])
def test_random_bits_of_any_seed_are_equal_on_every_backend(key: int, backend: str) -> None:
    home, reference = backends.get(backend), backends.get("numpy")
    x = np.ones((5, 16), np.float32)
    for offset in (0, 3, 2**63, 2**64 - 1, 2**64, 2**70, -1):
        for seed in (key, Seed(key, offset)):
            bits = home.to_numpy(home.xp.random_bits(seed, (40,)))
            np.testing.assert_array_equal(bits, reference.xp.random_bits(seed, (40,)))
        settings = {"p": 0.5, "seed": Seed(key, offset)}
        kept = [run(OPS["dropout"], (x,), settings, b)[0][0] for b in (backend, REFERENCE)]
        np.testing.assert_array_equal(*kept)


def test_a_launch_with_an_empty_grid_does_nothing(fake_cupy: Any) -> None:
    """On a GPU it would be an error."""
    from tinytorch.backends.cupy import launch

    before = launch.launches
    for grid in ((0,), (3, 0), (0, 3, 1)):
        launch.launch("gelu", np.dtype(np.float32), grid, (32,), None, None, 0)
    assert launch.launches == before
