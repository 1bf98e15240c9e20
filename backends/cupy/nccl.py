"""Sums of arrays on several GPUs by NCCL, one process for each GPU."""

from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

import cupy

from ..base import BackendError
from ..base import NativeArray as Array
from ..groups import Agree, MPIGroup, SideSums
from .graph import keep_alive


class NCCLGroup:
    """NCCL through `cupyx.distributed`, whose ranks find each other by MPI.

    Nothing waits for the device: sums are queued on the current stream behind the kernels that
    compute the gradients, or on a stream of their own (`StreamSums`), and may be captured in a CUDA
    graph (with NCCL 2.9 or newer).

    Args:
        host: the same ranks; all of them create this group.

    Raises:
        BackendError: two ranks are on one GPU, or NCCL is not installed.
    """

    def __init__(self, host: MPIGroup) -> None:
        self._host, self.rank, self.size = host, host.rank, host.size
        gpus = host.gather((host.place, str(cupy.cuda.Device().pci_bus_id)))
        for rank, gpu in enumerate(gpus):
            if gpu in gpus[:rank]:
                raise BackendError(
                    f"rank {gpus.index(gpu)} and rank {rank} are on the same GPU of {gpu[0]}: start"
                    " at most as many ranks on a machine as it has GPUs"
                )
        try:
            from cupyx import distributed

            self._comm = distributed.init_process_group(self.size, self.rank, use_mpi=True)
        except Exception as error:  # of the import, of NCCL, of CuPy: without a common base class
            raise BackendError(
                f"several GPUs need NCCL, which cannot be used ({error}): install it with"
                " pip install nvidia-nccl-cu13, or -cu12, or run one process"
            ) from error
        self._side = cupy.cuda.Stream(non_blocking=True)

    def sum(self, arrays: Sequence[Array]) -> None:
        keep_alive(arrays)
        for array in arrays:
            if array.size:
                rows = _in_order(array)
                self._comm.all_reduce(rows, rows)
                if rows is not array:
                    array[...] = rows

    def broadcast(self, array: Array) -> None:
        if array.size:
            rows = _in_order(array)
            # as bytes: NCCL through CuPy has no booleans
            self._comm.broadcast(rows.reshape(-1).view(cupy.uint8), 0)
            if rows is not array:
                array[...] = rows

    def share(self, rows: Array) -> None:
        keep_alive([rows])
        if rows.size:
            self._comm.all_gather(rows[self.rank], rows, rows.shape[1])

    def side_sums(self, agree: Agree) -> SideSums:
        return StreamSums(self._comm, self._side, lambda: agree(self._host.wait))


class StreamSums:
    """Sums on a second stream, while the current one computes; also in a CUDA graph.

    The side stream waits for an event behind the kernels that have computed an array, and the
    current one at the end for an event behind all sums. By these waits a capture on the current
    stream extends to the side stream, and both become branches of one graph.

    Args:
        comm: the communicator of `cupyx.distributed`.
        side: a non-blocking stream. Nothing is allocated on it: memory that the current stream has
            allocated and freed is used again behind the work of the current stream alone.
        agree: whether all ranks do the same sums.
    """

    def __init__(self, comm: Any, side: Any, agree: Callable[[], bool]) -> None:
        self._comm, self._side, self._agree = comm, side, agree
        self.queue: SimpleQueue[Array] = SimpleQueue()
        self._is_agreed: bool | None = None
        self._summed: list[Array] = []

    def go_on(self) -> None:
        if self._is_agreed is None:
            self._is_agreed = self._agree()
        while self._is_agreed and not self.queue.empty():
            wait_for(self._side, cupy.cuda.get_current_stream())
            array = self.queue.get()
            self._summed.append(array)
            keep_alive([array])
            self._comm.all_reduce(array, array, stream=self._side)

    def finish(self) -> BaseException | None:
        self.go_on()
        if self._summed:
            wait_for(cupy.cuda.get_current_stream(), self._side)
        self._summed.clear()
        return None


def wait_for(stream: Any, other: Any) -> None:
    """Let what is queued on a stream from now on wait for all that is on the other one."""
    event = cupy.cuda.Event(disable_timing=True)
    event.record(other)
    stream.wait_event(event)


def _in_order(array: Array) -> Array:
    """The array, or a copy of it in C order: NCCL adds memory, whatever the order."""
    return array if array.flags.c_contiguous else array.copy(order="C")
