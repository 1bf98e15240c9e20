"""Devices, streams, graphs and memory of the stand-in: one device, whose work is done at once."""

import contextlib
import weakref

import cupy
import numpy

from . import device, runtime
from .device import Device


class Stream:
    """Work is done when it is asked for, or, while the stream is captured, by its graph."""

    def __init__(self, non_blocking=False):
        self.ptr = id(self) if non_blocking else 0
        self._before = []

    def __enter__(self):
        self._before.append(_current[-1])
        _current.append(self)
        return self

    def __exit__(self, *exception):
        _current.pop()

    def synchronize(self):
        cupy._host_read("synchronize")

    def is_capturing(self):
        return cupy.captured is not None and _current[-1] is self

    def begin_capture(self):
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        assert cupy.captured is None
        cupy.captured = []

    def end_capture(self):
        if cupy.captured is None:
            raise RuntimeError("cudaErrorIllegalState: the stream is not captured")
        work, cupy.captured = cupy.captured, None
        return Graph(work)


class Graph:
    def __init__(self, work):
        self._work = work

    def launch(self, stream=None):
        for work in self._work:
            work()


_current = [Stream()]


def get_current_stream():
    return _current[-1]


class MemoryPool:
    """Memory of its own, which it never gives to anybody else; the default pool has NumPy's."""

    def __init__(self):
        self._arrays = {}  # address -> memory
        _pools.add(self)

    def malloc(self, size):
        memory = numpy.empty(max(1, size), numpy.uint8)
        address = memory.__array_interface__["data"][0]
        self._arrays[address] = memory
        return cupy.Address(address, cupy.Address(address))

    def holds(self, address, size):
        if address in self._arrays:
            return size <= self._arrays[address].nbytes
        return any(at <= address and address + size <= at + memory.nbytes
                   for at, memory in self._arrays.items())  # fmt: skip

    def free_all_blocks(self):
        pass

    def used_bytes(self):
        arrays = (reference() for reference in list(cupy._allocated.values()))
        return sum(a.nbytes for a in arrays if a is not None)

    total_bytes = used_bytes


_pools = weakref.WeakSet()
DEFAULT_POOL = MemoryPool()


def in_a_pool(address, size):
    return any(pool.holds(address, size) for pool in _pools)


class _Allocation:
    """An allocator as whoever sets it sees it: asked for every array's memory."""

    def __init__(self, malloc):
        self._malloc = malloc

    def array(self, host):
        """`host` in memory that was asked for."""
        address = self._malloc(host.nbytes).ptr
        memory = next(p._arrays[address] for p in _pools if address in p._arrays)
        flat = memory[: host.nbytes].view(host.dtype)
        copy = numpy.lib.stride_tricks.as_strided(flat, host.shape, host.strides)
        copy[...] = host
        return copy


@contextlib.contextmanager
def using_allocator(malloc):
    before, cupy.allocator = cupy.allocator, _Allocation(malloc)
    try:
        yield
    finally:
        cupy.allocator = before
