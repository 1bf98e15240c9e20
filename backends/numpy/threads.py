"""Work on large host arrays in blocks that stay in the cache, on all cores.

NumPy works through a whole array at each call, so a chain of calls on a large array fetches it
from memory again and again. In blocks of some hundred kilobytes a chain stays in the cache; and
as NumPy lets go of the interpreter while it computes, threads can take blocks side by side.
"""

import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")

BLOCK_BYTES = 2**18  # half of a small second-level cache, so that a few arrays fit
MIN_PARALLEL_BYTES = 2**19  # below that a thread costs more than it saves


_NOTHING = object()


class _Inside(threading.local):
    """Whether this thread divides nothing among others now."""

    thread = False


_inside = _Inside()


@functools.cache
def num_threads() -> int:
    """How many threads to use: OMP_NUM_THREADS, else the processors that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Helpers:
    """Threads that wait for work, and what they answer: None, or the exception that ended it.

    A queue of its own for each side costs half of what an executor with its futures does, and a
    training step hands work over a hundred times.
    """

    def __init__(self, count: int) -> None:
        self.work: SimpleQueue[Callable[[], object]] = SimpleQueue()
        for number in range(count):
            threading.Thread(target=self._run, name=f"tinytorch_{number}", daemon=True).start()

    def _run(self) -> None:
        while True:
            self.work.get()()


@functools.cache
def _helpers() -> _Helpers:
    return _Helpers(num_threads() - 1)


if hasattr(os, "register_at_fork"):  # a forked child has none of its parent's threads
    os.register_at_fork(after_in_child=_helpers.cache_clear)


@functools.cache
def limit_blas_threads() -> bool:
    """Have OpenBLAS use one thread, so that products can be divided among this file's threads.

    OpenBLAS's own threads wait for each other in a loop. Where another process takes a core,
    they wait for a thread that does not run: a training step then took a hundred times as long.
    Threads that sleep while they wait share the cores with others as they should.

    Returns:
        whether that could be done; a NumPy with another BLAS keeps that one's threads.
    """
    from threadpoolctl import ThreadpoolController

    openblas = ThreadpoolController().select(internal_api="openblas")
    if not openblas.info():
        return False
    openblas.limit(limits=1)
    return True


def parallel_blocks(
    work: Callable[[int, int], None], rows: int, row_bytes: int, block_bytes: int = BLOCK_BYTES
) -> None:
    """Call ``work(start, stop)`` until all rows are covered, each once.

    Args:
        work: computes rows start to stop; parts must not depend on each other.
        rows: how many there are.
        row_bytes: size of a row of one of the arrays.
        block_bytes: size of the rows that are given to `work` at once.
    """
    block = max(1, block_bytes // max(1, row_bytes))
    if rows * row_bytes < MIN_PARALLEL_BYTES:
        _run(work, 0, rows, block)
    else:
        parallel_ranges(lambda start, stop: _run(work, start, stop, block), rows)


def parallel_ranges(work: Callable[[int, int], None], rows: int) -> None:
    """Call ``work(start, stop)`` once in each thread, for equal parts of the rows."""
    threads = 1 if _inside.thread else min(num_threads(), rows)
    if threads <= 1:
        work(0, rows)
        return
    bounds = [rows * i // threads for i in range(threads + 1)]
    answers: SimpleQueue[BaseException | None] = SimpleQueue()

    def part(number: int) -> None:
        try:
            work(bounds[number], bounds[number + 1])
        except BaseException as error:  # raised again where the work was asked for
            answers.put(error)
        else:
            answers.put(None)

    for number in range(1, threads):
        _helpers().work.put(functools.partial(part, number))
    part(0)
    errors = [answers.get() for _ in range(threads)]
    for error in filter(None, errors):
        raise error


@contextmanager
def single_threaded() -> Iterator[None]:
    """A context in which this thread divides nothing among others."""
    before, _inside.thread = _inside.thread, True
    try:
        yield
    finally:
        _inside.thread = before


def parallel_for_each(work: Callable[[T], object], items: Iterable[T]) -> None:
    """Call ``work(item)`` for every item; each thread takes the next one as it becomes free.

    Within it nothing is divided further, so that threads do not wait for each other.
    """
    waiting, lock = iter(list(items)), threading.Lock()

    def take_turns(start: int, stop: int) -> None:
        with single_threaded():
            while True:
                with lock:
                    item = next(waiting, _NOTHING)
                if item is _NOTHING:
                    return
                work(item)  # type: ignore[arg-type]

    parallel_ranges(take_turns, num_threads())


class Concurrent:
    """A function so long that a thread of its own is worth its while, beside others like it.

    One product in each thread takes less than both products in two parts each: threads meet once,
    and larger products are more efficient.
    """

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function

    def __call__(self) -> object:
        return self.function()


def _run(work: Callable[[int, int], None], start: int, stop: int, block: int) -> None:
    for first in range(start, stop, block):
        work(first, min(first + block, stop))
