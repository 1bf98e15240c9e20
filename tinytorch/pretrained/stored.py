"""Tensors in a file, of which only what is asked for is read."""

import math
import mmap
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arguments import shown
from ..backends.numpy.threads import parallel_for_each
from ..serialization.atomic import check_regular_file
from .encodings import ENCODINGS, READABLE
from .errors import PretrainedError

CHUNK = 2**18  # numbers decoded at a time: they stay in the cache


class StoredFile:
    """A file that is read in parts, also by several threads. It stays the same one if replaced."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            check_regular_file(self.path)
            self._file = open(self.path, "rb", buffering=0)  # noqa: SIM115, lives as long as self
        except FileNotFoundError:
            raise PretrainedError(f"there is no file {self.path}") from None
        except (OSError, ValueError) as error:  # ValueError: the path contains a NUL
            reason = getattr(error, "strerror", None) or error
            raise PretrainedError(f"{self.path} cannot be read: {reason}") from error
        self.size = os.fstat(self._file.fileno()).st_size
        self._lock = threading.Lock()

    def read(self, offset: int, count: int) -> NDArray[np.uint8]:
        """`count` bytes from `offset` on.

        Raises:
            PretrainedError: the file ends before.
        """
        if not 0 <= offset <= offset + count <= self.size:
            raise PretrainedError(f"{self.path} is truncated: it has {self.size} bytes")
        data = np.empty(count, np.uint8)
        with self._lock:
            self._file.seek(offset)
            done = 0
            while done < count:
                got = self._file.readinto(data[done:].data)
                if not got:
                    raise PretrainedError(f"{self.path} has become shorter while it was read")
                done += got
        return data

    def mapped(self) -> Any:
        """The file as bytes, of which those are read that are looked at."""
        return mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) if self.size else b""

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


class StoredTensor(NamedTuple):
    """A tensor in a file.

    Attributes:
        file: that holds it.
        name: in the file.
        encoding: a key of `ENCODINGS`, or the name of another encoding.
        shape: with the last axis contiguous.
        offset: of the first byte.
    """

    file: StoredFile
    name: str
    encoding: str
    shape: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        encoding = ENCODINGS[self.encoding]
        return math.prod(self.shape) // encoding.numbers * encoding.size

    def read_into(self, out: NDArray[Any]) -> None:
        """Decode the numbers into an array with as many elements, which may be a view.

        They are decoded in parts along its first axis, by all threads, so that no second copy of
        the tensor is in memory.

        Raises:
            PretrainedError: the encoding is not one of floats, or the file has become shorter.
        """
        numbers, size, decode = ENCODINGS.get(self.encoding, (1, 1, None))
        if decode is None:
            raise PretrainedError(
                f"{self.name} in {self.file.path} has the type {self.encoding}; weights can be"
                f" {', '.join(READABLE)}"
            )
        if not out.size:
            return
        out = out.reshape(1) if out.ndim == 0 else out
        row = out.size // len(out)  # numbers
        step = max(1, CHUNK // row)

        def read_rows(start: int) -> None:
            part = out[start : start + step]
            raw = self.file.read(self.offset + start * row // numbers * size,
                                 part.size // numbers * size)  # fmt: skip
            with np.errstate(all="ignore"):  # damaged numbers are numbers
                part[...] = decode(raw.reshape(-1, size)).reshape(part.shape)

        parallel_for_each(read_rows, range(0, len(out), step))

    def numpy(self) -> NDArray[np.float32]:
        """The numbers as an array of float32."""
        out = np.empty(self.shape, np.float32)
        self.read_into(out)
        return out


def check_tensors(file: StoredFile, tensors: Sequence[StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors by name, if the bytes of each are in the file and belong to it alone.

    Raises:
        PretrainedError: they do not: reading all could then take more memory than the file has.
    """
    end, last = 0, "the header"
    for tensor in sorted(tensors, key=lambda tensor: (tensor.offset, tensor.nbytes)):
        what = f"{shown(tensor.name)} of shape {shown(tensor.shape)} in {file.path}"
        if tensor.offset + tensor.nbytes > file.size:
            raise PretrainedError(
                f"{what} would end at byte {shown(tensor.offset + tensor.nbytes)}, but the file has"
                f" {file.size}: it is truncated or damaged"
            )
        if tensor.offset < end and tensor.nbytes:
            raise PretrainedError(f"{what} overlaps with {shown(last)}: the file is damaged")
        end, last = max(end, tensor.offset + tensor.nbytes), tensor.name
    return {tensor.name: tensor for tensor in tensors}


def listed(names: Iterable[str], most: int = 5) -> str:
    """The first names, and the number of the others."""
    names = list(names)
    others = f" and {len(names) - most} more" if len(names) > most else ""
    return (
        ", ".join(name if len(name) < 100 else f"{name[:100]}..." for name in names[:most]) + others
    )


Tensors = Mapping[str, StoredTensor]
