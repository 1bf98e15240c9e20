"""Work divided among threads, and the memory that NumPy works in."""

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
from tinytorch.backends.numpy import threads


@pytest.fixture
def use_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many threads `parallel_blocks` has, whatever the machine."""

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
def test_each_item_is_worked_on_once_and_nothing_is_divided_within(
    count: int, use_threads: Any
) -> None:
    use_threads(count)
    done: list[int] = []

    def work(item: int) -> None:
        here = threading.get_ident()

        def stay(start: int, stop: int) -> None:
            assert threading.get_ident() == here
            assert (start, stop) == (0, 100)

        threads.parallel_ranges(stay, 100)
        threads.parallel_for_each(lambda inner: threads.parallel_ranges(stay, 100), range(2))
        threads.parallel_ranges(stay, 100)
        done.append(item)

    threads.parallel_for_each(work, iter(range(50)))
    assert sorted(done) == list(range(50))
    parts: list[tuple[int, int]] = []
    threads.parallel_ranges(lambda *part: parts.append(part), 100)
    assert len(parts) == count, "after it work is divided again"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_long_work_is_done_side_by_side_and_in_order(count: int, use_threads: Any) -> None:
    use_threads(count)
    home = backends.get("numpy")
    where: dict[str, int] = {}

    def work(name: str) -> Callable[[], np.ndarray]:
        def compute() -> np.ndarray:
            where[name] = threading.get_ident()
            time.sleep(0.05)
            return np.array(name)

        return compute

    given = [np.array("a"), threads.Concurrent(work("b")), work("c"), threads.Concurrent(work("d"))]
    assert [str(found) for found in home.evaluate(given)] == ["a", "b", "c", "d"]
    assert (len(set(where.values())) > 1) == (count > 1)
    where.clear()
    home.evaluate([work("e"), threads.Concurrent(work("f"))])  # one by itself is not worth it
    assert set(where.values()) == {threading.get_ident()}

    def fail() -> np.ndarray:
        raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        home.evaluate([threads.Concurrent(work("g")), threads.Concurrent(fail)])


@pytest.mark.parametrize("failing", [0, 999])
def test_an_exception_in_any_thread_is_raised(failing: int, use_threads: Any) -> None:
    def work(i: int, j: int) -> None:
        if i <= failing < j:
            raise KeyError(failing)

    use_threads(2)
    with pytest.raises(KeyError, match=str(failing)):
        threads.parallel_blocks(work, 1000, 4096)


@pytest.mark.parametrize(("value", "count"), [("3", "3"), ("4,2", "4"), ("0", None), ("x", None)])
def test_omp_num_threads(value: str, count: str | None) -> None:
    code = "from tinytorch.backends.numpy.threads import num_threads; print(num_threads())"
    known = run_python(code, OMP_NUM_THREADS="")
    assert int(known) >= 1
    assert run_python(code, OMP_NUM_THREADS=value) == (count or known)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
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


def test_keep_freed_memory_asks_glibc_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    class Library:
        def __init__(self, name: Any) -> None:
            pass

        def mallopt(self, what: int, value: int) -> None:
            asked.append((what, value))

    for platform, library, calls in [
        ("linux", Library, [(-3, 2**30), (-1, 2**30)]),
        ("linux", lambda name: object(), []),  # a C library without mallopt
        ("win32", Library, []),
        ("darwin", Library, []),
    ]:
        asked.clear()
        monkeypatch.setattr(numpy_backend.sys, "platform", platform)
        monkeypatch.setattr(numpy_backend.ctypes, "CDLL", library)
        numpy_backend.keep_freed_memory()
        assert asked == calls
