"""Fake devices, streams, graphs and memory pools; devices work synchronously."""

import bisect
import contextlib
import time
import weakref

import numpy

import cupy

from . import device, runtime
from .device import Device


class Stream:
    """A stream; its work runs at once, or during capture becomes part of a graph.

    What another stream than the current one is given to do (`do_later`) runs when some stream waits
    for it, so a result that is read without this wait is not there. Before, it must itself wait for
    all that the current stream has been given. A capture extends to it by this wait.
    """

    def __init__(self, non_blocking=False):
        self._later, self._done = [], 0  # work with the arrays that it needs, and how much was done
        self._seen = None  # how much work of the current stream it waits for
        self.ptr = id(self) if non_blocking else 0
        self.device = runtime.getDevice()
        self._before = []

    def __enter__(self):
        self._before.append(_current[-1])
        _current.append(self)
        return self

    def __exit__(self, *exception):
        _current.pop()

    def synchronize(self):
        cupy._host_read("synchronize")
        if self is not _current[-1]:
            self._run(self._done + len(self._later))

    def record(self, event=None):
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event):
        own = cupy.captured if self in _capturing else None
        if event._capture is not own:
            if own is not None or event._capture is not cupy.captured:
                raise RuntimeError("cudaErrorStreamCaptureIsolation: an event of another capture")
            _capturing.append(self)
        if self is _current[-1]:
            event._stream._run(event._count)
        else:
            assert event._stream is _current[-1], "only the current stream is computed on"
            self._seen = event._count

    def do_later(self, work, *arrays):
        """Let ``work()`` run on this stream, which is not the current one."""
        assert self._seen == cupy.works, "a stream that does not wait for the current one"
        assert (self in _capturing) == (cupy.captured is not None)
        self._later.append((work, list(map(weakref.ref, arrays))))

    def _run(self, count):
        """All work up to a number, which begins with the first that the stream was ever given."""
        while self._later and self._done < count:
            work, arrays = self._later.pop(0)
            self._done += 1
            assert all(array() is not None for array in arrays), "memory was freed too early"
            cupy.enqueue(work)

    def is_capturing(self):
        return cupy.captured is not None and _current[-1] is self

    def begin_capture(self):
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        assert self.device == runtime.getDevice(), "a stream of another device"
        assert cupy.captured is None
        cupy.captured = []
        _capturing[:] = [self]

    def end_capture(self):
        if cupy.captured is None:
            raise RuntimeError("cudaErrorIllegalState: the stream is not captured")
        work, cupy.captured = cupy.captured, None
        unjoined = [stream for stream in _capturing if stream._later]
        _capturing.clear()
        for stream in unjoined:
            stream._later.clear()
        if unjoined:
            raise RuntimeError("cudaErrorStreamCaptureUnjoined: a stream was not joined")
        return Graph(work)


class Graph:
    """A captured graph.

    A memory pool reuses freed memory within the graph, so a launch may not depend on what the
    pool's memory contained before. To detect that, a launch first overwrites all of it.
    """

    def __init__(self, work):
        self._work, self._device = work, runtime.getDevice()
        self._memories = cupy.allocator.memories if cupy.allocator else {}

    def launch(self, stream=None):
        assert self._device == runtime.getDevice(), "a graph of another device"
        cupy.works += 1
        for memory in self._memories.values():
            memory.fill(0xFF)
        for work in self._work:
            work()


Stream.null = Stream()
_current = [Stream.null]
_capturing = []  # the streams whose work is captured


def get_current_stream():
    return _current[-1]


class Event:
    done = True

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        pass

    def record(self, stream=None):
        self._stream = stream or _current[-1]
        own = self._stream._done + len(self._stream._later)
        self._count = cupy.works if self._stream is _current[-1] else own
        self._capture = cupy.captured if self._stream in _capturing else None
        self._seconds = time.perf_counter()

    def synchronize(self):
        cupy._host_read("synchronize")


def get_elapsed_time(start_event, end_event):
    return 1e3 * (end_event._seconds - start_event._seconds)


class MemoryPool:
    """A memory pool that never reuses memory; the default pool stands for NumPy's allocator."""

    __slots__ = ("_arrays",)  # as CuPy's, without weak references

    def __init__(self):
        self._arrays = {}  # address -> memory, an array of bytes
        _memories[id(self)] = self._arrays

    def __del__(self):
        if _memories is not None:  # None at the interpreter's exit
            del _memories[id(self)]
            _changed()

    def malloc(self, size):
        memory = numpy.empty(max(1, size), numpy.uint8)
        address = memory.__array_interface__["data"][0]
        self._arrays[address] = memory
        _changed()
        return cupy.MemoryPointer(address, cupy.MemoryPointer(address))

    def total_bytes(self):
        return sum(memory.nbytes for memory in self._arrays.values())

    def free_all_blocks(self, stream=None):
        pass

    def used_bytes(self):
        arrays = (reference() for reference in list(cupy._allocated.values()))
        return sum(a.nbytes for a in arrays if a is not None)


_memories = {}  # id of a live pool -> its `_arrays`
_places = None  # of all memories, in order; None after a change
DEFAULT_POOL = MemoryPool()


def _changed():
    global _places
    _places = None


def is_in_pool(address, size):
    """True if the memory is part of memory that a pool has allocated."""
    places = _places or _sort()
    at = bisect.bisect_right(places, address, key=lambda place: place[0]) - 1
    return at >= 0 and address + size <= places[at][1]


def _sort():
    """Sort the places of all memories: a graph's launches ask for thousands, and change none."""
    global _places
    _places = places = []  # before the copy: the garbage collector may delete a pool meanwhile
    pools = list(_memories.values())
    places += sorted((at, at + memory.nbytes) for pool in pools for at, memory in pool.items())
    return places


class _Allocator:
    """The allocator set by `using_allocator`: a function that allocates every array's memory."""

    def __init__(self, malloc):
        self.malloc, self.memories = malloc, {}

    def array(self, host):
        """A copy of `host` in memory from the allocator."""
        address = self.malloc(host.nbytes).ptr
        self.memories = next(m for m in list(_memories.values()) if address in m)
        flat = self.memories[address][: host.nbytes].view(host.dtype)
        copy = numpy.lib.stride_tricks.as_strided(flat, host.shape, host.strides)
        copy[...] = host
        return copy


def get_allocator():
    """The current allocator; None for the default pool."""
    return None if cupy.allocator is None else cupy.allocator.malloc


@contextlib.contextmanager
def using_allocator(malloc):
    before, cupy.allocator = cupy.allocator, None if malloc is None else _Allocator(malloc)
    try:
        yield
    finally:
        cupy.allocator = before
