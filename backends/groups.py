"""Groups of ranks: processes, perhaps on several machines, that add up their arrays."""

import os
import platform
import time
from _thread import start_new_thread
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import accumulate
from operator import methodcaller
from queue import SimpleQueue
from threading import Event
from typing import Any, Protocol

import numpy as np

from .arrays import NativeArray, NumpyArray

BUCKET_BYTES = 2**22  # gradients are exchanged a million float32 numbers at a time
YIELDS = 200  # of the processor to other programs before a wait begins to sleep
PAUSE = 5e-5  # seconds of each sleep
LONG_PAUSE = 1e-3  # where a computation needs the processor: a bucket takes 36 ms at 1 Gb/s

# Given a function that waits for a request of MPI, whether all ranks do the same sums.
Agree = Callable[[Callable[[Any], None]], bool]


class SideSums(Protocol):
    """Sums beside a computation, one after the other.

    Attributes:
        queue: contiguous arrays, each of which is replaced by its sum over all ranks, behind all
            that computes it. They are not used, and not freed, until `finish`. Unlike a method in
            Python, `put` cannot be ended by Ctrl-C before an array is in the queue.
    """

    queue: "SimpleQueue[NativeArray]"

    def go_on(self) -> None:
        """Look for new arrays in the queue, as `finish` does."""
        ...

    def finish(self) -> BaseException | None:
        """Let what follows wait for the sums; if Ctrl-C ends this, it can be called again.

        Returns:
            the exception of a sum.
        """
        ...


class Group(Protocol):
    """What an engine for several processes must offer; mpi4py and NCCL are two.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
    """

    rank: int
    size: int

    def sum(self, arrays: Sequence[NativeArray]) -> None:
        """Replace each array by its sum over all ranks, in place, on the current stream."""
        ...

    def broadcast(self, array: NativeArray) -> None:
        """Replace an array by that of rank 0, in place."""
        ...

    def share(self, rows: NativeArray) -> None:
        """Replace each row of an array (size, N) in C order by that of the rank with its number."""
        ...

    def side_sums(self, agree: Agree) -> SideSums:
        """Sums beside the computation that follows; none of them is done unless all ranks agree."""
        ...


class MPIGroup:
    """Sums of host arrays by MPI.

    Ranks wait for each other without keeping a processor busy: MPI's own waits do, which makes
    steps several times as long where there are more ranks than cores.

    Args:
        comm: a communicator of mpi4py; its ranks must call the same methods in the same order.

    Attributes:
        comm: the communicator.
        waiting: creates the context of each wait for the other ranks.
        shared_error: the last exception that was raised in all ranks.
        place: name of this machine.
    """

    def __init__(self, comm: Any) -> None:
        self.comm = comm
        self.waiting: Callable[[], AbstractContextManager[None]] = nullcontext
        self.shared_error: BaseException | None = None
        self.place = platform.node()
        self.rank, self.size = int(comm.Get_rank()), int(comm.Get_size())
        self._memory = np.empty(0, np.uint8)
        self._beside: Any = None  # a communicator of the same ranks, once there is a sum beside

    def __deepcopy__(self, memo: dict[int, Any]) -> "MPIGroup":
        return self  # the ranks of a copy are the same

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_memory": np.empty(0, np.uint8), "_beside": None}

    def allows_threads(self) -> bool:
        """Whether several threads may call MPI at once, as sums beside a computation do."""
        from mpi4py import MPI

        return bool(MPI.Query_thread() >= MPI.THREAD_MULTIPLE)

    def barrier(self) -> None:
        """Wait until all ranks have come here; Ctrl-C ends the wait."""
        self.wait(self.comm.Ibarrier())

    def wait(self, request: Any) -> None:
        """Wait for the other ranks, until a request of MPI is complete."""
        with self.waiting():
            turns = 0
            while not request.Test():
                turns += 1
                if turns > YIELDS:
                    time.sleep(PAUSE)
                elif hasattr(os, "sched_yield"):
                    os.sched_yield()

    def sum(self, arrays: Sequence[NumpyArray]) -> None:
        self.barrier()
        for bucket in buckets(arrays):
            if len(bucket) == 1 and bucket[0].flags.c_contiguous:
                self._sum(bucket[0])
                continue
            flat = self._buffer(sum(array.size for array in bucket), bucket[0].dtype)
            parts = parts_of(flat, bucket)
            for array, part in zip(bucket, parts, strict=True):
                part[...] = array
            self._sum(flat)
            for array, part in zip(bucket, parts, strict=True):
                array[...] = part

    def start_beside(self, array: NumpyArray) -> Any:
        """Start the sum of a contiguous array in place, beside all other uses of the group.

        All ranks start the same sums in the same order; the first one while none of them uses the
        group otherwise.

        Returns:
            what `finish_beside` waits for.
        """
        from mpi4py import MPI

        if self._beside is None:
            self.barrier()
            self._beside = self.comm.Dup()
        return self._beside.Iallreduce(MPI.IN_PLACE, array)

    def finish_beside(self, request: Any) -> None:
        """Wait for a sum, in a thread beside one that computes."""
        while not request.Test():
            time.sleep(LONG_PAUSE)

    def side_sums(self, agree: Agree) -> SideSums:
        return ThreadSums(self, agree)

    def broadcast(self, array: NumpyArray) -> None:
        self.barrier()
        copy = np.ascontiguousarray(array)
        self.comm.Bcast(copy)
        array[...] = copy

    def share(self, rows: NumpyArray) -> None:
        self.barrier()
        self._share(rows)

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, which can be pickled."""
        self.barrier()
        values: list[Any] = self.comm.allgather(value)
        return values

    def first(self, value: Any) -> Any:
        """The value of rank 0."""
        self.barrier()
        return self.comm.bcast(value)

    def send_to_first(self, value: Any, rank: int) -> Any:
        """The value of a rank, in rank 0; None in the others."""
        self.barrier()
        if rank == self.rank != 0:
            self.comm.send(value, 0)
        if self.rank:
            return None
        return value if rank == 0 else self.comm.recv(source=rank)

    def is_shared(self, error: BaseException | None) -> bool:
        """Whether all ranks have this exception, or one that caused it."""
        while error is not None and error is not self.shared_error:
            error = error.__cause__
        return error is not None

    def _sum(self, array: NumpyArray) -> None:
        from mpi4py import MPI

        self.comm.Allreduce(MPI.IN_PLACE, array)

    def _share(self, rows: NumpyArray) -> None:
        from mpi4py import MPI

        self.comm.Allgather(MPI.IN_PLACE, rows)

    def _buffer(self, size: int, dtype: Any) -> NumpyArray:
        """An array (size,) in memory that is kept: new memory costs more than a copy into it."""
        nbytes = size * dtype.itemsize
        if len(self._memory) < nbytes:
            self._memory = np.empty(nbytes, np.uint8)
        return self._memory[:nbytes].view(dtype)


class ThreadSums:
    """Sums of host arrays in a thread, on a communicator of their own.

    If no thread can be started, `finish` adds up.

    Args:
        group: the ranks.
        agree: whether all of them do the same sums.
    """

    def __init__(self, group: MPIGroup, agree: Agree) -> None:
        self._group, self._agree = group, agree
        self.queue: SimpleQueue[NumpyArray | None] = SimpleQueue()
        self._error: BaseException | None = None
        self._is_over = Event()
        self._has_thread: bool | None = None  # None before the first array
        self._arrival: list[Any] = []  # the request of a barrier, once there is one

    def go_on(self) -> None:
        if self._has_thread is None:
            self._has_thread = True
            try:  # unlike Thread.start, Ctrl-C cannot end this between its parts
                start_new_thread(self._run, ())
            except RuntimeError:
                self._has_thread = False

    def finish(self) -> BaseException | None:
        self.queue.put(None)
        if not self._arrival:
            # A wait for ranks that still compute, unlike that for the sums; in one call of C, so
            # that Ctrl-C cannot come between the request and the list.
            self._arrival.extend(map(methodcaller("Ibarrier"), [self._group.comm]))
        self._group.wait(self._arrival[0])
        if not (self._has_thread or self._is_over.is_set()):
            self._run()
        self._is_over.wait()
        return self._error

    def _run(self) -> None:
        try:
            is_agreed = self._agree(self._group.finish_beside)
            while (array := self.queue.get()) is not None:
                if is_agreed:
                    self._group.finish_beside(self._group.start_beside(array))
        except BaseException as error:
            self._error = error
        finally:
            self._is_over.set()


def buckets(arrays: Sequence[NumpyArray], limit: int = BUCKET_BYTES) -> Iterator[list[NumpyArray]]:
    """Divide arrays into lists of one dtype and at most `limit` bytes, or a single larger array.

    A message takes some time whatever its size, and a copy of all arrays at once much memory.

    >>> import numpy as np
    >>> arrays = [np.zeros(n, np.float32) for n in (1, 2, 3, 9)]
    >>> [[a.size for a in bucket] for bucket in buckets(arrays, 16)]
    [[1, 2], [3], [9]]
    """
    bucket: list[NumpyArray] = []
    for array in arrays:
        size = sum(a.nbytes for a in bucket) + array.nbytes
        if bucket and (size > limit or array.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(array)
    if bucket:
        yield bucket


def parts_of(flat: NumpyArray, arrays: Sequence[NumpyArray]) -> list[NumpyArray]:
    """Views of consecutive parts of an array, with the shapes of other arrays."""
    stops = accumulate(array.size for array in arrays)
    return [
        flat[stop - a.size : stop].reshape(a.shape) for a, stop in zip(arrays, stops, strict=True)
    ]
