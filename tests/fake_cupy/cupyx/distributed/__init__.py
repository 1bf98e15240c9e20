"""A fake NCCL: sums by MPI on the host arrays of the fake CuPy; queued, captured and replayed."""

import cupy
import numpy as np

calls = []  # of this process: name, bytes, the stream, and whether it was being captured


class _NCCLBackend:
    def __init__(self, n_devices, rank):
        from mpi4py import MPI

        self._mpi, self._comm = MPI, MPI.COMM_WORLD.Dup()
        assert (n_devices, rank) == (self._comm.Get_size(), self._comm.Get_rank())

    def all_reduce(self, in_array, out_array, op="sum", stream=None):
        assert op == "sum"
        assert in_array is out_array, "the package sums in place"
        host = self._host("all_reduce", in_array, stream)

        def work():
            self._comm.Allreduce(self._mpi.IN_PLACE, host)

        if stream is None:
            cupy.enqueue(work)
        else:
            stream.do_later(work, in_array)

    def broadcast(self, in_out_array, root=0, stream=None):
        host = self._host("broadcast", in_out_array, stream)
        cupy.enqueue(lambda: self._comm.Bcast(host, root))

    def all_gather(self, in_array, out_array, count, stream=None):
        ours = self._comm.Get_rank() * count
        own, rows = (self._host("all_gather", a, stream) for a in (in_array, out_array))
        assert own.size == count, "each rank sends a part"
        assert np.shares_memory(own, rows[ours : ours + count]), "the package gathers in place"
        cupy.enqueue(lambda: self._comm.Allgather(self._mpi.IN_PLACE, rows))

    def _host(self, name, array, stream):
        cupy.check_device(array)
        host = array._host
        if not (host.flags.c_contiguous or host.flags.f_contiguous):
            raise RuntimeError("NCCL requires arrays to be either c- or f-contiguous")
        stream = stream or cupy.cuda.get_current_stream()
        calls.append((name, array.nbytes, stream.ptr, cupy.captured is not None))
        return host.reshape(-1, order="A")


def init_process_group(n_devices, rank, *, backend="nccl", host=None, port=None, use_mpi=False):
    assert use_mpi, "without MPI, a store of its own listens on a port"
    return _NCCLBackend(n_devices, rank)
