"""Work that is done again and again: recorded once, then repeated in one call, as a CUDA graph.

From Python a kernel takes the host some twenty microseconds or more to start, and a training step
starts three hundred. A recording starts them all at once. While it is made nothing runs: the
kernels and the addresses that they were given are written down. So

- what goes in is copied to where the recorded kernels read it;
- numbers that change from one repetition to the next stand on the device (`live`);
- memory for what is computed comes from a pool of the recording's own, which nobody else uses;
- memory from elsewhere is held (`keep`), and nothing is copied from the host (`to_device`).
"""

import contextlib
import weakref
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import cupy
import numpy as np

from ..base import BackendError
from ..base import NativeArray as Array
from . import cublas
from .errors import error_flag

Work = Callable[..., Array]
LIMIT = 4096  # live numbers in a recording

_now: "Recording | None" = None  # the one that is being made
_made: "weakref.WeakSet[Recording]" = weakref.WeakSet()  # all that there are


def is_capturing() -> bool:
    """Whether work is written down now, instead of done."""
    return _now is not None


def live(read: Callable[[], Any]) -> Any:
    """``read()``; while recording, an array without axes that holds it anew at each repetition."""
    return read() if _now is None else _now.numbers.add(read)


def to_device(host: np.ndarray[Any, Any]) -> Array:
    """`host` on the device; a recording gets it when it is complete, once and for all."""
    if _now is None:
        return cupy.asarray(host)
    # Not in the recording's pool: what was freed there is written to at each repetition.
    with cupy.cuda.using_allocator(_now.outside):
        array = cupy.empty(host.shape, host.dtype)
    _now.constants.append((array, host))
    return array


def keep(arrays: Any) -> None:
    """Hold what a recording reads or writes, and did not make, as long as the recording lives."""
    if _now is not None:
        _now.keep(arrays)


def reserved() -> int:
    """Bytes that recordings have for what they compute."""
    return sum(recording.reserved() for recording in _made)


class Numbers:
    """Numbers that the host sends before each repetition: float32 or int64."""

    def __init__(self) -> None:
        self._device = cupy.zeros(LIMIT, cupy.int64)
        self._host = np.zeros(LIMIT, np.int64)
        self._reads: list[Callable[[], Any]] = []

    def add(self, read: Callable[[], Any]) -> Array:
        """A place for one more; it holds what ``read()`` returns now."""
        place = len(self._reads)
        if place == LIMIT:
            raise BackendError(f"a recorded step has at most {LIMIT} numbers that change")
        self._reads.append(read)
        value = self._write(place)
        word = self._device[place : place + 1]
        return (word.view(cupy.float32)[:1] if isinstance(value, float) else word).reshape(())

    def _write(self, place: int) -> Any:
        value = self._reads[place]()
        part = self._host[place : place + 1]
        (part.view(np.float32) if isinstance(value, float) else part)[0] = value
        return value

    def renew(self) -> None:
        """Ask for all of them again, in their order."""
        for place in range(len(self._reads)):
            self._write(place)

    def send(self) -> None:
        """Bring them to the device, on which earlier repetitions may still read the old ones."""
        count = len(self._reads)
        if count:
            self._device[:count] = cupy.asarray(self._host[:count])


class Recording:
    """What ``work(*arrays)`` does, for arrays of these shapes; made, it has not been done yet.

    Raises:
        BackendError: it does what cannot be recorded, such as to read a result on the host.
    """

    def __init__(self, work: Work, arrays: tuple[Array, ...]) -> None:
        self.numbers = Numbers()
        self.constants: list[tuple[Array, np.ndarray[Any, Any]]] = []
        self._kept: list[Array] = []
        self._own: set[int] = set()  # addresses that the pool has given out
        self._pool, self.outside = cupy.cuda.MemoryPool(), cupy.cuda.get_allocator()
        _made.add(self)
        self._inputs = [array.copy() for array in arrays]
        cupy.get_default_memory_pool().free_all_blocks()  # the pool needs as much once more
        self._graph: Any = None
        with self._recorded() as stream:
            self._result = work(*self._inputs)
            self._graph = stream.end_capture()
        for array, host in self.constants:
            array[...] = cupy.asarray(host)

    @contextlib.contextmanager
    def _recorded(self) -> Iterator[Any]:
        """Within it work on the stream is written down."""
        global _now
        stream = cupy.cuda.Stream(non_blocking=True)
        with cupy.cuda.using_allocator(self._allocate), stream:
            room = cupy.empty(cublas.WORKSPACE, cupy.uint8)
            self._kept.append(room)
            _now = self
            stream.begin_capture()
            try:
                cublas.use(stream, room)
                yield stream
            except MemoryError:
                raise
            except Exception as error:
                raise BackendError(
                    f"this step cannot be recorded ({type(error).__name__}: {error}): within it"
                    " nothing may be read on the host or copied from it"
                ) from error
            finally:
                _now = None
                if self._graph is None:  # cut short: the stream must not go on with it
                    with contextlib.suppress(Exception):
                        stream.end_capture()

    def _allocate(self, size: int) -> Any:
        pointer = self._pool.malloc(size)
        self._own.add(pointer.mem.ptr)
        return pointer

    def reserved(self) -> int:
        """Bytes of its pool."""
        return int(self._pool.total_bytes())

    def keep(self, arrays: Any) -> None:
        """Hold those of them whose memory is not the recording's own."""
        for array in arrays:
            if isinstance(array, cupy.ndarray) and array.data.mem.ptr not in self._own:
                self._kept.append(array)

    def renew(self, arrays: tuple[Array, ...]) -> None:
        """Make ready for one more repetition, on other arrays."""
        for place, array in zip(self._inputs, arrays, strict=True):
            place[...] = array
        self.numbers.renew()

    def run(self) -> Array:
        """Do it; the host does not wait."""
        self.numbers.send()
        error_flag()  # from here on kernels may note one
        self._graph.launch()
        return self._result.copy()  # the next repetition writes over it


class Repeated:
    """`work`, recorded when it is called for the second time with equal keys and equal shapes.

    Args:
        work: takes arrays and returns one. What else it reads on the host must stay as it was as
            long as the keys are equal, but for numbers that it asks for by `live`.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._key: Any = None
        self._recordings: dict[Hashable, Recording | None] = {}

    def __call__(self, key: Callable[[], Any], *arrays: Array) -> Array:
        now = key()
        if now != self._key:
            self._key, self._recordings = now, {}
        shapes = tuple((array.shape, array.dtype) for array in arrays)
        if shapes not in self._recordings:  # the first time compiles kernels and makes what stays
            self._recordings[shapes] = None
            return self._work(*arrays)
        recording = self._recordings[shapes]
        if recording is None:
            recording = self._recordings[shapes] = Recording(self._work, arrays)
        else:
            recording.renew(arrays)
        return recording.run()
