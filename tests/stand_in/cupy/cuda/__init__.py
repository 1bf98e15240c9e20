"""Devices, streams, graphs and memory of the stand-in: one device, whose work is done at once."""

import contextlib
import time
import weakref

import numpy

import cupy

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
    """What was captured. A pool that served it gives freed memory out again within it, so nothing
    that was in the pool before a launch may be needed: it is written over."""

    def __init__(self, work):
        self._work = work
        self._pool = getattr(cupy.allocator, "pool", None)

    def launch(self, stream=None):
        if self._pool is not None:
            self._pool.spoil()
        for work in self._work:
            work()


_current = [Stream()]


def get_current_stream():
    return _current[-1]


class Event:
    done = True

    def record(self, stream=None):
        self._seconds = time.perf_counter()

    def synchronize(self):
        cupy._host_read("synchronize")


def get_elapsed_time(start_event, end_event):
    return 1e3 * (end_event._seconds - start_event._seconds)


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

    def spoil(self):
        for memory in self._arrays.values():
            memory.fill(0xFF)

    def free_all_blocks(self, stream=None):
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

    def __init__(self, malloc, pool=None):
        self.malloc, self.pool = malloc, pool

    def array(self, host):
        """`host` in memory that was asked for."""
        address = self.malloc(host.nbytes).ptr
        self.pool = next(pool for pool in _pools if address in pool._arrays)
        flat = self.pool._arrays[address][: host.nbytes].view(host.dtype)
        copy = numpy.lib.stride_tricks.as_strided(flat, host.shape, host.strides)
        copy[...] = host
        return copy


def get_allocator():
    """What gives arrays their memory; None stands for the default pool."""
    return None if cupy.allocator is None else cupy.allocator.malloc


@contextlib.contextmanager
def using_allocator(malloc):
    before, cupy.allocator = cupy.allocator, None if malloc is None else _Allocation(malloc)
    try:
        yield
    finally:
        cupy.allocator = before
