"""The threads of the compiled library: every row is computed once, whatever else runs."""

import ctypes
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinytorch.backends.numpy import blas, compiled, convolution, threads
from tinytorch.ops.windows import Window

pytestmark = pytest.mark.skipif(
    compiled.load() is None, reason="needs a C compiler that works, and TT_COMPILED not to be 0"
)


@pytest.fixture(autouse=True)
def four_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (compiled, blas, convolution):
        monkeypatch.setattr(module, "threads_to_use", lambda: 4)
    monkeypatch.setattr(blas, "MIN_MULTIPLICATIONS", 2**16)
    blas._plan.cache_clear()
    yield
    blas._plan.cache_clear()


def relu_in_blocks(x: Any, block: int) -> Any:
    y = np.full_like(x, -1)
    assert compiled.run("relu", x, y, x.size, block=block)
    return y


@pytest.mark.parametrize("rows", [1, 2, 7, 1000])
@pytest.mark.parametrize("block", [1, 3, 999, 1000, 10_000])
def test_every_row_is_computed(rows: int, block: int) -> None:
    x = np.arange(rows, dtype=np.float32) - 3
    for _ in range(20):
        np.testing.assert_array_equal(relu_in_blocks(x, block), np.maximum(x, 0))


def test_rows_of_all_arrays_belong_together() -> None:
    x = np.random.default_rng(0).standard_normal((101, 9)).astype(np.float32)
    one, many = np.empty_like(x), np.empty_like(x)
    assert compiled.run("softmax", x, one, *x.shape, block=101)
    assert compiled.run("softmax", x, many, *x.shape, block=2)
    np.testing.assert_array_equal(one, many)


def test_several_threads_of_python_may_use_it() -> None:
    x = np.arange(-500, 500, dtype=np.float32)
    wrong: list[int] = []

    def work() -> None:
        for _ in range(300):
            wrong.extend(np.flatnonzero(relu_in_blocks(x, 10) != np.maximum(x, 0)))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_totals_of_parts_are_complete_while_another_thread_uses_it() -> None:
    if not blas.is_available():
        pytest.skip("NumPy has another BLAS")
    rng = np.random.default_rng(0)
    window = Window((8, 8), (3, 3), (1, 1), (1, 1), (1, 1), (8, 8))
    x, g = (rng.standard_normal((8, C, 8, 8)).astype(np.float32) for C in (3, 5))
    expected = convolution.weight_gradient(g, x, (5, 3, 3, 3), window, 1)
    found = []

    def compute(_arguments: int) -> None:
        unfilled = [np.full(8 * size, 7e7, np.float32) for size in range(1, 300)]
        del unfilled  # what NumPy's next new arrays hold
        found.append(convolution.weight_gradient(g, x, (5, 3, 3, 3), window, 1))

    # As the function of a job, so that the pool is in use
    part = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(compute)
    library, arguments = compiled.load(), struct.pack("q", 4)
    assert library is not None
    address = ctypes.cast(part, ctypes.c_void_p).value
    library.run_rows(address, arguments, compiled.pack_steps([compiled.COUNT]), 1, 4, 1, 4)
    assert len(found) == 4
    for gradient in found:
        np.testing.assert_array_equal(gradient, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_may_use_it() -> None:
    x = np.arange(-500, 500, dtype=np.float32)
    relu_in_blocks(x, 10)  # starts the threads, which the child does not have
    child = os.fork()
    if not child:
        same = all(np.array_equal(relu_in_blocks(x, 10), np.maximum(x, 0)) for _ in range(50))
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux to count threads")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_no_more_threads_are_started_than_there_are_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "threads_to_use", lambda: 64)
    x = np.arange(10, dtype=np.float32)
    child = os.fork()
    if not child:  # which begins with one thread
        counts = []
        for block in (5, 5, 3):
            relu_in_blocks(x, block)
            counts.append(len(os.listdir("/proc/self/task")))
        os._exit(0 if counts == [2, 2, 4] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_loops_inside_a_thread_of_a_loop_are_not_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "threads_to_use", threads.threads_to_use)

    def refuse(*arguments: Any) -> None:
        raise AssertionError("divided")

    monkeypatch.setattr(compiled, "divide", refuse)
    x = np.ones((1000, 100), np.float32)
    with threads.single_threaded():
        assert compiled.run("relu", x, np.empty_like(x), x.size)
    with pytest.raises(AssertionError, match="divided"):
        compiled.run("relu", x, np.empty_like(x), x.size)


def test_a_single_thread_computes_the_same_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    if not blas.is_available():
        pytest.skip("NumPy has another BLAS")
    rng = np.random.default_rng(0)
    window = Window((8, 8), (3, 3), (1, 1), (1, 1), (1, 1), (8, 8))
    x, g = (rng.standard_normal((8, C, 8, 8)).astype(np.float32) for C in (3, 5))
    expected = convolution.weight_gradient(g, x, (5, 3, 3, 3), window, 1)
    monkeypatch.setattr(compiled, "threads_to_use", lambda: 1)
    unfilled = [np.full(8 * size, 7e7, np.float32) for size in range(1, 300)]
    del unfilled  # what NumPy's next new arrays hold
    gradient = convolution.weight_gradient(g, x, (5, 3, 3, 3), window, 1)
    np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.ones((600, 40), np.float64), np.ones((40, 600), np.float64)),
        (np.ones((600, 80), np.float32)[:, ::2], np.ones((40, 600), np.float32)),
        (np.broadcast_to(np.float32(1), (600, 40)), np.ones((40, 600), np.float32)),
        (np.ones((3, 4), np.float32), np.ones((4, 3), np.float32)),
    ],
    ids=["float64", "strided", "broadcast", "small"],
)
def test_other_products_are_left_to_numpy(x: Any, y: Any) -> None:
    assert blas.multiply(x, y) is None


def orders(x: Any) -> list[Any]:
    """The same matrices, stored by rows, by columns and as a part of larger ones."""
    large = np.zeros((*x.shape[:-2], x.shape[-2] + 3, x.shape[-1] + 5), x.dtype)
    part = large[..., 2:-1, 1:-4]
    part[...] = x
    by_columns = np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)
    return [x, by_columns, part]


@pytest.mark.parametrize(
    ("shape", "other"),
    [
        ((700, 60), (60, 90)),
        ((90, 60), (60, 701)),
        ((61, 405), (405, 203)),
        ((33, 64, 70), (33, 70, 64)),
    ],
    ids=["rows", "columns", "depth", "stacks"],
)
def test_products_are_those_of_numpy(shape: tuple[int, ...], other: tuple[int, ...]) -> None:
    if not blas.is_available():
        pytest.skip("NumPy has another BLAS")
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in (shape, other))
    for x in orders(a):
        for y in orders(b):
            product = blas.multiply(x, y)
            assert product is not None
            np.testing.assert_allclose(product, a @ b, rtol=1e-5, atol=1e-4)


def has_own_products() -> bool:
    """Whether the processor has the vectors that c/sgemm.c is written for."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "avx512f" in cpuinfo.read_text().split()


@pytest.mark.skipif(not has_own_products(), reason="OpenBLAS may round parts in another way")
@pytest.mark.parametrize(
    "shape", [(700, 60, 90), (90, 300, 701), (61, 405, 203), (8, 16384, 64), (64, 16384, 8)]
)
def test_products_do_not_depend_on_the_number_of_threads(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not blas.is_available():
        pytest.skip("NumPy has another BLAS")
    M, K, N = shape
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(s).astype(np.float32) for s in ((M, K), (K, N)))
    found = []
    for number in (1, 3, 8):
        monkeypatch.setattr(blas, "threads_to_use", lambda number=number: number)
        found.append(blas.multiply(x, y))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_several_products_are_computed_at_once(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not blas.is_available():
        pytest.skip("NumPy has another BLAS")
    monkeypatch.setattr(blas, "threads_to_use", lambda: threads)
    rng = np.random.default_rng(0)
    shapes = [((700, 90), (90, 130)), ((130, 700), (700, 90))]
    pairs: Any = [tuple(rng.standard_normal(s).astype(np.float32) for s in pair) for pair in shapes]
    found = blas.multiply_all(pairs)
    assert found is not None
    for product, (x, y) in zip(found, pairs, strict=True):
        np.testing.assert_allclose(product, x @ y, rtol=1e-5, atol=1e-4)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux to limit memory")
def test_a_convolution_without_memory_for_its_buffers_fails() -> None:
    if not blas.is_available():
        pytest.skip("NumPy has another BLAS")
    code = """
import resource
import numpy as np
from tinytorch import backends
from tinytorch.backends.numpy import convolution
from tinytorch.ops.windows import Window

def convolve(size):
    window = Window((size, size), (3, 3), (1, 1), (1, 1), (1, 1), (size, size))
    return convolution.convolve(np.ones((2, 32, size, size), np.float32), weight, None, window, 1)

backends.get("numpy")
weight = np.ones((1, 32, 3, 3), np.float32)
convolve(8)  # starts the threads
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
# The images take 10 MB, the result 320 KB, and the buffer of each part 15 MB.
resource.setrlimit(resource.RLIMIT_AS, (held + 2**24, held + 2**24))
try:
    convolve(200)
except MemoryError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "smaller batches" in done.stdout, done.stdout + done.stderr
