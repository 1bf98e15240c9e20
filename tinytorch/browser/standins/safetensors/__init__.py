"""The part of the package `safetensors` that TinyTorch uses, in Python.

The format: eight bytes with the size of the header; the header, JSON with the dtype, the shape and
the place of each array; the numbers. Source: https://github.com/huggingface/safetensors.
"""

import json
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

CODES = {
    "BOOL": "?", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U8": "u1", "U16": "<u2",
    "U32": "<u4", "U64": "<u8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip


class SafetensorError(Exception):
    """A file is not in this format, or is damaged."""


class safe_open:  # noqa: N801  the package's name
    """An open file, as a context manager.

    Raises:
        SafetensorError: the header is damaged, or does not describe the rest of the file.
    """

    def __init__(self, path: Any, framework: str) -> None:
        data = Path(path).read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        if len(data) < 8 or start > len(data):
            raise SafetensorError("Error while deserializing header: header too large")
        try:
            header = json.loads(data[8:start])
            self._metadata: dict[str, str] | None = header.pop("__metadata__", None)
            self._entries = {name: _entry(entry) for name, entry in header.items()}
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise SafetensorError(f"Error while deserializing header: {error}") from None
        self._numbers = data[start:]
        end = 0
        for _, _, first, last in sorted(self._entries.values(), key=lambda entry: entry[2:]):
            if first != end:
                raise SafetensorError("Error while deserializing header: invalid offset")
            end = last
        if end != len(self._numbers):
            raise SafetensorError("Error while deserializing header: incomplete metadata")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is open."""

    def metadata(self) -> dict[str, str] | None:
        """The metadata, if there are any."""
        return self._metadata

    def keys(self) -> list[str]:
        """The names of the arrays."""
        return sorted(self._entries)

    def get_tensor(self, name: str) -> np.ndarray[Any, Any]:
        """An array, as a copy."""
        dtype, shape, first, last = self._entries[name]
        return np.frombuffer(self._numbers[first:last], dtype).reshape(shape).copy()


def _entry(entry: Any) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    """The dtype, the shape and the first and last byte of an array."""
    dtype, shape = np.dtype(CODES[entry["dtype"]]), tuple(entry["shape"])
    first, last = entry["data_offsets"]
    if any(type(n) is not int or n < 0 for n in (*shape, first, last)):
        raise ValueError("invalid shape or offset")
    if last - first != prod(shape) * dtype.itemsize:
        raise ValueError("invalid shape, data type, or offset for tensor")
    return dtype, shape, first, last
