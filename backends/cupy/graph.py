"""CUDA graphs: work that is captured once, then replayed in one launch.

Launching a kernel from Python takes the host some twenty microseconds, and a training step launches
about 250. A graph launches them all at once. During capture nothing runs: kernels are recorded with
the addresses of their arguments. Therefore

- inputs are copied to the arrays that the captured kernels read;
- results and temporaries are allocated from a memory pool of the graph's own;
- arrays from elsewhere are kept alive (`keep_alive`), and constants from the host are copied once,
  after the capture (`to_device`).
"""

import contextlib
import weakref
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import cupy
import numpy as np

from .. import trace
from ..base import BackendError
from ..base import NativeArray as Array
from . import cublas
from .errors import error_flag

Work = Callable[..., Array]

_capturing: "CapturedGraph | None" = None
_graphs: "weakref.WeakSet[CapturedGraph]" = weakref.WeakSet()  # all live graphs


def is_capturing() -> bool:
    """Whether work is being captured instead of run."""
    return _capturing is not None


def to_device(host: np.ndarray[Any, Any]) -> Array:
    """`host` on the device; during capture the copy is made when the capture is complete."""
    if _capturing is None:
        return cupy.asarray(host)
    # Not in the graph's pool, where freed memory is overwritten by each replay, and not on the
    # stream that is captured, where an asynchronous pool would make the allocation a part of it.
    with cupy.cuda.using_allocator(_capturing.outside), cupy.cuda.Stream.null:
        array = cupy.empty(host.shape, host.dtype)
    _capturing.constants.append((array, host))
    return array


def keep_alive(arrays: Any) -> None:
    """During capture, keep arrays that the graph uses but did not allocate alive with the graph."""
    if _capturing is not None:
        _capturing.keep_alive(arrays)


def reserved() -> int:
    """Bytes in the memory pools of all graphs."""
    return sum(graph.reserved() for graph in _graphs)


class CapturedGraph:
    """The work of ``work(*arrays)`` for arrays of these shapes, captured but not yet run.

    Raises:
        BackendError: the work cannot be captured, for example because it reads a result on the
            host.
    """

    def __init__(self, work: Work, arrays: tuple[Array, ...]) -> None:
        self.constants: list[tuple[Array, np.ndarray[Any, Any]]] = []
        self._kept: list[Array] = []
        self._own: set[int] = set()  # addresses allocated from the pool
        self._pool, self.outside = cupy.cuda.MemoryPool(), cupy.cuda.get_allocator()
        _graphs.add(self)
        cublas.handle()  # creates it, which would allocate memory during the capture
        self._inputs = [array.copy() for array in arrays]
        cupy.get_default_memory_pool().free_all_blocks()  # the graph's pool needs as much again
        self._graph: Any = None
        with self._capture() as stream:
            self._result = work(*self._inputs)
            self._graph = stream.end_capture()
        for array, host in self.constants:
            array[...] = cupy.asarray(host)

    @contextlib.contextmanager
    def _capture(self) -> Iterator[Any]:
        """A context in which work on the stream is captured."""
        global _capturing
        stream = cupy.cuda.Stream(non_blocking=True)
        with cupy.cuda.using_allocator(self._allocate), stream:
            _capturing = self
            stream.begin_capture()
            try:
                yield stream
            except MemoryError:
                raise
            except Exception as error:
                raise BackendError(
                    f"this step cannot be captured ({type(error).__name__}: {error}): it must not"
                    " read results on the host or copy data from it"
                ) from error
            finally:
                _capturing = None
                if self._graph is None:  # interrupted: end the capture, so the stream is usable
                    with contextlib.suppress(Exception):
                        stream.end_capture()

    def _allocate(self, size: int) -> Any:
        pointer = self._pool.malloc(size)
        self._own.add(pointer.mem.ptr)
        return pointer

    def reserved(self) -> int:
        """Bytes in the graph's memory pool."""
        return int(self._pool.total_bytes())

    def keep_alive(self, arrays: Any) -> None:
        """Keep a reference to each array whose memory is not from the graph's pool."""
        for array in arrays:
            if isinstance(array, cupy.ndarray) and array.data.mem.ptr not in self._own:
                self._kept.append(array)

    def copy_inputs(self, arrays: tuple[Array, ...]) -> None:
        """Copy arrays to the inputs of the next replay."""
        for place, array in zip(self._inputs, arrays, strict=True):
            place[...] = array

    def replay(self) -> Array:
        """Launch the graph; the host does not wait. Returns a copy of the result."""
        error_flag()  # from here on kernels may set it
        self._graph.launch()
        return self._result.copy()  # the next replay overwrites it


class GraphedCallable:
    """`work`, captured when it is called for the second time with equal keys and equal shapes.

    Args:
        work: takes arrays and returns one. Anything else that it reads on the host must be the
            same whenever the keys are equal.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._key: Any = None
        self._graphs: dict[Hashable, CapturedGraph | None] = {}

    def __call__(self, key: Any, *arrays: Array) -> Array:
        if key != self._key:
            self._key, self._graphs = key, {}
        shapes = tuple((array.shape, array.dtype) for array in arrays)
        if shapes not in self._graphs:  # the first call compiles kernels and allocates state
            self._graphs[shapes] = None
            trace.fallback("graphed step", "the first call with this key and shapes", "cupy")
            return self._work(*arrays)
        graph = self._graphs[shapes]
        if graph is None:
            trace.count("graphed step", "cupy", "captured")
            graph = self._graphs[shapes] = CapturedGraph(self._work, arrays)
        else:
            trace.count("graphed step", "cupy", "replayed")
            graph.copy_inputs(arrays)
        return graph.replay()
