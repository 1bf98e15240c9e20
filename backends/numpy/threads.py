"""Thread-parallel loops over large host arrays, in cache-sized blocks.

Every NumPy call streams a large array through memory, so a chain of calls fetches it again and
again. In blocks of a few hundred kilobytes, the data stays in the cache. NumPy releases the GIL
while it computes, so threads can process blocks in parallel.
"""

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from .. import float_errors

T = TypeVar("T")

BLOCK_BYTES = 2**18  # half of a small L2 cache, so that a few arrays fit
MIN_PARALLEL_BYTES = 2**19  # for smaller arrays a thread costs more than it saves
LONG_BLOCK_BYTES = 2**21  # an L2 cache, for `parallel_long_blocks`
MIN_LONG_BYTES = 2**22  # for `parallel_long_blocks`

MAX_THREADS = 256

_END = object()


class _ThreadState(threading.local):
    """Per-thread flag: True while the thread must not parallelise further."""

    nested = False


_state = _ThreadState()


@functools.cache
def num_threads() -> int:
    """Return the number of threads to use: OMP_NUM_THREADS, else the CPUs of this process.

    At most `MAX_THREADS`. A value that is not a positive integer is ignored; of a list of values
    for nested levels, the first is used.
    """
    requested = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip().lstrip("0")
    if requested.isascii() and requested.isdecimal():
        return MAX_THREADS if len(requested) > 4 else min(int(requested), MAX_THREADS)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Workers:
    """Daemon threads that run functions from a queue.

    Attributes:
        count: number of threads; fewer than requested if the system allows no more.

    Two plain queues, for work and for outcomes, have less overhead than an executor with futures,
    and a training step submits work more than a hundred times.
    """

    def __init__(self, count: int) -> None:
        self.queue: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self.count = 0
        with suppress(RuntimeError):  # "can't start new thread"
            while self.count < count:
                name = f"tinytorch_{self.count}"
                threading.Thread(target=self._run, name=name, daemon=True).start()
                self.count += 1

    def _run(self) -> None:
        float_errors.ignore()  # settings of NumPy hold for one thread
        while True:
            self.queue.get()()


@functools.cache
def _workers() -> _Workers:
    return _Workers(num_threads() - 1)


if hasattr(os, "register_at_fork"):  # a forked child inherits none of its parent's threads
    os.register_at_fork(after_in_child=_workers.cache_clear)


@functools.cache
def limit_blas_threads() -> bool:
    """Limit OpenBLAS to one thread, so that matrix products can be divided among these threads.

    OpenBLAS's own threads wait in a busy loop. If another process takes a core, they spin until the
    descheduled thread runs again, which made training steps a hundred times as slow. Threads that
    sleep while they wait share the cores with other processes.

    Returns:
        True if it succeeded; False for a NumPy with another BLAS, which keeps its own threads, or
        without one.
    """
    if sys.platform == "emscripten":  # a browser has no threads
        return False
    from threadpoolctl import ThreadpoolController

    openblas = ThreadpoolController().select(internal_api="openblas")
    if not openblas.info():
        return False
    openblas.limit(limits=1)
    return True


def parallel_blocks(
    work: Callable[[int, int], None], rows: int, row_bytes: int, block_bytes: int = BLOCK_BYTES
) -> None:
    """Call ``work(start, stop)`` for consecutive blocks that cover all rows, in several threads.

    Args:
        work: computes rows start to stop; blocks must not depend on each other.
        rows: the number of rows.
        row_bytes: the size of one row of one array.
        block_bytes: the size of the rows that each call of `work` processes.
    """
    block = max(1, block_bytes // max(1, row_bytes))
    if rows * row_bytes < MIN_PARALLEL_BYTES:
        _run_blocks(work, 0, rows, block)
    else:
        parallel_ranges(lambda start, stop: _run_blocks(work, start, stop, block), rows)


def parallel_long_blocks(
    work: Callable[[int, int], None], rows: int, row_bytes: int, least: int = MIN_LONG_BYTES
) -> None:
    """`parallel_blocks` for a few calls on large arrays.

    In several threads the blocks are as large as the cache: each call takes about 100 microseconds
    then, as long as it takes to wake a thread that waits for the GIL.

    Args:
        least: bytes; smaller arrays are processed by the calling thread.
    """
    if rows * row_bytes < least or num_threads() == 1:
        _run_blocks(work, 0, rows, max(1, BLOCK_BYTES // max(1, row_bytes)))
    else:
        parallel_blocks(work, rows, row_bytes, LONG_BLOCK_BYTES)


def _run_blocks(work: Callable[[int, int], None], start: int, stop: int, block: int) -> None:
    for first in range(start, stop, block):
        work(first, min(first + block, stop))


def threads_to_use() -> int:
    """The number of threads that may share a loop of the current thread."""
    return 1 if _state.nested else num_threads()


def parallel_ranges(work: Callable[[int, int], None], rows: int) -> None:
    """Call ``work(start, stop)`` once per thread, for equal ranges of the rows.

    Raises:
        BaseException: the first exception of a thread, after all threads have finished.
    """
    threads = min(threads_to_use(), rows)
    if threads > 1:
        threads = min(threads, _workers().count + 1)
    if threads <= 1:
        work(0, rows)
        return
    bounds = [rows * i // threads for i in range(threads + 1)]
    outcomes: SimpleQueue[BaseException | None] = SimpleQueue()

    def run_range(number: int) -> None:
        try:
            work(bounds[number], bounds[number + 1])
        except BaseException as error:  # re-raised in the calling thread
            outcomes.put(error)
        else:
            outcomes.put(None)

    for number in range(1, threads):
        _workers().queue.put(functools.partial(run_range, number))
    run_range(0)
    errors = [outcomes.get() for _ in range(threads)]
    for error in filter(None, errors):
        raise error


_meeting = threading.Lock()  # held by functions that wait for each other in several threads


def together(work: Callable[[int, int], None], threads: int) -> None:
    """Call ``work(number, count)`` in `count` threads, at most `threads`, that may wait for others.

    The calling thread is number 0. Only one call at a time has several threads: with two, each
    could wait for a thread that waits for the other.
    """
    threads = min(threads, _workers().count + 1) if threads > 1 and not _state.nested else 1
    if threads == 1 or not _meeting.acquire(blocking=False):
        work(0, 1)
        return
    try:
        parallel_ranges(lambda number, _: work(number, threads), threads)
    finally:
        _meeting.release()


@contextmanager
def single_threaded() -> Iterator[None]:
    """Return a context in which the current thread runs single-threaded."""
    before, _state.nested = _state.nested, True
    try:
        yield
    finally:
        _state.nested = before


def parallel_for_each(work: Callable[[T], object], items: Iterable[T]) -> None:
    """Call ``work(item)`` for every item; each thread takes the next item when it is free.

    Parallel loops inside `work` run single-threaded, so that threads do not wait for each other.
    """
    pending, lock = iter(list(items)), threading.Lock()

    def run_items(start: int, stop: int) -> None:
        with single_threaded():
            while True:
                with lock:
                    item = next(pending, _END)
                if item is _END:
                    return
                work(item)  # type: ignore[arg-type]

    parallel_ranges(run_items, num_threads())


class Joint:
    """A thunk that is faster when it is computed at once with others of its class."""

    __slots__ = ()

    @staticmethod
    def compute_all(thunks: Sequence[Any]) -> list[Any]:
        """The values of several thunks."""
        return [thunk() for thunk in thunks]


class Concurrent:
    """Marks a thunk as expensive enough to run in its own thread, in parallel with others.

    One whole product per thread is faster than dividing each product among all threads: threads
    synchronise once, and larger products are more efficient.
    """

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function

    def __call__(self) -> object:
        return self.function()
