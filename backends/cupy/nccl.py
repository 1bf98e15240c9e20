"""Sums of arrays on several GPUs by NCCL, one process for each GPU."""

from collections.abc import Sequence

import cupy

from ..base import BackendError
from ..base import NativeArray as Array
from ..groups import MPIGroup
from .graph import keep_alive


class NCCLGroup:
    """NCCL through `cupyx.distributed`, whose ranks find each other by MPI.

    Nothing waits for the device: sums are queued on the current stream behind the kernels that
    compute the gradients, and may be captured in a CUDA graph (with NCCL 2.9 or newer).

    Args:
        host: the same ranks; all of them create this group.

    Raises:
        BackendError: two ranks are on one GPU, or NCCL is not installed.
    """

    def __init__(self, host: MPIGroup) -> None:
        self.rank, self.size = host.rank, host.size
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


def _in_order(array: Array) -> Array:
    """The array, or a copy of it in C order: NCCL adds memory, whatever the order."""
    return array if array.flags.c_contiguous else array.copy(order="C")
