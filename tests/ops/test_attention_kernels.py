"""The fused attention kernels of cupy and NumPy against attention computed op by op."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from op_checks import REFERENCE

import tinytorch
from tinytorch import Dropout, MultiHeadAttention, Tensor, backends, create_causal_mask
from tinytorch.attention import (
    attention,
    fused_attention,
    scaled_dot_product_attention,
    split_heads,
)
from tinytorch.ops.op import COMPOSITES

# Relative to max(1, largest value): operands are rounded to 10 or 7 bits of mantissa.
TOLERANCES = {"tf32": 4e-3, "bf16": 2e-2}

# B, nh, T, S, hs
SHAPES = [
    (1, 1, 1, 1, 16), (2, 3, 17, 17, 16), (1, 2, 100, 100, 32), (2, 1, 64, 64, 64),
    (1, 1, 33, 70, 48), (1, 1, 5, 130, 128), (1, 2, 1, 40, 64), (1, 1, 129, 65, 16),
]  # fmt: skip
# g++ compiles the kernels once per head_dim, which takes seconds.
CUPY_SHAPES = [pytest.param(s, marks=pytest.mark.slow if s[-1] > 32 else ()) for s in SHAPES]


@pytest.fixture(params=TOLERANCES)
def precision(request: pytest.FixtureRequest, matmul_mode: Callable[[str], str]) -> str:
    """Each precision of the products on cupy."""
    matmul_mode(request.param)
    return str(request.param)


def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that collects the names of attention.cu's kernels as they are launched."""
    from tinytorch.backends.cupy import attention as cupy_attention

    names: list[str] = []
    before = cupy_attention.launch

    def launch(name: str, *arguments: Any, **settings: Any) -> None:
        names.append(name)
        before(name, *arguments, **settings)

    monkeypatch.setattr(cupy_attention, "launch", launch)
    return names


def causal(T: int, S: int) -> np.ndarray:
    return np.arange(S) <= np.arange(S - T, S)[:, None]


def scattered(T: int, S: int) -> np.ndarray:
    """A mask that hides whole tiles, whole rows and single weights."""
    mask = np.random.default_rng(3).random((T, S)) < 0.4
    mask[T // 3 : T // 2] = False
    mask[:, S // 2 :] &= T < 64
    return mask


MASKS: dict[str, Callable[[int, int], Any]] = {
    "none": lambda T, S: None, "causal": causal, "scattered": scattered,
}  # fmt: skip


def run(
    arrays: list[np.ndarray], mask: Any, p: float, backend: Any, function: Any = attention
) -> list[np.ndarray]:
    """Return the output and the gradients of Q, K and V for a randomly weighted sum as loss."""
    tinytorch.manual_seed(11)
    dtype = "float32" if backend == "cupy" else "float64"
    tensors = [Tensor(a, dtype=dtype, requires_grad=True, backend=backend) for a in arrays]
    mask_tensor = None if mask is None else Tensor(mask, backend=backend)
    y = function(*tensors, mask_tensor, Dropout(p))
    factor = np.random.default_rng(7).standard_normal(y.shape)
    (y * Tensor(factor, dtype=dtype, backend=backend)).sum().backward()
    return [y.numpy(), *(t.grad.numpy() for t in tensors)]


def draw(B: int, nh: int, T: int, S: int, hs: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.standard_normal((B, nh, n, hs)) for n in (T, S, S)]


def assert_close(
    actual: list[np.ndarray], expected: list[np.ndarray], precision: str = "tf32"
) -> None:
    for ours, theirs in zip(actual, expected, strict=True):
        assert np.isfinite(ours).all()
        error = np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max())
        assert error < TOLERANCES[precision], error


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("shape", CUPY_SHAPES, ids=str)
def test_cupy_kernels_equal_attention_op_by_op(
    shape: tuple[int, ...], p: float, mask: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = draw(*shape)
    mask_array = MASKS[mask](*shape[2:4])
    names = launched(monkeypatch)
    found = run(arrays, mask_array, p, "cupy")
    if mask_array is not None:
        assert names.pop(0) == "attention_mask_tiles"
    assert names == [
        "attention",
        "attention_delta",
        "attention_gradient_q",
        "attention_gradient_kv",
    ]
    assert_close(found, run(arrays, mask_array, p, REFERENCE), precision)


@pytest.fixture
def numpy_attention(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of NumPy's kernel, made to accept small inputs too."""
    backends.get("numpy")
    from tinytorch.backends.numpy import attention as numpy_attention

    monkeypatch.setattr(numpy_attention, "MIN_WEIGHTS", 0)
    return numpy_attention


def assert_equal(actual: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("shape", [*SHAPES, (2, 3, 200, 200, 8)], ids=str)
@pytest.mark.parametrize("saved", [True, False], ids=["saved", "recomputed"])
def test_numpy_kernel_equals_attention_op_by_op(
    saved: bool, shape: tuple[int, ...], mask: str, numpy_attention: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(numpy_attention, "MAX_SAVED_WEIGHTS", 2**30 if saved else 0)
    arrays, mask_array = draw(*shape), MASKS[mask](*shape[2:4])
    assert_equal(*(run(arrays, mask_array, 0, b) for b in ("numpy", REFERENCE)))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("size", [1, 6, 400])
@pytest.mark.parametrize("shift", [-800, 0, 800])
def test_numpy_shifts_scores_that_would_overflow_or_underflow(
    shift: float, size: float, mask: str, numpy_attention: Any
) -> None:
    """No shift for small scores, a global shift for larger ones, else a per-query shift."""
    arrays = draw(2, 2, 70, 70, 8)
    arrays[0] *= size
    arrays[0][..., 0], arrays[1][..., 0] = shift * np.sqrt(8), 1
    mask_array = MASKS[mask](70, 70)
    assert_equal(*(run(arrays, mask_array, 0, b) for b in ("numpy", REFERENCE)))


@pytest.mark.parametrize("shape", [(5, 2, 64, 64, 8), (1, 3, 64, 64, 8), (1, 1, 64, 64, 8)])
def test_numpy_divides_batch_or_heads_among_threads(
    shape: tuple[int, ...], numpy_attention: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinytorch.backends.numpy import threads

    monkeypatch.setattr(threads, "num_threads", lambda: 3)
    monkeypatch.setattr(threads, "MIN_PARALLEL_BYTES", 0)
    monkeypatch.setattr(numpy_attention, "CHUNK_BYTES", 1)
    threads._workers.cache_clear()
    parts: set[tuple[int, ...]] = set()
    before = numpy_attention._weights

    def weights(q: Any, *rest: Any) -> Any:
        parts.add(q.shape[:2])
        return before(q, *rest)

    monkeypatch.setattr(numpy_attention, "_weights", weights)
    arrays, mask_array = draw(*shape), causal(*shape[2:4])
    assert_equal(*(run(arrays, mask_array, 0, b) for b in ("numpy", REFERENCE)))
    threads._workers.cache_clear()
    batch, heads = shape[:2]
    assert parts == {(1, heads) if batch >= heads else (batch, 1)}


def saved_for_the_gradient(size: int, p: float) -> float:
    """Return the memory that eight heads hold after the forward, in units of all their weights."""
    tensors = [Tensor(a, requires_grad=True) for a in draw(1, 8, size, size, 4)]
    mask = create_causal_mask(size)
    attention(*tensors, mask)  # fill the cache of masks
    tracemalloc.start()
    y = attention(*tensors, mask, Dropout(p))
    bytes_held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert y.shape == (1, 8, size, 4)
    return bytes_held / (8 * size * size * 8)


def test_numpy_does_not_save_large_weight_tables() -> None:
    assert saved_for_the_gradient(400, 0.0) < 0.1
    assert 0.6 < saved_for_the_gradient(256, 0.0) < 0.75  # the part that a causal mask leaves
    assert saved_for_the_gradient(400, 0.5) > 1


def test_numpy_does_not_change_its_inputs() -> None:
    tensors = [Tensor(a, requires_grad=True) for a in draw(1, 3, 256, 256, 4)]
    before = [t.numpy().copy() for t in tensors]
    attention(*tensors, create_causal_mask(256)).sum().backward()
    for tensor, old in zip(tensors, before, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), old)


def test_backward_raises_after_an_in_place_write_on_numpy() -> None:
    tensors = [Tensor(a) for a in draw(1, 2, 64, 64, 4)]
    weight = Tensor(1.0, requires_grad=True, dtype="float64")
    for index in range(3):
        inputs = [t * weight for t in tensors]
        loss = attention(*inputs).sum()
        inputs[index].detach().zero_()
        with pytest.raises(RuntimeError, match="in place"):
            loss.backward()


def test_a_changed_mask_is_not_served_from_the_cache() -> None:
    tensors = [Tensor(a) for a in draw(1, 2, 64, 64, 4)]
    mask = create_causal_mask(64)
    first = attention(*tensors, mask)
    mask[:] = True
    np.testing.assert_allclose(attention(*tensors, mask).numpy(), attention(*tensors).numpy())
    assert np.abs(first.numpy() - attention(*tensors).numpy()).max() > 0.1


def test_incompatible_shapes_raise() -> None:
    Q, K, V = (Tensor(a) for a in draw(1, 2, 64, 64, 4))
    for wrong in ((Q, K[..., :3], V), (Q, K, V[:, :, :60])):
        with pytest.raises(ValueError, match="incompatible shapes"):
            attention(*wrong)


def test_numpy_kernel_runs_only_for_supported_inputs() -> None:
    def node(size: int, *more: Any) -> str:
        tensors = [Tensor(a, requires_grad=True) for a in draw(1, 1, size, size, 4)]
        name: str = attention(*tensors, *more)._node.name
        return name

    assert node(8) == "matmul"
    assert node(80) == node(80, create_causal_mask(80)) == "fused_attention"
    half = [Tensor(a, dtype="float16", requires_grad=True) for a in draw(1, 1, 80, 80, 4)]
    assert attention(*half)._node.name == "matmul"  # whose exponentials would overflow
    assert node(80, None, Dropout(0.5)) == "matmul"
    assert node(80, None, Dropout(0.5).eval()) == "fused_attention"
    assert (
        node(80, Tensor(np.zeros((80, 80)))) == "matmul"
    )  # a floating mask is added to the scores
    assert node(80, Tensor(np.ones((1, 80), dtype=bool))) == "matmul"


def test_equal_inputs_give_equal_bits(precision: str) -> None:
    arrays = draw(1, 2, 70, 70, 32)
    first, second = (run(arrays, causal(70, 70), 0.3, "cupy") for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_factors_are_rounded_to_the_precision(tf32: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key has the weight 1, so that the output is the value, rounded."""
    value, found = 1 + 2.0**-9, {}
    for precision in ("tf32", "bf16"):
        monkeypatch.setattr("tinytorch.backends.cupy.gemm.matmul_mode", lambda p=precision: p)
        q, v = (Tensor(np.full((1, 1, 1, 16), n, np.float32), backend=tf32) for n in (1, value))
        found[precision] = attention(q, q, v).numpy()[0, 0, 0, 0]
    assert found == {"tf32": value, "bf16": 1.0}


def test_the_gradient_has_the_precision_of_its_forward(
    tf32: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = [Tensor(a.astype("f4"), True, backend=tf32) for a in draw(1, 1, 20, 20, 16)]
    monkeypatch.setattr("tinytorch.backends.cupy.gemm.matmul_mode", lambda: "bf16")
    gradients = []
    for after in ("bf16", "tf32"):
        y = attention(*arrays)
        monkeypatch.setattr("tinytorch.backends.cupy.gemm.matmul_mode", lambda p=after: p)
        for array in arrays:
            array.zero_grad()
        y.sum().backward()
        gradients.append([a.grad.numpy() for a in arrays])
        monkeypatch.setattr("tinytorch.backends.cupy.gemm.matmul_mode", lambda: "bf16")
    np.testing.assert_array_equal(*gradients)


def test_large_scores_do_not_overflow(tf32: str) -> None:
    arrays = draw(1, 1, 20, 20, 16)
    arrays[0] *= 100
    found, expected = (run(arrays, causal(20, 20), 0.0, b) for b in (tf32, REFERENCE))
    assert np.isfinite(found[0]).all()
    assert np.abs(found[0] - expected[0]).mean() < 0.05


UNSUPPORTED: dict[str, tuple[list[np.ndarray], Any, float]] = {
    "unsupported head size": (draw(1, 1, 6, 6, 8), None, 0.0),
    "head size too large": (draw(1, 1, 3, 3, 144), None, 0.0),
    "three axes": ([a[0] for a in draw(1, 2, 6, 6, 16)], None, 0.0),
    "broadcast heads": ([draw(1, 2, 4, 4, 16)[0], *draw(1, 1, 4, 4, 16)[1:]], None, 0.0),
    "floating mask": (draw(1, 1, 6, 6, 16), np.zeros((6, 6), np.float32), 0.0),
    "mask per head": (draw(1, 2, 6, 6, 16), np.ones((2, 6, 6), bool), 0.0),
    "everything dropped": (draw(1, 1, 6, 6, 16), None, 1.0),
    "empty batch": (draw(0, 1, 6, 6, 16), None, 0.0),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_unsupported_inputs_run_op_by_op(
    case: str, tf32: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays, mask, p = UNSUPPORTED[case]
    names = launched(monkeypatch)
    found = run(arrays, mask, p, tf32)
    assert not names
    if arrays[0].size and p < 1:
        assert_close(found, run(arrays, mask, p, REFERENCE))


def test_full_float32_runs_op_by_op(cupy_fp32: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = launched(monkeypatch)
    arrays = draw(1, 2, 6, 6, 16)
    found, expected = (run(arrays, None, 0.3, b) for b in (cupy_fp32, REFERENCE))
    assert not names
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_custom_dropout_is_called(tf32: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = launched(monkeypatch)
    Q, K, V = (Tensor(a.astype("f4"), backend=tf32) for a in draw(1, 1, 4, 4, 16))
    zero: Any = lambda weights: weights * 0  # noqa: E731
    assert not attention(Q, K, V, None, zero).numpy().any()
    assert not names


def test_the_limit_of_random_bits_applies_only_with_dropout(
    tf32: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinytorch.backends.cupy import attention as cupy_attention

    shapes: list[tuple[int, ...]] = []
    before = cupy_attention.seed_arguments
    monkeypatch.setattr(
        cupy_attention,
        "seed_arguments",
        lambda seed, shape: shapes.append(shape) or before(seed, shape),
    )
    for p in (0.0, 0.5):
        run(draw(1, 2, 4, 4, 16), None, p, tf32)
    assert shapes == [(1, 2, 4, 4)]


def test_heads_are_read_and_written_without_a_copy(
    tf32: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the projections only the attention kernels run."""
    names = launched(monkeypatch)
    from tinytorch.backends.cupy import heads

    tinytorch.manual_seed(2)
    layer = MultiHeadAttention(64, 2, bias=False)
    x = np.random.default_rng(1).standard_normal((2, 20, 64)).astype(np.float32)
    results = []
    for backend in ("numpy", tf32):
        here = layer.to(backend)
        here.zero_grad()
        given = Tensor(x, requires_grad=True, backend=backend)
        with monkeypatch.context() as patch:
            for name in ("launch", "launch_rows"):
                patch.setattr(heads, name, None)  # a call would fail
            y = here(given, create_causal_mask(20, backend=backend))
            (y * y).sum().backward()
        results.append([y.numpy(), given.grad.numpy(), here.qkv.weight.grad.numpy()])
    assert_close(*results[::-1])
    assert len(names) == 5


def test_views_with_any_offset(tf32: str) -> None:
    rng = np.random.default_rng(1)
    flat = rng.standard_normal(3 * 40 * 2 * 16 + 1).astype(np.float32)
    results = []
    for backend in ("numpy", tf32):
        home = Tensor(flat, requires_grad=True, backend=backend)
        q, k, v = split_heads(home[1:].reshape(2, 20, 3 * 32), num_heads=2)
        y = attention(q, k, v)
        (y * y).sum().backward()
        results.append([y.numpy(), home.grad.numpy()])
    assert_close(*results[::-1])


def test_other_backends_run_the_composite_as_written(backend: str) -> None:
    arrays = draw(2, 2, 5, 5, 4)

    def composed(Q: Tensor, K: Tensor, V: Tensor, mask: Any, dropout: Any) -> Tensor:
        return scaled_dot_product_attention(Q, K, V, mask, dropout)[0]

    found, expected = (run(arrays, causal(5, 5), 0.4, backend, f) for f in (attention, composed))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_composites_are_registered_by_name() -> None:
    assert COMPOSITES["fused_attention"] is fused_attention
    assert repr(fused_attention) == "<composite fused_attention>"
