"""Thread-parallel loops, and the malloc settings of the NumPy backend."""

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import run_python

from tinytorch import backends
from tinytorch.backends.numpy import backend as numpy_backend
from tinytorch.backends.numpy import gemm, threads


@pytest.fixture
def use_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that sets the number of threads, independent of the machine."""

    def use(count: int) -> None:
        workers = threads._Workers(count - 1)
        monkeypatch.setattr(threads, "num_threads", lambda: count)
        monkeypatch.setattr(threads, "_workers", lambda: workers)

    return use


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("row_bytes", [0, 1, 4096, threads.BLOCK_BYTES, 10 * threads.BLOCK_BYTES])
def test_blocks_cover_each_row_once(count: int, row_bytes: int, use_threads: Any) -> None:
    use_threads(count)
    for rows in (0, 1, 2, 3, 7, 64, 65, 1000):
        visits, blocks = np.zeros(rows, int), []

        def work(i: int, j: int, visits: Any = visits, blocks: Any = blocks) -> None:
            visits[i:j] += 1
            blocks.append(j - i)

        threads.parallel_blocks(work, rows, row_bytes)
        assert (visits == 1).all()
        assert all(0 < n <= max(1, threads.BLOCK_BYTES // max(1, row_bytes)) for n in blocks)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_parallel_for_each_visits_each_item_once_and_nested_loops_stay_in_its_thread(
    count: int, use_threads: Any
) -> None:
    use_threads(count)
    done: list[int] = []

    def work(item: int) -> None:
        thread = threading.get_ident()

        def same_thread(start: int, stop: int) -> None:
            assert threading.get_ident() == thread
            assert (start, stop) == (0, 100)

        threads.parallel_ranges(same_thread, 100)
        threads.parallel_for_each(lambda inner: threads.parallel_ranges(same_thread, 100), range(2))
        threads.parallel_ranges(same_thread, 100)
        done.append(item)

    threads.parallel_for_each(work, iter(range(50)))
    assert sorted(done) == list(range(50))
    ranges: list[tuple[int, int]] = []
    threads.parallel_ranges(lambda *bounds: ranges.append(bounds), 100)
    assert len(ranges) == count, "later loops are parallel again"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_concurrent_thunks_run_in_parallel_and_keep_their_order(
    count: int, use_threads: Any
) -> None:
    use_threads(count)
    evaluate = backends.get("numpy").evaluate
    thread_of: dict[str, int] = {}

    def work(name: str) -> Callable[[], np.ndarray]:
        def compute() -> np.ndarray:
            thread_of[name] = threading.get_ident()
            time.sleep(0.05)
            return np.array(name)

        return compute

    values = [
        np.array("a"),
        threads.Concurrent(work("b")),
        work("c"),
        threads.Concurrent(work("d")),
    ]
    assert [str(result) for result in evaluate(values)] == ["a", "b", "c", "d"]
    assert (len(set(thread_of.values())) > 1) == (count > 1)
    thread_of.clear()
    evaluate([work("e"), threads.Concurrent(work("f"))])  # a single one needs no other thread
    assert set(thread_of.values()) == {threading.get_ident()}

    def fail() -> np.ndarray:
        raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        evaluate([threads.Concurrent(work("g")), threads.Concurrent(fail)])


@pytest.mark.parametrize("failing", [0, 999])
def test_an_exception_in_any_thread_reaches_the_caller(failing: int, use_threads: Any) -> None:
    def work(i: int, j: int) -> None:
        if i <= failing < j:
            raise KeyError(failing)

    use_threads(2)
    with pytest.raises(KeyError, match=str(failing)):
        threads.parallel_blocks(work, 1000, 4096)


@pytest.mark.parametrize(
    ("value", "expected"), [("3", "3"), ("4,2", "4"), ("0", None), ("x", None)]
)
def test_omp_num_threads_sets_the_number_of_threads(value: str, expected: str | None) -> None:
    code = "from tinytorch.backends.numpy.threads import num_threads; print(num_threads())"
    default = run_python(code, OMP_NUM_THREADS="")
    assert int(default) >= 1
    assert run_python(code, OMP_NUM_THREADS=value) == (expected or default)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
def test_a_forked_process_starts_its_own_threads() -> None:
    code = """
import os, signal
from tinytorch.backends.numpy.threads import parallel_blocks
parallel_blocks(lambda i, j: None, 1000, 4096)
if os.fork() == 0:
    signal.alarm(20)
    parallel_blocks(lambda i, j: None, 1000, 4096)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    assert run_python(code, OMP_NUM_THREADS="2", PYTHONWARNINGS="ignore") == "7"


def test_keep_freed_memory_calls_mallopt_only_on_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[tuple[int, int]] = []

    class Library:
        def __init__(self, name: Any) -> None:
            pass

        def mallopt(self, what: int, value: int) -> None:
            received.append((what, value))

    for platform, library, calls in [
        ("linux", Library, [(-3, 2**30), (-1, 2**30)]),
        ("linux", lambda name: object(), []),  # a C library without mallopt
        ("win32", Library, []),
        ("darwin", Library, []),
    ]:
        received.clear()
        monkeypatch.setattr(numpy_backend.sys, "platform", platform)
        monkeypatch.setattr(numpy_backend.ctypes, "CDLL", library)
        numpy_backend.keep_freed_memory()
        assert received == calls


COUNTS = {
    "1": 1, "3": 3, " 2": 2, "2 ": 2, "2,1": 2, "07": 7, "99999": threads.MAX_THREADS,
    "9" * 5000: threads.MAX_THREADS, "257": threads.MAX_THREADS,
    "": None, "0": None, "00": None, "-1": None, "²": None, "٣": None, "2.5": None, "two": None,
    ",": None, "1e3": None, "+": None, " ": None,
}  # fmt: skip


@pytest.mark.parametrize("text", COUNTS, ids=lambda text: repr(text)[:12])
def test_num_threads_reads_omp_num_threads(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    default = threads.num_threads.__wrapped__()
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert threads.num_threads.__wrapped__() == (COUNTS[text] or default)


@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_parallel_loops_are_complete_with_fewer_threads_than_requested(
    allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example because of RLIMIT_NPROC."""
    start, started = threading.Thread.start, []

    def limited(thread: threading.Thread) -> None:
        if len(started) == allowed:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    workers = threads._Workers(5)
    assert workers.count == allowed
    monkeypatch.setattr(threads, "num_threads", lambda: 6)
    monkeypatch.setattr(threads, "_workers", lambda: workers)
    done: list[int] = []
    threads.parallel_ranges(lambda first, last: done.extend(range(first, last)), 100)
    threads.parallel_for_each(done.append, range(100, 120))
    assert sorted(done) == list(range(120))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(("rows", "columns"), [(7, 5), (5, 7), (1, 9), (9, 1), (2, 2), (0, 3)])
def test_products_are_divided_by_rows_or_columns(
    count: int, rows: int, columns: int, use_threads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_threads(count)
    monkeypatch.setattr(gemm, "MIN_PARALLEL_MULTIPLICATIONS", 0)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((rows, 4)), rng.standard_normal((columns, 4))
    np.testing.assert_allclose(gemm.gemm(x, y.T), x @ y.T, rtol=1e-12)
    np.testing.assert_allclose(gemm.gemm(y, x.T), y @ x.T, rtol=1e-12)
