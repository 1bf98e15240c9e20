"""CUDA graphs: work that is captured once, then replayed in one launch.

Launching a kernel from Python takes the host some twenty microseconds, and a training step launches
200 to 320. A graph launches them all at once. During capture nothing runs: kernels are recorded
with the addresses of their arguments. Therefore

- inputs are copied to the arrays that the captured kernels read;
- results and temporaries are allocated from a memory pool that only graphs of the same work use:
  they run one after another, so they may share it;
- arrays from elsewhere are kept alive (`keep_alive`), and constants from the host are copied once,
  after the capture (`to_device`).
"""

import contextlib
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import cupy
import numpy as np

from .. import trace
from ..base import BackendError, InterruptedUpdateError
from ..base import NativeArray as Array
from . import cublas
from .errors import error_flag

Work = Callable[..., Array]

MAX_SHAPES = 8  # graphs of one work that are kept: those of the shapes that were used last


class _State(threading.local):
    """What a thread is doing: another one may run its own work meanwhile."""

    capturing: "CapturedGraph | None" = None


_state = _State()
_places: "weakref.WeakSet[CapturePlace]" = weakref.WeakSet()  # all live ones


def is_capturing() -> bool:
    """Whether this thread's work is being captured instead of run."""
    return _state.capturing is not None


def to_device(host: np.ndarray[Any, Any]) -> Array:
    """`host` on the device; during capture the copy is made when the capture is complete."""
    graph = _state.capturing
    if graph is None:
        return cupy.asarray(host)
    # Not in the graph's pool, where freed memory is overwritten by each replay, and not on the
    # stream that is captured, where an asynchronous pool would make the allocation a part of it.
    with cupy.cuda.using_allocator(graph.outside), cupy.cuda.Stream.null:
        array = cupy.empty(host.shape, host.dtype)
    graph.constants.append((array, host))
    return array


def keep_alive(arrays: Any) -> None:
    """During capture, keep arrays that the graph uses but did not allocate alive with the graph."""
    if _state.capturing is not None:
        _state.capturing.keep_alive(arrays)


def reserved() -> int:
    """Bytes in the memory pools of all graphs."""
    return sum(place.reserved() for place in _places)


class CapturePlace:
    """The stream on which work is captured, and the memory pool of its graphs, on one device.

    A pool keeps the freed memory of each stream separately, so the stream must be the same too.
    """

    def __init__(self) -> None:
        self.pool = cupy.cuda.MemoryPool()
        self.stream = cupy.cuda.Stream(non_blocking=True)
        _places.add(self)

    def reserved(self) -> int:
        """Bytes in the memory pool."""
        return int(self.pool.total_bytes())


class CapturedGraph:
    """The work of ``work(*arrays)`` for arrays of these shapes, captured but not yet run.

    Raises:
        BackendError: the work cannot be captured, for example because it reads a result on the
            host.
        MemoryError: there is too little memory for results and temporaries.
    """

    def __init__(self, work: Work, arrays: tuple[Array, ...], place: CapturePlace) -> None:
        self.constants: list[tuple[Array, np.ndarray[Any, Any]]] = []
        self._kept: list[Array] = []
        self._own: set[int] = set()  # addresses allocated from the pool
        self._place, self.outside = place, cupy.cuda.get_allocator()
        self._kept.append(cublas.workspace())  # of this thread, which may end before the graph
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
        stream = self._place.stream
        with cupy.cuda.using_allocator(self._allocate), stream:
            _state.capturing = self
            try:
                stream.begin_capture()
                yield stream
            except MemoryError:
                raise
            except Exception as error:
                if "cudaErrorMemoryAllocation" in str(error):  # of the graph itself
                    raise MemoryError(str(error)) from error
                raise BackendError(
                    f"this step cannot be captured ({type(error).__name__}: {error}): it must not"
                    " read results on the host or copy data from it"
                ) from error
            finally:
                _state.capturing = None
                if self._graph is None:  # interrupted: end the capture, so the stream is usable
                    with contextlib.suppress(Exception):
                        stream.end_capture()

    def _allocate(self, size: int) -> Any:
        pointer = self._place.pool.malloc(size)
        self._own.add(pointer.mem.ptr)
        return pointer

    def keep_alive(self, arrays: Any) -> None:
        """Keep a reference to each array whose memory is not from the graph's pool."""
        for array in arrays:
            if isinstance(array, cupy.ndarray) and array.data.mem.ptr not in self._own:
                self._kept.append(array)

    def copy_inputs(self, arrays: tuple[Array, ...]) -> None:
        """Copy arrays to the inputs of the next replay."""
        for place, array in zip(self._inputs, arrays, strict=True):
            place[...] = array

    def launch(self) -> None:
        """Launch the graph; the host does not wait."""
        self._graph.launch()

    def replay(self) -> Array:
        """Launch the graph; the host does not wait. Returns a copy of the result."""
        error_flag()  # from here on kernels may set it
        self.launch()
        return self._result.copy()  # the next replay overwrites it


class GraphedCallable:
    """`work`, captured when it is called for the second time with equal keys and equal shapes.

    The graphs of the last `MAX_SHAPES` shapes are kept. Where memory does not suffice for a graph,
    or beside the graphs of other shapes, those are dropped, and the work is run as written, or with
    ``eager=False`` not at all.

    Args:
        work: takes arrays and returns one. Anything else that it reads on the host must be the
            same whenever the keys are equal.
        agree: called after each attempt to capture with whether it has succeeded; whether to use
            the graph. Several ranks must either all replay a step or all run it as written.
    """

    def __init__(self, work: Work, agree: Callable[[bool], bool] = bool) -> None:
        self._work, self._agree = work, agree
        self._key: Any = None
        self._place: CapturePlace | None = None
        # Shapes -> the graph; None after the first call; `work` itself if a graph is too large.
        self._graphs: OrderedDict[Hashable, CapturedGraph | Work | None] = OrderedDict()

    def __call__(self, key: Any, *arrays: Array, eager: bool = True) -> Array | None:
        """The result of the work.

        Args:
            key: what the work depends on besides its arrays.
            arrays: its arguments.
            eager: whether it may be run without a graph. If not, it is captured in the first call,
                and the result is None if memory does not suffice, until a later call succeeds; all
                its kernels were launched before.
        """
        key = cupy.cuda.runtime.getDevice(), key
        if key != self._key:
            if self._key and key[0] != self._key[0]:
                self._place = None
            self._key = key
            self._graphs.clear()
        shapes = tuple((array.shape, array.dtype) for array in arrays)
        if shapes not in self._graphs:  # the first call compiles kernels and allocates state
            self._graphs[shapes] = None
            if len(self._graphs) > MAX_SHAPES:
                self._graphs.popitem(last=False)
            if eager:
                trace.fallback("graphed step", "the first call with this key and shapes", "cupy")
                return self._run(arrays)
        self._graphs.move_to_end(shapes)
        graph, how = self._graphs[shapes], "replayed"
        if graph is None:
            how, graph = "captured", self._capture(arrays)
            if graph is None:
                self._graphs[shapes] = self._work if eager else None
                self._free()
                return self._run_without_graph(arrays) if eager else None
            self._graphs[shapes] = graph
        elif not isinstance(graph, CapturedGraph):
            trace.fallback("graphed step", "too little memory for a graph", "cupy")
            return self._run(arrays)
        else:
            graph.copy_inputs(arrays)
        trace.count("graphed step", "cupy", how)
        return graph.replay()

    def _capture(self, arrays: tuple[Array, ...]) -> CapturedGraph | None:
        """A graph, or None if memory does not suffice."""
        if self._place is None:
            self._place = CapturePlace()
        graph = None
        with contextlib.suppress(MemoryError):
            graph = CapturedGraph(self._work, arrays, self._place)
        return graph if self._agree(graph is not None) else None

    def _run_without_graph(self, arrays: tuple[Array, ...]) -> Array:
        """Run work whose graph was too large, and warn if that succeeds."""
        result = self._run(arrays)
        warnings.warn(
            "too little memory on the GPU for a CUDA graph of this step: it runs without one, which"
            " is slower; a smaller batch needs less memory",
            stacklevel=3,
        )
        return result

    def _run(self, arrays: tuple[Array, ...]) -> Array:
        """Run the work as written; if memory does not suffice, again without any graphs."""
        try:
            return self._work(*arrays)
        except InterruptedUpdateError:
            raise
        except MemoryError:
            if not any(isinstance(graph, CapturedGraph) for graph in self._graphs.values()):
                raise
        self._free()
        return self._work(*arrays)

    def _free(self) -> None:
        """Drop all graphs, and return their memory to the device."""
        for shapes, graph in self._graphs.items():
            if isinstance(graph, CapturedGraph):
                self._graphs[shapes] = None
        if self._place is not None:
            self._place.pool.free_all_blocks()
        self._place = None
        cupy.get_default_memory_pool().free_all_blocks()
