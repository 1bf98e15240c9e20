"""The cupy backend: the fake CuPy, messages without a GPU, cuBLAS products, sampling."""

import gc
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers import no_host_reads, run_python

import tinytorch
from tinytorch import backends
from tinytorch.optimizers import orthogonalise

ROOT = Path(__file__).parents[2]
MODULES = ["cupy", "cupy.cuda", "cupy.cuda.device", "cupy.cuda.runtime", "cupy.linalg"]
ONLY_IN_THE_FAKE = {
    "DEFAULT_POOL", "FUNCTIONS", "IN_PLACE", "METHODS", "MemoryPointer", "OPERATORS", "READS",
    "allocator", "builtins", "capabilities", "captured", "check_allocated", "check_device",
    "enqueue", "is_in_pool", "kernels", "no_host_reads", "works",
}  # fmt: skip
# Prints the names that the real CuPy lacks; runs in a process without the fake CuPy on its path.
PRINT_MISSING = """
import importlib, json, sys
for place, names in json.load(sys.stdin).items():
    module, _, attribute = place.partition(":")
    owner = importlib.import_module(module)
    owner = getattr(owner, attribute) if attribute else owner
    for name in names:
        if not hasattr(owner, name):
            print(place, name)
"""


def public_names(owner: Any) -> list[str]:
    """The names that a module or class of the fake CuPy defines in place of CuPy's."""
    return [
        name for name, value in vars(owner).items()
        if not (name.startswith("_") and not name.startswith("__"))
        and name not in ONLY_IN_THE_FAKE
        and (inspect.isclass(owner) or not name.startswith("__"))
        and not isinstance(value, ModuleType)
    ]  # fmt: skip


def test_the_fake_cupy_has_no_names_that_cupy_lacks(fake_cupy: Any) -> None:
    names = {module: public_names(importlib.import_module(module)) for module in MODULES}
    names["cupy:ndarray"] = [
        n for n in public_names(fake_cupy.ndarray) if n not in ("__slots__", "__weakref__", "bytes")
    ]
    assert len(names["cupy"]) > 150
    done = subprocess.run(
        [sys.executable, "-c", PRINT_MISSING],
        input=json.dumps(names), capture_output=True, text=True,
    )  # fmt: skip
    if "No module named 'cupy'" in done.stderr:
        pytest.skip("the real CuPy is not installed")
    assert (done.stdout, done.stderr) == ("", "")


def test_the_fake_cupy_has_the_restrictions_of_cupy(fake_cupy: Any) -> None:
    x = fake_cupy.asarray(np.ones(3, np.float32))
    for wrong in (lambda: x + np.ones(3), lambda: np.asarray(x), lambda: fake_cupy.exp(np.ones(3))):
        with pytest.raises(TypeError):
            wrong()
    assert isinstance(x.sum(), fake_cupy.ndarray)
    assert np.isnan(fake_cupy.empty(3).get()).all()
    with no_host_reads():
        y = x * 2
        for read in (y.get, y.item, lambda: float(y[0]), lambda: bool(y[0] > 1)):
            with pytest.raises(AssertionError, match="waits for the device"):
                read()


def test_the_fake_cupy_rejects_launches_with_wrong_arguments(fake_cupy: Any) -> None:
    code = 'extern "C" __global__ void f(const float* x, long long n) {}'
    kernel = fake_cupy.RawModule(code).get_function("f")
    x = fake_cupy.zeros(3, fake_cupy.float32)
    kernel((1,), (32,), (x, np.int64(3)))
    for arguments in [
        (x,), (x, np.int64(3), x), (x, 3), (x, np.int32(3)), (x.astype("f8"), np.int64(3)),
        (x.get(), np.int64(3)),
    ]:  # fmt: skip
        with pytest.raises((TypeError, RuntimeError)):
            kernel((1,), (32,), arguments)
    for grid, block in [((0,), (32,)), ((1, 2**16), (32,)), ((1,), (2048,)), ((1,), (0,))]:
        with pytest.raises(RuntimeError, match="INVALID_VALUE"):
            kernel(grid, block, (x, np.int64(3)))
    with pytest.raises(RuntimeError, match="not found"):
        fake_cupy.RawModule(code).get_function("g")
    with pytest.raises(RuntimeError, match="not declared"):
        fake_cupy.RawModule('extern "C" __global__ void f(float* x) { y[0] = 1; }')


def test_the_fake_cupy_rejects_memory_that_is_not_allocated(fake_cupy: Any) -> None:
    array = fake_cupy.zeros(10, "f4")
    pools = [fake_cupy.cuda.MemoryPool() for _ in range(2)]
    # The pointers are kept, as those of arrays are.
    blocks = [(pool.malloc(40).ptr, 40) for pool in pools for _ in range(5)]

    def rejects(address: int, size: int) -> None:
        with pytest.raises(AssertionError, match="not part of an array"):
            fake_cupy.check_allocated(address, size)

    for start, size in [(array.data.ptr, 40), *blocks]:
        for first, last in [(0, size), (0, 1), (39, 40), (4, 36), (size, size)]:
            fake_cupy.check_allocated(start + first, last - first)
        rejects(start, size + 1)
        rejects(start + 39, 2)
        rejects(start - 2**40, 1)
    fake_cupy.check_allocated(pools[1].malloc(40).ptr, 40)
    del pools[0]
    gc.collect()
    for start, size in blocks[5:]:
        fake_cupy.check_allocated(start, size)
    address = array.data.ptr
    del array
    for start, _ in [*blocks[:5], (address, 40)]:
        rejects(start, 40)


def test_the_list_of_backends_says_what_is_missing(tmp_path: Path) -> None:
    code = "import runpy; runpy.run_module('tinytorch.backends', run_name='__main__')"
    lines = run_python(code, TT_BACKEND="").splitlines()
    assert lines[0].split() == ["*", "numpy", "usable:", "numpy"]
    (tmp_path / "cupy.py").write_text("raise ImportError('No module named cupy')")
    lines = run_python(code, TT_BACKEND="cupy", PYTHONPATH=str(tmp_path)).splitlines()
    line = next(" ".join(line.split()) for line in lines if line.startswith("*"))
    assert line.startswith("* cupy not usable: the cupy backend needs CuPy")
    assert 'pip install "cupy-cuda12x[ctk]"' in line


def test_products_are_rounded_according_to_tt_matmul(
    cupy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = backends.get(cupy)
    from tinytorch.backends.cupy import gemm

    x = backend.asarray(np.full((1, 1), 1 + 2.0**-9 + 2.0**-16, np.float32))
    for mode, value in {"fp32": 1 + 2**-9 + 2**-16, "tf32": 1 + 2**-9, "bf16": 1.0}.items():
        monkeypatch.setattr(gemm, "matmul_mode", lambda mode=mode: mode)
        one = backend.asarray(np.ones((1, 1), np.float32))
        if "fake GPU" in str(backend):  # a real one may use other code for 1 x 1
            assert float(backend.to_numpy(gemm.gemm(x, one))[0, 0]) == value
        with backend.full_precision():
            full = backend.to_numpy(gemm.gemm(x, one))
        assert float(full[0, 0]) == np.float32(1 + 2**-9 + 2**-16)
        assert gemm.precision() == mode


@pytest.mark.parametrize("smallest", [1.0, 0.01])
@pytest.mark.parametrize("shape", [(96, 96), (32, 128), (128, 32), (3, 5)])
@pytest.mark.parametrize(("mode", "error"), [("fp32", 1e-5), ("tf32", 6e-3), ("bf16", 5e-2)])
def test_rounded_products_hardly_change_muons_directions(
    mode: str, error: float, shape: Any, smallest: float, cupy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors of one Newton-Schulz step are not amplified by the next ones."""
    backend = backends.get(cupy)
    from tinytorch.backends.cupy import gemm, optim

    monkeypatch.setattr(gemm, "matmul_mode", lambda: mode)
    n = min(shape)
    rng = np.random.default_rng(0)
    U, V = (np.linalg.qr(rng.standard_normal((size, n)))[0] for size in shape)
    G = np.stack([(U * np.geomspace(1, smallest, n)) @ V.T, U @ V.T])
    directions = backend.asarray((G / np.linalg.norm(G, axis=(1, 2), keepdims=True)).astype("f4"))
    found, expected = backend.to_numpy(optim._orthogonal(directions)), orthogonalise(np, G)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.linalg.norm(ours - theirs) < error * np.linalg.norm(theirs)
        assert np.linalg.svd(ours, compute_uv=False).max() < 1.21


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", "tf32"), ("tf32", "tf32"), ("bf16", "bf16"), ("fp32", "fp32"),
     ("fp16", "fp16"),
     ("fp8", "error: TT_MATMUL must be one of fp32, tf32, bf16, fp16, not 'fp8'")],
)  # fmt: skip
def test_values_of_tt_matmul(value: str, expected: str, fake_cupy: Any) -> None:
    code = """
from tinytorch import backends
try:
    print(backends.get("cupy").matmul)
except backends.BackendError as error:
    print("error:", error)
"""
    path = str(Path(fake_cupy.__file__).parents[1])
    assert run_python(code, TT_MATMUL=value, PYTHONPATH=path) == expected


@pytest.mark.parametrize("batch", [2, 5])
def test_heads_of_one_projection_are_multiplied_without_copies(
    fake_cupy: Any, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """In the path without the attention kernels: on a T4, and in fp32."""
    backends.get("cupy")
    from tinytorch.backends.cupy import gemm

    monkeypatch.setattr(gemm, "matmul_mode", lambda: "fp32")
    rng, (T, nh, hs) = np.random.default_rng(8), (6, 3, 4)
    host = rng.standard_normal((batch, T, 3, nh, hs)).astype("f4")
    q, k, v = (fake_cupy.asarray(host)[:, :, i].transpose(0, 2, 1, 3) for i in range(3))
    scores = fake_cupy.asarray(rng.standard_normal((batch, nh, T, T)).astype("f4"))
    cases = [(q, k.swapaxes(2, 3)), (scores, v), (scores.swapaxes(2, 3), q), (v, k.swapaxes(2, 3))]
    expected = [x.get() @ y.get() for x, y in cases]
    found = [gemm.gemm(x, y).get() for x, y in cases]  # small: copied

    def copy(x: Any, *arguments: Any) -> Any:
        raise AssertionError("a copy")

    monkeypatch.setattr(gemm, "COPY_LIMIT", 0)
    monkeypatch.setattr(fake_cupy, "ascontiguousarray", copy)
    calls = gemm.calls
    found += [gemm.gemm(x, y).get() for x, y in cases]
    assert gemm.calls - calls == len(cases) * min(batch, nh)
    out = fake_cupy.ones((batch, nh, T, T), "f4")
    found.append(gemm.gemm(q, k.swapaxes(2, 3), 2.0, out, 3.0).get())
    for result, right in zip(found, [*expected, *expected, 2 * expected[0] + 3], strict=True):
        np.testing.assert_allclose(result, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("capability", "expected"), [("75", "fp32"), ("80", "bf16")])
def test_the_mode_of_products_is_what_the_current_device_supports(
    fake_cupy: Any, monkeypatch: pytest.MonkeyPatch, capability: str, expected: str
) -> None:
    backend: Any = backends.get("cupy")
    from tinytorch.backends.cupy import gemm

    monkeypatch.setattr(gemm, "_chosen_mode", lambda: "bf16")
    monkeypatch.setattr(gemm.device, "get_compute_capability", lambda: capability)
    assert gemm.matmul_mode() == backend.matmul == expected


def test_amd_gpus_are_refused_with_a_reason(
    fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinytorch.backends.cupy.backend import CupyBackend

    monkeypatch.setattr(fake_cupy.cuda.runtime, "is_hip", True)
    with pytest.raises(backends.BackendError, match=r"needs an NVIDIA GPU: .* AMD's ROCm"):
        CupyBackend()


@pytest.mark.parametrize(("capability", "size"), [("89", 2**22), ("90", 2**25)])
def test_eager_and_captured_products_have_the_same_workspace(
    fake_cupy: Any, monkeypatch: pytest.MonkeyPatch, capability: str, size: int
) -> None:
    """cuBLAS chooses its algorithm by its size; other bits could not be resumed exactly."""
    from tinytorch.backends.cupy import cublas, gemm, graph

    library = cublas._library()
    monkeypatch.setattr(cublas.device, "get_compute_capability", lambda: capability)
    x = fake_cupy.ones((3, 3), fake_cupy.float32)
    graphed = graph.GraphedCallable(lambda x: gemm.gemm(x, x))
    for call in range(3):
        assert graphed("key", x).get().tolist() == [[3.0] * 3] * 3
        assert library.workspaces == {size}, call


def test_each_thread_has_a_handle_of_cublas(fake_cupy: Any) -> None:
    """Streams of one thread do not redirect the products of another."""
    from tinytorch.backends.cupy import cublas

    found = [cublas.handle(), cublas.handle()]
    thread = threading.Thread(target=lambda: found.append(cublas.handle()))
    thread.start()
    thread.join()
    assert found[0] == found[1] != found[2]


def test_a_graph_outlives_the_thread_that_captured_it(fake_cupy: Any) -> None:
    from tinytorch.backends.cupy import cublas, gemm, graph

    x, graphs, places = fake_cupy.ones((3, 3), "f4"), [], []
    backends.get("cupy")

    def capture() -> None:
        place = graph.CapturePlace()
        graphs.append(graph.CapturedGraph(lambda x: gemm.gemm(x, x), (x,), place))
        workspace = cublas.workspace()
        places.append((workspace.data.ptr, workspace.nbytes))

    thread = threading.Thread(target=capture)
    thread.start()
    thread.join()
    assert graphs[0].replay().get().tolist() == [[3.0] * 3] * 3
    fake_cupy.check_allocated(*places[0])


SHAPES = [
    ((3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 3, 4, 5), (2, 3, 5, 6)), ((1, 1), (1, 1)),
    ((1, 4), (4, 1)), ((3, 1), (1, 5)), ((2, 1, 3, 4), (1, 3, 4, 5)), ((3, 4), (7, 4, 2)),
    ((0, 4), (4, 5)), ((3, 0), (0, 5)), ((0, 3, 4), (0, 4, 5)), ((2, 1, 3), (2, 3, 1)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_products_of_operands_in_all_layouts(
    left: tuple[int, ...], right: tuple[int, ...], dtype: str, cupy_fp32: str
) -> None:
    """Contiguous, transposed, strided, sliced and broadcast operands, with and without `out`."""
    backend, rng = backends.get(cupy_fp32), np.random.default_rng(5)
    from tinytorch.backends.cupy.gemm import gemm

    def layouts(shape: tuple[int, ...]) -> list[tuple[Any, np.ndarray]]:
        host = rng.standard_normal(shape).astype(dtype)
        transposed = backend.asarray(np.ascontiguousarray(host.swapaxes(-1, -2))).swapaxes(-1, -2)
        strided = backend.asarray(np.repeat(host, 2, axis=-1))[..., ::2]
        sliced = backend.asarray(np.concatenate([host, host], axis=-1))[..., : shape[-1]]
        rows_first = backend.asarray(np.ascontiguousarray(np.moveaxis(host, -2, 0)))
        axes = (*range(1, host.ndim - 1), 0, host.ndim - 1)
        permuted = backend.xp.permute_dims(rows_first, axes)
        return [(a, host) for a in (backend.asarray(host), transposed, strided, sliced, permuted)]

    if 0 not in left:
        row, column = np.ones((*left[:-2], 1, left[-1]), dtype), np.ones((*left[:-1], 1), dtype)
        for part in (row, column):
            broadcast = backend.xp.broadcast_to(backend.asarray(2 * part), left)
            y_host = np.asarray(rng.standard_normal(right), dtype)
            expected = np.matmul(np.broadcast_to(2 * part, left), y_host)
            result = backend.to_numpy(gemm(broadcast, backend.asarray(y_host)))
            np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
    for x, x_host in layouts(left):
        for y, y_host in layouts(right):
            expected = np.matmul(x_host, y_host)
            tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-10}
            np.testing.assert_allclose(backend.to_numpy(gemm(x, y)), expected, **tolerance)
            out = backend.asarray(np.ones(expected.shape, dtype))
            gemm(x, y, -2.0, out=out, beta=3.0)
            np.testing.assert_allclose(backend.to_numpy(out), 3 - 2 * expected, **tolerance)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_products_of_bfloat16_are_summed_in_float32(
    dtype: str, transposed: bool, cupy: str
) -> None:
    backend, rng = backends.get(cupy), np.random.default_rng(4)
    from tinytorch.backends.cupy import gemm

    def matrix(rows: int, columns: int) -> tuple[np.ndarray, Any]:
        """A matrix of float32 numbers with 8 bits of mantissa, and its bits as bfloat16."""
        bits = rng.standard_normal((rows, columns)).astype("f4").view(np.uint32) >> 16
        stored = backend.asarray((bits.T if transposed else bits).astype(np.uint16))
        return (bits << 16).view("f4"), stored.T if transposed else stored

    (x, x_bits), (y, y_bits) = matrix(16, 300), matrix(300, 24)
    result = backend.to_numpy(gemm.gemm_bf16(x_bits, y_bits, np.dtype(dtype)))
    assert result.dtype == dtype
    tolerance = 1e-6
    if dtype == "uint16":
        result, tolerance = (result.astype(np.uint32) << 16).view("f4"), 2**-8
    np.testing.assert_allclose(result, x @ y, rtol=tolerance, atol=1e-4)


def test_sampling_from_logits_of_nan_returns_minus_1_for_the_host_to_find(cupy: str) -> None:
    backend = backends.get(cupy)
    assert backend.sample is not None
    logits = backend.asarray(np.full((2, 40), np.nan, np.float32))
    assert backend.sample(logits, 1.0, np.array([0.1, 0.9])).tolist() == [-1, -1]


@pytest.mark.parametrize("size", [3, 32, 65, 300])
def test_sampling_at_the_end_of_the_distribution_draws_its_last_token(cupy: str, size: int) -> None:
    """Sums over lanes and warps are added in one order: one exceeds any u times the total."""
    backend, rng = backends.get(cupy), np.random.default_rng(6)
    assert backend.sample is not None
    logits = rng.standard_normal((300, size)).astype("f4")
    last = rng.integers(1, size, 300)  # with a weight; so -inf at the end, and at the beginning
    logits[np.arange(size) > last[:, None]] = -np.inf
    logits[:, 0] = -np.inf
    u = np.full(300, np.nextafter(1.0, 0.0))
    tokens = backend.sample(backend.asarray(logits), 1.0, u)
    np.testing.assert_array_equal(tokens, last)


def test_segment_sum_by_scanning_and_by_sorting_ids(
    cupy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, rng = backends.get(cupy), np.random.default_rng(2)
    from tinytorch.backends.cupy import embedding

    cases = ((50, 300), (1, 5), (1, 64), (256, 513), (70_000, 1200), (9, 4000), (3, 0))
    for rows, count in cases:
        ids, values = rng.integers(0, rows, count), rng.standard_normal((count, 37))
        ids[: count // 2] %= 7
        ids[: count * 5 // 8] = 0  # some ids are in many chunks, others in one or two
        expected = backends.get("numpy").xp.segment_sum(values, ids, rows)
        for limit in (embedding.SCAN_LIMIT, 0)[rows > 1000 :]:
            monkeypatch.setattr(embedding, "SCAN_LIMIT", limit)
            result = backend.xp.segment_sum(backend.asarray(values), backend.asarray(ids), rows)
            np.testing.assert_allclose(
                backend.to_numpy(result), expected, rtol=1e-10, atol=1e-12, err_msg=str(rows)
            )


# Kind -> the ids of `count` rows; "text" has the frequencies of a text's spaces and letters.
DRAWN_IDS = {
    "uniform": lambda rng, rows, count: rng.integers(0, rows, count),
    "text": lambda rng, rows, count: np.minimum(rng.geometric(0.15, count) - 1, rows - 1),
    "one id": lambda rng, rows, count: np.full(count, rows // 2),
    "positions": lambda rng, rows, count: np.arange(count) % rows,
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", DRAWN_IDS)
def test_gradient_of_small_tables(kind: str, dtype: str, cupy: str) -> None:
    """Of one part of the ids, of several, and of parts as long as the table; always equal bits."""
    rng = np.random.default_rng(8)
    for rows, count, size in ((65, 900, 40), (65, 1025, 129), (700, 1500, 33), (7, 2048, 1)):
        ids = DRAWN_IDS[kind](rng, rows, count)
        g = rng.standard_normal((count, size)).astype(dtype)
        table = tinytorch.Embedding(rows, size, backend=cupy).to(dtype)
        found = []
        for _ in range(2):
            table.zero_grad()
            y = table(tinytorch.Tensor(ids, backend=cupy))
            y.backward(tinytorch.Tensor(g, backend=cupy))
            assert table.weight.grad is not None
            found.append(table.weight.grad.numpy())
        np.testing.assert_array_equal(found[0], found[1])
        expected = np.zeros((rows, size))
        np.add.at(expected, ids, g.astype(np.float64))
        scale = np.abs(expected).max()
        tolerance = 1e-6 if dtype == "float32" else 1e-14
        np.testing.assert_allclose(found[0], expected, rtol=0, atol=tolerance * scale)


def test_no_block_adds_up_a_frequent_id_alone(
    fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text of 16,384 tokens is divided into parts of 512; the second launch adds them up."""
    backend, records = backends.get("cupy"), []  # type: ignore[var-annotated]
    monkeypatch.setattr(fake_cupy.kernels, "records", records)
    for count, parts in ((1024, 1), (2048, 4), (16_384, 32), (40_000, 32)):
        records.clear()
        values = backend.asarray(np.ones((count, 3), np.float32))
        backend.xp.segment_sum(values, backend.asarray(np.zeros(count, np.int64)), 5)
        names = [r.kernel.name for r in records]
        assert names == ["embedding_gradient", "column_sums"][: 1 + (parts > 1)]
        assert records[0].grid == (5, 1, parts)


def test_ids_are_sorted_stably_with_those_out_of_range_last(cupy: str) -> None:
    backend, rng = backends.get(cupy), np.random.default_rng(3)
    from tinytorch.backends.cupy import embedding

    for rows, count in ((1, 40), (255, 600), (256, 600), (257, 600), (2**17, 1300)):
        ids = rng.integers(0, rows, count)
        ids[::3], ids[5:20], ids[-3:] = ids[0], rows, (-1, 2**40, rows + 1)
        order = embedding._stable_order(backend.asarray(ids), rows)
        in_range = (ids >= 0) & (ids < rows)
        expected = np.argsort(np.where(in_range, ids, rows), kind="stable")
        assert backend.to_numpy(order).tolist() == expected.tolist(), rows


INTS, MASK = np.array([2, 0, 2, -1]), np.array([True, False, True])
KEYS = {
    "ids": (INTS, (4, 4, 5)),
    "two axes": ((INTS, INTS), (4, 5)),
    "all axes": ((INTS, INTS, INTS), (4,)),
    "slice before": ((slice(None), INTS), (3, 4, 5)),
    "slice between": ((INTS, slice(1, 3), INTS), (4, 2)),
    "ellipsis": ((..., INTS), (3, 4, 4)),
    "new axis": ((None, INTS), (1, 4, 4, 5)),
    "mask": (MASK, (2, 4, 5)),
    "integer": ((1, INTS), (4, 5)),
    "matrix of ids": (INTS.reshape(2, 2), (2, 2, 4, 5)),
    "broadcast": (INTS, (5,)),
    "none": (INTS[:0], (0, 4, 5)),
}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
@pytest.mark.parametrize("case", KEYS)
def test_index_add_at_repeated_indices(case: str, dtype: str, cupy: str) -> None:
    backend, rng = backends.get(cupy), np.random.default_rng(4)
    key, shape = KEYS[case]
    x, values = rng.integers(-9, 9, (3, 4, 5)), rng.integers(-9, 9, shape)
    expected = x.copy()
    np.add.at(expected, key, values)
    parts = tuple(
        backend.asarray(part) if isinstance(part, np.ndarray) else part
        for part in (key if isinstance(key, tuple) else (key,))
    )
    for target in (x.astype(dtype), np.asfortranarray(x.astype(dtype))):
        array = backend.asarray(target)
        result = backend.xp.index_add(array, parts, backend.asarray(values.astype(dtype)))
        assert result is array
        assert backend.to_numpy(result).tolist() == expected.tolist()


def test_sums_at_repeated_indices_are_captured(
    fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend: Any = backends.get("cupy")
    from tinytorch.backends.cupy import embedding, graph

    monkeypatch.setattr(embedding, "SCAN_LIMIT", 0)

    def work(values: Any, ids: Any) -> Any:
        sums = backend.xp.segment_sum(values, ids, 300)
        return backend.xp.index_add(sums, ids, values)

    graphed, rng = graph.GraphedCallable(work), np.random.default_rng(5)
    for _ in range(4):
        ids, values = rng.integers(0, 300, 90), rng.standard_normal((90, 3))
        ids[::2] = 299
        expected = np.zeros((300, 3))
        np.add.at(expected, ids, 2 * values)
        with no_host_reads():
            found = graphed("key", fake_cupy.asarray(values), fake_cupy.asarray(ids))
        np.testing.assert_allclose(found.get(), expected, rtol=1e-10, atol=1e-12)


def test_floats_are_never_added_in_an_order_that_differs_from_run_to_run(
    fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinytorch.backends.cupy import cuda_source

    def unordered(*arguments: Any) -> None:
        raise AssertionError("cupy.add.at adds atomically")

    monkeypatch.setattr(type(fake_cupy.add), "at", unordered)
    x = tinytorch.randn(6, 3, backend="cupy", requires_grad=True)
    ids = tinytorch.tensor([1, 1, 5], backend="cupy")
    x[ids].sum().backward()
    assert x.grad is not None
    assert x.grad.numpy()[:, 0].tolist() == [0, 2, 0, 0, 0, 1]
    for unit in (("float32", None), ("float64", None), ("float32", 64)):
        assert "atomic" not in re.sub("//.*", "", cuda_source.source(*unit))


def test_backend_cupy_without_a_gpu_skips_the_tests_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "cupy.py").write_text("is_available = lambda: False")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/13_transformers/test_pinned_losses.py",
         "--backend", "cupy", "-q", "-rs", "-p", "no:cacheprovider", "--no-cov"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTEST_ADDOPTS": ""},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "2 skipped, 1 deselected" in done.stdout
    assert "needs a CUDA GPU, and CuPy finds none here" in done.stdout
